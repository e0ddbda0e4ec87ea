"""ECG files of every format but XML and SCP-ECG: the oddities of each, read right or refused in a sentence."""

import bz2
import copy
import gzip
import json
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pydicom
import pytest
from ecg_loading import loaded, read_ecgs
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from pacx.core import host
from pacx.core.errors import DataError
from pacx.core.vocabulary import ECG_LEADS
from pacx.modalities.ecg_signal.doubts import Doubt, examined
from pacx.modalities.ecg_signal.ecg_file import EcgRef, ecg_files, open_ecg, recordings_in
from pacx.modalities.ecg_signal.facts import NO_FACTS, EcgFacts, EcgUnit, UnusableError
from pacx.modalities.ecg_signal.formats.wfdb import imported_wfdb
from pacx.modalities.ecg_signal.readers import open_recordings
from pacx.modalities.ecg_signal.record import WHOLE, EcgRecord, Window, with_limb_leads
from pacx.modalities.ecg_signal.recordings import lead_called
from pacx.simulation.signals.ecg_files.writer import Tracing, ecg_writers

STARTED = datetime(2021, 3, 4, 5, 6, 7)


def steps(num_samples: int = 5000, seed: int = 0, most: int = 900, smooth: bool = True) -> np.ndarray:
    """Whole microvolts (12, T) whose limb leads obey Goldberger's equations as far as whole numbers do."""
    rng = np.random.default_rng(seed)
    time = np.arange(num_samples) / 500
    beats = np.exp(-(((time % 0.8 - 0.3) / 0.03) ** 2)) + 0.2 * np.exp(-(((time % 0.8 - 0.55) / 0.06) ** 2))
    signals = np.rint(rng.uniform(0.2, 1.0, (12, 1)) * most * beats + rng.normal(0, 3, (12, num_samples)))
    one, two = signals[:2]
    signals[2:6] = two - one, np.rint(-(one + two) / 2), np.rint(one - two / 2), np.rint(two - one / 2)
    return signals.astype(np.int64)


def read(path: Path, key: str = "", window: Window = WHOLE, facts: EcgFacts = NO_FACTS) -> EcgRecord:
    with open_ecg(path, facts) as file:
        return file.read(key, window)


# ------------------------------------------------------------------------------------------------ names and windows


@pytest.mark.parametrize(
    ("stored", "lead"),
    [
        ("AVR", "aVR"), (" v1 ", "V1"), ("ECG I", "I"), ("EKG-II", "II"), ("Lead III", "III"), ("ECG_aVF", "aVF"),
        ("MDC_ECG_LEAD_AVL", "aVL"), ("DI", "I"), ("D3", "III"), ("ECG Lead V6", "V6"), ("ECGV2", "V2"),
        ("MLII", "MLII"), ("-aVR", "-aVR"), ("ECG -aVR", "ECG -aVR"), ("V7", "V7"), ("ABP", "ABP"), ("ECG", "ECG"),
        ("EEG I1", "EEG I1"), ("Leadless", "Leadless"), ("", ""),
    ],
)  # fmt: skip
def test_a_lead_is_known_in_every_spelling_and_no_other_signal_is_taken_for_one(stored, lead):
    assert lead_called(stored) == lead


def test_the_four_leads_that_follow_are_computed_where_a_format_stores_eight():
    signals = steps() / 1000
    stored = [0, 1, *range(6, 12)]
    eight = EcgRecord(
        signals=signals[stored],
        stored_leads=tuple(ECG_LEADS[at] for at in stored),
        rate_hz=500,
        resolution_mv=(0.005,) * 8,
    )
    twelve = with_limb_leads(eight)
    assert twelve.derived == ("III", "aVR", "aVL", "aVF")
    np.testing.assert_allclose(twelve.twelve(), signals, atol=0.0005 + 1e-12)
    assert twelve.resolution_mv[8:] == (0.005, 0.0025, 0.0025, 0.0025)
    assert with_limb_leads(twelve) is twelve
    with pytest.raises(UnusableError, match="must have lead I and lead II once, but not so II"):
        with_limb_leads(EcgRecord(signals=signals[:1], stored_leads=("I",), rate_hz=500))
    with pytest.raises(UnusableError, match="not so III, aVR, aVL, aVF"):
        eight.twelve()


@pytest.mark.parametrize("rate_hz", [0, -500, float("nan"), float("inf"), 1e9])
def test_a_rate_that_no_ecg_has_is_refused(rate_hz):
    with pytest.raises(UnusableError, match="rate that no ECG is recorded at"):
        EcgRecord(signals=np.zeros((12, 10)), stored_leads=ECG_LEADS, rate_hz=rate_hz)


def test_formats_may_be_mixed_in_one_folder_and_patients_come_from_the_files(tmp_path):
    for number, name in enumerate(("wfdb", "dicom", "edf")):
        signals = steps(seed=number) / 1000
        tracing = Tracing(patient_id=f"p{number}", millivolts=signals, rate_hz=500, started=STARTED)
        ecg_writers()[name].write(tmp_path, [(f"{name}/r{number}", tracing)])
    (tmp_path / "letter.txt").write_text("Dear colleague,\n")
    found = loaded(open_recordings(tmp_path))
    by_id = dict(zip(found.sample_ids, found.patient_ids, strict=True))
    assert by_id == {"r0": "r0", "r1": "p1", "r2": "r2"}, "WFDB names nobody, plain EDF in no agreed way"
    for number in range(3):
        row = found.sample_ids.index(f"r{number}")
        np.testing.assert_allclose(found.signals[row], steps(seed=number) / 1000, atol=0.00063)
    again = open_recordings([tmp_path / "dicom/r1.dcm", tmp_path / "edf"])
    assert again.sample_ids == ("r1", "r2")


def test_a_file_that_is_no_ecg_is_told_what_is_read(tmp_path):
    (tmp_path / "x.doc").write_bytes(b"\xd0\xcf\x11\xe0")
    with pytest.raises(DataError, match=r"x\.doc is no ECG .* read \(sample tables, DICOM waveforms, .*WFDB records\)"):
        read(tmp_path / "x.doc")


# ------------------------------------------------------------------------------------------------ WFDB


def header(name: str, lines: list[str], frames: int, rate_hz: float = 500, more: str = "") -> str:
    return "\n".join([f"{name} {len(lines)} {rate_hz:g} {frames}{more}", *lines]) + "\n"


def packed(fmt: str, values: np.ndarray) -> bytes:
    """Samples in frame order, as signal(5) of the WFDB Applications Guide lays each format out."""
    flat = values.T.ravel()
    if fmt == "8":
        return np.diff(values, prepend=0).T.ravel().astype("i1").tobytes()
    if fmt in ("16", "61"):
        return flat.astype("<i2" if fmt == "16" else ">i2").tobytes()
    if fmt == "24":
        return flat.astype("<i4").view("u1").reshape(-1, 4)[:, :3].tobytes()
    if fmt == "32":
        return flat.astype("<i4").tobytes()
    if fmt == "80":
        return (flat + 128).astype("u1").tobytes()
    if fmt == "160":
        return (flat + 32768).astype("<u2").tobytes()
    if fmt == "212":
        first, second = (flat.reshape(-1, 2) & 0xFFF).T
        return np.stack([first & 0xFF, (first >> 8) | ((second >> 8) << 4), second & 0xFF], 1).astype("u1").tobytes()
    first, second, third = (flat.reshape(-1, 3) & 0x3FF).T
    if fmt == "310":
        words = [(first << 1) | ((third & 0x1F) << 11), (second << 1) | ((third >> 5) << 11)]
        return np.stack(words, 1).astype("<u2").tobytes()
    return (first | (second << 10) | (third << 20)).astype("<u4").tobytes()


