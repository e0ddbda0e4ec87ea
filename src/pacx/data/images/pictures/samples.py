"""Samples as a file holds them in, grey 8-bit pixels out: the one place that knows what more than eight bits mean.

How samples become grey:

- grey 8-bit: as they are; fewer bits: linear, so that the greatest value is 255.
- colour: ITU-R 601 luma, exact where all channels are equal; palettes likewise.
- transparency: laid on black, which is air on a radiograph.
- 9 to 16 bits, signed or not, and whole numbers of more bits that keep within 16: linear from black to white as
  ``full_scale`` finds them, of the grey that colour and transparency have become, so that a film has the same greys in
  whatever container it comes.
- floating point: linear from 0 to 1; refused where a value lies outside, as nobody then knows its white.
- where the file says that white is zero: the positive.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pacx.data.images.full_scale import counts_of, full_scale, row_blocks
from pacx.data.images.unreadable import UnreadableImage

COMPRESSED_OTHERWISE = "its pixels are compressed in a way that is not read"

_LUMA_MODES = ("1", "L", "RGB", "CMYK", "YCbCr")
_ALPHA_MODES = ("RGBA", "LA", "PA", "La", "RGBa")
_NUMBER_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
_WITH_ALPHA = (2, 4)
_STRIP_ROWS = 512
_LUMA = (19595, 38470, 7471)
"""Of red, green and blue in 65,536ths, as Pillow has them."""
_LOWEST_SIGNED = -(2**15)
_TOLERANCE = 1e-3
"""In units of the full grey range: a quarter of one grey value, for floating point that was rounded."""


def grey_from_samples(
    samples: NDArray[np.generic], *, num_bits: int | None = None, is_white_zero: bool = False
) -> NDArray[np.uint8]:
    """Samples of any kind as grey uint8 (H, W); they may be changed on the way.

    Args:
        samples: grey (H, W) or (H, W, 1), grey and opacity (H, W, 2), colour (H, W, 3), colour and opacity (H, W, 4);
            bool, whole numbers or floating point, in the machine's byte order.
        num_bits: of a sample, where the file says that there are fewer than the type has.
        is_white_zero: whether the least value is white; the opacity, which 0 is none of, is left as it is.

    Raises:
        UnreadableImage: whole numbers beyond 16 bits, floating point outside of [0, 1], or colour that is signed or
            floating.
    """
    planes = samples if samples.ndim == 3 else samples[:, :, None]  # (H, W, C)
    if planes.dtype.kind == "f":
        return _grey_from_floats(planes, is_white_zero=is_white_zero)
    if planes.dtype == np.bool_:
        planes, num_bits = planes.astype(np.uint8), 1
    if planes.dtype == np.uint8:
        return _grey_from_8_bit(planes.astype(np.uint8, copy=False), num_bits or 8, is_white_zero=is_white_zero)
    numbers, lowest = _in_16_bit(planes)
    num_bits = num_bits or 16
    if lowest and numbers.shape[2] > 1:
        raise UnreadableImage("its colours or its transparency are signed; save it as grey pixels without a sign")
    grey = _luma(numbers)
    if is_white_zero:
        black, white = _black_and_white(grey, num_bits, lowest)
        np.subtract(black + white, np.clip(grey, black, white), out=grey)
    if numbers.shape[2] in _WITH_ALPHA:
        _lay_on_black(grey, numbers[:, :, -1], 2**num_bits - 1)
    return _scaled(grey, *_black_and_white(grey, num_bits, lowest))


def grey_from_image(image: Image.Image) -> NDArray[np.uint8]:
    """A decoded Pillow image as grey uint8 (H, W).

    Raises:
        UnreadableImage: pixels of a kind that is not read, or as ``grey_from_samples``.
    """
    if image.mode in _NUMBER_MODES:
        numbers = np.asarray(image)
        return grey_from_samples(numbers.astype(numbers.dtype.newbyteorder("=")))
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        return _image_on_black(image)
    if image.mode == "P":
        return np.asarray(image.convert("RGB").convert("L"))
    if image.mode in _LUMA_MODES:
        return np.asarray(image.convert("L"))
    raise UnreadableImage(f"pixels of kind '{image.mode}' are not read; expected grey or colour (RGB)")


def _image_on_black(image: Image.Image) -> NDArray[np.uint8]:
    """A transparent image laid on black, strip by strip: whole, it would be held five times at four bytes a pixel."""
    grey = np.empty((image.height, image.width), np.uint8)
    for top in range(0, image.height, _STRIP_ROWS):
        bottom = min(top + _STRIP_ROWS, image.height)
        strip = image.crop((0, top, image.width, bottom)).convert("RGBA")
        black = Image.new("RGBA", strip.size, (0, 0, 0, 255))
        grey[top:bottom] = np.asarray(Image.alpha_composite(black, strip).convert("RGB").convert("L"))
    return grey


def _grey_from_floats(planes: NDArray[np.generic], *, is_white_zero: bool) -> NDArray[np.uint8]:
    if planes.shape[2] > 1:
        raise UnreadableImage("it holds colour or transparency in floating point; save it as grey or as 16-bit colour")
    grey = np.empty(planes.shape[:2], np.uint8)
    for rows in row_blocks(planes):
        share = planes[rows, :, 0].astype(np.float64)
        if not np.isfinite(share).all():
            raise UnreadableImage("it holds NaN or infinite pixels; save it as 8- or 16-bit grey")
        if share.min() < -_TOLERANCE or share.max() > 1 + _TOLERANCE:
            raise UnreadableImage(
                "its floating-point pixels are not from 0 to 1, so that its white is not known; save it as 16-bit grey"
            )
        np.clip(share, 0, 1, out=share)
        grey[rows] = np.floor((1 - share if is_white_zero else share) * 255 + 0.5)
    return grey


def _grey_from_8_bit(planes: NDArray[np.uint8], num_bits: int, *, is_white_zero: bool) -> NDArray[np.uint8]:
    white = 2**num_bits - 1
    if white < 255:
        planes = ((np.arange(256) * 255 + white // 2) // white).astype(np.uint8)[planes]
    if is_white_zero:
        np.subtract(255, planes[:, :, :1], out=planes[:, :, :1])
    if planes.shape[2] == 1:
        return planes[:, :, 0]
    return grey_from_image(Image.fromarray(planes))


def _in_16_bit(planes: NDArray[np.generic]) -> tuple[NDArray[np.uint16], int]:
    """Whole numbers above the lowest that there may be, and this: 0, or -32768 where one is negative."""
    least, greatest = int(planes.min()), int(planes.max())
    if least >= 0 and greatest < 2**16:
        return planes.astype(np.uint16, copy=False), 0
    if least >= _LOWEST_SIGNED and greatest < -_LOWEST_SIGNED:
        return planes.astype(np.int16).view(np.uint16) ^ np.uint16(-_LOWEST_SIGNED), _LOWEST_SIGNED
    raise UnreadableImage("its pixels go beyond 16 bits, so that its white is not known; save it as 16-bit grey")


def _luma(planes: NDArray[np.uint16]) -> NDArray[np.uint16]:
    if planes.shape[2] <= 2:
        return np.ascontiguousarray(planes[:, :, 0])
    grey = np.empty(planes.shape[:2], np.uint16)
    for rows in row_blocks(planes):
        red, green, blue = (planes[rows, :, channel].astype(np.uint32) for channel in range(3))
        weighted = red * _LUMA[0] + green * _LUMA[1] + blue * _LUMA[2]  # at most 65535 x 65536, which 32 bits hold
        grey[rows] = (weighted + 2**15) >> 16
    return grey


def _lay_on_black(grey: NDArray[np.uint16], opacity: NDArray[np.uint16], opaque: int) -> None:
    for rows in row_blocks(grey):
        grey[rows] = (grey[rows].astype(np.uint32) * opacity[rows] + opaque // 2) // opaque


def _black_and_white(grey: NDArray[np.uint16], num_bits: int, lowest: int) -> tuple[int, int]:
    """Counted from the lowest number, as ``grey`` is."""
    black, white = full_scale(counts_of(grey, 2**num_bits), lowest)
    return black - lowest, white - lowest


def _scaled(grey: NDArray[np.uint16], black: int, white: int) -> NDArray[np.uint8]:
    scaled = np.empty(grey.shape, np.uint8)
    for rows in row_blocks(grey):
        share = np.clip(grey[rows].astype(np.int32), black, white) - black
        scaled[rows] = (share * 255 + (white - black) // 2) // (white - black)
    return scaled
