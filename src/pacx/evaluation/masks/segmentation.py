"""Protocol: segmentation. A small decoder on frozen patch tokens, judged by IoU and Dice per film and pooled.

Pack with masks -> patch tokens, cached once -> decoders (best epoch on validation) -> pixel counts per film -> rows.
Several decoders per encoder, differing in their seed: two decoders on the same tokens can differ by more than encoders.
Pixels with mask value 255 belong to nothing: not to the loss, not to the score. Where mask and prediction are both
empty the film's IoU and Dice are 1 by convention, and the share of such films is a row of its own; pooled scores have
no need of the convention. Refuses packs without masks.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pacx.core.errors import DataError, ModelError
from pacx.core.progress import progress
from pacx.core.randomness import order
from pacx.data.packs.pack import Pack
from pacx.evaluation.comparison import Comparison
from pacx.evaluation.embeddings import embed_patches
from pacx.evaluation.masks.overlap import MaskOverlap, mask_overlap
from pacx.evaluation.results import ResultRow
from pacx.evaluation.settings import SegmentationConfig
from pacx.evaluation.statistics.bootstrap import (
    Float,
    PatientDraws,
    RowMaker,
    mean_over_seeds,
    patient_bootstrap,
    ratio,
    with_differences,
)
from pacx.models.encoders.film_encoder import FilmEncoder
from pacx.models.segmenter import SegmentationDecoder, dice_bce_loss

PROTOCOL = "segmentation"

Keep = Callable[[str, SegmentationDecoder], None]
"""Takes an encoder's name and its first decoder."""


@dataclass(frozen=True, kw_only=True)
class MaskedTokens:
    """Cached patch tokens with their films' masks.

    Args:
        tokens: (N, L, D), float16 or float32.
        masks: uint8 (N, K, S, S), 1 inside, 0 outside, 255 not judged.
        keys: uint64 (N,) of the samples.
    """

    tokens: NDArray[np.floating]
    masks: NDArray[np.uint8]
    keys: NDArray[np.uint64]


def train_decoder(
    training: MaskedTokens,
    validation: MaskedTokens,
    *,
    patch_size: int,
    config: SegmentationConfig,
    seed: int,
    device: torch.device | str = "cpu",
) -> SegmentationDecoder:
    """Train a decoder on frozen tokens and return it as it was at its best validation epoch (mean Dice)."""
    num_masks = training.masks.shape[1]
    decoder = SegmentationDecoder(training.tokens.shape[2], patch_size, num_masks, seed=seed).to(device)
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    steps_per_epoch = math.ceil(len(training.keys) / config.batch_size)
    warmup, total = config.warmup_epochs * steps_per_epoch, config.epochs * steps_per_epoch
    best, kept, step = -math.inf, decoder.state_dict(), 0
    with progress("segmentation", config.epochs, "epochs") as shown:
        for epoch in range(config.epochs):
            shuffled = order(seed, "segmentation-order", epoch, training.keys)
            for begin in range(0, len(shuffled), config.batch_size):
                rows = shuffled[begin : begin + config.batch_size]
                optimizer.param_groups[0]["lr"] = config.learning_rate * _rate(step, warmup, total)
                loss = dice_bce_loss(
                    decoder(torch.from_numpy(training.tokens[rows]).to(device).float()),
                    torch.from_numpy(training.masks[rows]).to(device),
                )
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                step += 1
            score = _mean_dice(predict_overlap(decoder, validation, device=device))
            if score > best:
                best = score
                kept = {name: tensor.detach().clone() for name, tensor in decoder.state_dict().items()}
            shown.advance(note=f"validation Dice {score:.3f}")
    decoder.load_state_dict(kept)
    return decoder


