"""Protocol: attention. How much of the rollout lies on heart or lung, and what changed in rescued films.

A picture of one film proves nothing, so the share of attention inside a mask is measured on every test film, with an
interval, beside the share that uniform attention would have there (the mask's area). For figures, rescue cases are
handed over as arrays: positive films that one encoder's probe finds and the baseline's misses. Draws nothing itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pacx.core.errors import DataError
from pacx.data.packs.pack import Pack
from pacx.evaluation.comparison import Comparison
from pacx.evaluation.embeddings import frozen, input_batches
from pacx.evaluation.results import ResultRow
from pacx.evaluation.statistics.bootstrap import Column, Float, patient_bootstrap, ratio, with_differences
from pacx.models.encoders.film_encoder import FilmEncoder
from pacx.models.rollout import attention_rollout, rollout_network
from pacx.models.segmenter import IGNORED

PROTOCOL = "attention"
UNIFORM = "uniform attention"
METRIC = "attention_share"


def attention_share(maps: NDArray[np.floating], masks: NDArray[np.uint8]) -> Float:
    """The share of each map that lies inside each mask.

    Args:
        maps: (N, S, S), not negative. A map that is zero everywhere says that attention is uniform.
        masks: (N, K, S, S), 1 inside, 0 outside, 255 not judged: such pixels count for nothing.

    Returns:
        (N, K) in [0, 1]; NaN where the mask is empty.
    """
    inside, judged = np.zeros(masks.shape[:2]), np.zeros(masks.shape[:2])
    for film in range(len(maps)):  # one at a time: all at once would need several copies of all masks
        weights = np.ones(maps.shape[1:]) if maps[film].max() == 0 else maps[film].astype(np.float64)
        inside[film] = (weights * (masks[film] == 1)).sum(axis=(1, 2))
        judged[film] = (weights * (masks[film] != IGNORED)).sum(axis=(1, 2))
    has_mask = (masks == 1).any(axis=(2, 3))
    return np.where(has_mask, ratio(inside, judged), np.nan)


def rollout_maps(
    encoder: FilmEncoder,
    pack: Pack,
    *,
    rows: NDArray[np.int64],
    batch_size: int = 32,
    device: torch.device | str = "cpu",
) -> NDArray[np.float32]:
    """Attention rollout of the given films, float32 (N, S, S), each in [0, 1].

    Raises:
        ModelError: the pack has films of another size, or the encoder is no ViT with a class token.
    """
    vit = rollout_network(encoder)
    maps = np.empty((len(rows), *pack.images.shape[1:]), np.float32)
    with frozen(vit, device):
        batches = input_batches(
            pack, rows, encoder.preprocessing, batch_size=batch_size, device=device, title="attention rollout"
        )
        for positions, images in batches:
            maps[positions] = attention_rollout(vit, images).float().cpu().numpy()
    return maps


def attention(
    pack: Pack,
    encoders: Mapping[str, FilmEncoder],
    comparison: Comparison,
    *,
    seed: int = 0,
) -> list[ResultRow]:
    """Measure the share of attention inside every mask of the test films.

    Args:
        pack: films with masks (heart, lung, ...).
        encoders: by name.
        comparison: baseline, draws, device, and what rows say.
        seed: of the bootstrap.

    Returns:
        A row per encoder and mask, its share in [0, 1], paired differences to the baseline, and uniform attention; NaN
        where no test film has the mask.

    Raises:
        DataError: the pack has no masks or no test films.
        ModelError: an encoder takes films of another size, or is no ViT with a class token.

    Source: paper appendix A.2.2 for the map; the paper shows pictures of single films only.

    Example:
        >>> import pacx
        >>> from pacx.data import Pack
        >>> from pacx.evaluation import Comparison, attention
        >>> encoders = {"mae": pacx.load_encoder("runs/mae/encoder")}
        >>> rows = attention(Pack.open("packs/films"), encoders, Comparison(dataset="films", num_draws=20))
        >>> [(row.encoder, row.label) for row in rows][:3]
        [('mae', 'lung'), ('mae', 'heart'), ('mae', 'opacity')]
        >>> all(0 <= row.value <= 1 for row in rows)
        True
    """
    rows = pack.rows("test")
    if pack.masks is None or len(rows) == 0:
        raise DataError(f"pack {pack.path} has no masks or no test images, expected both; pack another dataset")
    masks = pack.masks[rows]
    draws = patient_bootstrap(pack.patient_ids[rows], num_draws=comparison.num_draws, seed=seed)
    maker = comparison.maker(PROTOCOL, seed, drawn_by=pack.drawn_by)
    shares = {}
    for name, encoder in encoders.items():
        maps = rollout_maps(encoder, pack, rows=rows, device=comparison.device)
        shares[name] = draws.weighted_mean(attention_share(maps, masks))
    uniform = attention_share(np.broadcast_to(np.float32(0), (len(rows), *masks.shape[2:])), masks)
    columns = [
        *with_differences(shares, METRIC, comparison.baseline),
        Column(UNIFORM, METRIC, draws.weighted_mean(uniform)),
    ]
    num_films = (~np.isnan(uniform)).sum(axis=0)
    return [
        maker.row(column, column.draws[:, k], label=mask, n=int(num_films[k]))
        for column in columns
        for k, mask in enumerate(pack.mask_names)
    ]


@dataclass(frozen=True, kw_only=True)
class RescueCases:
    """What a figure of M rescued films needs.

    Args:
        sample_ids: (M,).
        images: uint8 (M, S, S).
        probabilities: (M, 2) of the label, encoder then baseline.
        encoder_maps: float32 (M, S, S) in [0, 1].
        baseline_maps: likewise.
    """

    sample_ids: NDArray[np.object_]
    images: NDArray[np.uint8]
    probabilities: Float
    encoder_maps: NDArray[np.float32]
    baseline_maps: NDArray[np.float32]

    @property
    def differences(self) -> NDArray[np.float32]:
        """Encoder minus baseline, (M, S, S) in [-1, 1]."""
        return self.encoder_maps - self.baseline_maps


def rescued(
    truth: NDArray[np.floating], probability: Float, baseline_probability: Float, *, threshold: float = 0.5
) -> NDArray[np.int64]:
    """Positions of the positive films that the encoder finds and the baseline misses, the clearest rescue first.

    Args:
        truth: (N,) 1 / 0 / NaN; only 1 can be rescued.
        probability: (N,) the encoder's.
        baseline_probability: (N,) the baseline's.
        threshold: found means probability >= threshold.
    """
    is_rescued = (truth == 1) & (probability >= threshold) & (baseline_probability < threshold)
    gain = np.where(is_rescued, probability - baseline_probability, -np.inf)
    return np.argsort(-gain, kind="stable")[: int(is_rescued.sum())]


def rescue_cases(
    pack: Pack,
    rows: NDArray[np.int64],
    probabilities: Float,
    *,
    encoder: FilmEncoder,
    baseline: FilmEncoder,
    device: torch.device | str = "cpu",
) -> RescueCases:
    """Both encoders' maps of chosen films.

    Args:
        pack: the films.
        rows: (M,) rows of the pack, for example test rows at the positions ``rescued`` gives.
        probabilities: (M, 2) encoder's and baseline's, for the caption.
        encoder: the encoder that finds them.
        baseline: the encoder that misses them.
        device: where the encoders run.

    Source: paper section 5.2 and figure 4.
    """
    maps = [rollout_maps(each, pack, rows=rows, device=device) for each in (encoder, baseline)]
    return RescueCases(
        sample_ids=pack.sample_ids[rows],
        images=np.asarray(pack.images[rows]),
        probabilities=probabilities,
        encoder_maps=maps[0],
        baseline_maps=maps[1],
    )
