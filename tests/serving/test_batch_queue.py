"""Batches grow with the load, errors stay with the piece at fault, and every caller gets an end."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import wait

import pytest

from pacx.serving.admission import Admission
from pacx.serving.batching import BatchQueue
from pacx.serving.limits import Limits
from pacx.serving.refusal import RefusedRequest

_PATIENCE_S = 60.0


def queue_of(run: object, sizes: list[int], **options: float) -> BatchQueue[int, int]:
    settings = {"max_batch": 4, "max_delay_s": 0.0, "num_threads": 1} | options
    return BatchQueue(run, observe=sizes.append, **settings)


def test_answers_belong_to_their_questions_and_batches_are_bounded() -> None:
    sizes: list[int] = []

    def run(numbers: Sequence[int]) -> list[int]:
        time.sleep(0.002)
        return [number**2 for number in numbers]

    queue = queue_of(run, sizes, num_threads=2)
    answers = [queue.submit(number) for number in range(200)]
    assert [answer.result(_PATIENCE_S) for answer in answers] == [number**2 for number in range(200)]
    queue.close()
    assert sum(sizes) == 200
    assert max(sizes) == 4


def test_what_waits_while_a_batch_runs_makes_the_next_one() -> None:
    sizes: list[int] = []
    may_run = threading.Event()

    def run(numbers: Sequence[int]) -> list[int]:
        may_run.wait(_PATIENCE_S)
        return list(numbers)

    queue = queue_of(run, sizes)
    first = queue.submit(0)
    while not first.running():
        time.sleep(0.001)
    rest = [queue.submit(number) for number in range(1, 4)]
    may_run.set()
    wait([first, *rest], _PATIENCE_S)
    queue.close()
    assert sizes == [1, 3]


def test_an_idle_queue_waits_for_company_and_no_longer_than_it_says() -> None:
    sizes: list[int] = []
    queue = queue_of(list, sizes, max_delay_s=0.7)
    began = time.monotonic()
    assert queue.submit(1).result(_PATIENCE_S) == 1
    assert time.monotonic() - began > 0.6
    assert not wait([queue.submit(number) for number in range(2)], _PATIENCE_S).not_done
    queue.close()
    assert sizes == [1, 2]


def test_a_full_batch_does_not_wait() -> None:
    sizes: list[int] = []
    queue = queue_of(list, sizes, max_delay_s=10 * _PATIENCE_S)
    assert not wait([queue.submit(number) for number in range(4)], _PATIENCE_S).not_done
    queue.close()
    assert sizes == [4]


def test_an_error_stays_with_the_piece_at_fault() -> None:
    calls: list[list[int]] = []
    may_run = threading.Event()

    def run(numbers: Sequence[int]) -> list[int]:
        may_run.wait(_PATIENCE_S)
        calls.append(list(numbers))
        if 3 in numbers:
            raise ValueError("three")
        return list(numbers)

    queue = queue_of(run, [], max_batch=8)
    answers = {number: queue.submit(number) for number in (-1, 1, 2, 3, 4)}
    may_run.set()
    for number, answer in answers.items():
        if number == 3:
            with pytest.raises(ValueError, match="three"):
                answer.result(_PATIENCE_S)
        else:
            assert answer.result(_PATIENCE_S) == number
    assert queue.submit(5).result(_PATIENCE_S) == 5
    queue.close()


def test_too_few_answers_are_an_error_and_not_a_silence() -> None:
    queue = queue_of(lambda numbers: [], [])
    with pytest.raises(ValueError, match="shorter"):
        queue.submit(1).result(_PATIENCE_S)
    queue.close()


def test_whoever_gave_up_is_not_computed() -> None:
    seen: list[int] = []
    may_run = threading.Event()

    def run(numbers: Sequence[int]) -> list[int]:
        may_run.wait(_PATIENCE_S)
        seen.extend(numbers)
        return list(numbers)

    queue = queue_of(run, [], max_batch=1)
    first, second, third = (queue.submit(number) for number in range(3))
    while not first.running():
        time.sleep(0.001)
    assert second.cancel()
    may_run.set()
    assert third.result(_PATIENCE_S) == 2
    queue.close()
    assert seen == [0, 2]


def test_a_closed_queue_answers_what_it_has_and_takes_no_more() -> None:
    queue = queue_of(list, [], max_delay_s=0.5)
    answers = [queue.submit(number) for number in range(3)]
    queue.close()
    assert [answer.result(0) for answer in answers] == [0, 1, 2]
    with pytest.raises(RuntimeError, match="closed"):
        queue.submit(1)


def test_admission_counts_places_and_bytes() -> None:
    admission = Admission(Limits(max_waiting=2, max_held_mib=1))
    with admission.place(), admission.place():
        assert admission.num_waiting == 2
        with pytest.raises(RefusedRequest) as refused, admission.place():
            pass
        assert (refused.value.refusal.status, refused.value.refusal.retry_after_s) == (429, 1)
        admission.hold(2**20)
        with pytest.raises(RefusedRequest):
            admission.hold(1)
        admission.hold(-(2**20))
    assert (admission.num_waiting, admission.most_waiting, admission.held_bytes) == (0, 2, 0)
    admission.is_stopping = True
    with pytest.raises(RefusedRequest) as refused, admission.place():
        pass
    assert refused.value.refusal.status == 503