@pytest.mark.parametrize("fmt", ["8", "16", "24", "32", "61", "80", "160", "212", "310", "311"])
def test_every_signal_format_of_wfdb_is_read_whole_and_in_part(fmt, tmp_path):
    most = {"8": 100, "80": 120, "310": 500, "311": 500}.get(fmt, 900)
    values = steps(3000, most=most)
    if fmt == "8":
        values = np.cumsum(np.clip(np.diff(values, prepend=0), -128, 127), axis=1)
    (tmp_path / "r.dat").write_bytes(packed(fmt, values))
    lines = [f"r.dat {fmt} 200(0)/mV 12 0 0 0 0 {lead}" for lead in ECG_LEADS]
    (tmp_path / "r.hea").write_text(header("r", lines, 3000))
    record = read(tmp_path / "r.hea")
    np.testing.assert_allclose(record.twelve() * 200, values, atol=1e-9)
    assert record.resolution_mv == (0.005,) * 12
    for start in (1, 500, 2999):  # differences have no beginning but the record's
        part = read(tmp_path / "r.hea", window=Window(start, 400))
        np.testing.assert_allclose(part.twelve() * 200, values[:, start : start + 400], atol=1e-9)


@pytest.mark.filterwarnings("ignore")  # of wfdb's writer
@pytest.mark.parametrize("fmt", ["508", "516", "524"])
def test_compressed_signals_of_wfdb_are_read(fmt, tmp_path):
    pytest.importorskip("soundfile", reason="wfdb writes FLAC by soundfile alone")
    values = steps(3000, most=100 if fmt == "508" else 900)
    imported_wfdb().wrsamp(
        "r", fs=500, units=["mV"] * 12, sig_name=list(ECG_LEADS), d_signal=values.T, fmt=[fmt] * 12,
        adc_gain=[200.0] * 12, baseline=[0] * 12, write_dir=str(tmp_path),
    )  # fmt: skip
    np.testing.assert_allclose(read(tmp_path / "r").twelve() * 200, values, atol=1e-9)
    part = read(tmp_path / "r", window=Window(1000, 100))
    np.testing.assert_allclose(part.twelve() * 200, values[:, 1000:1100], atol=1e-9)


def test_byte_offsets_baselines_and_what_was_not_recorded(tmp_path):
    values = steps(3000)
    values[3, 10:20] = -32768
    (tmp_path / "r.mat").write_bytes(b"M" * 24 + packed("16", values))
    lines = [f"r.mat 16+24 1000(50)/mV 16 0 0 0 0 {lead}" for lead in ECG_LEADS]
    (tmp_path / "r.hea").write_text(header("r.mat", lines, 3000, more=" 05:06:07 04/03/2021") + "#Age: 50\n")
    record = read(tmp_path / "r.hea", window=Window(5, 100))
    expected = (values[:, 5:105] - 50) / 1000
    expected[3, 5:15] = np.nan
    np.testing.assert_allclose(record.twelve(), expected)
    assert record.start == STARTED + timedelta(seconds=0.01)
    assert ecg_files(tmp_path).files == [tmp_path / "r.hea"], "its signal file is a MATLAB file by itself"
    np.testing.assert_array_equal(read(tmp_path / "r.mat").signals, read(tmp_path / "r.hea").signals)


@pytest.mark.parametrize("skew", [1, 7, 300])
def test_a_skewed_lead_is_moved_to_its_time_and_its_last_samples_are_in_no_file(skew, tmp_path):
    values = steps(1000)
    stored = values.copy()
    stored[1, :skew], stored[1, skew:] = 0, values[1, :-skew]  # sample i stands in frame i + skew
    (tmp_path / "r.dat").write_bytes(packed("16", stored))
    lines = [f"r.dat 16:{skew if lead == 'II' else 0} 1000(0)/mV 16 0 0 0 0 {lead}" for lead in ECG_LEADS]
    (tmp_path / "r.hea").write_text(header("r", lines, 1000))
    expected = values / 1000.0
    expected[1, -skew:] = np.nan
    np.testing.assert_allclose(read(tmp_path / "r.hea").twelve(), expected, atol=1e-12)
    for window in (Window(500, 100), Window(650, 340), Window(995)):
        part = read(tmp_path / "r.hea", window=window)
        np.testing.assert_allclose(part.twelve(), expected[:, window.within(1000)], atol=1e-12)


def test_other_signals_at_other_rates_are_passed_over(tmp_path):
    values = steps(4000)
    frames = np.concatenate([values.reshape(12, 1000, 4).transpose(1, 0, 2).reshape(1000, 48), np.ones((1000, 1))], 1)
    (tmp_path / "r.dat").write_bytes(frames.astype("<i2").tobytes())
    lines = [f"r.dat 16x4 1000(0)/mV 16 0 0 0 0 {lead}" for lead in ECG_LEADS]
    (tmp_path / "r.hea").write_text(header("r", [*lines, "r.dat 16 1(0)/mmHg 16 0 0 0 0 ABP"], 1000, 125))
    record = read(tmp_path / "r.hea", window=Window(6, 1001))
    assert (record.rate_hz, record.num_stored) == (500, 4000)
    np.testing.assert_allclose(record.twelve() * 1000, values[:, 6:1007], atol=1e-9)
    assert record.notes == ("1 signals that are no leads of the ECG are passed over",)
    lines[3] = lines[3].replace("16x4", "16x2")
    (tmp_path / "r.hea").write_text(header("r", lines, 1000, 125))
    with pytest.raises(DataError, match="stores its leads at different rates"):
        read(tmp_path / "r.hea")


