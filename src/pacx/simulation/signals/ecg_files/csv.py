"""A table with a column a lead and a row a sample, in whole microvolts; it does not say its rate or unit."""

from pathlib import Path

import pandas as pd

from pacx.simulation.signals.ecg_files.writer import OneEcgWriter, Tracing


class CsvWriter(OneEcgWriter):
    """Writes tables, as the Chapman-Shaoxing database has them."""

    suffix = ".csv"
    step_mv = 1e-3

    def save(self, path: Path, tracing: Tracing) -> None:
        """One table."""
        pd.DataFrame(tracing.counts(self.step_mv)).to_csv(path, index=False, lineterminator="\n")


WRITER = CsvWriter()
