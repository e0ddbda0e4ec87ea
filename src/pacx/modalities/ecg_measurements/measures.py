"""The measures of a twelve-lead recording: their names and units, and how each follows from beats and waves.

In groups; of each the quantities stand beside the function that gives their values in the same order. NaN = could not
be measured: a fibrillating heart has no PR interval. Voltages are above the level before the QRS complex.

Sources: Surawicz et al. 2009, Rautaharju et al. 2009 and Hancock et al. 2009, "AHA/ACCF/HRS recommendations for the
standardization and interpretation of the electrocardiogram, parts III to V" (intervals, ST and QT, Sokolow-Lyon,
Cornell, low voltage); Fridericia 1920; Brennan et al. 2001 (Poincare's plot).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pacx.core.vocabulary import ECG_LEADS
from pacx.modalities.ecg_measurements.heartbeats import INDEPENDENT, Heartbeats, Values, heartbeats
from pacx.modalities.ecg_measurements.waves import Waves, waves
from pacx.models.panel.config import Panel, Quantity

LONGEST_DEVIATION = 0.15
"""Of the median interval between beats; one that differs by more is a deviant one."""

_FLAT_MV = 1e-3
_AVF_IN_FRONTAL_PLANE = 2 / np.sqrt(3)  # Goldberger's lead sees 0.87 of what one in Einthoven's triangle would
_ST_AFTER_S, _LATE_S, _SPIKE_S = 0.06, 0.04, (-0.02, 0.03)
_WAVE_MV, _BUMP = 0.03, 0.25
_CHEST = [ECG_LEADS.index(f"V{place}") for place in range(1, 7)]
_I, _II, _AVL, _AVF, _V1, _V3, _V5, _V6 = (
    ECG_LEADS.index(name) for name in ("I", "II", "aVL", "aVF", "V1", "V3", "V5", "V6")
)


def _by_lead(wave: str, lowest: float, highest: float) -> tuple[Quantity, ...]:
    said = {"q": "Q depth", "r": "R height", "s": "S depth", "st": "ST level 60 ms after QRS", "t": "T amplitude"}[wave]
    return tuple(Quantity(f"{wave}_{lead.lower()}", f"{said}, {lead}", "mV", lowest, highest) for lead in ECG_LEADS)


RHYTHM = (
    Quantity("heart_rate", "Heart rate", "/min", 15, 300),
    Quantity("rr_sdnn", "Standard deviation of RR intervals", "ms", 0, 2000),
    Quantity("rr_rmssd", "Root mean square of successive RR differences", "ms", 0, 3000),
    Quantity("poincare_sd1", "Poincare plot, across the diagonal", "ms", 0, 2000),
    Quantity("poincare_sd2", "Poincare plot, along the diagonal", "ms", 0, 2000),
    Quantity("rr_deviant", "Share of RR intervals that deviate by more than 15 %", "1", 0, 1),
    Quantity("unusual_beats", "Share of beats of another shape", "1", 0, 1),
)


def _rhythm(beats: Heartbeats, intervals_s: Values) -> list[float]:
    milliseconds = intervals_s * 1000
    steps = np.diff(milliseconds)
    sdnn = milliseconds.std(ddof=1) if len(milliseconds) > 1 else np.nan
    rmssd = np.sqrt(np.mean(np.square(steps))) if len(steps) else np.nan
    across = steps.std(ddof=1) / np.sqrt(2) if len(steps) > 1 else np.nan
    sums = milliseconds[1:] + milliseconds[:-1]
    along = sums.std(ddof=1) / np.sqrt(2) if len(steps) > 1 else np.nan
    deviant = np.abs(intervals_s / np.median(intervals_s) - 1) > LONGEST_DEVIATION
    rate = 60 / intervals_s.mean()
    return [rate, sdnn, rmssd, across, along, deviant.mean(), 1 - beats.is_usual.mean()]


ATRIA = (
    Quantity("p_share", "Share of what precedes QRS that all beats have in common", "1", 0, 1),
    Quantity("p_amplitude_ii", "P amplitude, II", "mV", -1, 1),
    Quantity("p_positive_v1", "P above the baseline, V1", "mV", 0, 1),
    Quantity("p_negative_v1", "P below the baseline, V1", "mV", 0, 1),
    Quantity("p_duration", "P duration", "ms", 20, 260),
    Quantity("pr_interval", "PR interval", "ms", 40, 400),
    Quantity("p_axis_cos", "Cosine of the frontal P axis", "1", -1, 1),
    Quantity("p_axis_sin", "Sine of the frontal P axis", "1", -1, 1),
    Quantity("atrial_rest_ii", "What differs from beat to beat before QRS, II", "mV", 0, 1),
    Quantity("atrial_rest_v1", "What differs from beat to beat before QRS, V1", "mV", 0, 1),
)


def _atria(wave: Waves, milliseconds: float) -> list[float]:
    rest = [float(wave.atrial_rest_mv[_II]), float(wave.atrial_rest_mv[_V1])]
    if not np.isfinite(wave.p_onset):
        return [wave.p_share, *[np.nan] * 7, *rest]
    part = wave.p_beat[:, int(wave.p_onset) : int(wave.p_end) + 1]
    second, first = part[_II], part[_V1]
    return [
        wave.p_share,
        _extreme(second),
        np.maximum(0.0, first.max()),
        np.maximum(0.0, -first.min()),
        (wave.p_end - wave.p_onset) * milliseconds,
        (wave.qrs_onset - wave.p_onset) * milliseconds,
        *_axis(part),
        *rest,
    ]


VENTRICLES = (
    Quantity("qrs_duration", "QRS duration", "ms", 40, 300),
    Quantity("qrs_axis_cos", "Cosine of the frontal QRS axis", "1", -1, 1),
    Quantity("qrs_axis_sin", "Sine of the frontal QRS axis", "1", -1, 1),
    *_by_lead("q", 0, 10),
    *_by_lead("r", 0, 10),
    *_by_lead("s", 0, 10),
    Quantity("sokolow_lyon", "Sokolow-Lyon: S of V1 and the larger R of V5 and V6", "mV", 0, 20),
    Quantity("cornell", "Cornell: R of aVL and S of V3", "mV", 0, 20),
    Quantity("r_share_v1", "R of V1 as a share of R and S", "1", 0, 1),
    Quantity("r_transition", "Chest lead in which R passes S: 1 in V1 or before to 7 in none", "1", 1, 7),
    Quantity("qrs_limb", "Largest QRS complex of a limb lead; below 0.5 low voltage", "mV", 0, 20),
    Quantity("qrs_chest", "Largest QRS complex of a chest lead; below 1 low voltage", "mV", 0, 20),
    Quantity("r_peak_time_v1", "From QRS onset to the peak of R, V1", "ms", 0, 300),
    Quantity("r_peak_time_v6", "From QRS onset to the peak of R, V6", "ms", 0, 300),
    Quantity("qrs_late_i", "Mean of the last 40 ms of QRS, I", "mV", -5, 5),
    Quantity("qrs_late_v1", "Mean of the last 40 ms of QRS, V1", "mV", -5, 5),
    Quantity("qrs_late_v6", "Mean of the last 40 ms of QRS, V6", "mV", -5, 5),
    Quantity("pacing_spike", "Sharpest turn around QRS onset over the sharpest later; above 1 of a spike", "1", 0, 100),
)


def _ventricles(wave: Waves, rate_hz: float) -> list[float]:
    milliseconds = 1000 / rate_hz
    complex_ = wave.beat[:, wave.qrs_onset : wave.qrs_end + 1]
    q, r, s, r_at = np.array([_deflections(lead) for lead in complex_]).T
    late = complex_[:, -max(1, round(_LATE_S * rate_hz)) :].mean(axis=1)
    size = complex_.max(axis=1) - complex_.min(axis=1)
    return [
        (wave.qrs_end - wave.qrs_onset) * milliseconds,
        *_axis(complex_),
        *q,
        *r,
        *s,
        s[_V1] + np.maximum(r[_V5], r[_V6]),
        r[_AVL] + s[_V3],
        r[_V1] / np.maximum(r[_V1] + s[_V1], _WAVE_MV),
        _transition(r[_CHEST], s[_CHEST]),
        np.fmax.reduce(size[:6]),
        np.fmax.reduce(size[6:]),
        r_at[_V1] * milliseconds,
        r_at[_V6] * milliseconds,
        late[_I],
        late[_V1],
        late[_V6],
        _spike(wave, rate_hz),
    ]


REPOLARISATION = (
    *_by_lead("st", -5, 5),
    *_by_lead("t", -5, 5),
    Quantity("qt_interval", "QT interval", "ms", 180, 800),
    Quantity("qtc_fridericia", "QT interval, corrected by Fridericia", "ms", 180, 800),
    Quantity("t_peak_to_end", "From the peak of T to its end", "ms", 10, 300),
    Quantity("t_axis_cos", "Cosine of the frontal T axis", "1", -1, 1),
    Quantity("t_axis_sin", "Sine of the frontal T axis", "1", -1, 1),
    Quantity("qrs_t_alike", "Cosine of the angle between QRS and T over the recorded leads", "1", -1, 1),
)


def _repolarisation(wave: Waves, usual_rr_s: float, rate_hz: float) -> list[float]:
    milliseconds = 1000 / rate_hz
    at = wave.qrs_end + round(_ST_AFTER_S * rate_hz)
    st = wave.beat[:, at]
    if not np.isfinite(wave.t_end):
        return [*st, *[np.nan] * (len(REPOLARISATION) - len(st))]
    part = wave.beat[:, at : int(wave.t_end) + 1]
    qt = (wave.t_end - wave.qrs_onset) * milliseconds
    qrs_area = wave.beat[list(INDEPENDENT), wave.qrs_onset : wave.qrs_end + 1].sum(axis=1)
    t_area = part[list(INDEPENDENT)].sum(axis=1)
    sizes = np.linalg.norm(qrs_area) * np.linalg.norm(t_area)
    return [
        *st,
        *(_extreme(lead) for lead in part),
        qt,
        qt / np.cbrt(usual_rr_s),
        (wave.t_end - wave.t_peak) * milliseconds,
        *_axis(part),
        float(qrs_area @ t_area / sizes) if sizes > 0 else np.nan,
    ]


ECG_MEASURES = Panel("ecg-measures", (*RHYTHM, *ATRIA, *VENTRICLES, *REPOLARISATION))
"""All measures in order; as a panel they are ranked, masked and encoded like laboratory tests."""

_LOWEST, _HIGHEST = (
    np.array([getattr(each, end) for each in ECG_MEASURES.quantities]) for end in ("lowest", "highest")
)


class _Deflections(NamedTuple):
    """Of one lead's QRS complex: depths and height in mV, and at which column R is."""

    q: float
    r: float
    s: float
    r_at: float


