"""AUROC, AUPRC, F1 and Brier score for all labels and all bootstrap draws at once.

Each function takes scores and labels (N, L) and a set of patient draws, and returns (R, L): row 0 is the test set
itself. A weighted AUROC needs the weight of one class below each score of the other: the scores are sorted once, the
samples of the larger class are put into the gaps between (and on) the distinct scores of the smaller class, and each
draw is then one sparse product and a cumulative sum.

An unknown label (NaN) takes part in nothing. Undefined is NaN, never 0 or 1: no positives, or no negatives (AUROC).
Refuses scores that are not finite.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from pacx.core.errors import ModelError
from pacx.evaluation.statistics import Float, PatientDraws, ratio

_BLOCK_ELEMENTS = 8_000_000


class _Order(NamedTuple):
    """Two classes of samples, one placed relative to the distinct scores u_0 < .. < u_{G-1} of the other.

    ``groups`` (G, P) counts the reference class per distinct score and patient; ``gaps`` (2G + 1, P) the other class:
    row 2g lies strictly between u_{g-1} and u_g, row 2g + 1 equals u_g.
    """

    groups: sparse.csr_array
    gaps: sparse.csr_array


def _place(
    reference: Float, reference_patient: NDArray[np.int64], other: Float, other_patient: NDArray[np.int64], num: int
) -> _Order:
    distinct, group = np.unique(reference, return_inverse=True)
    gap = np.searchsorted(distinct, other, "left") + np.searchsorted(distinct, other, "right")
    num_groups = len(distinct)
    return _Order(
        sparse.csr_array((np.ones(len(group)), (group, reference_patient)), shape=(num_groups, num)),
        sparse.csr_array((np.ones(len(gap)), (gap, other_patient)), shape=(2 * num_groups + 1, num)),
    )


def _checked(scores: ArrayLike, labels: ArrayLike) -> tuple[Float, Float]:
    score_array, label_array = np.asarray(scores, np.float64), np.asarray(labels, np.float64)
    if score_array.shape != label_array.shape or score_array.ndim != 2:
        raise ValueError(f"scores {score_array.shape} and labels {label_array.shape} must both be (N, L)")
    if not np.isfinite(score_array).all():
        raise ModelError(
            f"{int((~np.isfinite(score_array)).sum())} of {score_array.size} scores are NaN or infinite, expected "
            "finite scores; the probe diverged or its features are damaged"
        )
    return score_array, label_array


def _blocks(draws: PatientDraws, num_rows: int) -> list[Float]:
    return draws.blocks(max(16, _BLOCK_ELEMENTS // max(num_rows, 1)))


def _auroc_of_label(scores: Float, labels: Float, draws: PatientDraws) -> Float:
    is_positive, is_negative = labels == 1, labels == 0
    has_fewer_positives = is_positive.sum() <= is_negative.sum()
    few, many = (is_positive, is_negative) if has_fewer_positives else (is_negative, is_positive)
    if not few.any():
        return np.full(draws.num_draws, np.nan)
    order = _place(scores[few], draws.patient[few], scores[many], draws.patient[many], draws.counts.shape[0])
    parts = []
    for counts in _blocks(draws, order.gaps.shape[0]):
        weight = order.groups @ counts  # (G, r)
        gaps = order.gaps @ counts  # (2G + 1, r)
        below = np.cumsum(gaps, axis=0)[:-1:2] + gaps[1::2] / 2  # (G, r) weight below, half the ties
        parts.append(ratio((weight * below).sum(axis=0), weight.sum(axis=0) * gaps.sum(axis=0)))
    share = np.concatenate(parts)
    return share if has_fewer_positives else 1 - share


def auroc(scores: ArrayLike, labels: ArrayLike, draws: PatientDraws) -> Float:
    """Area under the ROC curve with midranks: the chance that a positive scores above a negative, ties half.

    Args:
        scores: (N, L) any monotone score.
        labels: (N, L) 1 / 0 / NaN = unknown.
        draws: patient draws over the N samples.

    Returns:
        (R, L); NaN where a draw lacks positives or negatives.

    Raises:
        ModelError: a score is not finite.

    Source: Hanley and McNeil 1982; weights as in scikit-learn's ``roc_auc_score(sample_weight=...)``.
    """
    score_array, label_array = _checked(scores, labels)
    columns = [_auroc_of_label(score_array[:, k], label_array[:, k], draws) for k in range(label_array.shape[1])]
    return np.stack(columns, axis=1)


def _auprc_of_label(scores: Float, labels: Float, draws: PatientDraws) -> Float:
    positive, negative = labels == 1, labels == 0
    if not positive.any():
        return np.full(draws.num_draws, np.nan)
    num_patients = draws.counts.shape[0]
    order = _place(scores[positive], draws.patient[positive], scores[negative], draws.patient[negative], num_patients)
    parts = []
    for counts in _blocks(draws, order.gaps.shape[0]):
        hits = order.groups @ counts  # (G, r)
        gaps = order.gaps @ counts  # (2G + 1, r)
        true_positives = np.cumsum(hits[::-1], axis=0)[::-1]
        false_positives = np.cumsum(gaps[::-1], axis=0)[::-1][1::2]
        # where nothing was drawn at or above a score there is nothing to add either
        precision = ratio(true_positives, np.maximum(true_positives + false_positives, np.finfo(float).tiny))
        parts.append(ratio((hits * precision).sum(axis=0), hits.sum(axis=0)))
    return np.concatenate(parts)


def auprc(scores: ArrayLike, labels: ArrayLike, draws: PatientDraws) -> Float:
    """Average precision: precision at every distinct score, weighted by the recall it adds; shapes as ``auroc``.

    Returns:
        (R, L); NaN where a draw lacks positives.

    Raises:
        ModelError: a score is not finite.

    Source: scikit-learn's ``average_precision_score`` (no interpolation).
    """
    score_array, label_array = _checked(scores, labels)
    columns = [_auprc_of_label(score_array[:, k], label_array[:, k], draws) for k in range(label_array.shape[1])]
    return np.stack(columns, axis=1)


def f1(predicted: ArrayLike, labels: ArrayLike, draws: PatientDraws) -> Float:
    """F1 of yes/no predictions (N, L): 2 TP / (2 TP + FP + FN).

    Returns:
        (R, L); NaN where a draw lacks positives (scikit-learn would say 0), 0 where positives exist and none is found.
    """
    chosen, truth = np.asarray(predicted, np.float64), np.asarray(labels, np.float64)
    known = ~np.isnan(truth)
    truth = np.where(known, truth, 0.0)
    chosen = chosen * known
    positives = draws.weighted_sum(truth)
    total = np.where(positives > 0, positives + draws.weighted_sum(chosen), 0.0)
    return ratio(2 * draws.weighted_sum(chosen * truth), total)


def brier(probabilities: ArrayLike, labels: ArrayLike, draws: PatientDraws) -> Float:
    """Brier score: mean squared difference of probability and truth over the known labels; (N, L) to (R, L)."""
    probability_array, label_array = _checked(probabilities, labels)
    return draws.weighted_mean((probability_array - label_array) ** 2)


def auroc_points(scores: ArrayLike, labels: ArrayLike) -> Float:
    """AUROC of the samples as they are, no draws: (N, C) to (C,), fast enough for every epoch of every head.

    NaN where a column lacks a class.

    Raises:
        ModelError: a score is not finite.
    """
    score_array, label_array = _checked(scores, labels)
    values = np.full(score_array.shape[1], np.nan)
    for k in range(score_array.shape[1]):
        positives = np.sort(score_array[label_array[:, k] == 1, k])
        negatives = np.sort(score_array[label_array[:, k] == 0, k])
        if len(positives) and len(negatives):
            below = np.searchsorted(negatives, positives, "left").sum()
            not_above = np.searchsorted(negatives, positives, "right").sum()
            values[k] = (below + not_above) / 2 / (len(positives) * len(negatives))
    return values


def best_f1_thresholds(scores: ArrayLike, labels: ArrayLike) -> Float:
    """Per label the threshold (predict when score >= threshold) of highest F1, to be found on validation data.

    Args:
        scores: (N, L) probabilities.
        labels: (N, L) 1 / 0 / NaN.

    Returns:
        (L,) halfway between two neighbouring scores (so that rounding decides nothing), the highest such threshold
        among equals; 0.5 for a label without positives, where nothing can be tuned.

    Raises:
        ModelError: a score is not finite.
    """
    score_array, label_array = _checked(scores, labels)
    thresholds = np.full(score_array.shape[1], 0.5)
    for k in range(score_array.shape[1]):
        known = ~np.isnan(label_array[:, k])
        descending = np.argsort(-score_array[known, k], kind="stable")
        ordered, truth = score_array[known, k][descending], label_array[known, k][descending]
        if truth.sum() == 0:
            continue
        ends = np.flatnonzero(np.append(np.diff(ordered) != 0, True))  # last sample of every distinct score
        values = 2 * np.cumsum(truth)[ends] / (ends + 1 + truth.sum())
        best = int(np.argmax(values))
        below = ordered[ends[best] + 1] if best + 1 < len(ends) else ordered[ends[best]]
        thresholds[k] = (ordered[ends[best]] + below) / 2
    return thresholds
