"""Measures of ECGs against what the simulator drew, against formulas worked out slowly, and against traps."""

from dataclasses import replace
from itertools import pairwise
from math import sqrt

import numpy as np
import pytest
from scipy.signal import butter, filtfilt, resample_poly

from benchmarks.ecg_measures import truth
from pacx.core.errors import DataError
from pacx.core.vocabulary import ECG_LEADS
from pacx.modalities.ecg_measurements import heartbeats as heartbeats_module
from pacx.modalities.ecg_measurements.heartbeats import Heartbeats, heartbeats
from pacx.modalities.ecg_measurements.job import MEASURED_INPUT, EcgMeasuresJob, measured_table
from pacx.modalities.ecg_measurements.measures import (
    ATRIA,
    ECG_MEASURES,
    RHYTHM,
    _deflections,
    _rhythm,
    _transition,
    measured,
)
from pacx.modalities.ecg_measurements.measuring import measured_pieces
from pacx.modalities.ecg_measurements.waves import _share
from pacx.modalities.ecg_signal.facts import EcgUnit, UnusableError
from pacx.modalities.ecg_signal.job import preprocess_ecg
from pacx.modalities.ecg_signal.packs.packing import pack_ecgs
from pacx.modalities.ecg_signal.recordings import EcgRecordings
from pacx.modalities.ecg_signal.sources import source_of
from pacx.modalities.modality import EmbeddingSettings
from pacx.modalities.panel.encoder import PanelEncoder
from pacx.modalities.panel.panels import PercentileScaler
from pacx.models.panel.autoencoder import PanelAutoencoder
from pacx.simulation.patients.physiology import (
    ATRIAL_FIBRILLATION,
    LEFT_BUNDLE_BLOCK,
    NORMAL_CONDUCTION,
    PACED,
    RIGHT_BUNDLE_BLOCK,
    SINUS,
)
from pacx.simulation.patients.population import draw_physiology
from pacx.simulation.patients.sites import UNIVERSITY_HOSPITAL
from pacx.simulation.signals.ecg import simulate_ecg

SEED = 7
IDS = [f"m{row}" for row in range(48)]
KEYS = ECG_MEASURES.keys
FEW_BAD = EmbeddingSettings(max_bad_fraction=0.5)


def of(values, key):
    return values[..., KEYS.index(key)]


def prepared(signals, rate_hz=500.0):
    ids = tuple(f"r{row}" for row in range(len(signals)))
    return preprocess_ecg(EcgRecordings(ids, signals, sample_rate_hz=rate_hz), MEASURED_INPUT)


def measures(signals):
    return np.array([measured(record, 500.0) for record in signals])


@pytest.fixture(scope="module")
def physiology():
    return draw_physiology(IDS, seed=SEED, site=UNIVERSITY_HOSPITAL)


@pytest.fixture(scope="module")
def raw(physiology):
    return simulate_ecg(physiology, IDS, seed=SEED)


@pytest.fixture(scope="module")
def signals(raw):
    return prepared(raw)


@pytest.fixture(scope="module")
def values(signals):
    return measures(signals)


@pytest.fixture(scope="module")
def drawn(physiology):
    return truth(physiology, IDS, SEED)


def hearts(count, **state):
    """Patients alike but for chance, with a rhythm, a conduction and normal potassium."""
    ids = [f"h{row}" for row in range(count)]
    people = draw_physiology(ids, seed=3, site=UNIVERSITY_HOSPITAL)
    fixed = {"rhythm": SINUS, "conduction": NORMAL_CONDUCTION, "potassium_mmol_l": 4.2, "heart_rate_bpm": 72.0} | state
    people = replace(people, **{name: np.full(count, float(value)) for name, value in fixed.items()})
    return prepared(simulate_ecg(people, ids, seed=3))


def test_the_panel_names_each_measure_once_and_gives_as_many_values(values):
    assert len(set(KEYS)) == len(KEYS) == values.shape[1] == 98
    known = np.array([[each.lowest, each.highest] for each in ECG_MEASURES.quantities])
    inside = (values >= known[:, 0]) & (values <= known[:, 1]) | np.isnan(values)
    assert inside.all()
    assert np.isfinite(values).any(axis=0).all()


