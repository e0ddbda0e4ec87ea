"""The tables that linking works on, whatever hospital they come from.

A source brings each of them with these columns; a rule knows no other. Times are the hospital's own, to the second,
without a zone; ids are text, whole numbers without the ``.0`` of a floating-point column.
"""

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What a cell has to be."""

    ID = "id"
    OWNER = "owner"
    """The id of a patient or an admission; nobody is called NA."""
    TIME = "time"
    NUMBER = "number"
    TEXT = "text"
    SPLIT = "split"
    """train, val or test, by whatever word for it."""


@dataclass(frozen=True)
class Column:
    """A column that linking reads.

    Args:
        name: with us.
        kind: what its cells have to be.
        is_needed: a row without it is at fault; else it is empty (NULL) there.
    """

    name: str
    kind: Kind
    is_needed: bool = True

    @property
    def sql_type(self) -> str:
        """As DuckDB calls it."""
        return {Kind.TIME: "TIMESTAMP_S", Kind.NUMBER: "DOUBLE"}.get(self.kind, "VARCHAR")


class Table(Enum):
    """The tables by what one row of each is; the value is its columns."""

    ADMISSIONS = (
        Column("subject_id", Kind.OWNER),
        Column("hadm_id", Kind.OWNER),
        Column("admitted", Kind.TIME),
        Column("discharged", Kind.TIME, is_needed=False),
    )
    FILMS = (
        Column("subject_id", Kind.OWNER),
        Column("dicom_id", Kind.ID),
        Column("study_id", Kind.ID),
        Column("film_time", Kind.TIME),
        Column("view", Kind.TEXT, is_needed=False),
        Column("film_path", Kind.TEXT),
        Column("split", Kind.SPLIT, is_needed=False),
    )
    RECORDINGS = (
        Column("subject_id", Kind.OWNER),
        Column("ecg_study_id", Kind.ID),
        Column("ecg_time", Kind.TIME),
        Column("ecg_path", Kind.TEXT),
    )
    MEASUREMENTS = (
        Column("subject_id", Kind.OWNER),
        Column("item", Kind.TEXT),
        Column("taken", Kind.TIME),
        Column("value", Kind.NUMBER, is_needed=False),
    )

    LABELLED = (Column("study_id", Kind.ID),)
    """Studies that have labels."""

    @property
    def unit(self) -> str:
        """What one row is, in the plural, for people."""
        return self.name.lower()

    @property
    def key(self) -> str | None:
        """The column that must not occur twice; None where rows have no name."""
        return {"ADMISSIONS": "hadm_id", "FILMS": "dicom_id", "RECORDINGS": "ecg_study_id"}.get(self.name)
