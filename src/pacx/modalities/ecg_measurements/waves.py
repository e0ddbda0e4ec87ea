"""Where the waves of an averaged beat begin and end, from all leads at once.

The QRS complex is where the leads together move fast, the T wave what moves most after it, the P wave what moves before
it and does so in every beat: chance movement (fibrillating atria) averages out, and is no P wave.

Sources: Kligfield et al. 2007 (global intervals: earliest onset to latest end in any lead); Lepeschkin and Surawicz
1952 (end of T where its steepest tangent meets the baseline).
"""

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d
from scipy.signal import find_peaks

from pacx.modalities.ecg_measurements.heartbeats import INDEPENDENT, Heartbeats, Values

_SMOOTH_S = 0.006
_SLOW = 0.08  # of the fastest movement: below it the QRS complex has not begun or is over
_QUIET_S = 0.012
_REST, _RESTING = 2.0, 0.2  # times what the slowest fifth of the beat moves: noise
_QRS_REACH_S, _QRS_MORE_S = (0.12, 0.16), 0.12
_BASELINE_S = (0.024, 0.006)
_T_AFTER_S, _T_REACH = 0.06, 0.72
_T_LEAST_MV, _T_PROMINENCE, _T_OVER = 0.03, 0.15, 0.2
_T_PEAK_S, _T_LATER_S = 0.42, 0.04
_P_LEAST_MV, _P_REACH_S, _P_GAP_S, _P_LEVEL_S = 0.04, 0.26, 0.008, 0.01
_P_AFTER_T_S, _P_ROOM_S = 0.04, 0.12
_P_EDGE, _P_SHORTEST_S = 0.15, 0.08
_CONSISTENT = 0.3


class Waves(NamedTuple):
    """Columns of the averaged beat (whole numbers); NaN where there is no such wave.

    Args:
        beat: (leads, W) the averaged beat in mV, less each lead's level before the QRS complex.
        qrs_onset: of the QRS complex.
        qrs_end: of the QRS complex.
        t_peak: of the T wave.
        t_end: of the T wave.
        p_onset: of the P wave.
        p_peak: of the P wave.
        p_end: of the P wave.
        p_beat: (leads, W) the averaged beat less the line under the P wave, 0 elsewhere.
        p_share: how much of what single beats do before the QRS complex all of them do: 0 (chance) to 1; NaN where
            there are fewer than three whole beats.
        atrial_rest_mv: (leads,) root mean square of the rest: large where the atria fibrillate; NaN likewise.
    """

    beat: Values
    qrs_onset: int
    qrs_end: int
    t_peak: float
    t_end: float
    p_onset: float
    p_peak: float
    p_end: float
    p_beat: Values
    p_share: float
    atrial_rest_mv: Values


def _speed(beat: Values, rate_hz: float) -> Values:
    """How fast independent leads (8, W) move together, mV/s."""
    moved = np.gradient(beat, axis=1) * rate_hz
    return uniform_filter1d(np.sqrt(np.square(moved).sum(axis=0)), max(1, round(_SMOOTH_S * rate_hz)))


def _quiet_from(is_quiet: NDArray[np.bool_], start: int, step: int, length: int) -> int:
    """The first column from ``start`` on at which a quiet stretch of a length begins; the last one where none does."""
    course = is_quiet[start::step]
    if len(course) < length:
        return start + step * (len(course) - 1)
    stretches = np.flatnonzero(sliding_window_view(course, length).all(axis=1))
    return start + step * (int(stretches[0]) if len(stretches) else len(course) - 1)


def _qrs(speed: Values, fiducial: int, rate_hz: float) -> tuple[int, int]:
    """First and last column of the QRS complex; far apart, where it does not end."""
    before, after = (round(reach * rate_hz) for reach in _QRS_REACH_S)
    first, last = max(0, fiducial - before), fiducial + after
    near = speed[first : fiducial + after]
    at_rest = _REST * float(np.quantile(speed, _RESTING))
    is_quiet = speed[: min(len(speed), last + round(_QRS_MORE_S * rate_hz))] < max(_SLOW * near.max(), at_rest)
    quiet, peak = max(1, round(_QUIET_S * rate_hz)), first + int(near.argmax())
    return _quiet_from(is_quiet, peak, -1, quiet), _quiet_from(is_quiet, peak, 1, quiet)


