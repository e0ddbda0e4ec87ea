"""HDF5 as CODE-15 % has it: 400 samples a second, ten seconds in the middle of 4,096 samples, zeros around them.

``tracings`` are (exams, 4096, 12) single precision in millivolts, ``exam_id`` names their rows, ``exams.csv`` the
patients. Recordings of another rate are resampled; when they began is lost.
"""

from collections.abc import Iterable, Iterator
from math import gcd
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.signal import resample_poly

from pacx.core.vocabulary import ECG_LEADS
from pacx.simulation.signals.ecg_files.writer import EcgWriter, Tracing

_RATE_HZ = 400
_NUM_SAMPLES = 4096
_FILE = "exams_part0.hdf5"


class Hdf5Writer(EcgWriter):
    """Writes one file of all exams."""

    suffix = ".hdf5"
    step_mv = 2.0**-20
    """Of single precision up to 8 mV."""

    def write(self, folder: Path, tracings: Iterable[tuple[str, Tracing]]) -> dict[str, str]:
        """All recordings in one file, by a number: that which ends their name, or their row."""
        exams: dict[str, int] = {}
        patients: list[str] = []

        def rows() -> Iterator[tuple[int, Tracing]]:
            for row, (name, tracing) in enumerate(tracings):
                stem = name.rpartition("/")[2]
                exams[name] = int(stem) if stem.isdigit() else row
                patients.append(tracing.patient_id)
                yield exams[name], tracing

        _save(folder / _FILE, rows())
        table = {"exam_id": list(exams.values()), "patient_id": patients, "trace_file": _FILE}
        pd.DataFrame(table).to_csv(folder / "exams.csv", index=False, lineterminator="\n")
        return {name: f"{_FILE}#{exam}" for name, exam in exams.items()}

    def save(self, path: Path, tracing: Tracing) -> None:
        """A file of one exam, number 0."""
        _save(path, [(0, tracing)])


def _save(path: Path, exams: Iterable[tuple[int, Tracing]]) -> None:
    with h5py.File(path, "w", track_order=False) as file:
        shape = (_NUM_SAMPLES, len(ECG_LEADS))
        stored = file.create_dataset("tracings", (0, *shape), np.float32, maxshape=(None, *shape), chunks=(1, *shape))
        ids = []
        for row, (exam, tracing) in enumerate(exams):
            ids.append(exam)
            stored.resize(row + 1, axis=0)
            stored[row] = _in_the_middle(tracing).T
        file.create_dataset("exam_id", data=np.array(ids, np.int64))


def _in_the_middle(tracing: Tracing) -> NDArray[np.float32]:
    """(12, 4096): zeros before and after what was recorded; of a longer recording its middle."""
    signals = tracing.millivolts
    if tracing.rate_hz != _RATE_HZ:
        common = gcd(_RATE_HZ, tracing.rate_hz)
        up, down = _RATE_HZ // common, tracing.rate_hz // common
        signals = resample_poly(signals.astype(np.float64), up, down, axis=1).astype(np.float32)
    spare = max(signals.shape[1] - _NUM_SAMPLES, 0)
    kept = signals[:, spare // 2 : spare // 2 + _NUM_SAMPLES]
    before = (_NUM_SAMPLES - kept.shape[1]) // 2
    return np.pad(kept, ((0, 0), (before, _NUM_SAMPLES - kept.shape[1] - before)))


WRITER = Hdf5Writer()
