"""What a recording says against itself: it cannot be used, or somebody should look at it, or at a few of its kind.

A recording is unusable when it is infinite, full of gaps, constant, flat or clipped in a lead, too short, far from the
size of a heart's signal, or has limb leads in another order than their names say: Einthoven's and Goldberger's
equations leave no other explanation. Everything else here may be an illness or an unusual heart, and is only told.

Sources: Einthoven's and Goldberger's equations; for exchanged cables Kligfield et al. 2007, "Recommendations for the
standardization and interpretation of the electrocardiogram, part I".
"""

from collections.abc import Sequence
from enum import Enum
from itertools import permutations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pacx.core.vocabulary import ECG_LEADS
from pacx.modalities.ecg_signal.facts import UnusableError
from pacx.modalities.ecg_signal.filters import SILENT_BELOW, fitted
from pacx.modalities.ecg_signal.record import EcgRecord
from pacx.modalities.ecg_signal.recordings import PLAUSIBLE_MV, lead_called, lead_positions

MAINS_HZ = (50.0, 60.0)

_FLAT_BELOW = 1e-3
_MOST_CLIPPED = 0.02
"""Share of a lead's samples at its highest or lowest value. Of 198 real recordings none of 2,366 leads that are not
flat reaches 0.012; a wave cut off for 20 ms in every beat passes 0.02."""
_MOST_MISSING = 0.2
_HELD_S = 1.0
_STEP_S = 0.04  # over so long a difference keeps QRS and T, and neither wander nor hum
_OPPOSITE = -0.5  # 3 of 198 real recordings have I and V6 correlated below this
_NEARLY_FLAT = 0.08  # of the largest of I, II and III; no real recording of 198 has less than 0.18
_USUAL_MV = (0.025, 1.5)  # standard deviation of the median lead; 198 real ones have 0.077 to 1.15
_HUM_MV, _HUM_OVER_NEIGHBOURS, _HUM_WINDOW_S = 0.01, 6.0, 0.5
_PADDING_S = 0.1

# Unrelated leads differ by 1.4 times their size or more; with as much noise as signal the identities still give 1.
_BROKEN_ABOVE = 0.9
_EXCHANGED_ABOVE, _FITTING_BELOW = 0.3, 0.1
_LOOSE_ABOVE, _BEYOND_STEPS = 0.05, 0.01
_SILENT = 1e-9
_OF_ONE_AND_TWO = np.array([[-1.0, 1.0], [-0.5, -0.5], [1.0, -0.5], [-0.5, 1.0]])
"""III, aVR, aVL and aVF from I and II, (4, 2)."""


class Doubt(Enum):
    """Something to be told of a recording that is used all the same."""

    VOLTAGE = "is about ten times too small or too large for an ECG"
    LIMB_LEADS = "has limb leads that follow from each other only roughly, more than stored steps explain"
    ARMS = "has I and aVL turned against V6: arms exchanged, or a heart on the right"
    ARM_AND_LEFT_LEG = "has II and aVF turned against V6: right arm and left leg exchanged, or an extreme axis"
    ARM_AND_RIGHT_LEG = "has one of I, II and III nearly flat beside the others: an arm and the right leg exchanged"
    HUM = "hums at a mains frequency that the notch does not take out"
    QUESTIONED = "has a lead that its device calls questionable or uncalibrated, or that was off for a part of the time"
    PADDED = "has zeros at its ends, which count as not recorded"


def recorded_part(signals: NDArray[np.float64], rate_hz: float) -> slice:
    """Where a recording (leads, T) is left when the zeros or NaN are taken off with which all leads begin or end.

    A heart holds no twelve leads at exactly zero; what pads recordings to a common length does. All of it where there
    are none for a tenth of a second, and where there is nothing else.
    """
    total = signals.shape[1]
    fewest = max(2, round(_PADDING_S * rate_hz))
    if total <= fewest or (np.nan_to_num(signals[:, :fewest]).any() and np.nan_to_num(signals[:, -fewest:]).any()):
        return slice(0, total)
    sounding = np.flatnonzero(np.nan_to_num(signals).any(axis=0))
    if not len(sounding):
        return slice(0, total)
    first, last = int(sounding[0]), int(sounding[-1]) + 1
    return slice(first if first >= fewest else 0, last if total - last >= fewest else total)