def _rate(step: int, warmup: int, total: int) -> float:
    """Share of the peak rate: linear up to 1, then half a cosine towards 0."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(total - warmup, 1)))


def _mean_dice(counts: MaskOverlap) -> float:
    dice = counts.dice()
    if np.isnan(dice).all():
        raise DataError("no pixel of the validation masks is judged, so no checkpoint can be chosen; check the masks")
    return float(np.nanmean(dice))


def predict_overlap(
    decoder: SegmentationDecoder, films: MaskedTokens, *, batch_size: int = 64, device: torch.device | str = "cpu"
) -> MaskOverlap:
    """Predict masks (probability above one half) and count their overlap with the true ones."""
    parts = []
    with torch.inference_mode():
        for begin in range(0, len(films.keys), batch_size):
            tokens = torch.from_numpy(films.tokens[begin : begin + batch_size]).to(device).float()
            predicted = (decoder(tokens) > 0).cpu().numpy()
            parts.append(mask_overlap(predicted, films.masks[begin : begin + batch_size]))
    return MaskOverlap(
        intersection=np.concatenate([part.intersection for part in parts]),
        predicted=np.concatenate([part.predicted for part in parts]),
        inside=np.concatenate([part.inside for part in parts]),
        judged=np.concatenate([part.judged for part in parts]),
    )


def segmentation(
    pack: Pack,
    encoders: Mapping[str, FilmEncoder],
    comparison: Comparison,
    *,
    config: SegmentationConfig,
    keep: Keep | None = None,
) -> list[ResultRow]:
    """Train decoders per encoder and judge them on the test films.

    Args:
        pack: films with masks and splits.
        encoders: by name; only one encoder's tokens are held at a time.
        comparison: baseline, draws, device, and what rows say.
        config: the decoders' training.
        keep: what happens to each encoder's first decoder; None = it is forgotten.

    Returns:
        A row per encoder, mask and metric (``iou``, ``dice``, both ``_pooled`` too, ``both_empty_fraction``), all in
        [0, 1], and the paired differences to the baseline; NaN where no pixel is judged.

    Raises:
        DataError: the pack has no masks or an empty split.
        ModelError: an encoder takes films of another size, or gives no grid of patches.

    Source: paper appendix A.2.2 and Table 1.

    Example:
        >>> import pacx
        >>> from pacx.data import Pack
        >>> from pacx.evaluation import Comparison, segmentation
        >>> from pacx.evaluation import SegmentationConfig
        >>> encoders = {"mae": pacx.load_encoder("runs/mae/encoder")}
        >>> short = SegmentationConfig(epochs=1, warmup_epochs=0, num_seeds=1)
        >>> comparison = Comparison(dataset="films", num_draws=20)
        >>> rows = segmentation(Pack.open("packs/films"), encoders, comparison, config=short)
        >>> [row.label for row in rows if row.metric == "dice"]
        ['lung', 'heart', 'opacity']
    """
    counts = {
        name: decode_test_films(
            pack, encoder, name=name, config=config, seeds=config.seeds, keep=keep, device=comparison.device
        )
        for name, encoder in encoders.items()
    }
    draws = patient_bootstrap(pack.patient_ids[pack.rows("test")], num_draws=comparison.num_draws, seed=config.seed)
    maker = comparison.maker(PROTOCOL, config.seed, drawn_by=pack.drawn_by)
    return segmentation_rows(maker, counts, draws, mask_names=pack.mask_names, baseline=comparison.baseline)


def decode_test_films(
    pack: Pack,
    encoder: FilmEncoder,
    *,
    name: str,
    config: SegmentationConfig,
    seeds: Sequence[int],
    keep: Keep | None = None,
    device: torch.device | str = "cpu",
) -> tuple[MaskOverlap, ...]:
    """Train a decoder per seed on one encoder's tokens and count overlaps with the masks of the test films, (N, K).

    Arguments and errors as ``segmentation``; ``name`` is the encoder's, for messages.
    """
    splits = {split: pack.rows(split) for split in ("train", "val", "test")}
    empty = [split for split, rows in splits.items() if len(rows) == 0]
    if pack.masks is None or empty:
        lack = "no masks" if pack.masks is None else f"no images in {', '.join(empty)}"
        raise DataError(f"pack {pack.path} has {lack}, expected masks and all three splits; pack another dataset")
    parts = {
        split: MaskedTokens(
            tokens=embed_patches(encoder, pack, rows=rows, device=device),
            masks=pack.masks[rows],
            keys=pack.keys[rows],
        )
        for split, rows in splits.items()
    }
    patch_size = _patch_size(name, parts["train"])
    counts: list[MaskOverlap] = []
    for seed in seeds:
        decoder = train_decoder(
            parts["train"], parts["val"], patch_size=patch_size, config=config, seed=seed, device=device
        )
        if keep is not None and not counts:
            keep(name, decoder)
        counts.append(predict_overlap(decoder, parts["test"], device=device))
    return tuple(counts)


def _patch_size(name: str, films: MaskedTokens) -> int:
    """Pixels along a patch, from the number of tokens that stand for a film."""
    num_tokens, size_px = films.tokens.shape[1], films.masks.shape[-1]
    side = math.isqrt(num_tokens)
    if side**2 != num_tokens or size_px % side:
        raise ModelError(
            f"encoder {name} gives {num_tokens} patch tokens for {size_px} pixels, which is no square grid of whole "
            "patches; choose another encoder for segmentation"
        )
    return size_px // side


def segmentation_rows(
    maker: RowMaker,
    counts: Mapping[str, Sequence[MaskOverlap]],
    draws: PatientDraws,
    *,
    mask_names: tuple[str, ...],
    baseline: str | None,
) -> list[ResultRow]:
    """Rows of every encoder and mask: mean over films, pooled over pixels, and the share of films empty in both.

    Args:
        maker: what the rows have in common.
        counts: per encoder and decoder over the N test films.
        draws: patient draws over the same films.
        mask_names: the K masks.
        baseline: see ``segmentation``.
    """
    metrics: dict[str, Callable[[MaskOverlap], Float]] = {
        "iou": lambda count: draws.weighted_mean(count.iou()),
        "dice": lambda count: draws.weighted_mean(count.dice()),
        "iou_pooled": lambda count: _pooled(draws, count.intersection, count.union),
        "dice_pooled": lambda count: _pooled(draws, 2 * count.intersection, count.predicted + count.inside),
        "both_empty_fraction": lambda count: draws.weighted_mean(count.is_both_empty),
    }
    first = next(iter(counts.values()))
    num_judged = (first[0].judged > 0).sum(axis=0)
    remark = f"mean of {len(first)} decoder{'s' * (len(first) > 1)}"
    return [
        maker.row(column, column.draws[:, k], label=mask, n=int(num_judged[k]), remark=remark)
        for metric, measure in metrics.items()
        for column in with_differences(
            {
                name: mean_over_seeds(np.stack([measure(count) for count in each]), seed=maker.seed)
                for name, each in counts.items()
            },
            metric,
            baseline,
        )
        for k, mask in enumerate(mask_names)
    ]


def _pooled(draws: PatientDraws, numerator: NDArray[np.int64], denominator: NDArray[np.int64]) -> Float:
    return ratio(draws.weighted_sum(numerator), draws.weighted_sum(denominator))
