"""Protocol: linear probe. Frozen embedding, one linear layer per seed, scored on the test split.

``ClassificationData`` + embeddings per encoder -> heads -> rows. The encoder itself is never seen here, only its cached
embeddings: forty epochs cost one forward pass.
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from pacx.evaluation.classification import ClassificationData, classification_rows, score_heads
from pacx.evaluation.linear_heads import LinearHeads, ProbeConfig, train_heads
from pacx.evaluation.results import ResultRow
from pacx.evaluation.statistics import NUM_DRAWS, RowMaker, patient_bootstrap

PROTOCOL = "linear-probe"


def train_probes(
    data: ClassificationData,
    features: NDArray[np.float32],
    *,
    config: ProbeConfig,
    device: torch.device | str = "cpu",
) -> LinearHeads:
    """Train ``config.num_seeds`` heads on the whole training split of one encoder's embeddings (N, D)."""
    seeds = np.arange(config.num_seeds)
    return train_heads(
        data.part(features, data.training),
        data.part(features, data.validation),
        subsets=np.ones((len(seeds), len(data.training)), bool),
        head_seeds=seeds,
        is_multiclass=data.is_multiclass,
        config=config,
        device=device,
    )


def linear_probe(
    data: ClassificationData,
    features: Mapping[str, NDArray[np.float32]],
    *,
    baseline: str | None,
    config: ProbeConfig,
    provenance: str,
    num_draws: int = NUM_DRAWS,
    device: torch.device | str = "cpu",
) -> list[ResultRow]:
    """Probe every encoder on all training labels.

    Args:
        data: labels and splits.
        features: per encoder name float32 (N, D), embeddings of the whole pack.
        baseline: encoder the others are compared with, paired; None = no comparison.
        config: the probe's hyper-parameters.
        provenance: goes into every row.
        num_draws: bootstrap draws.
        device: where the heads are trained.

    Source: paper appendix A.2.2 and Table 1.
    """
    draws = patient_bootstrap(data.patient_ids[data.test], num_draws=num_draws, seed=config.seed)
    scores = {
        name: score_heads(train_probes(data, array, config=config, device=device), data, array, draws)
        for name, array in features.items()
    }
    maker = RowMaker(protocol=PROTOCOL, dataset=data.dataset, seed=config.seed, provenance=provenance)
    return classification_rows(maker, data, scores, baseline=baseline, fraction=1.0)
