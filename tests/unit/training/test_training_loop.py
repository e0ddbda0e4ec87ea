import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_task import CONFIG, TinyTask

from pacx.core.artifacts import read_json
from pacx.core.errors import TrainingError, UsageError
from pacx.training.loop import train
from pacx.training.monitoring.journal import TRAIN, VALIDATION, curve, read_journal
from pacx.training.stepping.schedules import learning_rate
from pacx.training.task import Selection


def same_weights(one: Path, other: Path) -> bool:
    first, second = load_file(one), load_file(other)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def stop_after(task: TinyTask, epochs: int) -> TinyTask:
    """Make the task fail at the beginning of an epoch, as a machine would."""
    whole = task.batches

    def batches(epoch, config, rank, world_size):
        if epoch == epochs:
            raise KeyboardInterrupt
        return whole(epoch, config, rank, world_size)

    task.batches = batches
    return task


def test_learns_and_writes_the_run_folder(tmp_path):
    summary = train(TinyTask(), replace(CONFIG, epochs=30), tmp_path / "run")
    entries = read_journal(tmp_path / "run/journal.jsonl")
    steps, losses = curve(entries, TRAIN, "loss")
    assert losses[-1] < 0.5 * losses[0]
    assert steps[:3] == [2, 4, 6]
    assert summary.steps == 30 * 4
    assert summary.validation["mse"] == curve(entries, VALIDATION, "mse")[1][-1]
    assert read_json(tmp_path / "run/config.json")["training"]["batch_size"] == 8
    assert {path.name for path in (tmp_path / "run/checkpoints").iterdir()} == {"step-00000116", "step-00000120"}
    schedule = learning_rate(replace(CONFIG, epochs=30), 4)
    assert curve(entries, TRAIN, "lr")[1] == [schedule.at(step - 1) for step in steps]


def test_runs_are_repeatable_and_leave_global_generators_alone(tmp_path):
    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002 - the global state is what is tested
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002 - as above
    train(TinyTask(), CONFIG, tmp_path / "one")
    after = random.getstate(), np.random.get_state()[1], torch.get_rng_state()  # noqa: NPY002 - as above
    assert before[0] == after[0]
    assert (before[1] == after[1]).all()
    assert torch.equal(before[2], after[2])
    torch.manual_seed(99)
    train(TinyTask(), CONFIG, tmp_path / "other")
    assert same_weights(tmp_path / "one/tiny.safetensors", tmp_path / "other/tiny.safetensors")
    train(TinyTask(), replace(CONFIG, seed=4), tmp_path / "seed")
    assert not same_weights(tmp_path / "one/tiny.safetensors", tmp_path / "seed/tiny.safetensors")


def test_interrupted_twice_ends_in_the_same_bits_and_the_same_journal(tmp_path):
    train(TinyTask(), CONFIG, tmp_path / "whole")
    for resume, epochs in ((False, 1), (True, 3)):
        with pytest.raises(KeyboardInterrupt):
            train(stop_after(TinyTask(), epochs), CONFIG, tmp_path / "cut", resume=resume)
    train(TinyTask(), CONFIG, tmp_path / "cut", resume=True)
    assert same_weights(tmp_path / "whole/tiny.safetensors", tmp_path / "cut/tiny.safetensors")
    whole, cut = (read_journal(tmp_path / name / "journal.jsonl") for name in ("whole", "cut"))
    for kind, metric in ((TRAIN, "loss"), (TRAIN, "gradient_norm"), (VALIDATION, "mse")):
        assert curve(whole, kind, metric) == curve(cut, kind, metric)