def _deflections(lead: Values) -> _Deflections:
    """R is the highest point; Q the deepest before the lead first rises, S the deepest from there on.

    A low bump behind a deep complex (the beginning of a raised ST segment) is no R wave: such a complex is all S.
    """
    if np.isnan(lead).any():
        return _Deflections(np.nan, np.nan, np.nan, np.nan)
    top, bottom = int(lead.argmax()), int(lead.argmin())
    height, depth = max(0.0, float(lead[top])), max(0.0, float(-lead[bottom]))
    is_bump = top > bottom and height < _BUMP * depth
    if height < _WAVE_MV or is_bump:
        return _Deflections(0.0, 0.0 if is_bump else height, depth, np.nan)
    rise = int((lead >= _WAVE_MV).argmax())
    q, s = (max(0.0, float(-part.min(initial=0.0))) for part in (lead[:rise], lead[rise:]))
    return _Deflections(q, height, s, float(top))


def _extreme(lead: Values) -> float:
    """The value that is farthest from 0, with its sign."""
    return float(lead[np.abs(lead).argmax()])


def _axis(part: Values) -> tuple[float, float]:
    """Cosine and sine of the frontal axis by net areas (leads, T): 0 to the patient's left, positive to the feet."""
    left, feet = part[_I].sum(), _AVF_IN_FRONTAL_PLANE * part[_AVF].sum()
    size = float(np.hypot(left, feet))
    return (float(left / size), float(feet / size)) if size > 0 else (np.nan, np.nan)


