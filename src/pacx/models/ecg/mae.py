"""A masked autoencoder over ECG patches, for those who cannot use ECGFounder's weights.

The same idea as for X-rays: a record is cut into patches of time x lead group, most of them are hidden, and a small
transformer learns to draw the hidden ones from the visible ones. Its encoder then gives the distillation targets: the
mean over all patch tokens, standardized over the training recordings. It learns from the hospital's own ECGs and sees
voltage, which ECGFounder cannot (``EcgScale``).

Records come as ECGFounder takes them, 500 Hz; the model lowers the rate itself, with an anti-alias filter, by a whole
factor. Positions are fixed sines and cosines of time and lead group. Mask noise is an argument, never drawn here.

Source: He et al. 2022, "Masked Autoencoders Are Scalable Vision Learners"; timm's transformer blocks.
"""

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from scipy.signal import firwin
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from pacx.core.artifacts import read_json, staged_directory, write_json
from pacx.core.errors import DataError, ModelError
from pacx.models.ecg.input import EcgPreprocessing
from pacx.models.ecg.kinds import ECG_MAE
from pacx.models.ecg.mae_config import TINY_ECG_MAE, EcgMAEConfig
from pacx.models.initialization import seeded_rng
from pacx.models.strict_loading import load_strictly, read_state_dict, write_state_dict

__all__ = ["TINY_ECG_MAE", "EcgMAEConfig", "EcgMAEOutput", "EcgMaskedAutoencoder", "load_ecg_mae", "save_ecg_mae"]

_NORM_EPS = 1e-6
_TAPS_PER_FACTOR = 20
_QUERY_KEY_GAIN = 2.0
_SMALLEST_STD = 1e-6


class EcgMAEOutput(NamedTuple):
    """``loss`` scalar, ``prediction`` (B, L, patch_leads * patch_samples), ``mask`` (B, L) with 1 = was hidden."""

    loss: Tensor
    prediction: Tensor
    mask: Tensor


def _sines(positions: np.ndarray, width: int) -> np.ndarray:
    """Sine-cosine code of positions, (L, width), with frequencies spread evenly up to half a turn per step.

    The geometric series usual for images makes neighbours nearly parallel, which asks a long training to tell 20 times
    apart; with an even series different positions are nearly orthogonal from the start.
    """
    num_waves = width // 2
    frequency = np.pi * (np.arange(num_waves) + 0.5) / num_waves
    angles = positions[:, None] * frequency[None, :]
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


