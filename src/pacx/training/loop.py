"""The loop that trains every stage.

`StageTask + TrainingConfig -> RUN/ (config, journal, checkpoints, release, summary)`. It may be killed at any moment;
resumed, it ends in the same bits on the CPU as if it had never been. It refuses to step on a loss or a gradient that is
not a number, and names the samples.
"""

import itertools
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Generic, NoReturn

import torch
from torch import Tensor

from pacx.core.artifacts import write_json
from pacx.core.errors import InterruptedRunError, TrainingError, UsageError
from pacx.core.progress import Progress, announce, progress
from pacx.models.ema import MovingAverage
from pacx.training.checkpoints import RunState
from pacx.training.config import TrainingConfig
from pacx.training.engine import build_fabric, seeded, set_up
from pacx.training.interruption import StopRequest
from pacx.training.memory import freed_memory_kept
from pacx.training.monitoring.gpu_peak import share_of_peak
from pacx.training.monitoring.journal import TRAIN, VALIDATION, JournalEntry, read_journal
from pacx.training.monitoring.running_means import Meter, mean_outcome
from pacx.training.monitoring.tracking import require_trackers, tracking
from pacx.training.run_folder import TrainingSummary, open_run
from pacx.training.sharding import WholeModule, whole
from pacx.training.stepping.nonfinite import Guard, looking_is_free
from pacx.training.stepping.schedules import learning_rate
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
        UsageError: the folder is in use, the settings changed, or the machine or the stage lacks what they ask for.
        TrainingError: a loss or gradient is NaN or infinite, or no checkpoint is usable.
        InterruptedRunError: SIGTERM, SIGUSR1 or SIGINT came; the run is saved and may be resumed.
    """
    loop = _Loop(task, config, run_dir, resume=resume)
    with freed_memory_kept():
        return loop.run.finished() or loop.train()


class _Loop(Generic[B]):
    """One session of one run: what ``train`` needs at hand in every step."""

    def __init__(self, task: StageTask[B], config: TrainingConfig, run_dir: Path, *, resume: bool) -> None:
        self.task, self.config = task, config
        if config.accumulate > 1 and not task.is_mean_over_samples:
            raise UsageError(
                f"{task.name}: the loss compares the samples of a batch with each other, so a batch cannot be taken in "
                f"{config.accumulate} parts; leave --training.accumulate out"
            )
        require_trackers(config)
        self.fabric = build_fabric(task, config)
        self.num_batches = task.num_batches(config)
        self.batch_size = min(config.batch_size, task.num_samples)
        shares = self.fabric.world_size * config.accumulate
        if self.batch_size % shares:  # a set smaller than a batch: shares of unequal size would weigh unequally
            raise UsageError(
                f"{task.name}: {task.num_samples} training samples make one batch, which does not divide into "
                f"{shares} equal parts ({self.fabric.world_size} processes x {config.accumulate} accumulated); give a "
                f"--training.batch-size of at most {task.num_samples}, or fewer --training.devices"
            )
        self.schedule = learning_rate(config, self.num_batches)
        self.run = open_run(run_dir, task, config, resume=resume, is_writer=self.fabric.is_global_zero)
        self.advice = ""
        self.fabric.barrier()

    def train(self) -> TrainingSummary:
        """Resume or begin, train every epoch that is left, release."""
        if self.config.compile:
            self.task.compile()
        self.whole = WholeModule(self.task, is_sharded=self.config.is_sharded)
        self.module, self.optimizer = set_up(self.fabric, self.task, self.config)
        decay = self.config.ema_decay
        self.average = None if decay is None else MovingAverage(self.task.module, decay)
        if decay is not None:
            self.task.weights_released = {"weights": f"moving average over the steps of training, decay {decay:g}"}
        state = self._resume()
        if state.step == 0:
            self.task.module.eval()
            self.task.prepare()
        is_scaled = self.config.precision == "16-mixed"
        self.guard = Guard(self.optimizer.optimizer, self.fabric.device, is_scaled=is_scaled)
        # Muon has no hook that skips a step, so the host looks before each
        can_skip = not is_scaled and self.config.matrix_optimizer is None
        self.is_watched_closely = not can_skip or looking_is_free(self.fabric.device)
        samples_left = (self.config.epochs * self.num_batches - state.step) * self.batch_size
        title = f"training {self.task.name}"
        with StopRequest() as self.stop, self._tracking(), progress(title, samples_left, self.task.unit) as shown:
            while state.epoch < self.config.epochs:
                self.began = time.monotonic()
                state = self._train_epoch(state, shown)
                is_last = state.epoch == self.config.epochs
                improved = False
                if is_last or state.epoch % self.config.validate_every_epochs == 0:
                    state, improved = self._validate(state)
                state = replace(state, elapsed_s=state.elapsed_s + time.monotonic() - self.began)
                if is_last or improved or state.epoch % self.config.checkpoint_every_epochs == 0:
                    self._checkpoint(state)
        return self._finish(state)

    def _resume(self) -> RunState:
        state = self.run.checkpoints.restore(self.task.module, self.optimizer.optimizer, self.average)
        state = state or RunState()
        if state.precision:  # a fresh run has none, and a gradient scaler refuses to be given nothing
            self.fabric.strategy.precision.load_state_dict(state.precision)
        self.fabric.barrier()
        if self.fabric.is_global_zero:
            self.run.checkpoints.discard_after(state.step)
            self.run.journal.forget_after(state.step)
        return state

    @contextmanager
    def _tracking(self) -> Iterator[None]:
        if not self.fabric.is_global_zero:
            yield
            return
        with tracking(self.config, self.run.path, read_journal(self.run.journal.path)) as self.trackers:
            yield

    def _train_epoch(self, state: RunState, shown: Progress) -> RunState:
        self.task.module.train()
        meter = Meter(self.fabric, self.batch_size, state.totals, state.num_totalled)
        first = state.epoch * self.num_batches
        step, last, note = state.step, first + self.num_batches, ""
        for parts in itertools.islice(self._parts(state.epoch), step - first, None):
            rate = self.schedule.at(step)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            outcome, gradient_norm = self._backward(parts, state.epoch, step)
            self.guard.watch(step, outcome.loss, gradient_norm)
            if self.is_watched_closely:
                self._refuse_if_bad(state.epoch)
            self.optimizer.step()
            self.optimizer.zero_grad()
            if self.average is not None:
                self.average.update()
            step += 1
            meter.add({"loss": outcome.loss, "gradient_norm": gradient_norm, **outcome.metrics})
            is_noted = step % self.config.log_every_steps == 0 or step == last
            if is_noted:
                self._refuse_if_bad(state.epoch)
                means = meter.take()
                note = self._note(means)
                self._write(JournalEntry(kind=TRAIN, epoch=state.epoch, step=step, values=means | {"lr": rate}))
            shown.advance(self.batch_size, note)
            if self._has_to_stop(is_noted=is_noted):
                self._refuse_if_bad(state.epoch)  # or a bad step that nobody looked at would be saved as done
                self._leave(replace(state, step=step, totals=meter.totals(), num_totalled=meter.count))
        if step != last:
            raise TrainingError(
                f"{self.task.name}: epoch {state.epoch} gave {step - first} batches, expected {self.num_batches}; "
                "the data changed while it was being read"
            )
        return replace(state, epoch=state.epoch + 1, step=step, totals={}, num_totalled=0)

    def _parts(self, epoch: int) -> Iterator[tuple[B, ...]]:
        """This device's share of every global batch, in as many parts as are accumulated."""
        count = self.config.accumulate
        shares = range(self.fabric.global_rank * count, (self.fabric.global_rank + 1) * count)
        world = self.fabric.world_size * count
        return zip(*(self.task.batches(epoch, self.config, share, world) for share in shares), strict=True)

    def _backward(self, parts: tuple[B, ...], epoch: int, step: int) -> tuple[StepLoss, Tensor]:
        """Mean loss and metrics over the parts, gradients, and the gradients' norm."""
        outcomes = []
        for number, part in enumerate(parts):
            share = self.fabric.global_rank * len(parts) + number
            is_last = number == len(parts) - 1
            with self.fabric.no_backward_sync(self.module, enabled=not is_last and self.fabric.world_size > 1):
                with seeded(self.config.seed, "step", step, share, device=self.fabric.device):
                    outcome: StepLoss = self.module(partial(self.task.loss, part, epoch))
                self.fabric.backward(outcome.loss / len(parts))
            outcomes.append(StepLoss(outcome.loss.detach(), outcome.metrics))
        # without a limit the gradients are scaled by exactly 1; the norm is wanted all the same
        limit = self.config.gradient_clip or math.inf
        norm = self.fabric.clip_gradients(self.module, self.optimizer, max_norm=limit, error_if_nonfinite=False)
        assert norm is not None
        return mean_outcome(outcomes), whole(norm)

    def _refuse_if_bad(self, epoch: int) -> None:
        """Stop the run, and name the samples, if a loss or gradient was not a number; no weight moved since."""
        refusal = self.guard.look()
        if refusal is None:
            return
        parts = next(itertools.islice(self._parts(epoch), refusal.step - epoch * self.num_batches, None))
        sample_ids = [str(sample) for part in parts for sample in self.task.sample_ids(part)]
        path = self.run.path / f"refused-batch-rank{self.fabric.global_rank}.json"
        write_json(path, {"epoch": epoch, "step": refusal.step, "sample_ids": sample_ids})
        named = ", ".join(sample_ids[:_NUM_NAMED]) + (", ..." if len(sample_ids) > _NUM_NAMED else "")
        raise TrainingError(
            f"{self.task.name}: epoch {epoch}, step {refusal.step}: loss {refusal.loss}, gradient norm "
            f"{refusal.gradient_norm}, expected numbers; this step and later ones changed no weight; look at the "
            f"samples {named} (all {len(sample_ids)} in {path}), lower the learning rate or clip gradients"
        )

    def _has_to_stop(self, *, is_noted: bool) -> bool:
        """Whether a signal asks for it; several processes agree where they meet anyway, so that they stop together."""
        is_asked = self.stop.signal_name is not None
        if self.fabric.world_size == 1:
            return is_asked
        if not is_noted:
            return False
        asked = self.fabric.all_reduce(torch.tensor(float(is_asked), device=self.fabric.device), reduce_op="sum")
        assert isinstance(asked, Tensor)
        return bool(asked > 0)

    def _leave(self, state: RunState) -> NoReturn:
        self._checkpoint(replace(state, elapsed_s=state.elapsed_s + time.monotonic() - self.began))
        raise InterruptedRunError(
            f"training {self.task.name} was asked to stop ({self.stop.signal_name or 'by another process'}) and is "
            f"saved at step {state.step} of {self.config.epochs * self.num_batches} in {self.run.path}; run the same "
            "command again (pacx train: with --resume) to go on"
        )

    def _note(self, means: dict[str, float]) -> str:
        """What the progress bar says besides the rate."""
        share = share_of_peak(
            means["samples_per_s"] / self.fabric.world_size,
            self.task.flops_per_sample,
            self.fabric.device,
            self.config.precision,
        )
        return f"loss {means['loss']:.4f}" + (f", {share:.0%} of peak FLOP/s" if share is not None else "")

    def _validate(self, state: RunState) -> tuple[RunState, bool]:
        seeds = seeded(self.config.seed, "validate", device=self.fabric.device)
        released = self.average.in_place() if self.average is not None else nullcontext()
        with torch.no_grad(), self.fabric.autocast(), seeds, released, self.whole.in_place():
            self.task.module.eval()
            values = self.task.validate()
            if self.fabric.is_global_zero:
                self.task.illustrate(self.run.path)
                for picture, tracker in itertools.product(sorted(self.run.path.glob("*.png")), self.trackers):
                    tracker.show(picture, state.step)
        self._tell(self.task.advice(values), state)
        self._write(JournalEntry(kind=VALIDATION, epoch=state.epoch - 1, step=state.step, values=values))
        selection = self.task.selection
        if selection is None or not selection.is_improvement(values[selection.metric], state.best_value):
            return state, False
        return replace(state, best_step=state.step, best_value=values[selection.metric]), True

    def _tell(self, advice: str, state: RunState) -> None:
        """Say what is wrong when it begins to be, and not at every validation again."""
        if advice and not self.advice and self.fabric.is_global_zero:
            announce(f"training {self.task.name}, after epoch {state.epoch}: {advice}")
        self.advice = advice

    def _checkpoint(self, state: RunState) -> None:
        state = replace(state, precision=self.fabric.strategy.precision.state_dict())
        self.run.checkpoints.save(self.task.module, self.optimizer.optimizer, state, self.average)
        self.fabric.barrier()

    def _write(self, entry: JournalEntry) -> None:
        if self.fabric.is_global_zero:
            self.run.journal.append(entry)
            for tracker in self.trackers:
                tracker.tell(entry)

    def _finish(self, state: RunState) -> TrainingSummary:
        """Release the selected weights and mark the run as finished, in this order."""
        if state.best_step is not None and state.best_step != state.step:
            self.run.checkpoints.load_best(self.task.module, state.best_step, self.average)
        if self.average is not None:
            self.average.put_in_place()
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
            advice=self.task.advice(last.get(VALIDATION, {})),
            notes=self.task.notes,
        )
        with self.whole.in_place():
            self.task.module.eval()
            if self.fabric.is_global_zero:
                self.task.release(self.run.path)
                self.run.finish(summary)
        self.fabric.barrier()
        return summary
