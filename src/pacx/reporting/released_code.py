"""Scores as the authors' released code counts them, by torchmetrics: it differs from us where something is absent.

A label without positives has an AUROC, an average precision and an F1 of 0 there, which enter the mean over labels; one
without negatives has an AUROC of 0. We have no value for either and leave the label out. A film whose mask and
prediction are both empty is left out of the mean IoU and Dice there; with us it scores 1. All of it follows from rows.

Source: torchmetrics 1.9, run on the numbers of ``docs/concepts/metrics.md``.
"""

import math
from collections.abc import Mapping

from pacx.evaluation.results import MACRO
from pacx.reporting.result_rows import Rows

_PER_MASK = ("iou", "dice")


def counted_by_torchmetrics(rows: Rows, subject: str, metric: str, query: Mapping[str, object]) -> float | None:
    """One score of Table 1 in the released code's way.

    Args:
        rows: all results.
        subject: whose score.
        metric: of Table 1: over labels, or of a mask.
        query: the other fields of the row, its label among them.

    Returns:
        The score; NaN where there is nothing to average; None where the rows do not tell.
    """
    row = rows.find(subject=subject, metric=metric, **query)
    if row is None:
        return None
    if metric in _PER_MASK:
        empty = rows.find(subject=subject, metric="both_empty_fraction", **query)
        if empty is None:
            return None
        return (row.value - empty.value) / (1 - empty.value) if empty.value < 1 else math.nan
    values = [
        each.value
        for each in rows.rows
        if (each.subject, each.metric, each.subgroup, each.contrast) == (subject, metric, "", "")
        and each.label != MACRO
        and all(getattr(each, name) == value for name, value in query.items() if name != "label")
    ]
    return sum(0.0 if math.isnan(value) else value for value in values) / len(values) if values else None
