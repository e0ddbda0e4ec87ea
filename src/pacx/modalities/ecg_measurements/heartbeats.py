"""Where the heart beats in a recording, and the beat that most of them are like, averaged.

Beats are the maxima of what the leads have in common between 8 and 25 Hz, where the QRS complex has its energy and P, T
and fibrillation waves have little. Each is set against the average of all by correlation, in place and in shape;
those that are alike make the averaged beat, on which waves are measured, for averaging is the one filter that keeps
their edges.

Sources: Pan and Tompkins 1985, "A real-time QRS detection algorithm" (the band and the idea); Kligfield et al. 2007,
"Recommendations for the standardization and interpretation of the electrocardiogram, part I" (one averaged beat from
all leads at once). Why no ready-made detector: docs/adr/0054.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.signal import butter, find_peaks, sosfiltfilt

from pacx.core.vocabulary import ECG_LEADS
from pacx.modalities.ecg_signal.facts import UnusableError

Values = NDArray[np.float64]

INDEPENDENT = tuple(ECG_LEADS.index(lead) for lead in ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6"))
"""The leads that a device records; the other four follow from them."""

BEFORE_S, AFTER_S = 0.4, 0.6
"""How much of the recording around a beat goes into the averaged one."""

_QRS_HZ, _ENVELOPE_HZ = (8.0, 25.0), 8.0
_HEIGHT = 0.4  # of the usual largest envelope: T waves stay below it, and beats of a swinging recording above
_SHORTEST_RR_S = 0.2
_WINDOW_S, _STEP_S = 2.0, 1.0
_SILENT = 0.1
_QRS_S, _SHIFT_S = 0.1, 0.06
_T_WITHIN_S, _T_STEADY_S, _T_UNLIKE = 0.42, 0.02, 0.7
_ALIKE = 0.8
_REPEATS = 0.6
_FEWEST = 3


class Heartbeats(NamedTuple):
    """Beats of one recording and their average.

    Args:
        times_s: (B,) where each is, in seconds; B is at least 3.
        is_usual: (B,) bool, whether its shape is that of the averaged one; ectopic beats are not.
        windows: (U, leads, W) the usual beats that lie whole within the recording, in mV.
        average: (leads, W) their mean.
        fiducial: the column of the window that ``times_s`` names.
        rate_hz: samples per second.
    """

    times_s: Values
    is_usual: NDArray[np.bool_]
    windows: Values
    average: Values
    fiducial: int
    rate_hz: float


@lru_cache(maxsize=4)
def _filters(rate_hz: float) -> tuple[Any, Any]:
    return (
        butter(2, _QRS_HZ, "bandpass", fs=rate_hz, output="sos"),
        butter(2, _ENVELOPE_HZ, fs=rate_hz, output="sos"),
    )


def _beats(leads: Values, rate_hz: float) -> NDArray[np.int64]:
    """Samples at which the envelope of the QRS band has its maxima, of independent leads (8, T)."""
    band, envelope = _filters(rate_hz)
    energy = sosfiltfilt(envelope, np.sqrt(np.square(sosfiltfilt(band, leads)).sum(axis=0)))
    window = min(round(_WINDOW_S * rate_hz), len(energy))
    largest = sliding_window_view(energy, window)[:: round(_STEP_S * rate_hz)].max(axis=1)
    usual = float(np.median(largest[largest > _SILENT * largest.max()])) if largest.max() > 0 else 0.0
    if usual <= 0:
        raise UnusableError("has no heartbeats that can be measured")
    found, _ = find_peaks(energy, height=_HEIGHT * usual, distance=max(1, round(_SHORTEST_RR_S * rate_hz)))
    if not len(found):
        raise UnusableError("has no heartbeats that can be measured")
    return np.asarray(found, np.int64)


def _without_t_waves(leads: Values, at: NDArray[np.int64], rate_hz: float) -> NDArray[np.int64]:
    """Beats without those that are T waves of the beat before, which potassium makes as sharp as a QRS complex.

    They are of one shape, which is not that of the beat before, and follow it after one short time.
    """
    half = round(_QRS_S * rate_hz)
    padded = np.pad(leads, ((0, 0), (half, half)))
    shapes = np.stack([padded[:, place : place + 2 * half] for place in at])
    shapes = (shapes - shapes.mean(axis=2, keepdims=True)).reshape(len(at), -1)
    shapes /= np.maximum(np.linalg.norm(shapes, axis=1, keepdims=True), np.finfo(float).tiny)
    gaps_s = np.diff(at, append=at[-1] + leads.shape[1]) / rate_hz
    follows = np.flatnonzero((gaps_s[:-1] < _T_WITHIN_S) & (gaps_s[:-1] < gaps_s[1:])) + 1
    follows = follows[(shapes[follows] * shapes[follows - 1]).sum(axis=1) < _T_UNLIKE]
    if len(follows) < _FEWEST or gaps_s[follows - 1].std() > _T_STEADY_S:
        return at
    if np.median(shapes[follows] @ shapes[follows].T) < _ALIKE:
        return at
    t_wave, others = shapes[follows].mean(axis=0), np.delete(shapes, follows, axis=0).mean(axis=0)
    kept: NDArray[np.int64] = at[shapes @ t_wave < shapes @ others]
    return kept


def _aligned(leads: Values, at: NDArray[np.int64], rate_hz: float) -> tuple[NDArray[np.int64], Values]:
    """Beats moved to where each is most like the average of all, and how like it (correlation of all leads)."""
    half, shift = round(_QRS_S * rate_hz), round(_SHIFT_S * rate_hz)
    padded = np.pad(leads, ((0, 0), (half + shift, half + shift)))
    wide = np.stack([padded[:, place : place + 2 * (half + shift)] for place in at])  # (B, 8, 2 half + 2 shift)
    sizes = _sizes(wide, 2 * half)
    moves = np.full(len(at), shift)
    for _ in range(2):
        chosen = np.stack([beat[:, move : move + 2 * half] for beat, move in zip(wide, moves, strict=True)])
        template = np.median(chosen, axis=0)
        template = (template - template.mean(axis=1, keepdims=True)).ravel()
        tried = [wide[:, :, move : move + 2 * half].reshape(len(at), -1) @ template for move in range(2 * shift + 1)]
        alike = np.stack(tried, axis=1) / np.maximum(sizes * np.linalg.norm(template), np.finfo(float).tiny)
        moves = alike.argmax(axis=1)
    return at + moves - shift, alike.max(axis=1)


def _sizes(wide: Values, length: int) -> Values:
    """The norm of every stretch of a length of (B, 8, S), less each lead's mean in it, (B, S - length + 1)."""
    sums, squares = (np.cumsum(np.pad(each, ((0, 0), (0, 0), (1, 0))), axis=2) for each in (wide, np.square(wide)))
    mean = (sums[:, :, length:] - sums[:, :, :-length]) / length
    spread = squares[:, :, length:] - squares[:, :, :-length] - length * np.square(mean)
    return np.sqrt(np.maximum(spread.sum(axis=1), 0.0))


