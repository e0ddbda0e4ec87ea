"""Laboratory tests: fifty of them, from whatever table a hospital has, to the distillation target.

A table says itself what it is: one row per sample and one column per MIMIC item id; a long export of MIMIC, eICU or a
plain one (``pacx.modalities.panel.lab_exports``); or Symile-MIMIC's arrays, which are percentiles already.

Source: paper appendix A.1.1; rajesh-lab/symile; specification of the ECG and lab side, sections 2 and 3.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from pacx.core.errors import DataError, UsageError, refuse_idle
from pacx.data.text_tables import open_text_table
from pacx.modalities.modality import EmbeddingJob, Modality, ModalityCard
from pacx.modalities.panel.lab_exports import LAB_LAYOUTS, lab_units
from pacx.modalities.panel.linked_values import read_linked_values
from pacx.modalities.panel.long_tables import layout_of, read_long_table, require_columns_of
from pacx.modalities.panel.panels import Missing, PanelPercentiles, PanelTable, joined
from pacx.modalities.panel.reading import OF_LONG_TABLES, OF_TEXT_TABLES, TableReading
from pacx.modalities.panel.wide_tables import read_wide_table
from pacx.modalities.patients import ANYBODY, Patients
from pacx.modalities.symile import admissions, companion, mapped
from pacx.models.panel.config import LAB_PANEL


@dataclass(frozen=True, kw_only=True)
class LabsOptions:
    """Embed laboratory values with a trained lab encoder."""

    encoder: Path
    """The folder that training labs wrote (RUN/labs)."""

    table: Path | None = None
    """A csv with sample_id and one column per MIMIC item id; a long csv as MIMIC's labevents or eICU's lab; or
    Symile-MIMIC's labs_percentiles_SPLIT.npy."""

    links: Path | None = None
    """In the place of a table: the values of linked films, from the folder that pacx data link made."""

    reading: TableReading = field(default_factory=TableReading)
    """Which samples of a long table, and how many values may be bad."""

    patients: Annotated[Patients, tyro.conf.arg(name="")] = field(default_factory=Patients)
    """Whose a row is."""

    missing: Missing = Missing.ZERO
    """What stands for a missing value: zero as in training, or the training mean as in the released code."""


def read_symile_labs(npy: Path) -> PanelPercentiles:
    """Open ``labs_percentiles_<split>.npy`` with its mask and admission ids beside it.

    ``labs_missingness_<split>.npy`` is the observed mask (1 = measured) in spite of its name.

    Raises:
        DataError: a file is missing, shapes do not match, or the mask is inverted.
    """
    ids, rows = admissions(npy, "labs_percentiles")
    observed = mapped(companion(npy, "labs_percentiles", "labs_missingness"))
    percentiles = mapped(npy)
    if percentiles.shape != observed.shape or percentiles.ndim != 2 or len(percentiles) <= rows.max(initial=-1):
        raise DataError(
            f"{npy} has shape {percentiles.shape}, its mask {observed.shape}, for {len(ids)} admissions; copy all "
            "three files of the split again"
        )
    chosen = np.asarray(percentiles[rows], np.float32), np.asarray(observed[rows], np.float32)
    return PanelPercentiles(LAB_PANEL, ids, *chosen)


def read_labs(table: Path, reading: TableReading, patients: Patients = ANYBODY) -> PanelTable | PanelPercentiles:
    """Read labs from any of the tables above, recognised by suffix and header.

    Raises:
        UsageError: there is no such file, a column may name the patients and nobody says whether it does, or the
            reading asks for something that says nothing about such a table.
        DataError: it is none of these tables, or is at fault.
    """
    if not table.is_file():
        raise UsageError(f"{table} is not a file; give a table of laboratory values")
    if table.suffix == ".npy":
        refuse_idle(reading, OF_LONG_TABLES + OF_TEXT_TABLES, f"{table}, which holds percentiles")
        return read_symile_labs(table)
    opened = open_text_table(table)
    layout = layout_of(opened, LAB_LAYOUTS)
    if layout is None:
        require_columns_of(opened, LAB_LAYOUTS, LAB_PANEL)
        refuse_idle(reading, OF_LONG_TABLES, f"{table}, which has one row per sample")
        return read_wide_table(opened, LAB_PANEL, reading, patients)
    return read_long_table(opened, LAB_PANEL, layout, lab_units(), reading, patients)


def read_labs_of(
    tables: Sequence[Path], links: Path | None, reading: TableReading, patients: Patients
) -> PanelTable | PanelPercentiles:
    """Read labs from tables as one, or from links.

    Raises:
        UsageError: both are given, or neither; or as ``read_labs``.
        DataError: as ``read_labs``, or the links are damaged.
    """
    if bool(tables) == (links is not None):
        raise UsageError("laboratory values come from a table or from links; give --table or --links, one of them")
    if links is None:
        return joined([read_labs(table, reading, patients) for table in tables])
    refuse_idle(reading, OF_LONG_TABLES, f"{links}, whose values are chosen already")
    refuse_idle(patients, ("patient_column", "no_patients"), f"{links}, which knows the patients")
    return read_linked_values(links, LAB_PANEL, reading)


class Labs(Modality[LabsOptions]):
    """Fifty laboratory tests as a modality, from values of any of the known layouts or from Symile's percentiles."""

    card = ModalityCard(
        name="labs",
        title="Laboratory tests",
        encoders="a mask-aware denoising autoencoder that `pacx train labs` trains on the same hospital's values",
        source="paper, appendix A.1.1",
        example="pacx embed labs --encoder runs/labs/labs --table labevents.csv.gz --out targets/labs",
    )
    options_type = LabsOptions

    def open(self, options: LabsOptions) -> EmbeddingJob:
        """Open the autoencoder and read the table; values become percentiles of the autoencoder's own hospital."""
        from pacx.modalities.panel.encoder import PanelEncoder, PanelJob

        encoder = PanelEncoder.load(options.encoder, LAB_PANEL)
        tables = () if options.table is None else (options.table,)
        measured = read_labs_of(tables, options.links, options.reading, options.patients)
        return PanelJob(encoder, measured, options.missing)


MODALITY = Labs()
