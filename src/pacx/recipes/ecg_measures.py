"""Measures of ECGs through the autoencoder of Stage 1b, and their frozen targets."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from pacx.modalities.ecg_signal.facts import EcgFacts
from pacx.modalities.modality import EmbeddingJob, EmbeddingSettings
from pacx.modalities.panel.panels import PanelPercentiles, PanelTable
from pacx.recipes.labs import labs, labs_tiny
from pacx.recipes.panel_run import PanelRun

if TYPE_CHECKING:
    from pacx.modalities.ecg_signal.packs.pack import EcgPack
    from pacx.modalities.panel.encoder import PanelEncoder


@dataclass(frozen=True, kw_only=True)
class EcgMeasuresRun(PanelRun):
    """Measure ECGs, train the measures' autoencoder, then embed every recording as a frozen target for distillation.

    Example:
        >>> from dataclasses import replace
        >>> from pathlib import Path
        >>> from pacx.recipes import EcgMeasuresRun, recipe
        >>> run = replace(recipe("ecg-measures-tiny"), recordings=Path("hospital/triplets/ecg.npy"))
        >>> isinstance(run, EcgMeasuresRun), run.training.epochs
        (True, 50)
        >>> run.run()  # doctest: +SKIP
    """

    recordings: Path
    """A pack of ECGs (pacx data pack ecg), the one that training ecg takes. Of anything else one is made in
    OUT.recordings: ecg.npy (N, leads, samples) with ecg.json beside it, a folder of ECG files of any formats
    (docs/formats.md), or a csv with path, sample_id and if known patient_id; all in physical units."""

    links: Path | None = None
    """Of the folder of recordings those of linked films, called by their films; the folder that pacx data link made."""

    facts: Annotated[EcgFacts, tyro.conf.arg(name="")] = field(default_factory=EcgFacts)
    """What the files do not say."""

    max_bad_fraction: float = 0.001
    """Share of recordings that may be left out: unreadable, flat, clipped, or without heartbeats."""

    out: Path = Path("runs/ecg-measures")
    """The run folder; the encoder ends up in OUT/ecg-measures, the targets in OUT/targets."""

    @property
    def embedding(self) -> EmbeddingSettings:
        """As many processes as training has, and as many bad recordings as allowed."""
        return EmbeddingSettings(num_workers=max(1, self.training.num_workers), max_bad_fraction=self.max_bad_fraction)

    def _pack(self) -> "EcgPack":
        from pacx.modalities.ecg_measurements.job import MEASURED_INPUT
        from pacx.modalities.ecg_signal.linked import recordings_of
        from pacx.modalities.ecg_signal.packs.packing import packed_once

        return packed_once(
            recordings_of(self.recordings, self.links, patients=self.patients, facts=self.facts),
            self.out,
            MEASURED_INPUT,
            max_bad_fraction=self.max_bad_fraction,
            num_workers=self.embedding.num_workers,
        )

    def read(self) -> PanelTable:
        """Pack the recordings if they are no pack, and measure all of them."""
        from pacx.modalities.ecg_measurements.job import measured_table

        return measured_table(self._pack(), self.embedding)

    def job(self, encoder: "PanelEncoder", measured: PanelTable | PanelPercentiles) -> EmbeddingJob:
        """The recordings with what was measured on them."""
        from pacx.modalities.ecg_measurements.job import EcgMeasuresJob

        assert isinstance(measured, PanelTable)
        return EcgMeasuresJob(encoder, self._pack(), self.missing, measured)


def ecg_measures() -> EcgMeasuresRun:
    """The lab recipe over the measures of an ECG."""
    return EcgMeasuresRun(recordings=tyro.MISSING, training=labs().training)


def ecg_measures_tiny() -> EcgMeasuresRun:
    """For some hundred patients: smaller batches, so that 50 epochs are enough steps."""
    return replace(ecg_measures(), out=Path("runs/ecg-measures-tiny"), training=labs_tiny().training)


RECIPES = (ecg_measures, ecg_measures_tiny)
