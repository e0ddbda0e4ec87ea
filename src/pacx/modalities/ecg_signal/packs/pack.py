"""A pack of ECGs: recordings read, checked, filtered and hashed once.

A folder of three files. ``signals.npy`` holds float32 (N, 12, T), filtered and not scaled, and is opened as a memory
map; ``records.parquet`` one row per recording in the same order; ``manifest.json`` says how the samples were made, what
was left out and why, and carries the fingerprint that embeddings are tied to. Knows no torch.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pacx.core.artifacts import read_json, sha256_of
from pacx.core.errors import DataError, ModelError, UsageError
from pacx.core.quarantine import Quarantined
from pacx.core.typed_json import TypedJson
from pacx.core.vocabulary import ECG_LEADS
from pacx.data.packs.pack import mapped, rows_of
from pacx.modalities.ecg_signal.filters import baseline_window, scaled, without_baseline
from pacx.models.ecg.input import EcgPreprocessing, EcgScale

if TYPE_CHECKING:
    import pandas as pd

SIGNALS_FILE = "signals.npy"
RECORDS_FILE = "records.parquet"
MANIFEST_FILE = "manifest.json"
KIND = "ecg-pack"
FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class EcgManifest(TypedJson, what="manifest of an ECG pack"):
    """What ``manifest.json`` says.

    Args:
        kind: that the folder is a pack of ECGs.
        num_recordings: rows of every file of the pack.
        preprocessing: what the samples went through; all twelve leads, and no scale.
        has_voltage: whether all of them are in millivolts; otherwise some were scaled for themselves.
        fingerprint: SHA-256 over samples, ids, patients and preprocessing; the same wherever the pack lies.
        source_fingerprint: SHA-256 over what was read and how it was packed.
        source_stamp: the stamp of the source (``EcgSource.stamp``).
        records_sha256: of the table's file.
        quarantined: recordings left out.
        notes: what a reader should know of how the recordings came about.
        format_version: of this layout.
    """

    kind: str = KIND
    num_recordings: int
    preprocessing: EcgPreprocessing
    has_voltage: bool
    fingerprint: str
    source_fingerprint: str
    source_stamp: str
    records_sha256: str
    quarantined: tuple[Quarantined, ...]
    notes: tuple[str, ...]
    format_version: int = FORMAT_VERSION


class EcgPack:
    """An open pack; row i of the table is recording i.

    Attributes:
        path: the folder.
        manifest: what ``manifest.json`` says.
        table: one row per recording (``PreparedEcg``).
        signals: float32 (N, 12, T), filtered, in millivolts where ``manifest.has_voltage``; mapped from the disk.
    """

    def __init__(self, path: Path, manifest: EcgManifest, table: "pd.DataFrame") -> None:
        self.path, self.manifest, self.table = path, manifest, table
        shape = manifest.num_recordings, len(ECG_LEADS), manifest.preprocessing.num_samples
        self.signals = mapped(path / SIGNALS_FILE, shape, np.float32, of="ECGs")

    @classmethod
    def open(cls, path: Path) -> "EcgPack":
        """Open a pack after checking that its files agree with its manifest.

        Raises:
            UsageError: there is no ECG pack at ``path``.
            DataError: a file is missing, cut short, changed, or of another version.
        """
        if not is_ecg_pack(path):
            raise UsageError(f"{path} is no pack of ECGs; make one with `pacx data pack ecg`")
        manifest = read_manifest(read_json(path / MANIFEST_FILE), path)
        return cls(path, manifest, read_table(path, manifest))

    def __len__(self) -> int:
        return self.manifest.num_recordings

    @cached_property
    def sample_ids(self) -> tuple[str, ...]:
        """One id per recording; no id occurs twice."""
        return tuple(self.table["sample_id"])

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know of how the recordings came about."""
        return self.manifest.notes

    def stamp(self) -> str:
        """That of the source: targets from a pack and from the recordings it was made of are the same."""
        return self.manifest.source_stamp

    @cached_property
    def patient_ids(self) -> tuple[str, ...]:
        """Whose each recording is; its own id where nobody knows."""
        return tuple(self.table["patient_id"])

    def prepared_for(self, config: EcgPreprocessing) -> "PackedSignals":
        """The recordings as an encoder takes them.

        Raises:
            DataError: they were filtered in another way, or have no voltage and the encoder needs one.
        """
        return PackedSignals(self, config)


