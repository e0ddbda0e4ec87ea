"""How well probes on frozen features answer, under every draw of test patients.

Draws of a macro score or of single labels are (F, R, L) for F shares of the labels, R draws and L labels, already the
mean over probe seeds and label subsets drawn anew in every draw. Equal seeds draw equally for every encoder, so
whatever is subtracted is paired.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from pacx.evaluation.probes.classification import ClassificationData
from pacx.evaluation.probes.linear_heads import ProbeConfig
from pacx.evaluation.probes.low_data import FRACTIONS, train_low_data
from pacx.evaluation.statistics.bootstrap import Float, PatientDraws, mean_over_seeds, patient_bootstrap
from pacx.evaluation.statistics.metrics import auroc
from pacx.models.device import chosen_device
from pacx.simulation.patients.labels import ANATOMICAL, PHYSIOLOGY_DENSE
from studies.stepwise.step import Study

GROUPS: Mapping[str, tuple[str, ...]] = {"physiology-dense": PHYSIOLOGY_DENSE, "anatomical": ANATOMICAL}
PROBE_SEEDS: Mapping[float, int] = {0.01: 20, 0.1: 10, 1.0: 5}
"""Probes per share of the labels, each with a subset of its own: a hundredth is a dozen films, hence a lottery."""
Measure = Callable[[Float, NDArray[np.float32], PatientDraws], Float]
"""Scores and labels (N, L) under patient draws to (R, L)."""
AREA: Mapping[str, Measure] = {"auroc": auroc}


def probe_draws(
    study: Study,
    data: ClassificationData,
    features: NDArray[np.float32],
    *,
    standardize: bool,
    measures: Mapping[str, Measure] = AREA,
    num_seeds: Mapping[float, int] = PROBE_SEEDS,
) -> dict[str, NDArray[np.float32]]:
    """What the probes on each share of the labels score by each measure, (F, 1 + num_draws, L).

    Args:
        study: seed and number of draws.
        data: labels and splits.
        features: float32 (N, D) of the whole pack.
        standardize: probes see standardized features.
        measures: what is scored, by name.
        num_seeds: probes on each share of the labels, each with a subset of its own.
    """
    truth, seed = data.labels[data.test], study.seed
    draws = patient_bootstrap(data.patient_ids[data.test], num_draws=study.num_draws, seed=seed)
    found: dict[str, list[Float]] = {name: [] for name in measures}
    for fraction in FRACTIONS:
        config = ProbeConfig(seed=seed, num_seeds=num_seeds[fraction], standardize=standardize)
        heads = train_low_data(data, features, (fraction,), config=config, device=chosen_device())
        chances = heads.probabilities(features[data.test])
        for name, measure in measures.items():
            scores = np.stack([measure(chance, truth, draws) for chance in chances])
            found[name].append(mean_over_seeds(scores, seed=seed))
    return {name: np.stack(values).astype(np.float32) for name, values in found.items()}
