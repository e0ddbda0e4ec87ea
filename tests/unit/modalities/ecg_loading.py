"""The recordings of a source in memory, for tests that compare what was read."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pacx.core.errors import DataError
from pacx.core.quarantine import Quarantined
from pacx.modalities.ecg_signal.ecg_file import EcgRef
from pacx.modalities.ecg_signal.readers import ecg_sources
from pacx.modalities.ecg_signal.sources import EcgFiles, EcgSource


class Loaded(NamedTuple):
    sample_ids: tuple[str, ...]
    patient_ids: list[str]
    signals: list[np.ndarray]
    rates_hz: list[float]
    quarantined: list[Quarantined]


def loaded(source: EcgSource) -> Loaded:
    """The twelve leads of every recording that can be read, as they are read."""
    rows = np.arange(len(source.sample_ids))
    found = Loaded((), [], [], [], [])
    ids = []
    for sample_id, record in zip(source.sample_ids, source.piece(rows).records(10.0), strict=True):
        if isinstance(record, str):
            found.quarantined.append(Quarantined(sample_id=sample_id, reason=record))
            continue
        ids.append(sample_id)
        found.patient_ids.append(record.patient_id or sample_id)
        found.signals.append(record.twelve())
        found.rates_hz.append(record.rate_hz)
    return found._replace(sample_ids=tuple(ids))


def read_sources(paths: Sequence[Path]) -> EcgFiles:
    return ecg_sources([EcgRef.parse(path) for path in paths])


def read_ecgs(paths: Sequence[Path]) -> Loaded:
    """``loaded``, where every recording has to be readable."""
    read = loaded(read_sources(paths))
    if read.quarantined:
        raise DataError(str(read.quarantined[0]))
    return read
