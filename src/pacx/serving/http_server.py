"""Uvicorn with two habits changed: connections that send nothing are closed, and a stop finishes what was accepted.

A first SIGTERM or Ctrl-C lets nobody in any more (503), waits until everybody inside is answered, and ends with exit
code 0; a second one ends at once.
"""

import asyncio
import functools
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any, cast

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from pacx.serving.limits import Limits
from pacx.serving.service import Service

_KEEP_ALIVE_S = 15
_KIB = 1024


class PatientProtocol(H11Protocol):
    """HTTP/1.1 with a bound on how long headers may take, and on how many connections there are.

    Args:
        limits: the bounds.
        of_uvicorn: what uvicorn gives its protocols.
    """

    def __init__(self, *, limits: Limits, **of_uvicorn: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(**of_uvicorn)
        self._limits = limits
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # typeshed says any transport
        """Take a connection, unless there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self._limits.max_connections:
            transport.abort()
        else:
            self._await_headers()

    def data_received(self, data: bytes) -> None:
        """Take bytes; the clock runs from a connection's or a next request's first byte until its headers are whole."""
        super().data_received(data)
        if self._is_between_requests():
            self._await_headers()
        else:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let a connection go."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _is_between_requests(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _await_headers(self) -> None:
        if self._patience is None:
            self._patience = self.loop.call_later(self._limits.header_s, self._lose_patience)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _lose_patience(self) -> None:
        self._patience = None
        if self._is_between_requests() and not self.transport.is_closing():
            self.transport.close()


class StoppingServer(uvicorn.Server):
    """A server that stops as the module says.

    Args:
        config: uvicorn's.
        service: what it stops first.
        on_ready: called with the port once connections are taken.
    """

    def __init__(self, config: uvicorn.Config, service: Service, on_ready: Callable[[int], None]) -> None:
        super().__init__(config)
        self._service, self._on_ready = service, on_ready
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the sockets, then tell the caller the port, which the system chose if 0 was asked for."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self._on_ready(int(self.servers[0].sockets[0].getsockname()[1]))

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop: gently, or at once when asked again."""
        if self._service.admission.is_stopping or self._loop is None:
            self.should_exit = self.force_exit = True
            return
        self._service.admission.is_stopping = True
        self._loop.call_soon_threadsafe(self._begin_stop)

    def _begin_stop(self) -> None:
        async def stop() -> None:
            await self._service.admission.stop()
            self.should_exit = True

        self._stopping = asyncio.create_task(stop())  # kept, or it might be collected before it is done


def serve(app: FastAPI, service: Service, *, host: str, port: int, on_ready: Callable[[int], None]) -> None:
    """Answer requests until a signal says stop.

    Args:
        app: the application.
        service: what stands behind it.
        host: the address to listen at.
        port: 0 for any that is free.
        on_ready: called with the port once connections are taken.
    """
    protocol = functools.partial(PatientProtocol, limits=service.limits)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=cast("type[asyncio.Protocol]", protocol),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(service.limits.deadline_s) + 5,
        h11_max_incomplete_event_size=service.limits.max_header_kib * _KIB,
    )
    StoppingServer(config, service, on_ready).run()
