"""The loop that trains every stage.

`StageTask + TrainingConfig -> RUN/ (config, journal, checkpoints, release, summary)`. It may be killed at any moment;
resumed, it ends in the same bits on the CPU as if it had never been. It refuses to step on a loss or a gradient that is
not a number, and names the samples.
"""

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Generic

import torch
from torch import Tensor

from pacx.core.artifacts import write_json
from pacx.core.errors import TrainingError
from pacx.core.progress import Progress, progress
from pacx.training.checkpoints import RunState
from pacx.training.config import TrainingConfig
from pacx.training.engine import LossModule, build_fabric, build_optimizer, seeded
from pacx.training.journal import TRAIN, VALIDATION, JournalEntry, read_journal
from pacx.training.meter import Meter
from pacx.training.run_folder import TrainingSummary, open_run
from pacx.training.schedules import learning_rate
from pacx.training.task import B, StageTask, StepLoss

__all__ = ["TrainingConfig", "TrainingSummary", "train"]

_NUM_NAMED = 8


def train(task: StageTask[B], config: TrainingConfig, run_dir: Path, *, resume: bool = False) -> TrainingSummary:
    """Train a stage and write what it releases.

    Args:
        task: the stage.
        config: how long, how fast, on what.
        run_dir: the run folder; must be empty or missing unless ``resume``.
        resume: go on from the newest undamaged checkpoint; a finished run is left as it is.

    Raises:
        UsageError: the folder is in use, the settings changed, or the machine lacks what they ask for.
        TrainingError: a loss or gradient is NaN or infinite, or no checkpoint is usable.
    """
    loop = _Loop(task, config, run_dir, resume=resume)
    return loop.run.finished() or loop.train()


