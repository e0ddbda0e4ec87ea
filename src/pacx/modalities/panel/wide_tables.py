"""Wide tables of measurements: one row per sample, one column per quantity of a panel, blank where not measured."""

from pathlib import Path

import numpy as np

from pacx.core.errors import DataError, UsageError
from pacx.core.tables.column_roles import Role
from pacx.core.tables.ids import whole_ids, whole_number_id
from pacx.data.text_tables import TextTable, open_text_table, without_blank_rows
from pacx.modalities.panel.panels import PanelTable
from pacx.modalities.panel.reading import Losses, TableReading, are_stand_ins
from pacx.modalities.patients import ANYBODY, Patients
from pacx.modalities.targets import named
from pacx.models.panel.config import Panel

_USUAL = TableReading()


def read_wide_csv(path: Path, panel: Panel, reading: TableReading = _USUAL, patients: Patients = ANYBODY) -> PanelTable:
    """Open a csv and read it as ``read_wide_table`` does.

    Raises:
        UsageError: there is no such file, or as ``read_wide_table``.
        DataError: as ``read_wide_table``.
    """
    if not path.is_file():
        raise UsageError(f"{path} is not a file; give the csv of {panel.name}")
    return read_wide_table(open_text_table(path), panel, reading, patients)


def read_wide_table(
    table: TextTable, panel: Panel, reading: TableReading = _USUAL, patients: Patients = ANYBODY
) -> PanelTable:
    """Read a table with a column ``sample_id`` and one column per key of the panel.

    The order of columns is free; ``patient_id`` is used if there; others are passed over. A row of blanks is no row.

    Args:
        table: a csv, possibly compressed.
        panel: what the columns are.
        reading: how many cells may hold no number.
        patients: which column says whose a row is.

    Raises:
        UsageError: a column may name the patients and nobody says whether it does.
        DataError: a column is missing, a row has no sample_id, or too many cells hold no number.
    """
    spelled = {whole_number_id(name): name for name in table.names}
    quantities = [spelled[key] for key in panel.keys if key in spelled]
    found = patients.roles(table.names, (Role.SAMPLE, Role.PATIENT), place=table.path.name, used=quantities)
    sample, patient = found.get(Role.SAMPLE), found.get(Role.PATIENT)
    absent = [*(() if sample else ("sample_id",)), *(key for key in panel.keys if key not in spelled)]
    if sample is None or absent:
        raise DataError(
            f"{table.path} has no column {named(absent)}; expected sample_id and one column for each of the "
            f"{len(panel)} {panel.name}, blank where not measured"
        )
    frame = without_blank_rows(table.all([sample, *([patient] if patient else []), *quantities]))
    if frame.empty:
        raise DataError(f"{table.path} has a header and no rows; export it again")
    ids = whole_ids(frame[sample], f"column {sample} of {table.path}")
    if nameless := ids.count(""):
        raise DataError(f"{table.path} has {nameless} rows with values and no {sample}; give each sample its id")
    losses, texts = Losses(), frame[quantities].to_numpy(object)
    flat, is_bad = losses.numbers.read(texts.ravel())
    is_stand_in = are_stand_ins(flat, np.tile(np.arange(len(panel)), len(ids)), panel)
    flat[is_stand_in] = np.nan
    losses.no_number, losses.stand_ins = int(is_bad.sum()), int(is_stand_in.sum())
    wrong = np.flatnonzero(is_bad | is_stand_in)
    first = f" (the first in column {panel.keys[wrong[0] % len(panel)]})" if len(wrong) else ""
    losses.require_numbers(f"{table.path}{first}", int((texts != "").sum()), reading.max_bad_fraction)
    notes = [*table.notes, *found.notes, *losses.notes()]
    if patient is None:
        notes.append(f"no column of {table.path.name} names the patients: every sample counts as a person of its own")
    return PanelTable(
        panel, tuple(ids), flat.reshape(texts.shape), tuple(frame[patient]) if patient else (), tuple(notes)
    )
