"""From recordings to measures, and on to the distillation target: the panel's encoder over what was measured."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from pacx.core.errors import DataError
from pacx.core.quarantine import Quarantined, require_few_bad
from pacx.modalities.ecg_measurements.measures import ECG_MEASURES
from pacx.modalities.ecg_measurements.measuring import Piece, measured_pieces
from pacx.modalities.ecg_signal.job import WHAT, prepared_batches
from pacx.modalities.ecg_signal.packs.pack import EcgPack
from pacx.modalities.ecg_signal.prepared import BLOCK
from pacx.modalities.ecg_signal.sources import EcgSource
from pacx.modalities.modality import EmbeddingJob, EmbeddingSettings
from pacx.modalities.panel.encoder import PanelEncoder, PanelJob
from pacx.modalities.panel.panels import Missing, PanelTable
from pacx.modalities.targets import FrozenTargets, target_fingerprint
from pacx.models.ecg.input import ECG_MAE_INPUT

MEASURED_INPUT = replace(ECG_MAE_INPUT, millivolts_per_unit=1.0)
"""What is measured: the recordings behind the autoencoder's filters, in mV, so that one pack serves both."""

METHOD = 1
"""Counts up whenever the same recording would be measured otherwise: targets of another method are stale."""


def require_voltage(recordings: EcgSource | EcgPack) -> None:
    """Refuse recordings that were scaled one by one.

    Raises:
        DataError: they were; measures are in millivolts.
    """
    about = recordings.manifest if isinstance(recordings, EcgPack) else recordings
    if not about.has_voltage:
        raise DataError(
            "the recordings were scaled one by one, so their voltage is lost, and measures are in millivolts; give "
            "recordings in physical units"
        )


def measured_table(recordings: EcgSource | EcgPack, settings: EmbeddingSettings) -> PanelTable:
    """Measure every recording.

    Args:
        recordings: a pack, or recordings that are read, checked and filtered on the way.
        settings: how many processes, and how many recordings may be bad.

    Returns:
        One row per recording that could be measured; the others are named with the reason. Each sample counts as a
        patient of its own, except in a pack, which knows the patients.

    Raises:
        DataError: their voltage is lost, or more than allowed cannot be read or measured.
    """
    require_voltage(recordings)
    unread: list[Quarantined] = []

    def pieces() -> Iterator[Piece]:
        for ids, signals in prepared_batches(recordings, MEASURED_INPUT, settings, unread, batch_size=BLOCK):
            yield ids, signals, MEASURED_INPUT.sample_rate_hz

    done = list(measured_pieces(pieces(), settings.num_workers))
    ids = tuple(sample for piece in done for sample in piece.sample_ids)
    bad = (*unread, *(entry for piece in done for entry in piece.quarantined))
    require_few_bad(WHAT, bad, len(ids) + len(bad), settings.max_bad_fraction)
    whose = (
        dict(zip(recordings.sample_ids, recordings.patient_ids, strict=True)) if isinstance(recordings, EcgPack) else {}
    )
    return PanelTable(
        ECG_MEASURES,
        ids,
        np.concatenate([piece.values for piece in done]),
        tuple(whose[sample] for sample in ids) if whose else (),
        recordings.notes,
        bad,
    )


@dataclass(frozen=True, eq=False)
class EcgMeasuresJob(EmbeddingJob):
    """The encoder of measures and the recordings it is to embed.

    Args:
        encoder: the trained encoder.
        recordings: a pack, or recordings that are read, checked and filtered on the way.
        missing: what stands for a measure that could not be taken.
        table: the measures, where they were taken already.

    Raises:
        DataError: the recordings were scaled one by one.
    """

    encoder: PanelEncoder
    recordings: EcgSource | EcgPack
    missing: Missing = Missing.ZERO
    table: PanelTable | None = None

    def __post_init__(self) -> None:
        require_voltage(self.recordings)

    @property
    def notes(self) -> tuple[str, ...]:
        """Those of the recordings."""
        return self.recordings.notes

    @cached_property
    def fingerprint(self) -> str:
        """Of weights and percentiles, the filters, the way of measuring, and the recordings; nothing is measured."""
        ranks = self.encoder.scaler.sorted_values if self.encoder.scaler else ()
        contract = {
            "preprocessing": MEASURED_INPUT.to_json(),
            "method": METHOD,
            "keys": ECG_MEASURES.keys,
            "missing": self.missing.value,
            "percentiles": hashlib.sha256(b"".join(values.tobytes() for values in ranks)).hexdigest(),
        }
        if isinstance(self.recordings, EcgPack):
            notch_hz = self.recordings.manifest.preprocessing.notch_hz  # the hospital's, not the encoder's
            contract |= {} if notch_hz == MEASURED_INPUT.notch_hz else {"notch_hz": notch_hz}
        return target_fingerprint(self.encoder.model, contract, [self.recordings.stamp()])

    def run(self, settings: EmbeddingSettings) -> FrozenTargets:
        """Measure every recording and embed what was measured, (N, D)."""
        table = self.table if self.table is not None else measured_table(self.recordings, settings)
        return replace(PanelJob(self.encoder, table, self.missing).run(settings), fingerprint=self.fingerprint)
