"""Several small jobs at once: each in a process of its own with one thread, which tiny models use best."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from pacx.core.workers import Workers
from pacx.recipes.run import Run

T = TypeVar("T")
R = TypeVar("R")


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@contextmanager
def one_thread_each(num_processes: int) -> Iterator[Workers]:
    """Processes for several rounds of jobs, each with one thread; with one, this process has one thread meanwhile."""
    import torch

    threads = torch.get_num_threads()
    if num_processes == 1:
        _one_thread()
    try:
        with Workers(num_processes, _one_thread) as workers:
            yield workers
    finally:
        torch.set_num_threads(threads)


def in_processes(work: Callable[[T], R], jobs: Sequence[T], num_processes: int) -> Iterator[R]:
    """Yield what ``work`` makes of each job, as soon as it is done; the first error ends the call and the other jobs.

    The result of a job depends neither on its neighbours nor on their number: processes share nothing, and each job
    has one thread, because the last bits of a sum may depend on the number of threads.

    Raises:
        WorkerError: a process died.
    """
    with one_thread_each(num_processes) as workers:
        yield from workers.as_done(work, jobs)


def _run(run: Run) -> None:
    run.run()


def run_side_by_side(runs: Sequence[Run], workers: Workers) -> None:
    """Run them all, as many at a time as there are workers."""
    for _ in workers.as_done(_run, runs):
        pass
