"""Result rows: the only thing a report is made from.

A protocol ends in rows, rows go into one JSON file, and every table or figure reads that file; nothing is carried over
in memory. Refuses infinite values and files whose rows have other fields than these, now or before. It knows nothing of
metrics.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from pacx.core.artifacts import read_json, write_text
from pacx.core.errors import DataError, UsageError
from pacx.data.packs.pack import BY_FILM, BY_PATIENT
from pacx.evaluation.old_rows import is_old, upgraded

MACRO = "macro"
"""The label of a row that averages over labels."""
_NUMBERS = ("value", "ci_low", "ci_high")


@dataclass(frozen=True)
class Subject:
    """What a number was measured of.

    Args:
        encoder: its name.
        pooling: the part of its output that stands for the film ("mean"), where that is not the encoder's own choice.
        condition: under which it was looked at ("visibility 0", "standardized", "border only"); "" = as it is.
    """

    encoder: str
    pooling: str = ""
    condition: str = ""

    def __str__(self) -> str:
        """In one word for people: ``mae#mean (visibility 0)``."""
        return f"{self.encoder}{f'#{self.pooling}' * bool(self.pooling)}{f' ({self.condition})' * bool(self.condition)}"


@dataclass(frozen=True, kw_only=True)
class ResultRow:
    """One number with its interval and everything needed to say what it is.

    Args:
        protocol: which protocol made it ("linear-probe", "low-data", "segmentation", "alignment", "attention").
        dataset: the dataset's name.
        encoder: the encoder's name.
        label: a label, mask or target name, or "macro" for the mean over the labels that are defined.
        metric: the metric's name; ``difference_metric`` of it for a paired difference.
        value: the estimate on the test set; NaN = undefined there (for example a label without positives).
        ci_low: lower end of the 95 % interval; NaN = no interval.
        ci_high: upper end of the 95 % interval; NaN = no interval.
        n: how many test images (alignment: patients) the value rests on.
        seed: the seed the protocol was run with; everything random follows from it.
        fraction: share of the training labels that was used, in (0, 1].
        provenance: commit, run or remark, in words.
        subgroup: the part of the test set the row speaks of ("sex: F"); "" for all of it.
        pooling: see ``Subject``; likewise ``condition``.
        contrast: the subject that is subtracted from this one, in the spelling of ``Subject`` (of a share of a gain:
            whose gain); "" for a number of one subject.
        num_trainings: how many trainings of the encoder the number is a mean over; 0 = not told.
        device: where encoder and heads ran; "" = not told.
        drawn_by: what the interval's bootstrap drew: "patient", "film, patients unknown", or both in words
            (``Pack.drawn_by``); "" = not told, or no bootstrap.

    Raises:
        DataError: a value is infinite, which no metric here can be.

    Example:
        >>> from pacx.evaluation import ResultRow
        >>> row = ResultRow(
        ...     protocol="linear-probe", dataset="films", encoder="pacx", contrast="mae", label="macro",
        ...     metric="auroc_difference", value=0.02, ci_low=-0.01, ci_high=0.05, n=12, seed=0, fraction=1.0,
        ...     provenance="made up"
        ... )
        >>> row.name
        'pacx - mae'
    """

    protocol: str
    dataset: str
    encoder: str
    label: str
    metric: str
    value: float
    ci_low: float
    ci_high: float
    n: int
    seed: int
    fraction: float
    provenance: str
    subgroup: str = ""
    pooling: str = ""
    condition: str = ""
    contrast: str = ""
    num_trainings: int = 0
    device: str = ""
    drawn_by: str = ""

    def __post_init__(self) -> None:
        for name in _NUMBERS:
            if math.isinf(getattr(self, name)):
                raise DataError(
                    f"result row {self.protocol}/{self.dataset}/{self.name}/{self.label}/{self.metric} has an "
                    f"infinite {name}; expected a finite number, or NaN for undefined"
                )

    @property
    def subject(self) -> str:
        """What was measured, in one word."""
        return str(Subject(encoder=self.encoder, pooling=self.pooling, condition=self.condition))

    @property
    def not_by_patient(self) -> str:
        """What to say behind an interval whose bootstrap did not draw patients throughout; "" where it did."""
        if self.drawn_by in ("", BY_PATIENT):
            return ""
        return "by film" if self.drawn_by == BY_FILM else "partly by film"

    @property
    def name(self) -> str:
        """What was measured, and against what: ``pacx`` or ``pacx - mae``."""
        return difference_name(self.subject, self.contrast) if self.contrast else self.subject