def test_segments_of_variable_layout_are_placed_by_name_and_gaps_stay_gaps(tmp_path):
    values = steps(4000)
    layout = [f"~ 0 1000(0)/mV 16 0 0 0 0 {lead}" for lead in ECG_LEADS]
    (tmp_path / "layout.hea").write_text(header("layout", layout, 0))
    for name, rows, part, gain in (
        ("a", range(12), slice(0, 1500), 1000),
        ("b", range(11, -1, -2), slice(2500, 4000), 500),
    ):
        stored = values[list(rows), part]
        (tmp_path / f"{name}.dat").write_bytes(packed("16", stored * gain // 1000))
        lines = [f"{name}.dat 16 {gain}(0)/mV 16 0 0 0 0 {ECG_LEADS[row]}" for row in rows]
        (tmp_path / f"{name}.hea").write_text(header(name, lines, stored.shape[1]))
    (tmp_path / "m.hea").write_text("m/4 12 500 4000 05:06:07 04/03/2021\nlayout 0\na 1500\n~ 1000\nb 1500\n")
    expected = values / 1000.0
    expected[:, 1500:2500] = np.nan
    expected[::2, 2500:] = np.nan
    for window in (WHOLE, Window(1400, 1300), Window(1600, 100), Window(3990)):
        part = read(tmp_path / "m.hea", window=window)
        np.testing.assert_allclose(part.twelve(), expected[:, window.within(4000)], atol=0.0021)
        assert part.num_stored == 4000
    assert read(tmp_path / "m.hea", window=Window(500)).start == STARTED + timedelta(seconds=1)
    assert read(tmp_path / "m.hea").resolution_mv[1::2] == (0.002,) * 6, "the coarsest of the segments"
    assert ecg_files(tmp_path).files == [tmp_path / "m.hea"]


def test_a_length_that_the_files_do_not_bear_out_takes_no_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(host, "available_memory_bytes", lambda: 100_000_000)
    (tmp_path / "r.dat").write_bytes(packed("16", steps(1000)))
    lines = [f"r.dat 16 1000(0)/mV 16 0 0 0 0 {lead}" for lead in ECG_LEADS]
    (tmp_path / "r.hea").write_text(header("r", lines, 2**31))
    with pytest.raises(DataError, match="r is shorter than its header says"):
        read(tmp_path / "r.hea")
    (tmp_path / "r.hea").write_text(
        header("r", [line.replace(" 16 1000", " 16:2147483647 1000") for line in lines], 1000)
    )
    with pytest.raises(DataError, match="the samples of a WFDB record need"):
        read(tmp_path / "r.hea")
    (tmp_path / "r.hea").write_text(header("r", lines, 0).replace(" 500 0\n", " 500\n"))
    unsaid = read(tmp_path / "r.hea", window=Window(990))
    assert (unsaid.num_stored, unsaid.signals.shape) == (1000, (12, 10)), "no length is said, so it is the file's"
    (tmp_path / "m.hea").write_text(f"m/2 12 500 {2**31}\nr 1000\n~ {2**31}\n")
    with pytest.raises(DataError, match="the samples of a record in segments need"):
        read(tmp_path / "m.hea")
    assert read(tmp_path / "m.hea", window=Window(500, 1000)).signals.shape == (12, 1000)


# ------------------------------------------------------------------------------------------------ DICOM


@pytest.fixture
def dicom(tmp_path: Path) -> tuple[Path, np.ndarray]:
    signals = steps(2000) * 1.25 / 1000
    tracing = Tracing(patient_id="p1", millivolts=signals, rate_hz=500, started=STARTED)
    ecg_writers()["dicom"].save(tmp_path / "x.dcm", tracing)
    return tmp_path / "x.dcm", signals


def changed(path: Path, change: Callable[[Dataset], object]) -> Path:
    file = pydicom.dcmread(path)
    change(file)
    file.save_as(path.with_name("changed.dcm"))
    return path.with_name("changed.dcm")


def every_channel(**values: object) -> Callable[[Dataset], None]:
    def change(file: Dataset) -> None:
        for channel in file.WaveformSequence[0].ChannelDefinitionSequence:
            for name, value in values.items():
                setattr(channel, name, value)

    return change


def test_sensitivity_correction_and_baseline_give_millivolts(dicom):
    path, signals = dicom
    record = read(changed(path, every_channel(ChannelSensitivityCorrectionFactor=2, ChannelBaseline=-3)))
    np.testing.assert_allclose(record.twelve(), signals * 2 - 0.003, atol=1e-9)
    np.testing.assert_allclose(record.resolution_mv, 0.0025)
    unit = Dataset()
    unit.CodeValue, unit.CodingSchemeDesignator, unit.CodeMeaning = "mV", "UCUM", "millivolt"
    record = read(changed(path, every_channel(ChannelSensitivityUnitsSequence=[unit])))
    np.testing.assert_allclose(record.twelve(), signals * 1000, atol=1e-6)


def test_channels_that_were_sampled_late_are_moved_to_their_time(dicom):
    path, signals = dicom

    def change(file: Dataset) -> None:
        first, second = file.WaveformSequence[0].ChannelDefinitionSequence[:2]
        first.ChannelSampleSkew = 3
        del second.ChannelSampleSkew
        second.ChannelTimeSkew = -0.004

    moved = read(changed(path, change)).twelve()
    np.testing.assert_allclose(moved[0, 3:], signals[0, :-3], atol=1e-9)
    np.testing.assert_allclose(moved[1, :-2], signals[1, 2:], atol=1e-9)
    assert np.isnan(moved[0, :3]).all()
    assert np.isnan(moved[1, -2:]).all()
    np.testing.assert_allclose(moved[2:], signals[2:], atol=1e-9)


@pytest.mark.parametrize(
    ("times", "samples"),
    [
        ({"ChannelSampleSkew": 3, "ChannelTimeSkew": 0.006}, 3),
        ({"ChannelSampleSkew": -2, "ChannelTimeSkew": -0.004}, -2),
        ({"ChannelSampleSkew": 0, "ChannelOffset": 0.006}, 3),
        ({"ChannelSampleSkew": 2, "ChannelTimeSkew": 0.004, "ChannelOffset": -0.002}, 1),
    ],
)
def test_a_skew_in_two_units_counts_once_and_an_offset_beside_it(dicom, times, samples):
    path, signals = dicom
    moved = read(changed(path, every_channel(**times))).twelve()
    ahead, behind = max(samples, 0), max(-samples, 0)
    np.testing.assert_allclose(
        moved[:, ahead : 2000 - behind], signals[:, behind : 2000 - ahead], atol=1e-9, equal_nan=False
    )
    assert np.isnan(moved).sum() == 12 * abs(samples)


def with_status(status: str | list[str], *leads: str) -> Callable[[Dataset], None]:
    def change(file: Dataset) -> None:
        channels = file.WaveformSequence[0].ChannelDefinitionSequence
        for lead in leads:
            channels[ECG_LEADS.index(lead)].ChannelStatus = status

    return change


@pytest.mark.parametrize("status", ["DISCONNECTED", "INVALID", "TEST DATA", ["DISCONNECTED", "INVALID"]])
def test_a_lead_that_was_not_connected_was_not_recorded_whatever_its_samples_are(dicom, status):
    path, signals = dicom
    record = read(changed(path, with_status(status, "III", "V2")))
    is_lost = np.isin(ECG_LEADS, ["III", "V2"])
    assert np.isnan(record.twelve()[is_lost]).all()
    np.testing.assert_allclose(record.twelve()[~is_lost], signals[~is_lost], atol=1e-9)
    words = status.lower() if isinstance(status, str) else "disconnected and invalid"
    assert [note for note in record.notes if f"V2 was {words} by what the file says" in note]
    with pytest.raises(UnusableError, match="no samples in 100% of lead III"):
        examined(record, 4.0)
    assert Doubt.QUESTIONED not in examined(record, 4.0, ("I", "II", "V5")).doubts


@pytest.mark.parametrize(
    "status", ["QUESTIONABLE", "UNCALIBRATED", "UNZEROED", ["OK", "DISCONNECTED"], ["QUESTIONABLE", "INVALID"]]
)
def test_a_lead_that_its_device_questions_is_used_and_told(dicom, status):
    path, signals = dicom
    record = read(changed(path, with_status(status, "V2")))
    np.testing.assert_allclose(record.twelve(), signals, atol=1e-9)
    assert record.questioned == ("V2",)
    assert Doubt.QUESTIONED in examined(record, 4.0).doubts
    assert Doubt.QUESTIONED not in examined(record, 4.0, ("I", "II", "V5")).doubts


@pytest.mark.parametrize("status", ["OK", "", ["OK", "OK"], "FINE"])
def test_a_lead_that_nothing_is_said_against_is_not_told(dicom, status):
    path, signals = dicom
    record = read(changed(path, with_status(status, *ECG_LEADS)))
    np.testing.assert_allclose(record.twelve(), signals, atol=1e-9)
    assert (record.questioned, record.notes) == ((), ())
    assert Doubt.QUESTIONED not in examined(record, 4.0).doubts


def test_a_channel_that_is_no_lead_needs_no_voltage(dicom):
    path, signals = dicom

    def change(file: Dataset) -> None:
        group = file.WaveformSequence[0]
        pressure = Dataset()
        pressure.ChannelLabel = "ART"
        channels = [*group.ChannelDefinitionSequence]
        samples = np.frombuffer(group.WaveformData, "<i2").reshape(-1, 12)
        group.ChannelDefinitionSequence = [pressure, *channels]
        group.NumberOfWaveformChannels = 13
        group.WaveformData = np.concatenate([samples[:, :1] * 0 + 90, samples], axis=1).tobytes()

    record = read(changed(path, change))
    np.testing.assert_allclose(record.twelve(), signals, atol=1e-9)
    assert record.notes == ("1 signals that are no leads of the ECG are passed over",)


@pytest.mark.parametrize("lead", ["aVL", "V4"])
def test_a_code_and_words_that_are_two_leads_are_refused(dicom, lead):
    def change(file: Dataset) -> None:
        channel = file.WaveformSequence[0].ChannelDefinitionSequence[ECG_LEADS.index("V5")]
        channel.ChannelSourceSequence[0].CodeMeaning = f"Lead {lead}"

    with pytest.raises(DataError, match="one lead by its code and another one in words"):
        read(changed(dicom[0], change))


@pytest.mark.parametrize(
    ("written", "start"),
    [
        ("20210304050607.5", datetime(2021, 3, 4, 5, 6, 7, 500_000)),
        ("202103040506", None),
        ("2021", None),
        ("", None),
    ],
)
def test_a_moment_that_is_not_said_to_the_second_is_none(dicom, written, start):
    path = changed(dicom[0], lambda file: setattr(file, "AcquisitionDateTime", written))
    assert read(path).start == start


@pytest.mark.parametrize("form", ["SCPECG", "MDC", "refid", "meaning", "label"])
def test_leads_are_known_by_codes_of_every_scheme_and_by_words(dicom, form):
    path, signals = dicom
    numbers = dict(zip(ECG_LEADS, (1, 2, 61, 62, 63, 64, 3, 4, 5, 6, 7, 8), strict=True))

    def change(file: Dataset) -> None:
        for lead, channel in zip(ECG_LEADS, file.WaveformSequence[0].ChannelDefinitionSequence, strict=True):
            source = channel.ChannelSourceSequence[0]
            source.CodeMeaning = "signal"
            source.CodingSchemeDesignator = "SCPECG" if form == "SCPECG" else "MDC"
            if form == "SCPECG":
                source.CodeValue = f"5.6.3-9-{numbers[lead]}"
            elif form == "refid":
                source.CodeValue = f"MDC_ECG_LEAD_{lead.upper()}"
            elif form == "meaning":
                source.CodeValue, source.CodeMeaning = "X1", f"Lead {lead} (Einthoven)"
            elif form == "label":
                del channel.ChannelSourceSequence
                channel.ChannelLabel = lead

    np.testing.assert_allclose(read(changed(path, change)).twelve(), signals, atol=1e-9)


def test_the_rhythm_is_read_wherever_it_stands_and_a_beat_alone_is_refused(dicom):
    path, signals = dicom

    def swap(file: Dataset) -> None:
        file.WaveformSequence = list(file.WaveformSequence)[::-1]

    assert read(changed(path, swap)).num_stored == 2000

    def longer_beat(file: Dataset) -> None:
        del file.WaveformSequence[0]

    with pytest.raises(DataError, match="holds no rhythm as it was recorded"):
        read(changed(path, longer_beat))

    def unmarked(file: Dataset) -> None:
        del file.WaveformSequence[0]
        file.WaveformSequence[0].WaveformOriginality = "ORIGINAL"

    with pytest.raises(DataError, match="holds no rhythm as it was recorded"):
        read(changed(path, unmarked))
    assert signals.shape[1] == 2000


def test_leads_in_groups_of_the_same_time_are_joined(dicom):
    path, signals = dicom

    def split(file: Dataset) -> None:
        group = file.WaveformSequence[0]
        samples = np.frombuffer(group.WaveformData, "<i2").reshape(-1, 12)
        parts = []
        for rows in (slice(0, 3), slice(3, 12)):
            part = copy.deepcopy(group)
            part.ChannelDefinitionSequence = list(group.ChannelDefinitionSequence)[rows]
            part.NumberOfWaveformChannels = len(part.ChannelDefinitionSequence)
            part.WaveformData = samples[:, rows].tobytes()
            parts.append(part)
        file.WaveformSequence = [*parts, file.WaveformSequence[1]]

    np.testing.assert_allclose(read(changed(path, split)).twelve(), signals, atol=1e-9)


@pytest.mark.parametrize(
    ("bits", "kind", "sop", "dtype"),
    [(8, "SB", 1, "i1"), (8, "UB", 2, "u1"), (16, "US", 3, "<u2"), (16, "SS", 2, "<i2"), (32, "SL", 4, "<i4")],
)
def test_samples_of_every_kind_that_is_certain(dicom, bits, kind, sop, dtype):
    path, _ = dicom
    values = np.abs(steps(2000, most=100)) % 120

    def change(file: Dataset) -> None:
        file.SOPClassUID = file.file_meta.MediaStorageSOPClassUID = f"1.2.840.10008.5.1.4.1.1.9.1.{sop}"
        group = file.WaveformSequence[0]
        group.WaveformBitsAllocated, group.WaveformSampleInterpretation = bits, kind
        group.WaveformData = values.T.astype(dtype).tobytes()

    np.testing.assert_allclose(read(changed(path, change)).twelve() * 800, values, atol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"WaveformBitsAllocated": 32, "WaveformSampleInterpretation": "SL"}, "samples of a kind that is not read"),
        ({"WaveformSampleInterpretation": "MB", "WaveformBitsAllocated": 8}, "samples of a kind that is not read"),
        ({"NumberOfWaveformSamples": 2**31}, "is shorter than its header says"),
        ({"NumberOfWaveformSamples": 0}, "holds no samples"),
        ({"NumberOfWaveformChannels": 3}, "another number of channels"),
        ({"SamplingFrequency": 0}, "a rate that no ECG is recorded at"),
        ({"WaveformData": b""}, "is shorter than its header says"),
        ({"NumberOfWaveformSamples": 1000}, "holds more samples than its header says"),
    ],
)
def test_an_object_at_fault_is_refused_in_a_sentence(dicom, change, message):
    def apply(file: Dataset) -> None:
        for name, value in change.items():
            setattr(file.WaveformSequence[0], name, value)

    with pytest.raises(DataError, match=message):
        read(changed(dicom[0], apply))


