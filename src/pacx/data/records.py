"""Records: the typed table every dataset adapter ends in and every pack starts from.

One row is one film. The table says where its pixels lie, whose they are, how they are labelled, and nothing about how
they will be used. It checks itself when it is made, so that no later room has to: identifiers are unique, labels are
present (1), absent (0) or unknown (NaN), every film belongs to a patient.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pacx.core.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


MASK_PREFIX = "mask:"
"""A column named ``mask:lung`` holds the path of each film's lung mask, "" where there is none."""
NEGATIVE_COLUMN = "film:is_negative"
"""True for a film whose file holds its negative and does not say so; a table need not have it."""
SPLITS = ("train", "val", "test")
TEXT_COLUMNS = ("sample_id", "image_path", "patient_id", "study_id", "view", "split")
_NUM_SHOWN = 3
_LONGEST_SHOWN = 100


def shown(values: Sequence[str], most: int = _NUM_SHOWN) -> str:
    """The first few of many names, each on one line and cut where it is long, for an error message."""
    rest = len(values) - most
    names = (" ".join(str(value).split()) for value in values[:most])
    cut = (name if len(name) <= _LONGEST_SHOWN else f"{name[:_LONGEST_SHOWN]}..." for name in names)
    return ", ".join(cut) + (f" and {rest} more" if rest > 0 else "")


@dataclass(frozen=True)
class Records:
    """A dataset as a table.

    Args:
        table: one row per film. Text columns: sample_id (unique), image_path (relative to ``root``, with forward
            slashes), patient_id (never empty; splits keep patients whole), study_id and view ("" is unknown), split
            ("train", "val", "test" or "" for not yet split). One float column per label: 1 present, 0 absent, NaN
            unknown. One text column ``mask:NAME`` per mask, and bool ``film:is_negative`` where films are to be turned
            round. Further columns (age, sex ...) pass through.
        label_names: the label columns, in the order every array of labels will have.
        mask_names: NAME of each ``mask:NAME`` column, in order.
        root: the folder that paths are relative to.
        notes: what a reader of results should know of how the table came about, one sentence each.
        dataset: the name of the dataset they were read from, "" where that is not known.
        has_unknown_patients: whether nobody knows whose some films are; such a film has its sample_id as patient_id.

    Raises:
        DataError: the table does not keep to this.

    Example:
        >>> from pathlib import Path
        >>> import pandas as pd
        >>> from pacx.data import Records
        >>> films = pd.DataFrame({"sample_id": ["a", "b"], "image_path": ["a.png", "b.png"], "patient_id": ["p", "q"]})
        >>> films = films.assign(study_id="", view="PA", split=["train", "test"], edema=[1.0, float("nan")])
        >>> len(Records(films, label_names=("edema",), mask_names=(), root=Path("films")))
        2
    """

    table: "pd.DataFrame"
    label_names: tuple[str, ...]
    mask_names: tuple[str, ...]
    root: Path
    notes: tuple[str, ...] = ()
    dataset: str = ""
    has_unknown_patients: bool = False

    def __post_init__(self) -> None:
        self._check_columns()
        if self.table.empty:
            raise DataError(f"{self.root} gives no film at all; expected at least one")
        for name in (*TEXT_COLUMNS, *(MASK_PREFIX + name for name in self.mask_names)):
            if not _is_text(self.table[name]):
                raise DataError(f'column {name} of the records holds something other than text; write "" for unknown')
        for name in ("sample_id", "image_path", "patient_id"):
            empty = np.flatnonzero(self.table[name] == "")
            if empty.size:
                raise DataError(
                    f"column {name} of the records is empty in {empty.size} rows, the first is row {empty[0]}, for "
                    f"the films of {self.root}"
                )
        self._check_values()

    def _check_columns(self) -> None:
        expected = [*TEXT_COLUMNS, *self.label_names, *(MASK_PREFIX + name for name in self.mask_names)]
        missing = [name for name in expected if name not in self.table.columns]
        if missing:
            raise DataError(f"the records lack columns {missing}; they have {list(self.table.columns)}")
        if len(set(expected)) < len(expected) or self.table.columns.has_duplicates:
            raise DataError(f"the records name a column twice: {expected}")

    def _check_values(self) -> None:
        twice = self.table["sample_id"][self.table["sample_id"].duplicated()].unique().tolist()
        if twice:
            raise DataError(
                f"{len(twice)} sample ids occur more than once: {shown(twice)}; expected one row per film, for the "
                f"films of {self.root}"
            )
        wrong = sorted(set(self.table["split"]) - {*SPLITS, ""})
        if wrong:
            raise DataError(
                f'column split holds {shown(wrong)}; expected train, val, test or "" for not yet split, for the films '
                f"of {self.root}"
            )
        for name in self.label_names:
            values = self.table[name]
            if values.dtype.kind != "f" or not (values.isna() | values.isin((0.0, 1.0))).all():
                raise DataError(f"label column '{name}' holds something other than 1, 0 and NaN as floats")
        for name in ("image_path", *(MASK_PREFIX + name for name in self.mask_names)):
            absolute = self.table[name][self.table[name].str.startswith("/")].tolist()
            if absolute:
                raise DataError(
                    f"column {name} holds absolute paths: {shown(absolute)}; expected paths below {self.root}"
                )
        if NEGATIVE_COLUMN in self.table and self.table[NEGATIVE_COLUMN].dtype != bool:
            raise DataError(f"column {NEGATIVE_COLUMN} of the records is ours, and holds something other than bool")

    def __len__(self) -> int:
        return len(self.table)


def _is_text(column: "pd.Series") -> bool:
    import pandas as pd

    if isinstance(column.dtype, pd.StringDtype):  # no value of which need be looked at one by one
        return not column.hasnans
    return bool(column.map(lambda value: isinstance(value, str)).all())
