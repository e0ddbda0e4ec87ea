"""Raw ECGs in memory, whatever file they came from: who, which leads, which rate, which unit.

Signals stay in the numbers they were stored in (an int16 memory map stays on the disk) and become millivolts record by
record. ``pacx.modalities.ecg_signal.readers`` opens files.

A wrong lead order crashes nothing and ruins everything, so every reader checks it by Goldberger's identities: the
augmented limb leads follow from I and II (aVL = I - II/2, aVF = II - I/2). Nor does a wrong unit: the size of the
signals is checked as well. Files that lack a lead are refused; no lead is ever made up from another.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pacx.core.errors import DataError
from pacx.core.tables.ids import persons
from pacx.core.vocabulary import ECG_LEADS
from pacx.modalities.ecg_signal.facts import EcgUnit, UnusableError
from pacx.modalities.targets import named

_CHECKED_RECORDS = 64
# Unrelated leads differ by 1.4 times their size or more; with as much noise as signal the identities still give 1.
_IDENTITY_BROKEN_ABOVE = 0.9

_BEFORE_LEAD = re.compile(r"^(?:mdc_ecg_lead_|(?:ecg|ekg|lead)(?:[\s_:.]+|-|(?=[ivad])))*")
"""What makers write before a lead's name. A hyphen behind a blank turns the lead round."""
_LEAD_NAMES = {
    **{lead.casefold(): lead for lead in ECG_LEADS},
    **{"d1": "I", "d2": "II", "d3": "III", "di": "I", "dii": "II", "diii": "III"},
}

PLAUSIBLE_MV = (0.003, 10.0)
"""Standard deviation of the median lead of anything that comes from a body; real ones have 0.1 to 0.5 mV."""


@dataclass(frozen=True, eq=False)
class EcgRecordings:
    """Twelve-lead recordings of one rate and length.

    Args:
        sample_ids: N different ids.
        signals: (N, 12, T), int16 or float, in memory or memory-mapped; NaN = the device recorded nothing.
        leads: names of the twelve leads in the order of the second axis; any order, upper or lower case.
        sample_rate_hz: samples per second.
        unit: unit of ``signals``.
        patient_ids: whose each recording is; one that is not known (None, "", NA) is a person of its own; () = all
            different people.
        notes: what a reader should know of how the recordings came about, one sentence each.

    Raises:
        DataError: shapes do not match, an id occurs twice, leads are not the twelve, or the rate is not positive.
    """

    sample_ids: tuple[str, ...]
    signals: NDArray[Any]
    leads: tuple[str, ...] = ECG_LEADS
    sample_rate_hz: float = 500.0
    unit: EcgUnit = EcgUnit.MILLIVOLT
    patient_ids: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "sample_ids", tuple(map(str, self.sample_ids)))
        if len(self.patient_ids) not in (0, len(self.sample_ids)):
            raise DataError(
                f"ECG recordings have {len(self.patient_ids)} patient ids for {len(self.sample_ids)} samples; "
                "give one each"
            )
        object.__setattr__(self, "patient_ids", persons(self.patient_ids, self.sample_ids))
        shape = self.signals.shape
        if len(shape) == 3 and shape[0] != len(self.sample_ids):
            raise DataError(
                f"ECG recordings have {len(self.sample_ids)} sample ids for {shape[0]} signals; give one each"
            )
        if len(shape) != 3 or shape[:2] != (len(self.sample_ids), len(ECG_LEADS)):
            raise DataError(
                f"ECG signals have shape {shape} for {len(self.sample_ids)} sample ids, expected (records, 12 leads, "
                "time); transpose arrays that have time before leads"
            )
        if self.signals.dtype.kind not in "iuf":
            raise DataError(f"ECG signals are {self.signals.dtype}, expected whole numbers or floating point")
        require_distinct(self.sample_ids)
        try:
            lead_positions(self.leads)
        except UnusableError as reason:
            raise DataError(f"an array of ECG recordings {reason}") from None
        if not self.sample_rate_hz > 0:
            raise DataError(f"ECG sample rate is {self.sample_rate_hz} Hz; give the rate of the recordings")

    def __len__(self) -> int:
        return len(self.sample_ids)

    def record(self, row: int) -> NDArray[np.float64]:
        """One recording in the order of ``ECG_LEADS``, (12, T): millivolts, or as stored if the unit is relative."""
        raw = np.asarray(self.signals[row], np.float64)[lead_positions(self.leads)]
        return raw * self.unit.millivolts

    def select(self, rows: Sequence[int] | NDArray[np.int64]) -> "EcgRecordings":
        """The recordings of some rows, for example of the training patients."""
        ids, patients = (tuple(names[row] for row in rows) for names in (self.sample_ids, self.patient_ids))
        signals = self.signals[np.asarray(rows, np.int64)]
        return EcgRecordings(ids, signals, self.leads, self.sample_rate_hz, self.unit, patients, notes=self.notes)