def test_a_channel_without_a_unit_is_refused_unless_somebody_says_it(dicom):
    def change(file: Dataset) -> None:
        for channel in file.WaveformSequence[0].ChannelDefinitionSequence:
            del channel.ChannelSensitivityUnitsSequence

    path = changed(dicom[0], change)
    with pytest.raises(DataError, match="unit is not known"):
        read(path)
    record = read(path, facts=EcgFacts(unit=EcgUnit.MICROVOLT))
    np.testing.assert_allclose(record.twelve(), dicom[1], atol=1e-9)


def test_big_endian_and_padding_values(dicom):
    path, signals = dicom
    file = pydicom.dcmread(path)
    group = file.WaveformSequence[0]
    samples = np.frombuffer(group.WaveformData, "<i2").reshape(-1, 12).copy()
    samples[:7, 4] = -32768
    for each, data in ((group, samples), (file.WaveformSequence[1], np.zeros((600, 12)))):
        each.WaveformData = data.astype(">i2").tobytes()
    group.add_new("WaveformPaddingValue", "OW", np.array([-32768], ">i2").tobytes())
    file.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRBigEndian
    pydicom.dcmwrite(path, file, little_endian=False, implicit_vr=False)
    record = read(path)
    assert np.isnan(record.twelve()[4, :7]).all()
    np.testing.assert_allclose(record.twelve()[:, 7:], signals[:, 7:], atol=1e-9)


def test_deflated_files_are_read_where_the_memory_allows_for_what_they_may_hold(dicom, monkeypatch):
    path, signals = dicom
    file = pydicom.dcmread(path)
    file.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    file.save_as(path)
    np.testing.assert_allclose(read(path).twelve(), signals, atol=1e-9)
    monkeypatch.setattr(host, "available_memory_bytes", lambda: 1_000_000)
    with pytest.raises(DataError, match="the contents of a deflated DICOM file need"):
        read(path)


def test_pydicoms_own_ecg_reads_as_pydicom_reads_it():
    path = Path(str(get_testdata_file("waveform_ecg.dcm")))
    record, file = read(path), pydicom.dcmread(path)
    np.testing.assert_allclose(record.twelve(), file.waveform_array(0).T / 1000, atol=1e-9)
    assert (record.rate_hz, record.num_stored, record.start) == (1000, 10000, datetime(2013, 1, 25, 10, 59, 19))
    assert record.resolution_mv == (0.00125,) * 12
    one, two, three, a_vr, a_vl, a_vf = record.twelve()[:6]
    step = 0.00125
    assert max(np.abs(three - (two - one)).max(), np.abs(a_vr + (one + two) / 2).max()) <= 2 * step
    assert max(np.abs(a_vl - (one - two / 2)).max(), np.abs(a_vf - (two - one / 2)).max()) <= 2 * step


# ------------------------------------------------------------------------------------------------ EDF


