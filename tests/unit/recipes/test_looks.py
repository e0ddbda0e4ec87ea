"""Pictures of what answers rest on: written, readable, indexed, and refused for a label that is not there."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pacx.cli.main import main
from pacx.core.errors import UsageError
from pacx.core.preprocessing import Preprocessing
from pacx.data.packs.pack import Pack
from pacx.evaluation.comparison import Comparison
from pacx.evaluation.embeddings import embed_pack
from pacx.evaluation.evidence.deletion import DeletionConfig, DeletionCurves, deletion
from pacx.evaluation.evidence.embedding_view import view_embeddings
from pacx.evaluation.probes.classification import ClassificationData
from pacx.evaluation.probes.linear_heads import ProbeConfig
from pacx.evaluation.results import read_rows
from pacx.models.encoders.by_name import NamedEncoder
from pacx.models.encoders.folder import LoadedEncoder, save_encoder
from pacx.models.vit import Pooling, ViTConfig, random_vit
from pacx.reporting.figures import read_figures
from pacx.reporting.pictures import draw, picture_rescues

CONFIG = ViTConfig(img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2)


@pytest.fixture
def named() -> list[NamedEncoder]:
    contract = Preprocessing(image_size_px=32)
    return [
        NamedEncoder(name=name, encoder=LoadedEncoder(random_vit(CONFIG, seed), contract, Pooling.CLASS_TOKEN))
        for seed, name in enumerate(("mae", "pacx"))
    ]


def test_deletion_curves_and_views_are_drawn_and_indexed(labelled: Pack, named: list[NamedEncoder], tmp_path: Path):
    encoders = {each.name: each.encoder for each in named}
    config = DeletionConfig(steps=2, num_films=4)
    rows, curves = deletion(labelled, encoders, Comparison(dataset="films", num_draws=20), question=None, config=config)
    draw(tmp_path, DeletionCurves(curves=curves, label="", config=config, num_films=rows[0].n))
    features = {name: embed_pack(encoder, labelled) for name, encoder in encoders.items()}
    shares, views = view_embeddings(labelled, features, "bright", Comparison(dataset="films"))
    draw(tmp_path, views)
    assert [entry.file for entry in read_figures(tmp_path)] == ["deletion.png", "view.png"]
    for entry in read_figures(tmp_path):
        with Image.open(tmp_path / entry.file) as picture:
            assert picture.width > 500
    assert {(row.name, row.label) for row in shares} >= {("mae", "component 1"), ("pacx", "component 2")}
    assert all(0 < row.value < 1 for row in shares)
    with pytest.raises(UsageError, match="has no label 'dull'; its labels are bright"):
        view_embeddings(labelled, features, "dull", Comparison(dataset="films"))


def test_rescues_are_drawn_when_there_are_some(labelled: Pack, named: list[NamedEncoder], tmp_path: Path):
    data = ClassificationData.from_pack(labelled, dataset="films")
    trained = {
        "config": ProbeConfig(epochs=40, learning_rates=(0.4,), num_seeds=1),
        "names": ("MAE", "PaCX"),
        "device": "cpu",
    }
    same = picture_rescues(tmp_path, labelled, data, encoder=named[0], baseline=named[0], **trained)
    assert same == 0, "nobody is rescued from oneself"
    assert read_figures(tmp_path) == []
    blind = copy.deepcopy(named[0].encoder)
    with torch.no_grad():
        blind.vit.norm.weight.zero_()  # every film looks alike
    baseline = NamedEncoder(name="blind", encoder=blind)
    rare = copy.copy(data)
    kept = rare.labels.copy()
    kept[data.training[: len(data.training) // 3]] = 0  # alike, and mostly negative: probability below one half
    object.__setattr__(rare, "labels", kept)
    found = picture_rescues(tmp_path, labelled, rare, encoder=named[1], baseline=baseline, **trained)
    assert found > 0
    (entry,) = read_figures(tmp_path)
    assert entry.title == "Rescue cases: bright"
    assert f"{found} of" in entry.caption
    with Image.open(tmp_path / entry.file) as picture:
        assert np.asarray(picture).std() > 10


@pytest.mark.parametrize("action", ["shortcut", "view", "deletion"])
def test_each_look_is_a_command(
    labelled: Pack, named: list[NamedEncoder], tmp_path: Path, action: str, capsys: pytest.CaptureFixture[str]
):
    encoder = named[0].encoder
    save_encoder(
        encoder.vit, tmp_path / "mae", preprocessing=encoder.preprocessing, pooling=encoder.pooling, card="",
        provenance={},
    )  # fmt: skip
    results = tmp_path / "out" / "results.json"
    more = {
        "shortcut": ["--probe.epochs", "2"],
        "view": ["--label", "bright"],
        "deletion": ["--label", "bright", "--probe.epochs", "2", "--deletion.steps", "2"],
    }[action]
    places = [f"mae={tmp_path / 'mae'}", f"mae-mean={tmp_path / 'mae'}#mean"]
    main(["evaluate", action, "--pack", str(labelled.path), "--encoders", *places, "--out", str(results),
          "--num-draws", "20", *more])  # fmt: skip
    assert f"written to {results}" in capsys.readouterr().out
    assert {"mae", "mae-mean"} <= {row.name for row in read_rows(results)}
    figures = {"shortcut": [], "view": ["view.png"], "deletion": ["deletion.png"]}[action]
    assert [entry.file for entry in read_figures(tmp_path / "out" / "figures")] == figures
