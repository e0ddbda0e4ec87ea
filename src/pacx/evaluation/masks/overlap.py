"""Pixel counts of predicted masks against true ones, film by film, and the scores they give.

Pixels with mask value 255 belong to nothing. Where mask and prediction are both empty the film's IoU and Dice are 1 by
convention.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pacx.evaluation.statistics.bootstrap import Float, ratio
from pacx.models.segmenter import IGNORED


@dataclass(frozen=True, kw_only=True)
class MaskOverlap:
    """Pixel counts over the judged pixels, each int64 (N, K) for N films and K masks.

    Args:
        intersection: pixels inside both prediction and mask.
        predicted: pixels inside the prediction.
        inside: pixels inside the mask.
        judged: pixels that are not 255.
    """

    intersection: NDArray[np.int64]
    predicted: NDArray[np.int64]
    inside: NDArray[np.int64]
    judged: NDArray[np.int64]

    @property
    def union(self) -> NDArray[np.int64]:
        """Pixels that lie inside the predicted or the true mask."""
        return self.predicted + self.inside - self.intersection

    @property
    def is_both_empty(self) -> Float:
        """1 where mask and prediction are empty, 0 elsewhere, NaN where no pixel is judged."""
        return np.where(self.judged > 0, (self.union == 0).astype(float), np.nan)

    def iou(self) -> Float:
        """Intersection over union per film; 1 where both are empty, NaN where no pixel is judged."""
        return self._per_film(ratio(self.intersection, self.union))

    def dice(self) -> Float:
        """Dice coefficient per film; conventions as ``iou``."""
        return self._per_film(ratio(2 * self.intersection, self.predicted + self.inside))

    def _per_film(self, score: Float) -> Float:
        return np.where(self.judged == 0, np.nan, np.where(self.union == 0, 1.0, score))


def mask_overlap(predicted: NDArray[np.bool_], masks: NDArray[np.uint8]) -> MaskOverlap:
    """Count pixels of predictions (N, K, S, S) against masks (N, K, S, S), leaving out those marked 255."""
    is_judged, is_inside = masks != IGNORED, masks == 1
    chosen = predicted & is_judged

    def count(pixels: NDArray[np.bool_]) -> NDArray[np.int64]:
        return pixels.sum(axis=(2, 3), dtype=np.int64)

    return MaskOverlap(
        intersection=count(chosen & is_inside),
        predicted=count(chosen),
        inside=count(is_inside),
        judged=count(is_judged),
    )