def require_limb_leads(signals: NDArray[np.float64], resolution_mv: Sequence[float | None] = ()) -> tuple[Doubt, ...]:
    """Refuse a recording whose limb leads are not where their names say.

    Args:
        signals: (12, T) in the order of ``ECG_LEADS``, without NaN.
        resolution_mv: step of the stored numbers of each lead, in the unit of the signals; None or () = unknown.

    Returns:
        The doubt that is left: the equations hold, but not within the steps (without steps, within a twentieth).

    Raises:
        UnusableError: they do not hold; the message says which leads changed places, where that explains it.
    """
    limb = signals[:6] - signals[:6].mean(axis=1, keepdims=True)
    follows = _OF_ONE_AND_TWO @ limb[:2]  # (4, T): III, aVR, aVL, aVF
    size = np.linalg.norm(follows, axis=1)
    if size.min() <= _SILENT * max(size.max(), np.finfo(float).tiny):
        return ()  # a flat limb lead says nothing about the order
    difference = limb[2:] - follows
    away = float((np.linalg.norm(difference, axis=1) / size).max())
    if away > _EXCHANGED_ABOVE:
        _say_order(limb, away)
    steps = [resolution_mv[row] if resolution_mv else None for row in range(6)]
    if None in steps:
        return (Doubt.LIMB_LEADS,) if away > _LOOSE_ABOVE else ()
    step = np.array(steps, float)
    # Some devices cut numbers off instead of rounding them, some store finer steps than they convert with.
    allowed = 2 * (step[2:] + np.abs(_OF_ONE_AND_TWO) @ step[:2])
    is_beyond = np.abs(difference) > allowed[:, None]
    return (Doubt.LIMB_LEADS,) if is_beyond.mean(axis=1).max() > _BEYOND_STEPS else ()


def _say_order(limb: NDArray[np.float64], away: float) -> None:
    """Refuse limb leads (6, T) that another order explains, or that nothing does."""
    gram = limb @ limb.T
    orders = np.array(list(permutations(range(6))))
    in_order = gram[orders[:, :, None], orders[:, None, :]]  # (720, 6, 6)
    size = np.einsum("fi,pij,fj->pf", _OF_ONE_AND_TWO, in_order[:, :2, :2], _OF_ONE_AND_TWO)
    for turned in (1.0, -1.0):
        stored = np.diag([1.0, turned, 1.0, 1.0])  # III, aVR, aVL, aVF
        equations = np.concatenate([-_OF_ONE_AND_TWO, stored], axis=1)  # (4, 6): each row times the leads is nothing
        left = np.einsum("fi,pij,fj->pf", equations, in_order, equations)
        misfit = np.sqrt(np.maximum(left, 0) / np.maximum(size, np.finfo(float).tiny)).max(axis=1)
        best = int(misfit.argmin())
        if misfit[best] < _FITTING_BELOW:
            moved = [(ECG_LEADS[at], ECG_LEADS[place]) for place, at in enumerate(orders[best]) if at != place]
            told = [f"what is called {name} is {lead}" for name, lead in sorted(moved)]
            told += ["aVR is turned round"] if turned < 0 else []
            raise UnusableError(f"has limb leads in another order than their names: {', '.join(told)}")
    if away > _BROKEN_ABOVE:
        raise UnusableError("has limb leads that do not follow from I and II, as they must in every ECG")


def doubts(
    signals: NDArray[np.float64], rate_hz: float, *, is_millivolt: bool, notch_hz: float | None = None
) -> tuple[Doubt, ...]:
    """What else is strange about a recording.

    Args:
        signals: (12, T) in the order of ``ECG_LEADS``, without NaN.
        rate_hz: samples per second.
        is_millivolt: whether its size means anything.
        notch_hz: the mains frequency that is taken out afterwards; None = none.
    """
    found = []
    if is_millivolt and not _USUAL_MV[0] <= np.median(signals.std(axis=1)) <= _USUAL_MV[1]:
        found.append(Doubt.VOLTAGE)
    found += _exchanged(signals, rate_hz)
    if any(_hums(signals, rate_hz, mains) for mains in MAINS_HZ if mains != notch_hz):
        found.append(Doubt.HUM)
    return tuple(found)


