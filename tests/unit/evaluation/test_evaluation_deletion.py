"""Deletion against a loop over patches, insertion against films filled up patch by patch, areas in closed form."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from pacx.core.errors import DataError, UsageError
from pacx.evaluation.comparison import Comparison
from pacx.evaluation.embeddings import embed_pack
from pacx.evaluation.evidence.alterations import Blurred
from pacx.evaluation.evidence.deletion import (
    COSINE,
    LEAST_FIRST,
    MOST_FIRST,
    RANDOM,
    DeletionConfig,
    areas_of,
    ask_probe,
    deletion,
    removal_answers,
)
from pacx.evaluation.evidence.embedding_view import embedding_view
from pacx.evaluation.probes.classification import ClassificationData
from pacx.evaluation.probes.linear_heads import ProbeConfig
from pacx.models.rollout import rollout_grid

PATCH, SIDE = 4, 8


def cosine(altered, whole):
    return torch.cosine_similarity(altered, whole, dim=1)


def embedded(encoder, film):
    images = (film[None, None] - np.array(encoder.preprocessing.mean)[None, :, None, None]) / np.array(
        encoder.preprocessing.std
    )[None, :, None, None]
    with torch.no_grad():
        return encoder.vit(torch.from_numpy(images.astype(np.float32)))[0].numpy()


@pytest.mark.parametrize("fill_blur", [0.0, 0.1])
def test_curves_equal_a_loop_over_patches(pack, encoders, fill_blur):
    encoder, rows = encoders["pacx"], pack.rows("test")[:3]
    config = DeletionConfig(steps=4, fill_blur=fill_blur)
    found = removal_answers(encoder, pack, rows, cosine, config=config, batch_size=2)
    with torch.no_grad():
        images = torch.from_numpy(encoder.preprocessing.normalize(pack.images[rows]))
        attended = rollout_grid(encoder.vit, images).flatten(1).numpy()
    for number, row in enumerate(rows):
        film = pack.images[row] / 255.0
        fill = gaussian_filter(film, 3.2, mode="mirror", radius=10) if fill_blur else np.full_like(film, film.mean())
        whole = embedded(encoder, film)
        most_first = sorted(range(SIDE**2), key=lambda patch: -attended[number, patch])
        for step in range(5):
            deleted, inserted = film.copy(), fill.copy()
            for patch in most_first[: step * 16]:
                y, x = PATCH * (patch // SIDE), PATCH * (patch % SIDE)
                deleted[y : y + PATCH, x : x + PATCH] = fill[y : y + PATCH, x : x + PATCH]
                inserted[y : y + PATCH, x : x + PATCH] = film[y : y + PATCH, x : x + PATCH]
            for order, place, altered in ((MOST_FIRST, step, deleted), (LEAST_FIRST, 4 - step, inserted)):
                vector = embedded(encoder, altered)
                expected = vector @ whole / np.linalg.norm(vector) / np.linalg.norm(whole)
                assert found[order][number, place] == pytest.approx(expected, abs=1e-5)
    for order in (MOST_FIRST, LEAST_FIRST, RANDOM):
        np.testing.assert_allclose(found[order][:, 0], 1, atol=1e-5)
        np.testing.assert_allclose(found[order][:, -1], found[RANDOM][:, -1], atol=1e-5)
    assert np.abs(found[RANDOM] - found[MOST_FIRST])[:, 1:-1].max() > 1e-4


def test_areas_in_closed_form():
    straight = np.linspace(1, 0, 11)[None]
    areas = areas_of({MOST_FIRST: straight**2, LEAST_FIRST: np.ones((1, 11)), RANDOM: straight})
    assert areas["random_area"] == pytest.approx(0.5)
    assert areas["insertion_area"] == pytest.approx(1)
    assert areas["deletion_area"] == pytest.approx(1 / 3 + 1 / 600)  # the trapezoids' own error
    assert areas["deletion_gain"] == pytest.approx(0.5 - 1 / 3 - 1 / 600)
    assert areas["insertion_gain"] == pytest.approx(0.5)


def test_rows_pair_films_and_patients_and_ask_a_trained_probe(pack, encoders):
    data = ClassificationData.from_pack(pack, dataset="discs")
    features = {name: embed_pack(encoder, pack) for name, encoder in encoders.items()}
    question = ask_probe(
        data, features, "big", config=ProbeConfig(epochs=10, learning_rates=(0.03,), num_seeds=2), device="cpu"
    )
    assert (pack.labels[question.rows, 0] == 1).all()
    rows, curves = deletion(
        pack,
        encoders,
        Comparison(dataset="discs", baseline="mae", provenance="here", num_draws=100),
        question=question,
        config=DeletionConfig(steps=3),
    )
    table = {(row.name, row.metric): row for row in rows}
    assert {row.label for row in rows} == {"big"}
    for name in encoders:
        gain = table[name, "random_area"].value - table[name, "deletion_area"].value
        assert table[name, "deletion_gain"].value == pytest.approx(gain)
        assert table[name, "deletion_gain"].n == len(question.rows)
    difference = table["pacx - mae", "insertion_area_difference"].value
    assert difference == pytest.approx(table["pacx", "insertion_area"].value - table["mae", "insertion_area"].value)
    assert len(curves) == 6
    blurred = embed_pack(encoders["pacx"], pack, rows=question.rows, alter=Blurred(share=0.125))
    whole = features["pacx"][question.rows]
    after, before = (question.heads["pacx"].probabilities(each)[:, :, 0].mean() for each in (blurred, whole))
    for curve in (curve for curve in curves if curve.encoder == "pacx"):
        assert curve.change[0] == (0, 0, 0)
        assert curve.change[-1].value == pytest.approx(after - before, abs=1e-5)
    assert all(point.low <= point.value <= point.high for curve in curves for point in curve.change)


def test_fewer_films_are_chosen_by_key_and_nothing_to_ask_is_said(pack, encoders):
    some = {"pacx": encoders["pacx"]}
    config = DeletionConfig(steps=2, num_films=5)
    rows, _ = deletion(pack, some, Comparison(dataset="discs", num_draws=20), question=None, config=config)
    assert {(row.n, row.label) for row in rows} == {(5, COSINE)}
    data = ClassificationData.from_pack(pack, dataset="discs")
    features = {name: embed_pack(encoder, pack) for name, encoder in some.items()}
    question = ask_probe(data, features, "big", config=ProbeConfig(epochs=1, num_seeds=1), device="cpu")
    object.__setattr__(question, "rows", np.empty(0, np.int64))
    with pytest.raises(DataError, match="no test films with big"):
        deletion(pack, some, Comparison(dataset="d"), question=question, config=config)
    with pytest.raises(UsageError, match="has no label 'small'; its labels are big"):
        ask_probe(data, features, "small", config=ProbeConfig(), device="cpu")
    with pytest.raises(UsageError, match="1 steps"):
        DeletionConfig(steps=1)


def test_the_view_is_the_svd_of_the_training_films(pack, encoders):
    features = embed_pack(encoders["pacx"], pack)
    train, test = pack.rows("train"), pack.rows("test")
    view = embedding_view(features, train, test)
    centre = features[train].mean(axis=0, dtype=np.float64)
    _, values, directions = np.linalg.svd(features[train] - centre, full_matrices=False)
    expected = (features[test] - centre) @ directions[:2].T
    np.testing.assert_allclose(np.abs(view.coordinates), np.abs(expected), atol=1e-4)
    np.testing.assert_allclose(view.explained, (values**2 / (values**2).sum())[:2], rtol=1e-4)
    features[2, 3] = np.nan
    with pytest.raises(Exception, match="1 of 60 embeddings hold NaN"):
        embedding_view(features, train, test)
    with pytest.raises(DataError, match="2 films of 32 dimensions"):
        embedding_view(np.nan_to_num(features), train[:2], test)
