"""Recordings and their preparation: readers, lead order, units, rates, silence, scale, embedding."""

import gzip
import json

import numpy as np
import pytest
from ecg_loading import loaded, read_ecgs, read_sources
from scipy.signal import butter, filtfilt, iirnotch

from pacx.core.errors import DataError, UsageError
from pacx.core.quarantine import Quarantined
from pacx.core.vocabulary import ECG_LEADS, MIMIC_ECG_LEADS
from pacx.modalities.ecg_signal.arrays import read_array, read_symile
from pacx.modalities.ecg_signal.facts import EcgUnit
from pacx.modalities.ecg_signal.job import EcgJob, prepare_usable, preprocess_ecg
from pacx.modalities.ecg_signal.readers import open_recordings
from pacx.modalities.ecg_signal.recordings import EcgRecordings, check_lead_order, check_voltage
from pacx.modalities.modality import EmbeddingSettings
from pacx.modalities.patients import Patients
from pacx.modalities.targets import FrozenTargets
from pacx.models.ecg.founder import ECGFounder
from pacx.models.ecg.input import ECG_FOUNDER_INPUT, ECG_FOUNDER_ONE_LEAD_INPUT, ECG_MAE_INPUT
from pacx.models.ecg.mae import EcgMaskedAutoencoder
from pacx.models.ecg.mae_config import TINY_ECG_MAE

TO_MIMIC = [0, 1, 2, 3, 5, 4, 6, 7, 8, 9, 10, 11]