def _exchanged(signals: NDArray[np.float64], rate_hz: float) -> list[Doubt]:
    """What looks like exchanged cables: each turns or moves the limb leads in its own way and leaves V6 alone."""
    step = max(1, round(_STEP_S * rate_hz))
    steep = signals[:, step:] - signals[:, :-step]
    steep = steep[[0, 1, 2, 3, 4, 5, 11]]  # the limb leads, and V6
    size = np.linalg.norm(steep - steep.mean(axis=1, keepdims=True), axis=1)
    if size.min() <= _SILENT * max(size.max(), np.finfo(float).tiny):
        return []
    centred = steep - steep.mean(axis=1, keepdims=True)
    one, two, *_, a_vl, a_vf = (of_v6 := (centred[:6] @ centred[6]) / (size[:6] * size[6]))
    if size[:3].min() < _NEARLY_FLAT * size[:3].max():
        return [Doubt.ARM_AND_RIGHT_LEG]
    # The right arm looks at the heart from the other side than V6: of aVR, aVL and aVF, its own is the most opposed.
    if of_v6[3:].argmin() == 1 and max(one, a_vl) < _OPPOSITE:
        return [Doubt.ARMS]
    if of_v6[3:].argmin() == 2 and max(two, a_vf) < _OPPOSITE:
        return [Doubt.ARM_AND_LEFT_LEG]
    return []


def _hums(signals: NDArray[np.float64], rate_hz: float, mains_hz: float) -> bool:
    """Whether the median lead has a line at a mains frequency, well above what lies beside it."""
    window = round(_HUM_WINDOW_S * rate_hz)
    num_windows = signals.shape[1] // window
    beside = 1 / _HUM_WINDOW_S * np.array([0, -4, -3, 3, 4])
    if not num_windows or mains_hz + beside.max() >= rate_hz / 2:
        return False
    waves = np.exp(-2j * np.pi * np.outer(np.arange(window) / rate_hz, mains_hz + beside)) * (2 / window)
    pieces = signals[:, : num_windows * window].reshape(-1, window)
    heights = np.abs(pieces @ waves.real + 1j * (pieces @ waves.imag)).reshape(len(signals), num_windows, -1)
    line, *others = np.median(heights, axis=1).T  # over the windows, most of which hold no spike
    return bool(np.median(line) > _HUM_MV and np.median(line) > _HUM_OVER_NEIGHBOURS * np.median(others))


class Examined(NamedTuple):
    """What is left of a record for the filters, (12, T) without gaps, and what is strange about it."""

    recorded: NDArray[np.float64]
    doubts: tuple[Doubt, ...]


def examined(
    record: EcgRecord, duration_s: float, leads: Sequence[str] = ECG_LEADS, *, notch_hz: float | None = None
) -> Examined:
    """Look at a record before it is filtered: behind the filters and a z-score nobody would notice any of it.

    Args:
        record: as it was recorded; its leads in any order.
        duration_s: how much of it is used.
        leads: those that must be good.
        notch_hz: the mains frequency that is taken out afterwards.

    Raises:
        UnusableError: the record is at fault.
    """
    positions = lead_positions(record.stored_leads)
    raw = record.signals[positions]
    part = recorded_part(raw, record.rate_hz)
    raw = raw[:, part]
    used = _used(raw, round(duration_s * record.rate_hz))
    known = used
    if not np.isfinite(used).all():
        if np.isinf(raw).any():
            raise UnusableError("has infinite values")
        raw, known = np.nan_to_num(raw, posinf=0.0, neginf=0.0), np.nan_to_num(used)
    elif raw.shape[1] > used.shape[1]:
        raw = np.nan_to_num(raw, posinf=0.0, neginf=0.0)  # what lies behind the used part
    wanted = [ECG_LEADS.index(lead) for lead in leads]
    _require_signal(used[wanted], known[wanted], record.rate_hz, leads, is_millivolt=record.is_millivolt)
    strange: tuple[Doubt, ...] = () if part == slice(0, record.signals.shape[1]) else (Doubt.PADDED,)
    if set(leads) & set(map(lead_called, record.questioned)):
        strange += (Doubt.QUESTIONED,)
    if set(ECG_LEADS[:6]) <= set(leads):
        strange += require_limb_leads(known, [record.resolution_mv[position] for position in positions])
    strange += doubts(known, record.rate_hz, is_millivolt=record.is_millivolt, notch_hz=notch_hz)
    return Examined(raw, strange)


