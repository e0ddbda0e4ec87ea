"""Progress a person can read: how far, how fast, how long still.

A bar on a terminal; elsewhere (a batch log, a pipe) one line every half minute. Nothing at all for work that is over
within two seconds.
"""

import contextlib
import sys
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

_QUIET_S = 2.0
_LINE_EVERY_S = 30.0


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def _speed(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


class Progress:
    """A running count of work done; made by ``progress``."""

    def __init__(self, title: str, total: int, unit: str) -> None:
        self._title, self._total, self._unit = title, total, unit
        self._done = 0
        self._began = self._last_line = time.monotonic()
        self._on_terminal = sys.stderr.isatty()
        self._bar: RichProgress | None = None

    def advance(self, count: int = 1, note: str = "") -> None:
        """Add ``count`` finished units and show a short note such as the current loss."""
        self._done += count
        now = time.monotonic()
        if now - self._began < _QUIET_S:
            return
        rate = self._done / (now - self._began)
        if self._on_terminal:
            self._draw(f"{_speed(rate)} {self._unit}/s {note}")
        elif now - self._last_line >= _LINE_EVERY_S:
            self._last_line = now
            left = f"{_clock((self._total - self._done) / rate)} left" if rate else "none done yet"
            line = f"{self._title}: {self._done:,}/{self._total:,} {self._unit}, {_speed(rate)}/s, {left} {note}"
            sys.stderr.write(line.rstrip() + "\n")
            sys.stderr.flush()

    def _draw(self, note: str) -> None:
        if self._bar is None:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
            )
            self._bar = RichProgress(*columns, console=Console(stderr=True), transient=True)
            self._bar.add_task(self._title, total=self._total, note=note)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=self._done, note=note)

    def close(self) -> None:
        """Take the bar off the terminal."""
        if self._bar is not None:
            self._bar.stop()


def announce(text: str) -> None:
    """Say something that cannot wait, on standard error: above a running bar, or between its lines in a log."""
    sys.stderr.write(text.rstrip("\n") + "\n")
    sys.stderr.flush()


@contextlib.contextmanager
def progress(title: str, total: int, unit: str) -> Iterator[Progress]:
    """Show progress of ``total`` units (a plural noun, 'images') while the block runs."""
    shown = Progress(title, total, unit)
    try:
        yield shown
    finally:
        shown.close()
