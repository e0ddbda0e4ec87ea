"""What a recording says against itself: it may be used, but somebody should look at it, or at a few of its kind.

A wrong order of the limb leads is a fault (``require_limb_leads``), because Einthoven's and Goldberger's equations
leave no other explanation. Everything else here may be an illness or an unusual heart, and is only told.

Sources: Einthoven's and Goldberger's equations; for exchanged cables Kligfield et al. 2007, "Recommendations for the
standardization and interpretation of the electrocardiogram, part I".
"""

from collections.abc import Sequence
from enum import Enum
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from pacx.core.vocabulary import ECG_LEADS
from pacx.modalities.ecg_signal.facts import UnusableError

MAINS_HZ = (50.0, 60.0)

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
