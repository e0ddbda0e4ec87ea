"""What the simulated carts write is read to the same numbers by libraries that others wrote."""

import filecmp
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from pacx.core.errors import UsageError
from pacx.core.vocabulary import ECG_LEADS, MIMIC_ECG_LEADS
from pacx.simulation.patients.population import draw_physiology
from pacx.simulation.patients.sites import UNIVERSITY_HOSPITAL
from pacx.simulation.signals.ecg import SAMPLE_RATE_HZ, simulate_ecg
from pacx.simulation.signals.ecg_files.writer import RECORDED_LEADS, Tracing, ecg_writers
from pacx.simulation.twin import TwinConfig, twins, write_twin

Leads = dict[str, NDArray[np.float64]]
STARTED = datetime(2021, 3, 4, 5, 6, 7)


@pytest.fixture(scope="module")
def tracing() -> Tracing:
    drawn = draw_physiology(["p1"], seed=5, site=UNIVERSITY_HOSPITAL)
    signals = simulate_ecg(drawn, ["p1"], seed=5)[0]
    signals[6, 100:103] = [25.0, -28.0, 9.0]  # a pacing spike, which no step of the coders may lose
    return Tracing(patient_id="p1", millivolts=signals, rate_hz=SAMPLE_RATE_HZ, started=STARTED)


def written(tmp_path: Path, name: str, tracing: Tracing) -> Path:
    tmp_path.mkdir(exist_ok=True)
    return tmp_path / ecg_writers()[name].write(tmp_path, [("deep/first", tracing)])["deep/first"]


def by_wfdb(path: Path) -> tuple[Leads, float, datetime]:
    from pacx.modalities.ecg_signal.formats.wfdb import imported_wfdb

    record = imported_wfdb().rdrecord(str(path.with_suffix("")), physical=False)
    assert [each % 2**16 for each in record.checksum] == record.calc_checksum()
    signals = record.dac().T
    return dict(zip(record.sig_name, signals, strict=True)), record.fs, record.base_datetime


def by_pydicom(path: Path) -> tuple[Leads, float, datetime]:
    import pydicom

    file = pydicom.dcmread(path)
    group = file.WaveformSequence[0]
    names = [channel.ChannelSourceSequence[0].CodeMeaning.removeprefix("Lead ") for channel in group[0x003A0200]]
    moment = datetime.strptime(str(file.AcquisitionDateTime), "%Y%m%d%H%M%S")
    return dict(zip(names, file.waveform_array(0).T / 1000, strict=True)), float(group.SamplingFrequency), moment


def by_pyedflib(path: Path) -> tuple[Leads, float, datetime]:
    with pytest.importorskip("pyedflib", reason="pip install '.[dev]'").EdfReader(str(path)) as file:
        names = [label.removeprefix("ECG ") for label in file.getSignalLabels()]
        leads = {name: file.readSignal(row) / 1000 for row, name in enumerate(names)}
        return leads, file.getSampleFrequency(0), file.getStartdatetime()


def by_sierraecg(path: Path) -> tuple[Leads, float, datetime]:
    file = pytest.importorskip("sierraecg", reason="pip install '.[dev]'").read_file(str(path))
    leads = {lead.label: lead.samples * 0.005 for lead in file.leads}
    return leads, file.leads[0].sampling_freq, STARTED  # it does not say the moment


def by_ecgdatakit(path: Path) -> tuple[Leads, float, datetime]:
    record = pytest.importorskip("ecgdatakit", reason="pip install '.[dev]'").FileParser().parse(path)
    millivolts = {"uV": 1e-3, "mV": 1.0}
    leads = {lead.label: lead.samples * millivolts[lead.units] for lead in record.leads}
    return leads, record.leads[0].sampling_rate, record.recording.date


def by_pandas(path: Path) -> tuple[Leads, float, datetime]:
    table = pd.read_csv(path, index_col="time [s]")
    leads = {lead.removesuffix(" [uV]"): table[lead].to_numpy() / 1000 for lead in table}
    return leads, 1 / table.index[1], STARTED  # it does not say the moment


def by_scipy(path: Path) -> tuple[Leads, float, datetime]:
    from scipy.io import loadmat

    signals = loadmat(path)["val"] / 1000
    return dict(zip(ECG_LEADS, signals, strict=True)), SAMPLE_RATE_HZ, STARTED  # it says neither


def by_numpy(path: Path) -> tuple[Leads, float, datetime]:
    file, _, key = str(path).partition("#")
    about = json.loads(Path(file).with_suffix(".json").read_text())
    signals = np.load(file)[about["sample_ids"].index(key)] / 1000
    return (
        dict(zip(about["leads"], signals, strict=True)),
        about["sample_rate_hz"],
        STARTED,
    )  # it does not say the moment


READERS: list[tuple[str, Callable[[Path], tuple[Leads, float, datetime]]]] = [
    ("wfdb", by_wfdb),
    ("dicom", by_pydicom),
    ("edf", by_pyedflib),
    ("philips-xml", by_sierraecg),
    ("csv", by_pandas),
    ("mat", by_scipy),
    ("npy", by_numpy),
    *(
        (name, by_ecgdatakit)
        for name in ("muse-xml", "philips-xml", "philips-xml-plain", "hl7-aecg", "scp-ecg", "dicom", "edf", "wfdb")
    ),
]


