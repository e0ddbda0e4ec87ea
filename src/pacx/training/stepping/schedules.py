"""The learning rate of every step, as a pure function of the step: nothing to save, nothing to restore.

`TrainingConfig -> LearningRate -> loop`. Linear warm-up from zero, then half a cosine down to a floor, per optimiser
step in every stage (the released code of the paper changes it per epoch; see the method's table of differences).
"""

import math
from dataclasses import dataclass

from pacx.core.errors import UsageError
from pacx.training.config import TrainingConfig


@dataclass(frozen=True, kw_only=True)
class LearningRate:
    """Warm-up and cosine.

    Args:
        peak: the rate at the end of the warm-up.
        final_fraction: the rate at the end, as a fraction of ``peak``.
        num_warmup_steps: steps with a rate below the peak; the very first has rate 0 unless there is no warm-up.
        num_steps: steps of the whole run.

    Source: Loshchilov and Hutter 2017 (SGDR) without restarts; He et al. 2022 (MAE), appendix A.
    """

    peak: float
    final_fraction: float
    num_warmup_steps: int
    num_steps: int

    def at(self, step: int) -> float:
        """The rate of optimiser step ``step``, counted from 0."""
        if step < self.num_warmup_steps:
            return self.peak * step / self.num_warmup_steps
        done = (step - self.num_warmup_steps) / max(1, self.num_steps - self.num_warmup_steps)
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
        return self.peak * (self.final_fraction + (1 - self.final_fraction) * cosine)


def learning_rate(config: TrainingConfig, num_batches: int) -> LearningRate:
    """The schedule of a run with ``num_batches`` optimiser steps an epoch.

    Raises:
        UsageError: the warm-up would not end before the run does.
    """
    num_steps = config.epochs * num_batches
    warmup = config.warmup_steps if config.warmup_steps is not None else round(config.warmup_epochs * num_batches)
    if warmup >= num_steps:
        raise UsageError(
            f"the warm-up takes {warmup} steps but the run has {num_steps} ({config.epochs} epochs of {num_batches}); "
            "shorten the warm-up (--training.warmup-epochs or --training.warmup-steps) or train longer"
        )
    return LearningRate(
        peak=config.learning_rate,
        final_fraction=config.final_lr_fraction,
        num_warmup_steps=warmup,
        num_steps=num_steps,
    )
