"""What finished steps left, and what their rows have in common: macro scores, and where a number comes from."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from pacx.evaluation.results import ResultRow
from pacx.evaluation.statistics.bootstrap import Column, Float, RowMaker, ratio
from studies.stepwise.step import ABOUT, Study, StudyStep

StudyT = TypeVar("StudyT", bound=Study)
COST = "study-cost"
"""Protocol of the rows that say what a study took."""


class Finished(Generic[StudyT]):
    """The steps that are done, read once."""

    def __init__(self, study: StudyT, steps: Sequence[StudyStep]) -> None:
        self.study = study
        self.num_steps = len(steps)
        self.steps = [step for step in steps if step.file.exists()]

    @cached_property
    def files(self) -> dict[str, dict[str, NDArray[np.generic]]]:
        """The arrays that each finished step left, by the step's name."""
        return {step.name: dict(np.load(step.file)) for step in self.steps}

    def about(self, step: StudyStep) -> Mapping[str, object]:
        """What a step says of itself."""
        found: Mapping[str, object] = json.loads(str(self.files[step.name][ABOUT]))
        return found


def macro(draws: Float) -> Float:
    """Mean over the labels that are defined, (F, R, L) to (F, R)."""
    known = ~np.isnan(draws)
    return ratio(np.where(known, draws, 0.0).sum(axis=2), known.sum(axis=2))


def origin(remark: str, abouts: Sequence[Mapping[str, object]]) -> str:
    """Command, commits and chips behind a row."""
    commits, chips = (" + ".join(sorted({str(about[name]) for about in abouts})) for name in ("commit", "chip"))
    return f"{remark}; commit {commits}; {chips}"


def rounded(rows: Sequence[ResultRow]) -> list[ResultRow]:
    """Rows to six decimals, a thousandth of what any draw of patients moves: files of rows are kept with the code."""
    return [
        replace(row, value=round(row.value, 6), ci_low=round(row.ci_low, 6), ci_high=round(row.ci_high, 6))
        for row in rows
    ]


def cost_rows(done: Finished[StudyT], remark: str, dataset: str) -> list[ResultRow]:
    """Processor and wall seconds of the finished steps together."""
    abouts = [done.about(step) for step in done.steps]
    maker = RowMaker(protocol=COST, dataset=dataset, seed=done.study.seed, provenance=origin(remark, abouts))
    return [
        replace(
            maker.row(Column("all", name, total), total, label="steps", n=len(abouts)),
            ci_low=np.nan,
            ci_high=np.nan,
            provenance=f"{maker.provenance}; {len(abouts)} of {done.num_steps} steps are done",
        )
        for name in ("processor_seconds", "seconds")
        for total in [np.array([sum(float(str(about[name])) for about in abouts)])]
    ]
