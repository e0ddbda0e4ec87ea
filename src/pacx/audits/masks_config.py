"""Audit of segmentation: what is a lung segmentation worth on films that are black outside the lungs (CXLSeg)?"""

from dataclasses import dataclass, field
from pathlib import Path

from pacx.audits.audit import Audit, AuditResult
from pacx.evaluation.settings import SegmentationConfig


@dataclass(frozen=True, kw_only=True)
class PreMaskedAudit(Audit):
    """What is a lung segmentation worth on films that were multiplied by the lung mask, as CXLSeg's own are?

    A decoder is trained and tested on X-rays and on the same films black outside the mask. Beside them stands a rule
    without a model, a pixel above 0 is inside. The pre-masked films are made here, because the adapter of CXLSeg
    refuses its own; they are held in memory (one byte a pixel).
    """

    pack: Path
    """X-rays with masks and splits."""

    encoders: tuple[str, ...]
    """NAME=PLACE each, and the baselines random and imagenet."""

    mask: str = "lung"
    """The mask that the films are multiplied by and that is segmented."""

    decoder: SegmentationConfig = field(default_factory=SegmentationConfig)
    """How the decoder is trained; the defaults are the paper's."""

    name = "pre-masked"
    example = "--pack packs/cxlseg --encoders mae=runs/mae/encoder --out runs/audit/pre-masked.json"

    @property
    def chosen_seed(self) -> int:
        """The seed of the decoder, the only part that draws."""
        return self.decoder.seed

    def run(self) -> AuditResult:
        """IoU and Dice on both, their paired difference, and the rule's."""
        from pacx.audits.masks import pre_masked_films

        return pre_masked_films(self)


AUDITS = (PreMaskedAudit,)