def test_every_heartbeat_is_found_and_none_made_up(signals, drawn):
    for record, wanted in zip(signals, drawn["beats_s"], strict=True):
        found = heartbeats(record.astype(float), 500.0).times_s
        inside = wanted[(wanted > 0.3) & (wanted < 9.7)]
        distance = np.abs(found[:, None] - wanted).min(axis=1)
        assert np.abs(inside[:, None] - found).min(axis=1).max() < 0.06
        assert distance.max() < 0.06


def test_intervals_and_axes_are_what_the_simulator_drew(values, drawn, physiology):
    assert np.abs(of(values, "heart_rate") - drawn["heart_rate"]).max() < 2.5
    is_narrow = (physiology.rhythm == SINUS) & (physiology.conduction == NORMAL_CONDUCTION)
    for key, most in (("qrs_duration", 12), ("qt_interval", 12), ("pr_interval", 12), ("p_duration", 12)):
        error = (of(values, key) - drawn[key])[is_narrow]
        assert np.isfinite(error).all()
        assert np.quantile(np.abs(error - np.median(error)), 0.9) < most, key
        assert abs(np.median(error)) < 25, key  # filters and edges: truth ends at a twentieth of the wave
    for wave, most in (("qrs", 6), ("p", 6)):
        angle = np.rad2deg(np.arctan2(of(values, f"{wave}_axis_sin"), of(values, f"{wave}_axis_cos")))
        error = (angle - drawn[f"{wave}_axis"] + 180) % 360 - 180
        assert np.quantile(np.abs(error[np.isfinite(error) & (physiology.rhythm == SINUS)]), 0.9) < most


def test_bundle_blocks_are_wide_and_look_as_they_should():
    narrow, left, right = (
        measures(hearts(6, conduction=each)) for each in (NORMAL_CONDUCTION, LEFT_BUNDLE_BLOCK, RIGHT_BUNDLE_BLOCK)
    )
    assert of(narrow, "qrs_duration").max() < 112 < 120 < of(right, "qrs_duration").min()
    assert of(left, "qrs_duration").min() > 130
    assert of(left, "r_share_v1").max() < 0.3
    assert of(left, "qrs_t_alike").max() < 0  # T against QRS
    assert of(right, "qrs_late_v1").min() > 0.2 > of(narrow, "qrs_late_v1").max()
    assert np.isnan(of(left, "r_peak_time_v1")).all(), "QS has no R"


def test_a_fibrillating_heart_has_no_p_wave_and_no_order():
    sinus, fibrillating = measures(hearts(8)), measures(hearts(8, rhythm=ATRIAL_FIBRILLATION))
    p_wave = ["p_amplitude_ii", "p_positive_v1", "p_negative_v1", "p_duration", "pr_interval", "p_axis_cos"]
    for key in p_wave:
        assert np.isnan(of(fibrillating, key)).all(), key
        assert np.isfinite(of(sinus, key)).all(), key
    assert of(sinus, "rr_deviant").max() < 0.1 < np.mean(of(fibrillating, "rr_deviant"))
    assert of(sinus, "rr_rmssd").max() < of(fibrillating, "rr_rmssd").min()
    assert of(sinus, "atrial_rest_v1").max() < of(fibrillating, "atrial_rest_v1").min()
    assert of(sinus, "p_share").min() > 0.7 > of(fibrillating, "p_share").max()


def test_a_paced_heart_has_a_spike_no_p_wave_and_equal_intervals():
    sinus, paced = measures(hearts(8)), measures(hearts(8, rhythm=PACED))
    assert of(sinus, "pacing_spike").max() < np.median(of(paced, "pacing_spike"))
    assert np.median(of(paced, "pacing_spike")) > 1.1
    assert np.isnan(of(paced, "pr_interval")).all()
    assert of(paced, "rr_sdnn").max() < 5
    assert of(paced, "qrs_duration").min() > 130