def write_edf(path: Path, values: np.ndarray, rates: list[int], labels: list[str], *, units: str = "uV") -> None:
    from pyedflib import FILETYPE_BDFPLUS, FILETYPE_EDFPLUS, EdfWriter

    kind = FILETYPE_BDFPLUS if path.suffix == ".bdf" else FILETYPE_EDFPLUS
    top = 2**23 - 1 if path.suffix == ".bdf" else 2**15 - 1
    writer = EdfWriter(str(path), len(labels), file_type=kind)
    writer.setSignalHeaders(
        [
            {
                "label": label,
                "dimension": units,
                "sample_frequency": rate,
                "physical_min": -(top + 1),
                "physical_max": top,
                "digital_min": -(top + 1),
                "digital_max": top,
                "prefilter": "",
                "transducer": "",
            }
            for label, rate in zip(labels, rates, strict=True)
        ]
    )
    writer.setStartdatetime(STARTED)
    writer.setPatientCode("p7")
    writer.writeSamples([np.ascontiguousarray(row, np.int32) for row in values], digital=True)
    writer.close()


@pytest.mark.parametrize("suffix", [".edf", ".bdf"])
def test_edf_leads_are_found_among_signals_of_other_rates(suffix, tmp_path):
    values = [*steps(5000), np.zeros(640)]
    write_edf(tmp_path / f"x{suffix}", values, [500] * 12 + [64], [*(f"ECG {lead}" for lead in ECG_LEADS), "Resp"])
    record = read(tmp_path / f"x{suffix}")
    np.testing.assert_allclose(record.twelve() * 1000, steps(5000), atol=1e-6)
    assert (record.rate_hz, record.start, record.patient_id) == (500, STARTED, "p7")
    assert record.notes[0].endswith("that are no leads of the ECG are passed over")
    np.testing.assert_allclose(record.resolution_mv, 0.001)
    part = read(tmp_path / f"x{suffix}", window=Window(700, 10))
    np.testing.assert_allclose(part.twelve() * 1000, steps(5000)[:, 700:710], atol=1e-6)


def test_interrupted_edf_is_refused(tmp_path):
    write_edf(tmp_path / "x.edf", list(steps(5000)), [500] * 12, list(ECG_LEADS))
    content = bytearray((tmp_path / "x.edf").read_bytes())
    assert content[192:197] == b"EDF+C"
    content[192:197] = b"EDF+D"
    (tmp_path / "x.edf").write_bytes(content)
    with pytest.raises(DataError, match=r"was interrupted \(EDF\+D\)"):
        read(tmp_path / "x.edf")


def test_edf_of_another_length_than_its_header_says_is_refused_and_nothing_is_printed(tmp_path, capfd):
    write_edf(tmp_path / "x.edf", list(steps(5000)), [500] * 12, list(ECG_LEADS))
    content = (tmp_path / "x.edf").read_bytes()
    claims_more = content[:236] + b"99999999" + content[244:]
    for broken in (claims_more, content[:-1], content + b"0"):
        (tmp_path / "x.edf").write_bytes(broken)
        with pytest.raises(DataError, match="is not as long as its header says"):
            read(tmp_path / "x.edf")
    assert capfd.readouterr() == ("", ""), "edflib prints figures of the header"


@pytest.mark.parametrize("unit", ["µV".encode("latin-1"), "µV".encode(), "μV".encode()])
@pytest.mark.parametrize("suffix", [".edf", ".bdf"])
def test_edf_headers_that_are_no_ascii_are_read_and_patients_stay_apart(suffix, unit, tmp_path):
    path, whose = tmp_path / f"x{suffix}", []
    write_edf(path, list(steps(5000)), [500] * 12, [*ECG_LEADS[:11], "V6"])
    content = bytearray(path.read_bytes())
    units = 256 + 96 * int(content[252:256])
    content[units : units + 12 * 8] = unit.ljust(8) * 12
    for name in ("Müller", "Möller"):
        content[8:88] = f"{name} X X {name}".encode("latin-1").ljust(80)
        path.write_bytes(content)
        record = read(path)
        np.testing.assert_allclose(record.twelve() * 1000, steps(5000), atol=1e-6)
        np.testing.assert_allclose(record.resolution_mv, 0.001)
        assert (record.start, record.rate_hz) == (STARTED, 500)
        whose.append(record.patient_id)
    assert whose == ["Müller", "Möller"]
    np.testing.assert_allclose(read(path, window=Window(700, 10)).twelve() * 1000, steps(5000)[:, 700:710], atol=1e-6)


@pytest.mark.parametrize("date", [b"00.00.00", b"99.99.99", b"xx.xx.xx"])
def test_an_edf_date_that_somebody_took_out_is_none(date, tmp_path):
    write_edf(tmp_path / "x.edf", list(steps(5000)), [500] * 12, list(ECG_LEADS))
    content = bytearray((tmp_path / "x.edf").read_bytes())
    content[88:168] = b"Startdate X X X X".ljust(80)
    content[168:176] = date
    (tmp_path / "x.edf").write_bytes(content)
    record = read(tmp_path / "x.edf")
    np.testing.assert_allclose(record.twelve() * 1000, steps(5000), atol=1e-6)
    assert record.start is None


def test_edf_without_leads_or_unit_is_refused(tmp_path):
    write_edf(tmp_path / "eeg.edf", list(steps(5000)[:2]), [500] * 2, ["EEG C3", "EEG C4"])
    with pytest.raises(DataError, match="holds no ECG lead"):
        read(tmp_path / "eeg.edf")
    write_edf(tmp_path / "x.edf", list(steps(5000)), [500] * 12, list(ECG_LEADS), units="")
    with pytest.raises(DataError, match="does not say its unit"):
        read(tmp_path / "x.edf")
    said = read(tmp_path / "x.edf", facts=EcgFacts(unit=EcgUnit.MICROVOLT))
    np.testing.assert_allclose(said.twelve() * 1000, steps(5000), atol=1e-6)


# ------------------------------------------------------------------------------------------------ HDF5


def write_code15(path: Path, exams: list[int] | None, num_samples: int = 2800) -> np.ndarray:
    import h5py

    tracings = np.zeros((3, 4096, 12), np.float32)
    begin = (4096 - num_samples) // 2
    for row in range(3):
        tracings[row, begin : begin + num_samples] = steps(num_samples, seed=row).T / 1000
    with h5py.File(path, "w") as file:
        file["tracings"] = tracings
        if exams:
            file["exam_id"] = exams
    return tracings


def test_code15_exams_are_read_one_by_one_and_zeros_at_both_ends_are_gaps(tmp_path):
    tracings = write_code15(tmp_path / "exams_part0.hdf5", [1169160, 2873686, 168405])
    with open_ecg(tmp_path / "exams_part0.hdf5") as file:
        assert file.keys == ("1169160", "2873686", "168405")
        record = file.read("2873686")
        part = file.read("168405", Window(640, 20))
        with pytest.raises(DataError, match="#99 is not in its file"):
            file.read("99")
    assert (record.rate_hz, record.num_stored) == (400, 4096)
    assert np.isnan(record.signals[:, :648]).all()
    assert np.isnan(record.signals[:, 3448:]).all()
    np.testing.assert_array_equal(record.twelve()[:, 648:3448], tracings[1, 648:3448].T.astype(float))
    np.testing.assert_array_equal(part.twelve()[:, 8:], tracings[2, 648:660].T.astype(float))
    assert "contradicts itself" in record.notes[0]
    with open_ecg(tmp_path / "exams_part0.hdf5", EcgFacts(unit=EcgUnit.MICROVOLT)) as file:
        np.testing.assert_allclose(file.read("2873686").signals * 1000, record.signals)


