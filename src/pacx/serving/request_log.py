"""One line of JSON per request and per event: what happened and how long it took, never what was in it.

No file name, header value, query, body, token or address is ever logged, and of an unexpected error only its class and
the places in the code, because an exception's message may quote a film's header.
"""

import json
import logging
import sys
import time
import traceback
from typing import Any, TextIO

_LOGGER = "pacx.serving"


def log_event(event: str, **values: str | float | list[str] | None) -> None:
    """Write a line; ``values`` are numbers and words of this program, never of a request."""
    logging.getLogger(_LOGGER).info(event, extra={"values": values})


def log_failure(event: str, error: BaseException, **values: str) -> None:
    """Write a line about an error that nobody expected: its class, and where, innermost last."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames]
    log_event(event, **values, error=type(error).__name__, places=places)


class JsonLines(logging.Formatter):
    """A record as one line of JSON; an exception's message and a record's arguments are left out."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON with time (UTC), level and event; of other libraries' records no text at all."""
        is_ours = record.name == _LOGGER
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.msg if is_ours else "library",
        }
        if is_ours:
            line |= record.__dict__.get("values", {})
        else:
            line |= {"source": record.name, "template": str(record.msg)}
            if record.exc_info and record.exc_info[0] is not None:
                line["error"] = record.exc_info[0].__name__
        return json.dumps(line)


def start_log(stream: TextIO | None = None) -> None:
    """Send this program's lines, and warnings of the web server below it, to standard error."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    for name, level in ((_LOGGER, logging.INFO), ("uvicorn.error", logging.WARNING), ("asyncio", logging.ERROR)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
