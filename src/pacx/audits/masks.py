"""What the audit of segmentation measures; ``masks_config`` holds the question."""

import copy

import numpy as np
from numpy.typing import NDArray

from pacx.audits.audit import AuditResult, in_words
from pacx.audits.masks_config import PreMaskedAudit
from pacx.core.errors import DataError
from pacx.data.packs.pack import Pack
from pacx.evaluation.masks.overlap import mask_overlap
from pacx.evaluation.masks.segmentation import decode_test_films, segmentation_rows
from pacx.evaluation.results import Subject, difference_metric
from pacx.evaluation.statistics.bootstrap import patient_bootstrap
from pacx.models.encoders.by_name import open_encoders

RULE = "a pixel above 0 is inside (no model)"


def pre_masked_films(audit: PreMaskedAudit) -> AuditResult:
    """IoU and Dice on both, their paired difference, and the rule's."""
    real, opened = Pack.open(audit.pack), open_encoders(audit.encoders, audit.decoder.seed)
    masks, test = masks_of(real, audit.mask), real.rows("test")
    masked = pre_masked(real, masks)
    draws = patient_bootstrap(real.patient_ids[test], num_draws=audit.num_draws, seed=audit.decoder.seed)
    seen = {
        each.name: [Subject(encoder=each.name, condition=films) for films in ("on X-rays", "on pre-masked films")]
        for each in opened
    }
    maker = audit.maker(
        real.path.name, drawn_by=real.drawn_by, subjects=[subject for pair in seen.values() for subject in pair]
    )
    rule = mask_overlap(masked.images[test][:, None] > 0, masks[test])
    rows = segmentation_rows(maker, {RULE: (rule,)}, draws, mask_names=(audit.mask,), baseline=None)
    answers = []
    for encoder in opened:
        xrays, black = map(str, seen[encoder.name])
        counts = {
            name: decode_test_films(
                pack,
                encoder.encoder,
                name=encoder.name,
                config=audit.decoder,
                seeds=audit.decoder.seeds,
                device=maker.device,
            )
            for name, pack in ((xrays, real), (black, masked))
        }
        made = segmentation_rows(maker, counts, draws, mask_names=real.mask_names, baseline=xrays)
        rows += [row for row in made if row.label == audit.mask]
        asked = (
            (black, "", "iou"),
            (xrays, "", "iou"),
            (black, xrays, difference_metric("iou")),
        )
        found = [in_words(rows, label=audit.mask, subject=one, contrast=to, metric=metric) for one, to, metric in asked]
        answers.append(f"{encoder.name}'s decoder {found[0]} and on the X-rays {found[1]}, {found[2]}")
    by_rule = in_words(rows, label=audit.mask, subject=RULE, metric="iou")
    return AuditResult(
        rows=rows,
        answer=f"On pre-masked films the rule 'a pixel above 0 is {audit.mask}' reaches an IoU of {by_rule} without "
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
