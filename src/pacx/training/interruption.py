"""A polite request to stop: note the signal, finish the step, save, leave with a code that says "run me again".

Clusters send SIGTERM or SIGUSR1 some time before they take the machine away, often to every process of the job; a
person at a terminal sends SIGINT. SIGKILL gives no notice and needs none: a run resumes from its last checkpoint.
"""

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

from pacx.core.workers import STOP_SIGNALS, is_worker

_ONE_REQUEST_S = 1.0
"""Signals within this time are one request: ``timeout`` and launchers send theirs to a process and to its group."""


class StopRequest:
    """Notes what asks to stop while the ``with`` block runs; earlier handlers are put back afterwards.

    A second SIGINT, a second later or more, is of somebody who does not want to wait: it interrupts at once. A worker
    leaves all of it to its parent.
    """

    def __init__(self) -> None:
        self.signal_name: str | None = None
        self._asked_s = 0.0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopRequest":
        # Python lets no other thread ask.
        if threading.current_thread() is threading.main_thread() and not is_worker():
            self._before = {each: signal.signal(each, self._note) for each in STOP_SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.signal_name is None:
            self.signal_name, self._asked_s = signal.Signals(number).name, now
            self.answer()
        elif number == signal.SIGINT and now - self._asked_s > _ONE_REQUEST_S:
            raise KeyboardInterrupt

    def answer(self) -> None:
        """What is done at once, in the middle of whatever is going on: nothing but the note."""
