"""From raw ECG recordings to what an ECG encoder takes, and on to the distillation target.

``preprocess_ecg`` carries out the input contract an encoder brings along (``EcgPreprocessing``): ECGFounder's filter
chain, or the one for a masked autoencoder of one's own, which keeps voltage visible. Embedding does it a block at a
time, so that a hospital's recordings never have to fit into memory.

Source: PKUDigitalHealth/ECGFounder, dataset.py and util.py (specification of the ECG side, section 1.4).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from pacx.core.errors import DataError
from pacx.core.host import require_memory
from pacx.core.progress import progress
from pacx.core.quarantine import Quarantined, require_few_bad
from pacx.modalities.ecg_signal.packs.pack import EcgPack
from pacx.modalities.ecg_signal.prepared import PreparedBlock, Sieve, prepared_blocks
from pacx.modalities.ecg_signal.recordings import EcgRecordings
from pacx.modalities.ecg_signal.sources import EcgSource, source_of
from pacx.modalities.modality import EmbeddingJob, EmbeddingSettings
from pacx.modalities.targets import FrozenTargets, target_fingerprint
from pacx.models.ecg.encoder import EcgEncoder
from pacx.models.ecg.input import ECG_FOUNDER_INPUT, EcgPreprocessing, EcgScale

WHAT = "ECG recordings"


def _require_voltage(source: EcgSource, config: EcgPreprocessing) -> None:
    if config.scale is EcgScale.MILLIVOLT and not source.has_voltage:
        raise DataError(
            "the recordings were scaled one by one, so their voltage is lost, but the encoder expects millivolts; "
            "give recordings in physical units, or an encoder that takes record z-scores: ECGFounder, or one trained "
            "with --task.model.preprocessing.scale RECORD_Z_SCORE"
        )


class UsableEcgs(NamedTuple):
    """Ids and signals (M, leads, samples) float32 of recordings that can be used, in order, and the others."""

    sample_ids: list[str]
    signals: NDArray[np.float32]
    quarantined: list[Quarantined]


def prepare_usable(
    recordings: EcgSource | EcgRecordings,
    config: EcgPreprocessing,
    *,
    num_workers: int = 1,
    max_bad_fraction: float = 0.0,
) -> UsableEcgs:
    """What an ECG encoder takes, for all usable recordings at once.

    Args:
        recordings: of any rate and lead order.
        config: the encoder's input contract (``model.preprocessing``).
        num_workers: processes that filter side by side.
        max_bad_fraction: share of recordings that may be left out as unusable.

    Returns:
        240 kB per record of 12 leads and 10 s at 500 Hz; a pack (``pack_ecgs``) keeps them on the disk instead.

    Raises:
        DataError: more recordings than allowed are unusable; or their voltage is unknown and needed.
    """
    source = source_of(recordings)
    _require_voltage(source, config)
    shape = len(source.sample_ids), len(config.leads), config.num_samples
    require_memory(math.prod(shape) * np.dtype(np.float32).itemsize, f"{shape[0]:,} prepared ECGs")
    prepared = np.empty(shape, np.float32)
    ids: list[str] = []
    bad: list[Quarantined] = []
    for block in _usable_blocks(source, config, num_workers, max_bad_fraction, bad):
        prepared[len(ids) : len(ids) + len(block.signals)] = block.signals
        ids += block.sample_ids
    return UsableEcgs(ids, prepared[: len(ids)], bad)


def _usable_blocks(
    source: EcgSource, config: EcgPreprocessing, num_workers: int, max_bad_fraction: float, bad: list[Quarantined]
) -> Iterator[PreparedBlock]:
    """The usable recordings of a source; ``bad`` takes the others, until they are too many."""
    sieve, total = Sieve(), len(source.sample_ids)
    with progress("preparing ECGs", total, "recordings") as bar:
        for read in prepared_blocks(source, config, num_workers):
            block = sieve.passed(read)
            bad += [each for _, each in block.quarantined]
            require_few_bad(WHAT, bad, total, max_bad_fraction, is_done=False)
            yield block
            bar.advance(len(block.entries) + len(block.quarantined))
    require_few_bad(WHAT, bad, total, max_bad_fraction)


def preprocess_ecg(
    recordings: EcgSource | EcgRecordings, config: EcgPreprocessing = ECG_FOUNDER_INPUT, *, num_workers: int = 1
) -> NDArray[np.float32]:
    """The signals of ``prepare_usable``, (N, leads, samples), where every recording has to be usable."""
    return prepare_usable(recordings, config, num_workers=num_workers).signals


@dataclass(frozen=True, eq=False)
class EcgJob(EmbeddingJob):
    """An ECG encoder and the recordings it is to embed.

    Args:
        model: the encoder; it decides the preparation.
        recordings: a pack, or recordings that are read, checked and filtered on the way, a few at a time.
        batch_size: recordings in one forward pass.

    Raises:
        DataError: the encoder needs a voltage that the recordings have lost, or the pack was filtered for another one.
    """

    model: EcgEncoder
    recordings: EcgSource | EcgRecordings | EcgPack
    batch_size: int = 64

    def __post_init__(self) -> None:
        if isinstance(self.recordings, EcgPack):
            self.recordings.prepared_for(self.model.preprocessing)
        else:
            _require_voltage(source_of(self.recordings), self.model.preprocessing)

    @property
    def notes(self) -> tuple[str, ...]:
        """Those of the recordings."""
        return self.recordings.notes

    @cached_property
    def fingerprint(self) -> str:
        """Of the weights, the filters, and the recordings with their ids.

        An array is known by its samples, files by their names, sizes and times, a pack by what it was made of.
        """
        contract: dict[str, Any] = {"preprocessing": self.model.preprocessing.to_json()}
        if not isinstance(self.recordings, EcgPack):
            return target_fingerprint(self.model, contract, [source_of(self.recordings).stamp()])
        notch_hz = self.recordings.manifest.preprocessing.notch_hz  # the hospital's, not the encoder's
        contract |= {} if notch_hz == self.model.preprocessing.notch_hz else {"notch_hz": notch_hz}
        return target_fingerprint(self.model, contract, [self.recordings.stamp()])

    @torch.no_grad()
    def run(self, settings: EmbeddingSettings) -> FrozenTargets:
        """Embed every usable recording, (N, D)."""
        model = self.model.eval().to(settings.device)
        ids: list[str] = []
        rows: list[NDArray[np.float32]] = []
        bad: list[Quarantined] = []
        for sample_ids, signals in prepared_batches(
            self.recordings, model.preprocessing, settings, bad, batch_size=self.batch_size
        ):
            ids += sample_ids
            rows.append(model.embed(torch.from_numpy(signals).to(settings.device)).float().cpu().numpy())
        return FrozenTargets("ecg", tuple(ids), np.concatenate(rows), self.fingerprint, tuple(bad), self.notes)


def prepared_batches(
    recordings: EcgSource | EcgRecordings | EcgPack,
    config: EcgPreprocessing,
    settings: EmbeddingSettings,
    bad: list[Quarantined],
    *,
    batch_size: int,
) -> Iterator[tuple[Sequence[str], NDArray[np.float32]]]:
    """Ids and signals (n, leads, samples) float32 of usable recordings, in order, at most ``batch_size`` at a time.

    Args:
        recordings: a pack, or recordings that are read, checked and filtered on the way.
        config: an encoder's input contract.
        settings: how many processes filter, and how many recordings may be bad.
        bad: takes what is left out.
        batch_size: recordings at once, at least 1.

    Raises:
        DataError: more recordings than allowed are unusable, or a pack was filtered for another encoder.
    """
    if isinstance(recordings, EcgPack):
        bad += recordings.manifest.quarantined
        require_few_bad(WHAT, bad, len(recordings) + len(bad), settings.max_bad_fraction)
        prepared = recordings.prepared_for(config)
        with progress("embedding ECGs", len(recordings), "recordings") as bar:
            for start in range(0, len(recordings), batch_size):
                some = slice(start, start + batch_size)
                yield recordings.sample_ids[some], prepared[some]
                bar.advance(len(recordings.sample_ids[some]))
        return
    source = source_of(recordings)
    for block in _usable_blocks(source, config, settings.num_workers, settings.max_bad_fraction, bad):
        for start in range(0, len(block.entries), batch_size):
            some = slice(start, start + batch_size)
            yield block.sample_ids[some], block.signals[some]
