"""``pacx audit illness`` on films whose brightness tells severity, and whose stripe may tell an illness."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pacx.cli.main import main
from pacx.core.preprocessing import Preprocessing
from pacx.data.packs.packing import pack_records
from pacx.data.records import Records
from pacx.evaluation.results import ResultRow, read_rows
from pacx.modalities.targets import FrozenTargets
from pacx.models.encoders.folder import save_encoder
from pacx.models.panel.config import LAB_PANEL
from pacx.models.vit import Pooling, ViTConfig, random_vit

NUM, SIZE = 320, 32
CONTRACT = Preprocessing(image_size_px=SIZE)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pack, an encoder, and targets that know severity and illness, or severity alone."""
    root, random = tmp_path_factory.mktemp("illness"), np.random.default_rng(0)
    severity, illness = random.random(NUM), random.integers(0, 2, NUM)
    (root / "films").mkdir()
    for row in range(NUM):
        film = random.normal(60 + 80 * severity[row], 10, (SIZE, SIZE))
        film[8:16] += 70 * illness[row]
        Image.fromarray(film.clip(0, 255).astype(np.uint8)).save(root / "films" / f"{row}.png")
    ids = [f"s{row}" for row in range(NUM)]
    table = pd.DataFrame({"sample_id": ids, "image_path": [f"{row}.png" for row in range(NUM)]})
    table = table.assign(patient_id=[f"p{row}" for row in range(NUM)], study_id="", view="PA")
    table = table.assign(severity=severity, illness=np.where(illness, "ill", "well"), sick=illness.astype(float))
    table["age"] = np.where(np.arange(NUM) % 40 == 0, ">89", np.where(illness, "70", "71"))
    table["rare"] = [
        f"r{row // 2}" if row < 50 else f"alone {row}" for row in range(NUM)
    ]  # of a half, few have anybody
    table["split"] = np.array(["train", "val", "test"])[np.arange(NUM) % 3]
    pack_records(Records(table, ("sick",), (), root / "films"), root / "pack", preprocessing=CONTRACT, num_workers=1)
    vit = random_vit(ViTConfig(img_size=SIZE, patch_size=8, embed_dim=64, depth=1, num_heads=2), 0)
    save_encoder(vit, root / "mae", preprocessing=CONTRACT, pooling=Pooling.CLASS_TOKEN, card="", provenance={})
    noise = random.normal(0, 0.2, (2, NUM))
    told = {"knows": illness + noise[0], "severity": noise[1]}
    for name, values in told.items():
        embeddings = np.stack([severity + noise[1], values], axis=1).astype(np.float32)
        FrozenTargets("ecg", tuple(ids), embeddings, name).save(root / name)
    # laboratory values that are as far from the median as the patient is ill
    far = np.where(random.random((NUM, 3)) < 0.5, -1, 1) * (0.1 + severity[:, None])
    labs = pd.DataFrame({"sample_id": ids}).assign(**dict.fromkeys(LAB_PANEL.keys, np.nan))
    labs[list(LAB_PANEL.keys[:3])] = 10 + far
    labs.to_csv(root / "labs.csv", index=False)
    return root


def audited(place: Path, targets: str, *words: str) -> list[ResultRow]:
    out = place / "found.json"
    words = ("--targets", str(place / targets), "--num-draws", "200", "--out", str(out), "--device", "cpu", *words)
    main(["audit", "illness", "--pack", str(place / "pack"), "--encoder", f"mae={place / 'mae'}", *words])
    return read_rows(out)


def found(rows: list[ResultRow], condition: str, contrast: str = "") -> ResultRow:
    """The share of variance after one kind of teaching, or its difference to another."""
    (row,) = [
        row
        for row in rows
        if row.label == "macro"
        and row.metric.startswith("target_r2")
        and (row.condition, row.contrast) == (condition, f"mae ({contrast})" if contrast else "")
    ]
    return row


