"""Protocol: deletion. Does the attention rollout point at what the encoder's answer rests on?

Patches are removed in the order of the rollout, most attended first, in the reverse order, and in random order; what is
removed is filled with the film blurred, or with its mean. After each step the answer is read: the probe's
probability of a label on films that have it, or, where there is no probe, the cosine to the film's own embedding.

Deletion is the curve of the first order: the smaller its area, the better the map. Insertion, the other usual curve,
puts patches into an empty film, most attended first; after a share f the film is the one from which the 1 - f least
attended have been removed, so it is the curve of the reverse order read backwards, and needs no films of its own. A
random order has one area, whichever way it is read. Draws nothing itself.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from pacx.core.errors import DataError
from pacx.core.randomness import uniform
from pacx.data.augment import to_input
from pacx.data.packs.pack import Pack
from pacx.evaluation.comparison import Comparison
from pacx.evaluation.embeddings import frozen, input_batches
from pacx.evaluation.evidence.alterations import blurred, unit
from pacx.evaluation.probes.classification import ClassificationData, label_column
from pacx.evaluation.probes.linear_heads import LinearHeads
from pacx.evaluation.probes.linear_probe import train_probes
from pacx.evaluation.results import ResultRow
from pacx.evaluation.settings import DeletionConfig, ProbeConfig
from pacx.evaluation.statistics.bootstrap import (
    Float,
    Interval,
    PatientDraws,
    interval,
    patient_bootstrap,
    with_differences,
)
from pacx.models.encoders.film_encoder import FilmEncoder
from pacx.models.rollout import rollout_grid, rollout_network

PROTOCOL = "deletion"
COSINE = "cosine to the whole film"
"""The label of rows that rest on no probe."""
MOST_FIRST, LEAST_FIRST, RANDOM = "most attended first", "least attended first", "random order"
ORDERS = (MOST_FIRST, LEAST_FIRST, RANDOM)


def filled_with(films: Tensor, fill_blur: float) -> Tensor:
    """What shows where patches are removed, (B, S, S) from films in [0, 1]; see ``DeletionConfig.fill_blur``."""
    return blurred(films, fill_blur) if fill_blur else films.mean(dim=(1, 2), keepdim=True).expand(films.shape)


@dataclass(frozen=True, kw_only=True)
class ProbeQuestion:
    """What the encoder is asked of a film: a label of a trained probe.

    Args:
        label: the label's name.
        column: its number among the probe's labels.
        heads: the probe per encoder name; a probability is the mean over its heads.
        rows: films of the pack that have the label.
    """

    label: str
    column: int
    heads: Mapping[str, LinearHeads]
    rows: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class DeletionCurve:
    """One curve of a figure, mean over films.

    Args:
        encoder: its name.
        order: one of ``ORDERS``.
        removed: (F,) share of the patches that is gone.
        change: (F,) intervals of the mean change from the answer on the whole film; paired within films, so that films
            whose answers differ do not widen it.
    """

    encoder: str
    order: str
    removed: Float
    change: tuple[Interval, ...]


@dataclass(frozen=True, kw_only=True)
class DeletionCurves:
    """What a figure of deletion shows.

    Args:
        curves: of all encoders.
        label: whose probability is watched; "" = the cosine to the whole film.
        config: how patches were removed.
        num_films: behind every curve.
    """

    curves: Sequence[DeletionCurve]
    label: str
    config: DeletionConfig
    num_films: int


def ask_probe(
    data: ClassificationData,
    features: Mapping[str, NDArray[np.float32]],
    label: str,
    *,
    config: ProbeConfig,
    device: torch.device | str,
) -> ProbeQuestion:
    """Train a probe per encoder and ask for one label on the test films that have it.

    Raises:
        UsageError: there is no such label.
    """
    column = label_column(data.label_names, label, data.dataset)
    return ProbeQuestion(
        label=label,
        column=column,
        heads={name: train_probes(data, array, config=config, device=device) for name, array in features.items()},
        rows=data.test[data.labels[data.test, column] == 1],
    )


def deletion(
    pack: Pack,
    encoders: Mapping[str, FilmEncoder],
    comparison: Comparison,
    *,
    question: ProbeQuestion | None,
    config: DeletionConfig,
) -> tuple[list[ResultRow], list[DeletionCurve]]:
    """Measure deletion and insertion on the test films.

    Args:
        pack: the films.
        encoders: timm VisionTransformers with a class token, by name.
        comparison: baseline, draws, device, and what rows say.
        question: the label whose probability is watched; None = the cosine to the whole film's embedding.
        config: how patches are removed.

    Returns:
        Rows ``deletion_area``, ``insertion_area``, ``random_area``, and within each film ``deletion_gain`` (random
        minus deletion) and ``insertion_gain`` (insertion minus random): above 0 the rollout knows more than chance.
        The curves, for a figure.

    Raises:
        DataError: there is no film to ask about.
        ModelError: an encoder has no rollout, or takes films of another size.

    Source: Petsiuk et al. 2018, "RISE", section 4.3 (deletion and insertion); the paper shows maps only.

    Example:
        >>> import pacx
        >>> from pacx.data import Pack
        >>> from pacx.evaluation import Comparison, deletion
        >>> from pacx.evaluation import DeletionConfig
        >>> encoders, config = {"mae": pacx.load_encoder("runs/mae/encoder")}, DeletionConfig(steps=2, num_films=3)
        >>> comparison = Comparison(dataset="films", num_draws=20)
        >>> rows, curves = deletion(Pack.open("packs/films"), encoders, comparison, question=None, config=config)
        >>> [row.metric for row in rows]
        ['deletion_area', 'insertion_area', 'random_area', 'deletion_gain', 'insertion_gain']
        >>> curves[0].removed
        array([0. , 0.5, 1. ])
    """
    rows = pack.rows("test") if question is None else question.rows
    if config.num_films:
        keys = uniform(config.seed, "deletion-films", 0, pack.keys[rows], 1)[:, 0]
        rows = np.sort(rows[np.argsort(keys, kind="stable")[: config.num_films]])
    if len(rows) == 0:
        asked = "test films" if question is None else f"test films with {question.label}"
        raise DataError(f"pack {pack.path} has no {asked}; choose another label or pack")
    draws = patient_bootstrap(pack.patient_ids[rows], num_draws=comparison.num_draws, seed=config.seed)
    answers = {
        name: removal_answers(encoder, pack, rows, _reader(name, question), config=config, device=comparison.device)
        for name, encoder in encoders.items()
    }
    label = COSINE if question is None else question.label
    maker = comparison.maker(PROTOCOL, config.seed, drawn_by=pack.drawn_by)
    areas = {name: areas_of(array) for name, array in answers.items()}
    found = [
        maker.row(column, column.draws, label=label, n=len(rows))
        for metric in next(iter(areas.values()))
        for column in with_differences(
            {name: draws.weighted_mean(area[metric][:, None])[:, 0] for name, area in areas.items()},
            metric,
            comparison.baseline,
        )
    ]
    return found, [curve for name, array in answers.items() for curve in _curves(name, array, draws)]


Reader = Callable[[Tensor, Tensor], Tensor]
"""Embeddings of altered films (B, D) and of the same films whole (B, D) to answers (B,)."""


def _reader(name: str, question: ProbeQuestion | None) -> Reader:
    if question is None:
        return lambda altered, whole: torch.cosine_similarity(altered, whole, dim=1)
    heads, column = question.heads[name], question.column
    return lambda altered, _: torch.from_numpy(
        heads.probabilities(altered.cpu().numpy())[:, :, column].mean(axis=0).astype(np.float32)
    )


def removal_answers(
    encoder: FilmEncoder,
    pack: Pack,
    rows: NDArray[np.int64],
    reader: Reader,
    *,
    config: DeletionConfig,
    batch_size: int = 32,
    device: torch.device | str = "cpu",
) -> dict[str, Float]:
    """The answers while patches are removed, by order, each (N, steps + 1); column 0 is the whole film."""
    vit = rollout_network(encoder)
    answers = {order: np.empty((len(rows), config.steps + 1)) for order in ORDERS}
    with frozen(vit, device):
        for positions, images in input_batches(
            pack, rows, encoder.preprocessing, batch_size=batch_size, device=device, title="deletion"
        ):
            films = unit(torch.from_numpy(np.asarray(pack.images[rows[positions]])).to(device))
            filled = filled_with(films, config.fill_blur)
            whole = encoder.embed_images(images)
            for order, rank in _ranks(vit, images, pack.keys[rows[positions]], config.seed).items():
                for step in range(config.steps + 1):
                    mixed = torch.where(_removed(rank, step / config.steps, films), filled, films)
                    embedded = encoder.embed_images(to_input(mixed, encoder.preprocessing)).float()
                    answers[order][positions, step] = reader(embedded, whole.float()).cpu().numpy()
    return answers


def _ranks(vit: VisionTransformer, images: Tensor, keys: NDArray[np.uint64], seed: int) -> dict[str, Tensor]:
    """When each patch goes, by order: whole numbers from 0, (B, h, w)."""
    attended = rollout_grid(vit, images)  # (B, h, w)
    flat = attended.flatten(1)
    chance = torch.from_numpy(uniform(seed, "deletion-order", 0, keys, flat.shape[1])).to(flat.device)

    def ranks(values: Tensor) -> Tensor:
        return values.argsort(dim=1, stable=True).argsort(dim=1).view(attended.shape)

    first = ranks(-flat)
    # the exact reverse, equal attention included
    return {MOST_FIRST: first, LEAST_FIRST: flat.shape[1] - 1 - first, RANDOM: ranks(chance)}


def _removed(rank: Tensor, share: float, films: Tensor) -> Tensor:
    """Which pixels are gone, (B, S, S), when this share of the patches is."""
    is_gone = rank < round(share * rank[0].numel())
    size = films.shape[-1] // rank.shape[-1]
    return is_gone.repeat_interleave(size, dim=1).repeat_interleave(size, dim=2)


def areas_of(answers: Mapping[str, Float]) -> dict[str, Float]:
    """Areas per film (N,) under curves over the unit interval, by trapezoids; see ``deletion`` for the names."""
    area = {order: np.trapezoid(values, dx=1 / (values.shape[1] - 1), axis=1) for order, values in answers.items()}
    return {
        "deletion_area": area[MOST_FIRST],
        "insertion_area": area[LEAST_FIRST],
        "random_area": area[RANDOM],
        "deletion_gain": area[RANDOM] - area[MOST_FIRST],
        "insertion_gain": area[LEAST_FIRST] - area[RANDOM],
    }


def _curves(name: str, answers: Mapping[str, Float], draws: PatientDraws) -> list[DeletionCurve]:
    return [
        DeletionCurve(
            encoder=name,
            order=order,
            removed=np.linspace(0, 1, values.shape[1]),
            change=tuple(interval(column) for column in draws.weighted_mean(values - values[:, :1]).T),
        )
        for order, values in answers.items()
    ]
