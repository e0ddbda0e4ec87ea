"""The process in which a stranger's file is parsed: it may use little, write nothing and die without harm.

    python -m pacx.serving.decoding.worker SOCKET MEMORY_BYTES

It reads a question from the socket (a line of JSON, then the file), answers (a line of JSON, then the squares, then a
PNG where one is wanted), and ends when the socket does. No pickle travels: whoever takes a worker over has gained the
power to send wrong pixels. Before each film a timer of processor seconds is set whose signal kills, so that it also
ends a decoder that never comes back to Python.
"""

import io
import json
import resource
import signal
import sys
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pacx.core.workers import STOP_SIGNALS
from pacx.data.file_kinds import FileKind, kind_of
from pacx.data.images import dicom  # noqa: F401 - decode.py imports its readers late, when the limits forbid it
from pacx.data.images.decode import grey_from_bytes, require_film, to_square
from pacx.data.images.pictures import jpeg, png  # noqa: F401 - as above
from pacx.data.images.unreadable import DAMAGED, ONE_GREY, TooLargeImage, UnreadableImage
from pacx.serving.decoding.film_format import ANY_BYTES, SERVED, require_nothing_else
from pacx.serving.refusal import Refusal

TOO_COSTLY = "decoding the file takes more memory or time than a film may; export it uncompressed or smaller"


@dataclass(frozen=True, kw_only=True)
class Question:
    """How a film is wanted, and what it may cost.

    Args:
        media_type: what the caller says the file is.
        sides_px: sides of the squares wanted, one per kind of encoder.
        wants_picture: whether the first square is also wanted as a PNG file.
        cpu_s: processor seconds, after which the process ends.
    """

    media_type: str
    sides_px: tuple[int, ...]
    wants_picture: bool
    cpu_s: float


def decoded(question: Question, data: bytes) -> Refusal | tuple[list[NDArray[np.uint8]], bytes]:
    """Squares (S, S) of a film in the order of ``sides_px``, and a PNG or nothing; or why there are none."""
    kind = kind_of(data)
    if kind is not None and kind not in SERVED:
        return Refusal(400, f"{kind.name} films are not served; send this one as PNG, JPEG or DICOM")
    if kind is None:
        return Refusal(400, "the body is not a PNG, JPEG or DICOM file; send the file's bytes as they are")
    if question.media_type not in (ANY_BYTES, kind.value):
        return Refusal(415, f"the body is {kind.name}, which the content type does not say; send {kind.value}")
    try:
        require_nothing_else(data, kind)
        grey = require_film(grey_from_bytes(data))
        squares = [to_square(grey, side) for side in question.sides_px]
    except TooLargeImage as error:
        return Refusal(413, error.reason)
    except UnreadableImage as error:
        is_refused_dicom = kind is FileKind.DICOM and error.reason != DAMAGED
        return Refusal(422 if is_refused_dicom or error.reason == ONE_GREY else 400, error.reason)
    except MemoryError:
        return Refusal(413, TOO_COSTLY)
    return squares, _png(squares[0]) if question.wants_picture else b""


def _png(square: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(square).save(file, "PNG")
    return file.getvalue()


def answer(connection: Connection) -> None:
    """Answer one question.

    Raises:
        EOFError: the server has gone.
    """
    question = Question(**json.loads(connection.recv_bytes()))
    data = connection.recv_bytes()
    signal.setitimer(signal.ITIMER_PROF, question.cpu_s)
    found = decoded(question, data)
    signal.setitimer(signal.ITIMER_PROF, 0)
    if isinstance(found, Refusal):
        connection.send_bytes(json.dumps(asdict(found)).encode())
        return
    squares, picture = found
    connection.send_bytes(b"{}")
    for square in squares:
        connection.send_bytes(square.tobytes())
    connection.send_bytes(picture)


def main() -> None:
    """Answer until the server goes."""
    socket, memory_bytes = int(sys.argv[1]), int(sys.argv[2])
    for ignored in STOP_SIGNALS:  # a stop is for the server, which first finishes what it has
        signal.signal(ignored, signal.SIG_IGN)
    for kind, most in ((resource.RLIMIT_AS, memory_bytes), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(kind, (most, most))
    with Connection(socket) as connection:
        connection.send_bytes(b"ready")
        try:
            while True:
                answer(connection)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return


if __name__ == "__main__":
    main()
