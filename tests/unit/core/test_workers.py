"""A map over processes: order, how far ahead it reads, errors, and workers that die."""

import contextlib
import os
import signal
import stat
import struct
import threading
import time
from collections.abc import Iterator

import psutil
import pytest

from pacx.core.errors import DataError, WorkerError
from pacx.core.workers import STOP_SIGNALS, Workers, in_order


def slowest_first(number: int) -> int:
    time.sleep(1.0 if number == 0 else 0.0)
    return number


def fail_at_two(number: int) -> int:
    if number == 2:
        raise DataError("two is not liked")
    if number > 2:
        time.sleep(300)
    return number


def die(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def die_in_the_middle_of_an_answer(number: int) -> int:
    if number == 0:
        pipe = next(fd for fd in range(3, 64) if is_socket(fd))
        os.write(pipe, struct.pack("!i", 1_000_000))  # so many bytes follow, it says
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.1)
    return number


def is_socket(descriptor: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(descriptor).st_mode)
    except OSError:
        return False


def signalled(number: int) -> int:
    for each in STOP_SIGNALS:
        os.kill(os.getpid(), each)
    return number


def workers_alive() -> list[psutil.Process]:
    return [each for each in psutil.Process().children() if "spawn_main" in " ".join(each.cmdline())]


@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_answers_come_in_order(num_workers: int) -> None:
    assert list(in_order(slowest_first, range(12), num_workers)) == list(range(12))
    assert not workers_alive()


def test_answers_come_as_they_are_done_and_one_pool_serves_several_maps() -> None:
    with Workers(2) as workers:
        answers = list(workers.as_done(slowest_first, range(4)))
        assert answers[-1] == 0
        assert sorted(answers) == [0, 1, 2, 3]
        before = {each.pid for each in workers_alive()}
        assert list(workers.in_order(slowest_first, range(4))) == [0, 1, 2, 3]
        assert {each.pid for each in workers_alive()} == before
    assert not workers_alive()


def test_it_reads_a_bounded_number_of_pieces_ahead_of_whoever_asks() -> None:
    taken = 0

    def pieces() -> Iterator[int]:
        nonlocal taken
        while True:
            taken += 1
            yield taken

    answers = in_order(slowest_first, pieces(), 2)
    assert [next(answers) for _ in range(3)] == [1, 2, 3]
    assert taken <= 3 + 8
    answers.close()
    assert not workers_alive()


def test_an_error_ends_the_call_at_once_with_all_that_is_at_work() -> None:
    began = time.monotonic()
    with pytest.raises(DataError, match="two is not liked"):
        list(in_order(fail_at_two, range(6), 2))
    assert time.monotonic() - began < 100
    assert not workers_alive()


def test_a_worker_that_dies_is_one_sentence() -> None:
    with pytest.raises(WorkerError, match="fewer than 2 processes"):
        list(in_order(die, range(6), 2))
    assert not workers_alive()


def test_a_worker_that_dies_in_the_middle_of_an_answer_leaves_nobody_waiting() -> None:
    with pytest.raises(WorkerError, match="fewer than 2 processes"):
        list(in_order(die_in_the_middle_of_an_answer, range(6), 2))
    assert not workers_alive()


def test_what_stops_a_whole_job_is_for_the_parent_alone() -> None:
    assert list(in_order(signalled, range(4), 2)) == [0, 1, 2, 3]


def test_a_signal_while_workers_start_does_not_hit_them() -> None:
    """They are not up yet when the first of these comes, nor later when the last does."""
    before = {each: signal.signal(each, lambda *_: None) for each in STOP_SIGNALS}
    is_over = threading.Event()
    earlier = set(psutil.Process().children())  # what other tests have started, which holds no signal back

    def keep_asking() -> None:
        while not is_over.is_set():
            for child in set(psutil.Process().children()) - earlier:
                for each in STOP_SIGNALS:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        child.send_signal(each)
            time.sleep(0.001)

    asking = threading.Thread(target=keep_asking)
    try:
        with Workers(2) as workers:
            asking.start()
            assert list(workers.in_order(slowest_first, range(4))) == [0, 1, 2, 3]
            is_over.set()
            asking.join()
    finally:
        is_over.set()
        for each, handler in before.items():
            signal.signal(each, handler)