@pytest.mark.parametrize(("name", "read"), READERS, ids=lambda each: getattr(each, "__name__", each))
@pytest.mark.filterwarnings("ignore")  # of other people's libraries
def test_what_carts_write_others_read_within_half_a_step(name, read, tmp_path, tracing):
    leads, rate_hz, moment = read(written(tmp_path, name, tracing))
    stored = RECORDED_LEADS if name == "muse-xml" else ECG_LEADS
    assert (tuple(leads), rate_hz, moment) == (stored, SAMPLE_RATE_HZ, STARTED)
    step_mv = ecg_writers()[name].step_mv
    for lead, got in leads.items():
        expected = tracing.millivolts[ECG_LEADS.index(lead)]
        assert np.abs(got - expected).max() <= step_mv / 2 * (1 + 1e-6) + 1e-6, lead


def test_exams_of_code_15_stand_between_zeros_at_400_samples_a_second(tmp_path, tracing):
    with_400 = Tracing(patient_id="p2", millivolts=tracing.millivolts[:, :4000], rate_hz=400, started=STARTED)
    paths = ecg_writers()["hdf5"].write(tmp_path, [("s7/107", with_400), ("other", tracing)])
    assert paths == {"s7/107": "exams_part0.hdf5#107", "other": "exams_part0.hdf5#1"}
    with h5py.File(tmp_path / "exams_part0.hdf5") as file:
        assert file["exam_id"][:].tolist() == [107, 1]
        first, second = file["tracings"][:]
    assert pd.read_csv(tmp_path / "exams.csv")["patient_id"].tolist() == ["p2", "p1"]
    assert np.array_equal(first[48:4048].T, with_400.millivolts)
    assert not first[:48].any()
    assert not second[4048:].any()
    # every fourth sample of the one is every fifth of the other, but for what only 500 samples a second can hold
    smooth = slice(1000, 3800)
    there, here = second[48:4048:4].T, tracing.millivolts[:, ::5]
    assert np.abs(there - here)[:, smooth.start // 4 : smooth.stop // 4].max() < 0.1


@pytest.mark.parametrize("name", ecg_writers())
def test_the_same_recording_gives_the_same_bytes(name, tmp_path, tracing):
    for folder in ("a", "b"):
        written(tmp_path / folder, name, tracing)
    names = sorted(str(file.relative_to(tmp_path / "a")) for file in (tmp_path / "a").rglob("*.*"))
    assert filecmp.cmpfiles(tmp_path / "a", tmp_path / "b", names, shallow=False) == (names, [], [])
    assert names


def test_counts_that_16_bits_cannot_hold_are_clipped(tracing):
    loud = Tracing(patient_id="", millivolts=tracing.millivolts * 100, rate_hz=500, started=STARTED)
    assert loud.counts(1e-3)["V1"][100:103].tolist() == [32767, -32768, 32767]


def test_a_twin_has_its_recordings_as_files_where_its_table_says(tmp_path):
    write_twin(twins()["symile-mimic"], tmp_path / "twin", TwinConfig(num_patients=16, ecg_format="wfdb"))
    tree, records = tmp_path / "twin/symile-mimic/1.0.0", tmp_path / "twin/mimic-iv-ecg/1.0"
    listed = pd.read_csv(records / "record_list.csv").set_index("subject_id")
    admissions = pd.read_csv(tree / "symile_mimic_data.csv").set_index("hadm_id")
    train = pd.read_csv(tree / "train.csv")
    arrays = np.load(tree / "data_npy/train/ecg_train.npy")
    assert set(listed.index) == set(admissions["subject_id"])
    for row, array in zip(train.itertuples(), arrays[:, 0].transpose(0, 2, 1), strict=True):
        assert listed["path"][row.subject_id] == row.ecg_path
        leads, _, moment = by_wfdb(records / f"{row.ecg_path}.hea")
        signals = np.stack([leads[lead] for lead in MIMIC_ECG_LEADS])
        spread = np.ptp(signals)
        np.testing.assert_allclose(array, 2 * (signals - signals.min()) / spread - 1, atol=4e-3 / spread)
        hours = (moment - pd.Timestamp(admissions["admittime"][row.hadm_id])) / pd.Timedelta("1h")
        assert str(moment) == listed["ecg_time"][row.subject_id]
        assert 0 < hours < 24


def test_only_what_there_is_is_written_in_a_format(tmp_path):
    with pytest.raises(UsageError, match="nih14 has no ECGs"):
        write_twin(twins()["nih14"], tmp_path / "films", TwinConfig(num_patients=4, ecg_format="wfdb"))
    with pytest.raises(UsageError, match=r"'muse' is no ECG format; there are .*; did you mean muse-xml"):
        write_twin(twins()["symile-mimic"], tmp_path / "twin", TwinConfig(num_patients=16, ecg_format="muse"))
    assert not list(tmp_path.iterdir())
