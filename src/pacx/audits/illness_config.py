"""The audit of what pairs teach: the illness that a film shows, or only what kind of patient somebody is."""

from dataclasses import dataclass, field
from pathlib import Path

from pacx.audits.audit import AuditResult, ProbedAudit
from pacx.modalities.panel.reading import TableReading


@dataclass(frozen=True, kw_only=True)
class IllnessAudit(ProbedAudit):
    """Do pairs of film and physiology teach more than what patients alike would, too?

    A closed-form Stage 2 (ridge from both poolings to whitened targets) is taught on the pack's own pairs and on pairs
    exchanged among patients alike in the columns that are named and in a severity score made from their labs. Both are
    held against the own targets of patients left out; with labelled films, both are probed there too. Minutes on a
    laptop, whatever the encoder.
    """

    pack: Path
    """Films of the pairs."""

    encoder: str
    """NAME=PLACE of the Stage 1 encoder."""

    targets: tuple[Path, ...]
    """Frozen target folders of the pack's films, one or more."""

    alike: tuple[str, ...] = ()
    """Columns of the pack's records in which patients who exchange are alike, such as age sex view ward: near in
    numbers, equal in words."""

    labs: tuple[Path, ...] = ()
    """Tables of laboratory values as for `pacx train labs`: patients who exchange are as far from the median, too."""

    reading: TableReading = field(default_factory=TableReading)
    """How those tables are read."""

    group_size: int = 8
    """Patients who exchange among each other; fewer are more alike."""

    num_folds: int = 5
    """Parts of the patients, each left out once."""

    labelled: Path | None = None
    """Films with labels and splits, on which what was taught is probed."""

    name = "illness"
    example = (
        "--pack packs/triplets --encoder mae=runs/mae/encoder --targets runs/ecg/targets runs/labs/targets "
        "--alike age sex view --labs hospital/triplets/labs.csv --out runs/audit/illness.json"
    )

    def run(self) -> AuditResult:
        """Teach own and exchanged pairs, predict patients left out, and answer with an interval."""
        from pacx.audits.illness import illness

        return illness(self)


AUDITS = (IllnessAudit,)