def heartbeats(signals: Values, rate_hz: float) -> Heartbeats:
    """Find the beats of a recording and average those that are alike.

    Args:
        signals: (12, T) in mV, filtered, in the order of ``ECG_LEADS``; what is silent at an end is passed over.
        rate_hz: samples per second.

    Raises:
        UnusableError: fewer than three beats, or no beat that repeats.
    """
    leads = signals[INDEPENDENT, :]
    places, alike = _aligned(leads, _without_t_waves(leads, _beats(leads, rate_hz), rate_hz), rate_hz)
    half = round(_QRS_S * rate_hz)
    is_inside = (places >= half) & (places <= signals.shape[1] - half)  # a beat cut in two has no place
    order = np.argsort(places[is_inside], kind="stable")
    places, alike = places[is_inside][order], alike[is_inside][order]
    if len(places) < _FEWEST:
        raise UnusableError(f"has {len(places)} heartbeats, fewer than the {_FEWEST} that intervals need")
    if np.median(alike) < _REPEATS:
        raise UnusableError("has no heartbeat that repeats: noise, or a heart without order")
    is_usual = alike >= min(_ALIKE, float(np.median(alike)))
    before, after = round(BEFORE_S * rate_hz), round(AFTER_S * rate_hz)
    is_whole = (places >= before) & (places + after <= signals.shape[1])
    chosen = places[is_usual & is_whole]
    if not len(chosen):
        raise UnusableError("has no heartbeat that lies whole within the recording")
    windows = np.stack([signals[:, place - before : place + after] for place in chosen])
    return Heartbeats(places / rate_hz, is_usual, windows, windows.mean(axis=0), before, rate_hz)
