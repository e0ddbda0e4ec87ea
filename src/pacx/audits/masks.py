"""Audit of segmentation: what is a lung segmentation worth on films that are black outside the lungs (CXLSeg)?"""

import copy
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pacx.audits.audit import Audit, AuditResult, in_words
from pacx.core.errors import DataError
from pacx.data.packs.pack import Pack
from pacx.evaluation.mask_overlap import mask_overlap
from pacx.evaluation.results import Subject, difference_metric
from pacx.evaluation.segmentation import SegmentationConfig, decode_test_films, segmentation_rows
from pacx.evaluation.statistics.bootstrap import patient_bootstrap
from pacx.models.encoders.by_name import open_encoders

RULE = "a pixel above 0 is inside (no model)"


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
        """Of the decoder."""
        return self.decoder.seed

    def run(self) -> AuditResult:
        """IoU and Dice on both, their paired difference, and the rule's."""
        real, opened = Pack.open(self.pack), open_encoders(self.encoders, self.decoder.seed)
        masks, test = masks_of(real, self.mask), real.rows("test")
        masked = pre_masked(real, masks)
        draws = patient_bootstrap(real.patient_ids[test], num_draws=self.num_draws, seed=self.decoder.seed)
        seen = {
            each.name: [Subject(encoder=each.name, condition=films) for films in ("on X-rays", "on pre-masked films")]
            for each in opened
        }
        maker = self.maker(real.path.name, subjects=[subject for pair in seen.values() for subject in pair])
        rule = mask_overlap(masked.images[test][:, None] > 0, masks[test])
        rows = segmentation_rows(maker, {RULE: (rule,)}, draws, mask_names=(self.mask,), baseline=None)
        answers = []
        for encoder in opened:
            xrays, black = map(str, seen[encoder.name])
            counts = {
                name: decode_test_films(
                    pack,
                    encoder.encoder,
                    name=encoder.name,
                    config=self.decoder,
                    seeds=self.decoder.seeds,
                    device=maker.device,
                )
                for name, pack in ((xrays, real), (black, masked))
            }
            made = segmentation_rows(maker, counts, draws, mask_names=real.mask_names, baseline=xrays)
            rows += [row for row in made if row.label == self.mask]
            asked = (
                (black, "", "iou"),
                (xrays, "", "iou"),
                (black, xrays, difference_metric("iou")),
            )
            found = [
                in_words(rows, label=self.mask, subject=one, contrast=to, metric=metric) for one, to, metric in asked
            ]
            answers.append(f"{encoder.name}'s decoder {found[0]} and on the X-rays {found[1]}, {found[2]}")
        by_rule = in_words(rows, label=self.mask, subject=RULE, metric="iou")
        return AuditResult(
            rows=rows,
            answer=f"On pre-masked films the rule 'a pixel above 0 is {self.mask}' reaches an IoU of {by_rule} without "
            f"any model, {'; '.join(answers)}.",
        )


def masks_of(pack: Pack, mask: str) -> NDArray[np.uint8]:
    """One mask of every film, (N, 1, S, S): 1 inside, 0 outside, 255 not judged.

    Raises:
        DataError: the pack has no such mask.
    """
    if pack.masks is None or mask not in pack.mask_names:
        raise DataError(f"pack {pack.path} has no mask '{mask}'; its masks are {', '.join(pack.mask_names) or 'none'}")
    return pack.masks[:, [pack.mask_names.index(mask)]]


def pre_masked(pack: Pack, masks: NDArray[np.uint8]) -> Pack:
    """The same pack with films that are black wherever ``masks`` (N, 1, S, S) are not 1; the files stay as they are."""
    changed = copy.copy(pack)
    changed.images = pack.images * (masks[:, 0] == 1)
    return changed


AUDITS = (PreMaskedAudit,)
