"""For whom does an encoder work less well? AUROC by sex, age, view and site, and the worst group by name.

Groups come from the columns a pack's records happen to have. Every group is scored under the same patient draws, so a
gap between a group and everybody is a paired one. Groups are compared on the labels that all of them can score, because
a mean over other labels is another quantity. A group with few positives or negatives of a label is named, not scored.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pacx.evaluation.probes.classification import ClassificationData
from pacx.evaluation.results import MACRO, ResultRow
from pacx.evaluation.statistics.bootstrap import (
    Column,
    Float,
    PatientDraws,
    RowMaker,
    mean_over_seeds,
    ratio,
    with_differences,
)
from pacx.evaluation.statistics.metrics import auroc

PROTOCOL = "subgroups"
WORST = "auroc_worst_group"
"""Metric of the row that names, in its subgroup, the group of lowest macro AUROC."""
WORST_GAP = "auroc_worst_gap"
"""Metric of the row beside it: macro AUROC of all films minus that group's, on the same labels and draws."""
MIN_OF_EACH = 10
"""A group needs that many positives and as many negatives of a label to be scored on it."""
_COLUMNS = ("sex", "view", "site")
_AGE = "age"
_BANDS = ("under 18", "18 to 39", "40 to 59", "60 to 79", "80 and over")
_BAND_STARTS = (18, 40, 60, 80)


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """One attribute that divides the films of a pack.

    Args:
        attribute: "sex", "age", "view" or "site".
        groups: names of the groups, at least two.
        member: (N,) which group each film belongs to; -1 = unknown, belongs to none.
    """

    attribute: str
    groups: tuple[str, ...]
    member: NDArray[np.int64]


def groupings(table: pd.DataFrame) -> tuple[Grouping, ...]:
    """The attributes that a pack's table has and that divide its films into at least two groups.

    Args:
        table: a pack's records; columns sex, view and site as text ("" = unknown), age in years (NaN = unknown); each
            may be absent.
    """
    named = {name: table[name].fillna("").astype(str).str.strip() for name in _COLUMNS if name in table}
    if _AGE in table:
        years = pd.to_numeric(table[_AGE], errors="coerce")
        bands = np.array(_BANDS, object)[np.searchsorted(_BAND_STARTS, years.fillna(0), side="right")]
        named[_AGE] = pd.Series(bands, index=table.index).where(years >= 0, "")
    found = []
    for attribute, values in named.items():
        present = set(values) - {""}
        groups = tuple(band for band in _BANDS if band in present) if attribute == _AGE else tuple(sorted(present))
        if len(groups) > 1:
            member = np.array([groups.index(value) if value else -1 for value in values], np.int64)
            found.append(Grouping(attribute=attribute, groups=groups, member=member))
    return tuple(found)


@dataclass(frozen=True)
class _Group:
    """One group's test films: which, how many of each class they hold, and AUROC draws (R, L) per encoder."""

    name: str
    rows: NDArray[np.int64]
    num_positives: NDArray[np.int64]
    num_negatives: NDArray[np.int64]
    areas: Mapping[str, Float]

    @property
    def can_score(self) -> NDArray[np.bool_]:
        """(L,) labels with enough of both classes."""
        return np.minimum(self.num_positives, self.num_negatives) >= MIN_OF_EACH

    def remark(self, label: int) -> str:
        """Why a label is not scored; empty where it is."""
        if self.can_score[label]:
            return ""
        return (
            f"not scored: {self.num_positives[label]} positives and {self.num_negatives[label]} negatives, "
            f"{MIN_OF_EACH} of each are needed"
        )


