"""Stage 1c without ECGFounder's weights: an ECG encoder from the recordings at hand, and its frozen targets."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from pacx.modalities.ecg_signal.facts import EcgFacts
from pacx.modalities.modality import EmbeddingSettings, embed_once
from pacx.modalities.patients import Patients
from pacx.models.ecg.mae_config import EcgMAEConfig
from pacx.recipes.run import Run
from pacx.recipes.samples import learning_rows, samples_met, told
from pacx.training.config import TrainingConfig
from pacx.training.task_config import EcgTaskConfig

if TYPE_CHECKING:
    from pacx.training.run_folder import TrainingSummary


@dataclass(frozen=True, kw_only=True)
class EcgRun(Run):
    """Train an ECG masked autoencoder, then embed every recording as a frozen target for distillation.

    Example:
        >>> from dataclasses import replace
        >>> from pathlib import Path
        >>> from pacx.recipes import EcgRun, recipe
        >>> run = replace(recipe("ecg-tiny"), recordings=Path("hospital/triplets/ecg.npy"), pack=Path("packs/triplets"))
        >>> isinstance(run, EcgRun), run.training.epochs
        (True, 20)
        >>> run.run()  # doctest: +SKIP
    """

    recordings: Path
    """A pack of ECGs (pacx data pack ecg). Of anything else one is made in OUT.recordings: ecg.npy (N, leads, samples)
    with ecg.json beside it (sample ids, leads, rate, unit), a folder of ECG files of any formats (docs/formats.md), or
    a csv with path, sample_id and if known patient_id."""

    links: Path | None = None
    """Of the folder of recordings those of linked films, called by their films; the folder that pacx data link made."""

    pack: Path | None = None
    """The pack of the same samples' films: only recordings of its training split are learnt from. Without films, a
    fifth of the patients is held out."""

    out: Path = Path("runs/ecg")
    """The run folder; the encoder ends up in OUT/ecg, the targets in OUT/targets."""

    task: EcgTaskConfig = field(default_factory=EcgTaskConfig)
    """Model and input contract."""

    training: TrainingConfig
    """Optimiser, schedule, machine."""

    max_bad_fraction: float = 0.001
    """Share of recordings that may be left out as unreadable, flat, clipped or otherwise unusable."""

    patients: Annotated[Patients, tyro.conf.arg(name="")] = field(default_factory=Patients)
    """Whose a recording is."""

    facts: Annotated[EcgFacts, tyro.conf.arg(name="")] = field(default_factory=EcgFacts)
    """What the files do not say."""

    partial_pairs: bool = False
    """Go on where fewer than half of the recordings have a film in the pack, or of its films a recording."""

    resume: bool = False
    """Go on with an interrupted run of the same configuration."""

    def run(self) -> "TrainingSummary":
        """Train on the training patients' recordings, embed all."""
        from pacx.modalities.ecg_signal.job import EcgJob
        from pacx.modalities.ecg_signal.linked import recordings_of
        from pacx.modalities.ecg_signal.packs.packing import packed_once
        from pacx.models.ecg.mae import load_ecg_mae
        from pacx.training.engine import is_first_process
        from pacx.training.loop import train
        from pacx.training.tasks.ecg import EcgTask

        settings = EmbeddingSettings(
            num_workers=max(1, self.training.num_workers), max_bad_fraction=self.max_bad_fraction
        )
        config = self.task.model.preprocessing
        pack = packed_once(
            recordings_of(self.recordings, self.links, patients=self.patients, facts=self.facts),
            self.out,
            config,
            max_bad_fraction=settings.max_bad_fraction,
            num_workers=settings.num_workers,
        )
        met = samples_met(self.pack, pack.sample_ids, is_partial=self.partial_pairs, notes=pack.notes)
        fitting, held_out = learning_rows(self.pack, pack.sample_ids, pack.patient_ids, self.training.seed)
        task = EcgTask(
            pack.sample_ids,
            pack.prepared_for(config),
            fitting,
            held_out,
            self.task,
            self.training.seed,
            pack.manifest.fingerprint,
        )
        task.notes = told(*pack.notes, *met)
        summary = train(task, self.training, self.out, resume=self.resume)
        if is_first_process():  # several at once would replace each other's half of the folder
            job = EcgJob(load_ecg_mae(self.out / "ecg"), pack)
            embed_once(job, self.out / "targets", settings, overwrite=True)
        return summary


def ecg() -> EcgRun:
    """A small transformer over lead x time patches, for some thousands of recordings and a GPU."""
    training = TrainingConfig(
        epochs=100, batch_size=256, learning_rate=1e-3, warmup_epochs=5, weight_decay=0.05, betas=(0.9, 0.95)
    )
    return EcgRun(recordings=tyro.MISSING, training=training)


def ecg_tiny() -> EcgRun:
    """The same idea for two CPU cores: a thousand recordings in two minutes.

    Small batches: what an epoch teaches here is a matter of steps (docs/experiments.md).
    """
    model = EcgMAEConfig(embed_dim=96, depth=4, num_heads=4, decoder_embed_dim=64, decoder_depth=1, decoder_num_heads=4)
    training = TrainingConfig(
        epochs=20, batch_size=16, learning_rate=3e-3, warmup_epochs=2, weight_decay=0.05, betas=(0.9, 0.95)
    )
    return replace(ecg(), out=Path("runs/ecg-tiny"), task=EcgTaskConfig(model=model), training=training)


RECIPES = (ecg, ecg_tiny)