def test_half_the_rate_gives_the_same_measures(raw, values):
    """Except where a wave is found on one of them and just not on the other."""
    half = measures(prepared(resample_poly(raw[:24].astype(float), 1, 2, axis=2, padtype="line"), 250.0))
    values = values[:24]
    both = np.isfinite(values) & np.isfinite(half)
    assert (np.isfinite(values) == np.isfinite(half)).mean() > 0.99
    for key, most in {"heart_rate": 0.3, "qrs_duration": 5, "qt_interval": 5, "pr_interval": 6, "rr_rmssd": 3}.items():
        rows = both[:, KEYS.index(key)]
        assert np.quantile(np.abs(of(values, key) - of(half, key))[rows], 0.95) < most, key
    voltages = [column for column, each in enumerate(ECG_MEASURES.quantities) if each.unit == "mV"]
    difference = np.abs(values - half)[:, voltages][both[:, voltages]]
    assert np.quantile(difference, 0.99) < 0.03


def test_twice_the_voltage_doubles_voltages_and_nothing_else(signals, values, physiology):
    """Of hearts whose P and T waves are large enough for both; what counts as an R wave is a voltage, too."""
    rows = np.flatnonzero((physiology.rhythm != PACED) & np.isfinite(of(values, "t_ii")))[:16]
    once, twice = values[rows], measures(2 * signals[rows])
    is_voltage = np.array([each.unit == "mV" for each in ECG_MEASURES.quantities])
    by_size = np.array([key.startswith(("q_", "r_", "s_", "sokolow", "cornell")) for key in KEYS])
    np.testing.assert_allclose(twice[:, ~is_voltage & ~by_size], once[:, ~is_voltage & ~by_size], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        twice[:, is_voltage & ~by_size], 2 * once[:, is_voltage & ~by_size], rtol=1e-5, atol=1e-5
    )
    heights = np.array([key.startswith("r_") for key in KEYS]) & is_voltage
    is_wave = once[:, heights] > 0.06
    np.testing.assert_allclose(twice[:, heights][is_wave], 2 * once[:, heights][is_wave], rtol=1e-5)


def test_exchanged_arms_turn_the_axis_round(signals, values):
    """Left against right arm: I is turned, II and III, aVR and aVL change places; the feet stay."""
    exchanged = signals[:16][:, [0, 2, 1, 4, 3, 5, 6, 7, 8, 9, 10, 11]].copy()
    exchanged[:, 0] *= -1
    turned = measures(exchanged)
    for wave in ("qrs", "p"):
        np.testing.assert_allclose(of(turned, f"{wave}_axis_cos"), -of(values[:16], f"{wave}_axis_cos"), atol=0.1)
        np.testing.assert_allclose(of(turned, f"{wave}_axis_sin"), of(values[:16], f"{wave}_axis_sin"), atol=0.1)
    assert np.sign(of(turned, "p_amplitude_ii")).tolist() != np.sign(of(values[:16], "p_amplitude_ii")).tolist()


def test_a_flat_lead_has_no_measures_and_spoils_no_other(signals, values):
    flat = signals[:6].copy()
    flat[:, ECG_LEADS.index("V3")] = 0
    without = measures(flat)
    for wave in ("q", "r", "s", "st", "t"):
        assert np.isnan(of(without, f"{wave}_v3")).all()
    assert np.isnan(of(without, "cornell")).all()
    assert np.isnan(of(without, "r_transition")).all()
    np.testing.assert_allclose(of(without, "r_v5"), of(values[:6], "r_v5"), atol=0.05)
    np.testing.assert_allclose(of(without, "qrs_duration"), of(values[:6], "qrs_duration"), atol=12)
    np.testing.assert_allclose(of(without, "sokolow_lyon"), of(values[:6], "sokolow_lyon"), atol=0.1)


def test_noise_and_silence_are_refused():
    noise = np.random.default_rng(0).standard_normal((12, 5000))
    filtered = 0.1 * filtfilt(*butter(4, (0.67, 40), "bandpass", fs=500), noise)
    with pytest.raises(UnusableError, match="no heartbeat that repeats"):
        measured(filtered, 500.0)
    with pytest.raises(UnusableError, match="no heartbeats that can be measured"):
        measured(np.zeros((12, 5000)), 500.0)


def test_two_and_a_half_seconds(signals, values):
    """A strip that is long enough for three beats has its intervals; the modality itself refuses made-up seconds."""
    strip = measured(signals[0][:, :1250], 500.0)
    np.testing.assert_allclose(of(strip, "heart_rate"), of(values[0], "heart_rate"), atol=8)
    with pytest.raises(UnusableError, match="heartbeats, fewer than the 3"):
        measured(signals[0][:, :600], 500.0)
    with pytest.raises(DataError, match="has 1250 samples where 5000 are needed"):
        prepared(signals[:1, :, :1250])


