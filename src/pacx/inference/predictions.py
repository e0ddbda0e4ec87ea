"""What the heads beside an encoder say of films, as a table: findings, read-outs, and how usual the film is.

`embeddings -> rows -> CSV, JSON lines or parquet`. Numpy alone, but for parquet, which needs pyarrow. A read-out that
abstains has no column; an end of an interval that nobody can know is empty.
"""

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pacx.core.artifacts import staged_file, write_text
from pacx.core.errors import UsageError
from pacx.inference.heads import Heads

TABLE_SUFFIXES = (".csv", ".jsonl", ".parquet")

Columns = Mapping[str, Sequence[Any]]


def columns(heads: Heads, embeddings: NDArray[np.float32]) -> Columns:
    """What the heads say of embeddings (N, D), N values per column; None where an end is open."""
    found: dict[str, Sequence[Any]] = {}
    for findings in zip(*heads.findings(embeddings), strict=True):  # a label's N answers
        found |= _with_ends(findings[0].label, ((each.probability, each.low, each.high) for each in findings))
    for readings in zip(*heads.readings(embeddings), strict=True):
        if not readings[0].abstains:
            found |= _with_ends(readings[0].name, ((each.value, each.low, each.high) for each in readings))
    familiarity = [each for each in heads.familiarity(embeddings) if each is not None]
    for name in ("distance", "percentile", "is_unusual") if familiarity else ():
        found[name] = [getattr(each, name) for each in familiarity]
    return found


def _with_ends(name: str, rows: Iterable[tuple[float, float, float]]) -> Columns:
    """Columns of value, low and high end."""
    ends = zip(("", ":low", ":high"), zip(*rows, strict=True), strict=True)
    return {f"{name}{end}": [value if math.isfinite(value) else None for value in values] for end, values in ends}


def check_table_path(path: Path) -> None:
    """Say at once, and not after an hour, that a table cannot be written so.

    Raises:
        UsageError: another ending, or parquet without pyarrow.
    """
    if path.suffix.lower() not in TABLE_SUFFIXES:
        raise UsageError(f"{path} ends in '{path.suffix}'; give a name that ends in {', '.join(TABLE_SUFFIXES)}")
    if path.suffix.lower() == ".parquet" and find_spec("pyarrow") is None:
        raise UsageError("parquet needs pyarrow, which is not installed; pip install pyarrow, or write .csv or .jsonl")


def write_table(path: Path, columns: Columns) -> None:
    """Write columns of equal length, atomically; the ending decides the format.

    Raises:
        ArtifactError: the file cannot be written.
    """
    if path.suffix.lower() == ".parquet":
        import pyarrow
        import pyarrow.parquet

        with staged_file(path) as partial, partial.open("wb") as file:
            pyarrow.parquet.write_table(pyarrow.table(dict(columns)), file)
        return
    rows = zip(*columns.values(), strict=True)
    text = io.StringIO(newline="")
    if path.suffix.lower() == ".csv":
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
    else:
        text.writelines(json.dumps(dict(zip(columns, row, strict=True)), allow_nan=False) + "\n" for row in rows)
    write_text(path, text.getvalue())
