"""What every protocol that discovery finds must keep, and that a new one is one file."""

import dataclasses
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import pacx
from pacx.cli.main import main
from pacx.core.preprocessing import Preprocessing
from pacx.data.packs.pack import Pack
from pacx.data.packs.packing import pack_records
from pacx.data.records import Records
from pacx.evaluation import protocols as package
from pacx.evaluation.comparison import Comparison
from pacx.evaluation.protocol import EncodedPack, Need, Protocol, protocols
from pacx.evaluation.results import difference_metric, read_rows
from pacx.evaluation.settings import DeletionConfig, ProbeConfig, SegmentationConfig
from pacx.modalities.targets import FrozenTargets
from pacx.models.encoders.folder import save_encoder
from pacx.models.vit import Pooling, ViTConfig, random_vit
from pacx.reporting.report import write_report
from pacx.suite.config import SuiteConfig

PAGE = Path(__file__).resolve().parents[2] / "docs" / "adding" / "protocol.md"
HEAVY = ("torch", "timm", "transformers", "peft", "sklearn", "scipy", "pandas", "matplotlib")
BESIDE = {"linear-probe": {"subgroups"}}
"""Rows of another name that a protocol adds."""

every_protocol = pytest.mark.parametrize("name", list(protocols()))


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a pack that has everything, one that has nothing, two encoders, targets and values."""
    here = tmp_path_factory.mktemp("here")
    random = np.random.default_rng(0)
    rows = []
    for number in range(90):
        bright = number // 3 % 2
        film = random.normal(70 + 50 * bright, 20, size=(32, 32)).clip(0, 255).astype(np.uint8)
        Image.fromarray(film).save(here / f"f{number}.png")
        mask = np.zeros((32, 32), np.uint8)
        mask[8:24, 8 + number % 4 : 20] = 255
        Image.fromarray(mask).save(here / f"m{number}.png")
        told = {"sample_id": f"s{number}", "image_path": f"f{number}.png", "patient_id": f"p{number}", "study_id": ""}
        told |= {"view": "PA", "split": ("train", "val", "test")[number % 3], "age": 50 + number % 40}
        rows.append({**told, "sex": "FM"[number % 2], "bright": float(bright), "mask:lung": f"m{number}.png"})
    table = pd.DataFrame(rows)
    contract = Preprocessing(image_size_px=32)
    whole = Records(table, label_names=("bright",), mask_names=("lung",), root=here)
    pack = pack_records(whole, here / "films", preprocessing=contract, num_workers=1)
    bare = table.drop(columns=["bright", "mask:lung"]).assign(split="")
    pack_records(Records(bare, (), (), here), here / "bare", preprocessing=contract, num_workers=1)
    alone = Records(
        table.assign(patient_id=table["sample_id"]), ("bright",), ("lung",), here, has_unknown_patients=True
    )
    pack_records(alone, here / "strangers", preprocessing=contract, num_workers=1)
    config = ViTConfig(img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2)
    for seed, name in enumerate(("mae", "pacx")):
        vit = random_vit(config, seed)
        save_encoder(vit, here / name, preprocessing=contract, pooling=Pooling.CLASS_TOKEN, card="", provenance={})
    values = random.standard_normal((len(pack), 5)).astype(np.float32)
    FrozenTargets("ecg", tuple(pack.sample_ids), values, "a-b-c").save(here / "ecg")
    pd.DataFrame({"sample_id": pack.sample_ids, "potassium": values[:, 0]}).to_csv(here / "labs.csv", index=False)
    return here


def small(protocol: Protocol[Any], here: Path) -> Any:
    """Settings of a protocol, as small as they get; those it has of its own stay at their defaults."""
    told = {
        "probe": ProbeConfig(epochs=2, num_seeds=2),
        "decoder": SegmentationConfig(epochs=1, warmup_epochs=0, num_seeds=1),
        "deletion": DeletionConfig(steps=2, num_films=4),
        "targets": (here / "ecg",),
        "values": here / "labs.csv",
    }
    names = {each.name for each in dataclasses.fields(protocol.settings)}
    return protocol.settings(**{name: value for name, value in told.items() if name in names})


def films(here: Path, pack: str = "films") -> EncodedPack:
    """What a user has in hand: a pack, and encoders as the package opens them."""
    encoders = {name: pacx.load_encoder(here / name) for name in ("mae", "pacx")}
    return EncodedPack(pack=Pack.open(here / pack), encoders=encoders)


@every_protocol
def test_it_says_what_it_is(name: str) -> None:
    protocol = protocols()[name]
    assert protocol.name == name
    assert protocol.summary
    assert protocol.headline
    assert inspect.getmodule(type(protocol)).__doc__
    kind = protocol.settings
    assert dataclasses.is_dataclass(kind)
    assert kind.__dataclass_params__.frozen
    assert kind() == kind(), "defaults for everything"
    source = inspect.getsource(kind)
    for each in dataclasses.fields(kind):
        is_documented = re.search(rf"^    {each.name}: .*\n    \"\"\"", source, re.MULTILINE)
        assert is_documented or f"{each.name}:" in (kind.__doc__ or ""), each.name
    for each in protocol.inputs:
        assert not getattr(kind(), each), "files are given, never assumed"


def test_a_setting_of_one_name_is_of_one_type_everywhere() -> None:
    """Because ``evaluate all`` fills settings in by name."""
    types: dict[str, set[str]] = {}
    for kind in (SuiteConfig, *(protocol.settings for protocol in protocols().values())):
        for each in dataclasses.fields(kind):
            types.setdefault(each.name, set()).add(str(each.type))
    assert {name: found for name, found in types.items() if len(found) > 1} == {}


def test_help_of_every_protocol_is_shown_without_a_heavy_library() -> None:
    code = f"""