def test_a_list_of_exams_names_recordings_in_one_file_by_their_ids(tmp_path):
    write_code15(tmp_path / "exams_part0.hdf5", [11, 12, 13], 4000)
    rows = ["13,exams_part0.hdf5,p", "11,exams_part0.hdf5,q"]
    (tmp_path / "list.csv").write_text("\n".join(["sample_id,path,patient_id", *rows]) + "\n")
    listed = open_recordings(tmp_path / "list.csv")
    assert (listed.sample_ids, listed.patient_ids) == (("13", "11"), ("p", "q"))
    first, second = (np.nan_to_num(signals[0]) for signals in loaded(listed).signals)
    assert np.corrcoef(first, second)[0, 1] < 0.999
    assert read_ecgs([tmp_path / "exams_part0.hdf5#12"]).sample_ids == ("12",)
    assert open_recordings(tmp_path / "exams_part0.hdf5").sample_ids == ("11", "12", "13")
    assert EcgRef.parse(tmp_path / "list.csv") == EcgRef(tmp_path / "list.csv")


def test_the_table_of_code15_is_a_list(tmp_path):
    write_code15(tmp_path / "exams_part0.hdf5", [11, 12, 13], 4000)
    rows = ["exam_id,age,is_male,patient_id,trace_file", "12,50,True,7,exams_part0.hdf5"]
    (tmp_path / "exams.csv").write_text("\n".join(rows) + "\n")
    listed = open_recordings(tmp_path / "exams.csv")
    assert (listed.sample_ids, listed.patient_ids) == (("12",), ("7",))
    np.testing.assert_array_equal(loaded(listed).signals, read_ecgs([tmp_path / "exams_part0.hdf5#12"]).signals)


def test_tracings_without_ids_have_to_be_told_their_leads(tmp_path):
    write_code15(tmp_path / "ecg_tracings.hdf5", None)
    with (
        pytest.raises(DataError, match="does not say its leads; give --leads"),
        open_ecg(tmp_path / "ecg_tracings.hdf5"),
    ):
        pass
    with open_ecg(tmp_path / "ecg_tracings.hdf5", EcgFacts(leads=ECG_LEADS)) as file:
        assert file.keys == ("ecg_tracings-0", "ecg_tracings-1", "ecg_tracings-2")
    assert [str(ref.path) for ref in recordings_in([tmp_path / "ecg_tracings.hdf5"])] == [
        str(tmp_path / "ecg_tracings.hdf5")
    ]


def test_an_array_that_claims_more_than_there_is_takes_no_memory(tmp_path, monkeypatch):
    import h5py

    with h5py.File(tmp_path / "x.hdf5", "w") as file:  # nothing of it is on the disk
        file.create_dataset("tracings", shape=(2, 2**31, 12), dtype="f4", chunks=(1, 4096, 12))
        file["exam_id"] = [1, 2]
    with pytest.raises(DataError, match="the samples of a tracing need"):
        read(tmp_path / "x.hdf5", "1")
    assert read(tmp_path / "x.hdf5", "1", Window(0, 10)).signals.shape == (12, 10)
    with h5py.File(tmp_path / "y.hdf5", "w") as file:  # a part of it cannot be read alone
        file.create_dataset("tracings", shape=(2, 2**23, 12), dtype="f4", chunks=(1, 2**23, 12), compression="gzip")
        file["exam_id"] = [1, 2]
    monkeypatch.setattr(host, "available_memory_bytes", lambda: 1_000_000_000)
    with pytest.raises(DataError, match="the samples of a tracing need"):
        read(tmp_path / "y.hdf5", "1", Window(0, 10))


# ------------------------------------------------------------------------------------------------ arrays and tables

FACTS = EcgFacts(rate_hz=500.0, unit=EcgUnit.MICROVOLT, leads=ECG_LEADS)


@pytest.mark.parametrize("name", ["x.npy", "x.mat"])
@pytest.mark.parametrize("axis", [0, 1])
def test_bare_arrays_need_to_be_told_what_they_are(name, axis, tmp_path):
    from scipy.io import savemat

    values = steps(3000).astype(np.int16)
    stored = values if axis == 0 else values.T
    save = np.save if name.endswith("npy") else lambda path, array: savemat(path, {"val": array, "note": "text"})
    save(tmp_path / name, stored)
    with pytest.raises(DataError, match="does not say its rate and its unit and its leads; give --rate-hz and --unit"):
        read(tmp_path / name)
    record = read(tmp_path / name, facts=FACTS, window=Window(5, 50))
    np.testing.assert_allclose(record.twelve() * 1000, values[:, 5:55])
    assert record.resolution_mv == (0.001,) * 12


def test_matlab_4_files_are_read_and_many_arrays_are_refused(tmp_path):
    from scipy.io import savemat

    savemat(tmp_path / "four.mat", {"val": steps(3000).astype(np.int16)}, format="4")
    np.testing.assert_allclose(read(tmp_path / "four.mat", facts=FACTS).twelve() * 1000, steps(3000))
    savemat(tmp_path / "cpsc.mat", {"ECG": {"sex": "Male", "age": 60, "data": steps(3000) / 1000}}, do_compression=True)
    record = read(tmp_path / "cpsc.mat")
    np.testing.assert_allclose(record.twelve() * 1000, steps(3000), atol=1e-9)
    assert (record.rate_hz, record.resolution_mv[0]) == (500, None)
    savemat(tmp_path / "two.mat", {"a": np.zeros((12, 50)), "b": np.zeros((12, 50))})
    with pytest.raises(DataError, match="holds more than one array of twelve leads"):
        read(tmp_path / "two.mat", facts=FACTS)


def test_a_matlab_file_that_would_grow_beyond_the_memory_is_refused(tmp_path, monkeypatch):
    from scipy.io import savemat

    savemat(tmp_path / "x.mat", {"val": np.zeros((12, 100_000))}, do_compression=True)
    assert (tmp_path / "x.mat").stat().st_size < 20_000
    monkeypatch.setattr(host, "available_memory_bytes", lambda: 20_000_000)
    with pytest.raises(DataError, match="the samples of a MATLAB file need"):
        read(tmp_path / "x.mat", facts=FACTS)


def test_arrays_with_a_description_are_read_row_by_row(tmp_path):
    values = np.stack([steps(3000, seed=seed) for seed in range(3)]).astype(np.int16)
    np.save(tmp_path / "e.npy", values)
    about = {
        "sample_ids": list("abc"),
        "leads": ECG_LEADS,
        "sample_rate_hz": 500,
        "unit": "uV",
        "patient_ids": list("xyz"),
    }
    (tmp_path / "e.json").write_text(json.dumps(about))
    with open_ecg(tmp_path / "e.npy") as file:
        assert file.keys == ("a", "b", "c")
        record = file.read("b", Window(10, 20))
    np.testing.assert_allclose(record.twelve() * 1000, values[1, :, 10:30])
    assert (record.patient_id, record.resolution_mv[0], record.num_stored) == ("y", 0.001, 3000)
    (tmp_path / "e.json").write_text(json.dumps({**about, "unit": "relative"}))
    assert not read(tmp_path / "e.npy", "a").is_millivolt


def write_table(path: Path, values: np.ndarray, *, names: list[str], delimiter: str = ",", form: str = "{:g}") -> None:
    rows = [
        delimiter.join(form.format(cell).replace(".", "," if delimiter == ";" else ".") for cell in row)
        for row in values
    ]
    path.write_text("\n".join([delimiter.join(names), *rows]) + "\n")


@pytest.mark.parametrize("clock", [("time", 1), ("Time (ms)", 1000), ("t [s]", 1)])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_with_units_and_times_needs_nothing_else(clock, delimiter, tmp_path):
    name, per_second = clock
    times = np.arange(3000) / 360 * per_second
    values = np.concatenate([times[None], steps(3000) / 1000]).T
    names = [name, *(f"{lead} [mV]" for lead in ECG_LEADS)]
    write_table(tmp_path / "x.csv", values, names=names, delimiter=delimiter, form="{:.3f}")
    record = read(tmp_path / "x.csv")
    assert record.rate_hz == 360
    np.testing.assert_allclose(record.twelve(), steps(3000) / 1000, atol=1e-9)
    assert record.resolution_mv == (0.001,) * 12
    np.testing.assert_array_equal(read(tmp_path / "x.csv", window=Window(2990)).signals, record.signals[:, 2990:])


