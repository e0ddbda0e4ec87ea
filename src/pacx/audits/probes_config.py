"""Audits of classification: is the gain the class token's, what do shared patients add, what does a threshold add."""

from dataclasses import dataclass
from pathlib import Path

from pacx.audits.audit import AuditResult, ProbedAudit
from pacx.evaluation.settings import FRACTIONS


@dataclass(frozen=True, kw_only=True)
class ClassTokenAudit(ProbedAudit):
    """Is the gain the class token's, which masked autoencoding never supervises and distillation does?

    Both encoders are probed on their class token and on the mean of their patch tokens. The last comparison takes each
    encoder in its better pooling, chosen by validation AUROC (mean over the probes of a fraction), never on test films.
    """

    pack: Path
    """Films with labels and splits."""

    baseline: str
    """NAME=PLACE of the encoder before distillation."""

    encoder: str
    """NAME=PLACE of the encoder after it."""

    fractions: tuple[float, ...] = FRACTIONS
    """Shares of the training films."""

    name = "class-token"
    example = (
        "--pack packs/nih14 --baseline mae=runs/mae/encoder --encoder pacx=runs/distill/encoder "
        "--out runs/audit/class-token.json"
    )

    def run(self) -> AuditResult:
        """Gain per pooling, and of the better pooling over the stronger one of the baseline."""
        from pacx.audits.probes import class_token

        return class_token(self)


@dataclass(frozen=True, kw_only=True)
class SplitsAudit(ProbedAudit):
    """What do splits by film add, which let a patient be in training and test at once?

    The same encoder is probed on the same films split in two ways, and on the films split by film the patients it was
    trained on are compared with the others. Seen and unseen patients are other people, and the two test splits hold
    other films: those differences are unpaired.
    """

    by_patient: Path
    """The pack split by patient."""

    by_film: Path
    """The same films packed with --split-policy released-code."""

    encoder: str
    """NAME=PLACE."""

    name = "splits"
    example = (
        "--by-patient packs/chexchonet --by-film packs/chexchonet-released --encoder pacx=runs/distill/encoder "
        "--out runs/audit/splits.json"
    )

    def run(self) -> AuditResult:
        """Test AUROC under both splits; of seen and unseen patients under the second."""
        from pacx.audits.probes import splits

        return splits(self)


@dataclass(frozen=True, kw_only=True)
class ThresholdAudit(ProbedAudit):
    """What does F1 at 0.5 hide? The same probes at 0.5 and at each label's best threshold on the validation split.

    Where one class excludes the others, the most probable class stands in the place of 0.5.
    """

    pack: Path
    """Films with labels and splits."""

    encoders: tuple[str, ...]
    """NAME=PLACE each, and the baselines random and imagenet."""

    name = "threshold"
    example = (
        "--pack packs/nih14 --encoders mae=runs/mae/encoder pacx=runs/distill/encoder --out runs/audit/threshold.json"
    )

    def run(self) -> AuditResult:
        """F1 at both, and the paired difference, per encoder."""
        from pacx.audits.probes import thresholds

        return thresholds(self)


AUDITS = (ClassTokenAudit, SplitsAudit, ThresholdAudit)
