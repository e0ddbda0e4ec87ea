"""A classifier for use, fitted to an encoder's embeddings: one head on all training patients, many on random halves.

`ClassificationData + embeddings -> Classifier`. The heads are linear probes like any other and are trained together.
A temperature per head, fitted to the validation patients, brings its probabilities to the scale of what was observed;
it changes no ranking. Refuses what probes refuse.
"""

from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from pacx.core.randomness import generator
from pacx.data.packs.pack import BY_FILM
from pacx.evaluation.probes.classification import ClassificationData
from pacx.evaluation.probes.linear_heads import LabelledFeatures, LinearHeads, ProbeConfig, train_heads
from pacx.models.heads.classifier import Classifier, Float

_LEVEL = 0.95
_LOG_TEMPERATURES = (-3.0, 3.0)
_FEWEST_HALVES = 2


def fit_classifier(
    data: ClassificationData,
    features: NDArray[np.float32],
    *,
    config: ProbeConfig,
    num_halves: int = 100,
    device: torch.device | str = "cpu",
) -> Classifier:
    """Fit a classifier to one encoder's embeddings.

    Args:
        data: labels and splits; the test split is not looked at.
        features: float32 (N, D) of the whole pack.
        config: how the heads are trained; ``num_seeds`` is not used.
        num_halves: heads behind the interval, each fitted to a random half of the training patients.
        device: where the heads are trained.

    Raises:
        DataError: no validation label has both classes.
    """
    training, validation = data.part(features, data.training), data.part(features, data.validation)
    train = partial(train_heads, training, validation, is_multiclass=data.is_multiclass, device=device)
    halves = random_halves(data.patient_ids[data.training], max(num_halves, _FEWEST_HALVES), config.seed)
    # All start alike and take equally many steps, so that they differ by nothing but their patients.
    fits = (
        train(subsets=np.ones((1, len(data.training)), bool), head_seeds=np.zeros(1, np.int64), config=config),
        train(
            subsets=halves,
            head_seeds=np.zeros(len(halves), np.int64),
            config=replace(config, batch_size=max(config.batch_size // 2, 1)),
        ),
    )
    temperatures = np.concatenate([temperature(heads, validation) for heads in fits])
    weight, bias = (np.concatenate([getattr(heads, part) for heads in fits]) for part in ("weight", "bias"))
    num_patients = len(np.unique(data.patient_ids[data.training].astype(str)))
    whose = "unknown" if data.drawn_by == BY_FILM else num_patients
    films = f"{len(data.training)} films of {whose} patients of {data.dataset}"
    return Classifier(
        labels=data.label_names,
        weight=(weight / temperatures[:, None, None]).astype(np.float32),
        bias=(bias / temperatures[:, None]).astype(np.float32),
        is_multiclass=data.is_multiclass,
        level=_LEVEL,
        fitted_on=f"{films}, temperature {temperatures[0]:.3f}",
    )


def random_halves(patient_ids: NDArray[np.object_], num_halves: int, seed: int) -> NDArray[np.bool_]:
    """Which films belong to each random half of the patients: (num_halves, N); a patient is never divided."""
    names, number = np.unique(patient_ids.astype(str), return_inverse=True)
    chosen = np.zeros((num_halves, len(names)), bool)
    for row in range(num_halves):
        drawn = generator(seed, "classifier-half", row).permutation(len(names))
        chosen[row, drawn[: (len(names) + 1) // 2]] = True
    return chosen[:, number]


def temperature(heads: LinearHeads, validation: LabelledFeatures) -> Float:
    """What each head's scores have to be divided by for the least cross-entropy of the known labels, (H,).

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks"; one for all labels of a head.
    """
    known = ~np.isnan(validation.labels)
    truth = np.where(known, validation.labels, 0.0)
    if heads.is_multiclass:  # a film without a class says nothing
        known = np.broadcast_to(known.all(axis=1, keepdims=True), known.shape)

    def cross_entropy(logarithm: float, scores: Float) -> float:
        scaled = scores / np.exp(logarithm)
        if heads.is_multiclass:
            losses = np.where(truth == 1, np.logaddexp.reduce(scaled, axis=1, keepdims=True) - scaled, 0.0)
        else:
            losses = np.logaddexp(0.0, scaled) - truth * scaled
        return float(losses[known].mean())

    found = np.empty(len(heads.weight))
    for head, (weight, bias) in enumerate(zip(heads.weight, heads.bias, strict=True)):
        scores = validation.features.astype(np.float64) @ weight + bias  # (N, L)
        best = minimize_scalar(cross_entropy, bounds=_LOG_TEMPERATURES, args=(scores,), method="bounded")
        found[head] = np.exp(best.x)
    return found
