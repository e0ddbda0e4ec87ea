"""What the probe protocols have in common: a dataset's labels and splits, scored heads, and their rows.

Embeddings come in per encoder, labels and splits once per dataset; all encoders are scored under the same patient draws
and seeds, so every difference is paired. Refuses empty splits and arrays that do not fit each other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from pacx.core.errors import DataError, UsageError
from pacx.data.dataset import Task, task_of
from pacx.data.packs.pack import BY_PATIENT, Pack
from pacx.evaluation.probes.linear_heads import LabelledFeatures, LinearHeads
from pacx.evaluation.results import MACRO, ResultRow
from pacx.evaluation.statistics.bootstrap import (
    Column,
    Float,
    PatientDraws,
    RowMaker,
    macro_average,
    mean_over_seeds,
    with_differences,
)
from pacx.evaluation.statistics.delong import MIN_PATIENTS, P_VALUE, P_VALUE_HOLM, compare_areas, holm
from pacx.evaluation.statistics.metrics import (
    auprc,
    auroc,
    auroc_points,
    best_f1_thresholds,
    brier,
    calibration_error,
    f1,
    sensitivity_at_specificity,
)


@dataclass(frozen=True, kw_only=True)
class ClassificationData:
    """Labels, patients and splits of one dataset; row i is image i of its pack.

    Args:
        dataset: the name that result rows carry.
        label_names: the L names.
        labels: float32 (N, L) 1 / 0 / NaN = unknown.
        patient_ids: (N,).
        keys: uint64 (N,) from ``core.randomness.sample_keys``.
        training: int64 rows of the training split; likewise ``validation`` and ``test``.
        is_multiclass: exactly one label per image is 1.
        drawn_by: what a bootstrap draws, as ``Pack.drawn_by`` says it.

    Raises:
        DataError: a split is empty, there is no label, the arrays have different lengths, or a film whose class is
            known has not exactly one.

    Example:
        >>> from pacx.data import Pack
        >>> from pacx.evaluation import ClassificationData
        >>> pack = Pack.open("packs/films")
        >>> data = ClassificationData.from_pack(pack, dataset="films", label_names=["pleural_effusion"])
        >>> data.labels.shape == (len(pack), 1)
        True
    """

    dataset: str
    label_names: tuple[str, ...]
    labels: NDArray[np.float32]
    patient_ids: NDArray[np.object_]
    keys: NDArray[np.uint64]
    training: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]
    is_multiclass: bool = False
    drawn_by: str = BY_PATIENT

    def __post_init__(self) -> None:
        if not self.label_names:
            raise DataError(f"{self.dataset} has no labels; a probe needs at least one label column")
        for name in ("training", "validation", "test"):
            if len(getattr(self, name)) == 0:
                raise DataError(f"{self.dataset} has no {name} images; assign splits before a probe is run")
        expected = (len(self.keys), len(self.label_names))
        if self.labels.shape != expected or len(self.patient_ids) != len(self.keys):
            raise DataError(
                f"{self.dataset}: labels {self.labels.shape} and {len(self.patient_ids)} patient ids, expected "
                f"{expected} and {expected[0]}"
            )

        if self.is_multiclass:
            wrong = int((np.isfinite(self.labels).all(axis=1) & (self.labels.sum(axis=1) != 1)).sum())
            if wrong:
                raise DataError(f"{wrong} films of {self.dataset} have another number of classes than one")

    @classmethod
    def from_pack(
        cls,
        pack: Pack,
        *,
        dataset: str,
        label_names: Sequence[str] | None = None,
        is_multiclass: bool | None = None,
    ) -> "ClassificationData":
        """Take labels, patients and splits from a pack.

        Args:
            pack: the pack.
            dataset: the name that result rows carry.
            label_names: the labels to take, in this order; None = all of them.
            is_multiclass: exactly one of them is 1; None = as the dataset's card says.

        Raises:
            DataError: the pack lacks a label; or as the class.
        """
        names = tuple(pack.label_names if label_names is None else label_names)
        missing = [name for name in names if name not in pack.label_names]
        if missing:
            raise DataError(f"{dataset} has no labels {missing}; it has {list(pack.label_names)}")
        if is_multiclass is None:
            is_multiclass = task_of(pack) is Task.MULTICLASS
        return cls(
            dataset=dataset,
            label_names=names,
            labels=pack.labels[:, [pack.label_names.index(name) for name in names]],
            patient_ids=pack.patient_ids,
            keys=pack.keys,
            training=pack.rows("train"),
            validation=pack.rows("val"),
            test=pack.rows("test"),
            is_multiclass=is_multiclass,
            drawn_by=pack.drawn_by,
        )

    def part(
        self,
        features: NDArray[np.float32],
        rows: NDArray[np.int64],
        *,
        mirrored: NDArray[np.float32] | None = None,
    ) -> LabelledFeatures:
        """Features (N, D) of the whole pack, cut to the given rows, with their labels; likewise of mirrored films.

        Raises:
            ModelError: an embedding is not finite.
            DataError: the features are not those of this pack.
        """
        for array in (features, mirrored):
            if array is not None and len(array) != len(self.keys):
                raise DataError(
                    f"{len(array)} embeddings for {len(self.keys)} images of {self.dataset}; embed the whole pack"
                )
        return LabelledFeatures(
            features=features[rows],
            labels=self.labels[rows],
            keys=self.keys[rows],
            mirrored=None if mirrored is None else mirrored[rows],
        )


@dataclass(frozen=True, kw_only=True)
class ClassificationScores:
    """Metrics of S heads over R draws and L labels, each (S, R, L), and what they were made from.

    ``f1`` uses probability 0.5 (multiclass: the most probable class), as the paper's column; ``f1_tuned`` uses each
    head's threshold of best F1 on the validation split. ``ece`` is the ``calibration_error``.
    ``probabilities`` (S, N, L) are those of the test split.
    """

    auroc: Float
    auprc: Float
    f1: Float
    f1_tuned: Float
    brier: Float
    ece: Float
    sensitivity_at_90_specificity: Float
    probabilities: Float

    @classmethod
    def metrics(cls) -> tuple[str, ...]:
        """The names of the metrics, as result rows carry them."""
        return tuple(field.name for field in fields(cls) if field.name != "probabilities")

    def select(self, heads: Sequence[int]) -> "ClassificationScores":
        """The same metrics of some of the heads."""
        return ClassificationScores(**{field.name: getattr(self, field.name)[list(heads)] for field in fields(self)})


def score_heads(
    heads: LinearHeads, data: ClassificationData, features: NDArray[np.float32], draws: PatientDraws
) -> ClassificationScores:
    """Score every linear head on the test split under every draw.

    Args:
        heads: H trained heads.
        data: labels and splits.
        features: float32 (N, D) of the whole pack.
        draws: patient draws over the test split's images.

    Raises:
        ModelError: an embedding is not finite; an infinite one would look like certainty.
    """
    validation, test = (
        heads.probabilities(data.part(features, rows).features) for rows in (data.validation, data.test)
    )
    return score_probabilities(validation, test, data, draws)


def score_probabilities(
    validation: Float, test: Float, data: ClassificationData, draws: PatientDraws
) -> ClassificationScores:
    """Score any classifier by what it said of the validation and test splits, each (H, N, L), under every draw."""
    truth = data.labels[data.test]
    results: dict[str, list[Float]] = {name: [] for name in ClassificationScores.metrics()}
    for tuning, scores in zip(validation, test, strict=True):
        if data.is_multiclass:
            predicted = scores.argmax(axis=1)[:, None] == np.arange(scores.shape[1])
        else:
            predicted = scores >= 0.5
        thresholds = best_f1_thresholds(tuning, data.labels[data.validation])
        results["auroc"].append(auroc(scores, truth, draws))
        results["auprc"].append(auprc(scores, truth, draws))
        results["f1"].append(f1(predicted, truth, draws))
        results["f1_tuned"].append(f1(scores >= thresholds, truth, draws))
        results["brier"].append(brier(scores, truth, draws))
        results["ece"].append(calibration_error(scores, truth, draws))
        results["sensitivity_at_90_specificity"].append(sensitivity_at_specificity(scores, truth, draws))
    return ClassificationScores(probabilities=test, **{name: np.stack(values) for name, values in results.items()})


def label_column(names: Sequence[str], label: str, where: str) -> int:
    """The number of a label.

    Raises:
        UsageError: there is none of that name; ``where`` is what lacks it.
    """
    if label not in names:
        raise UsageError(f"{where} has no label '{label}'; its labels are {', '.join(names) or 'none'}")
    return list(names).index(label)


def best_on_validation(probabilities: Float, data: ClassificationData) -> int:
    """Which of K settings, each (N, L) probabilities of the validation split, has the highest macro AUROC.

    Raises:
        DataError: no validation label has both classes.
    """
    labels = data.labels[data.validation]
    areas = np.stack([auroc_points(setting, labels) for setting in probabilities])  # (K, L)
    if np.isnan(areas).all():
        raise DataError(
            f"no label of the validation split of {data.dataset} has both a positive and a negative, so nothing can be "
            "chosen by AUROC; check the pack's split column and labels"
        )
    return int(np.argmax(np.nanmean(areas, axis=1)))


def classification_rows(
    maker: RowMaker,
    data: ClassificationData,
    scores: Mapping[str, ClassificationScores],
    *,
    baseline: str | None,
    fraction: float,
) -> list[ResultRow]:
    """Rows of all encoders at one label fraction, then the paired differences to the baseline.

    Values are means over the heads (seeds); intervals resample patients and seeds together (``mean_over_seeds``). A
    label that the test set cannot score has a row with an undefined value and is named in the macro row. After them
    stand, without intervals, the p-values of the AUROC differences of single labels (``delong.P_VALUE`` and
    ``delong.P_VALUE_HOLM``).
    """
    if maker.dataset != data.dataset:
        raise ValueError(f"rows are to speak of {maker.dataset}, the data are those of {data.dataset}")
    truth = data.labels[data.test]
    num_known = (~np.isnan(truth)).sum(axis=0)
    rows = []
    for metric in ClassificationScores.metrics():
        pooled = {name: mean_over_seeds(getattr(score, metric), seed=maker.seed) for name, score in scores.items()}
        for column in with_differences(pooled, metric, baseline):
            macro = macro_average(column.draws, truth, data.label_names)
            rows.append(
                maker.row(column, macro.draws, label=MACRO, n=len(truth), fraction=fraction, remark=macro.remark)
            )
            for k, label in enumerate(data.label_names):
                draws = column.draws[:, k]
                rows.append(maker.row(column, draws, label=label, n=int(num_known[k]), fraction=fraction))
    return rows + _p_value_rows(maker, data, scores, baseline=baseline, fraction=fraction)


def _p_value_rows(
    maker: RowMaker,
    data: ClassificationData,
    scores: Mapping[str, ClassificationScores],
    *,
    baseline: str | None,
    fraction: float,
) -> list[ResultRow]:
    """Per encoder beside the baseline and label: DeLong's p-value, clustered by patient, and Holm's over the labels.

    With few patients of a class the normal approximation takes chance for certainty (p = 1e-11 with a handful of
    positives), so such a label is named and not tested.
    """
    if baseline is None:
        return []
    truth, patient = data.labels[data.test], data.patient_ids[data.test].astype(str)
    num_known = (~np.isnan(truth)).sum(axis=0)
    is_clustered = len(np.unique(patient)) < len(patient)
    test = "DeLong 1988, patients as clusters (Obuchowski 1997)" if is_clustered else "DeLong 1988"
    num_patients = np.array(  # with a positive, or with a negative, whichever are fewer
        [min(len(np.unique(patient[column == value])) for value in (0, 1)) for column in truth.T]
    )
    rows = []
    for name in scores:
        if name == baseline:
            continue
        first, second = scores[name].probabilities, scores[baseline].probabilities  # (S, N, L)
        values = np.array(
            [
                compare_areas(first[..., k], second[..., k], truth[:, k], patient).p_value if is_tested else np.nan
                for k, is_tested in enumerate(num_patients >= MIN_PATIENTS)
            ]
        )
        adjusted = f"{test}, Holm over {int((~np.isnan(values)).sum())} labels"
        for metric, column, remark in ((P_VALUE, values, test), (P_VALUE_HOLM, holm(values), adjusted)):
            named = Column(name, metric, column, baseline)
            for k, label in enumerate(data.label_names):
                few = f"not tested: {num_patients[k]} patients with the rarer class, {MIN_PATIENTS} are needed"
                said = remark if num_patients[k] >= MIN_PATIENTS else few
                rows.append(
                    maker.row(named, column[[k]], label=label, n=int(num_known[k]), fraction=fraction, remark=said)
                )
    return rows
