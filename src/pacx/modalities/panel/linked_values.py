"""Laboratory values of linked films: one row per film that has any, as ``pacx data link`` chose them."""

from pathlib import Path

import numpy as np

from pacx.core.errors import DataError
from pacx.data.pairs.linked_films import LinkedFilms
from pacx.modalities.panel.panels import PanelTable
from pacx.modalities.panel.reading import Losses, TableReading, are_stand_ins
from pacx.models.panel.config import Panel


def read_linked_values(links: Path, panel: Panel, reading: TableReading) -> PanelTable:
    """Read the values of linked films; an item that the links do not have was not measured.

    Args:
        links: the folder that ``pacx data link`` made.
        panel: what the columns are.
        reading: how many values may stand for none.

    Raises:
        UsageError: there is no such folder.
        DataError: it is damaged, no film has a value, or too many values stand for none.
    """
    linked = LinkedFilms.open(links)
    values = linked.table.reindex(columns=list(panel.keys)).to_numpy(np.float64)
    losses, known = Losses(), int((~np.isnan(values)).sum())
    columns = np.tile(np.arange(len(panel)), len(values))
    is_stand_in = are_stand_ins(values.ravel(), columns, panel).reshape(values.shape)
    values = np.where(is_stand_in, np.nan, values)
    losses.stand_ins = int(is_stand_in.sum())
    losses.require_numbers(str(links), known, reading.max_bad_fraction)
    rows = np.flatnonzero(~np.isnan(values).all(axis=1))
    if not len(rows):
        raise DataError(f"no film of {links} has one of the {len(panel)} {panel.name}; link with measurements")
    films = linked.table.iloc[rows]
    notes = linked.notes(f"{len(rows):,} of {len(linked):,} films have {panel.name}") + losses.notes()
    return PanelTable(panel, tuple(films["sample_id"]), values[rows], tuple(films["patient_id"]), notes)