def test_variability_worked_out_slowly():
    intervals_s = np.array([0.8, 0.9, 0.7, 0.8, 1.3, 0.8, 0.75])
    ms = [1000 * each for each in intervals_s]
    times_s = np.concatenate([[0.0], np.cumsum(intervals_s)])
    usual = np.array([True] * 7 + [False])
    beats = Heartbeats(times_s, usual, np.zeros((1, 12, 2)), np.zeros((12, 2)), 0, 500.0)
    rate, sdnn, rmssd, across, along, deviant, unusual = _rhythm(beats, intervals_s)

    def deviation(numbers):
        mean = sum(numbers) / len(numbers)
        return sqrt(sum((each - mean) ** 2 for each in numbers) / (len(numbers) - 1))

    pairs = list(pairwise(ms))
    assert rate == pytest.approx(7 * 60 / (sum(ms) / 1000))
    assert sdnn == pytest.approx(deviation(ms))
    assert rmssd == pytest.approx(sqrt(sum((b - a) ** 2 for a, b in pairs) / 6))
    assert across == pytest.approx(deviation([(b - a) / sqrt(2) for a, b in pairs]))
    assert along == pytest.approx(deviation([(b + a) / sqrt(2) for a, b in pairs]))
    assert deviant == pytest.approx(sum(abs(each / 800 - 1) > 0.15 for each in ms) / 7) == pytest.approx(1 / 7)
    assert unusual == pytest.approx(1 / 8)
    assert len(RHYTHM) == 7


def test_two_intervals_have_no_spread_across_the_diagonal():
    beats = Heartbeats(np.array([0, 0.8, 1.7]), np.ones(3, bool), np.zeros((1, 12, 2)), np.zeros((12, 2)), 0, 500.0)
    rhythm = _rhythm(beats, np.array([0.8, 0.9]))
    assert rhythm[2] == pytest.approx(100)
    assert np.isnan(rhythm[3:5]).all()


@pytest.mark.parametrize(
    ("lead", "q", "r", "s"),
    [
        ([0, 0.2, 1.0, 0.3, -0.4, 0], 0, 1.0, 0.4),  # Rs
        ([0, -0.2, 0.1, 0.9, 0], 0.2, 0.9, 0),  # qR
        ([0, 0.2, -1.2, 0], 0, 0.2, 1.2),  # rS
        ([0, -1.2, -0.5, 0], 0, 0, 1.2),  # QS
        ([0, -1.2, -0.5, 0.1], 0, 0, 1.2),  # QS with a raised ST segment
        ([0, 0.2, -0.5, 0.8, 0], 0, 0.8, 0.5),  # rsR'
        ([0, -0.8, 0.7, -0.3], 0.8, 0.7, 0.3),  # QRs
    ],
)
def test_names_of_deflections(lead, q, r, s):
    found = _deflections(np.array(lead, float))
    assert (found.q, found.r, found.s) == pytest.approx((q, r, s))


def test_where_r_passes_s():
    s = np.ones(6)
    assert _transition(np.array([0.1, 0.4, 0.8, 1.4, 2, 2]), s) == pytest.approx(3 + 0.2 / 0.6)
    assert _transition(np.full(6, 0.1), s) == 7
    assert _transition(np.full(6, 2.0), s) == 1
    assert np.isnan(_transition(np.array([0.1, np.nan, 2, 2, 2, 2]), s))


def test_the_share_of_what_beats_have_in_common_is_unbiased():
    """Half signal, half noise: a half, however few beats; of noise alone nothing, where a plain share is 1 / n."""
    chance = np.random.default_rng(0)
    common = chance.standard_normal((12, 200))
    shares = [_share(common + chance.standard_normal((4, 12, 200)))[0] for _ in range(20)]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.03)
    assert np.mean([_share(chance.standard_normal((4, 12, 200)))[0] for _ in range(20)]) < 0.03
    rest = _share(common + 0.3 * chance.standard_normal((50, 12, 200)))[1]
    np.testing.assert_allclose(rest, 0.3, rtol=0.05)
    assert np.isnan(_share(np.zeros((2, 12, 5)))[0])