@pytest.mark.parametrize(
    ("unit", "millivolts"),
    [
        ("{} [mV]", 1), ("{}/mV", 1), ("{} / mV", 1), ("{} in mV", 1), ("{} (millivolts)", 1), ("Lead {} [uV]", 1e-3),
        ("{} (in µV)", 1e-3), ("ECG_{}_uV", 1e-3), ("{} microvolts", 1e-3), ("{} [Microvolt]", 1e-3), ("{}-mV", 1),
        ("{}: mV", 1), ("{}..mV.", 1), ("{}.uV", 1e-3), ("Lead {} in microvolts", 1e-3), ("{} {{nV}}", 1e-6),
        ("{} [V]", 1e3), ("{} [ mV ]", 1), ("ekg-{} IN MV", 1),
    ],
)  # fmt: skip
def test_the_unit_of_a_lead_is_known_as_people_write_it(unit, millivolts, tmp_path):
    values = np.concatenate([np.arange(500)[None] / 500, steps(500)]).T
    write_table(tmp_path / "x.csv", values, names=["time", *map(unit.format, ECG_LEADS)])
    record = read(tmp_path / "x.csv")
    assert record.leads == ECG_LEADS
    np.testing.assert_allclose(record.twelve(), steps(500) * millivolts, rtol=1e-9)
    np.testing.assert_allclose(record.resolution_mv, millivolts)


HEADING = ["time [s]", *(f"{lead} [uV]" for lead in ECG_LEADS)]


