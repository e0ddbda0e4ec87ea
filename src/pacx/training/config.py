"""How long, how fast and on what a stage trains: the part of a recipe that is the same for every stage.

`recipes -> TrainingConfig -> loop`. Refuses values that cannot train anything, before the first batch.
"""

import hashlib
import json
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

from pacx.core.errors import UsageError
from pacx.models.ema_config import require_decay

Precision = Literal["32-true", "16-mixed", "bf16-mixed"]


class Strategy(Enum):
    """What each of several processes holds; the batches and the arithmetic are the same."""

    DDP = "ddp"
    """All weights, gradients and moments."""
    FSDP = "fsdp"
    """A piece of each, the rest gathered block by block, for models that fill a device; not every stage has it."""


class MatrixOptimizer(Enum):
    """What steps weight matrices, where it is not AdamW as for all other parameters."""

    MUON = "muon"
    """Steps in which all directions of a matrix move alike."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """The optimiser, its schedule and the machine.

    Two runs whose configs differ only in ``num_workers``, ``devices``, ``num_nodes``, ``strategy``, ``accumulate``,
    ``accelerator``, ``compile``, ``log_every_steps``, ``checkpoint_every_epochs``, ``tensorboard`` or ``wandb`` see
    the same batches; these may therefore change when a run is resumed.

    Args:
        epochs: passes over the training samples, at least 1.
        batch_size: samples per optimiser step over *all* devices; the last, incomplete batch of an epoch is dropped.
        learning_rate: the peak rate itself; a recipe that scales a base rate by the batch size does so before.
        warmup_epochs: linear warm-up from 0, in epochs (fractions allowed); not together with ``warmup_steps``.
        warmup_steps: the same in optimiser steps.
        final_lr_fraction: where the cosine ends, as a fraction of ``learning_rate``, in [0, 1].
        weight_decay: AdamW's decoupled decay; each task says which parameters it applies to.
        betas: AdamW's two moments.
        matrix_optimizer: what steps weight matrices (parameters of two axes, adapters' among them); None steps them
            with AdamW, as all other parameters. Not together with FSDP.
        matrix_rate_factor: how much larger than AdamW's the steps of ``matrix_optimizer`` are, above 0; None is 1. The
            decay of both is ``weight_decay`` times ``learning_rate``.
        gradient_clip: largest L2 norm of all gradients together; None leaves them alone.
        ema_decay: release (and validate) a moving average of the trained weights, kept in 32 bit, of which this share
            stays at each step, such as 0.9999; None releases the weights themselves.
        seed: of order, augmentation, masks, initialisation; nothing else is random.
        num_workers: threads or processes that prepare batches; never changes a bit of the result.
        precision: number format of the forward pass, in Fabric's spelling.
        accelerator: "cpu", "cuda", "mps" or "auto".
        devices: how many of them, on each node.
        num_nodes: machines; each runs ``pacx train`` once per device under torchrun or srun.
        strategy: what each of several processes holds of the model; FSDP neither with ``compile`` nor with 16-mixed.
        accumulate: passes a device takes for one optimiser step, each over an equal part of its batch, for batches
            that do not fit its memory. Only stages whose loss is a mean over samples allow it.
        compile: let torch.compile fuse the loss, where the stage supports it: minutes at the start, fewer kernels
            after.
        log_every_steps: how often the means of loss and metrics are fetched from the device and written down.
        validate_every_epochs: how often the task measures itself; always after the last epoch.
        checkpoint_every_epochs: how often a checkpoint is written; always after the last epoch.
        tensorboard: show the journal and the pictures in RUN/tensorboard as well (``pacx[track]``).
        wandb: show the journal, no pictures, in Weights & Biases as well (``pacx[track]``; WANDB_MODE=offline works).

    Raises:
        UsageError: a value trains nothing, or two of them contradict each other; the message names them.

    Example:
        >>> from pacx.training import TrainingConfig
        >>> config = TrainingConfig(epochs=10, batch_size=64, learning_rate=1e-3, warmup_epochs=1, devices=2)
        >>> config.num_processes, config.precision
        (2, '32-true')
    """

    epochs: int
    batch_size: int
    learning_rate: float
    warmup_epochs: float = 0.0
    warmup_steps: int | None = None
    final_lr_fraction: float = 0.0
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.999)
    matrix_optimizer: MatrixOptimizer | None = None
    matrix_rate_factor: float | None = None
    gradient_clip: float | None = None
    ema_decay: float | None = None
    seed: int = 0
    num_workers: int = 0
    precision: Precision = "32-true"
    accelerator: str = "auto"
    devices: int = 1
    num_nodes: int = 1
    strategy: Strategy = Strategy.DDP
    accumulate: int = 1
    compile: bool = False
    log_every_steps: int = 50
    validate_every_epochs: int = 1
    checkpoint_every_epochs: int = 1
    tensorboard: bool = False
    wandb: bool = False

    def __post_init__(self) -> None:
        counts = (
            "epochs",
            "batch_size",
            "devices",
            "num_nodes",
            "accumulate",
            "log_every_steps",
            "validate_every_epochs",
            "checkpoint_every_epochs",
        )
        for name in counts:
            if getattr(self, name) < 1:
                raise UsageError(f"training: {name} is {getattr(self, name)}; give at least 1")
        for name in ("learning_rate", "warmup_epochs", "weight_decay", "num_workers"):
            if getattr(self, name) < 0:
                raise UsageError(f"training: {name} is {getattr(self, name)}; give 0 or more")
        if not 0 <= self.final_lr_fraction <= 1:
            raise UsageError(f"training: final_lr_fraction is {self.final_lr_fraction}; give a fraction in [0, 1]")
        if self.warmup_steps is not None and self.warmup_epochs:
            raise UsageError(
                "training: both warmup_steps and warmup_epochs are given; give one, and 0 epochs if a recipe has some"
            )
        if self.gradient_clip is not None and self.gradient_clip <= 0:
            raise UsageError(f"training: gradient_clip is {self.gradient_clip}; give a positive norm or none")
        if self.matrix_rate_factor is not None and (self.matrix_optimizer is None or self.matrix_rate_factor <= 0):
            raise UsageError(
                f"training: matrix_rate_factor is {self.matrix_rate_factor} and matrix_optimizer is "
                f"{self.matrix_optimizer}; give a factor above 0 with an optimizer of matrices, or neither"
            )
        if self.ema_decay is not None:
            require_decay(self.ema_decay)
        self._require_shardable()
        shares = self.num_processes * self.accumulate
        if self.batch_size % shares:
            raise UsageError(
                f"training: batch_size {self.batch_size} does not divide into {shares} parts ({self.num_nodes} nodes x "
                f"{self.devices} devices x {self.accumulate} accumulated); it counts the samples of one optimiser step "
                "on all devices together, so give a multiple"
            )

    @property
    def num_processes(self) -> int:
        """Devices on all nodes together."""
        return self.devices * self.num_nodes

    @property
    def is_sharded(self) -> bool:
        """Whether the model is in pieces: a single process holds all of it."""
        return self.strategy is Strategy.FSDP and self.num_processes > 1

    def _require_shardable(self) -> None:
        if self.strategy is Strategy.FSDP and self.compile:
            raise UsageError("training: a compiled loss cannot be had with FSDP; leave out compile, or choose DDP")
        if self.strategy is Strategy.FSDP and self.precision == "16-mixed":
            raise UsageError("training: FSDP knows no gradient scaling; choose precision bf16-mixed, or DDP")
        if self.strategy is Strategy.FSDP and self.matrix_optimizer is not None:
            raise UsageError("training: Muon needs whole matrices, which FSDP cuts; choose AdamW (none), or DDP")


MAY_CHANGE_ON_RESUME = frozenset(
    f"training.{name}"
    for name in (
        "num_workers",
        "devices",
        "num_nodes",
        "strategy",
        "accumulate",
        "accelerator",
        "compile",
        "log_every_steps",
        "checkpoint_every_epochs",
        "tensorboard",
        "wandb",
    )
)
"""Settings that move work around without changing which numbers are computed from which samples."""


def _dotted(value: Any, prefix: str = "") -> dict[str, Any]:  # noqa: ANN401 - any JSON value
    if not isinstance(value, dict):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat |= _dotted(item, f"{prefix}.{key}" if prefix else key)
    return flat


def changed_fields(before: dict[str, Any], after: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What differs between two configurations in a way that changes results: dotted name to (before, after)."""
    old, new = _dotted(before), _dotted(after)
    return {
        name: (old.get(name), new.get(name))
        for name in sorted(old.keys() | new.keys())
        if name not in MAY_CHANGE_ON_RESUME and old.get(name) != new.get(name)
    }


def config_sha256(config: dict[str, Any]) -> str:
    """The fingerprint of what decides a run's results.

    Settings that may change on resume do not enter, nor does what is not set: a setting that a later version adds,
    and that a run does not use, leaves the run's fingerprint as it is.
    """
    decisive = {
        name: value for name, value in _dotted(config).items() if name not in MAY_CHANGE_ON_RESUME and value is not None
    }
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()