def _transition(r: Values, s: Values) -> float:
    """Where along V1 to V6 (6,) the height of R passes the depth of S, between leads in proportion."""
    more = r - s
    if np.isnan(more).any():
        return np.nan
    over = np.flatnonzero(more > 0)
    if not len(over):
        return 7.0
    first = int(over[0])
    return 1.0 if first == 0 else float(first + 1 - more[first] / (more[first] - more[first - 1]))


def _spike(wave: Waves, rate_hz: float) -> float:
    """How much more sharply the leads turn at the beginning of the QRS complex than later in it."""
    turn = np.sqrt(np.square(np.diff(np.nan_to_num(wave.beat[list(INDEPENDENT)]), 2)).sum(axis=0))
    first, last = (wave.qrs_onset + round(each * rate_hz) for each in _SPIKE_S)
    early, late = turn[max(0, first) : last], turn[last : wave.qrs_end]
    return float(early.max() / late.max()) if len(late) and late.max() > 0 else np.nan


def measured(signals: NDArray[np.floating], rate_hz: float) -> Values:
    """Measure one recording.

    Args:
        signals: (12, T) in mV, filtered, in the order of ``ECG_LEADS``, without NaN.
        rate_hz: samples per second.

    Returns:
        (Q,) in the order and units of ``ECG_MEASURES``; NaN where something cannot be measured, in a lead that is
        flat, or where the value is no person's.

    Raises:
        UnusableError: no beats can be found.
    """
    exact = np.asarray(signals, np.float64)
    beats = heartbeats(exact, rate_hz)
    intervals_s = np.diff(beats.times_s)
    usual_rr_s = float(np.median(intervals_s))
    wave = waves(beats, usual_rr_s)
    is_flat = np.ptp(exact, axis=1) < _FLAT_MV
    for array in (wave.beat, wave.p_beat, wave.atrial_rest_mv):
        array[is_flat] = np.nan
    values = np.array(
        [
            *_rhythm(beats, intervals_s),
            *_atria(wave, 1000 / rate_hz),
            *_ventricles(wave, rate_hz),
            *_repolarisation(wave, usual_rr_s, rate_hz),
        ]
    )
    values[(values < _LOWEST) | (values > _HIGHEST)] = np.nan
    return values
