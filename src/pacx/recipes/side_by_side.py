"""Several small jobs at once: each in a process of its own with one thread, which tiny models use best."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from pacx.core.workers import Workers
from pacx.recipes.run import Run

T = TypeVar("T")
R = TypeVar("R")


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def in_processes(work: Callable[[T], R], jobs: Sequence[T], num_processes: int) -> Iterator[R]:
    """Yield what ``work`` makes of each job, as soon as it is done; the first error ends the call and the other jobs.

    The result of a job depends neither on its neighbours nor on their number: processes share nothing, and each job
    has one thread, because the last bits of a sum may depend on the number of threads. With ``num_processes`` of 1 the
    jobs run in this process, which has one thread meanwhile.

    Raises:
        WorkerError: a process died.
    """
    import torch

    if num_processes == 1:
        threads = torch.get_num_threads()
        _one_thread()
        try:
            yield from map(work, jobs)
        finally:
            torch.set_num_threads(threads)
        return
    with Workers(num_processes, _one_thread) as workers:
        yield from workers.as_done(work, jobs)


def _run(run: Run) -> None:
    run.run()


def run_side_by_side(runs: Sequence[Run], num_processes: int) -> None:
    """Run them all, at most ``num_processes`` at a time."""
    for _ in in_processes(_run, runs, num_processes):
        pass
