"""Ridge, whitening and canonical correlations against fits made again and against what is known of Gaussians."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from pacx.core.errors import DataError
from pacx.models.linear.correlations import chosen_penalties, shared_directions
from pacx.models.linear.ridge import (
    PENALTIES,
    design,
    explained_left_out,
    left_out_errors,
    ridge,
    shared_penalty,
)
from pacx.models.linear.whitening import principal_whitening

Float = NDArray[np.float64]


def drawn(num: int, width: int, num_targets: int, seed: int = 0) -> tuple[Float, Float]:
    """Badly scaled features and targets of which the first two can be predicted."""
    random = np.random.default_rng(seed)
    features = random.standard_normal((num, width)) * np.logspace(-2, 2, width) + 5
    targets = random.standard_normal((num, num_targets))
    targets[:, 0] += 2 * features[:, 0] / features[:, 0].std()
    targets[:, 1] += features[:, 1:3].sum(axis=1) / 1e-2
    return features, targets


def by_brute_force(features: Float, targets: Float, patients: NDArray[np.str_], penalty: float) -> Float:
    """Errors of one fit per patient left out: the normal equations, intercept by a column of ones."""
    scale = features.std(axis=0)
    standardized = (features - features.mean(axis=0)) / np.where(scale > 1e-9, scale, np.inf)
    with_one = np.column_stack([np.ones(len(features)), standardized])
    penalties = penalty * len(features) * np.eye(with_one.shape[1])
    penalties[0, 0] = 0.0
    errors = np.empty_like(targets)
    for patient in np.unique(patients):
        own = patients == patient
        rest = with_one[~own]
        weight = np.linalg.solve(rest.T @ rest + penalties, rest.T @ targets[~own])
        errors[own] = targets[own] - with_one[own] @ weight
    return errors


PATIENTS: dict[str, Callable[[int], NDArray[np.str_]]] = {
    "one film each": lambda num: np.arange(num).astype(str),
    "several films": lambda num: np.random.default_rng(1).integers(num // 3, size=num).astype(str),
    "one with many": lambda num: np.minimum(np.arange(num), num // 2).astype(str),
}


@pytest.mark.parametrize("kind", PATIENTS)
@pytest.mark.parametrize("width", [4, 60])
@pytest.mark.parametrize("penalty", [1e-4, 1e-2, 1.0, 100.0])
def test_leaving_patients_out_equals_fitting_without_them(kind: str, width: int, penalty: float) -> None:
    features, targets = drawn(40, width, 3)
    patients = PATIENTS[kind](40)
    found = left_out_errors(design(features, patients), targets, penalty)
    assert np.allclose(found, by_brute_force(features, targets, patients, penalty), rtol=1e-6, atol=1e-6)


def test_an_error_left_out_is_not_the_error_of_the_fit() -> None:
    """The trap: with more features than films the fit itself is nearly perfect, and predicts nothing."""
    random = np.random.default_rng(2)
    features, noise = random.standard_normal((30, 60)), random.standard_normal((30, 1))
    films = design(features, np.arange(30))
    fitted = films.left @ (films.kept(1e-5)[:, None] * (films.left.T @ noise))
    assert np.allclose(fitted, noise - noise.mean(), atol=1e-2)
    assert explained_left_out(films, noise, [1e-5]).r2[0, 0] < 0


def test_an_infinite_penalty_is_the_mean_of_the_others() -> None:
    features, targets = drawn(20, 4, 2)
    patients = PATIENTS["several films"](20)
    others = np.stack([targets[patients != patient].mean(axis=0) for patient in patients])
    assert np.allclose(left_out_errors(design(features, patients), targets, np.inf), targets - others)


def test_each_target_gets_the_penalty_under_which_refits_do_best() -> None:
    features, targets = drawn(50, 8, 3)
    patients = PATIENTS["several films"](50)
    losses = np.array([(by_brute_force(features, targets, patients, each) ** 2).sum(axis=0) for each in PENALTIES])
    fitted = ridge(design(features, patients), targets)
    assert np.array_equal(fitted.penalties[:2], np.array(PENALTIES)[losses.argmin(axis=0)][:2])
    standardized = (features - features.mean(axis=0)) / features.std(axis=0)
    for target in (0, 1):
        normal = standardized.T @ standardized + fitted.penalties[target] * 50 * np.eye(8)
        weight = np.linalg.solve(normal, standardized.T @ (targets[:, target] - targets[:, target].mean()))
        assert np.allclose(
            fitted.predict(features)[:, target], standardized @ weight + targets[:, target].mean(), atol=1e-8
        )


def test_constant_and_repeated_columns_change_nothing() -> None:
    features, targets = drawn(40, 5, 2)
    plain = ridge(design(features, np.arange(40)), targets, [0.1])
    # with a column twice the pair shares the weight, and the penalty of one counts half
    padded = np.column_stack([features, np.full(40, 3.3), np.full(40, 0.1, np.float32)])
    assert np.allclose(ridge(design(padded, np.arange(40)), targets, [0.1]).predict(padded), plain.predict(features))
    twice = np.column_stack([features, features])
    fitted = ridge(design(twice, np.arange(40)), targets, [0.2])
    assert np.allclose(fitted.predict(twice), plain.predict(features))
    odd = np.column_stack([targets, targets[:, :1], np.full((40, 1), 0.7)])
    of_odd = ridge(design(features, np.arange(40)), odd)
    assert of_odd.explained[2] == of_odd.explained[0]
    assert of_odd.explained[3] == 0
    assert not of_odd.is_predicted[3]
    assert np.allclose(of_odd.predict(features)[:, 3], 0.7)


def test_what_cannot_be_predicted_is_the_mean() -> None:
    random = np.random.default_rng(0)
    features, noise = random.standard_normal((200, 5)), random.standard_normal((200, 400))
    films = design(features, np.arange(200))
    fitted = ridge(films, noise)
    assert fitted.is_predicted.mean() < 0.25
    assert ridge(films, noise, standard_errors=2).is_predicted.mean() < 0.06
    assert ridge(films, noise, standard_errors=0).is_predicted.mean() > 0.3, "which is why there is a margin"
    assert fitted.explained.max() < 0.1
    left_out = ~fitted.is_predicted
    assert (fitted.weight[:, left_out] == 0).all()
    assert np.allclose(fitted.bias[left_out], noise[:, left_out].mean(axis=0))


def test_a_shared_penalty_is_decided_by_what_can_be_predicted() -> None:
    features, targets = drawn(60, 30, 2)
    noise = np.random.default_rng(5).standard_normal((60, 100)) * 50
    films, both = design(features, np.arange(60)), np.column_stack([targets, noise])
    assert shared_penalty(films, both) <= 30 * shared_penalty(films, targets)
    of_all = explained_left_out(films, both).r2.sum(axis=1)
    assert of_all.argmax() > explained_left_out(films, targets).r2.sum(axis=1).argmax() + 3, "as losses, noise decides"


def test_the_standard_error_is_that_of_patients_drawn_anew() -> None:
    patients = PATIENTS["several films"](150)
    features, targets = drawn(150, 4, 2)
    films = design(features, patients)
    found = explained_left_out(films, targets, [0.1])
    gains = left_out_errors(films, targets, np.inf) ** 2 - left_out_errors(films, targets, 0.1) ** 2
    each = np.array([gains[patients == patient, 0].sum() for patient in np.unique(patients)])
    drawn_anew = np.random.default_rng(0).choice(each, (4000, len(each))).sum(axis=1)
    total = (left_out_errors(films, targets[:, :1], np.inf) ** 2).sum()
    assert found.r2[0, 0] == pytest.approx(each.sum() / total)
    assert found.error[0, 0] == pytest.approx(drawn_anew.std() / total, rel=0.05)


def test_bad_input_is_refused_in_a_sentence() -> None:
    features, targets = drawn(10, 3, 2)
    with pytest.raises(DataError, match="two at least"):
        design(features, ["p"] * 10)
    with pytest.raises(DataError, match="one row per film"):
        design(features, ["p", "q"])
    with pytest.raises(DataError, match="NaN or infinity"):
        design(np.full((10, 2), np.nan), np.arange(10))
    with pytest.raises(DataError, match="10 films"):
        ridge(design(features, np.arange(10)), targets[:5])
    with pytest.raises(DataError, match="do not vary"):
        principal_whitening(np.full((10, 3), 0.1))
    with pytest.raises(DataError, match="cannot be whitened"):
        principal_whitening(features[:1])


def test_principal_components_are_white_whatever_the_covariance() -> None:
    random = np.random.default_rng(0)
    some = random.standard_normal((100, 6)) * np.logspace(0, 2, 6)
    singular = np.column_stack([some, some[:, :2], some.sum(axis=1), np.full(100, 4.0)]).astype(np.float32)
    white = principal_whitening(singular)
    assert white.matrix.shape == (10, 6)
    assert np.allclose(np.cov(white(singular).T, bias=True), np.eye(6), atol=1e-8)
    assert principal_whitening(singular, most=2).matrix.shape == (10, 2)
    assert principal_whitening(random.standard_normal((5, 30))).matrix.shape == (30, 4)


def shared(num: int, correlations: list[float], width: int, seed: int) -> tuple[Float, Float]:
    """Gaussian films and targets whose population canonical correlations are known, turned and scaled at will."""
    random = np.random.default_rng(seed)
    films, targets = random.standard_normal((2, num, width))
    for place, each in enumerate(correlations):
        targets[:, place] = each * films[:, place] + np.sqrt(1 - each**2) * targets[:, place]
    turned = np.random.default_rng(99).standard_normal((2, width, width))
    return films @ turned[0] + 3, targets @ turned[1] - 1


def test_canonical_correlations_are_those_of_the_population_on_films_of_others() -> None:
    known = [0.9, 0.6, 0.3]
    films, targets = shared(4000, known, 8, seed=0)
    of_films, of_targets = design(films, np.arange(4000)), design(targets, np.arange(4000))
    penalties = chosen_penalties(of_films, of_targets)
    found = shared_directions(of_films, of_targets, 8, penalties)
    others, of_others = shared(4000, known, 8, seed=1)
    held_out = [
        np.corrcoef(first, second)[0, 1]
        for first, second in zip(found.of_films.scores(others).T, found.of_targets.scores(of_others).T, strict=True)
    ]
    assert np.allclose(held_out[:3], known, atol=0.04)  # standard error at most (1 - r^2) / sqrt(4000) = 0.014
    assert max(held_out[3:]) < 0.06
    # unpenalised they are those of the covariance matrices, computed otherwise
    plain = shared_directions(of_films, of_targets, 8, (0.0, 0.0))
    whole = np.cov(np.column_stack([films, targets]).T)
    product = np.linalg.solve(whole[:8, :8], whole[:8, 8:]) @ np.linalg.solve(whole[8:, 8:], whole[8:, :8])
    assert np.allclose(plain.correlations**2, np.sort(np.linalg.eigvals(product).real)[::-1], atol=1e-9)
    assert np.allclose(plain.of_films.scores(films).std(axis=0), 1)


def test_films_given_the_targets_of_others_share_nothing() -> None:
    films, targets = shared(2000, [0.9], 4, seed=0)
    partner = np.random.default_rng(0).permutation(2000)
    of_films, of_others = design(films, np.arange(2000)), design(targets[partner], np.arange(2000))
    assert shared_directions(of_films, of_others, 4, (1e-3, 1e-3)).correlations[0] < 0.15


def test_a_probe_is_given_what_is_predicted_and_one_equal_feature_where_nothing_is() -> None:
    features, constant = np.random.default_rng(0).standard_normal((300, 4)), np.full((300, 1), 0.7)
    fit = ridge(design(features, np.arange(300)), np.concatenate([features[:, :2] @ [[2.0], [1.0]], constant], axis=1))
    assert fit.is_predicted.tolist() == [True, False]
    assert np.array_equal(fit.read(features), fit.predict(features)[:, :1].astype(np.float32))
    assert np.array_equal(
        ridge(design(features, np.arange(300)), constant).read(features), np.zeros((300, 1), np.float32)
    )
