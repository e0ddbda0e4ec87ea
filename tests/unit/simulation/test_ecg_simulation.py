"""The simulated ECG: lead arithmetic, rhythm, and each disease against the same patient without it."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import find_peaks

from pacx.core.errors import UsageError
from pacx.core.vocabulary import ECG_LEADS
from pacx.simulation.patients.physiology import (
    ATRIAL_FIBRILLATION,
    LEFT_BUNDLE_BLOCK,
    NORMAL_CONDUCTION,
    PACED,
    RIGHT_BUNDLE_BLOCK,
    SINUS,
    Physiology,
)
from pacx.simulation.patients.population import draw_physiology
from pacx.simulation.patients.sites import UNIVERSITY_HOSPITAL
from pacx.simulation.signals.ecg import SAMPLE_RATE_HZ, simulate_ecg

IDS = [f"heart-{number}" for number in range(48)]
LEAD = {name: index for index, name in enumerate(ECG_LEADS)}


def _all(value: float) -> np.ndarray:
    return np.full(len(IDS), float(value))


@pytest.fixture(scope="module")
def drawn() -> Physiology:
    return draw_physiology(IDS, seed=5, site=UNIVERSITY_HOSPITAL)


@pytest.fixture(scope="module")
def well(drawn) -> Physiology:
    """The same people with healthy hearts beating 70 times a minute."""
    none = dict.fromkeys(
        ("ventricle_dilation", "right_heart_load", "congestion", "effusion_right", "effusion_left", "hyperinflation"),
        _all(0),
    )
    return replace(
        drawn,
        **none,
        ischemia=_all(0),
        wall_thickness_mm=_all(9.5),
        body_mass_index=_all(25),
        potassium_mmol_l=_all(4.2),
        rhythm=_all(SINUS),
        conduction=_all(NORMAL_CONDUCTION),
        heart_rate_bpm=_all(70),
    )


def _clean(physiology: Physiology) -> np.ndarray:
    return simulate_ecg(physiology, IDS, seed=5, noise_ratio=0)


def _speed(signals: np.ndarray) -> np.ndarray:
    """How fast all leads move together, (N, T): large in the QRS, whatever its axis."""
    return np.linalg.norm(np.diff(signals.astype(np.float64), axis=-1), axis=1)


def _beats(signals: np.ndarray) -> list[np.ndarray]:
    kernel = np.hanning(41) / np.hanning(41).sum()  # 80 ms: one hump per QRS
    found = []
    for speed in _speed(signals):
        hump = np.convolve(speed, kernel, mode="same")
        found.append(find_peaks(hump, height=0.4 * hump.max(), distance=int(0.22 * SAMPLE_RATE_HZ))[0])
    return found


def _median_beat(signals: np.ndarray, timed_by: np.ndarray | None = None) -> np.ndarray:
    """(N, 12, window): the median beat from 0.2 s before to 0.6 s after the middle of the QRS.

    A twin of the same rhythm beats at the same moments: ``timed_by`` finds them where T waves do not look like QRS.
    """
    beats = []
    for signal, peaks in zip(signals, _beats(signals if timed_by is None else timed_by), strict=True):
        inside = [peak for peak in peaks if 100 <= peak <= 5000 - 300]
        beats.append(np.median([signal[:, peak - 100 : peak + 300] for peak in inside], axis=0))
    return np.stack(beats)


def _qrs_ms(signals: np.ndarray) -> np.ndarray:
    """How long the leads move faster than a tenth of their fastest, within 0.12 s of the QRS, in ms; shape (N,)."""
    speed = _speed(_median_beat(signals))[:, 40:160]
    fast = speed > 0.1 * speed.max(axis=1, keepdims=True)
    return 2.0 * (fast.shape[1] - fast[:, ::-1].argmax(axis=1) - fast.argmax(axis=1))


def test_shape_type_and_plausible_millivolts(drawn):
    signals = simulate_ecg(drawn, IDS, seed=5)
    assert signals.shape == (len(IDS), 12, 5000)
    assert signals.dtype == np.float32
    assert np.isfinite(signals).all()
    height = np.percentile(np.abs(signals - np.median(signals, axis=-1, keepdims=True)), 99.5, axis=-1)
    assert np.all(np.median(height, axis=0) > 0.1)
    assert height.max() < 6.0


def test_amplitudes_resemble_real_recordings(shared):
    real = np.load(shared / "data/ecg/ptbxl_500hz.npz")
    in_mv = real["ecg"] / real["gain_per_mV"][:, None, None]
    many = [f"heart-{number}" for number in range(256)]
    simulated = simulate_ecg(draw_physiology(many, seed=5, site=UNIVERSITY_HOSPITAL), many, seed=5)
    ratio = np.median(simulated.std(axis=-1), axis=0) / np.median(in_mv.std(axis=-1), axis=0)
    assert np.all((ratio > 0.6) & (ratio < 1.6)), ratio


def test_einthoven_and_goldberger_hold_before_and_after_the_noise(drawn):
    """Devices compute four of the limb leads from two, so their noise obeys the identities as well."""
    clean, noisy = _clean(drawn), simulate_ecg(drawn, IDS, seed=5)
    assert np.abs(noisy - clean).max() > 0.01
    for signals in (clean, noisy):
        lead = {name: signals[:, index].astype(np.float64) for name, index in LEAD.items()}
        errors = [
            lead["III"] - (lead["II"] - lead["I"]),
            lead["aVR"] + (lead["I"] + lead["II"]) / 2,
            lead["aVL"] - (lead["I"] - lead["III"]) / 2,
            lead["aVF"] - (lead["II"] + lead["III"]) / 2,
        ]
        assert max(np.abs(error).max() for error in errors) < 1e-6


def test_a_recording_is_the_patients_own_in_any_batch(drawn):
    everyone = simulate_ecg(drawn, IDS, seed=5)
    rows = np.array([40, 3, 17])
    some = simulate_ecg(drawn.take(rows), [IDS[row] for row in rows], seed=5)
    assert some.tobytes() == everyone[rows].tobytes()
    assert not np.array_equal(simulate_ecg(drawn, IDS, seed=6), everyone)


@pytest.mark.parametrize("bpm", [48, 70, 125])
def test_heart_rate_is_recovered_from_the_r_peaks(well, bpm):
    found = _beats(_clean(replace(well, heart_rate_bpm=_all(bpm))))
    rates = np.array([60.0 * SAMPLE_RATE_HZ / np.diff(peaks).mean() for peaks in found])
    np.testing.assert_allclose(rates, bpm, rtol=0.06)


def _irregularity(physiology: Physiology) -> np.ndarray:
    intervals = [np.diff(peaks) for peaks in _beats(_clean(physiology))]
    return np.array([interval.std() / interval.mean() for interval in intervals])


def test_fibrillation_is_irregular_pacing_is_not(well):
    sinus = _irregularity(well)
    assert np.median(_irregularity(replace(well, rhythm=_all(ATRIAL_FIBRILLATION)))) > 0.14
    assert 0.005 < np.median(sinus) < 0.06
    assert np.median(_irregularity(replace(well, rhythm=_all(PACED)))) < 0.005


def test_fibrillation_has_no_p_wave_but_trembles(well):
    slow = replace(well, heart_rate_bpm=_all(55))
    sinus, trembling = _clean(slow), _clean(replace(slow, rhythm=_all(ATRIAL_FIBRILLATION)))
    before = slice(40, 82)  # 0.12 to 0.04 s before the QRS
    p_wave = np.median(_median_beat(sinus)[:, LEAD["II"], 5:60].max(axis=1))
    assert p_wave > 0.06
    assert np.median(np.abs(_median_beat(trembling)[:, LEAD["II"], before]).max(axis=1)) < 0.6 * p_wave
    quiet = np.median([np.sort(np.abs(np.diff(signal[LEAD["V1"]])))[:2500].mean() for signal in sinus])
    moving = np.median([np.sort(np.abs(np.diff(signal[LEAD["V1"]])))[:2500].mean() for signal in trembling])
    assert moving > 2 * quiet


def test_a_blocked_left_bundle_widens_and_turns_the_complex(well):
    blocked = _clean(replace(well, conduction=_all(LEFT_BUNDLE_BLOCK)))
    normal = _clean(well)
    assert 70 < np.median(_qrs_ms(normal)) < 115
    assert np.median(_qrs_ms(blocked)) > 125
    complex_v1 = _median_beat(blocked)[:, LEAD["V1"], 50:150]
    assert np.all(-complex_v1.min(axis=1) > 3 * complex_v1.max(axis=1))  # QS
    beat_v6 = _median_beat(blocked)[:, LEAD["V6"]]
    assert np.median(beat_v6[:, 190:320].min(axis=1)) < -0.05  # T against the QRS


def test_a_blocked_right_bundle_adds_a_late_r_in_v1(well):
    normal, blocked = (_median_beat(_clean(who)) for who in (well, replace(well, conduction=_all(RIGHT_BUNDLE_BLOCK))))
    late = slice(115, 145)
    assert (
        np.median(blocked[:, LEAD["V1"], late].max(axis=1)) > np.median(normal[:, LEAD["V1"], late].max(axis=1)) + 0.3
    )
    assert np.median(_qrs_ms(_clean(replace(well, conduction=_all(RIGHT_BUNDLE_BLOCK))))) > 115


def test_a_paced_beat_starts_with_a_spike(well):
    paced = _clean(replace(well, rhythm=_all(PACED)))
    jump = np.abs(np.diff(paced, axis=-1)).max(axis=(1, 2))
    assert np.all(jump > 2 * np.abs(np.diff(_clean(well), axis=-1)).max(axis=(1, 2)))


def _sokolow_mv(physiology: Physiology) -> np.ndarray:
    """S in V1 plus R in V5 (Sokolow and Lyon 1949), (N,)."""
    beat = _median_beat(_clean(physiology))
    return beat[:, LEAD["V5"], 60:150].max(axis=1) - beat[:, LEAD["V1"], 60:150].min(axis=1)


def test_a_thick_wall_raises_the_voltage_and_strains_the_t_wave(well):
    thick = replace(well, wall_thickness_mm=_all(17))
    assert np.all(_sokolow_mv(thick) > 1.3 * _sokolow_mv(well))
    assert np.median(_sokolow_mv(well)) < 3.5 < np.median(_sokolow_mv(thick))
    t_wave = _median_beat(_clean(thick))[:, LEAD["V5"], 190:320]
    assert np.median(t_wave.min(axis=1)) < -0.05


@pytest.mark.parametrize(
    "change", [{"effusion_left": 0.9, "effusion_right": 0.9}, {"hyperinflation": 0.9}, {"body_mass_index": 42}]
)
def test_fluid_air_and_fat_damp_the_voltage(well, change):
    damped = replace(well, **{name: _all(value) for name, value in change.items()})
    all_leads = [np.ptp(_median_beat(_clean(who))[:, :, 60:150], axis=-1).sum(axis=1) for who in (damped, well)]
    assert np.all(all_leads[0] < 0.92 * all_leads[1])  # in sum: obesity also turns the axis


def test_dilation_takes_the_r_wave_of_v3_and_widens(well):
    wide = replace(well, ventricle_dilation=_all(0.95))
    normal_r = _median_beat(_clean(well))[:, LEAD["V3"], 60:150].max(axis=1)
    dilated_r = _median_beat(_clean(wide))[:, LEAD["V3"], 60:150].max(axis=1)
    assert np.all(dilated_r < 0.7 * normal_r)
    assert np.median(_qrs_ms(_clean(wide)) - _qrs_ms(_clean(well))) >= 8


def test_a_loaded_right_heart_turns_the_axis_and_raises_p_and_v1(well):
    loaded = replace(well, right_heart_load=_all(0.95))
    normal, beat = _median_beat(_clean(well)), _median_beat(_clean(loaded))
    qrs = slice(60, 150)
    net = beat[:, LEAD["I"], qrs].max(axis=1) + beat[:, LEAD["I"], qrs].min(axis=1)
    assert np.median(net) < 0  # right axis: lead I looks down
    assert np.all(beat[:, LEAD["V1"], qrs].max(axis=1) > normal[:, LEAD["V1"], qrs].max(axis=1) + 0.3)
    p_wave = slice(5, 55)
    assert np.all(beat[:, LEAD["II"], p_wave].max(axis=1) > 1.4 * normal[:, LEAD["II"], p_wave].max(axis=1))


def test_ischaemia_moves_st(well):
    normal, injured = (_median_beat(_clean(who)) for who in (well, replace(well, ischemia=_all(0.95))))
    st = slice(150, 166)  # 100 to 130 ms after the middle of the QRS
    shift = np.abs(injured[:, :, st].mean(axis=-1) - normal[:, :, st].mean(axis=-1)).max(axis=1)
    assert np.all(shift > 0.1)


def test_potassium_peaks_and_flattens_the_t_wave(well):
    def t_height(value: float) -> np.ndarray:
        beat = _median_beat(_clean(replace(well, potassium_mmol_l=_all(value))), timed_by=_clean(well))
        return beat[:, LEAD["V4"], 190:300].max(axis=1)

    assert np.all(t_height(6.5) > 1.5 * t_height(4.2))
    assert np.all(t_height(2.5) < 0.6 * t_height(4.2))
    assert np.median(_qrs_ms(_clean(replace(well, potassium_mmol_l=_all(6.8))))) > np.median(_qrs_ms(_clean(well))) + 20


def test_wrong_calls_are_refused(drawn):
    with pytest.raises(UsageError, match="one id per patient"):
        simulate_ecg(drawn, IDS[:-1], seed=5)
    with pytest.raises(UsageError, match="noise_ratio"):
        simulate_ecg(drawn, IDS, seed=5, noise_ratio=-1)
