"""Which rows of a Symile-MIMIC array are samples: one per admission, candidates of the retrieval task left out.

The files of one split lie side by side: ``ecg_<split>.npy``, ``labs_percentiles_<split>.npy``, ``hadm_id_<split>.npy``.
In the splits ``test`` and ``val_retrieval`` every admission is repeated as a wrong answer to others; only rows with
``label_<split>.npy`` equal to 1 are samples (464 of 4,640 in test).

Source: rajesh-lab/symile, data_processing/symile_mimic.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pacx.core.errors import DataError


def mapped(npy: Path) -> NDArray[Any]:
    """Memory-map an array.

    Raises:
        DataError: it is no readable .npy file.
    """
    try:
        return np.load(npy, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{npy} is not a readable .npy array; write it again") from error


def companion(npy: Path, what: str, other: str) -> Path:
    """The file beside ``what_<split>.npy`` that holds ``other`` of the same split.

    Raises:
        DataError: the name is not Symile's, so nobody knows the split.
    """
    if not npy.name.startswith(f"{what}_"):
        raise DataError(f"{npy} is not named {what}_<split>.npy as Symile-MIMIC names it; give that file")
    return npy.with_name(npy.name.replace(what, other, 1))


def admissions(npy: Path, what: str) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Admission ids of a split's samples, and their rows in ``what_<split>.npy``.

    Raises:
        DataError: ``hadm_id_<split>.npy`` is missing, or an admission is a sample twice.
    """
    ids = mapped(companion(npy, what, "hadm_id"))
    labels = companion(npy, what, "label")
    rows = np.flatnonzero(mapped(labels) == 1) if labels.exists() else np.arange(len(ids))
    return tuple(str(hadm_id) for hadm_id in ids[rows]), rows
