"""HDF5 as CODE-15 % has it: ``tracings`` (N, 4096, 12) at 400 Hz and ``exam_id`` (N,).

Shorter exams are padded with zeros at both ends; nothing was recorded there. The makers say that values are "at the
scale 1e-4V" and then what would make them millivolts; by their size they are millivolts, and are read as such unless
somebody says otherwise. Files of that shape without ``exam_id`` (CODE-test, SaMi-Trop) differ in the order of aVR, aVL
and aVF, so that their leads have to be said.

Source: zenodo.org/record/4916206 and 3765780; antonior92/automatic-ecg-diagnosis.
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pacx.core.host import require_memory
from pacx.core.vocabulary import ECG_LEADS
from pacx.modalities.ecg_signal.ecg_file import EcgFormat, StoredEcgs
from pacx.modalities.ecg_signal.facts import EcgFacts, EcgUnit, UnusableError
from pacx.modalities.ecg_signal.record import EcgRecord, Window

if TYPE_CHECKING:
    import h5py

_MAGIC = b"\x89HDF\r\n\x1a\n"
_TRACINGS, _EXAM_ID = "tracings", "exam_id"
_RATE_HZ = 400.0
_NOTE = "the unit is not said in the file and contradicts itself in its description; read as {}"


class Hdf5(EcgFormat):
    """Many recordings in one file, each read for itself."""

    title = "HDF5 tracings file"

    def recognises(self, head: bytes, path: Path) -> bool:
        """By the magic number and the dataset's name; what is cut off tells no name and counts as one."""
        if not head.startswith(_MAGIC):
            return False
        import h5py

        try:
            with h5py.File(path, "r") as file:
                return isinstance(file.get(_TRACINGS), h5py.Dataset)
        except (OSError, RuntimeError, ValueError):
            return True

    def open(self, path: Path, facts: EcgFacts) -> StoredEcgs:
        """Open the file and read the ids."""
        import h5py

        file = h5py.File(path, "r")
        try:
            return _Tracings(file, path.stem, facts)
        except BaseException:
            file.close()
            raise


class _Tracings(StoredEcgs):
    """The open file."""

    def __init__(self, file: "h5py.File", stem: str, facts: EcgFacts) -> None:
        self._file, self._tracings = file, file[_TRACINGS]
        shape = self._tracings.shape
        if len(shape) != 3 or shape[2] != len(ECG_LEADS) or self._tracings.dtype.kind not in "iuf":
            raise UnusableError("holds tracings of another shape than (exams, samples, 12)")
        has_ids = _EXAM_ID in file
        ids = np.atleast_1d(file[_EXAM_ID][()]) if has_ids else np.arange(shape[0])
        if len(ids) != shape[0]:
            raise UnusableError("has another number of ids than of tracings; fetch it again")
        keys = [each.decode() if isinstance(each, bytes) else str(each) for each in ids.tolist()]
        self._rows = {key if has_ids else f"{stem}-{key}": row for row, key in enumerate(keys)}
        if len(self._rows) < len(keys):
            raise UnusableError("has an exam_id more than once; fetch it again")
        self.keys = tuple(self._rows)
        self._known = facts.behind(
            facts.rate_hz or _RATE_HZ,
            facts.unit or EcgUnit.MILLIVOLT,
            facts.leads or (ECG_LEADS if has_ids else ()),
        )

    def read(self, key: str, window: Window) -> EcgRecord:
        """One row, or a part of it."""
        row, (num_stored, _) = self._rows[key], self._tracings.shape[1:]
        wanted = window.within(num_stored)
        num_values = max(self._tracings.shape[2] * (wanted.stop - wanted.start), math.prod(self._tracings.chunks or ()))
        require_memory(4 * np.dtype(np.float64).itemsize * num_values, "the samples of a tracing")
        stored = np.asarray(self._tracings[row, wanted], np.float64).T
        unit = self._known.unit
        return EcgRecord(
            signals=without_padding(stored) * unit.millivolts,
            stored_leads=self._known.leads,
            rate_hz=self._known.rate_hz,
            num_stored=num_stored,
            is_millivolt=unit is not EcgUnit.RELATIVE,
            notes=(_NOTE.format(unit.value),),
        )

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def without_padding(signals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Signals (leads, T) with NaN where all leads are 0 from the beginning or to the end."""
    recorded = np.flatnonzero((signals != 0).any(axis=0))
    first, last = (recorded[0], recorded[-1]) if recorded.size else (signals.shape[1], -1)
    padded = signals.copy()
    padded[:, :first] = np.nan
    padded[:, last + 1 :] = np.nan
    return padded


FORMAT = Hdf5()
