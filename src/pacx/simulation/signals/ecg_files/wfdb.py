"""WFDB: a header and a file of 16-bit samples, lead by lead within each sample; 1 uV a step."""

from pathlib import Path

import numpy as np

from pacx.simulation.signals.ecg_files.writer import OneEcgWriter, Tracing

_STEPS_PER_MV = 1000


class WfdbWriter(OneEcgWriter):
    """Writes WFDB records; the path to open is the header's."""

    suffix = ".hea"
    step_mv = 1 / _STEPS_PER_MV

    def save(self, path: Path, tracing: Tracing) -> None:
        """One record in two files."""
        counts = tracing.counts(self.step_mv)
        samples = path.with_suffix(".dat")
        size = f"{len(counts)} {tracing.rate_hz} {tracing.num_samples}"
        lines = [f"{path.stem} {size} {tracing.started:%H:%M:%S %d/%m/%Y}"]
        for lead, values in counts.items():
            checksum = int(values.sum(dtype=np.int64)) % 2**16
            lines.append(f"{samples.name} 16 {_STEPS_PER_MV}(0)/mV 16 0 {values[0]} {checksum} 0 {lead}")
        path.write_text("\n".join(lines) + "\n", newline="\n")
        samples.write_bytes(np.stack(list(counts.values()), axis=1).astype("<i2").tobytes())


WRITER = WfdbWriter()
