"""Jobs beside one another and alone come to the same, because each has one thread."""

import pytest
import torch

from pacx.recipes.side_by_side import in_processes


def num_threads(job: int) -> tuple[int, int]:
    return job, torch.get_num_threads()


@pytest.mark.parametrize("num_processes", [1, 2])
def test_every_job_has_one_thread_and_the_caller_keeps_its_own(num_processes: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert sorted(in_processes(num_threads, [0, 1, 2], num_processes)) == [(0, 1), (1, 1), (2, 1)]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
