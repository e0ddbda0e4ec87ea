"""Whitening: linear maps after which no direction is larger than another.

Of targets by principal components, without those that hold rounding. Of features shrunk, so that directions in which
films hardly differ are not blown up beyond what they are worth; how far is found by leaving patients out. Singular
covariances, constant and repeated columns are harmless.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pacx.core.errors import DataError
from pacx.models.linear.ridge import PENALTIES, design, shared_penalty

Float = NDArray[np.float64]

_SMALLEST_DEVIATION = 1e-3
"""Of the largest component's; below, an embedding holds rounding and what no encoder was taught."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Whitening:
    """A linear map (values - mean) @ matrix.

    Attributes:
        mean: (D,).
        matrix: (D, K).
        shrinkage: what was added to each direction's variance, in mean variances; 0 of principal components.
    """

    mean: Float
    matrix: Float
    shrinkage: float = 0.0

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


def shrunk_whitening(features: ArrayLike, shrinkage: float) -> Whitening:
    """Standardize features, then divide each of their principal directions by sqrt(variance + shrinkage).

    The variances of standardized features are 1 on average. The map is symmetric but for the scales: of all whitenings
    the one that leaves each feature most like itself. With shrinkage 0 directions without variance are left out; the
    larger the shrinkage, the more it is a common factor and whitens nothing.

    Args:
        features: (N, D); a constant one becomes 0.
        shrinkage: 0 or more, in mean variances.

    Raises:
        DataError: a feature is not finite, or the shrinkage is below 0.

    Source: Kessy, Lewin and Strimmer 2018, ZCA-cor whitening; the shrinkage is ridge's.
    """
    array = _finite(features)
    if not 0 <= shrinkage < np.inf:
        raise DataError(f"shrinkage is {shrinkage}; give 0 or more")
    films = design(array, np.arange(len(array)))
    divisor = np.sqrt(films.singular**2 / len(array) + shrinkage)  # (r,)
    matrix = films.scale[:, None] * (films.right.T / divisor) @ films.right
    return Whitening(mean=films.mean, matrix=matrix, shrinkage=shrinkage)


def whitening_by_leave_one_out(
    features: ArrayLike, targets: ArrayLike, patient_ids: ArrayLike, penalties: Sequence[float] = PENALTIES
) -> Whitening:
    """``shrunk_whitening`` with the shrinkage under which ridge predicts most of the targets of patients left out.

    Ridge with penalty p divides a direction of variance v by v + p: whatever it pays to hold back there is noise here.

    Args:
        features: (N, D) of the films.
        targets: (N, T) of the same films; they are whitened by principal components first, so that none outweighs.
        patient_ids: (N,); all films of a patient are left out together.
        penalties: to choose from, in mean variances.

    Raises:
        DataError: something is not finite, lengths differ, or there are fewer than two patients.
    """
    films, values = design(features, patient_ids), _finite(targets)
    if len(values) != films.num_films:
        raise DataError(f"{len(values)} rows of targets for {films.num_films} films; give one row per film")
    return shrunk_whitening(features, shared_penalty(films, principal_whitening(values)(values), penalties))


def _finite(values: ArrayLike) -> Float:
    array = np.asarray(values, np.float64)
    if array.ndim != 2 or len(array) < 2 or not np.isfinite(array).all():
        raise DataError(f"values of shape {array.shape} cannot be whitened; give two finite rows or more")
    return array
