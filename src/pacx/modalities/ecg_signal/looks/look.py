"""One recording as a person looks at it: what was recorded, what was computed, and what is wrong with it."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pacx.core.errors import UsageError
from pacx.core.vocabulary import ECG_LEADS
from pacx.modalities.ecg_signal.doubts import examined
from pacx.modalities.ecg_signal.ecg_file import open_ecg
from pacx.modalities.ecg_signal.facts import NO_FACTS, EcgFacts, UnusableError
from pacx.modalities.ecg_signal.record import EcgRecord, Window


class EcgLook(NamedTuple):
    """A stretch of a recording as it was recorded.

    Args:
        signals: (12, T) in the order of ``ECG_LEADS``, millivolts, NaN where nothing was recorded.
        rate_hz: samples per second.
        title: file, format, rate and length.
        remarks: what was computed, and what is wrong or strange, one line each.
    """

    signals: NDArray[np.float64]
    rate_hz: float
    title: str
    remarks: tuple[str, ...]


def look_at(
    path: Path, key: str | None = None, *, start_s: float = 0.0, duration_s: float = 10.0, facts: EcgFacts = NO_FACTS
) -> EcgLook:
    """Read a recording for a person to look at; one that cannot be used is shown all the same.

    Args:
        path: an ECG file of any format.
        key: which recording of a file that holds several; None = the first.
        start_s: where in it to begin.
        duration_s: how much of it.
        facts: what the file may not say.

    Raises:
        UsageError: the file has no recording of that key.
        DataError: it is no ECG, or is damaged, or ends before ``start_s``.
    """
    with open_ecg(path, facts) as file:
        if key is not None and key not in file.keys:
            raise UsageError(f"{path} holds {len(file.keys)} recordings and none of that name; give another --record")
        which = file.keys[0] if key is None else key
        about = file.read(which, Window(0, 0))
        first, count = (round(seconds * about.rate_hz) for seconds in (start_s, duration_s))
        record = file.read(which, Window(first, count))
        title = f"{path.name}, {file.title}, {about.rate_hz:g} Hz, {about.num_stored / about.rate_hz:.1f} s"
        several = (f"recording {list(file.keys).index(which) + 1} of {len(file.keys)} in its file",)
    remarks = (*(several if len(file.keys) > 1 else ()), *_remarks(record, duration_s))
    return EcgLook(_twelve(record), record.rate_hz, title, remarks)


def _twelve(record: EcgRecord) -> NDArray[np.float64]:
    """The leads that there are once, the others empty."""
    signals = np.full((len(ECG_LEADS), record.signals.shape[1]), np.nan)
    for row, lead in enumerate(ECG_LEADS):
        if record.leads.count(lead) == 1:
            signals[row] = record.signals[record.leads.index(lead)]
    return signals


def _remarks(record: EcgRecord, duration_s: float) -> tuple[str, ...]:
    remarks = [*record.notes]
    if record.derived:
        remarks.append(f"computed from I and II, not stored: {', '.join(record.derived)}")
    if not record.is_millivolt:
        remarks.append("scaled for itself: its height says nothing of millivolts")
    try:
        remarks += [f"look twice: it {doubt.value}" for doubt in examined(record, duration_s).doubts]
    except UnusableError as reason:
        remarks.append(f"cannot be used: it {reason}")
    return tuple(remarks)
