"""An image file in, a grey 8-bit film out; the one door through which a stranger's file enters.

Stands between records and packs, and between an uploaded file and the encoder when serving. Knows no torch. It refuses
whatever it cannot read whole and without a warning: empty, truncated, animated, tiny or gigantic files, and formats
other than PNG, JPEG, TIFF, BMP, DICOM (``dicom.py``) and rows of numpy arrays (``array_images.py``). It never guesses,
never repairs, and never repeats a file's content in a message.

How other pixels become grey 8-bit:

- grey 8-bit: as they are. JPEG in YCbCr: its luma channel as stored (equal channels give exactly that grey).
- RGB, palette, CMYK: ITU-R 601 luma through Pillow; exact where all channels are equal.
- transparency (RGBA, LA, a transparent palette entry): laid on black, which is air on a radiograph.
- 16-bit grey: linear; full scale is the smallest of 8, 10, 12, 14 or 16 bits that holds the brightest pixel, because
  12-bit detectors are usually stored in 16-bit files and would otherwise come out nearly black.
- 1-bit: 0 and 255.

EXIF orientation is not applied, as in every published loader of these datasets.
"""

import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pacx.data.file_kinds import FileKind, kind_of
from pacx.data.images.array_rows import ImageRef, grey_from_array_row
from pacx.data.images.unreadable import DAMAGED, MAX_IMAGE_PX, TooLargeImage, UnreadableImage, check_size, require_disk

MASK_IGNORE = 255
"""In a decoded mask: this pixel is unknown and counts neither way."""

_FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
_LUMA_MODES = ("1", "L", "RGB", "CMYK", "YCbCr")
_ALPHA_MODES = ("RGBA", "LA", "PA", "La", "RGBa")
_PNG_END = b"IEND\xaeB`\x82"
_STRIP_ROWS = 512
_IGNORE_GREYS = (127, 128)


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """What may be done to a file on the way to its pixels; a pack's manifest records it.

    Args:
        scaled_jpeg: let JPEG's inverse transform shrink a film that is larger than wanted (by a multiple of 1/8, never
            below the wanted size) before it is resized. Faster, and a little different: see ``docs/experiments.md``.
            Masks are always decoded in full.
        allow_burned_in: read DICOM files whose header says that text is burned into the film.
    """

    scaled_jpeg: bool = False
    allow_burned_in: bool = False


_PLAIN = Decoding()


def decode_grey(image: Path | ImageRef, decoding: Decoding = _PLAIN, *, wanted_px: int = 0) -> NDArray[np.uint8]:
    """Read a PNG, JPEG, TIFF, BMP or DICOM file, or the row of an array file ("cxr.npy#7"), as one grey channel.

    Args:
        image: the file; ``FILE.npy#ROW`` for a row.
        decoding: what may be done on the way.
        wanted_px: the side of the square the film is wanted for; only scaled decoding of a JPEG heeds it.

    Returns:
        uint8 (H, W), dark is low. See the module docstring for how other pixels become grey.

    Raises:
        UnreadableImage: the file is missing, empty, truncated, not an image, animated or multi-page, smaller than
            16 x 16 pixels, larger than 100 megapixels, or has pixels of a kind no radiograph has.
    """
    ref = image if isinstance(image, ImageRef) else ImageRef.parse(image)
    try:
        if ref.row is not None:
            return grey_from_array_row(ref.file, ref.row)
        return grey_from_bytes(_read(ref.file), decoding, wanted_px=wanted_px)
    except UnreadableImage as error:
        raise UnreadableImage(error.reason, ref.name) from error


def grey_from_bytes(data: bytes, decoding: Decoding = _PLAIN, *, wanted_px: int = 0) -> NDArray[np.uint8]:
    """Decode the bytes of an image file as ``decode_grey`` does, for callers that hold them already.

    Raises:
        UnreadableImage: as ``decode_grey``.
    """
    if not data:
        raise UnreadableImage("the file is empty")
    kind = kind_of(data)
    if kind is FileKind.DICOM:
        from pacx.data.images.dicom import grey_from_dicom  # a third of a second, which most folders need not wait for

        return grey_from_dicom(data, allow_burned_in=decoding.allow_burned_in)
    if kind is FileKind.JPEG:
        grey = _grey_from_jpeg(data, wanted_px if decoding.scaled_jpeg else 0)
        if grey is not None:
            return grey
    return _grey_from_pillow(data)


def decode_mask(path: Path) -> NDArray[np.uint8]:
    """Read a segmentation mask.

    A file with no value above 1 is taken as {0, 1}. Otherwise 127 and 128 mean "ignore", brighter is the structure and
    darker is background, so that masks saved as JPEG survive; a file with values from 2 to 126 and nothing brighter is
    a label map, and refused.

    Returns:
        uint8 (H, W): 1 structure, 0 background, 255 ignore.

    Raises:
        UnreadableImage: as ``decode_grey``, or the values are those of a label map.
    """
    try:
        grey = grey_from_bytes(_read(path))
        brightest = int(grey.max())
        if brightest <= 1:
            return grey
        if brightest < _IGNORE_GREYS[0]:
            raise UnreadableImage(
                f"the mask's brightest value is {brightest}; expected 0 and 255 (127 for ignore) or 0 and 1, one "
                "structure per file"
            )
    except UnreadableImage as error:
        raise UnreadableImage(error.reason, path) from error
    mask = (grey > _IGNORE_GREYS[1]).astype(np.uint8)
    mask[np.isin(grey, _IGNORE_GREYS)] = MASK_IGNORE
    return mask


