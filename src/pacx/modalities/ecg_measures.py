"""What a cardiologist measures on an ECG: rhythm, intervals, axes, voltages, ST and T, to a distillation target.

A second target from the same recordings, beside the embedding of ``ecg``: small encoders of the waveform lose much that
these numbers say (docs/adr/0054). Imports neither torch nor scipy, so that help is instant.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from pacx.modalities.ecg_signal.facts import EcgFacts
from pacx.modalities.modality import EmbeddingJob, Modality, ModalityCard
from pacx.modalities.panel.panels import Missing
from pacx.modalities.patients import Patients


@dataclass(frozen=True, kw_only=True)
class EcgMeasuresOptions:
    """Measure ECGs and embed the measures with a trained encoder."""

    encoder: Path
    """The folder that training ecg-measures wrote (RUN/ecg-measures)."""

    recordings: Path
    """A pack of ECGs (pacx data pack ecg), a folder of ECG files of any formats (docs/formats.md), one of them, an
    array with its JSON file beside it (ecg.npy, ecg.json), or a csv with path, sample_id and if known patient_id; all
    in physical units."""

    links: Path | None = None
    """Of the folder of recordings those of linked films, called by their films; the folder that pacx data link made."""

    patients: Annotated[Patients, tyro.conf.arg(name="")] = field(default_factory=Patients)
    """Whose a recording is."""

    facts: Annotated[EcgFacts, tyro.conf.arg(name="")] = field(default_factory=EcgFacts)
    """What the files do not say."""

    missing: Missing = Missing.ZERO
    """What stands for a measure that could not be taken."""


class EcgMeasures(Modality[EcgMeasuresOptions]):
    """Measures of a twelve-lead recording as a modality, encoded as laboratory tests are, over a panel of their own."""

    card = ModalityCard(
        name="ecg-measures",
        title="Measures of a twelve-lead electrocardiogram",
        encoders="a mask-aware denoising autoencoder that `pacx train ecg-measures` trains on the same hospital's ECGs",
        source="the lab autoencoder of the paper, over what the recommendations of AHA, ACCF and HRS measure",
        example="pacx embed ecg-measures --encoder runs/ecg-measures/ecg-measures --recordings packs/ecg --out targets",
    )
    options_type = EcgMeasuresOptions

    def open(self, options: EcgMeasuresOptions) -> EmbeddingJob:
        """Open the autoencoder and its recordings; unreadable files are counted, nothing is measured yet."""
        from pacx.modalities.ecg_measurements.job import EcgMeasuresJob
        from pacx.modalities.ecg_measurements.measures import ECG_MEASURES
        from pacx.modalities.ecg_signal.linked import recordings_of
        from pacx.modalities.panel.encoder import PanelEncoder

        encoder = PanelEncoder.load(options.encoder, ECG_MEASURES)
        recordings = recordings_of(options.recordings, options.links, patients=options.patients, facts=options.facts)
        return EcgMeasuresJob(encoder, recordings, options.missing)


MODALITY = EcgMeasures()
