"""Single pieces of work, answered together: a queue in front of something that is faster on many at once.

A batch is whatever waits when a thread becomes free, so batches grow with the load; only an idle thread waits, for a
few milliseconds, for company. While one batch runs the next one gathers. If a batch fails, its members are run one by
one, so that an error stays with the piece at fault. Every future ends, whatever happens.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

WorkT = TypeVar("WorkT")
AnswerT = TypeVar("AnswerT")


class BatchQueue(Generic[WorkT, AnswerT]):
    """Gathers work into batches.

    It does not bound itself: whoever admits requests does (``admission.py``), before a body is read.

    Args:
        run: answers a batch, in its order.
        max_batch: pieces per call at most.
        max_delay_s: how long an idle thread waits for a second piece.
        num_threads: batches that run at the same time.
        observe: called with each batch's size.
    """

    def __init__(
        self,
        run: Callable[[Sequence[WorkT]], Sequence[AnswerT]],
        *,
        max_batch: int,
        max_delay_s: float,
        num_threads: int,
        observe: Callable[[int], None],
    ) -> None:
        self._run, self._max_batch, self._max_delay_s, self._observe = run, max_batch, max_delay_s, observe
        self._waiting: deque[tuple[WorkT, Future[AnswerT]]] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(num_threads)]
        for thread in self._threads:
            thread.start()

    def submit(self, work: WorkT) -> Future[AnswerT]:
        """Ask for an answer; cancel the future to be left out of the batch that has not begun.

        Raises:
            RuntimeError: the queue was closed.
        """
        answer: Future[AnswerT] = Future()
        with self._changed:
            if self._is_closed:
                raise RuntimeError("the queue is closed")
            self._waiting.append((work, answer))
            self._changed.notify()
        return answer

    def close(self) -> None:
        """Answer what waits, then end the threads."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        while batch := self._next_batch():
            running = [(work, answer) for work, answer in batch if answer.set_running_or_notify_cancel()]
            batch.clear()
            if running:
                self._observe(len(running))
                self._answer(running)

    def _next_batch(self) -> list[tuple[WorkT, Future[AnswerT]]]:
        """What waits; empty once the queue is closed and nothing does."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._waiting or self._is_closed)
                until = time.monotonic() + self._max_delay_s
                while 0 < len(self._waiting) < self._max_batch and not self._is_closed:
                    left = until - time.monotonic()
                    if left <= 0 or not self._changed.wait(left):
                        break
                if self._waiting or self._is_closed:  # else another thread took it meanwhile
                    return [self._waiting.popleft() for _ in range(min(len(self._waiting), self._max_batch))]

    def _answer(self, batch: list[tuple[WorkT, Future[AnswerT]]]) -> None:
        try:
            for (_, future), answer in zip(batch, self._run([work for work, _ in batch]), strict=True):
                future.set_result(answer)
        except Exception as error:  # whatever a model's runtime raises belongs to the callers
            if len(batch) == 1:
                batch[0][1].set_exception(error)
                return
            for piece in batch:
                if not piece[1].done():
                    self._answer([piece])
