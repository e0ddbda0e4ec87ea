"""Recordings as WFDB records: a header of one line per lead, and 16-bit samples lead by lead within each instant."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_STEPS_PER_MV = 200
_INVALID = -(2**15)
"""What stands for a sample that the device marked as invalid."""


def save_wfdb(stem: Path, millivolt: NDArray[np.floating], leads: Sequence[str], sample_rate_hz: int) -> None:
    """Write ``stem.hea`` and ``stem.dat``, with their folder.

    Args:
        stem: the record without an ending.
        millivolt: (leads, T); NaN is a sample that the device marked as invalid.
        leads: names of the rows.
        sample_rate_hz: samples per second.

    Source: WFDB header file format, signal format 16.
    """
    steps = np.where(np.isnan(millivolt), _INVALID, np.rint(np.nan_to_num(millivolt) * _STEPS_PER_MV)).astype("<i2")
    lines = [f"{stem.name} {len(leads)} {sample_rate_hz} {steps.shape[1]}"]
    for lead, samples in zip(leads, steps, strict=True):
        checksum = int(samples.sum(dtype=np.int64).astype(np.int16))
        lines.append(f"{stem.name}.dat 16 {_STEPS_PER_MV}(0)/mV 16 0 {samples[0]} {checksum} 0 {lead}")
    stem.parent.mkdir(parents=True, exist_ok=True)
    stem.with_name(f"{stem.name}.dat").write_bytes(np.ascontiguousarray(steps.T).tobytes())
    stem.with_name(f"{stem.name}.hea").write_text("\n".join(lines) + "\n")
