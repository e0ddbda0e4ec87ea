"""Protocol: logistic regression. The linear probe's optimum instead of forty epochs on the way to it.

Standardized embeddings, a squared penalty whose strength validation picks, L-BFGS to convergence: nothing random, no
learning rate, so that two encoders differ by what is in their embeddings and not by how far Adam came. Stands beside
the paper's protocol. Refuses a multiclass training split of a single class.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from pacx.core.errors import DataError
from pacx.core.progress import progress
from pacx.evaluation.comparison import Comparison
from pacx.evaluation.probes.classification import (
    ClassificationData,
    best_on_validation,
    classification_rows,
    score_heads,
)
from pacx.evaluation.probes.linear_heads import LabelledFeatures, LinearHeads
from pacx.evaluation.results import ResultRow
from pacx.evaluation.settings import LogisticConfig
from pacx.evaluation.statistics.bootstrap import patient_bootstrap
from pacx.evaluation.statistics.metrics import auroc_points

PROTOCOL = "logistic"
_NEVER = 30.0


def fit_logistic(
    training: LabelledFeatures, *, strength: float, is_multiclass: bool, max_iterations: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights (D, L) and biases (L,) that act on raw features.

    A label without both classes among the known ones says its share of positives (clipped to 1e-3 .. 1 - 1e-3; 1/2
    where nothing is known) of every film. A class that training lacks is never said.

    Raises:
        DataError: ``is_multiclass`` and the training split has a single class.
    """
    mean = training.features.mean(axis=0, dtype=np.float64)
    scale = training.features.std(axis=0, dtype=np.float64)
    scale = np.where(scale > 0, scale, 1.0)
    scaled = ((training.features - mean) / scale).astype(np.float32)
    num_labels = training.labels.shape[1]
    weight, bias = np.zeros((training.features.shape[1], num_labels)), np.zeros(num_labels)
    known = ~np.isnan(training.labels)

    def fitted(rows: NDArray[np.bool_], target: NDArray[np.generic]) -> LogisticRegression:
        return LogisticRegression(C=strength, max_iter=max_iterations).fit(scaled[rows], target)

    if is_multiclass:
        rows = np.asarray(known.all(axis=1))
        classes = training.labels[rows].argmax(axis=1)
        if len(np.unique(classes)) < 2:
            raise DataError("all training films are of one class, expected at least two; check splits and labels")
        model = fitted(rows, classes)
        if len(model.classes_) == 2:  # scikit-learn gives the second class's logit alone
            weight[:, model.classes_[1]], bias[:] = model.coef_[0], -_NEVER
            bias[model.classes_] = 0.0, model.intercept_[0]
        else:
            weight[:, model.classes_], bias[:] = model.coef_.T, model.intercept_.min() - _NEVER
            bias[model.classes_] = model.intercept_
    else:
        for k in range(num_labels):
            truth = training.labels[known[:, k], k]
            if len(np.unique(truth)) == 2:
                model = fitted(known[:, k], truth)
                weight[:, k], bias[k] = model.coef_[0], model.intercept_[0]
            else:
                share = np.clip(truth.mean(), 1e-3, 1 - 1e-3) if len(truth) else 0.5
                bias[k] = math.log(share / (1 - share))
    weight = weight / scale[:, None]
    return weight, bias - mean @ weight


class ChosenLogistic(NamedTuple):
    """One head and the strength C that validation preferred."""

    heads: LinearHeads
    strength: float


def train_logistic(data: ClassificationData, features: NDArray[np.float32], config: LogisticConfig) -> ChosenLogistic:
    """Fit one encoder's embeddings (N, D) at every strength and keep the best.

    Raises:
        DataError: as ``fit_logistic``; or no validation label has both classes.
    """
    training = data.part(features, data.training)
    validation = data.part(features, data.validation)
    tried = []
    with progress("logistic regression", len(config.strengths), "strengths") as shown:
        for strength in config.strengths:
            weight, bias = fit_logistic(
                training,
                strength=strength,
                is_multiclass=data.is_multiclass,
                max_iterations=config.max_iterations,
            )
            tried.append(LinearHeads.of_one_fit(weight, bias, is_multiclass=data.is_multiclass))
            shown.advance()
    probabilities = np.concatenate([heads.probabilities(validation.features) for heads in tried])
    best = best_on_validation(probabilities, data)
    area = np.nanmean(auroc_points(probabilities[best], validation.labels))
    return ChosenLogistic(replace(tried[best], validation_auroc=np.array([area])), config.strengths[best])


def logistic_regression(
    data: ClassificationData,
    features: Mapping[str, NDArray[np.float32]],
    comparison: Comparison,
    *,
    config: LogisticConfig,
) -> list[ResultRow]:
    """Score every encoder by logistic regression.

    Args:
        data: labels and splits.
        features: per encoder name float32 (N, D), embeddings of the whole pack.
        comparison: baseline, draws, device, and what rows say.
        config: the strengths to choose from.

    Returns:
        The rows of ``linear_probe``; their provenance names the strength that each encoder got.

    Raises:
        DataError: embeddings are not those of this pack, no validation label has both classes, or all training films
            are of one class.
        ModelError: an embedding is not finite.

    Example:
        >>> import pacx
        >>> from pacx.data import Pack
        >>> from pacx.evaluation import ClassificationData, Comparison, embed_pack, logistic_regression
        >>> from pacx.evaluation import LogisticConfig
        >>> pack = Pack.open("packs/films")
        >>> features = {"mae": embed_pack(pacx.load_encoder("runs/mae/encoder"), pack)}
        >>> data = ClassificationData.from_pack(pack, dataset="films", label_names=["pleural_effusion"])
        >>> comparison = Comparison(dataset="films", num_draws=20)
        >>> rows = logistic_regression(data, features, comparison, config=LogisticConfig(strengths=(1e-3, 1e-2)))
        >>> {row.protocol for row in rows}
        {'logistic'}
    """
    draws = patient_bootstrap(data.patient_ids[data.test], num_draws=comparison.num_draws, seed=config.seed)
    chosen = {name: train_logistic(data, array, config) for name, array in features.items()}
    scores = {name: score_heads(chosen[name].heads, data, array, draws) for name, array in features.items()}
    remark = "C by validation AUROC: " + ", ".join(f"{name} {fit.strength:g}" for name, fit in chosen.items())
    maker = comparison.maker(PROTOCOL, config.seed, remark=remark, drawn_by=data.drawn_by)
    return classification_rows(maker, data, scores, baseline=comparison.baseline, fraction=1.0)
