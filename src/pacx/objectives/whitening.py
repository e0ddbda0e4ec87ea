"""A fixed, shrunk whitening of the film's embedding in front of the objectives: weak directions are heard as well.

`embeddings of the training films under the Stage 1 encoder -> mean, map -> what the objectives read`. Gradient descent
follows strong directions of an embedding first, and a short training ends before the weak ones count. The map makes
directions more alike, ``c (S + shrinkage * m I)^(-1/2) (z - mean)`` with ``S`` the covariance, ``m`` the mean of its
diagonal, and ``c`` such that the mean square of the training films stays what it was, so that a learning rate keeps its
meaning. It is part of the training alone: the released encoder gives ``z``.

Which shrinkage, the pairs say: one step of gradient descent on a linear head behind the map is a ridge on ``z`` with
the penalty ``shrinkage * m`` for each film, and the one is taken whose ridge predicts left-out patients best.
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pacx.core.errors import DataError
from pacx.models.linear.ridge import design, left_out_errors

SHRINKAGES = tuple(float(value) for value in 10.0 ** np.arange(-4, 2.01, 0.5))
"""What is tried: from next to full whitening to next to none."""

Array = NDArray[np.float64]


def whitening_map(embeddings: Array, shrinkage: float) -> tuple[Array, Array]:
    """Mean (D,) and symmetric map (D, D) of embeddings (N, D); whitened, an embedding is ``map @ (z - mean)``.

    Raises:
        DataError: all embeddings are the same, so that there is nothing to whiten.
    """
    mean = embeddings.mean(0)
    values, vectors = np.linalg.eigh(np.cov(embeddings, rowvar=False, bias=True).reshape(len(mean), len(mean)))
    level = values.mean()
    # relative to the embedding itself: what is left of equal rows is rounding
    if not level > 1e-12 * np.square(embeddings).mean():
        raise DataError(
            f"all {len(embeddings)} training films have the same embedding, so it cannot be whitened; leave whitening "
            "out or give an encoder that tells films apart"
        )
    variances = np.maximum(values, 0)
    scales = (variances + shrinkage * level) ** -0.5
    size = np.sqrt(np.square(embeddings).sum(1).mean() / (variances * scales**2).sum())
    return mean, size * (vectors * scales) @ vectors.T


def left_out_error(embeddings: Array, targets: Array, patients: NDArray[np.int64], shrinkages: Array) -> Array:
    """How badly a ridge predicts the targets of patients that it was fitted without, for each shrinkage.

    Args:
        embeddings: (N, D).
        targets: (N, T).
        patients: (N,), whose film it is; all films of a patient are left out together.
        shrinkages: (K,); the ridge's penalty, for each film, is that many times the mean variance of a direction.

    Returns:
        (K,): the sum of squared errors over that of the mean target; 1 where nothing is predicted, or nothing varies.

    Raises:
        DataError: there are fewer than two patients.
    """
    films = design(embeddings, patients, standardize=False)
    level = np.square(films.singular).sum() / embeddings.size
    spread = np.square(targets - targets.mean(0)).sum()
    if not spread > 1e-12 * np.square(targets).sum():  # what is left of equal rows is rounding
        return np.ones(len(shrinkages))
    errors = [np.square(left_out_errors(films, targets, float(each * level))).sum() for each in shrinkages]
    return np.array(errors) / spread


def chosen_shrinkage(
    embeddings: Array,
    targets: Mapping[str, Array],
    observed: Mapping[str, NDArray[np.bool_]],
    patients: NDArray[np.int64],
) -> tuple[float, float]:
    """The shrinkage whose ridge predicts left-out patients best, every modality counting alike, and its error.

    Args:
        embeddings: (N, D).
        targets: by modality (N, T_m).
        observed: by modality bool (N,), which films have the target.
        patients: (N,), whose film it is.

    Returns:
        One of ``SHRINKAGES``, and the mean over modalities of ``left_out_error`` there.
    """
    tried = np.array(SHRINKAGES)
    errors = [
        left_out_error(embeddings[has], targets[name][has], patients[has], tried) for name, has in observed.items()
    ]
    mean = np.mean(errors, axis=0)
    # of equals the larger one, which whitens less
    best = len(tried) - 1 - int(np.argmin(mean[::-1]))
    return SHRINKAGES[best], float(mean[best])


class Whitening(nn.Module):
    """The map, as buffers that a checkpoint carries; unusable (NaN) until it is set.

    Args:
        width: of the embedding.
    """

    mean: Tensor
    map: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full((width,), torch.nan))
        self.register_buffer("map", torch.full((width, width), torch.nan))

    def set(self, embeddings: Array, shrinkage: float) -> None:
        """Take the statistics of the training films' embeddings (N, D).

        Raises:
            DataError: all embeddings are the same.
        """
        mean, matrix = whitening_map(embeddings, shrinkage)
        self.mean.copy_(torch.from_numpy(mean))
        self.map.copy_(torch.from_numpy(matrix))

    def forward(self, embedding: Tensor) -> Tensor:
        """(B, D) to (B, D), float32 at least."""
        with torch.autocast(embedding.device.type, enabled=False):  # weak directions are lost in half precision
            wide = embedding.to(torch.promote_types(embedding.dtype, torch.float32))
            return (wide - self.mean.to(wide.dtype)) @ self.map.to(wide.dtype)
