"""One model in pieces on two processes (FSDP): the numbers, the files and the habits of a model that is whole."""

import multiprocessing
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import resume_worker
import sharded_worker
import torch
from safetensors.torch import load_file
from sharded_worker import Mishap
from test_resume import assert_same_end, newest_step

from pacx.data.packs.pack import Pack
from pacx.training.config import Strategy, TrainingConfig
from pacx.training.monitoring.journal import TRAIN, VALIDATION, curve, read_journal
from ports import free_port

_PATIENCE_S = 300.0
_CONFIG = replace(resume_worker.config(epochs=4), log_every_steps=2)  # 16 steps of 8 films, a moving average
_ALONE = replace(_CONFIG, strategy=Strategy.FSDP)  # one process holds the whole
_PIECES = replace(_ALONE, devices=2)


def run_two(
    pack: Pack, out: Path, config: TrainingConfig, mishap: Mishap | None = None, *, is_cross: bool = False
) -> list[int | None]:
    """Exit codes of two processes on this machine."""
    port = free_port()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pacx.training.tasks.mae", "pacx.training.loop"])
    arguments = (port, pack.path, out, config, mishap, is_cross)
    ranks = [context.Process(target=sharded_worker.run_rank, args=(rank, *arguments)) for rank in (0, 1)]
    for process in ranks:
        process.start()
    if mishap is not None and mishap.sent is signal.SIGKILL:
        ranks[1].join(_PATIENCE_S)
        ranks[0].kill()  # it would wait for the other, or fail
    for process in ranks:
        process.join(_PATIENCE_S)
    return [process.exitcode for process in ranks]


def assert_close_to_one_process(one: Path, other: Path) -> None:
    """Losses and weights to 1e-6.

    Attention is blind to the bias of its keys, so that its gradient is rounding, which Adam makes full steps of.
    """
    journals = [read_journal(run / "journal.jsonl") for run in (one, other)]
    for kind, metric in ((TRAIN, "loss"), (TRAIN, "gradient_norm"), (VALIDATION, "masked_mse")):
        steps, values = zip(*(curve(journal, kind, metric) for journal in journals), strict=True)
        assert steps[0] == steps[1]
        assert values[0] == pytest.approx(values[1], rel=1e-6)
    expected, found = (load_file(run / "mae.safetensors") for run in (one, other))
    assert list(expected) == list(found)
    for name, weights in expected.items():
        tolerance = torch.full_like(weights, 1e-6)
        if name.endswith(("qkv.bias", "kv.bias")):
            width = 32 if name.startswith("blocks") else 16
            first = width if name.endswith("qkv.bias") else 0
            tolerance[first : first + width] = 1e-4
        assert bool(((found[name] - weights).abs() <= tolerance).all()), name


@pytest.mark.slow
def test_in_pieces_refused_killed_and_resumed_it_ends_in_the_bits_of_a_whole_model(pack, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert run_two(pack, whole, replace(_CONFIG, devices=2)) == [0, 0]
    codes = run_two(pack, cut, _PIECES, Mishap(loss=6))
    assert codes == [1, 1]
    for rank in (0, 1):
        assert "epoch 1, step 5: loss" in (cut / f"said-{rank}").read_text()
        assert (cut / f"refused-batch-rank{rank}.json").exists()
    assert newest_step(cut) == 4
    codes = run_two(pack, cut, _PIECES, Mishap(loss=7, sent=signal.SIGKILL))
    assert codes[0] != 0
    assert codes[1] == -signal.SIGKILL
    assert newest_step(cut) == 8
    assert run_two(pack, cut, _PIECES) == [0, 0]
    assert_same_end(whole, cut, metrics=("loss", "lr"))  # the norm of pieces adds up in another order
    held = {out: [float((out / f"held-{rank}").read_text()) for rank in (0, 1)] for out in (whole, cut)}
    assert held[whole] == [1, 1]
    assert sum(held[cut]) == pytest.approx(1)
    assert held[cut] == pytest.approx([0.5, 0.5], abs=0.05)
    for name in ("reconstructions.png", "encoder/model.safetensors", "encoder/config.json"):
        assert (whole / name).read_bytes() == (cut / name).read_bytes(), name
    one = tmp_path / "one"
    sharded_worker.run(pack.path, one, _CONFIG)
    assert_close_to_one_process(one, cut)


def test_from_one_process_to_two_pieces_and_back_within_epochs(pack, tmp_path):
    one, moved = tmp_path / "one", tmp_path / "moved"
    sharded_worker.run(pack.path, one, _CONFIG)
    with pytest.raises(SystemExit, match="75"):
        sharded_worker.run(pack.path, moved, _ALONE, Mishap(loss=5, sent=signal.SIGUSR1))
    assert newest_step(moved) == 5
    assert run_two(pack, moved, _PIECES, Mishap(loss=5, sent=signal.SIGTERM)) == [75, 75]
    assert newest_step(moved) == 10
    sharded_worker.run(pack.path, moved, _CONFIG)
    assert_close_to_one_process(one, moved)


def test_clipped_and_accumulated_in_pieces(pack, tmp_path):
    """With the decoder of other blocks; the limit lies below every norm, so that each step is clipped."""
    config = replace(_ALONE, gradient_clip=0.05, accumulate=2, ema_decay=None)
    one, pieces = tmp_path / "one", tmp_path / "pieces"
    sharded_worker.run(pack.path, one, config, is_cross=True)
    assert run_two(pack, pieces, replace(config, devices=2), is_cross=True) == [0, 0]
    _, norms = curve(read_journal(one / "journal.jsonl"), TRAIN, "gradient_norm")
    assert min(norms) > 0.05
    assert_close_to_one_process(one, pieces)
