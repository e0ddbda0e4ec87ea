"""WFDB: a header of a line per lead, and 16-bit samples lead by lead within each instant; 1 uV a step.

Source: WFDB header file format, signal format 16.
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pacx.core.vocabulary import ECG_LEADS
from pacx.simulation.signals.ecg_files.writer import EcgWriter, Tracing

_INVALID = -(2**15)
"""What stands for a sample that the device marked as invalid."""


class WfdbWriter(EcgWriter):
    """Writes WFDB records; the path to open is the header's."""

    suffix = ".hea"
    step_mv = 1e-3

    def save(self, path: Path, tracing: Tracing) -> None:
        """One record in two files."""
        stem, rate_hz, started = path.with_suffix(""), tracing.rate_hz, tracing.started
        save_wfdb(stem, tracing.millivolts, ECG_LEADS, rate_hz, steps_per_mv=1000, started=started)


def save_wfdb(
    stem: Path,
    millivolt: NDArray[np.floating],
    leads: Sequence[str],
    sample_rate_hz: int,
    *,
    steps_per_mv: int = 200,
    started: datetime | None = None,
) -> None:
    """Write ``stem.hea`` and ``stem.dat``, with their folder.

    Args:
        stem: the record without an ending.
        millivolt: (leads, T); NaN is a sample that the device marked as invalid.
        leads: names of the rows.
        sample_rate_hz: samples per second.
        steps_per_mv: steps of the stored numbers in a millivolt.
        started: when the first sample was taken, where the header says it.
    """
    whole = np.rint(np.nan_to_num(millivolt.astype(np.float64)) * steps_per_mv).clip(_INVALID + 1, -_INVALID - 1)
    steps = np.where(np.isnan(millivolt), _INVALID, whole).astype("<i2")
    moment = f" {started:%H:%M:%S %d/%m/%Y}" if started else ""
    lines = [f"{stem.name} {len(leads)} {sample_rate_hz} {steps.shape[1]}{moment}"]
    for lead, samples in zip(leads, steps, strict=True):
        checksum = int(samples.sum(dtype=np.int64).astype(np.int16))
        lines.append(f"{stem.name}.dat 16 {steps_per_mv}(0)/mV 16 0 {samples[0]} {checksum} 0 {lead}")
    stem.parent.mkdir(parents=True, exist_ok=True)
    stem.with_name(f"{stem.name}.dat").write_bytes(np.ascontiguousarray(steps.T).tobytes())
    stem.with_name(f"{stem.name}.hea").write_text("\n".join(lines) + "\n", newline="\n")


WRITER = WfdbWriter()
