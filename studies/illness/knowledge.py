"""What is known of a patient's body beyond how ill the patient is: by the film, the ECG, the laboratory values.

`features (N, D), variables (N, V), acuity (N,) -> errors with and without the features (N, V)`. What a spline of acuity
leaves of a variable is predicted by ridge for patients whom neither the spline nor the ridge has seen.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import SplineTransformer

from pacx.core.randomness import order, sample_keys
from pacx.evaluation.statistics.bootstrap import Float, PatientDraws, ratio
from pacx.models.linear.ridge import design, ridge

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
