"""Regularised canonical correlations: the directions in which films and targets vary together.

`design of films, design of targets -> pairs of directions, best first`. Both sides are whitened with a penalty of their
own (canonical ridge), each chosen by how much of the other side it predicts for patients left out. Correlations of the
films that were fitted are flattered; what is shared shows on films of other patients (``scores``).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from pacx.models.linear.ridge import Design, Float, shared_penalty

_MOST_ASKED = 256
"""Principal components of a side that choose the other side's penalty."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Directions:
    """One side's linear map to n directions: (values - mean) @ matrix, variance near 1 on the films fitted."""

    mean: Float
    matrix: Float

    def scores(self, values: ArrayLike) -> Float:
        """(N, n) of values (N, D)."""
        return (np.asarray(values, np.float64) - self.mean) @ self.matrix


@dataclass(frozen=True, kw_only=True, eq=False)
class SharedDirections:
    """Pairs of directions, best first.

    Attributes:
        of_films: from film features.
        of_targets: from targets; direction k of either side goes with direction k of the other, signs included.
        correlations: (n,) shrunk correlations of the films that were fitted, descending.
    """

    of_films: Directions
    of_targets: Directions
    correlations: Float


def chosen_penalties(films: Design, targets: Design) -> tuple[float, float]:
    """Penalties of both sides, each by what it predicts of the other's principal components for patients left out."""
    return (
        shared_penalty(films, targets.left[:, :_MOST_ASKED]),
        shared_penalty(targets, films.left[:, :_MOST_ASKED]),
    )


def shared_directions(
    films: Design,
    targets: Design,
    num: int,
    penalties: tuple[float, float],
) -> SharedDirections:
    """Canonical directions under given penalties.

    Args:
        films: N films.
        targets: the same N films' targets.
        num: pairs of directions, at most as many as the smaller side has.
        penalties: of films and of targets, see ``chosen_penalties``.

    Source: Hotelling 1936; Vinod 1976, "Canonical ridge and econometrics of joint production".
    """
    dividers = [
        np.sqrt(side.singular**2 + penalty * side.num_films)
        for side, penalty in zip((films, targets), penalties, strict=True)
    ]
    shrunk_films, shrunk_targets = films.singular / dividers[0], targets.singular / dividers[1]
    together = shrunk_films[:, None] * (films.left.T @ targets.left) * shrunk_targets  # (r, s)
    first, correlations, second = np.linalg.svd(together, full_matrices=False)
    return SharedDirections(
        of_films=_directions(films, dividers[0], first[:, :num]),
        of_targets=_directions(targets, dividers[1], second[:num].T),
        correlations=correlations[:num],
    )


def _directions(side: Design, divider: Float, chosen: Float) -> Directions:
    matrix = side.scale[:, None] * (side.right.T @ (chosen / divider[:, None])) * np.sqrt(side.num_films)
    return Directions(mean=side.mean, matrix=matrix)