def difference_name(encoder: str, baseline: str) -> str:
    """How the difference ``encoder`` minus ``baseline`` is called where people read it."""
    return f"{encoder} - {baseline}"


def difference_metric(metric: str) -> str:
    """The name of a metric's paired difference, so that no reader takes a difference for a score."""
    return f"{metric}_difference"


def rows_to_json(rows: Sequence[ResultRow]) -> list[dict[str, Any]]:
    """Rows as plain JSON values; NaN becomes null, because JSON has no NaN."""
    values = [asdict(row) for row in rows]
    for value in values:
        for name in _NUMBERS:
            value[name] = None if math.isnan(value[name]) else float(value[name])
    return values


def rows_from_json(values: object, path: Path) -> list[ResultRow]:
    """Rows from what ``rows_to_json`` gave, now or before; null becomes NaN.

    Raises:
        DataError: a row has other fields than ``ResultRow``; ``path`` is the file that is blamed.
    """
    expected = {field.name for field in fields(ResultRow)}
    later = {"drawn_by"}  # than 0.2.0
    if not isinstance(values, list):
        raise DataError(f"{path} holds {type(values).__name__}, expected a list of result rows; run the protocol again")
    rows = []
    for number, written in enumerate(values):
        value = upgraded(written) if is_old(written) else written
        if not isinstance(value, dict) or not expected - later <= set(value) <= expected:
            found = sorted(value) if isinstance(value, dict) else type(value).__name__
            raise DataError(
                f"{path}: row {number} has {found}, expected the fields {sorted(expected)}; "
                "it was written by another version, run the protocol again"
            )
        rows.append(ResultRow(**{**value, **{name: _number(value[name]) for name in _NUMBERS}}))
    return rows


def write_rows(path: Path, rows: Sequence[ResultRow]) -> None:
    """Write rows as a JSON list of objects, a row on each line, whole or not at all.

    Args:
        path: the file; an older one is replaced.
        rows: what to write; NaN becomes null.

    Raises:
        ArtifactError: the file cannot be written.

    Example:
        >>> from pathlib import Path
        >>> from pacx.evaluation import read_rows, write_rows
        >>> rows = [row for row in read_rows(Path("results.json")) if row.metric == "auroc"]
        >>> write_rows(Path("auroc.json"), rows)
        >>> read_rows(Path("auroc.json"))[0].metric
        'auroc'
    """
    lines = ",\n".join(json.dumps(value, allow_nan=False) for value in rows_to_json(rows))
    write_text(path, f"[\n{lines}\n]\n")


def results_file(path: Path) -> Path:
    """The file of rows that a path stands for: itself, or the ``results.json`` of a folder.

    Raises:
        UsageError: it is not there.
    """
    file = path / "results.json" if path.is_dir() else path
    if not file.exists():
        raise UsageError(f"{file} does not exist; give a results.json, a folder that holds one, or a run's")
    return file


def read_rows(path: Path) -> list[ResultRow]:
    """Read what ``write_rows`` wrote, in this or an earlier version.

    Args:
        path: the file; null becomes NaN.

    Raises:
        DataError: the file is missing, is not JSON, or a row has other fields than ``ResultRow``.

    Example:
        >>> from pathlib import Path
        >>> from pacx.evaluation import read_rows
        >>> rows = read_rows(Path("results.json"))
        >>> sorted({row.name for row in rows})
        ['mae', 'pacx', 'pacx - mae']
    """
    return rows_from_json(read_json(path), path)


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
