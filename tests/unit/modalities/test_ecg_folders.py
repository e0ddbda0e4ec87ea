"""A folder of ECG files: nothing in it is passed over unsaid, and no reason quotes what a file says of its patient."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io

from pacx.core.errors import DataError
from pacx.core.quarantine import by_reason
from pacx.core.vocabulary import ECG_LEADS
from pacx.modalities.ecg_signal.ecg_file import ecg_files, open_ecg
from pacx.modalities.ecg_signal.facts import EcgFacts, EcgUnit
from pacx.modalities.ecg_signal.packs.packing import pack_ecgs
from pacx.modalities.ecg_signal.readers import open_recordings
from pacx.models.ecg.input import ECG_MAE_INPUT
from pacx.simulation.patients.population import draw_physiology
from pacx.simulation.patients.sites import UNIVERSITY_HOSPITAL
from pacx.simulation.signals.ecg import simulate_ecg
from pacx.simulation.signals.ecg_files.writer import Tracing, ecg_writers

PATIENT = "Mustermann-4711"
STARTED = datetime(2021, 3, 4, 5, 6, 7)


@pytest.fixture(scope="module")
def tracing() -> Tracing:
    heart = simulate_ecg(draw_physiology([PATIENT], seed=5, site=UNIVERSITY_HOSPITAL), [PATIENT], seed=5)[0]
    return Tracing(patient_id=PATIENT, millivolts=heart, rate_hz=500, started=STARTED)


def write(folder: Path, kind: str, name: str, tracing: Tracing) -> Path:
    return folder / ecg_writers()[kind].write(folder, [(name, tracing)])[name].partition("#")[0]


def test_reasons_name_samples_and_are_counted_once_whatever_the_folder(tmp_path, tracing):
    root = tmp_path / "carts"
    write(root, "muse-xml", "a/first", tracing)
    write(root, "muse-xml", "b/second", replace(tracing, patient_id="Meier-12"))
    for name in ("c/one", "d/two"):
        header = write(root, "wfdb", name, tracing)
        header.with_suffix(".hea").write_text(f"{header.stem} 0 500 5000\n")
    pack = pack_ecgs(open_recordings(root), tmp_path / "pack", ECG_MAE_INPUT, max_bad_fraction=1)
    reasons = {each.sample_id: each.reason for each in pack.manifest.quarantined}
    nothing = "is a header without signals; leave it out"
    assert reasons == {"second": "is sample for sample the recording of first", "one": nothing, "two": nothing}
    assert dict(by_reason(pack.manifest.quarantined)) == {
        "is sample for sample the recording of another patient": 1,
        nothing: 2,
    }
    said = (tmp_path / "pack/manifest.json").read_text()
    assert not [word for word in (PATIENT, "Meier", str(STARTED.year)) if word in said]


def test_what_lies_beside_the_ecgs_of_a_folder_is_counted(tmp_path, tracing):
    write(tmp_path, "wfdb", "w", tracing)
    write(tmp_path, "muse-xml", "m", tracing)
    files, notes = ecg_files(tmp_path)
    assert (len(files), notes) == (2, ()), "signal files belong to their headers"
    (tmp_path / "letter.txt").write_text("Dear colleague\n")
    np.save(tmp_path / "features.npy", np.zeros((3, 7)))
    (tmp_path / "gone.xml").symlink_to(tmp_path / "nowhere.xml")
    files, notes = ecg_files(tmp_path)
    assert len(files) == 2
    assert notes == (
        f"{tmp_path} holds beside its ECGs 2 files that are no ECG in a format that is read (such as 'features.npy'), "
        "1 links that lead nowhere (such as 'gone.xml')",
    )
    assert open_recordings(tmp_path).notes == notes


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("cut.hdf5", "is not a readable HDF5 tracings file (OSError); copy it again"),
        ("empty.hdf5", "holds no recording; leave it out"),
        ("empty.npy", "holds no recording; leave it out"),
        ("new.mat", "was saved by MATLAB as version 7.3, which is not read; save it again with -v7"),
    ],
)
def test_damaged_and_empty_files_are_told_and_not_passed_over(name, reason, tmp_path, tracing):
    root, path = tmp_path / "ecgs", tmp_path / "ecgs" / name
    write(root, "muse-xml", "m", tracing)
    if name == "new.mat":
        with h5py.File(path, "w", userblock_size=512) as file:
            file["val"] = tracing.millivolts
        path.write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512) + path.read_bytes()[512:])
    elif name == "empty.npy":
        np.save(path, np.zeros((0, 12, 5000), np.float32))
        path.with_suffix(".json").write_text(
            '{"sample_ids": [], "leads": ["I","II","III","aVR","aVL","aVF","V1","V2","V3","V4","V5","V6"], '
            '"sample_rate_hz": 500, "unit": "mV"}'
        )
    else:
        with h5py.File(path, "w") as file:
            file["tracings"] = np.zeros((0 if name == "empty.hdf5" else 3, 4096, 12), np.float32)
            file["exam_id"] = np.arange(len(file["tracings"]))
        if name == "cut.hdf5":
            path.write_bytes(path.read_bytes()[:-4096])
    source = open_recordings(root)
    assert source.sample_ids == tuple(sorted(("m", path.stem)))
    pack = pack_ecgs(source, tmp_path / "pack", ECG_MAE_INPUT, max_bad_fraction=0.5)
    assert [(bad.sample_id, bad.reason) for bad in pack.manifest.quarantined] == [(path.stem, reason)]


def test_what_somebody_says_of_a_matlab_structure_counts_before_its_description(tmp_path, tracing):
    order = ECG_LEADS[::-1]
    microvolts = np.rint(tracing.millivolts[::-1].astype(float) * 1000)
    scipy.io.savemat(tmp_path / "x.mat", {"ECG": {"sex": "F", "age": 1.0, "data": microvolts}})
    said = EcgFacts(rate_hz=250.0, unit=EcgUnit.MICROVOLT, leads=order)
    with open_ecg(tmp_path / "x.mat", said) as file:
        record = file.read()
    assert record.rate_hz == 250
    np.testing.assert_allclose(record.twelve() * 1000, microvolts[::-1])
    with open_ecg(tmp_path / "x.mat") as file:
        record = file.read()
    assert (record.rate_hz, record.stored_leads) == (500, ECG_LEADS)
    np.testing.assert_allclose(record.signals, microvolts)


TABLES = {
    "thousands by commas": (";", lambda value: f"{value:,}"),
    "thousands by dots": (";", lambda value: f"{value:,}".replace(",", ".")),
    "thousands between tabs": ("\t", lambda value: f"{value:,}"),
}


@pytest.mark.parametrize("form", TABLES)
def test_groups_of_thousands_are_never_taken_for_fractions(form, tmp_path):
    delimiter, written = TABLES[form]
    rng = np.random.default_rng(0)
    values = rng.integers(-3000, 3000, (500, 12))
    rows = [delimiter.join(map(written, row)) for row in values.tolist()]
    names = delimiter.join(["time [ms]", *(f"{lead} [uV]" for lead in ECG_LEADS)])
    path = tmp_path / "x.csv"
    path.write_text("\n".join([names, *(f"{2 * at}{delimiter}{row}" for at, row in enumerate(rows))]) + "\n")
    with open_ecg(path) as file, pytest.raises(DataError, match="fractions or thousands; write it without groups"):
        file.read()


@pytest.mark.parametrize("form", ["{:.3f}", "{:g}"])
@pytest.mark.parametrize("comma", [",", "."])
def test_fractions_of_a_thousandth_are_read_as_they_are(form, comma, tmp_path):
    values = np.round(np.random.default_rng(0).normal(0, 2, (500, 12)), 3)
    values[:, 3] = np.rint(values[:, 3])
    rows = [";".join(form.format(value).replace(".", comma) for value in row) for row in values]
    names = ";".join(["time [ms]", *(f"{lead} [mV]" for lead in ECG_LEADS)])
    path = tmp_path / "x.csv"
    path.write_text("\n".join([names, *(f"{2 * at};{row}" for at, row in enumerate(rows))]) + "\n")
    with open_ecg(path) as file:
        np.testing.assert_allclose(file.read().twelve().T, values)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_a_micro_sign_in_a_header_is_read_in_every_encoding(encoding, tmp_path):
    values = np.random.default_rng(0).integers(-900, 900, (500, 12))
    names = ",".join(["time [ms]", *(f"{lead} [µV]" for lead in ECG_LEADS)])
    rows = [f"{2 * at},{','.join(map(str, row))}" for at, row in enumerate(values.tolist())]
    path = tmp_path / "x.csv"
    path.write_text("\n".join([names, *rows]) + "\n", encoding=encoding)
    with open_ecg(path) as file:
        np.testing.assert_allclose(file.read().twelve().T * 1000, values)