def test_a_t_wave_as_sharp_as_the_qrs_complex_is_no_heartbeat(monkeypatch):
    peaked = hearts(4, potassium_mmol_l=6.8)
    assert of(measures(peaked), "heart_rate").max() < 80
    monkeypatch.setattr(heartbeats_module, "_T_WITHIN_S", 0.0)  # the guard
    assert of(measures(peaked), "heart_rate").max() > 120


def test_ectopic_beats_are_told_and_kept_out_of_the_average():
    usual = hearts(1)[0]
    odd = usual.copy()
    beats = heartbeats(usual.astype(float), 500.0)
    at = round(beats.times_s[4] * 500)
    odd[:, at - 60 : at + 60] = -usual[:, at - 60 : at + 60]
    values = measured(odd, 500.0)
    assert of(values, "unusual_beats") == pytest.approx(1 / len(beats.times_s), abs=0.02)
    np.testing.assert_allclose(of(values, "r_v5"), of(measured(usual, 500.0), "r_v5"), atol=0.03)


def test_any_number_of_processes_gives_the_same_bytes(signals):
    pieces = [(IDS[at : at + 4], signals[at : at + 4], 500.0) for at in (0, 4)]
    one, two = ([piece.values.tobytes() for piece in measured_pieces(pieces, workers)] for workers in (1, 2))
    assert one == two


def untrained(table):
    return PanelEncoder(PanelAutoencoder(ECG_MEASURES, hidden_dim=16, embedding_dim=8, seed=0), PercentileScaler(table))


def test_what_cannot_be_measured_is_named_and_counted(raw, tmp_path):
    noise = np.random.default_rng(0).standard_normal((1, 12, 5000)).astype(np.float32) * 0.1
    limbs = noise[:, :2]
    one, two = limbs[:, 0], limbs[:, 1]
    noise[:, 2:6] = np.stack([two - one, -(one + two) / 2, one - two / 2, two - one / 2], axis=1)
    flat = raw[:1].copy()
    flat[:, 7] = 0
    everything = np.concatenate([raw[:8], noise, flat])
    ids = (*IDS[:8], "hiss", "loose")
    recordings = source_of(EcgRecordings(ids, everything, patient_ids=tuple(f"p{sample}" for sample in ids)))
    table = measured_table(recordings, FEW_BAD)
    assert table.sample_ids == tuple(IDS[:8])
    said = {entry.sample_id: entry.reason for entry in table.quarantined}
    assert said["loose"] == "is flat in lead V2"
    assert "no heartbeat that repeats" in said["hiss"]
    targets = EcgMeasuresJob(untrained(table), recordings).run(FEW_BAD)
    assert {entry.sample_id for entry in targets.quarantined} == {"hiss", "loose"}
    with pytest.raises(DataError, match="hiss, which has no heartbeat that repeats"):
        targets.for_samples(["hiss"])
    with pytest.raises(DataError, match="2 of 10 ECG recordings"):
        measured_table(recordings, EmbeddingSettings(max_bad_fraction=0.1))

    pack = pack_ecgs(recordings, tmp_path / "pack", MEASURED_INPUT, max_bad_fraction=0.5)
    packed = measured_table(pack, FEW_BAD)
    np.testing.assert_array_equal(packed.values, table.values)
    assert packed.patient_ids == tuple(f"p{sample}" for sample in IDS[:8])
    again = EcgMeasuresJob(untrained(table), pack)
    assert again.fingerprint == targets.fingerprint
    np.testing.assert_array_equal(again.run(FEW_BAD).embeddings, targets.embeddings)


def test_recordings_without_voltage_are_refused(raw):
    lost = source_of(EcgRecordings(tuple(IDS[:2]), raw[:2], unit=EcgUnit.RELATIVE))
    with pytest.raises(DataError, match="their voltage is lost, and measures are in millivolts"):
        measured_table(lost, FEW_BAD)


def test_atrial_measures_beside_the_p_wave_are_always_there(values):
    beside = [KEYS.index(each.key) for each in ATRIA if each.key.startswith(("p_share", "atrial_rest"))]
    assert np.isfinite(values[:, beside]).all()
