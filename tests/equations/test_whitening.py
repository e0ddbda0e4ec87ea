"""The whitening in front of the objectives, its left-out errors and its choice, against slow oracles."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from pacx.core.errors import DataError, UsageError
from pacx.core.randomness import generator
from pacx.objectives.whitening import SHRINKAGES, Whitening, chosen_shrinkage, left_out_error, whitening_map
from pacx.objectives.whitening_config import FilmWhitening


def films(count: int, width: int, name: str = "films") -> np.ndarray:
    """Embeddings off the origin whose directions differ a hundredfold in strength and are no axes."""
    rng = generator(0, name)
    strengths = np.geomspace(3, 0.03, width)
    turned, _ = np.linalg.qr(rng.normal(size=(width, width)))
    return (rng.normal(size=(count, width)) * strengths) @ turned + rng.normal(size=width)


@pytest.mark.parametrize("shrinkage", [1e-3, 0.1, 10.0])
@pytest.mark.parametrize("count", [5, 200])
def test_the_map_is_the_inverse_root_of_the_shrunk_covariance(count, shrinkage):
    """By a matrix square root and an inverse; with 5 films in 8 dimensions the covariance alone has no inverse."""
    embeddings = films(count, 8)
    centred = embeddings - embeddings.mean(0)
    covariance = centred.T @ centred / count
    inverse = np.linalg.inv(sqrtm(covariance + shrinkage * np.trace(covariance) / 8 * np.eye(8)).real)
    whitened = centred @ inverse
    size = np.sqrt((embeddings**2).sum() / (whitened**2).sum())
    mean, matrix = whitening_map(embeddings, shrinkage)
    np.testing.assert_allclose(mean, embeddings.mean(0), rtol=1e-12)
    np.testing.assert_allclose(matrix, size * inverse, rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(np.linalg.eigvalsh(matrix) > 0, np.full(8, True))


@pytest.mark.parametrize("shrinkage", [1e-3, 0.1, 10.0])
def test_whitened_films_have_the_variances_of_the_closed_form_and_the_length_they_had(shrinkage):
    """A direction of variance s ends with one proportional to s / (s + shrinkage * mean)."""
    embeddings = films(300, 8)
    mean, matrix = whitening_map(embeddings, shrinkage)
    whitened = (embeddings - mean) @ matrix
    strengths = np.linalg.eigvalsh(np.cov(embeddings, rowvar=False, bias=True))
    expected = strengths / (strengths + shrinkage * strengths.mean())
    found = np.linalg.eigvalsh(whitened.T @ whitened / 300)
    np.testing.assert_allclose(found / found.sum(), expected / expected.sum(), rtol=1e-9, atol=1e-12)
    assert (whitened**2).sum() == pytest.approx((embeddings**2).sum(), rel=1e-12)


def test_next_to_no_shrinkage_leaves_all_directions_alike_and_much_of_it_none_changed():
    embeddings = films(300, 8)
    centred = embeddings - embeddings.mean(0)
    full = centred @ whitening_map(embeddings, 1e-12)[1]
    np.testing.assert_allclose(full.T @ full, np.eye(8) * (full**2).sum() / 8, atol=1e-4 * (full**2).sum())
    none = whitening_map(embeddings, 1e9)[1]
    np.testing.assert_allclose(none, np.eye(8) * none[0, 0], atol=1e-6 * none[0, 0])


def test_a_constant_dimension_stays_finite_and_silent():
    embeddings = films(50, 6)
    embeddings[:, 2] = 4.0
    mean, matrix = whitening_map(embeddings, 0.1)
    assert np.isfinite(matrix).all()
    np.testing.assert_allclose(((embeddings - mean) @ matrix)[:, 2], 0, atol=1e-9)


@pytest.mark.parametrize("embeddings", [films(1, 6), np.repeat(films(1, 6), 9, axis=0)], ids=["one film", "all alike"])
def test_films_that_are_all_alike_are_refused(embeddings):
    with pytest.raises(DataError, match=f"all {len(embeddings)} training films have the same embedding"):
        whitening_map(embeddings, 0.1)


@pytest.mark.parametrize("shrinkage", [0.0, -1.0, np.inf, np.nan])
def test_a_shrinkage_that_is_none_is_refused(shrinkage):
    with pytest.raises(UsageError, match="give a number above 0"):
        FilmWhitening(shrinkage=shrinkage)


@pytest.mark.parametrize("count", [12, 40])
def test_left_out_errors_are_those_of_fits_without_the_patient(count):
    """Refitted for every patient; some have two films, one has three, and 12 films lie in 15 dimensions."""
    rng = generator(1, "left out")
    embeddings, targets = films(count, 15), rng.normal(size=(count, 3)) + 2
    targets += embeddings[:, :3]
    patients = np.arange(count)
    patients[[3, 7]], patients[[1, 5, 9]] = 100, 200
    tried = np.array([1e-3, 0.1, 10.0])
    centred = embeddings - embeddings.mean(0)
    expected = []
    for shrinkage in tried:
        penalty = shrinkage * (centred**2).mean() * count
        total = 0.0
        for patient in np.unique(patients):
            out = patients == patient
            rest = ~out
            # the intercept is fitted with the rest, and is not penalised
            design = np.column_stack([np.ones(count), embeddings])
            normal = design[rest].T @ design[rest] + np.diag([0.0] + [penalty] * 15)
            weights = np.linalg.solve(normal, design[rest].T @ targets[rest])
            total += ((targets[out] - design[out] @ weights) ** 2).sum()
        expected.append(total / ((targets - targets.mean(0)) ** 2).sum())
    np.testing.assert_allclose(left_out_error(embeddings, targets, patients, tried), expected, rtol=1e-6)


def test_one_step_of_gradient_descent_behind_the_map_is_the_ridge_that_was_judged():
    embeddings, targets = films(60, 7), generator(0, "t").normal(size=(60, 2))
    shrinkage, centred = 0.3, embeddings - embeddings.mean(0)
    whitened = centred @ whitening_map(embeddings, shrinkage)[1]
    step = whitened @ (whitened.T @ targets)
    penalty = shrinkage * (centred**2).mean() * 60
    ridge = centred @ np.linalg.solve(centred.T @ centred + penalty * np.eye(7), centred.T @ targets)
    scale = (step * ridge).sum() / (ridge**2).sum()
    np.testing.assert_allclose(step, scale * ridge, rtol=1e-8, atol=1e-8 * abs(scale))


def test_what_weak_directions_know_is_whitened_for_and_noise_is_not():
    """Enough pairs and targets along the weakest direction: near full whitening; targets of chance: next to none."""
    embeddings = films(400, 8)
    weakest = np.linalg.eigh(np.cov(embeddings, rowvar=False))[1][:, :1]
    told = {"ecg": (embeddings - embeddings.mean(0)) @ weakest}
    everyone, patients = np.full(400, True), np.arange(400)
    assert chosen_shrinkage(embeddings, told, {"ecg": everyone}, patients)[0] == SHRINKAGES[0]
    chance = {"ecg": generator(0, "chance").normal(size=(400, 3))}
    shrinkage, error = chosen_shrinkage(embeddings, chance, {"ecg": everyone}, patients)
    assert shrinkage >= 10
    assert error == pytest.approx(1, abs=0.05)


def test_modalities_count_alike_whatever_their_units_and_only_where_they_are():
    embeddings, rng = films(80, 8), generator(0, "units")
    ecg, labs = embeddings[:, :2] + rng.normal(size=(80, 2)), rng.normal(size=(80, 5))
    patients, has = np.arange(80), rng.random(80) < 0.6
    observed = {"ecg": np.full(80, True), "labs": has}
    found = chosen_shrinkage(embeddings, {"ecg": ecg, "labs": labs}, observed, patients)
    spoilt = np.where(has[:, None], labs * 1000, 1e9)
    again = chosen_shrinkage(embeddings, {"ecg": ecg, "labs": spoilt}, observed, patients)
    assert found == pytest.approx(again, rel=1e-9)
    errors = [
        left_out_error(embeddings[rows], values[rows], patients[rows], np.array(SHRINKAGES))
        for values, rows in ((ecg, observed["ecg"]), (labs, has))
    ]
    assert found[1] == pytest.approx(np.mean(errors, axis=0).min(), rel=1e-12)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e6])
def test_targets_that_are_the_same_for_all_training_films_choose_nothing(constant):
    embeddings, patients = films(60, 4), np.arange(60)
    ecg = embeddings[:, :2] + generator(0, "noise").normal(size=(60, 2))
    flat = np.full((60, 3), constant)
    assert left_out_error(embeddings, flat, patients, np.array(SHRINKAGES)).tolist() == [1.0] * len(SHRINKAGES)
    observed = {name: np.full(60, True) for name in ("ecg", "flat")}
    alone = chosen_shrinkage(embeddings, {"ecg": ecg}, {"ecg": observed["ecg"]}, patients)
    beside = chosen_shrinkage(embeddings, {"ecg": ecg, "flat": flat}, observed, patients)
    assert beside == pytest.approx((alone[0], (alone[1] + 1) / 2))
    assert chosen_shrinkage(embeddings, {"flat": flat}, {"flat": observed["flat"]}, patients) == (SHRINKAGES[-1], 1.0)


def test_the_module_gives_gradients_through_the_map_and_nothing_before_it_is_set():
    embeddings = films(50, 6)
    module = Whitening(6)
    assert not list(module.parameters())
    assert module(torch.ones(2, 6)).isnan().all()
    module.set(embeddings, 0.1)
    mean, matrix = whitening_map(embeddings, 0.1)
    some = torch.from_numpy(embeddings[:3]).float().requires_grad_()
    out = module(some)
    np.testing.assert_allclose(out.detach(), (embeddings[:3] - mean) @ matrix, rtol=1e-4, atol=1e-5)
    out[:, 1].sum().backward()
    np.testing.assert_allclose(some.grad, np.tile(matrix[:, 1], (3, 1)), rtol=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(module(some), out)
    other = Whitening(6)
    other.load_state_dict(module.state_dict())
    assert torch.equal(other(some), out)