def require_distinct(sample_ids: Sequence[str]) -> None:
    """Refuse recordings of which two have one name.

    Raises:
        DataError: an id occurs twice.
    """
    twice = sorted(name for name, count in Counter(sample_ids).items() if count > 1)
    if twice:
        raise DataError(
            f"ECG recordings name a sample more than once ({named(twice)}); keep one recording each, or give a "
            "list in which every one has a sample_id of its own"
        )


def lead_called(stored: str) -> str:
    """The lead of ``ECG_LEADS`` that a stored name means, by the spellings in use; the stored name where it means none.

    Upper and lower case are the same; ``ECG``, ``EKG``, ``Lead`` and ``MDC_ECG_LEAD_`` may stand before it, and I, II
    and III may be D1 to D3 or DI to DIII. Modified leads (MLII) and turned ones (-aVR) are others.
    """
    folded = _BEFORE_LEAD.sub("", stored.strip().casefold())
    return _LEAD_NAMES.get(folded, stored)


def lead_positions(leads: Sequence[str], wanted: Sequence[str] = ECG_LEADS) -> list[int]:
    """Where each wanted lead stands among ``leads``, in any spelling.

    Raises:
        UnusableError: a lead is missing or occurs twice.
    """
    called = [lead_called(str(lead)) for lead in leads]
    wrong = [lead for lead in wanted if called.count(lead) != 1]
    if wrong:
        what = "each of the twelve leads" if tuple(wanted) == ECG_LEADS else f"lead {' and lead '.join(wanted)}"
        raise UnusableError(
            f"must have {what} once, but not so {', '.join(wrong)}; leads are never made up from others, leave it out"
        )
    return [called.index(lead) for lead in wanted]


def _spread(total: int) -> NDArray[np.int64]:
    """Up to 64 rows spread over all."""
    return np.unique(np.linspace(0, total - 1, min(_CHECKED_RECORDS, total)).astype(np.int64))


def check_voltage(recordings: EcgRecordings, source: str) -> None:
    """Refuse recordings whose numbers cannot be in the declared unit; the median over recordings decides.

    Raises:
        DataError: signals are a thousand times too large or too small for a heart, or anything like it.
    """
    if recordings.unit is EcgUnit.RELATIVE or not len(recordings):
        return
    sizes = [float(np.median(np.nan_to_num(recordings.record(row)).std(axis=1))) for row in _spread(len(recordings))]
    size, (low, high) = float(np.median(sizes)), PLAUSIBLE_MV
    if size == 0 or low <= size <= high:  # blank recordings have no unit; preparing them says so
        return
    raise DataError(
        f"{source}: if the signals are in {recordings.unit.value} as declared, their standard deviation is "
        f"{size:.3g} mV, far too {'large' if size > high else 'small'} where 0.1 to 0.5 is usual; declare the unit "
        "they are in"
    )


def _misfit(lead: NDArray[np.float64], identity: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(lead - identity) / np.linalg.norm(identity))


def check_lead_order(recordings: EcgRecordings, source: str) -> None:
    """Refuse recordings whose augmented limb leads are not where their names say.

    Compares aVR, aVL and aVF with what follows from I and II, on up to 64 recordings spread over all; the median over
    recordings decides, so that single noisy ones do not.

    Raises:
        DataError: aVL and aVF are exchanged, or the identities do not hold at all.
    """
    as_named, exchanged = [], []
    for row in _spread(len(recordings)):
        centered = np.nan_to_num(recordings.record(row)[:6])
        centered -= centered.mean(axis=1, keepdims=True)
        one, two, _, a_vr, a_vl, a_vf = centered
        r, left, foot = -(one + two) / 2, one - two / 2, two - one / 2
        if min(np.linalg.norm(x) for x in (r, left, foot)) < 1e-9:
            continue  # a flat limb lead says nothing about the order
        as_named.append((_misfit(a_vr, r), _misfit(a_vl, left), _misfit(a_vf, foot)))
        exchanged.append((_misfit(a_vl, foot), _misfit(a_vf, left)))
    misfit = np.median(as_named, axis=0).max() if as_named else 0.0
    if misfit < _IDENTITY_BROKEN_ABOVE:
        return
    if np.median(exchanged, axis=0).max() < _IDENTITY_BROKEN_ABOVE:
        raise DataError(
            f"{source}: leads aVL and aVF are exchanged (the lead named aVL is II - I/2, which is aVF); declare the "
            "order of the file, MIMIC-IV-ECG's is I, II, III, aVR, aVF, aVL, V1 to V6"
        )
    raise DataError(
        f"{source}: aVR, aVL and aVF do not follow from I and II as they must in every twelve-lead ECG; "
        "declare the order in which the file stores its leads"
    )


def check_plausible(recordings: EcgRecordings, source: str) -> EcgRecordings:
    """The recordings, if the order of their leads and their unit can be what is said.

    Raises:
        DataError: they cannot.
    """
    check_lead_order(recordings, source)
    check_voltage(recordings, source)
    return recordings
