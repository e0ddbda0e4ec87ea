"""What an audit is: one question that the paper leaves open, put to packs a user has, answered in rows and a sentence.

An audit is a typed dataclass; its fields are the options of ``pacx audit NAME``. A file of audits lists them in
``AUDITS``. Audits measure by the protocols of ``pacx.evaluation`` and add nothing but what is compared with what.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pacx.core.provenance import provenance
from pacx.evaluation.comparison import Comparison
from pacx.evaluation.results import MACRO, ResultRow, Subject, difference_metric
from pacx.evaluation.settings import NUM_DRAWS, ProbeConfig
from pacx.models.device import AUTOMATIC, chosen_device
from pacx.reporting.result_rows import Rows

if TYPE_CHECKING:
    from pacx.evaluation.statistics.bootstrap import RowMaker


@dataclass(frozen=True, kw_only=True)
class AuditResult:
    """What an audit found: rows, and the answer in a sentence or two."""

    rows: Sequence[ResultRow]
    answer: str


@dataclass(frozen=True, kw_only=True)
class Audit(ABC):
    """One question that the paper leaves open, and what is compared with what to answer it."""

    out: Path
    """The results.json to write."""

    num_draws: int = NUM_DRAWS
    """Bootstrap draws of patients."""

    device: str = AUTOMATIC
    """Where encoders and heads run (cpu, cuda, cuda:1); by default a GPU if there is one."""

    name: ClassVar[str]
    """What the user types after ``pacx audit``."""

    example: ClassVar[str]
    """Options that work, shown in the help."""

    @property
    @abstractmethod
    def chosen_seed(self) -> int:
        """The seed of everything random in the audit."""

    @abstractmethod
    def run(self) -> AuditResult:
        """Measure on the packs that the fields name, and answer in rows and a sentence."""

    @property
    def remark(self) -> str:
        """Where the rows come from."""
        command = f"pacx audit {self.name}"
        return f"{command}, commit {provenance(command, self.chosen_seed).commit}"

    @property
    def chosen_device(self) -> str:
        """Where encoders and heads run."""
        return chosen_device(self.device)

    def comparison(self, dataset: str, *, subjects: Iterable[Subject] = ()) -> Comparison:
        """What the audit's protocols on one dataset are told; ``subjects`` go by the name they spell."""
        return Comparison(
            dataset=dataset,
            provenance=self.remark,
            num_draws=self.num_draws,
            device=self.chosen_device,
            subjects={str(subject): subject for subject in subjects},
        )

    def maker(
        self, dataset: str, *, subjects: Iterable[Subject] = (), more: str = "", drawn_by: str = ""
    ) -> "RowMaker":
        """What the audit's rows on one dataset have in common; ``more`` is a remark on all of them."""
        comparison = self.comparison(dataset, subjects=subjects)
        return comparison.maker(f"audit: {self.name}", self.chosen_seed, remark=more, drawn_by=drawn_by)


@dataclass(frozen=True, kw_only=True)
class ProbedAudit(Audit):
    """A question put to linear probes."""

    probe: ProbeConfig = field(default_factory=ProbeConfig)
    """How the probes are trained; the defaults are the paper's."""

    @property
    def chosen_seed(self) -> int:
        """The seed of the probes, the only part that draws."""
        return self.probe.seed


def in_words(rows: Sequence[ResultRow], *, label: str = MACRO, fraction: float = 1.0, **fields: object) -> str:
    """One row's number with its interval; a difference carries its sign and says when it cannot be told from 0."""
    from pacx.reporting.tables import format_interval, is_distinguishable

    row = Rows(rows=tuple(rows)).find(label=label, fraction=fraction, **fields)
    if row is None:
        raise LookupError(f"no row {label} {fraction} {fields}")
    if not row.metric.endswith(difference_metric("")):
        return f"{row.value:.3f} {format_interval(row)}"
    verdict = "" if is_distinguishable(row) else " (not distinguishable)"
    return f"{row.value:+.3f} {format_interval(row)}{verdict}"
