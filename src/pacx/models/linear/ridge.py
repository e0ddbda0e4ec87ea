"""Ridge regression whose penalties are chosen by leaving each patient out, exactly and without fitting again.

`features (N, D), targets (N, T), patients (N,) -> design -> explained when left out, weights`. Features are brought to
mean 0 and variance 1 over all films and decomposed once; every penalty, target and patient then costs products alone.
Constant and repeated features are harmless, more features than films too. With several films of a patient all of them
are left out together. Refuses what is not finite and films of one patient alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pacx.core.errors import DataError

Float = NDArray[np.float64]

PENALTIES = tuple(float(each) for each in 10.0 ** np.arange(-5.0, 3.5, 0.5))
"""Penalties to choose from, in units of N: of one feature's sum of squares once it is standardized."""

_CONSTANT_BELOW = 1e-6
"""A feature that varies by less than this share of its size holds rounding (of 32 bits) and no more."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Design:
    """Standardized features by their singular values: left * singular @ right = (features - mean) * scale.

    Attributes:
        mean: (D,) of the features.
        scale: (D,) one over their standard deviation; 0 for a constant feature, which is left out.
        left: (N, r) orthonormal columns, each of mean 0.
        singular: (r,) descending, all above rounding.
        right: (r, D) orthonormal rows.
        groups: films of each patient, patients with as many films in one array int (patients, films).
    """

    mean: Float
    scale: Float
    left: Float
    singular: Float
    right: Float
    groups: tuple[NDArray[np.int64], ...]

    @property
    def num_films(self) -> int:
        """N."""
        return len(self.left)

    def kept(self, penalty: float) -> Float:
        """Share (r,) of each singular direction that ridge keeps under a penalty, in [0, 1]; infinity keeps none."""
        square = self.singular**2
        return square / (square + penalty * self.num_films)


def design(features: ArrayLike, patient_ids: ArrayLike, *, standardize: bool = True) -> Design:
    """Standardize and decompose.

    Args:
        features: (N, D), of any rank.
        patient_ids: (N,), whose films are left out together.
        standardize: bring features to variance 1; otherwise they keep theirs, and penalties are in their square.

    Raises:
        DataError: a feature is not finite, lengths differ, or there are fewer than two patients.
    """
    values, patients = np.asarray(features, np.float64), np.asarray(patient_ids).astype(str)
    if values.ndim != 2 or len(values) != len(patients):
        raise DataError(f"features of shape {values.shape} for {len(patients)} films; give one row per film")
    if not np.isfinite(values).all():
        raise DataError("features hold NaN or infinity; embed the films again")
    _, patient, counts = np.unique(patients, return_inverse=True, return_counts=True)
    if len(counts) < 2:
        raise DataError(f"{len(values)} films of {len(counts)} patients: to leave one out there must be two at least")
    mean, deviation = values.mean(axis=0), values.std(axis=0)
    varies = deviation > _CONSTANT_BELOW * np.sqrt((values**2).mean(axis=0))
    divisor = deviation if standardize else np.ones_like(deviation)
    scale = np.divide(1.0, divisor, out=np.zeros_like(deviation), where=varies)
    left, singular, right = _decomposed((values - mean) * scale)
    by_patient = np.split(np.argsort(patient, kind="stable"), np.cumsum(counts)[:-1])
    groups = tuple(
        np.stack([films for films in by_patient if len(films) == size]).astype(np.int64) for size in np.unique(counts)
    )
    return Design(
        mean=mean,
        scale=scale,
        left=left,
        singular=singular,
        right=right,
        groups=groups,
    )


def _decomposed(standardized: Float) -> tuple[Float, Float, Float]:
    """Left (N, r), singular (r,) and right (r, D), of the smaller product with itself, which is faster than SVD.

    Singular values below some 1e-6 of the largest are lost in its rounding; the least penalty outweighs them.
    """
    is_tall = standardized.shape[0] > standardized.shape[1]
    product = standardized.T @ standardized if is_tall else standardized @ standardized.T
    square, vectors = np.linalg.eigh(product)
    square, vectors = square[::-1], vectors[:, ::-1]
    is_there = square > square.max(initial=0.0) * max(standardized.shape) * np.finfo(np.float64).eps
    singular, vectors = np.sqrt(square[is_there]), np.ascontiguousarray(vectors[:, is_there])
    if is_tall:
        return standardized @ vectors / singular, singular, vectors.T
    return vectors, singular, (standardized.T @ vectors / singular).T


def left_out_errors(films: Design, targets: Float, penalty: float) -> Float:
    """Errors (N, T) at every film of the fit to all films of other patients; exact, but that the scale stays.

    With the hat matrix H of a fit with intercept, the errors e of the whole fit and the films g of one patient, those
    of the fit without them are (I - H_gg)^-1 e_g. An infinite penalty gives the errors of the others' mean.

    Source: Hastie, Tibshirani and Friedman 2009, equation 7.64; Cook and Weisberg 1982, section 3.6 (several films).
    """
    centred = targets - targets.mean(axis=0)
    return _errors(films, centred, films.left.T @ centred, films.kept(penalty))


class Explained(NamedTuple):
    """Share of each target's variance that is predicted for patients left out.

    The variance is about the mean of the other patients, so that 0 is what a constant does and below 0 is worse. A
    target that does not vary has 0.

    Attributes:
        r2: (penalties, T).
        error: (penalties, T) its standard error over patients, the penalty being given.
    """

    r2: Float
    error: Float


def explained_left_out(films: Design, targets: Float, penalties: Sequence[float] = PENALTIES) -> Explained:
    """How much each penalty would predict of each target."""
    centred = targets - targets.mean(axis=0)
    projected = films.left.T @ centred  # (r, T)
    of_mean = _errors(films, centred, projected, np.zeros_like(films.singular)) ** 2
    total = of_mean.sum(axis=0)
    varies = total > len(targets) * (_CONSTANT_BELOW**2 * (targets**2).mean(axis=0))
    unit = np.divide(1.0, total, out=np.zeros_like(total), where=varies)
    found = Explained(*np.zeros((2, len(penalties), targets.shape[1])))
    for row, penalty in enumerate(penalties):
        gains = of_mean - _errors(films, centred, projected, films.kept(penalty)) ** 2
        by_patient = np.concatenate([gains[members].sum(axis=1) for members in films.groups]) * unit
        found.r2[row] = by_patient.sum(axis=0)
        found.error[row] = by_patient.std(axis=0) * np.sqrt(len(by_patient))
    return found


def _errors(films: Design, centred: Float, projected: Float, kept: Float) -> Float:
    errors = centred - films.left @ (kept[:, None] * projected)
    for members in films.groups:  # (patients, films)
        own = films.left[members]  # (patients, films, r)
        if members.shape[1] == 1:
            leverage = 1 / films.num_films + own[:, 0] ** 2 @ kept
            errors[members[:, 0]] /= (1 - leverage)[:, None]
        else:
            hat = 1 / films.num_films + (own * kept) @ own.transpose(0, 2, 1)
            errors[members] = np.linalg.solve(np.eye(members.shape[1]) - hat, errors[members])
    return errors


def shared_penalty(films: Design, targets: Float, penalties: Sequence[float] = PENALTIES) -> float:
    """The one penalty under which most is predicted for patients left out, over all targets together.

    A target of which nothing is predicted under a penalty counts nothing there, and not as a loss: whoever uses the map
    leaves it out, and hundreds of such targets would otherwise decide for the few that can be predicted.
    """
    gained = np.clip(explained_left_out(films, targets, penalties).r2, 0.0, None).sum(axis=1)
    return float(penalties[len(penalties) - 1 - int(np.argmax(gained[::-1]))])  # of equals the largest


@dataclass(frozen=True, kw_only=True, eq=False)
class Ridge:
    """A linear map from features to targets, each target under the penalty that is best for patients left out.

    Attributes:
        weight: (D, T) for features as they come; a column of zeros where nothing can be predicted.
        bias: (T,).
        penalties: (T,) as in ``PENALTIES``; infinite where nothing can be predicted.
        explained: (T,) the R2 of patients left out under that penalty, whether or not that is enough. As the best of
            some penalties it flatters by a little.
    """

    weight: Float
    bias: Float
    penalties: Float
    explained: Float

    @property
    def is_predicted(self) -> NDArray[np.bool_]:
        """Which targets (T,) are predicted at all."""
        return np.isfinite(self.penalties)

    def predict(self, features: ArrayLike) -> Float:
        """Targets (N, T) of features (N, D)."""
        return np.asarray(features, np.float64) @ self.weight + self.bias

    def read(self, features: ArrayLike) -> NDArray[np.float32]:
        """The targets that are predicted at all (N, K) of features (N, D), for a probe.

        Where none is, one feature that is the same for everybody.
        """
        kept = self.predict(features)[:, self.is_predicted].astype(np.float32)
        return kept if kept.shape[1] else np.zeros((len(kept), 1), np.float32)


def ridge(
    films: Design, targets: ArrayLike, penalties: Sequence[float] = PENALTIES, standard_errors: float = 1.0
) -> Ridge:
    """Fit every target under its own penalty.

    Args:
        films: the features.
        targets: (N, T); constant and repeated ones are harmless.
        penalties: to choose from.
        standard_errors: by how many of its standard errors R2 has to be above 0 for a target to be predicted at all; at
            0, chance lets half of the targets pass that have nothing to do with the films.

    Raises:
        DataError: a target is not finite, or lengths differ.
    """
    values = np.asarray(targets, np.float64)
    if values.ndim != 2 or len(values) != films.num_films or not np.isfinite(values).all():
        raise DataError(f"targets of shape {values.shape} for {films.num_films} films; give one finite row per film")
    r2, error = explained_left_out(films, values, penalties)  # (P, T) each
    place = (r2.argmax(axis=0), np.arange(values.shape[1]))
    is_enough = r2[place] > np.maximum(standard_errors * error[place], 0.0)
    chosen = np.where(is_enough, np.asarray(penalties)[place[0]], np.inf)  # (T,)
    weight, mean = weights_under(films, values, chosen), values.mean(axis=0)
    return Ridge(weight=weight, bias=mean - films.mean @ weight, penalties=chosen, explained=r2[place])


def weights_under(films: Design, targets: Float, penalties: Float) -> Float:
    """Weights (D, T) for features as they come, of targets (N, T) under penalties (T,); infinity gives zeros."""
    shrunk = films.singular[:, None] / (films.singular[:, None] ** 2 + penalties * films.num_films)  # (r, T)
    return films.scale[:, None] * (films.right.T @ (shrunk * (films.left.T @ (targets - targets.mean(axis=0)))))