def heartbeats(count: int, *, rate_hz: int = 500, seconds: float = 10.0, seed: int = 0) -> np.ndarray:
    """Records (N, 12, T) in mV whose limb leads obey Goldberger's identities."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    records = np.empty((count, 12, len(time)))
    for record in records:
        starts = np.arange(rng.uniform(0.2, 0.6), seconds, rng.uniform(0.6, 1.2))
        qrs = sum(np.exp(-(((time - start) / 0.025) ** 2)) for start in starts)
        t_wave = sum(np.exp(-(((time - start - 0.3) / 0.06) ** 2)) for start in starts)
        record[:] = rng.normal(0, 0.8, (12, 1)) * qrs + rng.normal(0, 0.2, (12, 1)) * t_wave
        one, two = record[0].copy(), record[1].copy()
        record[2:6] = two - one, -(one + two) / 2, one - two / 2, two - one / 2
    return records


def names(count: int) -> tuple[str, ...]:
    return tuple(f"p{i}" for i in range(count))


@pytest.fixture(scope="module")
def signals() -> np.ndarray:
    return heartbeats(4)


@pytest.fixture(scope="module")
def prepared(signals) -> np.ndarray:
    return preprocess_ecg(EcgRecordings(names(4), signals))


def test_voltage_and_offset_of_a_record_are_invisible_behind_the_z_score(signals, prepared):
    scaled = signals * np.array([3.0, 0.1, 1.0, 7.0])[:, None, None] + np.array([1.0, -2.0, 0.5, 0.0])[:, None, None]
    again = preprocess_ecg(EcgRecordings(names(4), scaled))
    assert np.abs(again - prepared).max() < 1e-5 * np.abs(prepared).max()


def test_voltage_stays_visible_with_the_fixed_scale(signals):
    once = preprocess_ecg(EcgRecordings(names(4), signals), ECG_MAE_INPUT)
    twice = preprocess_ecg(EcgRecordings(names(4), 2 * signals), ECG_MAE_INPUT)
    np.testing.assert_allclose(twice, 2 * once, atol=1e-5)


def test_symile_arrays_give_the_same_as_millivolts(signals, prepared, tmp_path):
    low = signals.min(axis=(1, 2), keepdims=True)
    scaled = 2 * (signals - low) / (signals.max(axis=(1, 2), keepdims=True) - low) - 1
    stored = scaled[:, TO_MIMIC].transpose(0, 2, 1)[:, None].astype(np.float32)  # (N, 1, 5000, 12)
    np.save(tmp_path / "ecg_train.npy", stored)
    np.save(tmp_path / "hadm_id_train.npy", np.arange(4))
    recordings = read_symile(tmp_path / "ecg_train.npy")
    assert recordings.sample_ids == ("0", "1", "2", "3")
    np.testing.assert_allclose(preprocess_ecg(recordings), prepared, atol=2e-5)
    with pytest.raises(DataError, match="voltage is lost"):
        preprocess_ecg(recordings, ECG_MAE_INPUT)
    np.save(tmp_path / "ecg_train.npy", stored[:, :, :, TO_MIMIC])
    with pytest.raises(DataError, match="aVL and aVF are exchanged"):
        read_symile(tmp_path / "ecg_train.npy")


def test_symile_candidates_are_no_samples(signals, tmp_path):
    """In the test split every recording comes again as a wrong answer; label says which rows count."""
    low = signals.min(axis=(1, 2), keepdims=True)
    scaled = 2 * (signals - low) / (signals.max(axis=(1, 2), keepdims=True) - low) - 1
    stored = scaled[[0, 1, 2, 3, 1, 0]][:, TO_MIMIC].transpose(0, 2, 1)[:, None].astype(np.float32)
    np.save(tmp_path / "ecg_test.npy", stored)
    np.save(tmp_path / "hadm_id_test.npy", np.array([30, 31, 32, 33, 31, 30]))
    np.save(tmp_path / "label_test.npy", np.array([1, 1, 1, 1, 0, 0]))
    recordings = open_recordings(tmp_path / "ecg_test.npy")
    assert recordings.sample_ids == ("30", "31", "32", "33")
    assert isinstance(recordings.recordings.signals, np.memmap), "the samples stay a view of the file"
    np.save(tmp_path / "label_test.npy", np.array([1, 0, 1, 1, 0, 0]))
    assert open_recordings(tmp_path / "ecg_test.npy").sample_ids == ("30", "32", "33")


def test_declared_order_is_undone_and_case_is_free(signals, prepared):
    leads = tuple(lead.upper() for lead in MIMIC_ECG_LEADS)
    mimic = EcgRecordings(names(4), signals[:, TO_MIMIC], leads)
    check_lead_order(mimic, "test")
    assert np.array_equal(preprocess_ecg(mimic), prepared)


def test_undeclared_orders_are_found(signals):
    with pytest.raises(DataError, match="aVL and aVF are exchanged"):
        check_lead_order(EcgRecordings(names(4), signals[:, TO_MIMIC]), "test")
    with pytest.raises(DataError, match="do not follow from I and II"):
        check_lead_order(EcgRecordings(names(4), signals[:, ::-1]), "test")
    noisy = signals + 0.05 * np.random.default_rng(0).standard_normal(signals.shape)
    check_lead_order(EcgRecordings(names(4), noisy), "test")


@pytest.mark.parametrize("leads", [(*ECG_LEADS[:11], "V5"), (*ECG_LEADS[:11], "X")])
def test_missing_and_repeated_leads_are_refused(signals, leads):
    with pytest.raises(DataError, match="V6"):
        EcgRecordings(names(4), signals, leads)


def test_shapes_ids_and_rates_are_checked(signals):
    with pytest.raises(DataError, match="time before leads"):
        EcgRecordings(names(4), signals.transpose(0, 2, 1))
    with pytest.raises(DataError, match=r"more than once \(p0\)"):
        EcgRecordings(("p0", "p1", "p2", "p0"), signals)
    with pytest.raises(DataError, match="0 Hz"):
        EcgRecordings(names(4), signals, sample_rate_hz=0)


@pytest.mark.parametrize("blank", [0.0, 0.7, np.nan, "per lead"])
def test_silent_records_are_named(signals, blank):
    broken = signals.copy()
    broken[2] = np.arange(12)[:, None] if blank == "per lead" else blank
    for config in (ECG_FOUNDER_INPUT, ECG_MAE_INPUT):
        with pytest.raises(DataError, match="p2 is constant"):
            preprocess_ecg(EcgRecordings(names(4), broken), config)


def test_infinite_records_are_named_and_nan_becomes_zero(signals):
    broken = signals.copy()
    broken[1, 3, 77] = np.inf
    with pytest.raises(DataError, match="p1 has infinite values"):
        preprocess_ecg(EcgRecordings(names(4), broken))
    with_nan, with_zero = signals.copy(), signals.copy()
    with_nan[0, 5, 100:200], with_zero[0, 5, 100:200] = np.nan, 0
    ours, theirs = (preprocess_ecg(EcgRecordings(names(4), x)) for x in (with_nan, with_zero))
    assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("rate_hz", [250, 360, 1000])
def test_other_rates_are_resampled(rate_hz, prepared):
    other = preprocess_ecg(EcgRecordings(names(4), heartbeats(4, rate_hz=rate_hz), sample_rate_hz=rate_hz))
    inner = slice(200, -200)
    error = np.linalg.norm((other - prepared)[:, :, inner]) / np.linalg.norm(prepared[:, :, inner])
    assert error < 0.01


def test_lengths(signals, prepared):
    longer = np.concatenate([signals, signals[:, :, :700]], axis=2)
    assert np.array_equal(preprocess_ecg(EcgRecordings(names(4), longer)), prepared), "the first ten seconds are kept"
    shorter = preprocess_ecg(EcgRecordings(names(4), signals[:, :, :4000]), ECG_MAE_INPUT)
    assert shorter.shape == (4, 12, 5000)
    assert np.abs(shorter[:, :, 4800:]).max() < 0.05 * np.abs(shorter).max()
    with pytest.raises(DataError, match="p0 has 2000 samples where 5000 are needed"):
        preprocess_ecg(EcgRecordings(names(4), signals[:, :, :2000]))


def test_processes_do_not_change_a_bit():
    """Three blocks over two processes, one recording unusable: same order, same bits, same complaint."""
    few = heartbeats(10)
    many = np.tile(few, (14, 1, 1)) * np.linspace(0.9, 1.1, 140)[:, None, None]
    many[70] = 0
    recordings = EcgRecordings(names(140), many.astype(np.float32))
    one, two = (prepare_usable(recordings, ECG_MAE_INPUT, num_workers=n, max_bad_fraction=0.01) for n in (1, 2))
    assert one.sample_ids == two.sample_ids == [f"p{i}" for i in range(140) if i != 70]
    assert np.array_equal(one.signals, two.signals)
    assert one.quarantined == two.quarantined == [Quarantined(sample_id="p70", reason="is constant")]


@pytest.fixture
def stored(signals, tmp_path):
    description = {"sample_ids": names(4), "leads": MIMIC_ECG_LEADS, "sample_rate_hz": 500, "unit": "uV"}
    np.save(tmp_path / "ecg.npy", np.round(signals[:, TO_MIMIC] * 1000).astype(np.int16))
    (tmp_path / "ecg.json").write_text(json.dumps(description))
    return tmp_path


def test_microvolt_array_stays_on_disk_until_needed(stored, signals):
    recordings = read_array(stored / "ecg.npy", stored / "ecg.json")
    assert isinstance(recordings.signals, np.memmap)
    assert recordings.unit is EcgUnit.MICROVOLT
    np.testing.assert_allclose(recordings.record(3), signals[3], atol=0.00051)
    chosen = recordings.select([3, 0])
    assert chosen.sample_ids == ("p3", "p0")
    assert np.array_equal(chosen.record(0), recordings.record(3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"leads": ECG_LEADS}, "aVL and aVF are exchanged"),
        ({"unit": "mm"}, "unit 'mm'"),
        ({"sample_ids": ["a"]}, "1 sample ids for 4 signals"),
        ({"sample_rate_hz": None}, "does not say sample_rate_hz"),
    ],
)
def test_descriptions_that_do_not_fit_are_refused(stored, change, message):
    said = {**json.loads((stored / "ecg.json").read_text()), **change}
    (stored / "ecg.json").write_text(json.dumps({key: value for key, value in said.items() if value is not None}))
    with pytest.raises(DataError, match=message):
        read_array(stored / "ecg.npy", stored / "ecg.json")
    (stored / "ecg.npy").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"not a readable \.npy"):
        read_array(stored / "ecg.npy", stored / "ecg.json")


def write_wfdb(folder, name, millivolt, *, leads=ECG_LEADS, rate_hz=500, unit="mV"):
    """Format 16 by hand: one text header, all leads interleaved as int16 microvolts, -32768 = invalid."""
    gain = 1 if unit == "uV" else 1000
    lines = [f"{name} {len(leads)} {rate_hz} {millivolt.shape[1]}"]
    lines += [f"{name}.dat 16 {gain}(0)/{unit} 16 0 0 0 0 {lead}" for lead in leads]
    (folder / f"{name}.hea").write_text("\n".join(lines) + "\n")
    steps = np.where(np.isnan(millivolt), -32768, np.round(np.nan_to_num(millivolt) * 1000))
    steps.T.astype("<i2").tofile(folder / f"{name}.dat")


def test_wfdb_leads_units_rates_lengths_and_invalid_samples(signals, tmp_path):
    with_gap = signals[3, :, :].copy()
    with_gap[8, 40:50] = np.nan
    write_wfdb(tmp_path, "a", signals[0])
    write_wfdb(tmp_path, "b", signals[1, TO_MIMIC], leads=[lead.upper() for lead in MIMIC_ECG_LEADS], unit="uV")
    write_wfdb(tmp_path, "c", heartbeats(4, rate_hz=1000, seconds=12)[2], rate_hz=1000)
    write_wfdb(tmp_path, "d", with_gap[:, :4500])
    recordings = read_ecgs([tmp_path / "a.hea", tmp_path / "b", tmp_path / "c.dat", tmp_path / "d"])
    assert recordings.sample_ids == ("a", "b", "c", "d")
    assert recordings.rates_hz == [500, 500, 1000, 500]
    np.testing.assert_allclose(recordings.signals[:2], signals[:2], atol=0.00051)
    assert recordings.signals[2].shape == (12, 11_000), "ten seconds, and one for the filter"
    assert recordings.signals[3].shape == (12, 4500)
    assert np.isnan(recordings.signals[3][8, 40:50]).all()
    usable = prepare_usable(read_sources([tmp_path / name for name in "abcd"]), ECG_FOUNDER_INPUT)
    assert usable.signals.shape == (4, 12, 5000)


def test_wfdb_records_that_cannot_be_used_are_named(signals, tmp_path):
    with pytest.raises(DataError, match=r"nothing has no header \(\.hea\)"):
        read_ecgs([tmp_path / "nothing"])
    write_wfdb(tmp_path, "few", signals[0, :11], leads=ECG_LEADS[:11])
    with pytest.raises(DataError, match=r"few.* \(must have each of the twelve leads once, but not so V6"):
        prepare_usable(read_sources([tmp_path / "few"]), ECG_FOUNDER_INPUT)
    write_wfdb(tmp_path, "odd", signals[0], unit="mmHg")
    with pytest.raises(DataError, match="odd is in units that are no volts"):
        read_ecgs([tmp_path / "odd"])
    write_wfdb(tmp_path, "short", signals[0, :, :1000] + 0.3)
    with pytest.raises(DataError, match=r"short.* \(has 1000 samples where 5000 are needed"):
        prepare_usable(read_sources([tmp_path / "short"]), ECG_FOUNDER_INPUT)
    (tmp_path / "odd.hea").write_text("not a header\n")
    with pytest.raises(DataError, match="odd is not a readable WFDB record"):
        read_ecgs([tmp_path / "odd"])


def without_end_of_v1(rate_hz, missing, seconds=10.0):
    record = heartbeats(1, rate_hz=rate_hz, seconds=seconds)[0] + 0.3
    record[6, round((1 - missing) * record.shape[1]) :] = np.nan
    return record


@pytest.mark.parametrize("rate_hz", [250, 500, 1000])
def test_a_lead_full_of_gaps_is_refused_at_every_rate(rate_hz, tmp_path):
    """Zeros in the place of the gaps would pass as a flat baseline."""
    write_wfdb(tmp_path, "gap", without_end_of_v1(rate_hz, 0.7), rate_hz=rate_hz)
    with pytest.raises(DataError, match=r"gap.* \(has no samples in 70% of lead V1\)"):
        prepare_usable(read_sources([tmp_path / "gap"]), ECG_FOUNDER_INPUT)
    write_wfdb(tmp_path, "held", without_end_of_v1(rate_hz, 0.05, seconds=6), rate_hz=rate_hz)
    with pytest.raises(DataError, match=r"held.* \(has no samples in 43% of lead V1\)"):  # it goes on for 4 s
        prepare_usable(read_sources([tmp_path / "held"]), ECG_FOUNDER_INPUT)
    write_wfdb(tmp_path, "few", without_end_of_v1(rate_hz, 0.15), rate_hz=rate_hz)
    write_wfdb(tmp_path, "late", without_end_of_v1(rate_hz, 0.25, seconds=13), rate_hz=rate_hz)  # 9.75 s are there
    usable = prepare_usable(read_sources([tmp_path / "few", tmp_path / "late"]), ECG_FOUNDER_INPUT)
    assert usable.sample_ids == ["few", "late"]


def test_embeddings_come_with_ids_and_a_fingerprint_of_what_made_them(stored):
    recordings = read_array(stored / "ecg.npy", stored / "ecg.json")
    model = EcgMaskedAutoencoder(TINY_ECG_MAE, seed=0)

    def embedded(recordings: EcgRecordings) -> FrozenTargets:
        return EcgJob(model, recordings).run(EmbeddingSettings())

    targets = embedded(recordings)
    assert targets.embeddings.shape == (4, 96)
    assert targets.sample_ids == names(4)
    assert EcgJob(model, recordings).fingerprint == targets.fingerprint
    assert EcgJob(model, recordings.select([0, 1, 2])).fingerprint != targets.fingerprint
    one_by_one = np.concatenate([embedded(recordings.select([row])).embeddings for row in range(4)])
    np.testing.assert_allclose(one_by_one, targets.embeddings, atol=1e-5)


def test_the_one_lead_network_sees_lead_one_alone(signals):
    network = ECGFounder(1)
    assert network.preprocessing == ECG_FOUNDER_ONE_LEAD_INPUT
    prepared = preprocess_ecg(EcgRecordings(names(4), signals), network.preprocessing)
    assert prepared.shape == (4, 1, 5000)
    np.testing.assert_allclose(prepared.std(axis=(1, 2)), 1, atol=1e-4)
    other = signals.copy()
    other[:, 1:] *= 1.7
    assert np.array_equal(preprocess_ecg(EcgRecordings(names(4), other), network.preprocessing), prepared)
    assert EcgJob(network, EcgRecordings(names(4), signals)).run(EmbeddingSettings()).embeddings.shape == (4, 1024)


def clipped(record: np.ndarray) -> np.ndarray:
    """An amplifier that stops at half of the highest wave."""
    return np.minimum(record, 0.5 * record.max(axis=1, keepdims=True))


def with_gap(record: np.ndarray) -> np.ndarray:
    record = record.copy()
    record[4, 1000:2500] = np.nan
    return record


def without_a_lead(record: np.ndarray) -> np.ndarray:
    record = record.copy()
    record[7] = 0.3
    return record


def test_a_clean_baseline_is_no_limit(signals):
    """Between beats many samples share the lowest value of a lead; coarse steps put some at the top of its waves."""
    coarse = np.round(np.concatenate([signals[:, :6], np.abs(signals[:, 6:])], axis=1), 2) + 0.5
    assert (coarse == coarse.min(axis=2, keepdims=True))[:, 6:].mean() > 0.3
    assert preprocess_ecg(EcgRecordings(names(4), coarse)).shape == (4, 12, 5000)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (without_a_lead, "is flat in lead V2"),
        (clipped, "is clipped: "),
        (with_gap, "has no samples in 30% of lead aVL"),
        (lambda record: record * 1000, "has a standard deviation of .* expected 0.1 to 0.5"),
        (lambda record: record / 1000, "has a standard deviation of .* expected 0.1 to 0.5"),
        (lambda record: record * 0 + np.inf, "has infinite values"),
        (lambda record: record * 0, "is constant"),
    ],
)
def test_a_bad_recording_is_refused_or_left_out_with_its_reason(signals, spoil, reason):
    broken = signals.copy()
    broken[1] = spoil(broken[1])
    recordings = EcgRecordings(names(4), broken)
    with pytest.raises(DataError, match=rf"1 of 4 ECG recordings cannot be used.*p1 {reason}"):
        preprocess_ecg(recordings)
    kept = prepare_usable(recordings, ECG_FOUNDER_INPUT, max_bad_fraction=0.25)
    assert kept.sample_ids == ["p0", "p2", "p3"]
    assert np.array_equal(kept.signals, preprocess_ecg(EcgRecordings(names(4), signals))[[0, 2, 3]])
    assert kept.quarantined[0].sample_id == "p1"


def test_one_recording_under_two_patients_belongs_to_one_of_them(signals):
    twice = signals[[0, 1, 2, 0]]
    with pytest.raises(DataError, match="p3 is sample for sample the recording of p0"):
        preprocess_ecg(EcgRecordings(names(4), twice))
    same_patient = EcgRecordings(names(4), twice, patient_ids=("a", "b", "c", "a"))
    assert len(preprocess_ecg(same_patient)) == 4, "two films may share one ECG"
    assert same_patient.select([3]).patient_ids == ("a",)
    with pytest.raises(DataError, match="2 patient ids for 4 samples"):
        EcgRecordings(names(4), signals, patient_ids=("a", "b"))


@pytest.mark.parametrize(
    ("factor", "unit", "size"), [(1000, EcgUnit.MILLIVOLT, "large"), (1, EcgUnit.MICROVOLT, "small")]
)
def test_microvolts_that_are_declared_as_millivolts_are_found(signals, factor, unit, size):
    check_voltage(EcgRecordings(names(4), signals), "test")
    check_voltage(EcgRecordings(names(4), signals * 1000, unit=EcgUnit.MICROVOLT), "test")
    check_voltage(EcgRecordings(names(4), signals * 1e6, unit=EcgUnit.RELATIVE), "test")
    with pytest.raises(DataError, match=f"far too {size}"):
        check_voltage(EcgRecordings(names(4), signals * factor, unit=unit), "test")


def test_a_folder_or_a_list_of_records(signals, tmp_path):
    (tmp_path / "p10/s1").mkdir(parents=True)
    for number in range(3):
        write_wfdb(tmp_path / "p10/s1", f"r{number}", signals[number])
    assert open_recordings(tmp_path).sample_ids == ("r0", "r1", "r2")
    assert open_recordings(tmp_path / "p10/s1/r1.hea").sample_ids == ("r1",)
    (tmp_path / "list.csv").write_text("sample_id,path,patient_id\nfilm9,p10/s1/r2,x\nfilm8,p10/s1/r0,y\n")
    listed = open_recordings(tmp_path / "list.csv")
    assert (listed.sample_ids, listed.patient_ids) == (("film9", "film8"), ("x", "y"))
    np.testing.assert_allclose(loaded(listed).signals[0], signals[2], atol=0.00051)
    (tmp_path / "p10/s1/r1.dat").unlink()
    with pytest.raises(DataError, match=r"1 of 3 ECG recordings cannot be used.*r1.* no signal file"):
        prepare_usable(open_recordings(tmp_path), ECG_FOUNDER_INPUT)
    partly = loaded(open_recordings(tmp_path))
    assert partly.sample_ids == ("r0", "r2")
    assert [entry.sample_id for entry in partly.quarantined] == ["r1"]
    (tmp_path / "empty").mkdir()
    for nothing in (tmp_path / "empty", tmp_path / "none.npy", tmp_path / "none"):
        with pytest.raises(UsageError):
            open_recordings(nothing)
    (tmp_path / "list.csv").write_text("id,place\n1,r0\n")
    with pytest.raises(DataError, match="no column path"):
        open_recordings(tmp_path / "list.csv")


def test_rows_without_a_path_and_patients_that_are_not_known(signals, tmp_path):
    for number in range(3):
        write_wfdb(tmp_path, f"r{number}", signals[number])
    rows = ["a,r0,p1", "b,,p2", ",,", "NA,r1,NA", "5.0,r2,"]
    (tmp_path / "list.csv").write_text("\n".join(["sample_id,path,subject_id", *rows]) + "\n")
    listed = open_recordings(tmp_path / "list.csv")
    assert listed.sample_ids == ("a", "NA", "5"), "a sample called NA is called NA"
    assert listed.patient_ids == ("p1", "NA", "5"), "nobody is called nan"
    assert listed.notes == (
        "list.csv: patient_id is column 'subject_id'",
        "1 of 4 rows of list.csv have no path and are passed over",
        "list.csv names no patient of 2 of 3 recordings: each of them counts as a person of its own",
    )
    (tmp_path / "list.csv").write_text("path,klinik_patient\nr0,1\nr1,1\n")
    with pytest.raises(UsageError, match=r"klinik_patient.*--patient-column COLUMN, or --no-patients"):
        open_recordings(tmp_path / "list.csv")
    said = open_recordings(tmp_path / "list.csv", patients=Patients(patient_column="klinik_patient"))
    assert (said.sample_ids, said.patient_ids) == (("r0", "r1"), ("1", "1"))
    assert open_recordings(tmp_path / "list.csv", patients=Patients(no_patients=True)).patient_ids == ("r0", "r1")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
@pytest.mark.parametrize("name", ["list.csv", "LISTE.CSV", "list.tsv", "list.txt"])
def test_a_list_of_any_spreadsheet_gives_the_same_recordings(signals, tmp_path, encoding, name):
    for number, record in enumerate(("r0", "r1")):
        write_wfdb(tmp_path, record, signals[number])
    text = "sep=;\nsample_id;path;patient_id;\nfilm9;r1;Müller;\n;;;\nfilm8;r0;Möller;\n"
    (tmp_path / name).write_bytes(text.encode(encoding))
    listed = open_recordings(tmp_path / name)
    assert (listed.sample_ids, listed.patient_ids) == (("film9", "film8"), ("Müller", "Möller"))
    assert any("Windows-1252" in note for note in listed.notes) == (encoding == "cp1252")


@pytest.mark.parametrize("name", ["patient_ids", "subject_ids", "PatientID"])
def test_the_patients_of_an_array_are_found_by_any_usual_name(signals, tmp_path, name):
    np.save(tmp_path / "ecg.npy", signals.astype(np.float32))
    about = {"sample_ids": [1, 2.0, "c", "d"], "leads": list(ECG_LEADS), "sample_rate_hz": 500, "unit": "mV"}
    (tmp_path / "ecg.json").write_text(json.dumps({**about, name: [7, 7.0, None, "NA"]}))
    opened = open_recordings(tmp_path / "ecg.npy")
    assert (opened.sample_ids, opened.recordings.patient_ids) == (("1", "2", "c", "d"), ("7", "7", "c", "d"))


def test_a_header_that_names_its_record_with_an_ending_is_read(signals, tmp_path):
    write_wfdb(tmp_path, "r0", signals[0])
    plain = loaded(open_recordings(tmp_path)).signals
    header = tmp_path / "r0.hea"
    header.write_text(header.read_text().replace("r0 12", "r0.mat 12", 1))
    np.testing.assert_array_equal(loaded(open_recordings(tmp_path)).signals, plain)


@pytest.mark.parametrize("micro", ["\N{MICRO SIGN}", "\N{GREEK SMALL LETTER MU}"])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_microvolts_with_a_greek_letter_are_no_volts(signals, tmp_path, micro, encoding):
    if encoding == "latin-1" and micro != "\N{MICRO SIGN}":
        pytest.skip("Latin-1 has the micro sign alone")
    write_wfdb(tmp_path, "r0", signals[0], unit="uV")
    header = (tmp_path / "r0.hea").read_text().replace("/uV", f"/{micro}V") + "# 5 \N{MICRO SIGN}m\n"
    (tmp_path / "r0.hea").write_bytes(header.encode(encoding, errors="replace"))
    np.testing.assert_allclose(loaded(open_recordings(tmp_path)).signals[0], signals[0], atol=0.00051)


def test_a_record_without_a_rate_is_left_out(signals, tmp_path):
    for name in ("r0", "r1"):
        write_wfdb(tmp_path, name, signals[0], rate_hz=0 if name == "r1" else 500)
    read = loaded(open_recordings(tmp_path))
    assert read.sample_ids == ("r0",)
    assert "r1 has a header with a rate of 0 Hz" in str(read.quarantined[0])


def test_of_many_records_the_good_ones_keep_their_rows(signals, tmp_path):
    for number in range(4):
        write_wfdb(tmp_path, f"r{number}", signals[number])
    for number in (0, 2):
        (tmp_path / f"r{number}.dat").unlink()
    read = loaded(open_recordings(tmp_path))
    assert read.sample_ids == ("r1", "r3")
    np.testing.assert_allclose(read.signals, signals[[1, 3]], atol=0.00051)


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".txt", ".CSV", ".csv.gz", ".tsv.gz"])
@pytest.mark.parametrize("path", ["p10/r0", "p10\\r0", "p10\\r0.hea"])
def test_a_list_may_be_packed_have_tabs_and_come_from_windows(signals, tmp_path, ending, path):
    (tmp_path / "p10").mkdir()
    write_wfdb(tmp_path / "p10", "r0", signals[0])
    rows = "\t".join(("path", "sample_id", "patient_id")) + "\n" + "\t".join((path, "5.0", "7")) + "\n"
    file = tmp_path / f"list{ending}"
    file.write_bytes(gzip.compress(rows.encode()) if ending.endswith("gz") else rows.encode())
    listed = open_recordings(file)
    assert (listed.sample_ids, listed.patient_ids) == (("5",), ("7",))
    np.testing.assert_allclose(loaded(listed).signals[0], signals[0], atol=0.00051)


def test_the_list_of_ptb_xl_is_read_at_its_higher_rate(signals, tmp_path):
    (tmp_path / "r500").mkdir()
    write_wfdb(tmp_path / "r500", "1_hr", signals[0])
    (tmp_path / "l.csv").write_text("ecg_id,patient_id,filename_lr,filename_hr\n1,15709.0,r100/1_lr,r500/1_hr\n")
    listed = open_recordings(tmp_path / "l.csv")
    assert (listed.sample_ids, listed.patient_ids) == (("1",), ("15709",))
    assert len(loaded(listed).signals) == 1


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ([], "is no JSON object"),
        ({"sample_rate_hz": None}, "no number as sample_rate_hz"),
        ({"sample_rate_hz": "fast"}, "no number as sample_rate_hz"),
        ({"sample_ids": "abcd"}, "no list as sample_ids"),
        ({"leads": "I,II"}, "no list as leads"),
        ({"sample_ids": ["a"]}, "1 sample ids for 4 signals; give one each"),
        ({"sample_ids": ["2e+07", "3e+07", "4e+07", "5e+07"]}, "4 of 4 ids in sample_ids .* are rounded numbers"),
    ],
)
def test_a_description_at_fault_is_told_so(signals, tmp_path, said, message):
    np.save(tmp_path / "ecg.npy", signals.astype(np.float32))
    about = {"sample_ids": list("abcd"), "leads": list(ECG_LEADS), "sample_rate_hz": 500, "unit": "mV"}
    (tmp_path / "ecg.json").write_text(json.dumps({**about, **said} if said else said))
    with pytest.raises(DataError, match=message):
        open_recordings(tmp_path / "ecg.npy")


def test_several_samples_a_frame_are_all_read(signals, tmp_path):
    """Format 16x4: four samples of every lead after each other, at 125 frames a second."""
    lines = ["f 12 125 1250"] + [f"f.dat 16x4 1000(0)/mV 16 0 0 0 0 {lead}" for lead in ECG_LEADS]
    (tmp_path / "f.hea").write_text("\n".join(lines) + "\n")
    steps = np.round(signals[0] * 1000).reshape(12, 1250, 4)
    steps.transpose(1, 0, 2).astype("<i2").tofile(tmp_path / "f.dat")
    read = loaded(open_recordings(tmp_path))
    assert read.rates_hz == [500]
    np.testing.assert_allclose(read.signals[0], signals[0], atol=0.00051)


def test_of_a_record_in_segments_the_master_counts_and_each_has_its_unit(signals, tmp_path):
    for name, part, unit in (("m1", signals[0][:, :3000], "mV"), ("m2", signals[0][:, 3000:], "mV")):
        write_wfdb(tmp_path, name, part, unit=unit)
    (tmp_path / "m.hea").write_text("m/2 12 500 5000\nm1 3000\nm2 2000\n")
    read = loaded(open_recordings(tmp_path))
    assert read.sample_ids == ("m",)
    np.testing.assert_allclose(read.signals[0], signals[0], atol=0.00051)
    write_wfdb(tmp_path, "m2", signals[0][:, 3000:], unit="uV")
    np.testing.assert_allclose(loaded(open_recordings(tmp_path)).signals[0], signals[0], atol=0.00051)


def test_damage_that_wfdb_has_no_word_for_is_counted_like_any_other(signals, tmp_path):
    for number in range(3):
        write_wfdb(tmp_path, f"r{number}", signals[number])
    (tmp_path / "none.hea").write_text("none 0 500 5000\n")
    header = (tmp_path / "r1.hea").read_text().replace("r1.dat 16 ", "r1.flac 516 ")
    (tmp_path / "r1.hea").write_text(header)
    (tmp_path / "r1.flac").write_bytes(b"fLaC and nothing after it")
    partly = loaded(open_recordings(tmp_path))
    assert partly.sample_ids == ("r0", "r2")
    assert [bad.sample_id for bad in partly.quarantined] == ["none", "r1"]


@pytest.mark.parametrize("value", [0.0, 0.3])
@pytest.mark.parametrize("place", [slice(0, 3500), slice(1500, None), slice(1000, 4500)])
def test_a_value_that_is_held_is_a_gap_wherever_it_stands(signals, value, place):
    broken = signals.copy()
    broken[1, :, place] = value
    is_padded = value == 0 and place != slice(1000, 4500)
    reason = "1500 samples where 5000 are needed" if is_padded else "no samples in 70% of lead I"
    with pytest.raises(DataError, match=f"p1 has {reason}"):
        preprocess_ecg(EcgRecordings(names(4), broken))
    mended = signals.copy()
    mended[1, :, :900] = 0
    assert len(preprocess_ecg(EcgRecordings(names(4), mended))) == 4, "less than a fifth"


def test_what_brings_a_short_recording_to_the_common_length_is_no_gap(signals, tmp_path):
    """The last value is held for 4 s, and stands there as silence: nothing else of the filters' result changes."""
    signals = signals + 0.3  # a baseline of zeros would be taken off the ends
    write_wfdb(tmp_path, "short", signals[0][:, :3000])
    write_wfdb(tmp_path, "whole", signals[1])
    short, whole = prepare_usable(open_recordings(tmp_path), ECG_MAE_INPUT).signals
    held = np.pad(np.round(signals[0][:, :3000] * 1000) / 1000, ((0, 0), (0, 2000)), mode="edge")
    notch, band = iirnotch(50.0, 30.0, 500), butter(4, (0.67, 40.0), "bandpass", fs=500)
    np.testing.assert_allclose(short, filtfilt(*band, filtfilt(*notch, held)) / 0.25, atol=1e-5)
    assert np.abs(short[:, 4000:]).max() < 0.2 * np.abs(whole[:, 4000:]).max()
