"""Films decoded in processes that may be killed: a bomb costs a worker and never the server.

One thread per worker process hands it files one by one and waits. A worker that dies, or does not answer in time, is
replaced, and the file it had is refused; every other request goes on.
"""

import enum
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pacx.serving.decoding.worker import TOO_COSTLY, Question
from pacx.serving.limits import MIB, Limits
from pacx.serving.refusal import RefusedRequest, refuse

_START_S = 60.0
_END_S = 5.0
_WALL_PER_CPU = 20
"""Waiting for a worker on a busy machine: so many seconds for each processor second it may use."""
_SECRETS = ("PACX_TOKEN",)
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, eq=False)
class DecodedFilm:
    """A film as encoders want it.

    Args:
        squares: uint8 (S, S) by S.
        picture: the first of them as a PNG file; empty where none was wanted.
    """

    squares: dict[int, NDArray[np.uint8]]
    picture: bytes


class End(enum.Enum):
    """What a worker process ended of; the value is a metric's label."""

    TIME = "time"
    """It took more processor seconds, or more time altogether, than the film may."""
    CRASH = "crash"
    """Anything else: no memory, a decoder's fault, somebody's signal."""


class WorkerDied(Exception):  # noqa: N818 - named for what happened
    """A worker ended, or took too long and was ended."""

    def __init__(self, end: End) -> None:
        super().__init__(end.value)
        self.end = end


class _Worker:
    """One process and the socket to it."""

    def __init__(self, limits: Limits) -> None:
        ours, theirs = socket.socketpair()
        environment = {name: value for name, value in os.environ.items() if name not in _SECRETS}
        environment |= dict.fromkeys(_ONE_THREAD, "1")
        words = [str(theirs.fileno()), str(limits.decode_memory_mib * MIB)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pacx.serving.decoding.worker", *words],
            pass_fds=[theirs.fileno()],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,  # a decoder's complaints may quote the file
        )
        theirs.close()
        self._connection: Connection = Connection(ours.detach())
        try:
            self._receive(_START_S)
        except WorkerDied:
            self.end()
            raise

    @property
    def process_id(self) -> int:
        return self._process.pid

    def ask(self, question: Question, data: bytes | bytearray) -> DecodedFilm:
        try:
            self._connection.send_bytes(json.dumps(asdict(question)).encode())
            self._connection.send_bytes(data)
        except OSError:
            raise WorkerDied(self._cause()) from None
        wall_s = question.cpu_s * _WALL_PER_CPU
        refusal: dict[str, Any] = json.loads(self._receive(wall_s))
        if refusal:
            raise refuse(int(refusal["status"]), str(refusal["sentence"]))
        squares = {
            side: np.frombuffer(self._receive(wall_s), np.uint8).reshape(side, side) for side in question.sides_px
        }
        return DecodedFilm(squares, self._receive(wall_s))

    def _receive(self, within_s: float) -> bytes:
        try:
            if self._connection.poll(within_s):
                return self._connection.recv_bytes()
        except (EOFError, OSError):
            raise WorkerDied(self._cause()) from None
        raise WorkerDied(End.TIME)

    def _cause(self) -> End:
        """What it ended of, now that its socket is closed."""
        try:
            return End.TIME if self._process.wait(_END_S) == -signal.SIGPROF else End.CRASH
        except subprocess.TimeoutExpired:
            return End.CRASH

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._connection.close()


class DecoderPool:
    """Worker processes that turn files into squares.

    Args:
        limits: how many, and what each may use.
        on_replaced: called when a worker had to be replaced, with what it ended of.

    Raises:
        WorkerDied: a worker does not start at all, as where its memory limit is below what its imports take.
    """

    def __init__(self, limits: Limits, on_replaced: Callable[[End], None]) -> None:
        self._limits, self._on_replaced = limits, on_replaced
        self._asked: queue.SimpleQueue[tuple[Question, bytes | bytearray, Future[DecodedFilm]] | None] = (
            queue.SimpleQueue()
        )
        self._workers: list[_Worker] = []
        self._is_closing = threading.Event()
        try:
            for _ in range(limits.num_decode_workers):
                self._workers.append(_Worker(limits))
        except WorkerDied:
            self._end_workers()
            raise
        self._threads = [
            threading.Thread(target=self._serve, args=(number,), name=f"decode-{number}", daemon=True)
            for number in range(len(self._workers))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def process_ids(self) -> list[int]:
        """The workers' process ids."""
        return [worker.process_id for worker in self._workers]

    def decode(self, question: Question, data: bytes | bytearray) -> Future[DecodedFilm]:
        """Ask for a film; the answer may be a ``RefusedRequest``. Cancel the future to be forgotten."""
        answer: Future[DecodedFilm] = Future()
        self._asked.put((question, data, answer))
        return answer

    def close(self) -> None:
        """End the workers; what was asked before is answered first."""
        self._is_closing.set()
        for _ in self._threads:
            self._asked.put(None)
        for thread in self._threads:
            thread.join()
        self._end_workers()

    def _end_workers(self) -> None:
        for worker in self._workers:
            worker.end()

    def _serve(self, number: int) -> None:
        while (asked := self._asked.get()) is not None:
            question, data, answer = asked
            del asked  # or an idle thread would hold the last film
            if not answer.set_running_or_notify_cancel():
                continue
            try:
                answer.set_result(self._workers[number].ask(question, data))
            except RefusedRequest as refusal:
                answer.set_exception(refusal)
            except WorkerDied as death:
                answer.set_exception(refuse(413, TOO_COSTLY))
                self._replace(number, death.end)
            except Exception as error:  # a caller must never be left waiting
                answer.set_exception(error)
                self._replace(number, End.CRASH)
            del question, data, answer

    def _replace(self, number: int, end: End) -> None:
        self._workers[number].end()
        self._on_replaced(end)
        while not self._is_closing.is_set():
            try:
                self._workers[number] = _Worker(self._limits)
                return
            except (WorkerDied, OSError):  # the machine has no room at this moment; films wait, and time out
                self._is_closing.wait(1.0)
