"""An image file in, a grey 8-bit film out; the one door through which a stranger's file enters.

Stands between records and packs, and between an uploaded file and the encoder when serving. Knows no torch. It refuses
whatever it cannot read whole: empty, truncated, animated, tiny or gigantic files, formats other than PNG, JPEG, TIFF,
BMP, DICOM and rows of numpy arrays, each with a file of its own here, and films that show one grey only. It never
guesses, never repairs, and never repeats a file's content in a message.

Depth, colour, transparency and which end is black are read from the file, not from what a decoder makes of them; how
samples then become grey is said in ``pictures/samples.py``. A JPEG in YCbCr is its luma channel as stored (equal
channels give exactly that grey). Gamma and colour profiles are left out of account, and EXIF orientation is not
applied, as in every published loader of these datasets; that of a TIFF file is, as it says in which order the rows are
stored.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pacx.data.file_kinds import FileKind, kind_of
from pacx.data.images.array_rows import ImageRef, grey_from_array_row
from pacx.data.images.pictures.samples import grey_from_image
from pacx.data.images.unreadable import ONE_GREY, UnreadableImage, check_size, require_reachable

MASK_IGNORE = 255
"""In a decoded mask: this pixel is unknown and counts neither way."""

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
            16 x 16 pixels, larger than 100 megapixels, shows one grey only, or has pixels of a kind no radiograph has.
    """
    ref = image if isinstance(image, ImageRef) else ImageRef.parse(image)
    try:
        if ref.row is not None:
            return require_film(grey_from_array_row(ref.file, ref.row))
        return require_film(grey_from_bytes(_read(ref.file), decoding, wanted_px=wanted_px))
    except UnreadableImage as error:
        raise UnreadableImage(error.reason, ref.name) from error


def grey_from_bytes(data: bytes, decoding: Decoding = _PLAIN, *, wanted_px: int = 0) -> NDArray[np.uint8]:
    """Decode the bytes of an image file as ``decode_grey`` does, for callers that hold them already.

    They may be those of a mask, so one grey is as good as another; ``require_film`` is for films.

    Raises:
        UnreadableImage: as ``decode_grey``.
    """
    if not data:
        raise UnreadableImage("the file is empty")
    # Each reader is imported where it is used: whoever trains on packs decodes no file, and may do without them.
    kind = kind_of(data)
    if kind is FileKind.DICOM:
        from pacx.data.images.dicom import grey_from_dicom

        return grey_from_dicom(data, allow_burned_in=decoding.allow_burned_in)
    if kind is FileKind.JPEG:
        from pacx.data.images.pictures.jpeg import grey_from_jpeg

        return grey_from_jpeg(data, wanted_px if decoding.scaled_jpeg else 0)
    if kind is FileKind.PNG:
        from pacx.data.images.pictures.png import grey_from_png

        return grey_from_png(data)
    if kind is FileKind.TIFF:
        from pacx.data.images.pictures.tiff import grey_from_tiff

        return grey_from_tiff(data)
    if kind is FileKind.BMP:
        from pacx.data.images.pictures.by_pillow import grey_by_pillow

        return grey_by_pillow(data, kind)
    raise UnreadableImage("the file is not a PNG, JPEG, TIFF, BMP or DICOM image")


def film_from_image(image: Image.Image) -> NDArray[np.uint8]:
    """A film that somebody opened with Pillow, as ``decode_grey`` reads its file.

    Pillow drops half the bits of 16-bit colour and does not turn a negative round, so a picture that has not been
    looked at yet is read from its file.

    Raises:
        UnreadableImage: as ``decode_grey``.
    """
    check_size(image.height, image.width)
    file = getattr(image, "fp", None)
    if file is not None and getattr(image, "tile", None):
        place = file.tell()
        file.seek(0)
        data = file.read()
        file.seek(place)
        if kind_of(data) is not None:
            return require_film(grey_from_bytes(data))
    return require_film(grey_from_image(image))


def require_film(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same pixels, unless all are one grey: no film is, and a finding in one would be nobody's.

    Raises:
        UnreadableImage: they are.
    """
    if grey.min() == grey.max():
        raise UnreadableImage(ONE_GREY)
    return grey


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
        require_reachable(error, path)
        raise UnreadableImage(f"the file cannot be opened ({error.strerror})", path) from error
