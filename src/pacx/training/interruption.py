"""A polite request to stop: note the signal, finish the step, save, leave with a code that says "run me again".

Clusters send SIGTERM or SIGUSR1 some time before they take the machine away. SIGKILL gives no notice and needs none:
a run resumes from its last checkpoint.
"""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class StopRequest:
    """Notes SIGTERM and SIGUSR1 while the ``with`` block runs; earlier handlers are put back afterwards."""

    def __init__(self) -> None:
        self.signal_name: str | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():  # Python lets no other thread ask
            self._before = {each: signal.signal(each, self._note) for each in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal_name = signal.Signals(number).name
