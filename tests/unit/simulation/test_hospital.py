"""The hospital on disk: layout, disjoint patients, same bytes from any number of workers, whole or not at all."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pacx.core.errors import UsageError
from pacx.core.vocabulary import ECG_LEADS, LAB_ITEM_IDS
from pacx.simulation.hospital import HospitalConfig, write_hospital
from pacx.simulation.patients.labels import ANATOMICAL, PHYSIOLOGY_DENSE, downstream_labels
from pacx.simulation.patients.population import draw_physiology
from pacx.simulation.patients.sites import COMMUNITY_HOSPITAL, UNIVERSITY_HOSPITAL
from pacx.simulation.signals.ecg import simulate_ecg
from pacx.simulation.signals.labs import simulate_labs
from pacx.simulation.signals.vitals import simulate_vitals

CONFIG = HospitalConfig(
    num_pretraining_patients=40, num_triplet_patients=35, num_downstream_patients=33, image_size_px=32, seed=11
)  # every cohort spans two chunks
COHORTS = ("pretraining", "triplets", "downstream")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("hospital") / "root"
    write_hospital(folder, CONFIG)
    return folder


def _contents(root: Path) -> dict[str, bytes]:
    """Every file of the finished hospital; leftovers of a killed run have hidden names."""
    files = [path for path in root.rglob("*") if path.is_file()]
    names = {path: path.relative_to(root).as_posix() for path in files}
    return {name: path.read_bytes() for path, name in names.items() if not name.startswith(".")}


def _indices(root: Path) -> dict[str, pd.DataFrame]:
    return {name: pd.read_csv(root / name / "index.csv") for name in COHORTS}


def test_every_cohort_has_its_files(root):
    for name, index in _indices(root).items():
        expected = ["file", "sample_id", "patient_id", "study_id", "view", "age", "sex"]
        paths = list(index["file"])
        if name == "downstream":
            masks = ["mask:lung", "mask:heart", "mask:opacity"]
            expected += [*PHYSIOLOGY_DENSE, *ANATOMICAL, *masks]
            paths += index[masks].to_numpy().ravel().tolist()
        assert list(index.columns) == expected
        assert index["sample_id"].is_unique
        assert set(index["view"]) == {"AP", "PA"}
        assert set(index["sex"]) == {"F", "M"}
        on_disk = {path.relative_to(root / name).as_posix() for path in (root / name).rglob("*.png")}
        assert on_disk == set(paths)


def test_patients_are_disjoint_and_some_have_two_films(root):
    index = _indices(root)
    patients = {name: set(table["patient_id"]) for name, table in index.items()}
    assert [len(patients[name]) for name in COHORTS] == [40, 35, 33]
    assert not patients["pretraining"] & patients["triplets"]
    assert not patients["pretraining"] & patients["downstream"]
    assert not patients["triplets"] & patients["downstream"]
    assert index["triplets"]["patient_id"].is_unique
    for name in ("pretraining", "downstream"):
        films = index[name].groupby("patient_id").size()
        assert set(films) == {1, 2}
        assert (index[name].groupby("patient_id")["study_id"].nunique() == 1).all()


def test_pictures_are_grey_squares_and_masks_are_black_or_white(root):
    row = _indices(root)["downstream"].iloc[0]
    film = np.asarray(Image.open(root / "downstream" / row["file"]))
    assert film.shape == (32, 32)
    assert film.dtype == np.uint8
    assert film.std() > 10
    for name in ("lung", "heart"):
        mask = np.asarray(Image.open(root / "downstream" / row[f"mask:{name}"]))
        assert set(np.unique(mask)) == {0, 255}


def test_signals_and_labels_are_those_of_the_patients_in_the_index(root):
    index = _indices(root)
    ids = list(index["triplets"]["patient_id"])
    patients = draw_physiology(ids, seed=11, site=UNIVERSITY_HOSPITAL)
    about = json.loads((root / "triplets/ecg.json").read_text())
    assert about == {
        "sample_ids": list(index["triplets"]["sample_id"]),
        "leads": list(ECG_LEADS),
        "sample_rate_hz": 500,
        "unit": "uV",
    }
    microvolt = np.load(root / "triplets/ecg.npy")
    assert microvolt.dtype == np.int16
    np.testing.assert_allclose(microvolt / 1000.0, simulate_ecg(patients, ids, seed=11), atol=0.00051)
    labs = pd.read_csv(root / "triplets/labs.csv")
    assert list(labs.columns) == ["sample_id", *map(str, LAB_ITEM_IDS)]
    assert list(labs["sample_id"]) == about["sample_ids"]
    np.testing.assert_allclose(labs.iloc[:, 1:].to_numpy(float), simulate_labs(patients, ids, seed=11), rtol=1e-6)

    table = index["downstream"]
    sick = downstream_labels(draw_physiology(list(table["patient_id"]), seed=11, site=UNIVERSITY_HOSPITAL))
    pd.testing.assert_frame_equal(table[list(sick.columns)], sick)


def test_vital_signs_are_those_of_the_patients_and_come_to_older_hospitals_too(root):
    index = _indices(root)["triplets"]
    path = root / "triplets/vitals.csv"
    vitals, before = pd.read_csv(path), path.read_bytes()
    assert list(vitals["sample_id"]) == list(index["sample_id"])
    patients = draw_physiology(list(index["patient_id"]), seed=11, site=UNIVERSITY_HOSPITAL)
    expected = simulate_vitals(patients, list(index["patient_id"]), seed=11)
    np.testing.assert_allclose(vitals.iloc[:, 1:].to_numpy(float), np.stack(expected, axis=1), rtol=1e-6)
    path.unlink()
    write_hospital(root, CONFIG)
    assert path.read_bytes() == before


def test_two_workers_write_the_same_bytes(root, tmp_path):
    write_hospital(tmp_path, CONFIG, num_workers=2)
    assert _contents(tmp_path) == _contents(root)


def test_a_smaller_hospital_is_a_part_of_a_larger_one(root, tmp_path):
    write_hospital(
        tmp_path,
        replace(CONFIG, num_pretraining_patients=3, num_triplet_patients=2, num_downstream_patients=1),
    )
    small, large = _contents(tmp_path), _contents(root)
    pictures = [name for name in small if name.endswith(".png")]
    assert len(pictures) >= 3 + 2 + 4
    assert all(small[name] == large[name] for name in pictures)


def test_what_is_there_stays_and_what_is_missing_comes_back(root, tmp_path):
    config = replace(CONFIG, num_pretraining_patients=2, num_triplet_patients=2, num_downstream_patients=2)
    write_hospital(tmp_path, config)
    before = _contents(tmp_path)
    kept = (tmp_path / "pretraining").stat().st_ino
    (tmp_path / "triplets").rename(tmp_path.with_name("moved-away"))
    write_hospital(tmp_path, config)
    assert _contents(tmp_path) == before
    assert (tmp_path / "pretraining").stat().st_ino == kept


@pytest.mark.parametrize(
    "change", [{"seed": 12}, {"num_triplet_patients": 36}, {"site": COMMUNITY_HOSPITAL}, {"image_size_px": 48}]
)
def test_another_config_is_refused_and_nothing_touched(root, change):
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    with pytest.raises(UsageError, match="another config"):
        write_hospital(root, replace(CONFIG, **change))
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_a_folder_of_unknown_origin_is_refused(tmp_path):
    (tmp_path / "triplets").mkdir()
    with pytest.raises(UsageError, match=r"no hospital\.json"):
        write_hospital(tmp_path, CONFIG)
    assert [path.name for path in tmp_path.iterdir()] == ["triplets"]


def test_killed_in_the_middle_it_leaves_no_cohort_that_looks_whole(root, tmp_path):
    sizes = {name: getattr(CONFIG, name) for name in CONFIG.__dataclass_fields__ if name.startswith("num_")}
    program = (
        "from pathlib import Path\n"
        "from pacx.simulation.hospital import HospitalConfig, write_hospital\n"
        f"write_hospital(Path({str(tmp_path)!r}), HospitalConfig(**{sizes!r}, image_size_px=32, seed=11))\n"
    )
    run = subprocess.Popen([sys.executable, "-c", program], env=dict(os.environ))
    try:
        deadline = time.monotonic() + 300
        while not any(tmp_path.rglob("films/*.png")) and run.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()
    assert any(tmp_path.rglob("films/*.png"))
    for name in COHORTS:
        if (tmp_path / name).exists():  # only a cohort that was finished before the kill
            assert (tmp_path / name / "index.csv").exists()
    assert not (tmp_path / "downstream").exists()
    write_hospital(tmp_path, CONFIG)
    assert _contents(tmp_path) == _contents(root)


@pytest.mark.parametrize(
    "change", [{"num_pretraining_patients": 0}, {"num_downstream_patients": -1}, {"image_size_px": 16}]
)
def test_impossible_hospitals_are_refused(change):
    with pytest.raises(UsageError, match=next(iter(change))):
        replace(CONFIG, **change)


def test_no_worker_no_hospital(tmp_path):
    with pytest.raises(UsageError, match="num_workers"):
        write_hospital(tmp_path, CONFIG, num_workers=0)
    assert not any(tmp_path.iterdir())