def _used(raw: NDArray[np.float64], num_samples: int) -> NDArray[np.float64]:
    """The part that is used, without what brings it to its length; a gap at the end goes on into that."""
    ends_in_gap = raw.shape[1] > 0 and np.isnan(raw[:, -1]).any()
    return fitted(raw, num_samples) if ends_in_gap else raw[:, :num_samples]


def _clipped(lead: NDArray[np.float64], size: float) -> float:
    """Share of a lead's samples that stand at a limit; 0 if its highest and lowest values are no limits.

    A clean baseline is the lowest value of many a lead: a limit lies two standard deviations from the median. The top
    of a coarsely stored wave holds some samples: at a limit stand five times as many as at the next value.
    """
    share = 0.0
    for edge, inwards in ((lead.max(), np.max), (lead.min(), np.min)):
        at_edge = lead == edge
        if at_edge.mean() > _MOST_CLIPPED and abs(edge - np.median(lead)) > 2 * size:
            rest = lead[~at_edge]
            if at_edge.sum() > 5 * (rest == inwards(rest)).sum():
                share = max(share, float(at_edge.mean()))
    return share


def _require_signal(
    raw: NDArray[np.float64],
    record: NDArray[np.float64],
    rate_hz: float,
    leads: Sequence[str],
    *,
    is_millivolt: bool,
) -> None:
    """Refuse what no filter can mend; ``record`` is ``raw`` with 0 for NaN."""
    size = record.std(axis=1)
    if size.max() <= SILENT_BELOW * max(np.abs(record).max(), np.finfo(float).tiny):
        raise UnusableError("is constant")
    flat = [lead for lead, each in zip(leads, size, strict=True) if each <= _FLAT_BELOW * np.median(size[size > 0])]
    if flat and not np.isnan(raw).all(axis=1).any():
        raise UnusableError(f"is flat in lead {', '.join(flat)}")
    _require_samples(raw, rate_hz, leads)
    clipped = [_clipped(lead, each) for lead, each in zip(record, size, strict=True)]
    if worst := max(clipped):
        raise UnusableError(f"is clipped: {worst:.0%} of lead {leads[clipped.index(worst)]} stand at its limit")
    if is_millivolt and not PLAUSIBLE_MV[0] <= np.median(size) <= PLAUSIBLE_MV[1]:
        raise UnusableError(f"has a standard deviation of {np.median(size):.3g} mV, expected 0.1 to 0.5")


def _require_samples(signals: NDArray[np.float64], rate_hz: float, leads: Sequence[str]) -> None:
    """Refuse a recording with gaps in more than a fifth of a lead.

    Args:
        signals: (leads, T); NaN = the device recorded nothing, and so does a value that is held for a second: of 198
            real recordings no lead that is not flat holds one for half of that.
        rate_hz: samples per second.
        leads: their names.

    Raises:
        UnusableError: there are more.
    """
    missing = (np.isnan(signals) | _held(signals, round(_HELD_S * rate_hz))).mean(axis=1)
    if missing.max() > _MOST_MISSING:
        raise UnusableError(f"has no samples in {missing.max():.0%} of lead {leads[missing.argmax()]}")


def _held(signals: NDArray[np.float64], num_samples: int) -> NDArray[np.bool_]:
    """Samples (leads, T) that stand in a run of ``num_samples`` or more equal ones."""
    held = np.zeros(signals.shape, bool)
    for row in np.flatnonzero(_may_hold(signals, num_samples)):
        starts = np.flatnonzero(np.diff(signals[row], prepend=np.nan) != 0)
        runs = np.diff(starts, append=signals.shape[1])
        for start, run in zip(starts[runs >= num_samples], runs[runs >= num_samples], strict=True):
            held[row, start : start + run] = True
    return held


def _may_hold(signals: NDArray[np.float64], num_samples: int) -> NDArray[np.bool_]:
    """Leads (N,) in which such a run is possible: few are, and looking at every sample of the others takes long."""
    step = max(num_samples // 4, 1)
    seen = signals[:, ::step]  # a run holds four of these at least, unless it is shorter than a step
    equal = seen[:, 1:] == seen[:, :-1]
    if step < 2 or equal.shape[1] < 3:
        return np.ones(len(signals), bool)
    few: NDArray[np.bool_] = (equal[:, 2:] & equal[:, 1:-1] & equal[:, :-2]).any(axis=1)
    return few
