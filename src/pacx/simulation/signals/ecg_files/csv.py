"""A table with a row a sample: a column of times in seconds, and one a lead in whole microvolts."""

from pathlib import Path

import numpy as np
import pandas as pd

from pacx.simulation.signals.ecg_files.writer import EcgWriter, Tracing


class CsvWriter(EcgWriter):
    """Writes tables whose header says leads and units."""

    suffix = ".csv"
    step_mv = 1e-3

    def save(self, path: Path, tracing: Tracing) -> None:
        """One table."""
        times = [f"{row / tracing.rate_hz:.4f}" for row in np.arange(tracing.num_samples)]
        leads = {f"{lead} [uV]": counts for lead, counts in tracing.counts(self.step_mv).items()}
        pd.DataFrame({"time [s]": times, **leads}).to_csv(path, index=False, lineterminator="\n")


WRITER = CsvWriter()
