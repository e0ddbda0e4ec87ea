"""Vital signs through the autoencoder of Stage 1b, and their frozen targets."""

from dataclasses import dataclass, replace
from pathlib import Path

import tyro

from pacx.modalities.panel.panels import PanelTable
from pacx.modalities.panel.reading import TableReading
from pacx.modalities.panel.wide_tables import read_wide_csv
from pacx.modalities.vitals import VITALS_PANEL
from pacx.recipes.labs import labs, labs_tiny
from pacx.recipes.panel_run import PanelRun
from pacx.training.task_config import PanelTaskConfig


@dataclass(frozen=True, kw_only=True)
class VitalsRun(PanelRun):
    """Train the autoencoder of vital signs, then embed every sample as a frozen target for distillation.

    Example:
        >>> from dataclasses import replace
        >>> from pathlib import Path
        >>> from pacx.recipes import VitalsRun, recipe
        >>> run = replace(recipe("vitals-tiny"), table=Path("hospital/triplets/vitals.csv"))
        >>> isinstance(run, VitalsRun), run.read().values.shape
        (True, (60, 6))
        >>> run.run()  # doctest: +SKIP
    """

    table: Path
    """A csv with sample_id and one column per vital sign, blank = not measured."""

    max_bad_fraction: float = TableReading.max_bad_fraction
    """Share of values that may be no numbers and then count as not measured."""

    out: Path = Path("runs/vitals")
    """The run folder; the encoder ends up in OUT/vitals, the targets in OUT/targets."""

    def read(self) -> PanelTable:
        """Read the csv; a column that is no vital sign of the panel is refused."""
        return read_wide_csv(
            self.table, VITALS_PANEL, TableReading(max_bad_fraction=self.max_bad_fraction), self.patients
        )


def vitals() -> VitalsRun:
    """The lab recipe over six vital signs, a fifth as wide."""
    task = PanelTaskConfig(hidden_dim=128, embedding_dim=32)
    return VitalsRun(table=tyro.MISSING, task=task, training=labs().training)


def vitals_tiny() -> VitalsRun:
    """For some hundred patients: smaller batches, so that 50 epochs are enough steps."""
    return replace(vitals(), out=Path("runs/vitals-tiny"), training=labs_tiny().training)


RECIPES = (vitals, vitals_tiny)
