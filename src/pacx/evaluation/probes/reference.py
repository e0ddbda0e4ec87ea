"""Where an encoder's embeddings usually lie, fitted to a pack: mean and shrunk covariance, and how far others lie out.

`embeddings of training and of other patients -> Reference`. The covariance of D numbers from few films is shrunk
towards a sphere, or its inverse would measure chance. Distances of the training films themselves are too small to
compare with, so the percentiles come from the validation patients.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf

from pacx.core.errors import DataError
from pacx.models.heads.reference import Reference

_FEWEST = 99
_MOST_HELD_OUT = 10_000


def fit_reference(training: NDArray[np.float32], held_out: NDArray[np.float32], *, fitted_on: str) -> Reference:
    """Fit a reference.

    Args:
        training: embeddings (N, D) that mean and covariance come from.
        held_out: embeddings (M, D) of other patients that the percentiles come from; at most 10,000 are used.
        fitted_on: which films, in words.

    Raises:
        DataError: too few held-out films for a 99th percentile, or too few training films.

    Source: Ledoit and Wolf 2004, "A well-conditioned estimator for large-dimensional covariance matrices".
    """
    if len(training) < 2 or len(held_out) < _FEWEST:
        raise DataError(
            f"a reference needs at least 2 training films and {_FEWEST} validation films, {fitted_on} has "
            f"{len(training)} and {len(held_out)}; take a larger pack"
        )
    fitted = LedoitWolf().fit(training.astype(np.float64))
    reference = Reference(
        mean=fitted.location_,
        factor=np.linalg.cholesky(fitted.precision_),
        held_out=np.empty(0),
        fitted_on=fitted_on,
    )
    distances = np.sort(reference.distances(held_out[:_MOST_HELD_OUT]))
    return Reference(mean=reference.mean, factor=reference.factor, held_out=distances, fitted_on=fitted_on)
