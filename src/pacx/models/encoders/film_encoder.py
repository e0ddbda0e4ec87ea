"""What every protocol asks of an encoder, whoever made it: films in, an embedding and perhaps patch tokens out.

Our own encoder folders, timm models and transformers models keep this contract, and a protocol knows nothing else about
them. An encoder says what it takes (``preprocessing``); how one grey film becomes that is done for all of them in the
same way, on the device. What an encoder cannot give (patch tokens, a class token) it refuses in a sentence.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, Self

from torch import Tensor, nn

from pacx.core.errors import ModelError
from pacx.core.preprocessing import Preprocessing
from pacx.models.vit_config import Pooling


class FilmEncoder(Protocol):
    """A frozen encoder with its input contract.

    Example:
        >>> import torch
        >>> from pacx.models import FilmEncoder, open_encoders
        >>> encoder: FilmEncoder = open_encoders(["pacx=runs/pacx/encoder"], seed=0)[0].encoder
        >>> images = torch.zeros(2, 3, 64, 64)
        >>> encoder.embed_images(images).shape, encoder.patches(images).shape
        (torch.Size([2, 32]), torch.Size([2, 16, 32]))
    """

    @property
    def module(self) -> nn.Module:
        """The network, to be moved to a device and held in eval mode."""

    @property
    def preprocessing(self) -> Preprocessing:
        """What a film must go through first."""

    @property
    def pooling(self) -> Pooling | None:
        """Which part of the output stands for the image; None = as its makers pool."""

    def embed_images(self, images: Tensor) -> Tensor:
        """One embedding per image: (B, D) from normalised (B, C, S, S)."""

    def embed_images_in(self, images: Tensor, poolings: Sequence[Pooling | None]) -> tuple[Tensor, ...]:
        """``embed_images`` of each of the same encoder's poolings (None = its own), in one forward pass."""

    def patches(self, images: Tensor) -> Tensor:
        """One token per patch of a square grid, row by row: (B, L, D) from normalised (B, C, S, S).

        Raises:
            ModelError: the encoder has no such grid.
        """

    def pooled_by(self, pooling: Pooling) -> Self:
        """The same encoder with another part of its output standing for the image.

        Raises:
            ModelError: it has no such part.
        """


class EncoderOutput(NamedTuple):
    """What a network gives for B images.

    Attributes:
        own: (B, D) pooled as its makers pool.
        class_token: (B, D); None where it has none.
        patches: (B, L, D); None where its output is no grid of tokens.
    """

    own: Tensor
    class_token: Tensor | None
    patches: Tensor | None


@dataclass(frozen=True, kw_only=True)
class ForeignEncoder(ABC):
    """An encoder of somebody else's making.

    Args:
        name: for messages.
        module: the network, in eval mode.
        preprocessing: what its makers feed it, but for the way of resizing: films are stretched to the square as for
            everybody here, and not cropped.
        pooling: which part of the output stands for the image; None = as its makers pool.
    """

    name: str
    module: nn.Module
    preprocessing: Preprocessing
    pooling: Pooling | None = None

    @abstractmethod
    def output(self, images: Tensor) -> EncoderOutput:
        """Run the network on normalised (B, C, S, S)."""

    def embed_images(self, images: Tensor) -> Tensor:
        """One embedding per image, (B, D)."""
        return self.embed_images_in(images, [self.pooling])[0]

    def embed_images_in(self, images: Tensor, poolings: Sequence[Pooling | None]) -> tuple[Tensor, ...]:
        """See ``FilmEncoder``."""
        found = self.output(images)
        return tuple(self._pooled(found, self.pooling if each is None else each) for each in poolings)

    def patches(self, images: Tensor) -> Tensor:
        """One token per patch, (B, L, D)."""
        return self._tokens(self.output(images))

    def pooled_by(self, pooling: Pooling) -> Self:
        """See ``FilmEncoder``; what the network lacks shows when it is run."""
        return replace(self, pooling=pooling)

    def _pooled(self, found: EncoderOutput, pooling: Pooling | None) -> Tensor:
        if pooling is None:
            return found.own
        if pooling is Pooling.PATCH_MEAN:
            return self._tokens(found).mean(dim=1)
        if found.class_token is None:
            raise ModelError(f"encoder {self.name} has no class token; leave #token out, or take #mean")
        return found.class_token

    def _tokens(self, found: EncoderOutput) -> Tensor:
        if found.patches is None:
            raise ModelError(f"encoder {self.name} gives no grid of patch tokens; choose one that does")
        return found.patches


def tokens_of_grid(features: Tensor, *, is_channels_last: bool = False) -> Tensor:
    """A feature map (B, D, h, w), or (B, h, w, D) with channels last, as tokens row by row: (B, h w, D)."""
    return features.flatten(1, 2) if is_channels_last else features.flatten(2).transpose(1, 2)


def square_contract(name: str, size: tuple[int, ...], mean: tuple[float, ...], std: tuple[float, ...]) -> Preprocessing:
    """The input contract of a foreign model.

    Args:
        name: for messages.
        size: (C, H, W).
        mean: per channel of values in [0, 1]; one value stands for all channels.
        std: likewise.

    Raises:
        ModelError: the input is no square, or the statistics are not one per channel.
    """
    channels, height, width = size
    if height != width:
        raise ModelError(f"encoder {name} takes {height} x {width} pixels; films are packed as squares only")
    mean, std = (values * channels if len(values) == 1 else values for values in (mean, std))
    if channels not in (1, 3) or not len(mean) == len(std) == channels:
        raise ModelError(
            f"encoder {name} takes {channels} channels and names {len(mean)} means and {len(std)} standard deviations; "
            "expected one or three channels with one of each"
        )
    return Preprocessing(image_size_px=height, num_channels=channels, mean=mean, std=std)
