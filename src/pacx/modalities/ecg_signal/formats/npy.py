"""numpy arrays: ours with a JSON file beside it, Symile-MIMIC's, and a bare one of which somebody says what it is."""

import re
from collections.abc import Iterable
from pathlib import Path

from pacx.core.vocabulary import ECG_LEADS
from pacx.modalities.ecg_signal.arrays import described_array, symile_array
from pacx.modalities.ecg_signal.ecg_file import EcgFormat, StoredEcgs
from pacx.modalities.ecg_signal.facts import EcgFacts, EcgUnit
from pacx.modalities.ecg_signal.record import EcgRecord, Window, leads_first
from pacx.modalities.ecg_signal.recordings import EcgRecordings
from pacx.modalities.symile import companion, mapped

_SHAPE = re.compile(rb"'shape': \(([\d, ]+)\)")


class Npy(EcgFormat):
    """One array of one recording or many; it stays memory-mapped."""

    title = "numpy array"

    def recognises(self, head: bytes, path: Path) -> bool:
        """By its magic number, and that it has an axis of twelve or a description beside it."""
        shape = _SHAPE.search(head) if head.startswith(b"\x93NUMPY") else None
        if not shape:
            return False
        return len(ECG_LEADS) in map(int, shape[1].strip(b" ,").split(b",")) or path.with_suffix(".json").is_file()

    def parts(self, path: Path) -> Iterable[Path]:
        """The description; of Symile-MIMIC's the ids and labels of the split."""
        symile = [companion(path, "ecg", other) for other in ("hadm_id", "label")] if _is_symile(path) else []
        return [path.with_suffix(".json"), *symile]

    def open(self, path: Path, facts: EcgFacts) -> StoredEcgs:
        """Map the array; its JSON file or its makers say what it is, otherwise ``facts``."""
        if path.with_suffix(".json").is_file():
            return _Array(described_array(path, path.with_suffix(".json")))
        if _is_symile(path):
            return _Array(symile_array(path))
        known = facts.behind()
        array = mapped(path)
        ids = tuple(f"{path.stem}-{row}" for row in range(len(array))) if array.ndim == 3 else ("",)
        signals = leads_first(array if array.ndim == 3 else array[None])
        return _Array(EcgRecordings(ids, signals, known.leads, known.rate_hz, known.unit))


def _is_symile(path: Path) -> bool:
    return path.name.startswith("ecg_") and companion(path, "ecg", "hadm_id").is_file()


class _Array(StoredEcgs):
    """Recordings of one array, each taken from the disk when it is read."""

    def __init__(self, recordings: EcgRecordings) -> None:
        self._recordings = recordings
        self._rows = {sample_id: row for row, sample_id in enumerate(recordings.sample_ids)}
        self.keys = recordings.sample_ids

    def read(self, key: str, window: Window) -> EcgRecord:
        """One row; an array of whole microvolts has steps of one."""
        stored, row = self._recordings, self._rows[key]
        wanted = window.within(stored.signals.shape[2])
        factor = stored.unit.millivolts
        patient = stored.patient_ids[row]
        return EcgRecord(
            signals=stored.signals[row][:, wanted] * factor,
            stored_leads=stored.leads,
            rate_hz=stored.sample_rate_hz,
            num_stored=stored.signals.shape[2],
            resolution_mv=(None if stored.signals.dtype.kind == "f" else factor,) * len(stored.leads),
            is_millivolt=stored.unit is not EcgUnit.RELATIVE,
            patient_id=patient if patient != key else "",
        )


FORMAT = Npy()
