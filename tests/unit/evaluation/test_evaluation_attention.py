"""Attention shares by hand and over a pack; rescue cases."""

import numpy as np
import pytest
import torch

from pacx.evaluation.comparison import Comparison
from pacx.evaluation.evidence.attention import UNIFORM, attention, attention_share, rescue_cases, rescued, rollout_maps
from pacx.models.rollout import attention_rollout


def test_share_by_hand():
    maps = np.array([[[0.0, 1.0], [0.5, 0.5]], [[0, 0], [0, 0]], [[1, 0], [0, 1]]], np.float32)
    masks = np.array([[[[0, 1], [0, 255]]], [[[1, 0], [0, 255]]], [[[0, 0], [0, 255]]]], np.uint8)
    np.testing.assert_allclose(attention_share(maps, masks)[:, 0], [1 / 1.5, 1 / 3, np.nan])


def test_rows_equal_the_maps(pack, encoders):
    rows = attention(pack, encoders, Comparison(dataset="discs", baseline="mae", provenance="here", num_draws=100))
    table = {(row.name, row.label): row for row in rows}
    test = pack.rows("test")
    vit, preprocessing, _ = encoders["pacx"]
    maps = attention_rollout(vit, torch.from_numpy(preprocessing.normalize(pack.images[test]))).numpy()
    hearts = pack.masks[test, 0] == 1
    shares = [m[h].sum() / m.sum() for m, h in zip(maps, hearts, strict=True) if h.any()]
    assert table["pacx", "heart"].value == pytest.approx(np.mean(shares), abs=1e-5)
    areas = [h.mean() for h in hearts if h.any()]
    assert table[UNIFORM, "heart"].value == pytest.approx(np.mean(areas), abs=1e-9)
    assert table["pacx", "heart"].n == len(shares) < len(test)
    assert table["pacx", "heart"].ci_low < table["pacx", "heart"].value < table["pacx", "heart"].ci_high
    difference = table["pacx - mae", "heart"]
    assert difference.metric == "attention_share_difference"
    assert difference.value == pytest.approx(table["pacx", "heart"].value - table["mae", "heart"].value)


def test_rescued_are_positive_films_found_by_one_and_missed_by_the_other():
    truth = np.array([1, 1, 1, 0, np.nan, 1])
    found = np.array([0.6, 0.9, 0.9, 0.9, 0.9, 0.4])
    missed = np.array([0.4, 0.1, 0.6, 0.1, 0.1, 0.1])
    np.testing.assert_array_equal(rescued(truth, found, missed), [1, 0])
    assert len(rescued(truth, missed, missed)) == 0


def test_rescue_cases_hold_what_a_figure_needs(pack, encoders):
    rows = pack.rows("test")[[2, 0]]
    cases = rescue_cases(
        pack, rows, np.array([[0.9, 0.1], [0.6, 0.4]]), encoder=encoders["pacx"], baseline=encoders["mae"]
    )
    np.testing.assert_array_equal(cases.images, pack.images[rows])
    np.testing.assert_array_equal(cases.sample_ids, pack.sample_ids[rows])
    np.testing.assert_array_equal(cases.baseline_maps, rollout_maps(encoders["mae"], pack, rows=rows))
    np.testing.assert_allclose(cases.differences, cases.encoder_maps - cases.baseline_maps)
    assert np.abs(cases.differences).max() > 0.05
