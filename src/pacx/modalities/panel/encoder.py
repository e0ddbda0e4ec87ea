"""A panel's encoder as one folder: the trained autoencoder, and the percentiles it was trained on.

The network knows ranks, not units, so it is worth nothing without the training patients' distributions: they are its
input contract and travel with it. A network trained on ready-made percentiles (Symile-MIMIC) has none.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pacx.core.artifacts import staged_directory
from pacx.core.errors import DataError
from pacx.core.quarantine import Quarantined, require_few_bad
from pacx.modalities.modality import EmbeddingJob, EmbeddingSettings
from pacx.modalities.panel.panels import Missing, PanelPercentiles, PanelTable, PercentileScaler
from pacx.modalities.targets import FrozenTargets, target_fingerprint
from pacx.models.panel.autoencoder import PanelAutoencoder, load_panel_autoencoder, write_panel_autoencoder
from pacx.models.panel.config import Panel

_PERCENTILES = "percentiles.npz"
_BATCH = 1024


def _write_scaler(scaler: PercentileScaler, path: Path) -> None:
    lengths = np.array([len(values) for values in scaler.sorted_values])
    np.savez(path, keys=np.array(scaler.panel.keys), lengths=lengths, values=np.concatenate(scaler.sorted_values))


def _read_scaler(path: Path, panel: Panel) -> PercentileScaler:
    try:
        with np.load(path, allow_pickle=False) as saved:
            keys, lengths, values = saved["keys"], saved["lengths"], saved["values"]
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise DataError(f"{path} does not hold a panel's training percentiles; train the encoder again") from error
    if tuple(keys.tolist()) != panel.keys or lengths.sum() != len(values):
        raise DataError(
            f"{path} holds percentiles of other {panel.name} than the {len(panel)} of this version; train again"
        )
    columns = np.full((int(lengths.max(initial=1)), len(panel)), np.nan)
    for column, known in enumerate(np.split(values, np.cumsum(lengths)[:-1])):
        columns[: len(known), column] = known
    return PercentileScaler(PanelTable(panel, tuple(map(str, range(len(columns)))), columns))


@dataclass(frozen=True, eq=False)
class PanelEncoder:
    """A trained autoencoder with its input contract.

    Args:
        model: the network.
        scaler: the training patients' percentiles; None if it was trained on ready-made percentiles.
    """

    model: PanelAutoencoder
    scaler: PercentileScaler | None

    def save(self, out: Path, *, provenance: dict[str, Any]) -> None:
        """Write the folder ``load`` reads: model.safetensors, config.json, and percentiles.npz if there are any."""
        with staged_directory(out) as folder:
            write_panel_autoencoder(self.model, folder, provenance=provenance)
            if self.scaler is not None:
                _write_scaler(self.scaler, folder / _PERCENTILES)

    @classmethod
    def load(cls, path: Path, panel: Panel) -> "PanelEncoder":
        """Read a folder written by ``save``.

        Raises:
            ModelError: it holds another kind of model, another panel, or weights that do not fit.
            DataError: a file is missing or damaged.
        """
        model = load_panel_autoencoder(path, panel)
        scaler = _read_scaler(path / _PERCENTILES, panel) if (path / _PERCENTILES).exists() else None
        return cls(model, scaler)


@dataclass(frozen=True, eq=False)
class PanelJob(EmbeddingJob):
    """A panel's encoder and the patients it is to embed.

    Args:
        encoder: the trained encoder.
        measured: raw values, or ready-made percentiles.
        missing: what stands for a missing value; ready-made percentiles carry their own placeholders, which
            ``Missing.ZERO`` overrides.

    Raises:
        DataError: raw values meet an encoder without percentiles, or are in other units than its training patients'.
    """

    encoder: PanelEncoder
    measured: PanelTable | PanelPercentiles
    missing: Missing = Missing.ZERO

    def __post_init__(self) -> None:
        if isinstance(self.measured, PanelTable):
            self._scaler.require_known_units(self.measured)

    @property
    def notes(self) -> tuple[str, ...]:
        """Those of the table."""
        return self.measured.notes

    @property
    def _scaler(self) -> PercentileScaler:
        if self.encoder.scaler is None:
            raise DataError(
                f"the {self.measured.panel.name} encoder was trained on ready-made percentiles and cannot rank raw "
                "values; give percentiles of the same origin, or train on raw values"
            )
        return self.encoder.scaler

    @cached_property
    def _bad(self) -> tuple[Quarantined, ...]:
        if isinstance(self.measured, PanelPercentiles):
            return ()
        unranked = np.flatnonzero(~self._scaler.can_rank(self.measured))
        ids, reason = self.measured.sample_ids, "has no value that can be ranked"
        return self.measured.quarantined + tuple(Quarantined(sample_id=ids[row], reason=reason) for row in unranked)

    @cached_property
    def _ready(self) -> PanelPercentiles:
        if isinstance(self.measured, PanelPercentiles):
            return self.measured
        rows = np.flatnonzero(self._scaler.can_rank(self.measured))
        return self._scaler.transform(self.measured.select(rows), self.missing)

    @cached_property
    def fingerprint(self) -> str:
        """Of the weights, the panel with its placeholder, and percentiles, mask and ids."""
        panel = self.measured.panel
        contract = {"missing": self.missing.value, "panel": panel.name, "keys": panel.keys}
        ready = self._ready
        return target_fingerprint(self.encoder.model, contract, ready.percentiles, ready.observed, ready.sample_ids)

    @torch.no_grad()
    def run(self, settings: EmbeddingSettings) -> FrozenTargets:
        """Embed every sample that has a value, (N, D)."""
        name = self.measured.panel.name
        num_unread = len(self.measured.quarantined) if isinstance(self.measured, PanelTable) else 0
        total = len(self.measured) + num_unread
        require_few_bad(f"samples of {name}", self._bad, total, settings.max_bad_fraction)
        model, ready = self.encoder.model.eval().to(settings.device), self._ready
        rows: list[NDArray[np.float32]] = []
        for start in range(0, len(ready), _BATCH):
            part = slice(start, start + _BATCH)
            values = torch.from_numpy(ready.percentiles[part]).to(settings.device)
            observed = torch.from_numpy(ready.observed[part]).to(settings.device)
            rows.append(model.encode(values, observed, zero_missing=self.missing is Missing.ZERO).cpu().numpy())
        embeddings = np.concatenate(rows).astype(np.float32)
        return FrozenTargets(name, ready.sample_ids, embeddings, self.fingerprint, self._bad, self.notes)
