"""Stage 1c without ECGFounder's weights: an ECG encoder from the recordings at hand, and its frozen targets."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import tyro

from pacx.data.pack import Pack
from pacx.modalities.ecg import embed_ecg, preprocess_ecg
from pacx.modalities.ecg_recordings import read_array
from pacx.models.ecg_mae import EcgMAEConfig, load_ecg_mae
from pacx.recipes.recipe import Run
from pacx.recipes.rows import rows_of_samples
from pacx.training.loop import TrainingConfig, TrainingSummary, train
from pacx.training.tasks.ecg import EcgTask, EcgTaskConfig


@dataclass(frozen=True, kw_only=True)
class EcgRun(Run):
    """Train an ECG masked autoencoder, then embed every recording as a frozen target for distillation."""

    recordings: Path
    """ecg.npy (N, leads, samples), with ecg.json beside it: sample ids, leads, rate, unit."""

    pack: Path
    """The pack of the same patients' films: only recordings of its training split are learnt from."""

    out: Path = Path("runs/ecg")
    """The run folder; the encoder ends up in OUT/ecg, the targets in OUT/targets."""

    task: EcgTaskConfig = field(default_factory=EcgTaskConfig)
    """Model and input contract."""

    training: TrainingConfig
    """Optimiser, schedule, machine."""

    resume: bool = False
    """Go on with an interrupted run of the same configuration."""

    def run(self) -> TrainingSummary:
        """Train on the training patients' recordings, embed all."""
        recordings = read_array(self.recordings, self.recordings.with_suffix(".json"))
        signals = preprocess_ecg(recordings, self.task.model.preprocessing)
        fitting, held_out = rows_of_samples(Pack.open(self.pack), recordings.sample_ids)
        task = EcgTask(list(recordings.sample_ids), signals, fitting, held_out, self.task, self.training.seed)
        summary = train(task, self.training, self.out, resume=self.resume)
        embed_ecg(load_ecg_mae(self.out / "ecg"), recordings).save(self.out / "targets")
        return summary


def ecg() -> EcgRun:
    """A small transformer over lead x time patches, for some thousands of recordings and a GPU."""
    training = TrainingConfig(
        epochs=100, batch_size=256, learning_rate=1e-3, warmup_epochs=5, weight_decay=0.05, betas=(0.9, 0.95)
    )
    return EcgRun(recordings=tyro.MISSING, pack=tyro.MISSING, training=training)


def ecg_tiny() -> EcgRun:
    """The same idea for two CPU cores: a thousand recordings in two minutes."""
    model = EcgMAEConfig(embed_dim=96, depth=4, num_heads=4, decoder_embed_dim=64, decoder_depth=1, decoder_num_heads=4)
    training = TrainingConfig(
        epochs=60, batch_size=64, learning_rate=3e-3, warmup_epochs=4, weight_decay=0.05, betas=(0.9, 0.95)
    )
    return replace(ecg(), out=Path("runs/ecg-tiny"), task=EcgTaskConfig(model=model), training=training)


RECIPES = (ecg, ecg_tiny)