def _t_wave(beat: Values, qrs_end: int, qrs_onset: int, usual_rr_s: float, rate_hz: float) -> tuple[float, float]:
    """Peak and end of the T wave; NaN where nothing rises after the QRS complex or its end lies beyond the window."""
    start = qrs_end + round(_T_AFTER_S * rate_hz)
    stop = min(beat.shape[1], qrs_onset + round(_T_REACH * usual_rr_s * rate_hz))
    if stop - start < round(0.1 * rate_hz):
        return np.nan, np.nan
    size = np.sqrt(np.square(beat[:, start:stop]).sum(axis=0))
    peaks, _ = find_peaks(size, prominence=_T_PROMINENCE * size.max())  # a raised ST segment has none of its own
    is_early = start + peaks - qrs_onset < (_T_PEAK_S * np.sqrt(usual_rr_s) + _T_LATER_S) * rate_hz  # U comes later
    peaks = peaks[is_early] if is_early.any() else peaks
    peak = start + int(peaks[-1] if len(peaks) else size.argmax())
    if np.abs(beat[:, peak]).max() < _T_LEAST_MV:
        return np.nan, np.nan
    course = (beat[:, peak] / np.linalg.norm(beat[:, peak])) @ beat[:, peak:stop]
    over = np.flatnonzero(course < _T_OVER * course[0])
    falls = np.diff(course[: over[0] + 1] if len(over) else course)
    if not len(falls) or falls.min() >= 0:
        return float(peak), np.nan
    steepest = int(falls.argmin())
    middle = (course[steepest] + course[steepest + 1]) / 2
    end = peak + steepest + 0.5 - middle / falls[steepest]
    return float(peak), float(end) if end < beat.shape[1] else np.nan


def _p_span(qrs_onset: int, t_end: float, usual_rr_s: float, rate_hz: float) -> tuple[int, int]:
    """Where a P wave may be: before the QRS complex, and after the T wave of the beat before."""
    after_t = (t_end if np.isfinite(t_end) else qrs_onset) + (_P_AFTER_T_S - usual_rr_s) * rate_hz
    latest = qrs_onset - _P_ROOM_S * rate_hz  # of a fast heart P lies on T, and is measured there
    start = max(0, qrs_onset - round(_P_REACH_S * rate_hz), round(min(after_t, latest)))
    return start, qrs_onset - round(_P_GAP_S * rate_hz)


def _level(windows: Values, edge: int) -> Values:
    """Windows (..., S) less the straight line through the means of their first and last few columns."""
    first, last = windows[..., :edge].mean(axis=-1), windows[..., -edge:].mean(axis=-1)
    return windows - (first[..., None] + (last - first)[..., None] * np.linspace(0.0, 1.0, windows.shape[-1]))


def _share(pieces: Values) -> tuple[float, Values]:
    """Of pieces (U, leads, S): the share of their power that all have in common, unbiased; and the rest's size."""
    count = len(pieces)
    if count < 3:
        return np.nan, np.full(pieces.shape[1], np.nan)
    rest = np.square(pieces - pieces.mean(axis=0)).sum(axis=0) / (count - 1)  # (leads, S) variance
    common = np.square(pieces.mean(axis=0)) - rest / count
    independent = common[list(INDEPENDENT)].sum(), rest[list(INDEPENDENT)].sum()
    return max(0.0, float(independent[0] / max(sum(independent), np.finfo(float).tiny))), np.sqrt(rest.mean(axis=1))


def waves(beats: Heartbeats, usual_rr_s: float) -> Waves:
    """Delineate the averaged beat of a recording.

    Args:
        beats: of the recording.
        usual_rr_s: median interval between its beats, in s; P and T are looked for within it.
    """
    rate_hz, independent = beats.rate_hz, list(INDEPENDENT)
    onset, end = _qrs(_speed(beats.average[independent], rate_hz), beats.fiducial, rate_hz)
    first, last = (max(0, onset - round(before * rate_hz)) for before in _BASELINE_S)
    level = beats.average[:, first : last + 1].mean(axis=1, keepdims=True)
    beat = beats.average - level
    t_peak, t_end = _t_wave(beat[independent], end, onset, usual_rr_s, rate_hz)
    start, stop = _p_span(onset, t_end, usual_rr_s, rate_hz)
    p_beat, p_at = np.zeros_like(beat), (np.nan, np.nan, np.nan)
    share, rest = np.nan, np.full(len(beat), np.nan)
    edge = max(1, round(_P_LEVEL_S * rate_hz))
    if stop - start >= round(_P_SHORTEST_S * rate_hz):
        share, rest = _share(_level(beats.windows[:, :, start:stop], edge))
        p_beat[:, start:stop] = _level(beats.average[:, start:stop], edge)
        p_at = _p_wave(p_beat[independent], start, stop, share)
    return Waves(beat, onset, end, t_peak, t_end, *p_at, p_beat, share, rest)


def _p_wave(p_beat: Values, start: int, stop: int, share: float) -> tuple[float, float, float]:
    """Onset, peak and end of the P wave; NaN where it is too small, or not the same in all beats."""
    if not share >= _CONSISTENT or np.abs(p_beat[:, start:stop]).max() < _P_LEAST_MV:
        return np.nan, np.nan, np.nan
    size = np.sqrt(np.square(p_beat[:, start:stop]).sum(axis=0))
    peak = int(size.argmax())
    is_over = size < _P_EDGE * size[peak]
    before, after = np.flatnonzero(is_over[:peak]), np.flatnonzero(is_over[peak:])
    onset = before[-1] + 1 if len(before) else 0
    end = peak + after[0] if len(after) else len(size) - 1
    return float(start + onset), float(start + peak), float(start + end)