@pytest.mark.parametrize(
    "above",
    [
        "# made by a cart\n", "% fs, 500\n% gain; 1\n", "// one\n\n//two, I, II\n", "#\n#\n#\n", '"# a, comment"\n',
        "  # H\u00f6he\n", "# I, II, III\n# V1, V2\n", "sep=,\n# of a spreadsheet\n", "#,,,\n\n\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_comments_above_a_heading_are_passed_over(above, delimiter, tmp_path):
    values = np.concatenate([np.arange(300)[None] / 500, steps(300)]).T
    write_table(tmp_path / "x.csv", values, names=HEADING, delimiter=delimiter)
    text = (tmp_path / "x.csv").read_text()
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        (tmp_path / "x.csv").write_text(above.replace("sep=,", f"sep={delimiter}") + text, encoding=encoding)
        record = read(tmp_path / "x.csv", window=Window(7, 20))
        assert (record.rate_hz, record.leads, record.num_stored) == (500, ECG_LEADS, 300)
        np.testing.assert_allclose(record.twelve() * 1000, steps(300)[:, 7:27])


@pytest.mark.parametrize("mark", ["# ", "#", "% ", "// "])
def test_the_heading_may_be_a_comment_as_numpy_writes_it(mark, tmp_path):
    values = np.concatenate([np.arange(300)[None] / 500, steps(300)]).T
    comment = f"of a cart\n{','.join(HEADING)}"
    np.savetxt(tmp_path / "x.csv", values, fmt="%g", delimiter=",", header=comment, comments=mark)
    record = read(tmp_path / "x.csv")
    assert (record.rate_hz, record.stored_leads, record.num_stored) == (500, ECG_LEADS, 300)
    np.testing.assert_allclose(record.twelve() * 1000, steps(300))
    np.savetxt(tmp_path / "y.csv", values[:, 1:], fmt="%g", delimiter=",", header=",".join(HEADING[1:]), comments=mark)
    np.testing.assert_array_equal(read(tmp_path / "y.csv", facts=FACTS).signals, record.signals)


@pytest.mark.parametrize("text", ["# I,II,III\n", "# of a cart\n1,2\n3,4\n", "# I,II\n# no\n1,2\n"])
def test_comments_alone_make_no_heading(text, tmp_path):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(DataError, match="is no ECG in a format that is read"):
        read(tmp_path / "x.csv")


def test_a_packed_table_is_an_ecg_in_a_folder_a_list_and_by_itself(tmp_path):
    values = np.concatenate([np.arange(3000)[None] / 500, steps(3000)]).T
    write_table(tmp_path / "a.csv", values, names=HEADING)
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(b"# packed\n" + (tmp_path / "a.csv").read_bytes()))
    (tmp_path / "other.csv.gz").write_bytes(gzip.compress(b"patient,age\n1,2\n" * 90_000))
    (tmp_path / "cut.csv.gz").write_bytes((tmp_path / "b.csv.gz").read_bytes()[:5])
    found = open_recordings(tmp_path)
    assert found.sample_ids == ("a", "b")
    signals = loaded(found).signals
    np.testing.assert_array_equal(signals[0], signals[1])
    assert open_recordings(tmp_path / "b.csv.gz").sample_ids == ("b",)
    (tmp_path / "list.tsv").write_text("path\nb.csv.gz\n")
    np.testing.assert_array_equal(loaded(open_recordings(tmp_path / "list.tsv")).signals[0], signals[0])
    broken = (tmp_path / "b.csv.gz").read_bytes()
    (tmp_path / "b.csv.gz").write_bytes(broken[: len(broken) // 2])
    with pytest.raises(DataError, match="cannot be unpacked or read to its end"):
        read(tmp_path / "b.csv.gz")


@pytest.mark.parametrize("pack", [bz2.compress, lambda data: pa.compress(data, "zstd", asbytes=True)])
def test_other_packings_are_known_by_their_first_bytes(pack, tmp_path):
    values = np.concatenate([np.arange(3000)[None] / 500, steps(3000)]).T
    write_table(tmp_path / "a.csv", values, names=HEADING)
    (tmp_path / "b.csv").write_bytes(pack((tmp_path / "a.csv").read_bytes()))
    (tmp_path / "other.csv").write_bytes(pack(b"patient,age\n1,2\n" * 90_000))
    found = open_recordings(tmp_path)
    assert found.sample_ids == ("a", "b")
    signals = loaded(found).signals
    np.testing.assert_array_equal(signals[0], signals[1])


@pytest.mark.parametrize(
    ("name", "units", "clock", "delimiter"),
    [  # PhysioNet's rdsamp with -c, without, with seconds; a cart's software; a spreadsheet in German
        ("'Elapsed time'", "'hh:mm:ss.mmm','mV'", "'{m:d}:{s:06.3f}'", ","),
        ("           time", "          (sec)\t(mV)", "{t:15.3f}", "\t"),
        ("'Elapsed time'", "'seconds','mV'", "{t:.3f}", ","),
        ("Time", "[ms],[uV]", "{ms:.0f}", ","),
        ("t", "hh:mm:ss,000;µV", "{h:02d}:{m:02d}:{s:06.3f}", ";"),
        ("Time", '"",Volt', "{h:d}:{m:02d}:{s:09.6f}", ","),
    ],
)
def test_units_may_stand_in_a_row_below_the_names(name, units, clock, delimiter, tmp_path):
    quote = "'" if "'" in name else ""
    unit_of_time, unit = units.split(delimiter)
    millivolts = {"mv": 1, "uv": 1e-3, "µv": 1e-3, "volt": 1e3}[unit.strip("'()[]").lower()]
    times = 55 + np.arange(3600) / 360  # over a full minute
    rows = [
        [clock.format(h=int(t // 3600), m=int(t // 60), s=t % 60, t=t, ms=1000 * t), *(f"{cell:g}" for cell in row)]
        for t, row in zip(times, steps(3600).T, strict=True)
    ]
    heading = [[name, *(f"{quote}{lead}{quote}" for lead in ECG_LEADS)], [unit_of_time, *[unit] * 12]]
    text = "\n".join(delimiter.join(row) for row in [*heading, *rows]) + "\n"
    (tmp_path / "x.csv").write_text(text.replace(".", ",") if delimiter == ";" else text, encoding="utf-8")
    record = read(tmp_path / "x.csv")
    assert (record.rate_hz, record.leads, record.num_stored) == (360, ECG_LEADS, 3600)
    np.testing.assert_allclose(record.twelve(), steps(3600) * millivolts, rtol=1e-9)
    np.testing.assert_allclose(record.resolution_mv, millivolts)


def test_a_row_of_units_must_not_contradict_the_names(tmp_path):
    rows = "".join(f"{t / 500},1,2\n" for t in range(500))
    (tmp_path / "x.csv").write_text("t,I [mV],II\ns,uV,uV\n" + rows)
    with pytest.raises(DataError, match="different units"):
        read(tmp_path / "x.csv")
    (tmp_path / "x.csv").write_text("t,I [mV],II [millivolt]\ns,mV,mV\n" + rows)
    assert read(tmp_path / "x.csv").num_stored == 500
    for below in ("s,uV,adu", "s,uV,", "s,uV,2"):  # only a row of nothing but units is one
        (tmp_path / "x.csv").write_text(f"t,I,II\n{below}\n" + rows)
        with pytest.raises(DataError, match="no numbers"):
            read(tmp_path / "x.csv", facts=FACTS)


def test_a_clock_past_midnight_says_no_rate(tmp_path):
    times = (24 * 3600 - 0.5 + np.arange(500) / 500) % (24 * 3600)
    rows = [f"{int(t // 3600)}:{int(t // 60) % 60:02d}:{t % 60:06.3f},1,2" for t in times]
    (tmp_path / "x.csv").write_text("\n".join(["time,I [mV],II [mV]", *rows]) + "\n")
    with pytest.raises(DataError, match="--rate-hz"):
        read(tmp_path / "x.csv")
    assert read(tmp_path / "x.csv", facts=EcgFacts(rate_hz=500.0)).rate_hz == 500


@pytest.mark.parametrize("unit", ["{} [mmHg]", "{} [mV/s]", "{} per mV", "{} [a.u.]", "I {} mV"])
def test_what_is_in_no_voltage_is_no_lead(unit, tmp_path):
    write_table(tmp_path / "x.csv", steps(50).T, names=list(map(unit.format, ECG_LEADS)))
    with pytest.raises(DataError, match="is no ECG in a format that is read"):
        read(tmp_path / "x.csv")


def write_times(path: Path, name: str, times: np.ndarray, form: str = "{:.10g}") -> None:
    values = np.concatenate([times[None], steps(len(times))]).T
    write_table(path, values, names=[name, *(f"{lead} [uV]" for lead in ECG_LEADS)], form=form)


@pytest.mark.parametrize(
    ("name", "per_second", "rate_hz"),
    [
        ("time", 1, 50), ("t", 1, 100), ("Time", 1, 500), ("time", 1, 2000), ("zeit", 1, 2999), ("time (sec)", 1, 4000),
        ("time [s]", 1, 10_000), ("seconds", 1, 10_000), ("t_seconds", 1, 40), ("time [ms]", 1000, 500),
        ("Time in milliseconds", 1000, 500), ("ms", 1000, 1000), ("time/us", 1e6, 500), ("time [min]", 1 / 60, 500),
        ("Time (minutes)", 1 / 60, 1000), ("minutes", 1 / 60, 250),
    ],
)  # fmt: skip
def test_the_rate_follows_from_times_in_the_unit_of_their_heading_or_in_usual_seconds(
    name, per_second, rate_hz, tmp_path
):
    write_times(tmp_path / "x.csv", name, np.arange(1000) / rate_hz * per_second)
    assert read(tmp_path / "x.csv").rate_hz == rate_hz
    if "s" in name:  # a unit that is said counts before what somebody says
        assert read(tmp_path / "x.csv", facts=EcgFacts(rate_hz=77.0)).rate_hz == rate_hz


@pytest.mark.parametrize("name", ["time", "T", "Elapsed time"])
@pytest.mark.parametrize(
    ("per_second", "rate_hz"),
    [(1 / 60, 500), (1 / 60, 1000), (1 / 60, 100), (1 / 60, 50), (1000, 500), (1000, 1000), (1000, 20_000), (1e6, 500),
     (1, 4000), (500, 500)],
)  # fmt: skip
def test_times_without_a_unit_that_may_be_in_another_than_seconds_ask_for_the_rate(name, per_second, rate_hz, tmp_path):
    write_times(tmp_path / "x.csv", name, np.arange(1000) / rate_hz * per_second)
    with pytest.raises(DataError, match=r"times without a unit .* \(time \[ms\], time \[min\]\), or give --rate-hz"):
        read(tmp_path / "x.csv")
    assert read(tmp_path / "x.csv", facts=EcgFacts(rate_hz=float(rate_hz))).rate_hz == rate_hz


def test_times_that_do_not_go_on_say_no_rate(tmp_path):
    write_times(tmp_path / "x.csv", "time", np.zeros(1000))
    with pytest.raises(DataError, match="does not say its rate; give --rate-hz"):
        read(tmp_path / "x.csv")


def test_a_table_that_says_neither_asks_for_both(tmp_path):
    write_table(tmp_path / "x.csv", steps(3000).T, names=list(ECG_LEADS))
    with pytest.raises(DataError, match="does not say its rate and its unit; give --rate-hz and --unit"):
        read(tmp_path / "x.csv")
    record = read(tmp_path / "x.csv", facts=EcgFacts(rate_hz=500.0, unit=EcgUnit.MICROVOLT))
    np.testing.assert_allclose(record.twelve() * 1000, steps(3000))
    (tmp_path / "x.csv").write_text((tmp_path / "x.csv").read_text().replace("\n", "\n,", 1).replace(",", ",high", 20))
    with pytest.raises(DataError):
        read(tmp_path / "x.csv", facts=FACTS)


def test_blank_cells_are_gaps_words_and_uneven_times_are_refused(tmp_path):
    names = ["time", *(f"{lead}_uV" for lead in ECG_LEADS)]
    values = np.concatenate([np.arange(1000)[None] / 500, steps(1000)]).T
    write_table(tmp_path / "x.csv", values, names=names)
    lines = (tmp_path / "x.csv").read_text().splitlines()
    cells = lines[100].split(",")
    (tmp_path / "x.csv").write_text("\n".join([*lines[:100], ",".join([*cells[:-1], ""]), *lines[101:]]) + "\n")
    gaps = np.isnan(read(tmp_path / "x.csv").signals)
    assert (gaps.sum(), gaps[11, 99]) == (1, True)
    (tmp_path / "x.csv").write_text("\n".join([*lines[:100], ",".join([*cells[:-1], "Meier"]), *lines[101:]]) + "\n")
    with pytest.raises(DataError, match="has cells that are no numbers") as told:
        read(tmp_path / "x.csv")
    assert "Meier" not in str(told.value)
    (tmp_path / "x.csv").write_text("\n".join([*lines[:100], *lines[300:]]) + "\n")
    with pytest.raises(DataError, match="not evenly spaced"):
        read(tmp_path / "x.csv")


# ------------------------------------------------------------------------------------------------ real recordings


def test_the_real_records_read_as_wfdb_reads_them(shared):
    folder = shared / "data/ecg/wfdb"
    paths = ecg_files(folder).files
    assert len(paths) == 10
    for path in paths:
        record = read(path)
        theirs = imported_wfdb().rdrecord(str(path.with_suffix("")))
        order = [[name.casefold() for name in theirs.sig_name].index(lead.casefold()) for lead in ECG_LEADS]
        np.testing.assert_allclose(record.twelve(), theirs.p_signal.T[order], atol=1e-12, err_msg=path.name)
        assert (record.rate_hz, record.resolution_mv) == (500, (0.001,) * 12)
        assert record.start == theirs.base_datetime


def test_a_copy_without_its_header_is_a_matlab_file(shared, tmp_path):
    shutil.copy(shared / "data/ecg/wfdb/Q0001.mat", tmp_path)
    alone = read(tmp_path / "Q0001.mat", facts=FACTS)
    np.testing.assert_allclose(alone.twelve(), read(shared / "data/ecg/wfdb/Q0001.hea").twelve(), atol=1e-9)
