"""What the heads beside an encoder say of films, as a table: findings, read-outs, and how usual the film is.

`embeddings -> rows -> CSV, JSON lines or parquet`. Numpy alone, but for parquet, which needs pyarrow. A read-out that
abstains has no column; an end of an interval that nobody can know is empty.
"""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pacx.core.artifacts import staged_file, write_text
from pacx.core.errors import UsageError
from pacx.models.heads import classifier, readouts, reference
from pacx.models.heads.folder import has_head

TABLE_SUFFIXES = (".csv", ".jsonl", ".parquet")
_ENDS = (":low", "", ":high")

Columns = Mapping[str, Sequence[Any]]


@dataclass(frozen=True, kw_only=True)
class Heads:
    """The heads of an encoder folder; None or empty where it has none."""

    classifier: classifier.Classifier | None
    readouts: Mapping[str, readouts.ReadoutHead]
    reference: reference.Reference | None

    @property
    def abstaining(self) -> tuple[str, ...]:
        """Read-outs about which the film says too little."""
        return tuple(name for name, head in self.readouts.items() if head.abstains)

    def columns(self, embeddings: NDArray[np.float32]) -> Columns:
        """What they say of embeddings (N, D), N values per column; None where an end is open."""
        found: dict[str, Sequence[Any]] = {}
        if self.classifier is not None:
            predicted = self.classifier.predict(embeddings)  # (N, K, 3)
            for number, label in enumerate(self.classifier.labels):
                found |= _with_ends(label, predicted[:, number])
        for name, head in self.readouts.items():
            if not head.abstains:
                found |= _with_ends(name, head.predict(embeddings))
        if self.reference is not None:
            distances = self.reference.distances(embeddings)
            found["distance"] = distances.tolist()
            found["percentile"] = self.reference.percentiles(distances).tolist()
            found["is_unusual"] = self.reference.is_unusual(distances).tolist()
        return found


def _with_ends(name: str, values: NDArray[np.float64]) -> Columns:
    """Value, low and high end, from (N, 3) low, value, high."""
    columns = {f"{name}{end}": values[:, place] for place, end in enumerate(_ENDS)}
    order = (name, f"{name}:low", f"{name}:high")
    return {each: [float(value) if math.isfinite(value) else None for value in columns[each]] for each in order}


def load_heads(folder: Path) -> Heads:
    """The heads that lie beside an encoder.

    Raises:
        ModelError: one was altered or belongs to another encoder.
        DataError: one is not whole.
        UsageError: there is none, so there is nothing to predict.
    """
    heads = Heads(
        classifier=classifier.load_classifier(folder) if has_head(folder, classifier.FOLDER) else None,
        readouts=readouts.load_readouts(folder) if has_head(folder, readouts.FOLDER) else {},
        reference=reference.load_reference(folder) if has_head(folder, reference.FOLDER) else None,
    )
    if heads.classifier is None and not heads.readouts and heads.reference is None:
        raise UsageError(
            f"{folder} has no heads, so there is nothing to predict; fit some with pacx evaluate linear-probe --save "
            "or pacx evaluate readout --save, or take embeddings with pacx embed"
        )
    return heads


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

        with staged_file(path) as partial:
            pyarrow.parquet.write_table(pyarrow.table(dict(columns)), partial)
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
