"""Who may come in: a bounded number of requests, a bounded number of bytes, nobody once the server is stopping.

A request is admitted before its body is read and counted until it is answered, so nothing behind this door needs a
bound of its own.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from pacx.serving.limits import MIB, Limits
from pacx.serving.refusal import refuse

_RETRY_AFTER_S = 1


class Admission:
    """The count of requests inside; used from the event loop's thread alone."""

    def __init__(self, limits: Limits) -> None:
        self._max_waiting, self._max_held = limits.max_waiting, limits.max_held_mib * MIB
        self._idle = asyncio.Event()
        self._idle.set()
        self.num_waiting = 0
        self.most_waiting = 0
        self.held_bytes = 0
        self.is_stopping = False

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold one of the places while the block runs.

        Raises:
            RefusedRequest: all are taken (429), or the server is stopping (503).
        """
        if self.is_stopping:
            raise refuse(503, "the server is stopping; send the film to another one or try again soon", retry_after_s=5)
        if self.num_waiting >= self._max_waiting:
            raise refuse(
                429,
                f"{self._max_waiting} requests are waiting already; try again in a moment",
                retry_after_s=_RETRY_AFTER_S,
            )
        self.num_waiting += 1
        self.most_waiting = max(self.most_waiting, self.num_waiting)
        self._idle.clear()
        try:
            yield
        finally:
            self.num_waiting -= 1
            if self.num_waiting == 0:
                self._idle.set()

    def hold(self, num_bytes: int) -> None:
        """Count bytes of a body that are about to be kept; give them back with a negative number.

        Raises:
            RefusedRequest: the server holds as many as it may (429).
        """
        if num_bytes > 0 and self.held_bytes + num_bytes > self._max_held:
            raise refuse(
                429,
                "the server holds as many films as fit its memory; try again in a moment",
                retry_after_s=_RETRY_AFTER_S,
            )
        self.held_bytes += num_bytes

    async def stop(self) -> None:
        """Admit nobody any more and wait until everybody inside is answered."""
        self.is_stopping = True
        await self._idle.wait()
