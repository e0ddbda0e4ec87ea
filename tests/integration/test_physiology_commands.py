"""Real WFDB records and real lab tables through the public commands: train, embed, embed again, stale."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pacx.cli.main import main
from pacx.modalities.targets import FrozenTargets
from pacx.simulation.patients.population import draw_physiology
from pacx.simulation.patients.sites import UNIVERSITY_HOSPITAL
from pacx.simulation.signals.vitals import simulate_vitals, write_vitals

SHORT = ("--training.epochs", "2", "--training.warmup-epochs", "0", "--training.accelerator", "cpu")


def command(*words: object) -> None:
    main([str(word) for word in words])


@pytest.fixture(scope="module")
def records(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten real recordings of five databases, as they were published."""
    folder = tmp_path_factory.mktemp("ecg") / "records"
    shutil.copytree(shared / "data/ecg/wfdb", folder)
    return folder


def test_wfdb_records(records, capsys):
    out = records.parent
    command("train", "ecg-tiny", "--recordings", records, "--out", out / "run", *SHORT)
    made = FrozenTargets.open(out / "run/targets")
    asked = ("embed", "ecg", "--encoder", out / "run/ecg", "--recordings", records, "--num-workers", 1)
    command(*asked, "--out", out / "targets")
    assert "10 ecg targets of width 96 written to" in capsys.readouterr().out
    targets = FrozenTargets.open(out / "targets", expected_fingerprint=made.fingerprint)
    np.testing.assert_allclose(targets.embeddings, made.embeddings, atol=1e-5)
    assert {"A0002", "JS00001", "HR00001", "E00001", "Q0001"} <= set(targets.sample_ids)
    command(*asked, "--out", out / "targets")
    assert "were there already" in capsys.readouterr().out
    command("embed", out / "run/ecg", records, "--out", out / "old.npz")
    np.testing.assert_allclose(np.load(out / "old.npz")["embeddings"], targets.embeddings, atol=1e-5)

    (records / "A0002.mat").write_bytes((records / "A0003.mat").read_bytes())  # one patient's signal under another
    with pytest.raises(SystemExit) as stop:
        command(*asked, "--out", out / "targets")
    assert stop.value.code == 1
    assert "are stale: the recordings or their ids changed since" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command(*asked, "--out", out / "targets", "--overwrite")
    assert "A0003.hea (is sample for sample the recording of A0002)" in capsys.readouterr().err
    command(*asked, "--out", out / "targets", "--overwrite", "--max-bad-fraction", 0.2)
    assert "quarantined: A0003" in capsys.readouterr().out
    assert len(FrozenTargets.open(out / "targets").sample_ids) == 9


@pytest.mark.parametrize(
    ("table", "recipe", "num_samples"),
    [
        ("mimic3_demo/LABEVENTS.csv.gz", "labs-tiny", 129),
        ("eicu_demo/lab.csv.gz", "labs-tiny", 168),
        ("mimic3_demo/LABEVENTS.csv.gz", "labs-released-code", 129),
    ],
)
def test_lab_tables(shared, tmp_path, capsys, table, recipe, num_samples):
    path = shared / "data/labs" / table
    short = ("--training.warmup-steps", "None", *SHORT)
    command("train", recipe, "--table", path, "--out", tmp_path / "run", *short)
    validation = json.loads((tmp_path / "run/summary.json").read_text())["validation"]
    assert {"denoising_mse", "reconstruction_mse", "imputation_mse", "mean_imputation_mse", "latent_std"} == set(
        validation
    )
    capsys.readouterr()
    missing = "TRAINING_MEAN" if recipe == "labs-released-code" else "ZERO"
    command(
        "embed", "labs", "--encoder", tmp_path / "run/labs", "--table", path, "--missing", missing,
        "--out", tmp_path / "targets",
    )  # fmt: skip
    said = capsys.readouterr().out
    assert f"{num_samples} labs targets of width 256 written to" in said
    assert "other items passed over" in said
    made = FrozenTargets.open(tmp_path / "run/targets")
    assert FrozenTargets.open(tmp_path / "targets").fingerprint == made.fingerprint


def test_labs_of_one_hospital_in_the_percentiles_of_another(shared, tmp_path, capsys):
    """MIMIC's encoder takes eICU's values, whose units agree; creatinine in micromol it refuses."""
    labs = shared / "data/labs"
    command("train", "labs-tiny", "--table", labs / "mimic3_demo/LABEVENTS.csv.gz", "--out", tmp_path / "run", *SHORT)
    encoder = ("embed", "labs", "--encoder", tmp_path / "run/labs")
    command(*encoder, "--table", labs / "eicu_demo/lab.csv.gz", "--out", tmp_path / "eicu")
    lines = [f"p{i},Creatinine,{70 + i},,2150-01-01" for i in range(30)]  # no unit is said
    (tmp_path / "other.csv").write_text("\n".join(["patient_id,item,value,unit,time", *lines]) + "\n")
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        command(*encoder, "--table", tmp_path / "other.csv", "--out", tmp_path / "targets")
    assert stop.value.code == 1
    assert "are in another unit" in capsys.readouterr().err


def test_vital_signs(tmp_path, capsys):
    ids = [f"s{i}" for i in range(80)]
    people = draw_physiology(ids, seed=0, site=UNIVERSITY_HOSPITAL)
    write_vitals(tmp_path / "vitals.csv", ids, simulate_vitals(people, ids, seed=0))
    command("train", "vitals-tiny", "--table", tmp_path / "vitals.csv", "--out", tmp_path / "run", *SHORT)
    asked = ("embed", "vitals", "--encoder", tmp_path / "run/vitals", "--table", tmp_path / "vitals.csv")
    command(*asked, "--out", tmp_path / "targets")
    assert "80 vitals targets of width 32 written to" in capsys.readouterr().out
    text = (tmp_path / "vitals.csv").read_text()
    (tmp_path / "vitals.csv").write_text(text.replace("\ns7,", "\ns7,fast", 1))
    with pytest.raises(SystemExit) as stop:
        command(*asked, "--out", tmp_path / "targets")
    assert stop.value.code == 1
    assert "(the first in column heart_rate): 1 of 436 values are no numbers" in capsys.readouterr().err
