"""What may happen to a film before an encoder sees it; imports no torch, so that help is instant."""

from dataclasses import dataclass
from typing import ClassVar

from pacx.core.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What may happen to a film; as constructed, nothing does.

    Args:
        crop_scale: range of the share of the film's area that a random crop keeps; None crops nothing.
        crop_ratio: range of the crop's width over height before it is stretched back, drawn log-uniformly.
        flip_probability: of a mirror image. Off in every recipe of ours, because it puts the heart on the right.
        affine_probability: of a rotation, shift and zoom together.
        rotation_deg: largest rotation either way.
        shift_fraction: largest shift either way, as a share of the side, along each axis.
        zoom: range of the zoom factor.
        jitter_probability: of a change of brightness and contrast together.
        brightness: largest relative change of brightness either way.
        contrast: largest relative change of the distance from the film's mean grey, either way.
        blur_probability: of a Gaussian blur.
        blur_sigma_px: range of its standard deviation in pixels; torchvision's default, as no source states one.
        erasing_probability: of one rectangle being painted over.
        erasing_area: range of the rectangle's share of the film.
        erasing_ratio: range of its height over width, drawn log-uniformly.
        erasing_value: its grey in [0, 1]; the mean of ImageNet, which is zero after normalization.

    Source: method notes on the paper and its released code; torchvision's RandomResizedCrop, RandomAffine, ColorJitter,
        GaussianBlur and RandomErasing for what the words mean.
    """

    crop_scale: tuple[float, float] | None = None
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip_probability: float = 0.0
    affine_probability: float = 0.0
    rotation_deg: float = 10.0
    shift_fraction: float = 0.1
    zoom: tuple[float, float] = (0.9, 1.1)
    jitter_probability: float = 0.0
    brightness: float = 0.2
    contrast: float = 0.2
    blur_probability: float = 0.0
    blur_sigma_px: tuple[float, float] = (0.1, 2.0)
    erasing_probability: float = 0.0
    erasing_area: tuple[float, float] = (0.02, 0.1)
    erasing_ratio: tuple[float, float] = (0.3, 3.3)
    erasing_value: float = 0.449

    STAGE1: ClassVar["Augmentation"]
    """Masked autoencoding: the released code's crop, without its flip (the paper states no augmentation)."""
    STAGE1_RELEASED: ClassVar["Augmentation"]
    """Masked autoencoding as in the released code."""
    DISTILLATION: ClassVar["Augmentation"]
    """Distillation as in the released code, which has no flip there."""

    def __post_init__(self) -> None:
        for name in ("flip", "affine", "jitter", "blur", "erasing"):
            probability = getattr(self, f"{name}_probability")
            if not 0 <= probability <= 1:
                raise UsageError(f"{name}_probability is {probability}, expected a number from 0 to 1")
        if self.crop_scale is not None and not 0 < self.crop_scale[0] <= self.crop_scale[1] <= 1:
            raise UsageError(f"crop_scale is {self.crop_scale}, expected a range of shares above 0 and at most 1")
        if self.erasing_area[1] * max(self.erasing_ratio[1], 1 / self.erasing_ratio[0]) >= 1:
            raise UsageError(
                "erasing_area and erasing_ratio allow a rectangle longer than the film; narrow one of them"
            )


Augmentation.STAGE1 = Augmentation(crop_scale=(0.5, 1.0))


Augmentation.STAGE1_RELEASED = Augmentation(crop_scale=(0.5, 1.0), flip_probability=0.5)


Augmentation.DISTILLATION = Augmentation(
    crop_scale=(0.75, 1.0),
    crop_ratio=(0.85, 1.15),
    affine_probability=0.6,
    jitter_probability=0.3,
    blur_probability=0.15,
    erasing_probability=0.25,
)
