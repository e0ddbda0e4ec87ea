"""What a masked autoencoder is to be: its sizes, its mask, and which hidden patches it decodes: three named answers.

The paper's decoder (``FullDecoder``) is three quarters of the arithmetic of pretraining at 90 % masking. The other two
decode a sample of the hidden patches, which changes the objective and is therefore asked for by name; the encoder is
the same in all three, and what comes out of training is the encoder. This file imports no torch, so that help is
instant; ``Decoder.blocks`` imports the layers it makes.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

from pacx.core.errors import ModelError
from pacx.models.vit_config import ViTConfig, require_multiple, require_positive

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Decoder(ABC):
    """What is decoded, and by which blocks."""

    @abstractmethod
    def num_decoded(self, num_hidden: int) -> int:
        """Hidden patches per image that are decoded in a training step."""

    @abstractmethod
    def blocks(self, config: "MAEConfig") -> "nn.Module":
        """Blocks that take visible tokens, what queries begin as, and the places asked for, which they decode."""


@dataclass(frozen=True, kw_only=True)
class FullDecoder(Decoder):
    """The paper's: every hidden patch is decoded, and all tokens attend to all.

    Source: He et al. 2021; paper appendix A.1.1.
    """

    def num_decoded(self, num_hidden: int) -> int:
        """Every hidden patch is decoded and enters the loss."""
        return num_hidden

    def blocks(self, config: "MAEConfig") -> "nn.Module":
        """Blocks with the names of facebookresearch/mae."""
        from pacx.models.mae.decoders import SelfAttentionBlocks

        return SelfAttentionBlocks(config)


@dataclass(frozen=True, kw_only=True)
class _DecoderOfSample(Decoder):
    """Decodes a random sample of the hidden patches in training; each film draws other ones in each epoch.

    Args:
        num_sampled: hidden patches decoded per image and step.
    """

    num_sampled: int = 49  # a quarter of the 196 patches of 224 pixels

    def num_decoded(self, num_hidden: int) -> int:
        """The sample.

        Raises:
            ModelError: more than there are, or none.
        """
        if not 0 < self.num_sampled <= num_hidden:
            raise ModelError(
                f"num_sampled is {self.num_sampled} but the mask hides {num_hidden} patches of an image; "
                f"give a number from 1 to {num_hidden}"
            )
        return self.num_sampled


@dataclass(frozen=True, kw_only=True)
class SampledDecoder(_DecoderOfSample):
    """The paper's blocks over the visible patches and a random sample of the hidden ones.

    Source: after the partial reconstruction of Fu et al. 2024 (CrossMAE, arXiv:2401.14391), with self-attention kept.
    """

    def blocks(self, config: "MAEConfig") -> "nn.Module":
        """As the full decoder's."""
        from pacx.models.mae.decoders import SelfAttentionBlocks

        return SelfAttentionBlocks(config)


@dataclass(frozen=True, kw_only=True)
class CrossDecoder(_DecoderOfSample):
    """Each decoded patch attends to the visible ones only: no patch's prediction depends on which others are decoded.

    Source: Fu et al. 2024 (CrossMAE, arXiv:2401.14391), reading the last encoder layer.
    """

    def blocks(self, config: "MAEConfig") -> "nn.Module":
        """Cross-attention and a perceptron."""
        from pacx.models.mae.decoders import CrossAttentionBlocks

        return CrossAttentionBlocks(config)


@dataclass(frozen=True, kw_only=True)
class MAEConfig(ViTConfig):
    """Encoder, decoder and masking; the defaults are the paper's.

    Args:
        decoder_embed_dim: decoder width; a multiple of ``decoder_num_heads`` and of 4.
        decoder_depth: decoder blocks.
        decoder_num_heads: attention heads per decoder block.
        mask_ratio: share of patches hidden from the encoder, in (0, 1); at least one patch stays visible.
        norm_pix_loss: predict each patch's pixels normalized by that patch's own mean and variance.
        decoder: which hidden patches are decoded in a training step, and how.

    Raises:
        ModelError: sizes that do not divide, a mask that leaves no patch visible or none hidden, or more patches to
            decode than are hidden.

    Source: paper appendix A.1.1.
    """

    decoder_embed_dim: int = 512
    decoder_depth: int = 8
    decoder_num_heads: int = 16
    mask_ratio: float = 0.9
    norm_pix_loss: bool = False
    decoder: Decoder = field(default_factory=FullDecoder)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "decoder_embed_dim", "decoder_depth", "decoder_num_heads")
        require_multiple(self, "decoder_embed_dim", self.decoder_num_heads, "decoder_num_heads")
        require_multiple(self, "decoder_embed_dim", 4, "four, for sine-cosine positions")
        if not 0 < self.mask_ratio < 1:  # catches NaN too
            raise ModelError(f"mask_ratio is {self.mask_ratio}; give a share between 0 and 1, such as 0.9")
        if not 0 < self.num_visible < self.num_patches:
            raise ModelError(
                f"mask_ratio {self.mask_ratio} leaves {self.num_visible} of {self.num_patches} patches visible; "
                "choose a ratio that leaves some visible and some hidden"
            )
        self.decoder.num_decoded(self.num_patches - self.num_visible)

    @property
    def num_visible(self) -> int:
        """Patches the encoder sees: the whole part of L * (1 - mask_ratio), in exact decimal arithmetic.

        In floats 1 - 0.9 is a little less than a tenth, so that of 100 patches nine would be kept instead of ten.
        """
        return int(self.num_patches * (1 - Fraction(str(self.mask_ratio))))
