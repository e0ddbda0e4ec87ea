"""How well probes on frozen features answer, under every draw of test patients.

Draws of a macro score or of single labels are (F, R, L) for F shares of the labels, R draws and L labels, already the
mean over probe seeds and label subsets drawn anew in every draw. Equal seeds draw equally for every encoder, so
whatever is subtracted is paired.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pacx.evaluation.probes.classification import ClassificationData
from pacx.evaluation.probes.linear_heads import ProbeConfig
from pacx.evaluation.probes.low_data import FRACTIONS, train_low_data, training_subsets
from pacx.evaluation.statistics.bootstrap import Float, PatientDraws, mean_over_seeds, patient_bootstrap
from pacx.evaluation.statistics.metrics import auroc
from pacx.models.device import chosen_device
from pacx.models.linear.ridge import PENALTIES, design, explained_left_out, weights_under
from studies.stepwise.step import Study

Measure = Callable[[Float, NDArray[np.float32], PatientDraws], Float]
"""Scores and labels (N, L) under patient draws to (R, L)."""
AREA: Mapping[str, Measure] = {"auroc": auroc}


class Reader(Protocol):
    """Probes that learn from some shares of the labels and then answer."""

    def __call__(
        self, data: ClassificationData, features: NDArray[np.float32], fraction: float, *, num_seeds: int, seed: int
    ) -> Float:
        """Scores (S, N, L) of the N test films by S probes; features are float32 (films, D) of the whole pack."""


def papers_probe(*, standardize: bool = False) -> Reader:
    """The paper's: Adam, few steps, so that part of what it says is how fast features are read."""

    def read(
        data: ClassificationData, features: NDArray[np.float32], fraction: float, *, num_seeds: int, seed: int
    ) -> Float:
        config = ProbeConfig(seed=seed, num_seeds=num_seeds, standardize=standardize)
        heads = train_low_data(data, features, (fraction,), config=config, device=chosen_device())
        return heads.probabilities(features[data.test])

    return read


def ridge_probe(
    data: ClassificationData, features: NDArray[np.float32], fraction: float, *, num_seeds: int, seed: int
) -> Float:
    """Ridge on standardized features, each label with the penalty that is best for patients left out: converged.

    Whatever the number and the scale of features. With all labels every probe is the same and one is fitted; a subset
    of one patient scores every film alike.
    """
    subsets = training_subsets(data, (fraction,), ProbeConfig(seed=seed, num_seeds=num_seeds))
    scores = []
    for subset in np.unique(subsets, axis=0) if fraction == 1.0 else subsets:
        rows = data.training[subset]
        if len(np.unique(data.patient_ids[rows])) < 2:  # nobody can be left out, and one patient tells nothing apart
            scores.append(np.zeros((len(data.test), len(data.label_names))))
            continue
        films, labels = design(features[rows], data.patient_ids[rows]), data.labels[rows].astype(np.float64)
        penalties = np.asarray(PENALTIES)[explained_left_out(films, labels).r2.argmax(axis=0)]  # (L,)
        scores.append(features[data.test] @ weights_under(films, labels, penalties))
    return np.stack(scores)


def probe_draws(
    study: Study,
    data: ClassificationData,
    features: NDArray[np.float32],
    *,
    read: Reader,
    measures: Mapping[str, Measure] = AREA,
    num_seeds: Mapping[float, int],
) -> dict[str, NDArray[np.float32]]:
    """What the probes on each share of the labels score by each measure, (F, 1 + num_draws, L).

    Args:
        study: seed and number of draws.
        data: labels and splits.
        features: float32 (N, D) of the whole pack.
        read: the probes.
        measures: what is scored, by name.
        num_seeds: probes on each share of the labels, each with a subset of its own.
    """
    truth, seed = data.labels[data.test], study.seed
    draws = patient_bootstrap(data.patient_ids[data.test], num_draws=study.num_draws, seed=seed)
    found: dict[str, list[Float]] = {name: [] for name in measures}
    for fraction in FRACTIONS:
        answers = read(data, features, fraction, num_seeds=num_seeds[fraction], seed=seed)
        for name, measure in measures.items():
            scores = np.stack([measure(each, truth, draws) for each in answers])
            found[name].append(mean_over_seeds(scores, seed=seed))
    return {name: np.stack(values).astype(np.float32) for name, values in found.items()}
