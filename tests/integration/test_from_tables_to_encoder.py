"""From a hospital's tables to a distilled encoder by commands alone: the same films everywhere, partial pairs too."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pacx.cli.main import main
from pacx.data.packs.pack import Pack
from pacx.modalities.targets import FrozenTargets

SHORT = "--training.epochs 1 --training.warmup-epochs 0 --training.batch-size 16 --training.accelerator cpu"
MODEL = "--task.model.embed-dim 32 --task.model.depth 1 --task.model.num-heads 2 --task.model.decoder-embed-dim 32"
DECODER = "--task.model.decoder-depth 1 --task.model.decoder-num-heads 2"
HOSPITAL = "--hosp mimic/mimiciv/hosp --mimic-cxr-jpg mimic/mimic-cxr-jpg --mimic-iv-ecg mimic/mimic-iv-ecg"


def pacx(words: str) -> None:
    main(words.split())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hospital, its links by either rule, and the pack of either."""
    folder = tmp_path_factory.mktemp("linked")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        pacx("simulate mimic-cxr-jpg --out mimic --patients 40 --image-size-px 64")
        for rule in ("film", "symile"):
            pacx(f"data link mimic-iv {HOSPITAL} --rule {rule} --out links-{rule}")
            pacx(
                f"data pack mimic-cxr-jpg --root mimic/mimic-cxr-jpg --links links-{rule} --out packs/{rule} "
                "--image-size-px 64"
            )
        pacx(f"train labs-tiny --links links-film --pack packs/film --out runs/labs {SHORT}")
        recordings = "--recordings mimic/mimic-iv-ecg --links links-film"
        pacx(f"train ecg-tiny {recordings} --pack packs/film --out runs/ecg {SHORT}")
        pacx("embed labs --encoder runs/labs/labs --links links-symile --out targets/labs-symile")
    return folder


def test_pack_and_targets_have_the_films_of_the_links_and_no_others(place: Path) -> None:
    pairs = pd.read_parquet(place / "links-film/pairs.parquet")
    pack = Pack.open(place / "packs/film")
    assert set(pack.sample_ids) == set(pairs["dicom_id"])
    assert (
        pack.table.set_index("sample_id").loc[pairs["dicom_id"], "patient_id"].tolist()
        == pairs["subject_id"].astype(str).tolist()
    )
    ecg, labs = (FrozenTargets.open(place / f"runs/{name}/targets") for name in ("ecg", "labs"))
    assert set(ecg.sample_ids) == set(pairs["dicom_id"][pairs["ecg_path"].notna()])
    items = json.loads((place / "links-film/links.json").read_text())["items"]
    assert set(labs.sample_ids) == set(pairs["dicom_id"][pairs[items].notna().any(axis=1)])
    for each in (ecg, labs):
        assert set(each.sample_ids) < set(pairs["dicom_id"]), "some pairs are partial"


def test_splits_are_the_datasets_own_and_no_patient_is_in_two(place: Path) -> None:
    official = pd.read_csv(place / "mimic/mimic-cxr-jpg/mimic-cxr-2.0.0-split.csv.gz").set_index("dicom_id")["split"]
    table = Pack.open(place / "packs/film").table
    assert table["split"].tolist() == official.loc[table["sample_id"]].replace("validate", "val").tolist()
    assert table.groupby("patient_id")["split"].nunique().max() == 1
    assert set(table["split"]) == {"train", "val", "test"}


def test_films_of_ones_own_meet_their_ecgs_and_values_by_path(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three tables with columns of other names, a folder of films that knows no patient."""
    monkeypatch.chdir(place)
    pairs = pd.read_parquet("links-film/pairs.parquet")
    films = {"PatNo": pairs["subject_id"], "Taken": pairs["film_time"], "Image": pairs["film_path"]}
    pd.DataFrame(films).to_csv("mimic/mimic-cxr-jpg/xray.csv", index=False)
    events = pd.read_csv("mimic/mimiciv/hosp/labevents.csv.gz", dtype=str)
    names = {"subject_id": "PatNo", "charttime": "Drawn", "itemid": "Test", "valuenum": "Result"}
    events.rename(columns=names)[list(names.values())].to_csv("lab.csv", index=False)
    records = pd.read_csv("mimic/mimic-iv-ecg/record_list.csv", dtype=str)
    names = {"subject_id": "PatNo", "ecg_time": "At", "path": "Rec"}
    records.rename(columns=names)[list(names.values())].to_csv("mimic/mimic-iv-ecg/ecg.csv", index=False)
    Path("own.toml").write_text(
        'films = { table = "mimic/mimic-cxr-jpg/xray.csv", patient = "PatNo", time = "Taken", file = "Image" }\n'
        'labs = { table = "lab.csv", patient = "PatNo", time = "Drawn", item = "Test", value = "Result" }\n'
        'ecgs = { table = "mimic/mimic-iv-ecg/ecg.csv", patient = "PatNo", time = "At", file = "Rec" }\n'
    )
    pacx("data link tables --toml own.toml --out links-own")
    pacx(
        "data pack folder --root mimic/mimic-cxr-jpg --no-patients --links links-own --out packs/own --image-size-px 64"
    )
    pack = Pack.open(place / "packs/own")
    assert set(pack.sample_ids) == set(pairs["film_path"])
    assert dict(zip(pack.sample_ids, pack.patient_ids, strict=True)) == dict(
        zip(pairs["film_path"], pairs["subject_id"].astype(str), strict=True)
    )
    pacx("embed ecg --encoder runs/ecg/ecg --recordings mimic/mimic-iv-ecg --links links-own --out targets/ecg-own")
    pacx("embed labs --encoder runs/labs/labs --links links-own --out targets/labs-own")
    by_path = dict(zip(pairs["dicom_id"], pairs["film_path"], strict=True))
    for name in ("ecg", "labs"):
        official, own = (
            FrozenTargets.open(place / f"runs/{name}/targets"),
            FrozenTargets.open(place / f"targets/{name}-own"),
        )
        again = own.for_samples([by_path[film] for film in official.sample_ids])
        np.testing.assert_allclose(again, official.embeddings, atol=1e-6)


def test_partial_pairs_are_distilled_and_targets_of_other_links_are_not(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    pacx(f"train mae-tiny --pack packs/film --out runs/mae {SHORT} {MODEL} {DECODER}")
    words = "train distill-tiny --encoder runs/mae/encoder --pack packs/film --targets runs/ecg/targets"
    pacx(f"{words} runs/labs/targets --task.partial-pairs --out runs/pacx {SHORT}")
    assert (place / "runs/pacx/encoder/model.safetensors").is_file()
    journal = json.loads((place / "runs/pacx/summary.json").read_text())
    assert any("films have an ECG" in note for note in journal["notes"])
    assert np.isfinite(list(journal["validation"].values())).all()
    with pytest.raises(SystemExit) as stop:
        pacx(f"{words} targets/labs-symile --task.partial-pairs --out runs/other {SHORT}")
    assert stop.value.code == 1
    assert "make all of them of one" in capsys.readouterr().err
