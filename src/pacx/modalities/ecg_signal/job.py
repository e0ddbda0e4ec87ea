"""From raw ECG recordings to what an ECG encoder takes, and on to the distillation target.

``preprocess_ecg`` carries out the input contract an encoder brings along (``EcgPreprocessing``): ECGFounder's filter
chain, or the one for a masked autoencoder of one's own, which keeps voltage visible. Embedding does it a block at a
time, so that a hospital's recordings never have to fit into memory.

Source: PKUDigitalHealth/ECGFounder, dataset.py and util.py (specification of the ECG side, section 1.4).
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from pacx.core.errors import DataError
from pacx.core.host import require_memory
from pacx.core.progress import progress
from pacx.core.quarantine import require_few_bad
from pacx.modalities.ecg_signal.facts import EcgUnit
from pacx.modalities.ecg_signal.filters import BLOCK, PreparedBlock, prepared_blocks
from pacx.modalities.ecg_signal.recordings import EcgRecordings
from pacx.modalities.modality import EmbeddingJob, EmbeddingSettings
from pacx.modalities.targets import FrozenTargets, target_fingerprint
from pacx.models.ecg.encoder import EcgEncoder
from pacx.models.ecg.input import ECG_FOUNDER_INPUT, EcgPreprocessing, EcgScale


def _require_voltage(recordings: EcgRecordings, config: EcgPreprocessing) -> None:
    if config.scale is EcgScale.MILLIVOLT and recordings.unit is EcgUnit.RELATIVE:
        raise DataError(
            "the recordings were scaled one by one, so their voltage is lost, but the encoder expects millivolts; "
            "give recordings in physical units, or an encoder that takes record z-scores: ECGFounder, or one trained "
            "with --task.model.preprocessing.scale RECORD_Z_SCORE"
        )


def prepare_usable(
    recordings: EcgRecordings, config: EcgPreprocessing, *, num_workers: int = 1, max_bad_fraction: float = 0.0
) -> PreparedBlock:
    """What an ECG encoder takes, for all usable recordings at once.

    Args:
        recordings: raw recordings of any rate and lead order.
        config: the encoder's input contract (``model.preprocessing``).
        num_workers: processes that filter side by side.
        max_bad_fraction: share of recordings that may be left out as unusable.

    Returns:
        Ids and signals (M, leads, config.num_samples) float32 of the usable ones, in order, and who was left out and
        why; 240 kB per record of 12 leads and 10 s at 500 Hz.

    Raises:
        DataError: more recordings than allowed are unusable; or their voltage is unknown and needed.
    """
    _require_voltage(recordings, config)
    shape = len(recordings), len(config.leads), config.num_samples
    require_memory(math.prod(shape) * np.dtype(np.float32).itemsize, f"{len(recordings):,} prepared ECGs")
    prepared = np.empty(shape, np.float32)
    ids: list[str] = []
    bad = list(recordings.quarantined)
    total = len(recordings) + len(bad)
    with progress("preparing ECGs", len(recordings), "recordings") as bar:
        for block in prepared_blocks(recordings, config, num_workers):
            prepared[len(ids) : len(ids) + len(block.signals)] = block.signals
            ids += block.sample_ids
            bad += block.quarantined
            bar.advance(len(block.sample_ids) + len(block.quarantined))
    require_few_bad("ECG recordings", bad, total, max_bad_fraction)
    return PreparedBlock(ids, prepared[: len(ids)], bad)


def preprocess_ecg(
    recordings: EcgRecordings, config: EcgPreprocessing = ECG_FOUNDER_INPUT, *, num_workers: int = 1
) -> NDArray[np.float32]:
    """The signals of ``prepare_usable``, (N, leads, samples), where every recording has to be usable."""
    return prepare_usable(recordings, config, num_workers=num_workers).signals


@dataclass(frozen=True, eq=False)
class EcgJob(EmbeddingJob):
    """An ECG encoder and the recordings it is to embed.

    Args:
        model: the encoder; it decides the preparation.
        recordings: raw recordings.
        batch_size: recordings in one forward pass.

    Raises:
        DataError: the encoder needs a voltage that the recordings have lost.
    """

    model: EcgEncoder
    recordings: EcgRecordings
    batch_size: int = BLOCK

    def __post_init__(self) -> None:
        _require_voltage(self.recordings, self.model.preprocessing)

    @property
    def notes(self) -> tuple[str, ...]:
        """Those of the recordings."""
        return self.recordings.notes

    @cached_property
    def fingerprint(self) -> str:
        """Of the weights, the filters with leads, rate and unit of the recordings, and every sample of them."""
        recordings = self.recordings
        contract = {
            "preprocessing": self.model.preprocessing.to_json(),
            "leads": list(recordings.leads),
            "sample_rate_hz": recordings.sample_rate_hz,
            "unit": recordings.unit.value,
        }
        return target_fingerprint(self.model, contract, recordings.signals, recordings.sample_ids)

    @torch.no_grad()
    def run(self, settings: EmbeddingSettings) -> FrozenTargets:
        """Embed every usable recording, (N, D)."""
        recordings = self.recordings
        model = self.model.eval().to(settings.device)
        ids: list[str] = []
        rows: list[NDArray[np.float32]] = []
        bad = list(recordings.quarantined)
        total = len(recordings) + len(bad)
        with progress("embedding ECGs", len(recordings), "recordings") as bar:
            for block in prepared_blocks(recordings, model.preprocessing, settings.num_workers):
                bad += block.quarantined
                ids += block.sample_ids
                for start in range(0, len(block.sample_ids), self.batch_size):
                    batch = torch.from_numpy(block.signals[start : start + self.batch_size]).to(settings.device)
                    rows.append(model.embed(batch).float().cpu().numpy())
                bar.advance(len(block.sample_ids) + len(block.quarantined))
        require_few_bad("ECG recordings", bad, total, settings.max_bad_fraction)
        return FrozenTargets("ecg", tuple(ids), np.concatenate(rows), self.fingerprint, tuple(bad), self.notes)
