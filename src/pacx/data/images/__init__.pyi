from .decode import Decoding as Decoding
from .decode import decode_grey as decode_grey
from .decode import decode_mask as decode_mask
from .decode import to_square as to_square
from .unreadable import UnreadableImage as UnreadableImage
