"""Which ECG recordings hold a signal: no sample that the device marked invalid, and not all zeros.

Many are read in worker processes, and each answer is written down, so that a killed call goes on.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from functools import partial
from pathlib import Path

from pacx.core.errors import ArtifactError
from pacx.core.progress import progress
from pacx.core.workers import in_order

_AT_ONCE = 64
_MANY = 2000
"""Recordings, below which starting worker processes takes longer than they save."""
JOURNAL = "recordings.jsonl"


class Signal(Enum):
    """What a recording holds."""

    GOOD = "good"
    INVALID = "an invalid sample"
    ZERO = "nothing but zeros"
    ABSENT = "no file"
    UNREADABLE = "no readable signal"


def checked(root: Path, paths: Sequence[str], scratch: Path, num_workers: int) -> Mapping[str, Signal]:
    """Look into recordings.

    Args:
        root: the folder their paths are relative to.
        paths: of WFDB records, without an ending.
        scratch: where answers are written down.
        num_workers: processes that read.

    Returns:
        What each holds.
    """
    journal = scratch / JOURNAL
    known = dict(_written(journal))
    left = [path for path in paths if path not in known]
    pieces = [left[start : start + _AT_ONCE] for start in range(0, len(left), _AT_ONCE)]
    try:
        with journal.open("a", encoding="utf-8") as file, progress("checking ECGs", len(left), "recordings") as bar:
            for signals in in_order(partial(_look, root), pieces, num_workers if len(left) >= _MANY else 1):
                file.writelines(json.dumps([path, signal.value]) + "\n" for path, signal in signals)
                file.flush()
                known.update(signals)
                bar.advance(len(signals))
    except OSError as error:
        raise ArtifactError(f"cannot write {journal}: {error.strerror or error}; make room, then run again") from error
    return {path: known[path] for path in paths}


def is_there(path: Path) -> bool:
    """Whether there is such a file; what is too long to be a path is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def _written(journal: Path) -> Iterator[tuple[str, Signal]]:
    """What an earlier call found; a line that a kill cut off is passed over."""
    if not journal.is_file():
        return
    whole = journal.read_text(encoding="utf-8").rpartition("\n")[0]
    with journal.open("w", encoding="utf-8") as file:
        file.write(whole + "\n" * bool(whole))
    for line in whole.splitlines():
        path, signal = json.loads(line)
        yield path, Signal(signal)


def _look(root: Path, paths: Sequence[str]) -> list[tuple[str, Signal]]:
    return [(path, _signal(root / path)) for path in paths]


def _signal(record: Path) -> Signal:
    import numpy as np

    from pacx.modalities.ecg_signal.formats.wfdb import INVALID, PlainHeader, imported_wfdb

    header = Path(f"{record}.hea")
    if (plain := PlainHeader.of(header)) is not None:
        try:
            samples = plain.samples()
        except (OSError, ValueError):
            return Signal.UNREADABLE
        if samples.min() == INVALID:
            return Signal.INVALID
        is_zero = not (samples[0] != plain.baselines).any() and not (samples != plain.baselines).any()
        return Signal.ZERO if is_zero else Signal.GOOD  # the first samples tell of most
    if not is_there(header):
        return Signal.ABSENT
    try:
        values = imported_wfdb().rdrecord(str(record)).p_signal
    except Exception:  # a damaged header makes wfdb raise nearly anything
        return Signal.UNREADABLE
    if values is None or not values.size:
        return Signal.UNREADABLE
    if np.isnan(values).any():
        return Signal.INVALID
    return Signal.GOOD if values.any() else Signal.ZERO
