"""Result rows that tables, figures and sentences ask for by what they hold."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from pacx.evaluation.results import ResultRow
from pacx.models.encoders.names import IMAGENET, MAE, PACX, RANDOM

FLOORS = (RANDOM, IMAGENET)
"""Encoders whose gain over the baseline nobody asks about."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Result rows that can be asked for; where several fit, the last one written counts."""

    rows: tuple[ResultRow, ...]

    @cached_property
    def _groups(self) -> Mapping[tuple[object, object], Sequence[ResultRow]]:
        """Rows by what most questions name, because there are ten thousand of them."""
        groups: dict[tuple[object, object], list[ResultRow]] = {}
        for row in self.rows:
            groups.setdefault((row.subject, row.metric), []).append(row)
        return groups

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Pairs of encoders that paired differences were taken of, but for those that tell nothing new."""
        found = dict.fromkeys(
            (row.subject, row.contrast)
            for protocol in ("linear-probe", "segmentation")
            for row in self.rows
            if row.protocol == protocol and row.contrast and row.subject not in FLOORS
        )
        return list(found) or [(PACX, MAE)]

    def find(self, **fields: object) -> ResultRow | None:
        """The row whose fields (and properties) equal those given, or None.

        Of the whole test set and no difference, unless a subgroup or a contrast is asked for; of an ``encoder`` in its
        own pooling and under no condition, unless they are; a ``subject`` names all three.
        """
        plain = {} if "subject" in fields else {"pooling": "", "condition": ""}
        wanted = {"subgroup": "", "contrast": "", **plain, **fields}
        is_indexed = {"subject", "metric"} <= wanted.keys()
        candidates = self._groups.get((wanted["subject"], wanted["metric"]), ()) if is_indexed else self.rows
        found = [row for row in candidates if _fits(row, wanted)]
        return found[-1] if found else None

    def values_of(self, field: str, **fields: object) -> list[str]:
        """Distinct values of a field among the rows that match, in the order they were written."""
        matching = (row for row in self.rows if _fits(row, fields))
        return list(dict.fromkeys(str(getattr(row, field)) for row in matching))


def _fits(row: ResultRow, fields: Mapping[str, object]) -> bool:
    return all(getattr(row, name) == value for name, value in fields.items())


def read_all(paths: Iterable[Sequence[ResultRow]]) -> Rows:
    """Several files' rows as one set to ask."""
    return Rows(rows=tuple(row for rows in paths for row in rows))
