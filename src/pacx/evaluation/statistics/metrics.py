"""AUROC, AUPRC, sensitivity, F1, Brier score and calibration error for all labels and all bootstrap draws at once.

Each function takes scores and labels (N, L) and a set of patient draws, and returns (R, L): row 0 is the test set
itself. A weighted AUROC needs the weight of one class below each score of the other: the scores are sorted once, the
samples of the larger class are put into the gaps between (and on) the distinct scores of the smaller class, and each
draw is then one sparse product and a cumulative sum.

An unknown label (NaN) takes part in nothing. Undefined is NaN, never 0 or 1: no positives, or no negatives (AUROC).
Refuses scores that are not finite.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from pacx.core.errors import ModelError
from pacx.evaluation.statistics.bootstrap import Float, PatientDraws, ratio

SPECIFICITY = 0.9
"""The operating point of ``sensitivity_at_specificity``."""
NUM_BINS = 15
"""Bins of the calibration error (Guo et al. 2017)."""
_BLOCK_ELEMENTS = 8_000_000
_ROUNDING = 1e-9


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


def _auroc_within_of_label(
    scores: Float, labels: Float, strata: NDArray[np.int64], num_strata: int, draws: PatientDraws
) -> Float:
    is_positive, is_negative = labels == 1, labels == 0
    has_fewer_positives = is_positive.sum() <= is_negative.sum()
    few, many = (is_positive, is_negative) if has_fewer_positives else (is_negative, is_positive)
    if not few.any():
        return np.full(draws.num_draws, np.nan)
    distinct, rank = np.unique(scores, return_inverse=True)
    place = (strata * len(distinct) + rank).astype(np.float64)  # stratum by stratum, each from its lowest score on
    num_patients = draws.counts.shape[0]
    order = _place(place[few], draws.patient[few], place[many], draws.patient[many], num_patients)
    belongs = np.unique(place[few]).astype(np.int64) // len(distinct)  # (G,) the stratum of each score
    few_of, many_of = (
        sparse.csr_array((np.ones(part.sum()), (strata[part], draws.patient[part])), shape=(num_strata, num_patients))
        for part in (few, many)
    )
    parts = []
    for counts in _blocks(draws, order.gaps.shape[0]):
        gaps, members = order.gaps @ counts, many_of @ counts  # (2G + 1, r), (S, r)
        before = np.cumsum(members, axis=0) - members  # (S, r) the other class in earlier strata
        below = np.cumsum(gaps, axis=0)[:-1:2] + gaps[1::2] / 2 - before[belongs]
        ordered = ((order.groups @ counts) * below).sum(axis=0)
        parts.append(ratio(ordered, ((few_of @ counts) * members).sum(axis=0)))
    share = np.concatenate(parts)
    return share if has_fewer_positives else 1 - share


def auroc_within(scores: ArrayLike, labels: ArrayLike, strata: ArrayLike, draws: PatientDraws) -> Float:
    """AUROC among samples that are alike: the chance that a positive scores above a negative *of its own stratum*.

    What the stratum itself tells of the label is worth nothing here: scores that only know the stratum have 0.5.

    Args:
        scores: (N, L) any monotone score.
        labels: (N, L) 1 / 0 / NaN = unknown.
        strata: (N,) what the samples of a stratum have in common, such as the tenth of how ill their patients are.
        draws: patient draws over the N samples.

    Returns:
        (R, L): the mean over strata of their AUROC, each weighted by its pairs of a positive and a negative in the
        draw. A stratum that lacks a class has no pairs, hence no weight; NaN where no stratum has both.

    Raises:
        ModelError: a score is not finite.
        ValueError: strata are not one per sample.

    Source: the stratified Mann-Whitney statistic (van Elteren 1960) with pairs as weights; compare the
    covariate-adjusted AUROC of Janes and Pepe 2009.
    """
    score_array, label_array = _checked(scores, labels)
    names, stratum = np.unique(np.asarray(strata), return_inverse=True)
    if stratum.shape != (len(score_array),):
        raise ValueError(f"strata {np.shape(strata)} must be one per sample of scores {score_array.shape}")
    columns = [
        _auroc_within_of_label(score_array[:, k], label_array[:, k], stratum, len(names), draws)
        for k in range(label_array.shape[1])
    ]
    return np.stack(columns, axis=1)


def _drawn(
    scores: Float, positive: NDArray[np.bool_], negative: NDArray[np.bool_], draws: PatientDraws
) -> Iterator[tuple[Float, Float]]:
    """Positives per distinct score of theirs (G, r), negatives among those scores (2G + 1, r), some draws at a time."""
    num_patients = draws.counts.shape[0]
    order = _place(scores[positive], draws.patient[positive], scores[negative], draws.patient[negative], num_patients)
    for counts in _blocks(draws, order.gaps.shape[0]):
        yield order.groups @ counts, order.gaps @ counts


def _auprc_of_label(scores: Float, labels: Float, draws: PatientDraws) -> Float:
    positive, negative = labels == 1, labels == 0
    if not positive.any():
        return np.full(draws.num_draws, np.nan)
    parts = []
    for hits, gaps in _drawn(scores, positive, negative, draws):
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


def _sensitivity_of_label(scores: Float, labels: Float, draws: PatientDraws) -> Float:
    positive, negative = labels == 1, labels == 0
    if not (positive.any() and negative.any()):
        return np.full(draws.num_draws, np.nan)
    parts = []
    for hits, gaps in _drawn(scores, positive, negative, draws):
        num_negatives = gaps.sum(axis=0)
        false_alarms = np.cumsum(gaps[::-1], axis=0)[::-1][1::2]  # negatives at or above each positive score
        is_allowed = false_alarms <= (1 - SPECIFICITY + _ROUNDING) * num_negatives
        found = ratio((hits * is_allowed).sum(axis=0), hits.sum(axis=0))
        parts.append(np.where(num_negatives > 0, found, np.nan))
    return np.concatenate(parts)


def sensitivity_at_specificity(scores: ArrayLike, labels: ArrayLike, draws: PatientDraws) -> Float:
    """The highest sensitivity that a threshold can have at a specificity of at least 90 %; shapes as ``auroc``.

    A threshold t says yes to scores >= t, so tied scores fall together; there is no interpolation between thresholds
    and no positive need be found (0). The threshold is chosen on the very samples that are scored, anew in every draw:
    this is a point of the ROC curve, not a promise for a fixed threshold.

    Returns:
        (R, L); NaN where a draw lacks positives or negatives.

    Raises:
        ModelError: a score is not finite.

    Source: largest ``tpr`` with ``fpr <= 0.1`` of scikit-learn's ``roc_curve(drop_intermediate=False)``.
    """
    score_array, label_array = _checked(scores, labels)
    columns = [_sensitivity_of_label(score_array[:, k], label_array[:, k], draws) for k in range(label_array.shape[1])]
    return np.stack(columns, axis=1)


def calibration_error(probabilities: ArrayLike, labels: ArrayLike, draws: PatientDraws) -> Float:
    """Expected calibration error (ECE) of each label's probability, in [0, 1]; (N, L) to (R, L).

    Fifteen bins of equal width over [0, 1], closed below and open above but for the last; per bin the absolute
    difference of mean probability and share of positives, weighted by the bin's share of the samples. A label so rare
    that every probability falls into the first bin is measured there as a whole (calibration in the large).

    Returns:
        (R, L); NaN where a draw has no known label. A class of a multiclass problem counts as one label (classwise).

    Raises:
        ModelError: a score is not finite.
        ValueError: a score is no probability.

    Source: Guo et al. 2017, "On calibration of modern neural networks", section 2, for the probability of the positive
    class instead of the predicted one; unlike their bins these are closed below, so that 0 has a bin.
    """
    probability_array, label_array = _checked(probabilities, labels)
    if probability_array.size and (probability_array.min() < 0 or probability_array.max() > 1):
        raise ValueError("calibration is defined for probabilities in [0, 1]")
    bins = np.minimum((probability_array * NUM_BINS).astype(np.int64), NUM_BINS - 1)  # (N, L)
    known = ~np.isnan(label_array)
    excess = np.where(known, probability_array - label_array, 0.0)
    errors = np.zeros((draws.num_draws, label_array.shape[1]))
    for number in range(NUM_BINS):
        errors += np.abs(draws.weighted_sum(np.where(bins == number, excess, 0.0)))
    return ratio(errors, draws.weighted_sum(known))


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
    """AUROC of the samples as they are, no draws, fast enough for every epoch of every head.

    Args:
        scores: (N, C), C = H * L, head by head.
        labels: (N, L) 1 / 0 / NaN, the same for every head.

    Returns:
        (C,); NaN where a label lacks a class.

    Raises:
        ModelError: a score is not finite.
    """
    columns = np.ascontiguousarray(np.asarray(scores).T)  # (C, N); kept in their own precision, they are only compared
    truth = np.asarray(labels)
    if not np.isfinite(columns).all():
        _checked(columns, columns)
    values = np.full(len(columns), np.nan)
    for k in range(truth.shape[1]):
        is_positive, is_negative = truth[:, k] == 1, truth[:, k] == 0
        if not (is_positive.any() and is_negative.any()):
            continue
        for column in range(k, len(columns), truth.shape[1]):
            positives, negatives = np.sort(columns[column, is_positive]), np.sort(columns[column, is_negative])
            few, many = sorted((positives, negatives), key=len)
            below = np.searchsorted(many, few, "left").sum() + np.searchsorted(many, few, "right").sum()
            share = below / 2 / (len(positives) * len(negatives))  # of pairs in which ``few`` is above
            values[column] = share if few is positives else 1 - share
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
