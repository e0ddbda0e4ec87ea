"""A film unlike the others is noticed, and one of a hundred like the others is taken for such, no more."""

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf

from pacx.core.errors import DataError
from pacx.evaluation.probes.reference import fit_reference


def _films(num: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(0).standard_normal((6, 6))
    return (rng.standard_normal((num, 6)) @ mixing + 3).astype(np.float32)


def test_distances_are_mahalanobis_under_the_shrunk_covariance() -> None:
    training, new = _films(50, 1), _films(7, 2)
    reference = fit_reference(training, _films(120, 3), fitted_on="a pack")
    fitted = LedoitWolf().fit(training.astype(np.float64))
    inverse = np.linalg.inv(fitted.covariance_)
    wanted = [mahalanobis(film, training.astype(np.float64).mean(axis=0), inverse) for film in new]
    np.testing.assert_allclose(reference.distances(new), wanted, rtol=1e-6)


def test_at_most_one_usual_film_in_a_hundred_is_called_unusual() -> None:
    """Over many references, or the luck of one would be tested."""
    called = []
    for seed in range(60):
        reference = fit_reference(_films(100, seed), _films(199, 1000 + seed), fitted_on="")
        called.append(reference.is_unusual(reference.distances(_films(400, 2000 + seed))).mean())
    assert 0.006 < np.mean(called) <= 0.0125  # expected: exactly 2 of 200


def test_a_film_far_away_is_unusual_and_one_in_the_middle_is_not() -> None:
    reference = fit_reference(_films(100, 1), _films(150, 2), fitted_on="")
    distances = reference.distances(np.stack([reference.mean, reference.mean + 100]))
    assert reference.is_unusual(distances).tolist() == [False, True]
    percentiles = reference.percentiles(distances)
    assert percentiles[0] == 0
    assert percentiles[1] == pytest.approx(100 * 150 / 151)


def test_percentiles_count_the_films_that_lie_nearer() -> None:
    reference = fit_reference(_films(100, 1), _films(150, 2), fitted_on="")
    middle = reference.held_out[30]
    assert reference.percentiles(np.array([middle]))[0] == pytest.approx(100 * 30 / 151)


def test_more_numbers_than_films_still_give_a_reference() -> None:
    rng = np.random.default_rng(0)
    reference = fit_reference(
        rng.standard_normal((20, 64)).astype(np.float32), rng.standard_normal((99, 64)).astype(np.float32), fitted_on=""
    )
    assert np.isfinite(reference.held_out).all()


def test_too_few_films_are_refused() -> None:
    with pytest.raises(DataError, match="99 validation films, a pack has 100 and 98"):
        fit_reference(_films(100, 1), _films(98, 2), fitted_on="a pack")
