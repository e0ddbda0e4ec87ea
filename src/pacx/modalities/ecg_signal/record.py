"""One ECG as it was recorded, whatever file it came from: leads by name, millivolts, rate, moment, what was computed.

Stands between the readers of formats (``formats/``), which make it, and everybody else. Imports numpy alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pacx.core.vocabulary import ECG_LEADS
from pacx.modalities.ecg_signal.facts import UnusableError
from pacx.modalities.ecg_signal.recordings import lead_called, lead_positions

MILLIVOLTS = {
    **dict.fromkeys(("v", "volt", "volts"), 1e3),
    **dict.fromkeys(("mv", "millivolt", "millivolts"), 1.0),
    **dict.fromkeys(("uv", "µv", "μv", "microvolt", "microvolts"), 1e-3),
    **dict.fromkeys(("nv", "nanovolt", "nanovolts"), 1e-6),
}
"""Millivolts in a unit, by its short name or its English one in lower case (micro as the sign and the Greek letter)."""

RATES_HZ = (10.0, 100_000.0)
"""Between these lies the rate of every ECG; what says another one is damaged."""

_Samples = NDArray[np.float64]
_LIMB_LEADS: Mapping[str, Callable[[_Samples, _Samples], _Samples]] = {
    "III": lambda one, two: two - one,
    "aVR": lambda one, two: -(one + two) / 2,
    "aVL": lambda one, two: one - two / 2,
    "aVF": lambda one, two: two - one / 2,
}
"""Einthoven's and Goldberger's equations."""


class Window(NamedTuple):
    """A stretch of a recording.

    Args:
        start: its first sample.
        num_samples: how many; None = all that follow. Where the recording has fewer, it ends with it.
    """

    start: int = 0
    num_samples: int | None = None

    def within(self, num_stored: int) -> slice:
        """The stretch of a recording of ``num_stored`` samples.

        Raises:
            UnusableError: the recording ends before it begins, or is empty.
        """
        if num_stored < 1:
            raise UnusableError("holds no samples")
        if not 0 <= self.start < num_stored:
            raise UnusableError("ends before the wanted stretch begins")
        return slice(
            self.start, num_stored if self.num_samples is None else min(self.start + self.num_samples, num_stored)
        )


WHOLE = Window()
"""All of a recording."""


@dataclass(frozen=True, eq=False, kw_only=True)
class EcgRecord:
    """One recording, or a stretch of it.

    Args:
        signals: (leads, T) float64; millivolts, NaN for what was not recorded.
        stored_leads: the name of each lead as the file has it.
        rate_hz: samples per second.
        num_stored: samples per lead of the whole recording, of which ``signals`` may be a stretch; as many as there
            are by default.
        start: when the first sample of ``signals`` was recorded, with a zone only where the file says one; None where
            it does not say.
        derived: leads that were computed from I and II, as the format stores eight by definition.
        resolution_mv: per lead the step of the stored numbers in millivolts; None where they are floating point. () =
            None for all.
        is_millivolt: False where the recording was scaled for itself, so that its voltage is lost.
        questioned: those of ``stored_leads`` that were recorded, but not well by what the file says of them.
        patient_id: whose it is by the file; "" where it does not say. Never to be printed.
        notes: what a reader should know of how it came about, without any value of the file, one sentence each.

    Raises:
        UnusableError: there are no leads or samples, shapes do not fit each other, or no ECG has such a rate.
    """

    signals: NDArray[np.float64]
    stored_leads: tuple[str, ...]
    rate_hz: float
    num_stored: int = -1
    start: datetime | None = None
    derived: tuple[str, ...] = ()
    resolution_mv: tuple[float | None, ...] = ()
    is_millivolt: bool = True
    questioned: tuple[str, ...] = ()
    patient_id: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        signals = np.asarray(self.signals, np.float64)
        if not self.stored_leads:
            raise UnusableError("holds no ECG lead")
        if signals.ndim != 2 or len(signals) != len(self.stored_leads):
            raise UnusableError(f"holds {len(self.stored_leads)} leads by name and others by its samples")
        require_rate(self.rate_hz)
        num_stored = signals.shape[1] if self.num_stored < 0 else self.num_stored
        if num_stored < 1:
            raise UnusableError("holds no samples")
        object.__setattr__(self, "signals", signals)
        object.__setattr__(self, "num_stored", num_stored)
        object.__setattr__(self, "resolution_mv", self.resolution_mv or (None,) * len(signals))

    @property
    def leads(self) -> tuple[str, ...]:
        """The leads' names: those of ``ECG_LEADS`` where they are among them, others as they are stored."""
        return tuple(map(lead_called, self.stored_leads))

    def twelve(self) -> NDArray[np.float64]:
        """The twelve leads in the order of ``ECG_LEADS``, (12, T).

        Raises:
            UnusableError: a lead is missing or there twice.
        """
        return self.signals[lead_positions(self.stored_leads)]


def require_rate(rate_hz: float) -> None:
    """Refuse a rate outside ``RATES_HZ``, before anything is divided by it.

    Raises:
        UnusableError: it is outside, or not a number.
    """
    if not RATES_HZ[0] <= rate_hz <= RATES_HZ[1]:
        raise UnusableError("has a rate that no ECG is recorded at; correct it, or leave it out")


def later(start: datetime | None, window: Window, rate_hz: float) -> datetime | None:
    """When a window begins of a recording that began at ``start``."""
    return start and start + timedelta(seconds=window.start / rate_hz)


def passed_over(number: int, what: str = "signals that are no leads of the ECG") -> tuple[str, ...]:
    """A note on what a file holds beside the recording."""
    return (f"{number} {what} are passed over",) if number else ()


def with_limb_leads(record: EcgRecord) -> EcgRecord:
    """A recording of a format that stores I, II and V1 to V6 by definition, with III, aVR, aVL and aVF as they follow.

    Only for such formats: elsewhere a lead that is missing was not recorded. Leads that are stored stay as they are.

    Raises:
        UnusableError: I or II is missing, or there twice.
    """
    missing = [lead for lead in _LIMB_LEADS if lead not in record.leads]
    if not missing:
        return record
    one, two = lead_positions(record.stored_leads, ("I", "II"))
    signals = [_LIMB_LEADS[lead](record.signals[one], record.signals[two]) for lead in missing]
    return replace(
        record,
        signals=np.concatenate([record.signals, signals]),
        stored_leads=(*record.stored_leads, *missing),
        derived=tuple(missing),
        resolution_mv=(*record.resolution_mv, *(_step(lead, record.resolution_mv[one]) for lead in missing)),
    )


def _step(lead: str, step_mv: float | None) -> float | None:
    """The finest difference of a computed lead: a difference has the step of I and II, a mean half of it."""
    return step_mv if step_mv is None or lead == "III" else step_mv / 2


def leads_first(array: NDArray[Any]) -> NDArray[Any]:
    """An array of N recordings of twelve leads as (N, leads, T), whichever of its last two axes they are.

    Raises:
        UnusableError: neither has twelve; or it has another number of axes.
    """
    num_leads = len(ECG_LEADS)
    if array.ndim != 3 or num_leads not in array.shape[1:]:
        raise UnusableError("is an array without an axis of twelve leads")
    return array if array.shape[1] == num_leads else array.transpose(0, 2, 1)
