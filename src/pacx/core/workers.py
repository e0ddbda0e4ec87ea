"""Work spread over processes that end with whoever started them.

Workers are spawned, because a fork of a process that runs threads may deadlock. Each holds the reading end of a pipe,
its lifeline; this process alone holds the writing end. The operating system closes that end whatever ends this
process, SIGKILL included, and then every worker exits within a moment, in the middle of its work.
"""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor
from concurrent.futures import wait as wait_for
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import TypeVar

from pacx.core.errors import WorkerError

WorkT = TypeVar("WorkT")
AnswerT = TypeVar("AnswerT")
_AHEAD_PER_WORKER = 4


class Workers:
    """Processes for several maps, one after the other; a context manager.

    An error, an interrupt or a caller who stops listening ends the processes at once, whatever they are at. Interrupts
    from a terminal (SIGINT) reach this process alone. Functions and pieces travel to the workers by pickle, so that a
    function has to be a module's.

    Args:
        num_workers: processes; with one or none the work is done in this process, piece by piece as it is asked for.
        prepare: called once in every worker before its first piece, and never in this process.
    """

    def __init__(self, num_workers: int, prepare: Callable[[], None] | None = None) -> None:
        self._num_workers, self._pool = num_workers, None
        if num_workers > 1:
            context = multiprocessing.get_context("spawn")
            self._theirs, self._ours = context.Pipe(duplex=False)
            self._pool = ProcessPoolExecutor(
                num_workers, mp_context=context, initializer=_begin, initargs=(self._theirs, prepare)
            )

    def __enter__(self) -> "Workers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._abandon()
        elif self._pool is not None:
            self._pool.shutdown()
            self._ours.close()
            self._theirs.close()

    def _abandon(self) -> None:
        if self._pool is not None:
            self._ours.close()
            self._pool.shutdown(cancel_futures=True)
            self._theirs.close()

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
                waiting.append(self._pool.submit(function, piece))
                if len(waiting) >= _AHEAD_PER_WORKER * self._num_workers:
                    yield take(waiting).result()
            while waiting:
                yield take(waiting).result()
        except BaseException as error:  # also GeneratorExit: nobody wants what is still at work
            self._abandon()
            if isinstance(error, BrokenProcessPool):
                raise WorkerError(
                    "a worker process died, most likely for want of memory; run again with fewer than "
                    f"{self._num_workers} processes"
                ) from error
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
    """Let a process that ``multiprocessing`` started end with its parent, whatever ends that one."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    _end_when_closed(parent.sentinel)


def _begin(lifeline: Connection, prepare: Callable[[], None] | None) -> None:
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # a terminal interrupts all of its processes; this one ends by its pipe
    _end_when_closed(lifeline)
    if prepare is not None:
        prepare()


def _end_when_closed(end: Connection | int) -> None:
    def watch() -> None:
        wait([end])
        os._exit(1)  # sys.exit would end this thread only

    threading.Thread(target=watch, daemon=True).start()
