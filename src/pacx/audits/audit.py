"""What an audit is: one question that the paper leaves open, put to packs a user has, answered in rows and a sentence.

An audit is a typed dataclass; its fields are the options of ``pacx audit NAME``. A file of audits lists them in
``AUDITS``. Audits measure by the protocols of ``pacx.evaluation`` and add nothing but what is compared with what.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from pacx.core.provenance import provenance
from pacx.evaluation.linear_heads import ProbeConfig
from pacx.evaluation.results import ResultRow, difference_metric
from pacx.evaluation.statistics import MACRO, NUM_DRAWS, RowMaker
from pacx.reporting.tables import Rows, format_interval, is_distinguishable


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What an audit found: rows, and the answer in a sentence or two."""

    rows: Sequence[ResultRow]
    answer: str


@dataclass(frozen=True, kw_only=True)
class Audit(ABC):
    """One question."""

    out: Path
    """The results.json to write."""

    num_draws: int = NUM_DRAWS
    """Bootstrap draws of patients."""

    name: ClassVar[str]
    """What the user types after ``pacx audit``."""

    example: ClassVar[str]
    """Options that work, shown in the help."""

    @property
    @abstractmethod
    def chosen_seed(self) -> int:
        """The seed of everything random in the audit."""

    @abstractmethod
    def run(self) -> Findings:
        """Measure and answer."""

    @property
    def remark(self) -> str:
        """Where the rows come from."""
        command = f"pacx audit {self.name}"
        return f"{command}, commit {provenance(command, self.chosen_seed).commit}"

    def maker(self, dataset: str, *, more: str = "") -> RowMaker:
        """What the audit's rows on one dataset have in common; ``more`` is a remark on all of them."""
        return RowMaker(
            protocol=f"audit: {self.name}",
            dataset=dataset,
            seed=self.chosen_seed,
            provenance="; ".join(part for part in (self.remark, more) if part),
        )


@dataclass(frozen=True, kw_only=True)
class ProbedAudit(Audit):
    """A question put to linear probes."""

    probe: ProbeConfig = field(default_factory=ProbeConfig)
    """How the probes are trained; the defaults are the paper's."""

    @property
    def chosen_seed(self) -> int:
        """Of the probes."""
        return self.probe.seed


def in_words(rows: Sequence[ResultRow], *, label: str = MACRO, fraction: float = 1.0, **fields: object) -> str:
    """One row's number with its interval; a difference carries its sign and says when it cannot be told from 0."""
    row = Rows(rows=tuple(rows)).find(label=label, fraction=fraction, **fields)
    if row is None:
        raise LookupError(f"no row {label} {fraction} {fields}")
    if not row.metric.endswith(difference_metric("")):
        return f"{row.value:.3f} {format_interval(row)}"
    verdict = "" if is_distinguishable(row) else " (not distinguishable)"
    return f"{row.value:+.3f} {format_interval(row)}{verdict}"
