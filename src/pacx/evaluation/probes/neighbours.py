"""Protocol: nearest neighbours. What an encoder puts close together, with nothing trained on top.

Cosine similarity to every training film, a vote of the k nearest weighted by exp(similarity / temperature), k chosen on
the validation split. A linear probe finds directions in an embedding; this asks for the embedding's own geometry, in
which masked autoencoders are known to be weak. Refuses embeddings that are not finite.
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from pacx.core.progress import progress
from pacx.evaluation.comparison import Comparison
from pacx.evaluation.probes.classification import (
    ClassificationData,
    best_on_validation,
    classification_rows,
    score_probabilities,
)
from pacx.evaluation.probes.linear_heads import LabelledFeatures
from pacx.evaluation.results import ResultRow
from pacx.evaluation.settings import NeighbourConfig
from pacx.evaluation.statistics.bootstrap import patient_bootstrap

PROTOCOL = "knn"
_QUERIES_AT_ONCE = 256


def neighbour_probabilities(
    training: LabelledFeatures,
    queries: NDArray[np.float32],
    config: NeighbourConfig,
    *,
    device: torch.device | str = "cpu",
) -> NDArray[np.float64]:
    """Weighted share of positives among the nearest training films.

    Args:
        training: the films that vote; one whose label is unknown does not vote on that label.
        queries: float32 (Q, D).
        config: K different k and the temperature.
        device: where similarities are computed.

    Returns:
        (K, Q, L) in [0, 1]; where no neighbour knows a label, its share of positives in the training split (1/2 where
        nobody knows).
    """
    stored = F.normalize(torch.from_numpy(training.features).to(device), dim=1)
    labels = torch.from_numpy(training.labels.astype(np.float64)).to(device)
    known = (~labels.isnan()).double()
    votes = labels.nan_to_num()
    prior = torch.where(known.sum(0) > 0, votes.sum(0) / known.sum(0).clamp(min=1), 0.5)  # (L,)
    sizes = [min(k, len(stored)) for k in config.neighbours]
    result = torch.empty(len(sizes), len(queries), labels.shape[1], dtype=torch.float64)
    with progress("nearest neighbours", len(queries), "films") as shown:
        for begin in range(0, len(queries), _QUERIES_AT_ONCE):
            part = F.normalize(torch.from_numpy(queries[begin : begin + _QUERIES_AT_ONCE]).to(device), dim=1)
            similarity, nearest = (part @ stored.T).topk(max(sizes), dim=1)  # (q, k) most similar first
            weight = (similarity.double() / config.temperature).exp()[..., None]
            heard = (weight * known[nearest]).cumsum(dim=1)  # (q, k, L)
            positive = (weight * votes[nearest]).cumsum(dim=1)
            for number, size in enumerate(sizes):
                share = positive[:, size - 1] / heard[:, size - 1].clamp(min=torch.finfo(torch.float64).tiny)
                chosen = torch.where(heard[:, size - 1] > 0, share.clamp(max=1), prior)
                result[number, begin : begin + len(part)] = chosen
            shown.advance(len(part))
    return result.numpy()


def nearest_neighbours(
    data: ClassificationData,
    features: Mapping[str, NDArray[np.float32]],
    comparison: Comparison,
    *,
    config: NeighbourConfig,
) -> list[ResultRow]:
    """Score every encoder by its neighbours.

    Args:
        data: labels and splits.
        features: per encoder name float32 (N, D), embeddings of the whole pack.
        comparison: baseline, draws, device, and what rows say.
        config: the k to choose from, and the temperature of the vote.

    Returns:
        The rows of ``linear_probe``; their provenance names the k that each encoder got.

    Raises:
        DataError: embeddings are not those of this pack, or no label of the validation split has both classes, so no k
            can be chosen.
        ModelError: an embedding is not finite.

    Example:
        >>> import pacx
        >>> from pacx.data import Pack
        >>> from pacx.evaluation import ClassificationData, Comparison, embed_pack, nearest_neighbours
        >>> from pacx.evaluation import NeighbourConfig
        >>> pack = Pack.open("packs/films")
        >>> features = {"mae": embed_pack(pacx.load_encoder("runs/mae/encoder"), pack)}
        >>> data = ClassificationData.from_pack(pack, dataset="films", label_names=["pleural_effusion"])
        >>> comparison = Comparison(dataset="films", num_draws=20)
        >>> rows = nearest_neighbours(data, features, comparison, config=NeighbourConfig(neighbours=(5, 10)))
        >>> {row.protocol for row in rows}
        {'knn'}
    """
    draws = patient_bootstrap(data.patient_ids[data.test], num_draws=comparison.num_draws, seed=config.seed)
    scores, chosen = {}, {}
    for name, array in features.items():
        training = data.part(array, data.training)
        judged = np.concatenate([data.validation, data.test])
        probabilities = neighbour_probabilities(
            training, data.part(array, judged).features, config, device=comparison.device
        )
        validation, test = np.split(probabilities, [len(data.validation)], axis=1)
        best = best_on_validation(validation, data)
        chosen[name] = config.neighbours[best]
        scores[name] = score_probabilities(validation[[best]], test[[best]], data, draws)
    remark = "k by validation AUROC: " + ", ".join(f"{name} {k}" for name, k in chosen.items())
    maker = comparison.maker(PROTOCOL, config.seed, remark=remark, drawn_by=data.drawn_by)
    return classification_rows(maker, data, scores, baseline=comparison.baseline, fraction=1.0)
