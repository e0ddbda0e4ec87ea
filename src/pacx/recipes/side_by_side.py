"""Several small jobs at once: each in a process of its own with one thread, which tiny models use best."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

import torch

from pacx.recipes.recipe import Run

T = TypeVar("T")
R = TypeVar("R")


def _one_thread() -> None:
    torch.set_num_threads(1)


def in_processes(work: Callable[[T], R], jobs: Sequence[T], num_processes: int) -> Iterator[R]:
    """Yield what ``work`` makes of each job, as they are done; the first error ends the call.

    The result of a job does not depend on its neighbours or their number: processes share nothing, and each has one
    thread, for on how many threads a sum is spread its last bits may depend. One process is this one.
    """
    if num_processes == 1:
        threads = torch.get_num_threads()
        _one_thread()
        try:
            yield from map(work, jobs)
        finally:
            torch.set_num_threads(threads)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_processes, mp_context=context, initializer=_one_thread) as pool:
        for done in as_completed([pool.submit(work, job) for job in jobs]):
            yield done.result()


def _run(run: Run) -> None:
    run.run()


def run_side_by_side(runs: Sequence[Run], num_processes: int) -> None:
    """Run them all, at most ``num_processes`` at a time."""
    for _ in in_processes(_run, runs, num_processes):
        pass
