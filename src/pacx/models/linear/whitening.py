"""Whitening of targets: a linear map after which no direction is larger than another.

By principal components, without those that hold rounding. Singular covariances, constant and repeated columns are
harmless. Films' embeddings are whitened where gradients learn from them (``pacx.objectives.whitening``).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pacx.core.errors import DataError

Float = NDArray[np.float64]

_SMALLEST_DEVIATION = 1e-3
"""Of the largest component's; below, an embedding holds rounding and what no encoder was taught."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Whitening:
    """A linear map (values - mean) @ matrix.

    Attributes:
        mean: (D,).
        matrix: (D, K).
    """

    mean: Float
    matrix: Float

    def __call__(self, values: ArrayLike) -> Float:
        """Whitened (N, K) of values (N, D)."""
        return (np.asarray(values, np.float64) - self.mean) @ self.matrix


def principal_whitening(values: ArrayLike, most: int | None = None) -> Whitening:
    """The leading principal components, each brought to variance 1 (over N).

    Args:
        values: (N, D).
        most: components to keep at most; never more than N - 1 are there.

    Raises:
        DataError: a value is not finite, or nothing varies.

    Source: Kessy, Lewin and Strimmer 2018, "Optimal whitening and decorrelation", PCA whitening.
    """
    array = _finite(values)
    mean = array.mean(axis=0)
    _, singular, right = np.linalg.svd(array - mean, full_matrices=False)
    # of all columns together: a constant one's rounding must not pass where nothing varies
    rounding = 1e-7 * np.sqrt((array**2).sum())
    is_there = singular > max(_SMALLEST_DEVIATION * singular.max(initial=0.0), rounding)
    kept = np.flatnonzero(is_there)[: len(array) - 1][:most]
    if len(kept) == 0:
        raise DataError(f"{len(array)} rows of {array.shape[1]} values do not vary; give targets that differ")
    return Whitening(mean=mean, matrix=right[kept].T * (np.sqrt(len(array)) / singular[kept]))


def _finite(values: ArrayLike) -> Float:
    array = np.asarray(values, np.float64)
    if array.ndim != 2 or len(array) < 2 or not np.isfinite(array).all():
        raise DataError(f"values of shape {array.shape} cannot be whitened; give two finite rows or more")
    return array