def subgroup_rows(
    data: ClassificationData,
    grouped: Sequence[Grouping],
    probabilities: Mapping[str, Float],
    draws: PatientDraws,
    *,
    baseline: str | None,
    maker: RowMaker,
) -> list[ResultRow]:
    """AUROC of every group, paired differences of encoders within it, and per encoder the worst group of an attribute.

    Args:
        data: labels and splits.
        grouped: from ``groupings`` of the same pack.
        probabilities: per encoder (S, N, L) of the test split.
        draws: patient draws over the test split.
        baseline: as in ``with_differences``.
        maker: what the rows have in common; their protocol becomes ``PROTOCOL``.

    Returns:
        Rows whose ``subgroup`` reads "sex: F". Macro rows average the labels that every comparable group can score; a
        group is comparable if it can score at least half as many labels as the one that can score most. The worst
        group is found on the very films it is scored on, so its gap is larger than it will be elsewhere.
    """
    maker = replace(maker, protocol=PROTOCOL)
    truth = data.labels[data.test]
    rows: list[ResultRow] = []
    for grouping in grouped:
        member = grouping.member[data.test]
        groups = [
            _score(
                f"{grouping.attribute}: {name}", np.flatnonzero(member == number), truth, probabilities, draws, maker
            )
            for number, name in enumerate(grouping.groups)
            if (member == number).any()
        ]
        most = max((int(group.can_score.sum()) for group in groups), default=0)
        comparable = [group for group in groups if 2 * group.can_score.sum() >= max(most, 1)]
        common = np.all([group.can_score for group in comparable], axis=0) if comparable else np.zeros(0, bool)
        for group in groups:
            shared = common if group in comparable else np.zeros(len(data.label_names), bool)
            rows += _rows_of(group, shared, data.label_names, baseline, maker)
        if len(comparable) > 1 and common.any():
            everybody = _score("", np.arange(len(truth)), truth, probabilities, draws, maker)
            rows += _worst_rows(comparable, everybody, common, data.label_names, maker)
    return rows


def _score(
    name: str,
    rows: NDArray[np.int64],
    truth: NDArray[np.float32],
    probabilities: Mapping[str, Float],
    draws: PatientDraws,
    maker: RowMaker,
) -> _Group:
    labels = truth[rows]
    positives, negatives = (labels == 1).sum(axis=0), (labels == 0).sum(axis=0)
    enough = np.minimum(positives, negatives) >= MIN_OF_EACH
    part = PatientDraws(patient=draws.patient[rows], counts=draws.counts)
    scored = np.where(enough, labels, np.nan)  # too few is not scored in any draw
    areas = {
        encoder: mean_over_seeds(np.stack([auroc(head[rows], scored, part) for head in heads]), seed=maker.seed)
        for encoder, heads in probabilities.items()
    }
    return _Group(name, rows, positives, negatives, areas)


def _mean(draws: Float, labels: NDArray[np.bool_]) -> Float:
    """Mean over some labels, per draw over those defined in it: (R, L) to (R,)."""
    kept = draws[:, labels]
    defined = ~np.isnan(kept)
    return ratio(np.where(defined, kept, 0.0).sum(axis=1), defined.sum(axis=1))


def _over(labels: NDArray[np.bool_], names: Sequence[str]) -> str:
    left_out = [name for name, is_in in zip(names, labels, strict=True) if not is_in]
    without = f", without {', '.join(left_out)}" if left_out else ""
    return f"macro over the {int(labels.sum())} labels that all compared groups can score{without}"


def _rows_of(
    group: _Group, common: NDArray[np.bool_], names: Sequence[str], baseline: str | None, maker: RowMaker
) -> list[ResultRow]:
    rows = []
    num_known = group.num_positives + group.num_negatives
    remark = _over(common, names) if common.any() else "not scored: too few positives or negatives to compare groups"
    for column in with_differences(group.areas, "auroc", baseline):
        macro = _mean(column.draws, common)
        rows.append(maker.row(column, macro, label=MACRO, n=len(group.rows), remark=remark, subgroup=group.name))
        for k, label in enumerate(names):
            rows.append(
                maker.row(
                    column,
                    column.draws[:, k],
                    label=label,
                    n=int(num_known[k]),
                    remark=group.remark(k),
                    subgroup=group.name,
                )
            )
    return rows


def _worst_rows(
    groups: Sequence[_Group], everybody: _Group, common: NDArray[np.bool_], names: Sequence[str], maker: RowMaker
) -> list[ResultRow]:
    rows = []
    for encoder, areas in everybody.areas.items():
        means = [_mean(group.areas[encoder], common) for group in groups]
        worst = int(np.argmin([mean[0] for mean in means]))
        remark = f"lowest of {len(groups)} groups; {_over(common, names)}"
        gap = _mean(areas, common) - means[worst]
        for metric, values in ((WORST, means[worst]), (WORST_GAP, gap)):
            rows.append(
                maker.row(
                    Column(encoder, metric, values),
                    values,
                    label=MACRO,
                    n=len(groups[worst].rows),
                    remark=remark,
                    subgroup=groups[worst].name,
                )
            )
    return rows