def test_epochs_between_checkpoints_are_trained_again(tmp_path):
    sparse = replace(CONFIG, checkpoint_every_epochs=2)
    train(TinyTask(), sparse, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(stop_after(TinyTask(), 3), sparse, tmp_path / "cut")
    train(TinyTask(), sparse, tmp_path / "cut", resume=True)
    assert same_weights(tmp_path / "whole/tiny.safetensors", tmp_path / "cut/tiny.safetensors")
    steps, _ = curve(read_journal(tmp_path / "cut/journal.jsonl"), TRAIN, "loss")
    assert steps == sorted(set(steps))


@pytest.mark.parametrize("is_poisoned_gradient", [False, True])
def test_not_a_number_stops_before_the_step_and_names_the_samples(tmp_path, is_poisoned_gradient):
    task = TinyTask(poison=None if is_poisoned_gradient else 5)
    if is_poisoned_gradient:  # the loss is finite, its gradient is not: sqrt at zero
        honest = task.loss
        task.loss = lambda batch, epoch: honest(batch, epoch)._replace(
            loss=(task.module[0].weight * 0).square().sum().sqrt()
        )
    before = {name: tensor.clone() for name, tensor in task.module.state_dict().items()}
    config = replace(CONFIG, batch_size=37, weight_decay=0.0)
    with pytest.raises(TrainingError, match=r"epoch 0, step 0.*case-"):
        train(task, config, tmp_path / "run")
    assert all(torch.equal(before[name], tensor) for name, tensor in task.module.state_dict().items())
    refused = read_json(tmp_path / "run/refused-batch-rank0.json")
    assert sorted(refused["sample_ids"]) == sorted(task.ids)
    assert not list((tmp_path / "run").glob("checkpoints/*"))


def test_used_folder_is_refused_and_a_finished_run_is_left_alone(tmp_path):
    summary = train(TinyTask(), CONFIG, tmp_path / "run")
    with pytest.raises(UsageError, match="pass --resume"):
        train(TinyTask(), CONFIG, tmp_path / "run")
    written = (tmp_path / "run/tiny.safetensors").stat().st_mtime_ns
    assert train(TinyTask(), CONFIG, tmp_path / "run", resume=True) == summary
    assert (tmp_path / "run/tiny.safetensors").stat().st_mtime_ns == written
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/cat.png").touch()
    for resume in (False, True):
        with pytest.raises(UsageError, match="choose another folder"):
            train(TinyTask(), CONFIG, tmp_path / "photos", resume=resume)


def test_a_resumed_run_sweeps_what_a_killed_one_left_half_written_and_only_there(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(stop_after(TinyTask(), 2), CONFIG, tmp_path / "run")
    for left in (tmp_path / "run/.partial-0123456789ab-tiny.safetensors", tmp_path / "run/checkpoints/.partial-x.json"):
        left.touch()
    (tmp_path / "run/.partial-0123456789ab-encoder").mkdir()
    train(TinyTask(), CONFIG, tmp_path / "run", resume=True)
    assert not list((tmp_path / "run").rglob(".partial-*"))
    packs = tmp_path / "packs"  # a folder of somebody else's, who may be writing in it now
    (packs / "films").mkdir(parents=True)
    (packs / ".partial-pack").mkdir()
    for resume in (False, True):
        with pytest.raises(UsageError, match="choose another folder"):
            train(TinyTask(), CONFIG, packs, resume=resume)
    assert (packs / ".partial-pack").is_dir()


def test_resume_refuses_other_settings_by_name_and_allows_harmless_ones(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(stop_after(TinyTask(), 2), CONFIG, tmp_path / "run")
    with pytest.raises(UsageError, match=r"training\.learning_rate was 0\.01, is 0\.02"):
        train(TinyTask(), replace(CONFIG, learning_rate=0.02), tmp_path / "run", resume=True)
    with pytest.raises(UsageError, match=r"task\.config\.noise was 0\.1, is 0\.2"):
        train(TinyTask(noise=0.2), CONFIG, tmp_path / "run", resume=True)
    with pytest.raises(UsageError, match=r"task\.data"):
        train(TinyTask(num_samples=38), CONFIG, tmp_path / "run", resume=True)
    train(TinyTask(), replace(CONFIG, num_workers=2, log_every_steps=1), tmp_path / "run", resume=True)
    train(TinyTask(), CONFIG, tmp_path / "whole")
    assert same_weights(tmp_path / "run/tiny.safetensors", tmp_path / "whole/tiny.safetensors")


def test_selected_weights_are_kept_and_released(tmp_path):
    selection = Selection(metric="scripted", is_higher_better=False)  # 3, 1, 2, 4: epoch 2 of 4 wins
    summary = train(TinyTask(selection=selection), CONFIG, tmp_path / "run")
    assert summary.released_step == 8
    kept = sorted(path.name for path in (tmp_path / "run/checkpoints").iterdir())
    assert kept == ["step-00000008", "step-00000012", "step-00000016"]
    assert same_weights(
        tmp_path / "run/checkpoints/step-00000008/module.safetensors", tmp_path / "run/tiny.safetensors"
    )


def test_the_average_of_all_steps_is_validated_and_released(tmp_path):
    """Closed form over the weights that each step's loss saw; the weights themselves train on as without it."""
    task, config, seen = TinyTask(), replace(CONFIG, ema_decay=0.8), []
    honest = task.loss

    def loss(batch, epoch):
        seen.append({name: each.detach().clone() for name, each in task.module.named_parameters()})
        return honest(batch, epoch)

    task.loss = loss
    summary = train(task, config, tmp_path / "run")
    last = load_file(tmp_path / f"run/checkpoints/step-{summary.steps:08d}/module.safetensors")
    weights = [*seen, last]
    released = load_file(tmp_path / "run/tiny.safetensors")
    for name, tensor in released.items():
        expected = 0.8**summary.steps * weights[0][name].double()
        for step in range(1, summary.steps + 1):
            expected += 0.2 * 0.8 ** (summary.steps - step) * weights[step][name].double()
        torch.testing.assert_close(tensor, expected.float())
        assert not torch.equal(tensor, last[name])
    with torch.no_grad():  # the task's module carries what was released
        assert summary.validation["mse"] == task.validate()["mse"]
    train(TinyTask(), CONFIG, tmp_path / "plain")
    assert same_weights(
        tmp_path / "plain/tiny.safetensors", tmp_path / f"run/checkpoints/step-{summary.steps:08d}/module.safetensors"
    )


def test_with_an_average_interrupted_twice_ends_in_the_same_bits(tmp_path):
    config = replace(CONFIG, ema_decay=0.9)
    train(TinyTask(), config, tmp_path / "whole")
    for resume, epochs in ((False, 1), (True, 3)):
        with pytest.raises(KeyboardInterrupt):
            train(stop_after(TinyTask(), epochs), config, tmp_path / "cut", resume=resume)
    train(TinyTask(), config, tmp_path / "cut", resume=True)
    for name in ("tiny", "checkpoints/step-00000016/average", "checkpoints/step-00000016/module"):
        assert same_weights(tmp_path / f"whole/{name}.safetensors", tmp_path / f"cut/{name}.safetensors")
    curves = [curve(read_journal(tmp_path / run / "journal.jsonl"), VALIDATION, "mse") for run in ("whole", "cut")]
    assert curves[0] == curves[1]


def test_the_average_at_the_selected_step_is_released(tmp_path):
    selection = Selection(metric="scripted", is_higher_better=False)
    train(TinyTask(selection=selection), replace(CONFIG, ema_decay=0.9), tmp_path / "run")
    chosen = tmp_path / "run/checkpoints/step-00000008"
    assert same_weights(chosen / "average.safetensors", tmp_path / "run/tiny.safetensors")
    assert not same_weights(chosen / "module.safetensors", tmp_path / "run/tiny.safetensors")


def test_a_decay_that_averages_nothing_is_refused():
    with pytest.raises(UsageError, match=r"decay is 1\.0; give a number between 0 and 1"):
        replace(CONFIG, ema_decay=1.0)


def test_gradients_without_a_limit_are_untouched(tmp_path):
    """Clipping at infinity must multiply by exactly one."""
    train(TinyTask(), CONFIG, tmp_path / "none")
    train(TinyTask(), replace(CONFIG, gradient_clip=1e9), tmp_path / "far")
    train(TinyTask(), replace(CONFIG, gradient_clip=1e-3), tmp_path / "near")
    assert same_weights(tmp_path / "none/tiny.safetensors", tmp_path / "far/tiny.safetensors")
    assert not same_weights(tmp_path / "none/tiny.safetensors", tmp_path / "near/tiny.safetensors")


def test_set_smaller_than_a_batch_is_one_batch(tmp_path):
    assert train(TinyTask(num_samples=5), CONFIG, tmp_path / "run").steps == 4
    with pytest.raises(UsageError, match="no training samples"):
        train(TinyTask(num_samples=0), CONFIG, tmp_path / "empty")


def test_a_set_smaller_than_a_batch_has_to_divide_evenly(tmp_path):
    """Of unequal parts the mean of the gradients is not the gradient of the mean; of an empty one it is NaN."""
    task = TinyTask(num_samples=5)
    task.is_mean_over_samples = True
    with pytest.raises(UsageError, match=r"5 training samples make one batch, .* 2 equal parts .* at most 5"):
        train(task, replace(CONFIG, accumulate=2), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_missing_accelerator_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="accelerator"):
        train(TinyTask(), replace(CONFIG, accelerator="abacus"), tmp_path / "run")
