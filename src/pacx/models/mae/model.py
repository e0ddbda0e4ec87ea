"""Masked autoencoding: hide nine patches in ten, and learn anatomy by painting them back.

Stage 1a of the method. The encoder (the layers of timm's VisionTransformer) sees the visible patches only; a light
decoder sees them and mask tokens with the positions of hidden ones, and predicts pixels. State-dict keys are those of
facebookresearch/mae. It refuses images of another size, and it counts the visible patches at run time: the authors'
release was configured for a mask ratio of 0.90 and silently trained at 0.75.
"""

from typing import NamedTuple, cast

import torch
from timm.layers import LayerNorm
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from pacx.core.errors import ModelError
from pacx.core.randomness import seed_of
from pacx.models.initialization import initialize_transformer, seeded_rng
from pacx.models.mae.config import MAEConfig
from pacx.models.onednn import linear, use_onednn
from pacx.models.vit import (
    class_token_and_positions,
    construction_arguments,
    initialize_encoder,
    sincos_positions,
    vit_with_weights,
)
from pacx.models.vit_config import NORM_EPS

_PIXEL_VARIANCE_EPS = 1e-6  # as facebookresearch/mae: a patch of even background has no variance


class MAEOutput(NamedTuple):
    """What one forward pass gives.

    Attributes:
        loss: scalar, mean squared error over all hidden patches.
        latent: (B, 1 + num_visible, D) normed encoder tokens, class token first, then patches in order of noise.
        prediction: (B, L, patch_size**2 * in_chans) predicted patches, hidden and visible.
        mask: (B, L), 1 = hidden, 0 = visible.
    """

    loss: Tensor
    latent: Tensor
    prediction: Tensor
    mask: Tensor


class _Masked(NamedTuple):
    """Patches (B, L, P), and the places of visible (B, V) and hidden (B, L - V) ones, both in order of noise."""

    patches: Tensor
    kept: Tensor
    hidden: Tensor


