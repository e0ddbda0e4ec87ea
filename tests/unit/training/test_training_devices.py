"""Two processes see the same global batches as one, also when a run moves from one to two in the middle."""

import multiprocessing
from dataclasses import replace

import ddp_worker
import pytest
import torch
from safetensors.torch import load_file
from test_training_loop import stop_after
from tiny_task import CONFIG, TinyTask

from pacx.core.errors import UsageError
from pacx.training.config import Strategy
from pacx.training.loop import train
from pacx.training.monitoring.journal import TRAIN, curve, read_journal
from ports import free_port


def test_a_stage_that_cannot_be_in_pieces_says_so_before_anything_is_written(tmp_path):
    """Also where one process would hold the whole: the refusal is not left for the day there are two."""
    with pytest.raises(UsageError, match=r"^tiny: this stage cannot be sharded; leave out --training.strategy"):
        train(TinyTask(), replace(CONFIG, strategy=Strategy.FSDP), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_run_begun_on_one_device_ends_alike_on_two(tmp_path):
    train(TinyTask(dropout=0.0), CONFIG, tmp_path / "one")
    with pytest.raises(KeyboardInterrupt):
        train(stop_after(TinyTask(dropout=0.0), 2), CONFIG, tmp_path / "two")
    port = free_port()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pacx.training.tasks.mae", "pacx.training.loop"])
    ranks = [context.Process(target=ddp_worker.run, args=(tmp_path / "two", rank, 2, port)) for rank in (0, 1)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(300)
    assert [process.exitcode for process in ranks] == [0, 0]
    assert [(tmp_path / f"two/rank-{rank}").read_text() for rank in (0, 1)] == ["2", "2"]
    one, two = (load_file(tmp_path / name / "tiny.safetensors") for name in ("one", "two"))
    for name, weights in one.items():
        torch.testing.assert_close(two[name], weights, rtol=1e-5, atol=1e-6)
    curves = [curve(read_journal(tmp_path / name / "journal.jsonl"), TRAIN, "loss") for name in ("one", "two")]
    assert curves[0][0] == curves[1][0]
    assert curves[0][1] == pytest.approx(curves[1][1], rel=1e-5)
