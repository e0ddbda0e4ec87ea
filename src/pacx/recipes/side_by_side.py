"""Several small runs at once: each in a process of its own with one thread, which tiny models use best."""

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

import torch

from pacx.recipes.recipe import Run
from pacx.training.loop import TrainingSummary


def one_thread() -> None:
    """Start a process that leaves the other cores to its neighbours."""
    torch.set_num_threads(1)


def _run(run: Run) -> TrainingSummary:
    return run.run()


def run_side_by_side(runs: Sequence[Run], num_processes: int) -> list[TrainingSummary]:
    """Run them all, at most ``num_processes`` at a time; the first error ends the call.

    The result of a run does not depend on its neighbours: processes share nothing.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_processes, mp_context=context, initializer=one_thread) as pool:
        return list(pool.map(_run, runs))
