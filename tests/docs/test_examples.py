"""The example of every public name, run as it stands in a small workspace of simulated patients."""

import ast
import doctest
import importlib
import io
import os
import pkgutil
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import pacx
from pacx.cli.main import main
from pacx.data.datasets.folder import FolderOptions
from pacx.data.packs.from_dataset import pack_dataset
from pacx.data.packs.pack import Pack
from pacx.evaluation.comparison import Comparison
from pacx.evaluation.embeddings import embed_pack
from pacx.evaluation.probes.classification import ClassificationData
from pacx.evaluation.probes.linear_probe import linear_probe
from pacx.evaluation.protocol import protocols
from pacx.evaluation.results import write_rows
from pacx.evaluation.settings import ProbeConfig
from pacx.modalities.targets import FrozenTargets
from pacx.models.encoders.folder import load_encoder, save_encoder
from pacx.models.vit import random_vit
from pacx.models.vit_config import Pooling, ViTConfig
from pacx.simulation.hospital import HospitalConfig, write_hospital
from pacx.suite.certificate import CERTIFICATE_FILE, certify
from pacx.suite.config import SuiteConfig
from pacx.suite.suite import Suite

pytestmark = pytest.mark.slow

SIZE_PX = 64
SHORT = ProbeConfig(epochs=2, num_seeds=1)
PUBLIC = [
    (room, name)
    for room in ["pacx", *(info.name for info in pkgutil.iter_modules(pacx.__path__, "pacx.") if info.ispkg)]
    for name in getattr(importlib.import_module(room), "__all__", ())
    if not name.startswith("__")
]
LISTS = {
    "pacx.data.dataset": {"datasets"},
    "pacx.simulation.twin": {"twins"},
}
"""What examples import beside public names: lists whose name a folder has already."""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Films, packs, untrained encoders, random targets and results, as they lie after the commands of the tutorials."""
    root, before = tmp_path_factory.mktemp("workspace"), Path.cwd()
    os.chdir(root)
    try:
        cohorts = {"num_pretraining_patients": 1, "num_triplet_patients": 60, "num_downstream_patients": 60}
        write_hospital(Path("hospital"), HospitalConfig(**cohorts, image_size_px=SIZE_PX))
        shutil.copytree("hospital/downstream/films", "films")
        labelled = FolderOptions(label_columns=("*",))
        films = pack_dataset("folder", "hospital/downstream", "packs/films", image_size_px=SIZE_PX, options=labelled)
        index = pd.read_csv("hospital/triplets/index.csv")
        index.assign(split=["train", "val", "test"] * 20).to_csv("hospital/triplets/index.csv", index=False)
        triplets = pack_dataset("folder", "hospital/triplets", "packs/triplets", image_size_px=SIZE_PX)
        for seed, name in enumerate(("mae", "pacx")):
            _save_untrained(Path("runs", name, "encoder"), films, seed)
        random = np.random.default_rng(0)
        for modality, width in (("ecg", 8), ("labs", 6)):
            vectors = random.standard_normal((len(triplets), width)).astype(np.float32)
            targets = FrozenTargets(modality, tuple(triplets.sample_ids), vectors, f"{modality}-untrained-simulated")
            targets.save(Path("runs", modality, "targets"))
        _write_results(films)
        yield root
    finally:
        os.chdir(before)


def _save_untrained(folder: Path, films: Pack, seed: int) -> None:
    vit = random_vit(ViTConfig(img_size=SIZE_PX, patch_size=16, embed_dim=32, depth=2, num_heads=2), seed)
    contract = films.preprocessing
    save_encoder(vit, folder, preprocessing=contract, pooling=Pooling.CLASS_TOKEN, card="# Untrained", provenance={})


def _write_results(films: Pack) -> None:
    """Rows of a linear probe, and the folder of a certified evaluation."""
    features = {name: embed_pack(load_encoder(Path("runs", name, "encoder")), films) for name in ("mae", "pacx")}
    comparison = Comparison(dataset="films", baseline="mae", num_draws=20, device="cpu")
    data = ClassificationData.from_pack(films, dataset="films")
    write_rows(Path("results.json"), linear_probe(data, features, comparison, config=SHORT))
    config = SuiteConfig(
        packs=(Path("packs/films"),),
        encoders=("mae=runs/mae/encoder", "pacx=runs/pacx/encoder"),
        out=Path("runs/evaluation"),
        baseline="mae",
        probe=SHORT,
        without=tuple(name for name in protocols() if name != "linear-probe"),
        num_draws=20,
        device="cpu",
    )
    suite = Suite(config, "examples")
    rows = suite.run()
    write_rows(config.out / "results.json", rows)
    certify(suite, rows).write(config.out / CERTIFICATE_FILE)


def _example(room: str, name: str) -> doctest.DocTest:
    public = getattr(importlib.import_module(room), name)
    (found,) = doctest.DocTestFinder(recurse=False).find(public, f"{room}.{name}", globs={})
    return found


@pytest.mark.parametrize(("room", "name"), PUBLIC)
def test_an_example_prints_what_it_says(room: str, name: str, workspace: Path) -> None:
    example, said = _example(room, name), io.StringIO()
    runner = doctest.DocTestRunner(verbose=False)
    assert example.examples, f"{room}.{name} has no example"
    assert runner.run(example, out=said.write).failed == 0, said.getvalue()


@pytest.mark.parametrize(("room", "name"), PUBLIC)
def test_an_example_needs_public_names_only(room: str, name: str) -> None:
    lines = ast.parse("".join(each.source for each in _example(room, name).examples))
    for node in ast.walk(lines):
        if isinstance(node, ast.Import):
            assert {each.name for each in node.names if each.name.startswith("pacx")} <= {"pacx"}
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("pacx"):
            names = {each.name for each in node.names}
            allowed = {public for place, public in PUBLIC if place == node.module}
            assert names <= allowed | LISTS.get(str(node.module), set()), ast.unparse(node)


def test_an_example_that_says_something_else_fails() -> None:
    example = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, None)
    assert doctest.DocTestRunner(verbose=False).run(example, out=lambda _: 0).failed == 1


@pytest.mark.parametrize("words", ["train mae", "train distill", "evaluate all", "demo"])
def test_the_help_of_a_command_shows_no_python(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The settings of these commands are public classes, whose docstrings are the help."""
    with pytest.raises(SystemExit):
        main([*words.split(), "--help"])
    said = capsys.readouterr().out
    assert ">>>" not in said
    assert said.count("Example:") == 1
