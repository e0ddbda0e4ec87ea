"""Stage 2: distil frozen ECG and laboratory embeddings into the film encoder."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from pacx.data.packs.pack import Pack
from pacx.data.pairs.linked_films import require_same_links
from pacx.recipes.rows import train_and_held_out
from pacx.recipes.samples import told
from pacx.recipes.taught import TaughtRun
from pacx.training.config import TrainingConfig
from pacx.training.task_config import DistillTaskConfig, objective_by_name

if TYPE_CHECKING:
    from pacx.training.run_folder import TrainingSummary


@dataclass(frozen=True, kw_only=True)
class DistillRun(TaughtRun):
    """Teach a film encoder physiology; the result needs the film alone.

    Example:
        >>> from dataclasses import replace
        >>> from pathlib import Path
        >>> from pacx.recipes import DistillRun, recipe
        >>> places = {"encoder": Path("runs/mae/encoder"), "pack": Path("packs/triplets")}
        >>> targets = (Path("runs/ecg/targets"), Path("runs/labs/targets"))
        >>> run = replace(recipe("distill-tiny"), **places, targets=targets)
        >>> isinstance(run, DistillRun), run.training.epochs, run.task.contrastive_weight
        (True, 10, 0.5)
        >>> run.run()  # doctest: +SKIP
    """

    out: Path = Path("runs/distill")
    """The run folder; the released encoder ends up in OUT/encoder."""

    task: DistillTaskConfig = field(default_factory=DistillTaskConfig)
    """Adapters, objectives and their weights, augmentation."""

    also: tuple[str, ...] = ()
    """Further objectives with their default settings, NAME=WEIGHT each (token-regression=1): ours, or those that an
    installed package adds (docs/adding/objective.md)."""

    training: TrainingConfig
    """Optimiser, schedule, machine."""

    resume: bool = False
    """Go on with an interrupted run of the same configuration."""

    def run(self) -> "TrainingSummary":
        """Distil on the pack's training patients, measure retrieval on its validation patients."""
        pack, chosen = Pack.open(self.pack), self._chosen()

        from pacx.models.encoders.folder import load_encoder  # not before there is a pack: a wrong path is told at once
        from pacx.training.loop import train
        from pacx.training.tasks.distill import DistillTask

        encoder = load_encoder(self.encoder)
        fitting, held_out = train_and_held_out(pack, self.training.seed)
        targets = {target.modality: target for target in self.frozen_targets(pack, fitting)}
        of_targets = {f"{name} targets": target.notes for name, target in targets.items()}
        require_same_links({str(self.pack): pack.manifest.notes, **of_targets})
        task = DistillTask(pack, fitting, held_out, encoder, targets, chosen, self.training.seed)
        task.notes = told(*(f"{name}: {note}" for name, target in targets.items() for note in target.notes))
        return train(task, self.training, self.out, resume=self.resume)

    @property
    def seed_of_targets(self) -> int:
        """The training seed."""
        return self.training.seed

    def _chosen(self) -> DistillTaskConfig:
        """The task with the objectives of ``also``."""
        return replace(self.task, further=(*self.task.further, *map(objective_by_name, self.also)))


def distill() -> DistillRun:
    """The paper's Stage 2: LoRA r 8 alpha 8 and all norms, 50 epochs, batch 128."""
    training = TrainingConfig(
        epochs=50,
        batch_size=128,
        learning_rate=1e-4,
        warmup_epochs=5,
        final_lr_fraction=0.01,
        weight_decay=0.05,
        gradient_clip=1.0,
    )
    return DistillRun(encoder=tyro.MISSING, pack=tyro.MISSING, targets=tyro.MISSING, training=training)


def distill_tiny() -> DistillRun:
    """For the tiny encoder on two CPU cores: fewer epochs, smaller batches (hence more steps), a higher rate."""
    paper = distill()
    training = replace(paper.training, epochs=10, batch_size=64, learning_rate=2e-3, warmup_epochs=1)
    return replace(paper, out=Path("runs/distill-tiny"), training=training)


RECIPES = (distill, distill_tiny)