import sys
from pacx.cli.main import main
for name in {["all", *protocols()]}:
    try: main(["evaluate", name, "--help"])
    except SystemExit as stop: assert not stop.code
assert not [heavy for heavy in {HEAVY} if heavy in sys.modules], sys.modules.keys() & {set(HEAVY)}
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in protocols():
        assert f"pacx evaluate {name} --pack" in done.stdout


@every_protocol
def test_rows_carry_its_name_and_what_the_comparison_says(name: str, here: Path) -> None:
    protocol, comparison = protocols()[name], Comparison(dataset="d", baseline="mae", provenance="here", num_draws=20)
    settings = small(protocol, here)
    assert protocol.lacks(films(here), settings) == ""
    rows = protocol.run(films(here), settings, comparison).rows
    assert {row.protocol for row in rows} - BESIDE.get(name, set()) == {name}
    assert {(row.dataset, row.device, row.seed) for row in rows} == {("d", comparison.device, 0)}
    assert all(row.provenance.startswith("here") for row in rows)
    assert {"mae", "pacx"} <= {row.subject for row in rows if row.metric == protocol.headline}
    differences = [row for row in rows if row.metric == difference_metric(protocol.headline)]
    assert all(row.contrast for row in differences)
    if differences:
        assert ("pacx", "mae") in {(row.subject, row.contrast) for row in differences} or name == "shortcut"


@every_protocol
def test_rows_say_what_their_intervals_drew(name: str, here: Path) -> None:
    protocol, comparison = protocols()[name], Comparison(dataset="d", num_draws=5)
    for pack, drawn_by in (("films", "patient"), ("strangers", "film, patients unknown")):
        rows = protocol.run(films(here, pack), small(protocol, here), comparison).rows
        assert {row.drawn_by for row in rows} == {"" if name == "view" else drawn_by}, "a picture draws nothing"


@every_protocol
def test_it_computes_where_it_is_told(name: str, here: Path) -> None:
    """ "meta" is a device that holds no numbers: whoever takes it cannot end in rows."""
    protocol = protocols()[name]
    with pytest.raises((NotImplementedError, RuntimeError), match="meta"):
        protocol.run(films(here), small(protocol, here), Comparison(dataset="d", num_draws=2, device="meta"))


@every_protocol
def test_what_it_lacks_is_named(name: str, here: Path) -> None:
    protocol = protocols()[name]
    missing = protocol.lacks(films(here, "bare"), small(protocol, here))
    for need in protocol.needs:
        assert (need.value in missing) == (need is not Need.ROLLOUT), need
    assert missing
    if protocol.inputs:
        assert protocol.lacks(films(here), protocol.settings()) == ", ".join(f"--{each}" for each in protocol.inputs)


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("probe", "'probe' is called linear-probe now"),
        ("segment", "'segment' is called segmentation now"),
        ("align", "'align' is called alignment now"),
        ("rollout", "'rollout' is called attention now"),
        ("knnn", "'knnn' is no protocol; did you mean knn?"),
        ("xyzzy", "'xyzzy' is no protocol; there are all, alignment"),
    ],
)
def test_another_word_is_one_sentence(word: str, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", word, "--pack", "p"])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"pacx: {sentence}")
    assert said.count("\n") == 1


def test_a_protocol_that_cannot_be_run_is_one_sentence(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--encoders", f"mae={here / 'mae'}", "--out", str(here / "x.json"), "--pack", str(here / "bare")]
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", "segmentation", *words])
    assert stop.value.code == 2
    assert f"segmentation on {here / 'bare'} lacks {Need.SPLITS.value}, masks" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["evaluate", "knn", *words, "--device", "gpu"])
    assert "device gpu cannot be used" in capsys.readouterr().err


@pytest.mark.slow
def test_the_page_is_a_protocol_that_every_door_finds(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One file put down: the list, the command, the suite with its certificate, and the report."""
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert code is not None
    (tmp_path / "spread.py").write_text(code[1])
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    assert "spread" in protocols()
    encoders = [f"{name}={here / name}" for name in ("mae", "pacx")]
    out = tmp_path / "rows.json"
    main(["evaluate", "spread", "--pack", str(here / "films"), "--encoders", *encoders, "--out", str(out),
          "--baseline", "mae", "--num-draws", "20"])  # fmt: skip
    assert "pacx - mae" in capsys.readouterr().out
    by_hand = {row.name: row.value for row in read_rows(out)}
    pack = Pack.open(here / "films")
    test = films(here).features("cpu")["pacx"][pack.rows("test")]
    assert by_hand["pacx"] == pytest.approx(test.var(axis=0).sum(), rel=1e-5)
    assert by_hand["pacx - mae"] == pytest.approx(by_hand["pacx"] - by_hand["mae"])
    suite = tmp_path / "suite"
    others = [name for name in protocols() if name not in ("spread", "alignment", "readout")]
    main(["evaluate", "all", "--packs", str(here / "films"), "--encoders", *encoders, "--out", str(suite),
          "--num-draws", "20", "--without", *others])  # fmt: skip
    said = capsys.readouterr().out
    assert "left out: alignment on films, which lacks --targets" in said
    assert "left out: readout on films, which lacks --values" in said
    assert [row.value for row in read_rows(suite / "results.json")] == [by_hand["mae"], by_hand["pacx"]]
    assert json.loads((suite / "certificate.json").read_text())["rows"][0]["protocol"] == "spread"
    write_report([suite], tmp_path / "report.html", tables_folder=tmp_path / "tables")
    assert "spread: mean squared distance" in (tmp_path / "report.html").read_text()
    assert "squared distance" in (tmp_path / "tables" / "others.csv").read_text()
    sys.modules.pop("pacx.evaluation.protocols.spread", None)
