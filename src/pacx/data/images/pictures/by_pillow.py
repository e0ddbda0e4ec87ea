"""The pictures that Pillow reads for us: BMP, JPEG in the rarer colour spaces, inks and video colours in TIFF."""

import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pacx.data.file_kinds import FileKind
from pacx.data.images.pictures.samples import grey_from_image
from pacx.data.images.unreadable import DAMAGED, MAX_IMAGE_PX, TooLargeImage, UnreadableImage, check_size


def grey_by_pillow(data: bytes, kind: FileKind, page: int = 0) -> NDArray[np.uint8]:
    """Decode a picture.

    Args:
        data: the whole file.
        kind: what it is.
        page: of a TIFF file.

    Raises:
        UnreadableImage: it is damaged or cut short, of a size that no film has, or of a kind that is not read.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # all are about metadata or the size; pixels that are not there are an error
        with _opened(data, kind) as image:
            try:
                image.seek(page)
                check_size(image.height, image.width)
                if image.format == "JPEG" and image.mode == "CMYK" and "adobe" not in image.info:
                    raise UnreadableImage("it holds inks (CMYK) and does not say which way round; save it as grey")
                image.load()
            except (UnreadableImage, MemoryError):
                raise
            except Exception:
                # Damaged bytes make Pillow's decoders raise nearly anything (OSError, SyntaxError, struct.error ...),
                # and their messages may quote the file.
                raise UnreadableImage(DAMAGED) from None
            return grey_from_image(image)


def _opened(data: bytes, kind: FileKind) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=(kind.name,))
    except MemoryError:
        raise
    except Image.DecompressionBombError:
        raise TooLargeImage(f"the image has more than {MAX_IMAGE_PX // 10**6} megapixels") from None
    except Exception:
        raise UnreadableImage(
            f"its {kind.name} header is damaged or of a kind that is not read; save it as grey PNG"
        ) from None
