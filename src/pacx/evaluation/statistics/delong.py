"""Is the difference of two AUROCs on the same test set more than chance? DeLong's test, for patients with many films.

The bootstrap says how large a difference is; this says how surprising it would be if there were none, label by label,
with Holm's adjustment for having asked about many labels. DeLong's test takes every film for an independent
observation. Two films of one patient are not: their parts of the statistic are summed per patient first (Obuchowski),
which is DeLong's test itself where every patient has one film.

The heads of an encoder are taken as they were trained: the p-value speaks of other test patients, not of other seeds.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, rankdata

Float = NDArray[np.float64]
P_VALUE = "auroc_difference_p"
"""Metric of a result row: the p-value of one label's AUROC difference."""
P_VALUE_HOLM = "auroc_difference_p_holm"
"""Metric of a result row: the same after Holm's adjustment over the labels of a dataset."""
MIN_PATIENTS = 10
"""Result rows test a label only with that many patients with a positive film and as many with a negative one."""
_NOTHING = 1e-10


class AreaComparison(NamedTuple):
    """A difference of AUROCs, its standard error, and the two-sided p-value of "no difference"; NaN = undefined."""

    difference: float
    standard_error: float
    p_value: float


def _placements(scores: Float, is_positive: NDArray[np.bool_]) -> tuple[Float, Float]:
    """Structural components by midranks, mean over heads.

    Per positive (m,) the share of negatives below it, per negative (n,) the share of positives above it, ties half:
    both average to the AUROC. Source: Sun and Xu 2014, equations 5 and 6.
    """
    positives, negatives = scores[:, is_positive], scores[:, ~is_positive]  # (S, m), (S, n)
    ranks = rankdata(scores, axis=1)
    num_positives, num_negatives = positives.shape[1], negatives.shape[1]
    below = (ranks[:, is_positive] - rankdata(positives, axis=1)) / num_negatives
    above = 1 - (ranks[:, ~is_positive] - rankdata(negatives, axis=1)) / num_positives
    return below.mean(axis=0), above.mean(axis=0)


def compare_areas(first: ArrayLike, second: ArrayLike, labels: ArrayLike, patient: ArrayLike) -> AreaComparison:
    """Test whether two encoders have the same AUROC of one label.

    Args:
        first: (S, N) scores of the S heads of one encoder; the areas are means over the heads, as in the result rows.
        second: (S, N) scores of the other on the same samples.
        labels: (N,) 1 / 0 / NaN = unknown, which are left out.
        patient: (N,) which patient each sample belongs to.

    Returns:
        All NaN where a class is missing. Without a standard error (fewer than two patients with either class) there is
        no p-value; nor where it is 0 although the areas differ. Two encoders that rank alike have p = 1.

    Source: DeLong, DeLong and Clarke-Pearson 1988; patients as clusters, Obuchowski 1997, "Nonparametric analysis of
    clustered ROC curve data", section 3.
    """
    truth = np.asarray(labels, np.float64)
    known = ~np.isnan(truth)
    is_positive = truth[known] == 1
    num_positives, num_negatives = int(is_positive.sum()), int((~is_positive).sum())
    if num_positives == 0 or num_negatives == 0:
        return AreaComparison(np.nan, np.nan, np.nan)
    scores = [np.asarray(array, np.float64)[:, known] for array in (first, second)]
    (below, above), (other_below, other_above) = (_placements(array, is_positive) for array in scores)
    below, above = below - other_below, above - other_above
    difference = float(below.mean())
    patients, member = np.unique(np.asarray(patient)[known], return_inverse=True)
    # each patient's sum of what their films add to the mean
    of_positives = np.bincount(member[is_positive], below - difference, len(patients))
    of_negatives = np.bincount(member[~is_positive], above - difference, len(patients))
    with_positives, with_negatives = (len(np.unique(member[chosen])) for chosen in (is_positive, ~is_positive))
    if min(with_positives, with_negatives) < 2:
        return AreaComparison(difference, np.nan, np.nan)
    variance = (
        with_positives / (with_positives - 1) * (of_positives**2).sum() / num_positives**2
        + with_negatives / (with_negatives - 1) * (of_negatives**2).sum() / num_negatives**2
        + 2 * len(patients) / (len(patients) - 1) * (of_positives * of_negatives).sum() / num_positives / num_negatives
    )
    error = float(np.sqrt(max(variance, 0.0)))
    if error < _NOTHING:
        return AreaComparison(difference, error, 1.0 if abs(difference) < _NOTHING else np.nan)
    return AreaComparison(difference, error, float(2 * norm.sf(abs(difference) / error)))


def holm(p_values: ArrayLike) -> Float:
    """Holm's adjusted p-values: rejecting those at most 5 % errs anywhere in the family with at most 5 % chance.

    Args:
        p_values: (K,); NaN = not tested, stays NaN and does not count.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    values = np.asarray(p_values, np.float64)
    adjusted = np.full(values.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(values))
    ascending = tested[np.argsort(values[tested], kind="stable")]
    factors = np.arange(len(ascending), 0, -1)
    adjusted[ascending] = np.minimum(np.maximum.accumulate(values[ascending] * factors), 1.0)
    return adjusted
