"""Protocol: alignment. Can the patient's ECG and laboratory embedding be read off the film's embedding?

A ridge regression from the frozen image embedding to each frozen target embedding, fitted on the training split. On the
test split, one film per patient: how much variance it explains, how near its direction comes, and whether the patient's
own profile is found among everybody's. A vector that is the same for all patients and plain chance stand beside it,
because target embeddings share a large common part that a raw cosine rewards. Refuses targets with NaN and splits that
share patients.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pacx.core.errors import DataError, ModelError
from pacx.core.tables.ids import how_they_would_meet
from pacx.data.packs.pack import BY_PATIENT, Pack
from pacx.evaluation.comparison import Comparison
from pacx.evaluation.results import ResultRow
from pacx.evaluation.settings import AlignmentConfig
from pacx.evaluation.statistics.bootstrap import (
    Column,
    Float,
    PatientDraws,
    patient_bootstrap,
    ratio,
    with_differences,
)
from pacx.modalities.targets import FrozenTargets

PROTOCOL = "alignment"
CONSTANT = "constant vector"
CHANCE = "chance"
_RECALL_AT = (1, 5, 10)


@dataclass(frozen=True, kw_only=True)
class AlignmentData:
    """Films with their patients' target embeddings; row i is film i.

    Args:
        dataset: the name that result rows carry.
        targets: per modality float32 (N, T), frozen embeddings.
        patient_ids: (N,).
        training: int64 rows the regression is fitted on.
        test: int64 rows it is judged on; of a patient's films the first counts.
        drawn_by: what a bootstrap draws, as ``Pack.drawn_by`` says it.

    Raises:
        DataError: a split is empty or shares patients with the other, or lengths differ.
        ModelError: a target is not finite.

    Example:
        >>> from pathlib import Path
        >>> from pacx.data import Pack
        >>> from pacx.evaluation import AlignmentData
        >>> from pacx.modalities import open_targets
        >>> targets = open_targets([Path("runs/ecg/targets"), Path("runs/labs/targets")])
        >>> data = AlignmentData.from_pack(Pack.open("packs/triplets"), targets, dataset="triplets")
        >>> {name: array.shape[1] for name, array in data.targets.items()}
        {'ecg': 8, 'labs': 6}
    """

    dataset: str
    targets: Mapping[str, NDArray[np.float32]]
    patient_ids: NDArray[np.object_]
    training: NDArray[np.int64]
    test: NDArray[np.int64]
    drawn_by: str = BY_PATIENT

    def __post_init__(self) -> None:
        if len(self.training) == 0 or len(self.test) == 0:
            raise DataError(f"{self.dataset} has an empty training or test split; assign splits before alignment")
        shared = np.intersect1d(self.patient_ids[self.training].astype(str), self.patient_ids[self.test].astype(str))
        if len(shared):
            raise DataError(
                f"{self.dataset}: {len(shared)} patients are in both training and test, so a profile to be found was "
                "seen before; split by patient"
            )
        for name, target in self.targets.items():
            if len(target) != len(self.patient_ids):
                raise DataError(f"{len(target)} {name} targets for {len(self.patient_ids)} films of {self.dataset}")
            if not np.isfinite(target).all():
                raise ModelError(f"{name} targets of {self.dataset} hold NaN or infinity; embed the signals again")

    @classmethod
    def from_pack(cls, pack: Pack, targets: Sequence[FrozenTargets], *, dataset: str) -> "AlignmentData":
        """Targets joined to the films of a pack by sample id; films that lack one of them are left out.

        ``rows_with_targets`` says which are left. Raises as the class.
        """
        rows = rows_with_targets(pack, targets)
        of_pack = pack.table["split"].to_numpy()
        split = of_pack[rows]
        if {"train", "test"} <= set(of_pack) and not {"train", "test"} <= set(split):
            hints = [how_they_would_meet(pack.sample_ids.tolist(), target.sample_ids) for target in targets]
            raise DataError(
                f"{(split == 'train').sum()} training and {(split == 'test').sum()} test films of {pack.path} have a "
                f"target of {', '.join(target.modality for target in targets)}{max(hints, default='')}; give the "
                "targets of both splits, with the pack's sample ids"
            )
        return cls(
            dataset=dataset,
            targets={target.modality: target.for_samples(list(pack.sample_ids[rows])) for target in targets},
            patient_ids=pack.patient_ids[rows],
            training=np.flatnonzero(split == "train"),
            test=np.flatnonzero(split == "test"),
            drawn_by=pack.drawn_by,
        )

    @property
    def queries(self) -> NDArray[np.int64]:
        """Test rows reduced to one film per patient, in row order."""
        _, first = np.unique(self.patient_ids[self.test].astype(str), return_index=True)
        return self.test[np.sort(first)]


def rows_with_targets(pack: Pack, targets: Sequence[FrozenTargets]) -> NDArray[np.int64]:
    """Rows of the films that have every target; none where there is no target."""
    ids = pack.sample_ids.astype(str)
    has_all = np.full(len(ids), bool(targets))
    for target in targets:
        has_all &= target.has(ids)
    return np.flatnonzero(has_all)


def alignment(
    data: AlignmentData,
    features: Mapping[str, NDArray[np.float32]],
    comparison: Comparison,
    *,
    config: AlignmentConfig,
) -> list[ResultRow]:
    """Fit and judge the ridge probe for every target and encoder.

    Args:
        data: targets, patients, splits.
        features: per encoder name float32 (N, D), embeddings of all films.
        comparison: baseline, draws, and what rows say. Retrieval draws the asking patients; the gallery stays whole.
        config: the ridge penalty and seed.

    Returns:
        Per modality and encoder ``r2``, ``cosine``, ``cosine_centred`` and ``recall_at_1``, ``_5``, ``_10``, paired
        differences to the baseline, and the same of a constant vector and of chance. ``r2`` is NaN where no dimension
        of the target varies.

    Raises:
        ModelError: an embedding is not finite, or there is not one per film.

    Source: paper appendix A.2.2 and Table 2.

    Example:
        >>> from pathlib import Path
        >>> import pacx
        >>> from pacx.data import Pack
        >>> from pacx.evaluation import AlignmentData, Comparison, alignment, embed_pack
        >>> from pacx.evaluation import AlignmentConfig
        >>> from pacx.modalities import open_targets
        >>> pack = Pack.open("packs/triplets")
        >>> data = AlignmentData.from_pack(pack, open_targets([Path("runs/ecg/targets")]), dataset="triplets")
        >>> features = {"mae": embed_pack(pacx.load_encoder("runs/mae/encoder"), pack)}
        >>> rows = alignment(data, features, Comparison(dataset="triplets", num_draws=20), config=AlignmentConfig())
        >>> [row.encoder for row in rows if row.metric == "recall_at_5"]
        ['mae', 'constant vector', 'chance']
    """
    queries = data.queries
    draws = patient_bootstrap(data.patient_ids[queries], num_draws=comparison.num_draws, seed=config.seed)
    maker = comparison.maker(PROTOCOL, config.seed, drawn_by=data.drawn_by)
    rows: list[ResultRow] = []
    for target_name, target in data.targets.items():
        fitted, truth = target[data.training].astype(np.float64), target[queries].astype(np.float64)
        centre = fitted.mean(axis=0)
        measured = {}
        for name, array in features.items():
            _check_features(name, array, len(data.patient_ids))
            predicted = _ridge(array[data.training], fitted, array[queries], config.alpha)
            measured[name] = alignment_metrics(predicted, truth, centre, draws)
        constant = alignment_metrics(np.broadcast_to(centre, truth.shape), truth, centre, draws)
        for metric, constant_draws in constant.items():
            columns = with_differences(
                {name: values[metric] for name, values in measured.items()}, metric, comparison.baseline
            )
            columns.append(Column(CONSTANT, metric, constant_draws))
            rows.extend(maker.row(column, column.draws, label=target_name, n=len(queries)) for column in columns)
        for k in _RECALL_AT:
            chance = np.array([min(k / len(queries), 1.0)])
            column = Column(CHANCE, f"recall_at_{k}", chance)
            rows.append(maker.row(column, chance, label=target_name, n=len(queries)))
    return rows


def _check_features(name: str, features: NDArray[np.float32], num_films: int) -> None:
    if len(features) != num_films or not np.isfinite(features).all():
        raise ModelError(
            f"embeddings of {name}: {len(features)} rows, finite: {bool(np.isfinite(features).all())}; expected "
            f"{num_films} finite rows, one per film"
        )


def _ridge(training: NDArray[np.float32], fitted: Float, test: NDArray[np.float32], alpha: float) -> Float:
    model = make_pipeline(StandardScaler(), Ridge(alpha=alpha, solver="svd"))
    model.fit(training.astype(np.float64), fitted)
    return np.asarray(model.predict(test.astype(np.float64))).reshape(len(test), -1)


def alignment_metrics(predicted: Float, truth: Float, centre: Float, draws: PatientDraws) -> dict[str, Float]:
    """All alignment metrics over all draws, by metric name, each (R,).

    Args:
        predicted: (M, T) predicted target embeddings, one per patient.
        truth: (M, T) the patients' own.
        centre: (T,) mean target of the training split, subtracted for the centred cosine.
        draws: patient draws over the M rows.
    """
    residual = draws.weighted_sum((truth - predicted) ** 2)  # (R, T)
    # deviations from the draw's own mean; centred first so that the subtraction loses no digits
    deviation = truth - truth.mean(axis=0)
    num = draws.weighted_sum(np.ones((len(truth), 1)))
    spread = draws.weighted_sum(deviation**2) - draws.weighted_sum(deviation) ** 2 / num
    explained = 1 - ratio(residual, np.where(spread > 1e-12 * (deviation**2).sum(axis=0), spread, 0.0))
    defined = ~np.isnan(explained)
    per_patient = [_cosine(predicted, truth), _cosine(predicted - centre, truth - centre)]
    per_patient += [expected_hits(predicted, truth, k) for k in _RECALL_AT]
    means = draws.weighted_mean(np.stack(per_patient, axis=1))  # (R, 5)
    names = ("cosine", "cosine_centred", *(f"recall_at_{k}" for k in _RECALL_AT))
    r2 = ratio(np.where(defined, explained, 0.0).sum(axis=1), defined.sum(axis=1))
    return {"r2": r2, **{name: means[:, column] for column, name in enumerate(names)}}


def _cosine(first: Float, second: Float) -> Float:
    """Cosine per row; NaN where a vector has no direction."""
    return ratio((first * second).sum(axis=1), np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1))


def expected_hits(predicted: Float, truth: Float, k: int) -> Float:
    """Per patient, whether the own profile is among the k most similar (raw cosine) of all M patients.

    Equal similarities share their places evenly (two tied for the last place count one half), so that a constant
    prediction scores chance and not whatever the order of the table makes of it.

    Returns:
        (M,) in [0, 1]; NaN where the prediction or the patient's own profile is all zeros, which has no direction.
    """
    directions = ratio(truth, np.linalg.norm(truth, axis=1, keepdims=True))
    # unit length on both sides only so that "equal" can be told from rounding noise
    similarity = ratio(predicted, np.linalg.norm(predicted, axis=1, keepdims=True)) @ directions.T  # (M, M)
    own = np.diag(similarity)[:, None]
    is_equal = np.abs(similarity - own) <= 1e-12
    num_above = ((similarity > own) & ~is_equal).sum(axis=1)
    return np.clip(ratio(k - num_above, is_equal.sum(axis=1)), 0.0, 1.0)
