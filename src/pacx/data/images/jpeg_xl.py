"""What a JPEG XL picture says of its pixels before it is decoded.

Its header is a row of fields of a few bits each. As far as it is read here, it is read as ISO/IEC 18181-1 has it
(SizeHeader, ImageMetadata, BitDepth), and the boxes around it as 18181-2 has them.
"""

from pacx.data.images.unreadable import DAMAGED, UnreadableImage

STARTS = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")
"""A bare codestream, and one in boxes."""
_HEADER_BYTES = 64
_RATIOS = ((1, 1), (6, 5), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


def declared_by_jpeg_xl(data: bytes) -> tuple[int, int, int]:
    """Height, width and bits of a sample.

    Raises:
        UnreadableImage: it ends before it says so, or it has more than the pixels of one film, as they stand, to
            decode: frames, a preview, further channels, floating-point samples, a turn.
    """
    header = _Bits(_codestream(data)[2:])
    height, width = header.size()
    bits = 8
    if not header.take(1):  # what follows is left out where all of it is as usual
        if header.take(1) and header.take(6):
            raise UnreadableImage("its pixels are a JPEG XL picture that is turned, or has a preview or several frames")
        if header.take(1):
            raise UnreadableImage("its pixels are not whole numbers")
        bits = header.choose((8, 0), (10, 0), (12, 0), (1, 6))
        header.take(1)
        if header.choose((0, 0), (1, 0), (2, 4), (1, 12)):
            raise UnreadableImage("its pixels have further channels beside the grey")
    return height, width, bits


class _Bits:
    """Fields of a codestream, each beginning at the lowest bit not yet taken."""

    def __init__(self, data: bytes) -> None:
        self._rest = int.from_bytes(data, "little")
        self._num_left = 8 * len(data)

    def take(self, num_bits: int) -> int:
        self._num_left -= num_bits
        if self._num_left < 0:
            raise UnreadableImage(DAMAGED)
        value = self._rest & (2**num_bits - 1)
        self._rest >>= num_bits
        return value

    def choose(self, *codings: tuple[int, int]) -> int:
        """A number in one of four codings, each an offset and a number of bits."""
        offset, num_bits = codings[self.take(2)]
        return offset + self.take(num_bits)

    def size(self) -> tuple[int, int]:
        """Height and width; the width may be given as a ratio."""
        is_small = bool(self.take(1))
        height = self._side(is_small=is_small)
        ratio = self.take(3)
        if ratio == 0:
            return height, self._side(is_small=is_small)
        over, under = _RATIOS[ratio - 1]
        return height, height * over // under

    def _side(self, *, is_small: bool) -> int:
        return 8 * (1 + self.take(5)) if is_small else self.choose((1, 9), (1, 13), (1, 18), (1, 30))


def _codestream(data: bytes) -> bytes:
    """The beginning of the codestream, which boxes may hold in pieces."""
    if data.startswith(STARTS[0]):
        return data[:_HEADER_BYTES]
    place, found = 0, b""
    while len(found) < _HEADER_BYTES and place + 8 <= len(data):
        length, name, start = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8], place + 8
        if length == 1:
            length, start = int.from_bytes(data[start : start + 8], "big"), start + 8
        end = place + length if length else len(data)
        if name == b"jxlp":
            start += 4  # the number of the piece
        if name in (b"jxlc", b"jxlp"):
            found += data[start : min(end, start + _HEADER_BYTES)]
        if end <= place:
            break
        place = end
    return found
