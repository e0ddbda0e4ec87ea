"""What is known of a patient's body beyond how ill the patient is: by the film, the ECG, the laboratory values.

`features (N, D), variables (N, V), acuity (N,) -> errors with and without the features (N, V)`. What a spline of acuity
leaves of a variable is predicted by ridge for patients whom neither the spline nor the ridge has seen.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import SplineTransformer

from pacx.core.randomness import order, sample_keys, seed_of
from pacx.data.packs.pack import Pack
from pacx.evaluation.results import ResultRow
from pacx.evaluation.statistics.bootstrap import (
    Column,
    Float,
    PatientDraws,
    RowMaker,
    mean_over_seeds,
    patient_bootstrap,
    ratio,
)
from pacx.modalities.targets import open_targets
from pacx.models.linear.ridge import design, ridge
from studies.illness.cohorts import variables
from studies.illness.names import HOSPITAL, KNOWLEDGE, R2
from studies.illness.steps import IllnessStep, IllnessStudy, films
from studies.stepwise.cohorts import TRIPLETS, physiology_of
from studies.stepwise.finished import Finished, origin

_NUM_FOLDS = 5


def errors_beyond(
    features: NDArray[np.generic], variables: Float, acuity: Float, patient_ids: NDArray[np.str_], *, seed: int
) -> tuple[Float, Float]:
    """Squared errors out of fold, patients divided into five.

    Args:
        features: (N, D), one row per film.
        variables: (N, V).
        acuity: (N,).
        patient_ids: (N,); all films of a patient are in one fold.
        seed: of the folds.

    Returns:
        (N, V) of acuity and features, and (N, V) of acuity alone.
    """
    patients, patient = np.unique(patient_ids, return_inverse=True)
    place = np.empty(len(patients), np.int64)
    place[order(seed, "illness-folds", 0, sample_keys(patients.tolist()))] = np.arange(len(patients))
    fold = (place % _NUM_FOLDS)[patient]
    told, untold = np.empty_like(variables), np.empty_like(variables)
    for number in range(_NUM_FOLDS):
        learnt, asked = fold != number, fold == number
        spline = make_pipeline(SplineTransformer(n_knots=6, knots="quantile"), LinearRegression())
        spline.fit(acuity[learnt, None], variables[learnt])
        beyond = variables - spline.predict(acuity[:, None])
        fitted = ridge(design(features[learnt], patient_ids[learnt]), beyond[learnt])
        told[asked] = (beyond[asked] - fitted.predict(features[asked])) ** 2
        untold[asked] = beyond[asked] ** 2
    return told, untold


def r2_draws(told: Float, untold: Float, draws: PatientDraws) -> Float:
    """R2 beyond acuity (R, V) in every draw of patients; 0 = no more than acuity tells, below it is worse."""
    return 1 - ratio(draws.weighted_sum(told), draws.weighted_sum(untold))


@dataclass(frozen=True, kw_only=True)
class KnowledgeStep(IllnessStep):
    """What one source knows of each variable of the body beyond acuity, over the patients with pairs.

    Args:
        source: in words.
        modalities: whose embeddings; none = films.
        stage_1: seed of the MAE that reads the films.
    """

    source: str
    modalities: tuple[str, ...] = ()
    stage_1: int | None = None

    def arrays(self) -> Mapping[str, NDArray[np.generic]]:
        """Draws (R, V) of R2."""
        study = self.study
        pack = Pack.open(study.folders.pairs(study.folders.most_pairs))
        physiology = physiology_of(pack.patient_ids.tolist(), study.seed)
        told, untold = errors_beyond(
            self._features(pack),
            np.stack(list(variables(physiology).values()), axis=1),
            physiology.acuity,
            pack.patient_ids.astype(str),
            seed=study.seed,
        )
        draws = patient_bootstrap(pack.patient_ids, num_draws=study.num_draws, seed=study.seed)
        return {R2: r2_draws(told, untold, draws).astype(np.float32), "n": np.array(len(pack))}

    def _features(self, pack: Pack) -> NDArray[np.generic]:
        if self.stage_1 is not None:
            return films(self.study, self.stage_1, TRIPLETS)
        targets = open_targets([self.study.folders.targets(name) for name in self.modalities])
        return np.concatenate([each.for_samples(pack.sample_ids.tolist()) for each in targets], axis=1)


def knowledge_rows(done: Finished[IllnessStudy], remark: str) -> list[ResultRow]:
    """What films, ECG and labs know of each variable beyond acuity."""
    names = list(variables(physiology_of(["anybody"], done.study.seed)))
    by_source: dict[str, list[KnowledgeStep]] = {}
    for step in done.steps:
        if isinstance(step, KnowledgeStep):
            by_source.setdefault(step.source, []).append(step)
    found = []
    for source, steps in by_source.items():
        each = np.stack([np.asarray(done.files[step.name][R2], np.float64) for step in steps])  # (A, R, V)
        draws = mean_over_seeds(each, seed=seed_of(done.study.seed, "stage 1"))
        maker = RowMaker(
            protocol=KNOWLEDGE,
            dataset=HOSPITAL,
            seed=done.study.seed,
            provenance=origin(remark, list(map(done.about, steps))),
        )
        n = int(done.files[steps[0].name]["n"])
        column = Column(source, R2, draws)
        found += [maker.row(column, draws[:, place], label=name, n=n) for place, name in enumerate(names)]
    return found
