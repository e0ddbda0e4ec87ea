"""The input contract: what a film must have gone through before the encoder sees it. One fact, one place.

A pack's manifest, an encoder folder and a served model all carry this object; two that differ refuse each other.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pacx.core.errors import ModelError
from pacx.core.typed_json import TypedJson

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class Preprocessing(TypedJson, what="preprocessing contract", error=ModelError):
    """How a grey 8-bit film becomes encoder input.

    The film is stretched to a square (the paper: aspect ratio not kept), antialiased bilinear, kept as uint8; at the
    encoder's door it is divided by 255, repeated over ``num_channels`` and normalised per channel.

    Source: paper appendix A.1.1 (224 pixels, ImageNet statistics).
    """

    image_size_px: int = 224
    num_channels: int = 3
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    resize: str = "stretch-bilinear-antialias"

    def __post_init__(self) -> None:
        if not len(self.mean) == len(self.std) == self.num_channels:
            raise ModelError(
                f"preprocessing names {self.num_channels} channels but {len(self.mean)} means and {len(self.std)} "
                "standard deviations; give one of each per channel"
            )
        if not np.isfinite([*self.mean, *self.std]).all() or not all(each > 0 for each in self.std):
            raise ModelError(
                f"preprocessing has means {self.mean} and standard deviations {self.std}; give finite ones, and "
                "deviations above zero"
            )
        if self.resize != "stretch-bilinear-antialias":
            raise ModelError(f"preprocessing asks for resize '{self.resize}', which this version does not know")

    def normalize(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Grey uint8 (N, S, S) to normalised float32 (N, C, S, S)."""
        mean = np.asarray(self.mean, np.float32)[None, :, None, None]
        std = np.asarray(self.std, np.float32)[None, :, None, None]
        unit = images.astype(np.float32)[:, None] / np.float32(255)  # (N, 1, S, S)
        return (unit - mean) / std
