"""What every request passes, whatever its route: an id, safe headers, a log line, and an end to bodies nobody read.

A body that a refusal left unread is first drained for a moment, so that a client still sending sees the answer and no
reset connection; if it goes on, the connection is closed. An exception that nobody expected becomes a 500 that says
nothing.
"""

import asyncio
import json
import time
import uuid

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pacx.serving.limits import Limits
from pacx.serving.metrics import Metrics
from pacx.serving.request_log import log_event, log_failure

_DRAIN_S = 0.5
_SAFE_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)
_FAILED = json.dumps({"error": "this request failed inside the server; its log names the place"}).encode()


class FrontDoor:
    """ASGI middleware around the application.

    Args:
        app: what answers.
        limits: how much of an unread body is drained.
        metrics: where requests are counted.
    """

    def __init__(self, app: ASGIApp, limits: Limits, metrics: Metrics) -> None:
        self._app, self._limits, self._metrics = app, limits, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await _Passage(self._limits, self._metrics, scope, receive, send).through(self._app)


class _Passage:
    """One request on its way through the door."""

    def __init__(self, limits: Limits, metrics: Metrics, scope: Scope, receive: Receive, send: Send) -> None:
        self._limits, self._metrics, self._scope = limits, metrics, scope
        self._receive, self._send = receive, send
        self._id, self._began = uuid.uuid4().hex, time.perf_counter()
        self._body_bytes, self._is_body_read = 0, False
        self._status = 0

    async def through(self, app: ASGIApp) -> None:
        try:
            await app(self._scope, self._receive_counted, self._send_dressed)
        except Exception as error:  # the last place that can answer
            log_failure("failed", error, request_id=self._id, route=self._route())
            if not self._status:
                headers = [(b"content-type", b"application/json"), (b"content-length", str(len(_FAILED)).encode())]
                await self._send_dressed({"type": "http.response.start", "status": 500, "headers": headers})
                await self._send_dressed({"type": "http.response.body", "body": _FAILED})
        route, seconds = self._route(), time.perf_counter() - self._began
        self._metrics.requests.labels(route, str(self._status)).inc()
        if not route.startswith(("/health", "/metrics")):
            log_event(
                "request",
                request_id=self._id,
                route=route,
                status=self._status,
                body_bytes=self._body_bytes,
                ms=round(seconds * 1000, 1),
            )

    def _route(self) -> str:
        """The route's template; a path nobody serves is the caller's text and is not repeated."""
        return str(getattr(self._scope.get("route"), "path", "unknown"))

    async def _receive_counted(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._body_bytes += len(message.get("body", b""))
            self._is_body_read = not message.get("more_body", False)
        else:
            self._is_body_read = True
        return message

    async def _send_dressed(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = int(message["status"])
            headers = [*message.get("headers", []), (b"x-request-id", self._id.encode())]
            named = {name.lower() for name, _ in headers}
            headers += [header for header in _SAFE_HEADERS if header[0] not in named]
            if not await self._drained():
                headers.append((b"connection", b"close"))
            message = {**message, "headers": headers}
        await self._send(message)

    async def _drained(self) -> bool:
        """Whether the body has come to its end, after reading on for a moment."""
        try:
            async with asyncio.timeout(_DRAIN_S):
                while not self._is_body_read and self._body_bytes <= 2 * self._limits.max_body_bytes:
                    await self._receive_counted()
        except TimeoutError:
            pass
        return self._is_body_read
