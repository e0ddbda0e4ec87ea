"""Work spread over processes that end with whoever started them.

Workers are spawned, because a fork of a process that runs threads may deadlock. Each holds the reading end of a pipe,
its lifeline; this process alone holds the writing end. The operating system closes that end whatever ends this
process, SIGKILL included, and then every worker exits within a moment, in the middle of its work.
"""

import multiprocessing
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Any, TypeVar

from pacx.core.errors import WorkerError

WorkT = TypeVar("WorkT")
AnswerT = TypeVar("AnswerT")
_AHEAD_PER_WORKER = 4
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""By which terminals and clusters ask to stop; they often reach every process of a job."""


class _FarTraceback(Exception):  # noqa: N818 - what it is
    """Where in a worker an error arose."""


class Workers:
    """Processes for several maps, one after the other; a context manager.

    An error, an interrupt or a caller who stops listening ends the processes at once, whatever they are at. What asks a
    whole job to stop (SIGINT, SIGTERM, SIGUSR1) is for this process alone. Functions and pieces travel to the workers
    by pickle, so that a function has to be a module's.

    Args:
        num_workers: processes; with one or none the work is done in this process, piece by piece as it is asked for.
        prepare: called once in every worker before its first piece, and never in this process.
    """

    def __init__(self, num_workers: int, prepare: Callable[[], None] | None = None) -> None:
        self._num_workers, self._prepare, self._pool = num_workers, prepare, None
        if num_workers > 1:
            self._context = multiprocessing.get_context("spawn")
            self._theirs, self._ours = self._context.Pipe(duplex=False)
            self._started: list[tuple[SpawnProcess, Connection]] = []
            self._worker = threading.local()
            # A thread per process: each waits at a pipe of its own, which ends with the process, wherever that dies.
            self._pool = ThreadPoolExecutor(num_workers, initializer=_begin_thread)

    def __enter__(self) -> "Workers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            if error is not None:
                self._ours.close()
            self._close()

    def _close(self) -> None:
        assert self._pool is not None
        self._pool.shutdown(cancel_futures=True)
        for _, connection in self._started:
            connection.close()
        for process, _ in self._started:
            process.join()
        self._started.clear()
        for end in (self._ours, self._theirs):
            end.close()

    def _ask(self, function: Callable[[WorkT], AnswerT], piece: WorkT) -> AnswerT:
        """Have a piece done by the process of this thread."""
        connection = getattr(self._worker, "connection", None) or self._start()
        try:
            connection.send((function, piece))
            answer, where = connection.recv()
        except (EOFError, OSError) as error:
            raise WorkerError(
                "a worker process died, most likely for want of memory; run again with fewer than "
                f"{self._num_workers} processes"
            ) from error
        if where is not None:
            raise answer from _FarTraceback(where)
        done: AnswerT = answer
        return done

    def _start(self) -> Connection:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(theirs, self._theirs, self._prepare))
        process.start()
        theirs.close()
        self._started.append((process, ours))
        self._worker.connection = ours
        return ours

    def in_order(self, function: Callable[[WorkT], AnswerT], pieces: Iterable[WorkT]) -> Iterator[AnswerT]:
        """``map``: pieces are taken as workers become free, and never far ahead of whoever asks for the answers.

        Raises:
            WorkerError: a worker process died.
        """
        return self._answers(function, pieces, lambda waiting: waiting.popleft())

    def as_done(self, function: Callable[[WorkT], AnswerT], pieces: Iterable[WorkT]) -> Iterator[AnswerT]:
        """``in_order``, but each answer is given as soon as it is there.

        Raises:
            WorkerError: a worker process died.
        """
        return self._answers(function, pieces, _take_first_done)

    def _answers(
        self,
        function: Callable[[WorkT], AnswerT],
        pieces: Iterable[WorkT],
        take: "Callable[[deque[Future[AnswerT]]], Future[AnswerT]]",
    ) -> Iterator[AnswerT]:
        if self._pool is None:
            yield from map(function, pieces)
            return
        waiting: deque[Future[AnswerT]] = deque()
        try:
            for piece in pieces:
                waiting.append(self._pool.submit(self._ask, function, piece))
                if len(waiting) >= _AHEAD_PER_WORKER * self._num_workers:
                    yield take(waiting).result()
            while waiting:
                yield take(waiting).result()
        except BaseException:  # also GeneratorExit: nobody wants what is still at work
            self._ours.close()
            self._close()
            raise


def _take_first_done(waiting: deque[Future[AnswerT]]) -> Future[AnswerT]:
    done, _ = wait_for(waiting, return_when=FIRST_COMPLETED)
    first = next(each for each in waiting if each in done)
    waiting.remove(first)
    return first


def in_order(function: Callable[[WorkT], AnswerT], pieces: Iterable[WorkT], num_workers: int) -> Iterator[AnswerT]:
    """``Workers.in_order`` with workers of its own, which end with the last answer."""
    with Workers(num_workers) as workers:
        yield from workers.in_order(function, pieces)


def end_with_parent() -> None:
    """Let a process that ``multiprocessing`` started end with its parent, and with nothing that asks a job to stop."""
    _leave_signals_to_parent()
    parent = multiprocessing.parent_process()
    assert parent is not None
    _end_when_closed(parent.sentinel)


def is_worker() -> bool:
    """Whether this process works for another one, which it leaves to decide when to stop."""
    return _is_worker


@contextmanager
def signals_held() -> Iterator[None]:
    """Start processes that are not hit by a signal to the whole job before they can ignore it.

    They inherit that it waits; ``end_with_parent`` forgets it there. Here it takes effect when the block ends.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_is_worker = False


def _leave_signals_to_parent() -> None:
    global _is_worker  # a fact of the process, as its signal handlers are
    _is_worker = True
    for each in STOP_SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def _begin_thread() -> None:
    """Hold signals in this thread, from which processes are started; the main thread takes them."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    resource_tracker.ensure_running()  # one for all; when it starts, it lets signals in again
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)


def _work(connection: Connection, lifeline: Connection, prepare: Callable[[], None] | None) -> None:
    """Do what is asked until nobody is left to ask."""
    _leave_signals_to_parent()
    _end_when_closed(lifeline)
    if prepare is not None:
        prepare()
    while True:
        try:
            function, piece = connection.recv()
        except EOFError:
            return
        answer: tuple[Any, str | None]
        try:
            answer = function(piece), None
        except Exception as error:
            answer = error, traceback.format_exc()
        connection.send(answer)


def _end_when_closed(end: Connection | int) -> None:
    def watch() -> None:
        wait([end])
        os._exit(1)  # sys.exit would end this thread only

    threading.Thread(target=watch, daemon=True).start()
