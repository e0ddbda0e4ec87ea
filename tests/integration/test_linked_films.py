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
