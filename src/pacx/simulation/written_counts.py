"""Counting what a twin writes while it writes it, in the words in which records are counted when they are read.

The words are those of ``pacx.data.checks.record_counts``; the counting is not shared with
it, so that the two check each other.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence


class Census:
    """Films added one by one."""

    def __init__(self, label_names: Sequence[str] = (), mask_names: Sequence[str] = ()) -> None:
        self._patients: dict[str, set[str]] = {}
        self._counts = Counter({"films": 0})
        for name in label_names:
            self._counts.update({f"present:{name}": 0, f"unknown:{name}": 0})
        self._counts.update({f"mask:{name}": 0 for name in mask_names})

    def add(
        self,
        patient: str,
        *,
        split: str = "",
        view: str = "",
        labels: Mapping[str, float] | None = None,
        masks: Sequence[str] = (),
    ) -> None:
        """Count one film.

        Args:
            patient: as the official tables or names tell one patient from another.
            split: train, val, test, or "" where the makers define none.
            view: "" where the makers do not say.
            labels: 1 present, 0 absent, NaN unknown.
            masks: names of the masks the film has.
        """
        self._counts["films"] += 1
        self._patients.setdefault("patients", set()).add(patient)
        if split:
            self._counts[f"films:{split}"] += 1
            self._patients.setdefault(f"patients:{split}", set()).add(patient)
        if view:
            self._counts[f"view:{view}"] += 1
        for name, value in (labels or {}).items():
            self._counts[f"present:{name}"] += int(value == 1)
            self._counts[f"unknown:{name}"] += int(math.isnan(value))
        for name in masks:
            self._counts[f"mask:{name}"] += 1

    def counts(self) -> Mapping[str, int]:
        """Everything counted so far."""
        return {**self._counts, **{word: len(patients) for word, patients in self._patients.items()}}
