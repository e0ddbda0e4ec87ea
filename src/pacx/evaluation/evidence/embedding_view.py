"""Embeddings seen from where they spread most: two principal components, for a figure.

A picture of two components of hundreds, with the share of the variance they hold beside it; it measures nothing, and
two clouds that overlap in it may be far apart in the rest.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from pacx.core.errors import DataError, ModelError
from pacx.data.packs.pack import Pack
from pacx.evaluation.comparison import Comparison
from pacx.evaluation.probes.classification import label_column
from pacx.evaluation.results import ResultRow
from pacx.evaluation.statistics.bootstrap import Column, Float

PROTOCOL = "view"


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


@dataclass(frozen=True, kw_only=True)
class EmbeddingViews:
    """The same films as several encoders see them.

    Args:
        label: what colours them.
        truth: (N,) 1 / 0 / NaN of that label.
        views: by encoder.
    """

    label: str
    truth: NDArray[np.floating]
    views: Mapping[str, EmbeddingView]


def view_embeddings(
    pack: Pack, features: Mapping[str, NDArray[np.float32]], label: str, comparison: Comparison
) -> tuple[list[ResultRow], EmbeddingViews]:
    """The test films on components fitted to the training films; "" = coloured by their commonest label.

    Returns:
        Per encoder and component, the share of the training films' variance that the picture shows; and the picture.

    Raises:
        UsageError: there is no such label.
    """
    train, test = pack.rows("train"), pack.rows("test")
    chosen = label or pack.label_names[int(np.nansum(pack.labels[test], axis=0).argmax())]
    column = label_column(pack.label_names, chosen, f"pack {pack.path}")
    views = {name: embedding_view(array, train, test) for name, array in features.items()}
    maker = comparison.maker(PROTOCOL, 0)
    rows = [
        maker.row(Column(name, "explained_variance", share), share, label=f"component {number + 1}", n=len(train))
        for name, view in views.items()
        for number, share in enumerate(view.explained[:, None])
    ]
    return rows, EmbeddingViews(label=chosen, truth=pack.labels[test, column], views=views)
