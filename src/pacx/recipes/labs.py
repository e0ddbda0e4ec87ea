"""Stage 1b: the laboratory autoencoder, and its frozen targets."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import tyro

from pacx.data.pack import Pack
from pacx.modalities.labs import embed_labs, read_wide_csv
from pacx.models.labs_dae import load_labs_dae
from pacx.recipes.recipe import Run
from pacx.recipes.rows import rows_of_samples
from pacx.training.loop import TrainingConfig, TrainingSummary, train
from pacx.training.tasks.labs import LabsTask, LabsTaskConfig


@dataclass(frozen=True, kw_only=True)
class LabsRun(Run):
    """Train the laboratory autoencoder, then embed every patient's values as a frozen target for distillation."""

    table: Path
    """A csv with sample_id and one column per MIMIC item id, raw values, blank = not measured."""

    pack: Path
    """The pack of the same patients' films: percentiles and weights are fitted on its training split only."""

    out: Path = Path("runs/labs")
    """The run folder; the encoder ends up in OUT/labs, the targets in OUT/targets."""

    task: LabsTaskConfig = field(default_factory=LabsTaskConfig)
    """How values are hidden in training."""

    training: TrainingConfig
    """Optimiser, schedule, machine."""

    resume: bool = False
    """Go on with an interrupted run of the same configuration."""

    def run(self) -> TrainingSummary:
        """Fit percentiles and train on the training patients, embed all."""
        labs = read_wide_csv(self.table)
        fitting, held_out = rows_of_samples(Pack.open(self.pack), labs.sample_ids)
        task = LabsTask(labs, fitting, held_out, self.task, self.training.seed)
        summary = train(task, self.training, self.out, resume=self.resume)
        embed_labs(load_labs_dae(self.out / "labs"), task.scaler.transform(labs)).save(self.out / "targets")
        return summary


def labs() -> LabsRun:
    """The paper's: 50 epochs, batch 256, AdamW 3e-4, 200 warm-up steps."""
    training = TrainingConfig(
        epochs=50, batch_size=256, learning_rate=3e-4, warmup_steps=200, weight_decay=0.01, betas=(0.9, 0.999)
    )
    return LabsRun(table=tyro.MISSING, pack=tyro.MISSING, training=training)


def labs_tiny() -> LabsRun:
    """For some hundred patients: smaller batches, so that 50 epochs are enough steps."""
    paper = labs()
    training = replace(paper.training, batch_size=64, learning_rate=1e-3, warmup_steps=None, warmup_epochs=2)
    return replace(paper, out=Path("runs/labs-tiny"), training=training)


RECIPES = (labs, labs_tiny)
