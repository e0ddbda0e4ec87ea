"""``pacx serve``: exported encoders behind HTTP, on this machine unless told otherwise."""

import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from pacx.cli.terminal import parse, say
from pacx.core.errors import ModelError, UsageError
from pacx.core.progress import announce
from pacx.inference.export_folder import ExportFolder, Precision, load_export
from pacx.serving.authentication import LOOPBACK, Access
from pacx.serving.limits import Limits
from pacx.serving.request_log import start_log

if TYPE_CHECKING:
    from pacx.serving.runtime import ServedEncoder


_TOKEN = "PACX_TOKEN"
_MIN_TOKEN = 16
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, kw_only=True)
class ServeCall:
    """Serve exported encoders: POST a film to /v1/predict, or open the page at / in a browser.

    Requests bear the token of the environment variable PACX_TOKEN, or one that is made and shown at the start. At its
    first start on a host it measures what runs there fastest, which takes some seconds, and remembers it. Answers are
    for research; this is no medical device.
    """

    exports: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Folders written by pacx export, each DIR or NAME=DIR; a name is what requests and answers call it."""

    host: str = "127.0.0.1"
    """The address to listen at; 0.0.0.0 for all of them, behind something that speaks TLS."""

    port: int = 8080
    """The port; 0 for any that is free."""

    no_auth: bool = False
    """Ask for no token; only at a loopback address."""

    precision: Annotated[Precision | None, tyro.conf.EnumChoicesFromValues] = None
    """Serve this one; by default the fastest that the export has and this host computes right."""

    cache: Path | None = None
    """Where measurements of this host are kept; by default in the user's cache folder."""

    num_threads: int = 0
    """Of the runtime; 0 takes every processor, or what a container's quota allows."""

    limits: Limits = field(default_factory=Limits)
    """What a request may use."""


def _named(word: str) -> tuple[str, ExportFolder]:
    name, separator, place = word.partition("=")
    export = load_export(Path(place if separator else word))
    name = name if separator else export.name
    if not _NAME.fullmatch(name):
        raise UsageError(f"'{name}' is no name for a model; use letters, digits, '.', '_' and '-', as in mae=DIR")
    return name, export


def _served(name: str, export: ExportFolder, call: ServeCall) -> "ServedEncoder":
    from pacx.core.host import cache_folder
    from pacx.inference.host_choice import choose
    from pacx.serving.runtime import ServedEncoder

    announce(f"{name}: choosing how to run it on this host")
    cache = call.cache or cache_folder() / "serving"
    plan, measured = choose(export, call.precision, call.limits.max_batch, cache, num_threads=call.num_threads)
    by_plan = {each.plan: each for each in measured}
    others = ", ".join(
        f"{each.plan}: {each.films_per_s:.3g}" + " (disagrees here)" * (not each.agrees)
        for each in measured
        if each.plan != plan
    )
    say(
        f"{name}: {plan}, {by_plan[plan].films_per_s:.3g} films/s on this host"
        + (f"; measured besides: {others}" if others else "")
    )
    return ServedEncoder(name, export, plan)


def _token(call: ServeCall) -> str | None:
    if call.no_auth:
        if call.host not in LOOPBACK:
            raise UsageError(
                f"--no-auth is for {' or '.join(LOOPBACK)} only, not for {call.host}; leave one of them out"
            )
        return None
    given = os.environ.pop(_TOKEN, None)
    if given is None:
        made = secrets.token_urlsafe(32)
        say(f"token, shown only now: {made}")
        return made
    if len(given) < _MIN_TOKEN or not given.isascii() or given != given.strip():
        raise UsageError(f"{_TOKEN} has to be at least {_MIN_TOKEN} printable characters without spaces around them")
    return given


def main(words: Sequence[str]) -> None:
    """Open the exports, choose how to run each on this host, and serve until told to stop."""
    call = parse(ServeCall, words, verb="serve", example="pacx serve mae=exports/mae pacx=exports/pacx --port 8080")
    if not call.exports:
        raise UsageError("nothing to serve; give a folder that pacx export wrote")
    named = [_named(word) for word in call.exports]
    names = [name for name, _ in named]
    if len(set(names)) < len(names):
        raise UsageError(f"the names {', '.join(names)} are not all different; write NAME=DIR")
    token = _token(call)

    from pacx.serving.app import create_app
    from pacx.serving.decoding.pool import WorkerDied
    from pacx.serving.http_server import serve
    from pacx.serving.service import Service

    encoders = [_served(name, export, call) for name, export in named]
    try:
        service = Service(encoders, call.limits)
    except WorkerDied as error:
        raise ModelError(
            f"decoding processes do not start with {call.limits.decode_memory_mib} MiB of address space each; "
            "give --limits.decode-memory-mib more"
        ) from error
    start_log()

    def on_ready(port: int) -> None:
        host = f"[{call.host}]" if ":" in call.host else call.host
        say(
            f"serving {', '.join(names)} at http://{host}:{port}/ ; research use, not a medical device; Ctrl-C stops it"
        )

    serve(create_app(service, Access(token)), service, host=call.host, port=call.port, on_ready=on_ready)
    say("stopped; everything accepted was answered")
