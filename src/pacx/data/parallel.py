"""Many small pieces of work on several processes, answered in their order and never far ahead of whoever asks."""

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import TypeVar

from pacx.core.errors import DataError

WorkT = TypeVar("WorkT")
AnswerT = TypeVar("AnswerT")
_AHEAD_PER_WORKER = 4


def in_order(function: Callable[[WorkT], AnswerT], pieces: Iterable[WorkT], num_workers: int) -> Iterator[AnswerT]:
    """``map`` over worker processes; with one worker or none, in this process.

    Args:
        function: a module's function; it and the pieces travel to other processes.
        pieces: taken one by one, as workers become free.
        num_workers: processes.

    Raises:
        DataError: a worker process died.
    """
    if num_workers <= 1:
        yield from map(function, pieces)
        return
    context = multiprocessing.get_context("spawn")  # a fork of a process that runs threads may deadlock
    pool = ProcessPoolExecutor(num_workers, mp_context=context, initializer=end_with_parent)
    waiting: deque[Future[AnswerT]] = deque()
    try:
        for piece in pieces:
            waiting.append(pool.submit(function, piece))
            if len(waiting) >= _AHEAD_PER_WORKER * num_workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise DataError(
            "a worker process died, most likely for lack of memory; run again with fewer workers"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def end_with_parent() -> None:
    """Let a worker end when its parent is killed; its task queue alone would keep it waiting for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
