"""MATLAB files as PhysioNet's challenges have them, without their headers: ``val`` (12, T) in whole microvolts.

By themselves they say neither rate nor unit nor leads.
"""

from pathlib import Path

import numpy as np
from scipy.io import savemat

from pacx.simulation.signals.ecg_files.writer import EcgWriter, Tracing


class MatWriter(EcgWriter):
    """Writes MATLAB files of version 5."""

    suffix = ".mat"
    step_mv = 1e-3

    def save(self, path: Path, tracing: Tracing) -> None:
        """One array; the file's first line says nothing of the day it was written."""
        savemat(path, {"val": np.stack(list(tracing.counts(self.step_mv).values()))})
        with path.open("r+b") as file:
            file.write(b"MATLAB 5.0 MAT-file".ljust(116))


WRITER = MatWriter()