class PackedSignals:
    """A pack's recordings behind an encoder's input contract, computed for the rows that are asked for.

    What the contract leaves to be done is selecting leads, a scale, and for ECGFounder from a pack without it, the
    running median. The notch may be at another frequency than the encoder's: the mains are the hospital's.

    Attributes:
        shape: (N, leads, T).
    """

    def __init__(self, pack: EcgPack, config: EcgPreprocessing) -> None:
        packed = pack.manifest.preprocessing
        same_filters = replace(
            config,
            leads=packed.leads,
            scale=packed.scale,
            millivolts_per_unit=packed.millivolts_per_unit,
            notch_hz=packed.notch_hz,
        )
        median_is_left = packed.baseline_window_s is None and config.baseline_window_s is not None
        if packed != (replace(same_filters, baseline_window_s=None) if median_is_left else same_filters):
            raise DataError(
                f"{pack.path} was filtered for another encoder; pack its recordings again for this one (--chain), or "
                "give the recordings themselves"
            )
        if config.scale is EcgScale.MILLIVOLT and not pack.manifest.has_voltage:
            raise DataError(
                f"{pack.path} holds recordings that were scaled one by one, so their voltage is lost, but the encoder "
                "expects millivolts; give an encoder that takes record z-scores: ECGFounder, or one trained with "
                "--task.model.preprocessing.scale RECORD_Z_SCORE"
            )
        self._signals, self._config = pack.signals, config
        self._leads = [ECG_LEADS.index(lead) for lead in config.leads]
        self._window = baseline_window(config) if median_is_left else 0
        self.shape = len(pack), len(config.leads), config.num_samples

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        """Some recordings, (n, leads, T) float32."""
        some: NDArray[Any] = self._signals[rows] if isinstance(rows, slice) else rows_of(self._signals, rows)
        if len(self._leads) < len(ECG_LEADS):
            some = some[:, self._leads]
        if self._window:
            some = np.array([without_baseline(np.asarray(record, np.float64), self._window) for record in some])
        return scaled(some, self._config)


def is_ecg_pack(path: Path) -> bool:
    """Whether a folder says of itself that it is a pack of ECGs; nothing else of it is checked."""
    if not (path / MANIFEST_FILE).is_file():
        return False
    said: object = read_json(path / MANIFEST_FILE)
    return isinstance(said, dict) and said.get("kind") == KIND


def read_manifest(said: Any, path: Path) -> EcgManifest:  # noqa: ANN401 - any JSON value
    """A manifest from its JSON.

    Raises:
        DataError: it is of another version.
    """
    try:
        return EcgManifest.from_json(said)
    except (DataError, ModelError) as error:
        raise DataError(f"the manifest in {path} is not of version {FORMAT_VERSION}; pack the ECGs again") from error


def read_table(path: Path, manifest: EcgManifest) -> "pd.DataFrame":
    """The table of a pack or shard.

    Raises:
        DataError: it is missing or was changed.
    """
    import pandas as pd

    records = path / RECORDS_FILE
    if not records.is_file() or sha256_of(records) != manifest.records_sha256:
        raise DataError(f"{records} is missing or was changed after packing; pack the ECGs again")
    with records.open("rb") as file:  # by name, pyarrow takes paths of valid text only
        return pd.read_parquet(file, use_threads=False, pre_buffer=False)


def packed_as(config: EcgPreprocessing) -> EcgPreprocessing:
    """The part of an input contract that a pack carries out: its filters, on all leads, and no scale."""
    return replace(config, leads=ECG_LEADS, scale=EcgScale.AS_RECORDED, millivolts_per_unit=1.0)
