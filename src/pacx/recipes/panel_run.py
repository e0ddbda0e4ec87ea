"""Stage 1b for any panel of measurements: train its autoencoder, then embed everybody as frozen targets."""

from abc import abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from pacx.modalities.modality import EmbeddingJob, EmbeddingSettings, embed_once
from pacx.modalities.panel.panels import Missing, PanelPercentiles, PanelTable
from pacx.modalities.patients import Patients
from pacx.recipes.run import Run
from pacx.recipes.samples import learning_rows, samples_met, told
from pacx.training.config import TrainingConfig
from pacx.training.task_config import PanelTaskConfig

if TYPE_CHECKING:
    from pacx.modalities.panel.encoder import PanelEncoder
    from pacx.training.run_folder import TrainingSummary


@dataclass(frozen=True, kw_only=True)
class PanelRun(Run):
    """Train a panel's autoencoder, then embed every sample as a frozen target for distillation."""

    pack: Path | None = None
    """The pack of the same samples' films: percentiles and weights are fitted on its training split only. Without
    films, a fifth of the patients is held out."""

    out: Path
    """The run folder; the encoder ends up in OUT under the panel's name, the targets in OUT/targets."""

    task: PanelTaskConfig = field(default_factory=PanelTaskConfig)
    """Sizes, and how values are hidden in training."""

    patients: Annotated[Patients, tyro.conf.arg(name="")] = field(default_factory=Patients)
    """Whose a row is."""

    partial_pairs: bool = False
    """Go on where fewer than half of the samples have a film in the pack, or fewer than half of its films a sample."""

    missing: Missing = Missing.ZERO
    """What stands for a missing value in the targets."""

    training: TrainingConfig
    """Optimiser, schedule, machine."""

    resume: bool = False
    """Go on with an interrupted run of the same configuration."""

    @abstractmethod
    def read(self) -> PanelTable | PanelPercentiles:
        """Read every sample's measurements, as values or as percentiles, with sample and patient ids."""

    def job(self, encoder: "PanelEncoder", measured: PanelTable | PanelPercentiles) -> EmbeddingJob:
        """What embeds everybody who was read with the encoder that was trained."""
        from pacx.modalities.panel.encoder import PanelJob

        return PanelJob(encoder, measured, self.missing)

    @property
    def embedding(self) -> EmbeddingSettings:
        """How that is done."""
        return EmbeddingSettings()

    def run(self) -> "TrainingSummary":
        """Fit percentiles and train on the training patients, embed all."""
        measured, seed = self.read(), self.training.seed

        from pacx.modalities.panel.encoder import PanelEncoder  # not before there are values
        from pacx.training.engine import is_first_process
        from pacx.training.loop import train
        from pacx.training.tasks.panel import PanelTask

        met = samples_met(self.pack, measured.sample_ids, is_partial=self.partial_pairs, notes=measured.notes)
        fitting, held_out = learning_rows(self.pack, measured.sample_ids, measured.patient_ids, seed)
        task = PanelTask(measured, fitting, held_out, self.task, seed)
        task.notes = told(*measured.notes, *met)
        summary = train(task, self.training, self.out, resume=self.resume)
        if is_first_process():  # several at once would replace each other's half of the folder
            encoder = PanelEncoder.load(self.out / measured.panel.name, measured.panel)
            embed_once(self.job(encoder, measured), self.out / "targets", self.embedding, overwrite=True)
        return summary
