"""Vital signs: heart rate, blood pressure, saturation, temperature, respiration, to a distillation target.

The same percentiles and the same mask-aware autoencoder as laboratory tests, over six quantities. This file is the
example of ``docs/adding/modality.md``.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from pacx.modalities.modality import EmbeddingJob, Modality, ModalityCard
from pacx.modalities.panel.panels import Missing
from pacx.modalities.panel.reading import TableReading
from pacx.modalities.panel.wide_tables import read_wide_csv
from pacx.modalities.patients import Patients
from pacx.models.panel.config import Panel, Quantity

VITALS_PANEL = Panel(
    "vitals",
    (
        Quantity("heart_rate", "Heart rate", "/min", 0, 400),
        Quantity("systolic_pressure", "Systolic blood pressure", "mm Hg", 0, 400),
        Quantity("diastolic_pressure", "Diastolic blood pressure", "mm Hg", 0, 400),
        Quantity("oxygen_saturation", "Oxygen saturation", "%", 0, 100),
        Quantity("temperature", "Body temperature", "degree Celsius", 0, 50),
        Quantity("respiratory_rate", "Respiratory rate", "/min", 0, 150),
    ),
)


@dataclass(frozen=True, kw_only=True)
class VitalsOptions:
    """Embed vital signs with a trained encoder."""

    encoder: Path
    """The folder that training vitals wrote (RUN/vitals)."""

    table: Path
    """A csv with sample_id, heart_rate, systolic_pressure, diastolic_pressure, oxygen_saturation, temperature and
    respiratory_rate; blank = not measured."""

    patients: Annotated[Patients, tyro.conf.arg(name="")] = field(default_factory=Patients)
    """Whose a row is."""

    max_unreadable_fraction: float = TableReading.max_bad_fraction
    """Share of values that may be no numbers and then count as not measured."""

    missing: Missing = Missing.ZERO
    """What stands for a missing value."""


class Vitals(Modality[VitalsOptions]):
    """Six vital signs as a modality, encoded as laboratory tests are, over a panel of their own."""

    card = ModalityCard(
        name="vitals",
        title="Vital signs",
        encoders="a mask-aware denoising autoencoder that `pacx train vitals` trains on the same hospital's values",
        source="the lab autoencoder of the paper, over another panel",
        example="pacx embed vitals --encoder runs/vitals/vitals --table vitals.csv --out targets/vitals",
    )
    options_type = VitalsOptions

    def open(self, options: VitalsOptions) -> EmbeddingJob:
        """Open the autoencoder and read the csv; values become percentiles of the autoencoder's own hospital."""
        from pacx.modalities.panel.encoder import PanelEncoder, PanelJob

        encoder = PanelEncoder.load(options.encoder, VITALS_PANEL)
        reading = TableReading(max_bad_fraction=options.max_unreadable_fraction)
        measured = read_wide_csv(options.table, VITALS_PANEL, reading, options.patients)
        return PanelJob(encoder, measured, options.missing)


MODALITY = Vitals()
