"""A map over processes: order, how far ahead it reads, errors, and workers that die."""

import os
import signal
import time
from collections.abc import Iterator

import psutil
import pytest

from pacx.core.errors import DataError, WorkerError
from pacx.core.workers import Workers, in_order


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


def interrupted(number: int) -> int:
    os.kill(os.getpid(), signal.SIGINT)
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


def test_an_interrupt_in_a_terminal_is_for_the_parent_alone() -> None:
    assert list(in_order(interrupted, range(4), 2)) == [0, 1, 2, 3]
