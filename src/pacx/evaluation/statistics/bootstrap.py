"""How sure: patient-level bootstrap, intervals, macro averages and paired differences.

Two films of one patient are not two observations, so whole patients are drawn. A draw is never a copied data set: it is
a column of counts, how often each patient was drawn, and a metric is computed under those counts as weights, for all
draws at once (``metrics.py``). Column 0 counts everybody once: the test set itself, hence the reported value.
Two encoders compared on the same columns are a paired comparison.

Refuses to hide anything: a label that cannot be scored is named, never averaged away in silence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.special import ndtri
from scipy.stats import t as student

from pacx.core.errors import DataError, UsageError
from pacx.core.randomness import generator
from pacx.evaluation.results import ResultRow, Subject, difference_metric
from pacx.evaluation.settings import NUM_DRAWS

Float = NDArray[np.float64]
UNIT_METRICS = frozenset(
    {
        *("auroc", "auprc", "f1", "f1_tuned", "brier", "ece", "sensitivity_at_90_specificity"),
        *("iou", "dice", "iou_pooled", "dice_pooled", "both_empty_fraction"),
    }
)
"""Scores between 0 and 1."""


@dataclass(frozen=True, kw_only=True)
class PatientDraws:
    """Bootstrap draws of patients, as counts.

    Args:
        patient: int (N,), which patient (0 .. P-1) each sample belongs to.
        counts: (P, R), how often draw r holds patient p; column 0 is the test set itself (all ones).
    """

    patient: NDArray[np.int64]
    counts: NDArray[np.generic]

    @property
    def num_draws(self) -> int:
        """R, the test set itself included."""
        return self.counts.shape[1]

    def weighted_sum(self, values: ArrayLike) -> Float:
        """Sum over the samples of every draw: values (N, K) to (R, K), linear in the counts."""
        array = np.asarray(values, np.float64)
        members = sparse.csr_array(
            (np.ones(len(self.patient)), (self.patient, np.arange(len(self.patient)))),
            shape=(self.counts.shape[0], len(self.patient)),
        )
        per_patient = members @ array  # (P, K)
        return np.concatenate([block.T @ per_patient for block in self.blocks(512)])  # (R, K)

    def weighted_mean(self, values: ArrayLike) -> Float:
        """Mean over the samples of every draw: values (N, K) to (R, K); NaN values are left out."""
        array = np.asarray(values, np.float64)
        known = ~np.isnan(array)
        return ratio(self.weighted_sum(np.where(known, array, 0.0)), self.weighted_sum(known))

    def blocks(self, size: int) -> list[Float]:
        """The counts as float64 in pieces of at most ``size`` draws, each (P, <= size), to bound memory."""
        starts = range(0, self.num_draws, size)
        return [np.ascontiguousarray(self.counts[:, start : start + size], np.float64) for start in starts]


class Interval(NamedTuple):
    """An estimate and the ends of its percentile interval; NaN = undefined."""

    value: float
    low: float
    high: float


def ratio(numerator: ArrayLike, denominator: ArrayLike) -> Float:
    """Elementwise division in which a zero denominator gives NaN, quietly."""
    top, bottom = np.broadcast_arrays(np.asarray(numerator, np.float64), np.asarray(denominator, np.float64))
    return np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom != 0)


def patient_bootstrap(
    patient_ids: Sequence[str] | NDArray[np.generic], *, num_draws: int = NUM_DRAWS, seed: int
) -> PatientDraws:
    """Draw whole patients with replacement, as many as there are, ``num_draws`` times.

    Args:
        patient_ids: (N,) one id per sample; samples of one id always travel together.
        num_draws: bootstrap draws beside the test set itself.
        seed: the same seed and patients give the same draws, whatever is measured on them.

    Raises:
        DataError: there is no sample.

    Source: cluster bootstrap, Davison and Hinkley 1997, section 3.8 (resample the clusters, keep their content).
    """
    if len(patient_ids) == 0:
        raise DataError("the test split is empty, expected at least one patient; check the pack's split column")
    patients, patient = np.unique(np.asarray(patient_ids).astype(str), return_inverse=True)
    num_patients = len(patients)
    random = generator(seed, "patient-bootstrap", num_patients)
    counts = np.ones((num_patients, num_draws + 1), np.uint16)
    for draw in range(1, num_draws + 1):
        counts[:, draw] = np.bincount(random.integers(num_patients, size=num_patients), minlength=num_patients)
    return PatientDraws(patient=patient.astype(np.int64), counts=counts)


def interval(draws: Float, *, level: float = 0.95) -> Interval:
    """Value and percentile interval of one statistic over draws (R,), whose element 0 is the test set itself.

    Draws in which the statistic is undefined (a rare label without a positive) are left out; if it is undefined on the
    test set itself there is no value and no interval.
    """
    value, defined = float(draws[0]), draws[1:][~np.isnan(draws[1:])]
    if np.isnan(value) or len(defined) == 0:
        return Interval(value, np.nan, np.nan)
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


def mean_over_seeds(values: Float, *, seed: int) -> Float:
    """Mean over training seeds with the seeds drawn anew in every draw: (S, R, K) to (R, K).

    Patients and seeds are resampled together, so the interval holds for another test set *and* another training
    subset or initialisation; draw 0 keeps every seed once. With one seed this is the patient bootstrap. The seeds of a
    draw depend on (seed, S, R) only, hence are the same for two encoders: their difference stays paired.

    A plain bootstrap of three or five seeds is too sure of itself (95 % intervals that hold 75 % and 83 % of the time,
    ``docs/experiments.md``): its variance lacks the factor S / (S - 1), and so few seeds call for Student's quantile
    with S - 1 degrees of freedom. Deviations from the mean over seeds are stretched by both, which errs on the wide
    side where patients matter more than seeds do.
    """
    num_seeds, num_draws = values.shape[:2]
    random = generator(seed, "seed-bootstrap", num_seeds)
    weights = random.multinomial(num_seeds, np.full(num_seeds, 1 / num_seeds), size=num_draws) / num_seeds  # (R, S)
    weights = 1 / num_seeds + _seed_stretch(num_seeds) * (weights - 1 / num_seeds)
    weights[0] = 1 / num_seeds
    # a draw without positives is NaN for every seed; multiply and sum so that it stays NaN
    return np.einsum("srk,rs->rk", values, weights)


def _seed_stretch(num_seeds: int) -> float:
    """By how much a bootstrap of so few seeds is widened; 1 for a single one, of whose spread nothing is known."""
    if num_seeds == 1:
        return 1.0
    quantile = student.ppf(0.975, num_seeds - 1) / ndtri(0.975)
    return float(np.sqrt(num_seeds / (num_seeds - 1)) * quantile)


def evaluable_labels(labels: ArrayLike) -> NDArray[np.bool_]:
    """Which labels can be scored at all: (N, L) of 1 / 0 / NaN to (L,), True where both classes occur."""
    array = np.asarray(labels)
    return np.asarray((array == 1).any(axis=0) & (array == 0).any(axis=0))


@dataclass(frozen=True, kw_only=True)
class MacroAverage:
    """A mean over labels that says which labels it could not include.

    Args:
        draws: (R,) the mean per draw.
        undefined: names of the labels left out because the test set lacks positives or negatives of them.
        num_labels: how many labels were averaged.
    """

    draws: Float
    undefined: tuple[str, ...]
    num_labels: int

    @property
    def remark(self) -> str:
        """What was left out, in words; empty when nothing was."""
        if not self.undefined:
            return ""
        names = ", ".join(self.undefined)
        return f"macro over {self.num_labels} labels; not evaluable on this test set: {names}"


def macro_average(draws: Float, labels: ArrayLike, label_names: Sequence[str]) -> MacroAverage:
    """Average (R, L) over the labels that the test set can score; per draw, over those defined in it.

    Args:
        draws: (R, L) metric per draw and label; NaN = the draw lacks a class of that label.
        labels: (N, L) the test labels, 1 / 0 / NaN, which decide what is evaluable.
        label_names: the L names.
    """
    usable = evaluable_labels(labels)
    kept = draws[:, usable]
    defined = ~np.isnan(kept)
    mean = ratio(np.where(defined, kept, 0.0).sum(axis=1), defined.sum(axis=1))
    missing = tuple(name for name, is_usable in zip(label_names, usable, strict=True) if not is_usable)
    return MacroAverage(draws=mean, undefined=missing, num_labels=int(usable.sum()))


class Column(NamedTuple):
    """Draws of one metric, (R, ...), of one encoder or of the paired difference to another, ``contrast``."""

    encoder: str
    metric: str
    draws: Float
    contrast: str = ""


def with_differences(draws: Mapping[str, Float], metric: str, baseline: str | None) -> list[Column]:
    """Every encoder's draws and, after them, every encoder minus the baseline over the same draws.

    The mean over labels of a difference is the difference of the means, because what is undefined in a draw depends on
    its labels only and so is undefined for both.

    Args:
        draws: per encoder name (R, ...), all from the same ``PatientDraws``.
        metric: the metric's name.
        baseline: the encoder that the others are compared with; None = no differences.

    Raises:
        UsageError: the baseline is not among the encoders.
    """
    if baseline is not None and baseline not in draws:
        raise UsageError(f"baseline '{baseline}' is not among the encoders {sorted(draws)}; name one of them")
    columns = [Column(name, metric, values) for name, values in draws.items()]
    if baseline is not None:
        columns += [
            Column(name, difference_metric(metric), values - draws[baseline], baseline)
            for name, values in draws.items()
            if name != baseline
        ]
    return columns


@dataclass(frozen=True, kw_only=True)
class RowMaker:
    """Turns draws into result rows; holds what all rows of one protocol run have in common; see ``Comparison``."""

    protocol: str
    dataset: str
    seed: int
    provenance: str
    device: str = ""
    subjects: Mapping[str, Subject] = field(default_factory=dict)
    num_trainings: int = 0
    drawn_by: str = ""

    def subject(self, name: str) -> Subject:
        """What the encoder of this name is."""
        return self.subjects.get(name, Subject(encoder=name))

    def row(
        self,
        column: Column,
        draws: Float,
        *,
        label: str,
        n: int,
        fraction: float = 1.0,
        remark: str = "",
        subgroup: str = "",
    ) -> ResultRow:
        """One statistic over draws (R,), belonging to ``column``, as a row with its percentile interval.

        The interval of a metric that lies between 0 and 1 ends there, however far few seeds stretch it.
        """
        subject = self.subject(column.encoder)
        estimate = interval(np.clip(draws, 0.0, 1.0) if column.metric in UNIT_METRICS else draws)
        return ResultRow(
            protocol=self.protocol,
            dataset=self.dataset,
            encoder=subject.encoder,
            label=label,
            metric=column.metric,
            value=estimate.value,
            ci_low=estimate.low,
            ci_high=estimate.high,
            n=n,
            seed=self.seed,
            fraction=fraction,
            provenance="; ".join(part for part in (self.provenance, remark) if part),
            subgroup=subgroup,
            pooling=subject.pooling,
            condition=subject.condition,
            contrast=str(self.subject(column.contrast)) if column.contrast else "",
            num_trainings=self.num_trainings,
            device=self.device,
            drawn_by=self.drawn_by,
        )
