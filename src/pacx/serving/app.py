"""The HTTP application: routes, what they take, and how a refusal is said. Everything behind them is ``service.py``."""

import mimetypes
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from pacx.serving.authentication import Access
from pacx.serving.decoding.film_format import ANY_BYTES, SERVED, accepts
from pacx.serving.middleware import FrontDoor
from pacx.serving.refusal import Refusal, RefusedRequest, refuse
from pacx.serving.request_bodies import declared_too_large, too_large
from pacx.serving.service import Service, Wanted

PAGE = Path(__file__).parent / "page"
"""The web page's files; the folder's index.html is served at /, every other file under its own name."""
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_API_POLICY = "default-src 'none'; frame-ancestors 'none'"
_READING = ["GET", "HEAD"]
"""Whatever can be got also says its status and headers alone, as load balancers and ``curl -I`` ask."""


def create_app(service: Service, access: Access) -> FastAPI:
    """The application around a running service; closing it closes the service."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(title="PaCX", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(FrontDoor, limits=service.limits, metrics=service.metrics)
    _say_refusals(app)
    _add_health(app, service)
    _add_api(app, service, access)
    if PAGE.is_dir():
        _add_page(app, PAGE)
    return app


def _refused(refusal: Refusal) -> JSONResponse:
    headers = {"Content-Security-Policy": _API_POLICY}
    if refusal.retry_after_s is not None:
        headers["Retry-After"] = str(refusal.retry_after_s)
    if refusal.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse({"error": refusal.sentence}, refusal.status, headers)


def _say_refusals(app: FastAPI) -> None:
    """Every error as {"error": "one sentence"}, and never a word of the request in it."""

    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, RefusedRequest)
        return _refused(error.refusal)

    async def misfit(_: Request, error: Exception) -> Response:
        return _refused(
            Refusal(400, "a parameter is not understood; models=NAME,NAME and embedding, attention, film=true|false")
        )

    async def no_route(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        known = {404: "there is nothing at this path", 405: "this path does not take this method"}
        refusal = Refusal(error.status_code, known.get(error.status_code, "the request is not understood"))
        answer = _refused(refusal)
        answer.headers.update(error.headers or {})  # of a wrong method: which ones there are
        return answer

    async def gone(_: Request, error: Exception) -> Response:
        return _refused(Refusal(400, "the connection ended before the body did"))

    app.add_exception_handler(RefusedRequest, refused)
    app.add_exception_handler(RequestValidationError, misfit)
    app.add_exception_handler(HTTPException, no_route)
    app.add_exception_handler(ClientDisconnect, gone)


def _add_health(app: FastAPI, service: Service) -> None:
    @app.api_route("/health/live", methods=_READING)
    async def live() -> dict[str, str]:
        return {"status": "live"}

    @app.api_route("/health/ready", methods=_READING)
    async def ready() -> dict[str, str]:
        if service.admission.is_stopping:
            raise refuse(503, "the server is stopping", retry_after_s=5)
        return {"status": "ready"}


def _add_api(app: FastAPI, service: Service, access: Access) -> None:
    may_ask = [Depends(access)]

    @app.api_route("/metrics", methods=_READING, dependencies=may_ask)
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    @app.api_route("/v1/models", methods=_READING, dependencies=may_ask)
    async def models() -> dict[str, Any]:
        return service.describe()

    @app.post("/v1/predict", dependencies=may_ask)
    async def predict(
        request: Request,
        models: Annotated[str, Query(max_length=1000)] = "",
        embedding: bool = True,
        attention: bool = False,
        film: bool = False,
    ) -> Response:
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if not accepts(media_type):
            wanted_types = ", ".join([*(each.value for each in SERVED), ANY_BYTES])
            raise refuse(415, f"the content type has to be one of {wanted_types}; send one film's bytes as the body")
        if declared_too_large(request.headers.get("content-length"), service.limits):
            raise too_large(service.limits)
        names = tuple(name for name in models.split(",") if name)
        wanted = Wanted(models=names, embedding=embedding, attention=attention, film=film)
        answer = await service.predict(media_type, request.stream(), wanted)
        return JSONResponse(answer, headers={"Content-Security-Policy": _API_POLICY})


def _add_page(app: FastAPI, folder: Path) -> None:
    """Read the page's files once and give each a route of its own, so that no path of a request ever reaches a disk."""
    for file in sorted(folder.rglob("*")):
        if not file.is_file() or file.name.startswith("."):
            continue
        name = file.relative_to(folder).as_posix()
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        path = "/" if name == "index.html" else f"/{name}"
        app.add_api_route(path, _answer_with(file.read_bytes(), kind), methods=_READING)


def _answer_with(content: bytes, kind: str) -> Callable[[], Response]:
    def answer() -> Response:
        headers = {"Content-Security-Policy": _PAGE_POLICY, "Cache-Control": "no-cache"}
        return Response(content, media_type=kind, headers=headers)

    return answer