def to_square(grey: NDArray[np.uint8], size_px: int) -> NDArray[np.uint8]:
    """Stretch a film to a square with Pillow's antialiased bilinear filter.

    Args:
        grey: uint8 (H, W).
        size_px: side of the square; a film that has it already is returned unchanged.

    Returns:
        uint8 (S, S).

    Source: paper appendix A.1.1 (resized directly, aspect ratio not kept).
    """
    return _resized(grey, size_px, Image.Resampling.BILINEAR)


def to_square_mask(mask: NDArray[np.uint8], size_px: int) -> NDArray[np.uint8]:
    """Stretch a mask (H, W) to (S, S) by nearest neighbour, so that no value arises that was not there."""
    return _resized(mask, size_px, Image.Resampling.NEAREST)


def _resized(image: NDArray[np.uint8], size_px: int, resampling: Image.Resampling) -> NDArray[np.uint8]:
    if image.shape == (size_px, size_px):
        return image
    return np.asarray(Image.fromarray(image).resize((size_px, size_px), resampling))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        require_disk(error, path)
        raise UnreadableImage(f"the file cannot be opened ({error.strerror})", path) from error


def _grey_from_jpeg(data: bytes, min_side_px: int) -> NDArray[np.uint8] | None:
    """The luma of a grey or YCbCr JPEG; None for the rare colour spaces that Pillow has to convert."""
    import simplejpeg  # not above: whoever trains on packs decodes no file, and may do without it

    try:
        height, width, colour_space, _ = simplejpeg.decode_jpeg_header(data)
        if colour_space not in ("Gray", "YCbCr"):
            return None
        check_size(height, width)
        return simplejpeg.decode_jpeg(data, "GRAY", min_height=min_side_px, min_width=min_side_px)[
            :, :, 0
        ]  # (H, W, 1) -> (H, W)
    except ValueError:
        # The cause is left out on purpose: a decoder's message may quote the file.
        raise UnreadableImage(DAMAGED) from None


def _grey_from_pillow(data: bytes) -> NDArray[np.uint8]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            # Our own limit, checked before any pixel is decoded, stands in for Pillow's lower warning.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                check_size(image.height, image.width)
                if getattr(image, "n_frames", 1) > 1:
                    raise UnreadableImage("the file holds more than one image")
                if image.format == "PNG" and _PNG_END not in data:  # its pixels may seem whole without their checksum
                    raise UnreadableImage(DAMAGED)
                return grey_from_image(image)
    except UnreadableImage:
        raise
    except Image.UnidentifiedImageError:
        raise UnreadableImage("the file is not a PNG, JPEG, TIFF, BMP or DICOM image") from None
    except Image.DecompressionBombError:
        raise TooLargeImage(f"the image has more than {MAX_IMAGE_PX // 10**6} megapixels") from None
    except Exception:
        # Damaged bytes make Pillow's decoders raise nearly anything (OSError, SyntaxError, struct.error, zlib.error, a
        # warning ...), and their messages may quote the file.
        raise UnreadableImage(DAMAGED) from None


def grey_from_image(image: Image.Image) -> NDArray[np.uint8]:
    """A decoded Pillow image as grey uint8 (H, W); transparency is laid over black, colour becomes luma.

    Raises:
        UnreadableImage: pixels of a kind that is not read.
    """
    if image.mode.startswith("I;16"):
        return _grey_from_16_bit(np.asarray(image))
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        return _grey_on_black(image)
    if image.mode == "P":
        return np.asarray(image.convert("RGB").convert("L"))
    if image.mode in _LUMA_MODES:
        return np.asarray(image.convert("L"))
    raise UnreadableImage(
        f"pixels of kind '{image.mode}' are not read; expected grey (1, 8 or 16 bit) or colour (8 bit)"
    )


def _grey_on_black(image: Image.Image) -> NDArray[np.uint8]:
    """A transparent image laid on black, strip by strip: whole, it would be held five times at four bytes a pixel."""
    grey = np.empty((image.height, image.width), np.uint8)
    for top in range(0, image.height, _STRIP_ROWS):
        bottom = min(top + _STRIP_ROWS, image.height)
        strip = image.crop((0, top, image.width, bottom)).convert("RGBA")
        black = Image.new("RGBA", strip.size, (0, 0, 0, 255))
        grey[top:bottom] = np.asarray(Image.alpha_composite(black, strip).convert("RGB").convert("L"))
    return grey


def _grey_from_16_bit(pixels: NDArray[np.uint16]) -> NDArray[np.uint8]:
    brightest = int(pixels.max())
    full_scale = next(2**bits - 1 for bits in (8, 10, 12, 14, 16) if brightest < 2**bits)
    return ((pixels.astype(np.uint32) * 255 + full_scale // 2) // full_scale).astype(np.uint8)
