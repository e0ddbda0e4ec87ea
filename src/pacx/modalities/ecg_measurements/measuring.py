"""Recordings to a table of measures, a few at a time, in as many processes as wanted.

`prepared recordings -> pieces -> measured (other processes) -> rows in order`. A recording on which nothing can be
measured is left out by name. Imports no torch, so that a process starts quickly.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pacx.core.quarantine import Quarantined
from pacx.core.workers import in_order
from pacx.modalities.ecg_measurements.heartbeats import Values
from pacx.modalities.ecg_measurements.measures import ECG_MEASURES, measured
from pacx.modalities.ecg_signal.facts import UnusableError

Piece = tuple[Sequence[str], NDArray[np.float32], float]
"""Ids, signals (n, 12, T) in mV and their rate in Hz."""


class MeasuredPiece(NamedTuple):
    """What became of some recordings.

    Args:
        sample_ids: of those that could be measured.
        values: (n, Q) in the order of ``ECG_MEASURES``; NaN = not measured.
        quarantined: the others.
    """

    sample_ids: tuple[str, ...]
    values: Values
    quarantined: tuple[Quarantined, ...]


def measured_pieces(pieces: Iterable[Piece], num_workers: int) -> Iterable[MeasuredPiece]:
    """Measure recordings in order.

    Args:
        pieces: filtered recordings, some at a time.
        num_workers: processes; 1 stays in this one. Never changes a bit.
    """
    return in_order(_measured_piece, pieces, num_workers)


def _measured_piece(piece: Piece) -> MeasuredPiece:
    """Measure a piece; a function of a module, so that other processes can be asked for it."""
    ids: list[str] = []
    rows: list[Values] = []
    bad: list[Quarantined] = []
    for sample_id, signals in zip(piece[0], piece[1], strict=True):
        try:
            rows.append(measured(signals, piece[2]))
        except UnusableError as reason:
            bad.append(Quarantined(sample_id=sample_id, reason=str(reason)))
            continue
        ids.append(sample_id)
    return MeasuredPiece(tuple(ids), np.reshape(rows, (len(rows), len(ECG_MEASURES))), tuple(bad))
