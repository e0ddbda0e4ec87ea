"""A request's body, read piece by piece: bounded before it is kept, and not waited for without end."""

import asyncio
from collections.abc import AsyncIterator, Callable

from pacx.serving.limits import MIB, Limits
from pacx.serving.refusal import RefusedRequest, refuse

_KIB = 1024


def too_large(limits: Limits) -> RefusedRequest:
    """The refusal of a body beyond the limit."""
    return refuse(413, f"the body is larger than {limits.max_body_mib} MiB; send one film's file")


async def read_body(pieces: AsyncIterator[bytes], limits: Limits, hold: Callable[[int], None]) -> bytearray:
    """The whole body.

    Args:
        pieces: as they arrive.
        limits: how large it may be and how slow it may come.
        hold: called with the length of each piece before it is kept; may refuse it.

    Raises:
        RefusedRequest: it is empty (400), too large (413), too slow (408), or there is no room (429).
    """
    clock = asyncio.get_running_loop().time
    body, began = bytearray(), clock()
    try:
        async with asyncio.timeout_at(began + limits.body_grace_s) as patience:
            async for piece in pieces:
                if len(body) + len(piece) > limits.max_body_bytes:
                    raise too_large(limits)
                hold(len(piece))
                body += piece
                patience.reschedule(began + limits.body_grace_s + len(body) / (limits.body_kib_per_s * _KIB))
    except TimeoutError:
        raise refuse(408, "the body came too slowly; send it again over a faster connection") from None
    if not body:
        raise refuse(400, "the body is empty; send the bytes of a PNG, JPEG or DICOM file")
    return body


def declared_too_large(content_length: str | None, limits: Limits) -> bool:
    """Whether the header itself says that the body is beyond the limit; one that is no number says nothing."""
    return content_length is not None and content_length.isdigit() and int(content_length) > limits.max_body_mib * MIB
