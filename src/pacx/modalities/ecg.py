"""The electrocardiogram: which encoder, which recordings. ``ecg_job`` reads, prepares and embeds them.

Imports neither torch nor scipy, so that help is instant.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from pacx.modalities.ecg_signal.facts import EcgFacts
from pacx.modalities.modality import EmbeddingJob, Modality, ModalityCard
from pacx.modalities.patients import Patients


@dataclass(frozen=True, kw_only=True)
class EcgOptions:
    """Embed ECGs with a frozen encoder."""

    encoder: Path
    """ECGFounder's file, the folder that pacx convert made of it, or the folder that training ecg wrote (RUN/ecg)."""

    recordings: Path
    """A pack of ECGs (pacx data pack ecg), a folder of ECG files of any formats (docs/formats.md), one of them, an
    array with its JSON file beside it (ecg.npy, ecg.json), Symile-MIMIC's ecg_SPLIT.npy, or a csv with path, sample_id
    and if known patient_id."""

    links: Path | None = None
    """Of the folder of recordings those of linked films, called by their films; the folder that pacx data link made."""

    patients: Annotated[Patients, tyro.conf.arg(name="")] = field(default_factory=Patients)
    """Whose a recording is."""

    facts: Annotated[EcgFacts, tyro.conf.arg(name="")] = field(default_factory=EcgFacts)
    """What the files do not say."""


class Ecg(Modality[EcgOptions]):
    """The twelve-lead ECG as a modality: recordings of any rate and order, filtered as the encoder wants them."""

    card = ModalityCard(
        name="ecg",
        title="Twelve-lead electrocardiogram, 10 s",
        encoders="ECGFounder, whose weights one downloads and converts, or an autoencoder that `pacx train ecg` trains",
        source="PKUDigitalHealth/ECGFounder; the autoencoder is ours",
        example="pacx embed ecg --encoder encoders/ecgfounder --recordings records/ --out targets/ecg",
    )
    options_type = EcgOptions

    def open(self, options: EcgOptions) -> EmbeddingJob:
        """Open the encoder and its recordings; unreadable files are counted, nothing is filtered yet."""
        from pacx.modalities.ecg_signal.job import EcgJob
        from pacx.modalities.ecg_signal.linked import recordings_of
        from pacx.models.ecg.encoder import load_ecg_encoder

        model = load_ecg_encoder(options.encoder)
        recordings = recordings_of(options.recordings, options.links, patients=options.patients, facts=options.facts)
        return EcgJob(model, recordings)


MODALITY = Ecg()
