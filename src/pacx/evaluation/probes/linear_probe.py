"""Protocol: linear probe. Frozen embedding, one linear layer per seed, scored on the test split.

``ClassificationData`` + embeddings per encoder -> heads -> rows. The encoder itself is never seen here, only its cached
embeddings: forty epochs cost one forward pass.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from pacx.evaluation.comparison import Comparison
from pacx.evaluation.probes.classification import (
    ClassificationData,
    ClassificationScores,
    classification_rows,
    score_heads,
)
from pacx.evaluation.probes.linear_heads import LinearHeads, ProbeConfig, train_heads
from pacx.evaluation.results import ResultRow
from pacx.evaluation.statistics.bootstrap import PatientDraws, patient_bootstrap
from pacx.evaluation.statistics.subgroups import Grouping, subgroup_rows

PROTOCOL = "linear-probe"
RELEASED_CODE_PROTOCOL = "linear-probe-released-code"
_RELEASED_CODE_DECAY = 0.01


def train_probes(
    data: ClassificationData,
    features: NDArray[np.float32],
    *,
    config: ProbeConfig,
    mirrored: NDArray[np.float32] | None = None,
    device: torch.device | str = "cpu",
) -> LinearHeads:
    """Train ``config.num_seeds`` heads on the whole training split of one encoder's embeddings (N, D).

    Given embeddings of the mirrored films (N, D) as well, each head sees one of the two at random in every epoch.
    """
    seeds = np.arange(config.num_seeds)
    return train_heads(
        data.part(features, data.training, mirrored=mirrored),
        data.part(features, data.validation),
        subsets=np.ones((len(seeds), len(data.training)), bool),
        head_seeds=seeds,
        is_multiclass=data.is_multiclass,
        config=config,
        device=device,
    )


def score_probes(
    data: ClassificationData,
    features: Mapping[str, NDArray[np.float32]],
    draws: PatientDraws,
    *,
    config: ProbeConfig,
    device: torch.device | str = "cpu",
) -> dict[str, ClassificationScores]:
    """Train every encoder's probes and score them on the test split under ``draws``; arguments as ``linear_probe``."""
    return {
        name: score_heads(train_probes(data, array, config=config, device=device), data, array, draws)
        for name, array in features.items()
    }


def linear_probe(
    data: ClassificationData,
    features: Mapping[str, NDArray[np.float32]],
    comparison: Comparison,
    *,
    config: ProbeConfig,
    grouped: Sequence[Grouping] = (),
) -> list[ResultRow]:
    """Probe every encoder on all training labels.

    Args:
        data: labels and splits.
        features: per encoder name float32 (N, D), embeddings of the whole pack.
        comparison: baseline, draws, device, and what rows say.
        config: the probe's hyper-parameters.
        grouped: from ``subgroups.groupings`` of the pack's table; their rows (protocol "subgroups") come last.

    Returns:
        A row per encoder, metric and label, and for the macro average; the same of each paired difference to the
        baseline. A value is NaN where the test split lacks a class.

    Raises:
        DataError: the embeddings are not those of this pack.
        ModelError: an embedding is not finite.

    Source: paper appendix A.2.2 and Table 1.

    Example:
        >>> import pacx
        >>> from pacx.data import Pack
        >>> from pacx.evaluation import ClassificationData, Comparison, ProbeConfig, embed_pack, linear_probe
        >>> pack = Pack.open("packs/films")
        >>> features = {"mae": embed_pack(pacx.load_encoder("runs/mae/encoder"), pack)}
        >>> data = ClassificationData.from_pack(pack, dataset="films", label_names=["pleural_effusion"])
        >>> comparison = Comparison(dataset="films", num_draws=20)
        >>> rows = linear_probe(data, features, comparison, config=ProbeConfig(epochs=2, num_seeds=2))
        >>> [row.metric for row in rows if row.label == "pleural_effusion"][:3]
        ['auroc', 'auprc', 'f1']
    """
    draws = patient_bootstrap(data.patient_ids[data.test], num_draws=comparison.num_draws, seed=config.seed)
    scores = score_probes(data, features, draws, config=config, device=comparison.device)
    maker, baseline = comparison.maker(PROTOCOL, config.seed, drawn_by=data.drawn_by), comparison.baseline
    rows = classification_rows(maker, data, scores, baseline=baseline, fraction=1.0)
    probabilities = {name: score.probabilities for name, score in scores.items()}
    return rows + subgroup_rows(data, grouped, probabilities, draws, baseline=baseline, maker=maker)


def released_code_probe(
    data: ClassificationData,
    features: Mapping[str, NDArray[np.float32]],
    mirrored: Mapping[str, NDArray[np.float32]],
    comparison: Comparison,
    *,
    config: ProbeConfig,
) -> list[ResultRow]:
    """Probe every encoder as the authors' code does, where it differs from the paper.

    AdamW with weight decay 0.01 on the weights, each training film mirrored with probability 1/2, the learning rate
    held within an epoch; F1 at 0.5 is the row ``f1``, as everywhere. Mirroring turns the heart to the other side.
    Splits by film instead of by patient are a choice made when packing (``--split-policy released-code``).

    Args:
        data: labels and splits.
        features: per encoder name float32 (N, D), embeddings of the whole pack.
        mirrored: the same of the mirrored films, ``embed_pack(..., alter=mirrored)``: one cached view more costs one
            forward pass, not one per epoch.
        comparison: as in ``linear_probe``.
        config: the probe's hyper-parameters; weight decay and schedule are replaced.

    Source: authors' released code as recorded in ADR 0007.
    """
    config = replace(config, weight_decay=_RELEASED_CODE_DECAY, is_rate_per_epoch=True)
    draws = patient_bootstrap(data.patient_ids[data.test], num_draws=comparison.num_draws, seed=config.seed)
    scores = {}
    for name, array in features.items():
        heads = train_probes(data, array, config=config, mirrored=mirrored[name], device=comparison.device)
        scores[name] = score_heads(heads, data, array, draws)
    maker = comparison.maker(RELEASED_CODE_PROTOCOL, config.seed, drawn_by=data.drawn_by)
    return classification_rows(maker, data, scores, baseline=comparison.baseline, fraction=1.0)