def _position_code(config: EcgMAEConfig, width: int) -> Tensor:
    """Fixed code of (lead group, time), one row per token, (1, L, width): half the numbers for each."""
    group, time = np.divmod(np.arange(config.num_patches), config.num_times)
    code = np.concatenate([_sines(group, width // 2), _sines(time, width // 2)], axis=1)
    return torch.from_numpy(code).float()[None]


def _low_pass(config: EcgMAEConfig) -> Tensor:
    """The decimating filter as a matrix that turns one frame of input into one patch of output, (frame, patch_samples).

    Each column holds the same windowed sinc, ``decimation`` samples further down: a matrix product is several times
    faster on a processor than the strided convolution it equals.
    """
    factor = config.decimation
    num_taps = _TAPS_PER_FACTOR * factor + 1
    taps = firwin(num_taps, 1 / factor) if factor > 1 else np.eye(1, num_taps, num_taps // 2)[0]
    matrix = np.zeros((config.patch_input_samples - factor + num_taps, config.patch_samples))
    for column in range(config.patch_samples):
        matrix[column * factor : column * factor + num_taps, column] = taps
    return torch.from_numpy(matrix).float()


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)


def _look_at_the_like(block: Block) -> None:
    """Start self-attention as trained ones look: tokens attend to tokens like themselves and copy them.

    Query and key share one orthogonal matrix; value and projection undo each other. With time and lead group in the
    tokens, a hidden patch begins by looking at what happened at its time in other leads. On real ECGs the usual start
    is still at the level of a constant prediction when a short training is over; this one is well below.

    Source: Trockman and Kolter 2023, "Mimetic Initialization of Self-Attention Layers", simplified.
    """
    attention: Any = block.attn
    query, key, value = attention.qkv.weight.data.chunk(3)  # (D, D) each, views
    nn.init.orthogonal_(query, _QUERY_KEY_GAIN)
    key.copy_(query)
    nn.init.orthogonal_(value)
    attention.proj.weight.data.copy_(value.T)


class EcgMaskedAutoencoder(nn.Module):
    """Masked autoencoder over time x lead-group patches of an ECG.

    Args:
        config: sizes and input contract.
        seed: of the initial weights.

    Source: He et al. 2022, with lead groups in the place of rows.
    """

    low_pass: Tensor
    positions: Tensor
    decoder_positions: Tensor
    embedding_mean: Tensor
    embedding_std: Tensor

    def __init__(self, config: EcgMAEConfig, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        patch_dim = config.patch_leads * config.patch_samples
        width, decoder_width = config.embed_dim, config.decoder_embed_dim

        def block(dim: int, num_heads: int) -> Block:
            norm: Any = partial(nn.LayerNorm, eps=_NORM_EPS)
            return Block(dim, num_heads, mlp_ratio=config.mlp_ratio, qkv_bias=True, norm_layer=norm)

        with seeded_rng(seed):
            self.patch_embed = nn.Linear(patch_dim, width)
            self.blocks = nn.ModuleList(block(width, config.num_heads) for _ in range(config.depth))
            self.norm = nn.LayerNorm(width, eps=_NORM_EPS)
            self.decoder_embed = nn.Linear(width, decoder_width)
            self.mask_token = nn.Parameter(0.02 * torch.randn(1, 1, decoder_width))
            self.decoder_blocks = nn.ModuleList(
                block(decoder_width, config.decoder_num_heads) for _ in range(config.decoder_depth)
            )
            self.decoder_norm = nn.LayerNorm(decoder_width, eps=_NORM_EPS)
            self.decoder_pred = nn.Linear(decoder_width, patch_dim)
            self.apply(_initialize)
            for each in (*self.blocks, *self.decoder_blocks):
                _look_at_the_like(each)
        # Constants of the config: not in the state dict, and real numbers even when the rest is on the meta device.
        self.register_buffer("low_pass", _low_pass(config), persistent=False)
        self.register_buffer("positions", _position_code(config, width), persistent=False)
        self.register_buffer("decoder_positions", _position_code(config, decoder_width), persistent=False)
        self.register_buffer("embedding_mean", torch.zeros(width))
        self.register_buffer("embedding_std", torch.ones(width))

    @property
    def preprocessing(self) -> EcgPreprocessing:
        """What a recording must have gone through before ``embed`` or training sees it."""
        return self.config.preprocessing

    def decimate(self, signals: Tensor) -> Tensor:
        """Lower the rate without aliasing, without shift: (B, leads, T) to (B, leads, T / decimation)."""
        frame, step = len(self.low_pass), self.config.patch_input_samples
        left = _TAPS_PER_FACTOR * self.config.decimation // 2  # the filter's centre lies on the first sample
        frames = F.pad(signals, (left, frame - step - left)).unfold(-1, frame, step)  # (B, leads, times, frame)
        return (frames @ self.low_pass).flatten(-2)  # (B, leads, T / decimation)

    def patchify(self, signals: Tensor) -> Tensor:
        """Cut a prepared record into patches: (B, leads, T) to (B, L, patch_leads * patch_samples).

        Token index = lead group * number of times + time; inside a patch, leads one after the other.

        Raises:
            DataError: a shape other than (records, num_leads, samples of the input contract).
        """
        config, expected = self.config, self.config.preprocessing.num_samples
        if signals.ndim != 3 or signals.shape[1:] != (config.num_leads, expected):
            raise DataError(
                f"ECG autoencoder got signals of shape {tuple(signals.shape)}, expected (records, {config.num_leads} "
                f"leads, {expected} samples); prepare the recordings with the model's own preprocessing"
            )
        low = self.decimate(signals)
        grid = low.reshape(-1, config.num_lead_groups, config.patch_leads, config.num_times, config.patch_samples)
        return grid.transpose(2, 3).reshape(len(low), config.num_patches, -1)  # (B, L, patch)

    def _encode(self, tokens: Tensor) -> Tensor:
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)

    def forward(self, signals: Tensor, noise: Tensor) -> EcgMAEOutput:
        """Hide patches, restore them, and measure how well.

        Args:
            signals: (B, leads, T) prepared as ``preprocessing`` says; no NaN.
            noise: (B, L) uniform in [0, 1); the ``num_visible`` smallest of a row stay visible, in ascending order.

        Returns:
            Mean squared error over the hidden patches, the prediction of every patch, and the mask.

        Raises:
            DataError: signals or noise have the wrong shape.
        """
        patches = self.patchify(signals)
        batch, length, patch_dim = patches.shape
        if noise.shape != (batch, length):
            raise DataError(
                f"ECG autoencoder got mask noise of shape {tuple(noise.shape)}, expected ({batch}, {length}); "
                "give one uniform number per patch"
            )
        shown = noise.argsort(dim=1)[:, : self.config.num_visible]  # (B, V)
        mask = torch.ones_like(noise, dtype=patches.dtype).scatter_(1, shown, 0)

        visible = patches.gather(1, shown[:, :, None].expand(-1, -1, patch_dim))  # (B, V, patch)
        positions = self.positions[0, shown]  # (B, V, D)
        latent = self.decoder_embed(self._encode(self.patch_embed(visible) + positions))  # (B, V, decoder D)

        everywhere = self.mask_token.to(latent.dtype).expand(batch, length, -1)
        tokens = everywhere.scatter(1, shown[:, :, None].expand_as(latent), latent) + self.decoder_positions
        for block in self.decoder_blocks:
            tokens = block(tokens)
        prediction = self.decoder_pred(self.decoder_norm(tokens))  # (B, L, patch)

        per_patch = (prediction - patches).square().mean(-1)  # (B, L)
        return EcgMAEOutput((per_patch * mask).sum() / mask.sum(), prediction, mask)

    def embed(self, signals: Tensor) -> Tensor:
        """Embedding of whole records, nothing hidden: (B, leads, T) to the standardized mean over patch tokens (B, D).

        Most of that mean is what all ECGs have in common: its cosine between two patients is 0.99, and a regression
        towards it would learn a constant. Zero mean and unit variance over the training recordings leave what differs.
        """
        return (self._mean_token(signals) - self.embedding_mean) / self.embedding_std

    @torch.no_grad()
    def standardize(self, batches: Iterable[Tensor]) -> None:
        """Fit the mean and standard deviation of ``embed`` to recordings, (B, leads, T) at a time."""
        tokens = torch.cat([self._mean_token(signals) for signals in batches]).double()  # (N, D)
        self.embedding_mean.copy_(tokens.mean(0))
        self.embedding_std.copy_(tokens.std(0, correction=0).clamp_min(_SMALLEST_STD))

    def _mean_token(self, signals: Tensor) -> Tensor:
        return self._encode(self.patch_embed(self.patchify(signals)) + self.positions).mean(1)  # (B, D)


def save_ecg_mae(model: EcgMaskedAutoencoder, out: Path, *, provenance: dict[str, Any]) -> None:
    """Write the folder ``load_ecg_mae`` reads: model.safetensors and config.json."""
    with staged_directory(out) as folder:
        write_state_dict(model, folder / "model.safetensors")
        write_json(
            folder / "config.json", {"kind": ECG_MAE, "config": model.config.to_json(), "provenance": provenance}
        )


def load_ecg_mae(path: Path) -> EcgMaskedAutoencoder:
    """Read a folder written by ``save_ecg_mae``; in eval mode.

    Raises:
        ModelError: the folder holds another kind of model, an unknown config, or weights that do not fit.
        DataError: config.json is missing or not JSON.
    """
    values = read_json(path / "config.json")
    if values.get("kind") != ECG_MAE:
        raise ModelError(f"{path} is not an ECG autoencoder; give a folder that ECG training wrote")
    with torch.device("meta"):
        model = EcgMaskedAutoencoder(EcgMAEConfig.from_json(values["config"]))
    load_strictly(model, read_state_dict(path / "model.safetensors"), path)
    return model.eval().requires_grad_(False)