class MaskedAutoencoder(nn.Module):
    """The masked autoencoder of Stage 1a.

    Args:
        config: sizes and masking.
        seed: fixes the initial weights; torch's global generator is left alone.

    Source: He et al. 2021, "Masked Autoencoders Are Scalable Vision Learners"; paper appendix A.1.1.
    """

    def __init__(self, config: MAEConfig, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        with seeded_rng(seed_of(seed, "mae")):
            vit = VisionTransformer(**construction_arguments(config))
            initialize_encoder(vit)
            # the encoder's own layers under their own names: a checkpoint of either fits the other
            self.cls_token, self.pos_embed = class_token_and_positions(vit)
            self.patch_embed, self.blocks, self.norm = vit.patch_embed, vit.blocks, vit.norm
            self._add_decoder(config)
        use_onednn(self)

    def _add_decoder(self, config: MAEConfig) -> None:
        width = config.decoder_embed_dim
        # 0.02 is the spread with which BERT, ViT and MAE begin every learnt token
        self.mask_token = nn.Parameter(nn.init.normal_(torch.empty(1, 1, width), std=0.02))
        self.decoder_pos_embed = nn.Parameter(torch.empty(1, 1 + config.num_patches, width), requires_grad=False)
        self.decoder_embed = nn.Linear(config.embed_dim, width)
        self.decoder_blocks = config.decoder.blocks(config)
        self.decoder_norm = LayerNorm(width, eps=NORM_EPS)
        self.decoder_pred = nn.Linear(width, config.patch_size**2 * config.in_chans)
        for layer in (self.decoder_embed, self.decoder_blocks, self.decoder_pred):
            initialize_transformer(layer)
        with torch.no_grad():
            self.decoder_pos_embed.copy_(sincos_positions(width, config.grid_size))

    @property
    def num_visible(self) -> int:
        """Patches per image that the encoder sees."""
        return self.config.num_visible

    @property
    def num_decoded(self) -> int:
        """Hidden patches per image that a training step decodes."""
        return self.config.decoder.num_decoded(self.config.num_patches - self.num_visible)

    def no_weight_decay(self) -> set[str]:
        """Names of tokens and positions, in timm's convention."""
        return {"cls_token", "pos_embed", "mask_token", "decoder_pos_embed"}

    def patchify(self, images: Tensor) -> Tensor:
        """(B, C, S, S) to (B, L, p*p*C): patches row by row, inside a patch row, column, channel.

        Raises:
            ModelError: images of another shape.
        """
        size, patch, channels = self.config.img_size, self.config.patch_size, self.config.in_chans
        if tuple(images.shape[1:]) != (channels, size, size):
            raise ModelError(f"images have shape {tuple(images.shape)}, expected (B, {channels}, {size}, {size})")
        grid = images.reshape(-1, channels, size // patch, patch, size // patch, patch)  # (B, C, h, p, w, q)
        # channels innermost, as in facebookresearch/mae, so that decoder_pred of its checkpoints paints right
        return grid.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)  # (B, h*w, p*q*C)

    def unpatchify(self, patches: Tensor) -> Tensor:
        """The inverse of ``patchify``: (B, L, p*p*C) to (B, C, S, S)."""
        side, patch, channels = self.config.grid_size, self.config.patch_size, self.config.in_chans
        grid = patches.reshape(-1, side, side, patch, patch, channels)  # (B, h, w, p, q, C)
        return grid.permute(0, 5, 1, 3, 2, 4).reshape(-1, channels, side * patch, side * patch)  # (B, C, S, S)

    def forward(self, images: Tensor, noise: Tensor | None = None) -> MAEOutput:
        """Hide patches, encode the rest, predict all, and score the hidden ones.

        For looking and measuring: a decoder that decodes a sample in training goes through all patches here, one
        sample-sized group after the other, so that every prediction is made as in training.

        Args:
            images: normalized (B, C, S, S).
            noise: (B, L); the ``num_visible`` patches with the smallest noise are kept, in ascending order of noise
                (ties by place). Training passes stateless noise; None draws from torch's default generator.

        Raises:
            ModelError: images or noise of another shape.
        """
        masked = self._mask(images, noise)
        latent = self._encode(masked)  # (B, 1 + V, D)
        # in groups as large as in training: with self-attention a prediction depends on how many are asked for
        groups = masked.hidden.split(self.num_decoded, dim=1)
        decoded = [
            self._decode(latent, masked.kept, group, with_visible=number == 0) for number, group in enumerate(groups)
        ]
        tokens = torch.cat(decoded, dim=1)[:, 1:]  # (B, L, W), without the class token
        places = torch.cat([masked.kept, masked.hidden], dim=1)  # (B, L)
        painted = self._paint(tokens)  # (B, L, P), in order of noise
        # empty is safe: kept and hidden places together are every place once
        prediction = torch.empty_like(painted).scatter(1, _spread(places, painted), painted)
        mask = torch.ones_like(masked.patches[..., 0]).scatter(1, masked.kept, 0.0)  # (B, L)
        loss = self._error(masked, masked.hidden, painted[:, self.num_visible :])
        return MAEOutput(loss, latent, prediction, mask)

    def loss(self, images: Tensor, noise: Tensor) -> Tensor:
        """The scalar that training minimizes; arguments and errors are those of ``forward``.

        With the full decoder it is the loss of ``forward``. Otherwise it is that of the decoder's sample: the hidden
        patches that come first in order of noise, which is a random choice.
        """
        masked = self._mask(images, noise)
        decoded = masked.hidden[:, : self.num_decoded]  # (B, K)
        tokens = self._decode(self._encode(masked), masked.kept, decoded)
        return self._error(masked, decoded, self._paint(tokens))

    def encoder(self) -> VisionTransformer:
        """A plain encoder with a copy of the present weights, in eval mode."""
        state = self.state_dict()
        return vit_with_weights(
            self.config, {key: tensor.clone() for key, tensor in state.items() if not is_decoder_key(key)}
        )

    def _mask(self, images: Tensor, noise: Tensor | None) -> _Masked:
        patches = self.patchify(images)  # (B, L, P)
        if noise is None:
            noise = torch.rand(patches.shape[:2], device=images.device)  # (B, L)
        if noise.shape != patches.shape[:2]:
            raise ModelError(f"mask noise has shape {tuple(noise.shape)}, expected {tuple(patches.shape[:2])}")
        places = noise.argsort(dim=1, stable=True)  # (B, L); stable, so that equal noise falls alike on every device
        return _Masked(patches, places[:, : self.num_visible], places[:, self.num_visible :])

    def _require_mask_ratio(self, num_seen: int) -> None:
        """Compare what goes through the encoder with the configured ratio itself, not with a count derived from it."""
        hidden_ratio = 1 - num_seen / self.config.num_patches
        # the configured ratio is rounded to whole patches, always to more hidden ones; 1e-9 is for floats
        if not -1e-9 < hidden_ratio - self.config.mask_ratio < 1 / self.config.num_patches:
            raise ModelError(
                f"the encoder saw {num_seen} of {self.config.num_patches} patches, which is no mask ratio of "
                f"{self.config.mask_ratio}; the masking was changed after the model was configured"
            )

    def _encode(self, masked: _Masked) -> Tensor:
        """Embed and encode the kept patches only; the patch convolution is a linear map of unfolded patches."""
        visible = masked.patches.gather(1, _spread(masked.kept, masked.patches))  # (B, V, P)
        convolution = self.patch_embed.proj
        weight = convolution.weight.permute(0, 2, 3, 1).flatten(1)  # (D, p*p*C): the order inside a patch
        tokens = linear(visible, weight, convolution.bias) + self.pos_embed[0, 1:][masked.kept]  # (B, V, D)
        # place 0 of the positions is the class token's; it is zero, and added for checkpoints where it is not
        class_token = (self.cls_token + self.pos_embed[:, :1]).expand(len(tokens), -1, -1)  # (B, 1, D)
        latent = self.norm(self.blocks(torch.cat([class_token, tokens], dim=1)))
        self._require_mask_ratio(num_seen=latent.shape[1] - 1)
        return latent

    def _decode(self, latent: Tensor, kept: Tensor, asked: Tensor, *, with_visible: bool = False) -> Tensor:
        """Decoder tokens (B, K, W) at the places (B, K) asked for; after the visible ones if wanted (B, 1 + V + K, W).

        Attention does not know an order, so nothing is put back in its place: a token's position travels with it.
        """
        class_position, positions = self.decoder_pos_embed[:, :1], self.decoder_pos_embed[0, 1:]
        where = torch.cat([class_position.expand(len(kept), -1, -1), positions[kept]], dim=1)  # (B, 1 + V, W)
        begun = self.mask_token[0] + positions  # (L, W)
        decoded = self.decoder_blocks(self.decoder_embed(latent) + where, begun, asked, with_visible=with_visible)
        return cast("Tensor", decoded)

    def _paint(self, tokens: Tensor) -> Tensor:
        """Decoder tokens (B, K, W) to patches (B, K, P)."""
        return self.decoder_pred(self.decoder_norm(tokens))

    def _error(self, masked: _Masked, places: Tensor, painted: Tensor) -> Tensor:
        """Mean squared error of patches (B, K, P) painted at places (B, K)."""
        target = masked.patches.gather(1, _spread(places, masked.patches))  # (B, K, P)
        if self.config.norm_pix_loss:
            variance, mean = torch.var_mean(target, dim=-1, keepdim=True)  # (B, K, 1)
            # torch's unbiased variance, as facebookresearch/mae takes it
            target = (target - mean) / (variance + _PIXEL_VARIANCE_EPS).sqrt()
        # autocast paints in half precision, in which squares of small errors lose their digits
        return (painted.to(target.dtype) - target).square().mean()


def is_decoder_key(key: str) -> bool:
    """Whether a state-dict key belongs to what is dropped after pretraining."""
    return key.startswith(("decoder_", "mask_token"))


def _spread(places: Tensor, like: Tensor) -> Tensor:
    """Places (B, K) as an index into the second axis of (B, L, P) tensors: (B, K, P), without copying."""
    return places[..., None].expand(-1, -1, like.shape[-1])