class _Loop(Generic[B]):
    """One session of one run: what ``train`` needs at hand in every step."""

    def __init__(self, task: StageTask[B], config: TrainingConfig, run_dir: Path, *, resume: bool) -> None:
        self.task, self.config = task, config
        self.fabric = build_fabric(config)
        self.num_batches = task.num_batches(config)
        self.batch_size = min(config.batch_size, task.num_samples)
        self.schedule = learning_rate(config, self.num_batches)
        self.run = open_run(run_dir, task, config, resume=resume, is_writer=self.fabric.is_global_zero)
        self.fabric.barrier()

    def train(self) -> TrainingSummary:
        """Resume or begin, train every epoch that is left, release."""
        optimizer = build_optimizer(self.task, self.config, self.fabric.device)
        self.module, self.optimizer = self.fabric.setup(LossModule(self.task.module), optimizer)
        state = self._resume()
        samples_left = (self.config.epochs - state.epoch) * self.num_batches * self.batch_size
        with progress(f"training {self.task.name}", samples_left, self.task.unit) as shown:
            while state.epoch < self.config.epochs:
                began = time.monotonic()
                state = self._train_epoch(state, shown)
                is_last = state.epoch == self.config.epochs
                improved = False
                if is_last or state.epoch % self.config.validate_every_epochs == 0:
                    state, improved = self._validate(state)
                state = replace(state, elapsed_s=state.elapsed_s + time.monotonic() - began)
                if is_last or improved or state.epoch % self.config.checkpoint_every_epochs == 0:
                    self._checkpoint(state)
        return self._finish(state)

    def _resume(self) -> RunState:
        state = self.run.checkpoints.restore(self.task.module, self.optimizer.optimizer) or RunState()
        self.fabric.strategy.precision.load_state_dict(state.precision)
        self.fabric.barrier()
        if self.fabric.is_global_zero:
            self.run.checkpoints.discard_after(state.step)
            self.run.journal.forget_after(state.step)
        return state

    def _train_epoch(self, state: RunState, shown: Progress) -> RunState:
        self.task.module.train()
        meter = Meter(self.fabric, self.batch_size)
        step, note = state.step, ""
        batches = self.task.batches(state.epoch, self.config, self.fabric.global_rank, self.fabric.world_size)
        for batch in batches:
            rate = self.schedule.at(step)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            outcome, gradient_norm = self._backward(batch, state.epoch, step)
            self.optimizer.step()
            self.optimizer.zero_grad()
            step += 1
            meter.add({"loss": outcome.loss, "gradient_norm": gradient_norm, **outcome.metrics})
            if step % self.config.log_every_steps == 0 or step == state.step + self.num_batches:
                means = meter.take()
                note = f"loss {means['loss']:.4f}"
                self._write(JournalEntry(kind=TRAIN, epoch=state.epoch, step=step, values=means | {"lr": rate}))
            shown.advance(self.batch_size, note)
        if step != state.step + self.num_batches:
            raise TrainingError(
                f"{self.task.name}: epoch {state.epoch} gave {step - state.step} batches, expected {self.num_batches}; "
                "the data changed while it was being read"
            )
        return replace(state, epoch=state.epoch + 1, step=step)

    def _backward(self, batch: B, epoch: int, step: int) -> tuple[StepLoss, Tensor]:
        """Loss, gradients and their norm; stops here, before any weight moves, if one is not a number."""
        rank, device = self.fabric.global_rank, self.fabric.device
        with seeded(self.config.seed, "step", step, rank, device=device):
            outcome: StepLoss = self.module(lambda: self.task.loss(batch, epoch))
        self.fabric.backward(outcome.loss)
        # without a limit the gradients are scaled by exactly 1; the norm is wanted all the same
        limit = self.config.gradient_clip or math.inf
        norm = self.fabric.clip_gradients(self.module, self.optimizer, max_norm=limit, error_if_nonfinite=False)
        assert norm is not None
        # in 16-mixed the gradient scaler skips a step whose gradients overflow: only the loss has to be finite
        watched = [outcome.loss] if self.config.precision == "16-mixed" else [outcome.loss, norm]
        if not bool(torch.isfinite(torch.stack([value.detach().float() for value in watched])).all()):
            self._refuse(batch, epoch, step, outcome.loss.item(), norm.item())
        return outcome, norm

    def _refuse(self, batch: B, epoch: int, step: int, loss: float, norm: float) -> None:
        sample_ids = [str(sample) for sample in self.task.sample_ids(batch)]
        path = self.run.path / f"refused-batch-rank{self.fabric.global_rank}.json"
        write_json(path, {"epoch": epoch, "step": step, "sample_ids": sample_ids})
        named = ", ".join(sample_ids[:_NUM_NAMED]) + (", ..." if len(sample_ids) > _NUM_NAMED else "")
        raise TrainingError(
            f"{self.task.name}: epoch {epoch}, step {step}: loss {loss}, gradient norm {norm}, expected numbers; "
            f"no weight was changed; look at the samples {named} (all {len(sample_ids)} in {path}), lower the learning "
            "rate or clip gradients"
        )

    def _validate(self, state: RunState) -> tuple[RunState, bool]:
        self.task.module.eval()
        with torch.no_grad(), self.fabric.autocast(), seeded(self.config.seed, "validate", device=self.fabric.device):
            values = self.task.validate()
        self._write(JournalEntry(kind=VALIDATION, epoch=state.epoch - 1, step=state.step, values=values))
        selection = self.task.selection
        if selection is None or not selection.is_improvement(values[selection.metric], state.best_value):
            return state, False
        return replace(state, best_step=state.step, best_value=values[selection.metric]), True

    def _checkpoint(self, state: RunState) -> None:
        state = replace(state, precision=self.fabric.strategy.precision.state_dict())
        if self.fabric.is_global_zero:
            self.run.checkpoints.save(self.task.module, self.optimizer.optimizer, state)
        self.fabric.barrier()

    def _write(self, entry: JournalEntry) -> None:
        if self.fabric.is_global_zero:
            self.run.journal.append(entry)

    def _finish(self, state: RunState) -> TrainingSummary:
        """Release the selected weights and mark the run as finished, in this order."""
        if state.best_step is not None and state.best_step != state.step:
            self.run.checkpoints.load_best(self.task.module, state.best_step)
        self.task.module.eval()
        entries = read_journal(self.run.journal.path)
        last = {entry.kind: entry.values for entry in entries}
        summary = TrainingSummary(
            stage=self.task.name,
            epochs=state.epoch,
            steps=state.step,
            elapsed_s=state.elapsed_s,
            samples_per_s=state.step * self.batch_size / max(state.elapsed_s, 1e-9),
            released_step=state.best_step or state.step,
            train=last.get(TRAIN, {}),
            validation=last.get(VALIDATION, {}),
        )
        if self.fabric.is_global_zero:
            self.task.release(self.run.path)
            self.run.finish(summary)
        self.fabric.barrier()
        return summary