def test_an_illness_that_films_show_is_taught_by_own_pairs_alone(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = audited(place, "knows", "--alike", "severity", "--labelled", str(place / "pack"), "--probe.epochs", "5")
    own, exchanged = found(rows, "own pairs"), found(rows, "pairs of patients alike")
    # two whitened directions, one of them severity with noise of .2 in .29 (R2 .67), one illness in .54 (R2 .86)
    assert 0.6 < own.value < 0.8
    assert exchanged.value < own.value - 0.25
    gap = found(rows, "own pairs", "pairs of patients alike")
    assert gap.ci_low > 0
    assert gap.value == pytest.approx(own.value - exchanged.value)
    assert {row.metric for row in rows} >= {"auroc"}
    said = capsys.readouterr()
    assert "Own pairs teach more than what pairs of patients alike teach" in said.out
    assert "0 films lack a target, 0 have nobody alike" in said.out


@pytest.mark.parametrize(
    "words", [("severity", ["--alike", "severity"]), ("knows", ["--alike", "severity", "illness"])]
)
def test_where_the_columns_tell_all_there_is_nothing_more(
    place: Path, words: tuple[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Targets of severity alone; or an illness in which those who exchange are alike as well."""
    rows = audited(place, words[0], *words[1])
    gap = found(rows, "own pairs", "pairs of patients alike")
    assert abs(gap.value) < 0.03
    says_nothing = "nothing that can be told from" in capsys.readouterr().out
    assert says_nothing == (gap.ci_low <= 0)


def test_a_severity_made_from_labs_stands_for_one_that_is_known(place: Path) -> None:
    by_labs = audited(place, "severity", "--labs", str(place / "labs.csv"))
    by_column = audited(place, "severity", "--alike", "severity")
    nothing = audited(place, "severity", "--alike", "view")
    exchanged = "pairs of patients alike"
    assert found(by_labs, exchanged).value > 0.7 * found(by_column, exchanged).value
    assert found(nothing, exchanged).value < 0.1


def test_what_a_reader_has_to_know_is_told(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A column of ages with one "over 89", and labelled films of patients whose pairs were taught."""
    replace(FrozenTargets.open(place / "severity"), notes=("3 of 320 recordings hum",)).save(place / "hums")
    words = ("--alike", "severity", "age", "--labelled", str(place / "pack"), "--probe.epochs", "2")
    rows = audited(place, "hums", *words)
    said = capsys.readouterr().err
    assert "3 of 320 recordings hum" in said
    assert "column age counts as 3 words and not as numbers: 8 of its 320 cells are no number, such as '>89'" in said
    assert "test patients of" in said
    assert {row.condition for row in rows if row.metric == "auroc"} >= {"own pairs", "pairs of patients alike"}


def test_pairs_that_teach_nothing_are_probed_as_nothing(place: Path) -> None:
    noise = np.random.default_rng(1).normal(size=(NUM, 2)).astype(np.float32)
    FrozenTargets("ecg", tuple(f"s{row}" for row in range(NUM)), noise, "noise").save(place / "noise")
    rows = audited(place, "noise", "--alike", "severity", "--labelled", str(place / "pack"), "--probe.epochs", "2")
    scores = [row.value for row in rows if row.metric == "auroc" and row.condition and row.label == "macro"]
    assert len(scores) == 2
    assert 0.5 in scores


def test_what_cannot_be_asked_is_told(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labs = place / "others.csv"
    knows = FrozenTargets.open(place / "knows")
    for name, links in (("of links", "a" * 12), ("of others", "b" * 12)):
        replace(knows, modality=name, notes=(f"pairs of links {links} (x): all",)).save(place / name)
    pd.read_csv(place / "labs.csv").assign(sample_id=[f"x{row}" for row in range(NUM)]).to_csv(labs, index=False)
    for words, sentence in (
        ([], "alike in something"),
        (
            ["--alike", "view", "--targets", str(place / "of links"), str(place / "of others")],
            "made of different links",
        ),
        (["--alike", "rare", "--num-folds", "2"], "fewer columns after --alike, or more pairs"),
        (["--alike", "ward"], "has no column ward"),
        (["--alike", "sample_id"], "give fewer columns after --alike"),
        (["--labs", str(labs)], "same sample ids"),
        (["--alike", "severity", "--num-folds", "1"], "at least 2"),
    ):
        with pytest.raises(SystemExit) as end:
            audited(place, "knows", *words)
        assert end.value.code in (1, 2)
        assert sentence in capsys.readouterr().err
