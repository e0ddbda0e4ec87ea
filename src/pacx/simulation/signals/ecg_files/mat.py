"""MATLAB files as CPSC 2018 has them: a structure ``ECG`` with ``sex``, ``age`` and ``data`` (12, T) in millivolts.

They do not say their rate, which is 500 samples a second.
"""

from pathlib import Path

import numpy as np
from scipy.io import savemat

from pacx.simulation.signals.ecg_files.writer import OneEcgWriter, Tracing


class MatWriter(OneEcgWriter):
    """Writes MATLAB files of version 5."""

    suffix = ".mat"
    step_mv = 1e-3

    def save(self, path: Path, tracing: Tracing) -> None:
        """One structure; the file's first line says nothing of the day it was written."""
        counts = np.stack(list(tracing.counts(self.step_mv).values()))
        savemat(path, {"ECG": {"sex": "Unknown", "age": 0, "data": counts * self.step_mv}})
        content = bytearray(path.read_bytes())
        content[:116] = b"MATLAB 5.0 MAT-file".ljust(116)
        path.write_bytes(bytes(content))


WRITER = MatWriter()
