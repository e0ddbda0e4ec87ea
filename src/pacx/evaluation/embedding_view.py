"""Embeddings seen from where they spread most: two principal components, for a figure.

A picture of two components of hundreds, with the share of the variance they hold beside it; it measures nothing, and
two clouds that overlap in it may be far apart in the rest.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from pacx.core.errors import DataError, ModelError
from pacx.evaluation.statistics import Float


@dataclass(frozen=True, kw_only=True)
class EmbeddingView:
    """Where films lie on the first two principal components.

    Args:
        coordinates: (N, 2).
        explained: (2,) shares of the fitted films' variance, in [0, 1].
    """

    coordinates: Float
    explained: Float


def embedding_view(features: NDArray[np.float32], fitted: NDArray[np.int64], shown: NDArray[np.int64]) -> EmbeddingView:
    """Fit the components on some films and place others on them.

    Args:
        features: float32 (N, D).
        fitted: rows the components are fitted on (the training split, so that test films cannot turn the picture).
        shown: rows to be placed, in the order of the coordinates.

    Raises:
        ModelError: an embedding is not finite.
        DataError: fewer than three films to fit, or one dimension only.
    """
    if not np.isfinite(features).all():
        bad = int((~np.isfinite(features)).any(axis=1).sum())
        raise ModelError(f"{bad} of {len(features)} embeddings hold NaN or infinity; embed the pack again")
    if len(fitted) < 3 or features.shape[1] < 2:
        raise DataError(
            f"{len(fitted)} films of {features.shape[1]} dimensions to fit a view on; expected at least 3 of 2"
        )
    model = PCA(n_components=2, svd_solver="full").fit(features[fitted].astype(np.float64))
    return EmbeddingView(
        coordinates=model.transform(features[shown].astype(np.float64)), explained=model.explained_variance_ratio_
    )
