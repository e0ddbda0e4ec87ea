"""Protocol: low data. The linear probe on 1 %, 10 % and all training labels, with several subsets of each.

One subset per seed and fraction, nested over fractions, the same for every encoder; all heads of an encoder train as
one batched problem. Validation and test splits stay whole, as in the paper. The comparison with the baseline pairs
subsets, seeds and patients.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from pacx.core.progress import announce
from pacx.core.randomness import seed_of
from pacx.data.splits import low_data_subset
from pacx.evaluation.comparison import Comparison
from pacx.evaluation.probes.classification import ClassificationData, classification_rows, score_heads
from pacx.evaluation.probes.linear_heads import LinearHeads, ProbeConfig, train_heads
from pacx.evaluation.results import ResultRow
from pacx.evaluation.settings import FRACTIONS
from pacx.evaluation.statistics.bootstrap import patient_bootstrap

PROTOCOL = "low-data"
_MUCH_MORE = 1.5
"""How many times the share asked for a subset may hold before somebody is told."""


def low_data(
    data: ClassificationData,
    features: Mapping[str, NDArray[np.float32]],
    comparison: Comparison,
    *,
    config: ProbeConfig,
    fractions: Sequence[float] = FRACTIONS,
) -> list[ResultRow]:
    """Probe every encoder on every fraction of the training labels.

    Args:
        data: labels and splits.
        features: per encoder name float32 (N, D), embeddings of the whole pack.
        comparison: baseline, draws, device, and what rows say; they add the mean subset size.
        config: the probe's hyper-parameters; ``num_seeds`` subsets per fraction.
        fractions: shares of the training split, in (0, 1].

    Returns:
        The rows of ``linear_probe`` for every fraction.

    Raises:
        DataError: the embeddings are not those of this pack.
        ModelError: an embedding is not finite.

    Source: paper section 5.1 and appendix A.2.2 (stratified subsets, every label keeps a positive); several seeds per
    fraction, which the paper has not, because 1 % of the labels is a lottery.

    Example:
        >>> import pacx
        >>> from pacx.data import Pack
        >>> from pacx.evaluation import ClassificationData, Comparison, ProbeConfig, embed_pack, low_data
        >>> pack = Pack.open("packs/films")
        >>> features = {"mae": embed_pack(pacx.load_encoder("runs/mae/encoder"), pack)}
        >>> data = ClassificationData.from_pack(pack, dataset="films", label_names=["pleural_effusion"])
        >>> comparison = Comparison(dataset="films", num_draws=20)
        >>> config = ProbeConfig(epochs=2, num_seeds=2)
        >>> rows = low_data(data, features, comparison, config=config, fractions=(0.5, 1.0))
        >>> sorted({row.fraction for row in rows})
        [0.5, 1.0]
    """
    draws = patient_bootstrap(data.patient_ids[data.test], num_draws=comparison.num_draws, seed=config.seed)
    scores = {}
    for name, array in features.items():
        heads = train_low_data(data, array, fractions, config=config, device=comparison.device)
        scores[name] = score_heads(heads, data, array, draws)
    sizes = training_subsets(data, fractions, config).sum(axis=1)
    rows = []
    for number, fraction in enumerate(fractions):
        members = range(number * config.num_seeds, (number + 1) * config.num_seeds)
        size, asked = sizes[list(members)].mean(), fraction * len(data.training)
        if size > _MUCH_MORE * asked:
            announce(
                f"{data.dataset}: {100 * fraction:g} % of {len(data.training)} training films are too few for every "
                f"label to have a positive; {size:.0f} films are taken, {100 * size / len(data.training):.0f} %"
            )
        remark = f"{size:.0f} training images on average over {config.num_seeds} subsets"
        maker = comparison.maker(PROTOCOL, config.seed, remark=remark, drawn_by=data.drawn_by)
        chosen = {name: score.select(members) for name, score in scores.items()}
        rows.extend(classification_rows(maker, data, chosen, baseline=comparison.baseline, fraction=fraction))
    return rows


def train_low_data(
    data: ClassificationData,
    features: NDArray[np.float32],
    fractions: Sequence[float],
    *,
    config: ProbeConfig,
    device: torch.device | str = "cpu",
) -> LinearHeads:
    """Train F * S heads on one encoder's embeddings (N, D), fraction by fraction; arguments as ``low_data``."""
    return train_heads(
        data.part(features, data.training),
        data.part(features, data.validation),
        subsets=training_subsets(data, fractions, config),
        head_seeds=np.tile(np.arange(config.num_seeds), len(fractions)),
        is_multiclass=data.is_multiclass,
        config=config,
        device=device,
    )


def training_subsets(data: ClassificationData, fractions: Sequence[float], config: ProbeConfig) -> NDArray[np.bool_]:
    """Training subsets (F * S, N), fraction by fraction."""
    labels, keys = data.labels[data.training], data.keys[data.training]
    patients = data.patient_ids[data.training]
    return np.stack(
        [
            low_data_subset(labels, patients, keys, fraction=fraction, seed=seed_of(config.seed, "low-data", seed))
            for fraction in fractions
            for seed in range(config.num_seeds)
        ]
    )
