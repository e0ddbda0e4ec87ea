"""Directions that are shared: Gaussians of known canonical correlations, noise, and columns that tell one of them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from pacx.core.errors import DataError, UsageError
from pacx.evaluation.comparison import Comparison
from pacx.evaluation.probes.given_columns import basis, numbers_of, residuals, taken_for_words
from pacx.evaluation.probes.shared_directions import (
    DirectionsData,
    directions,
    given_columns,
    one_film_a_patient,
    require_enough,
)
from pacx.evaluation.results import ResultRow
from pacx.evaluation.settings import DirectionsConfig
from pacx.models.linear.correlations import SharedDirections, shared_directions
from pacx.models.linear.ridge import design

Float = NDArray[np.float64]

NUM = 900
CORRELATIONS = (0.8, 0.6, 0.4)
COMPARISON = Comparison(dataset="made up", num_draws=200, device="cpu")
CONFIG = DirectionsConfig(most=5, num_shuffles=39)


def gaussians(correlations: tuple[float, ...], seed: int = 0) -> tuple[Float, Float, Float]:
    """Causes (N, K), films (N, 8) and targets (N, 7), turned and scaled; direction k has the given correlation."""
    random = np.random.default_rng(seed)
    films, targets = random.standard_normal((NUM, 8)), random.standard_normal((NUM, 7))
    cause = random.standard_normal((NUM, len(correlations)))
    for place, each in enumerate(correlations):
        for side in (films, targets):  # both are sqrt(r) of one cause, so that r is theirs
            side[:, place] = np.sqrt(each) * cause[:, place] + np.sqrt(1 - each) * side[:, place]
    return cause, films @ random.standard_normal((8, 8)), targets @ random.standard_normal((7, 7)) + 4


def measured(films: Float, targets: Float, given: pd.DataFrame | None = None) -> list[ResultRow]:
    num = len(films)
    table = pd.DataFrame(index=range(num)) if given is None else given
    data = DirectionsData(
        dataset="made up", targets={"ecg": targets}, measured=np.arange(num), given=table, drawn_by="patient"
    )
    return directions(data, {"mae": films}, COMPARISON, config=CONFIG)[0]


def value(rows: list[ResultRow], metric: str, condition: str = "") -> ResultRow:
    (row,) = [each for each in rows if (each.metric, each.condition) == (metric, condition)]
    return row


def test_correlations_and_their_number_are_those_of_the_population() -> None:
    _, films, targets = gaussians(CORRELATIONS)
    rows = measured(films, targets)
    for place, truth in enumerate(CORRELATIONS):
        row = value(rows, f"correlation_{place + 1}")
        assert row.value == pytest.approx(truth, abs=0.07)  # two standard errors of 0.4 and what fitting costs
        assert row.ci_low - 0.03 < truth < row.ci_high + 0.03
    assert value(rows, "shared_directions").value == 3
    assert value(rows, "correlation_4").value < value(rows, "chance_correlation").value < 0.2
    assert value(rows, "shared_directions").n == NUM


def test_films_that_know_nothing_share_nothing_but_for_one_time_in_twenty() -> None:
    counts = [value(measured(*gaussians((), seed)[1:]), "shared_directions").value for seed in range(6)]
    assert sum(count > 0 for count in counts) <= 1  # of six at one in twenty: two or more are one in thirty
    assert np.median(counts) == 0


def test_correlations_of_the_films_that_are_fitted_would_find_some_in_noise() -> None:
    """The trap, and that the guard is the fold: wide noise correlates highly where it was fitted."""
    random = np.random.default_rng(0)
    films, targets = random.standard_normal((NUM, 90)), random.standard_normal((NUM, 60))
    rows = measured(films, targets)
    assert abs(value(rows, "correlation_1").value) < 0.15
    inside = design(films, np.arange(NUM)), design(targets, np.arange(NUM))
    assert shared_directions(*inside, 1, (1e-2, 1e-2)).correlations[0] > 0.45
    assert value(rows, "shared_directions").value == 0


@pytest.mark.parametrize("shape", ["linear", "curved", "word"])
def test_a_given_column_takes_exactly_the_direction_that_was_built_of_it(shape: str) -> None:
    cause, films, targets = gaussians(CORRELATIONS)
    second = cause[:, 1]
    if shape == "curved":  # the column is a curve of what both sides know
        column = pd.Series(np.sign(second) * np.abs(second) ** 1.5)
    elif shape == "word":  # both sides know which of three kinds it is, and nothing finer
        kind = np.digitize(second, (-0.5, 0.5))
        column = pd.Series(np.array(["low", "middle", "high"])[kind])
        random = np.random.default_rng(1)
        films, targets = random.standard_normal((NUM, 8)), random.standard_normal((NUM, 7))
        for side, shift in ((films, 1.5), (targets, 1.5)):
            side[:, 0] += shift * (kind - 1)
            side[:, 1] = np.sqrt(0.7) * cause[:, 0] + np.sqrt(0.3) * side[:, 1]
            side[:, 2] = np.sqrt(0.5) * cause[:, 2] + np.sqrt(0.5) * side[:, 2]
    else:
        column = pd.Series(second)
    rows = measured(films, targets, pd.DataFrame({"severity": column}))
    assert value(rows, "shared_directions").value == 3
    assert value(rows, "shared_directions", "given severity").value == 2
    explained = [value(rows, f"given_explains_{place}").value for place in (1, 2, 3)]
    assert sorted(explained)[2] > 0.35
    assert sorted(explained)[1] < 0.1
    left = [value(rows, f"correlation_{place}", "given severity").value for place in (1, 2)]
    if shape != "word":
        assert left == pytest.approx([0.8, 0.4], abs=0.08)


def test_a_column_that_tells_nothing_takes_nothing() -> None:
    _, films, targets = gaussians(CORRELATIONS)
    noise = pd.DataFrame({"age": np.random.default_rng(3).uniform(20, 90, NUM), "sex": ["F", "M", ""] * (NUM // 3)})
    rows = measured(films, targets, noise)
    assert value(rows, "shared_directions", "given age, sex").value == 3
    assert value(rows, "given_explains_1").value < 0.03


def test_nothing_depends_on_which_side_of_a_direction_a_decomposition_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both sides of a pair turn together; other processors turn others."""
    _, films, targets = gaussians(CORRELATIONS)
    cut, given = 60, pd.DataFrame({"age": np.random.default_rng(2).uniform(20, 90, 60)})
    expected = measured(films[:cut], targets[:cut], given)
    random = np.random.default_rng(0)

    def turned(*words: Any) -> SharedDirections:
        found = shared_directions(*words)
        side = random.choice([-1.0, 1.0], len(found.correlations))
        of_films, of_targets = (replace(each, matrix=each.matrix * side) for each in (found.of_films, found.of_targets))
        return replace(found, of_films=of_films, of_targets=of_targets)

    monkeypatch.setattr("pacx.evaluation.probes.shared_directions.shared_directions", turned)
    for row, other in zip(expected, measured(films[:cut], targets[:cut], given), strict=True):
        assert (row.metric, row.condition) == (other.metric, other.condition)
        assert (row.value, row.ci_low, row.ci_high) == pytest.approx(
            (other.value, other.ci_low, other.ci_high), abs=1e-9, nan_ok=True
        ), row.metric


def test_baseline_differences_and_sentences() -> None:
    _, films, targets = gaussians(CORRELATIONS)
    data = DirectionsData(
        dataset="made up",
        targets={"ecg": targets},
        measured=np.arange(0, NUM, 2),
        given=pd.DataFrame({"age": np.arange(NUM)}),
        drawn_by="patient",
    )
    comparison = Comparison(dataset="made up", baseline="mae", num_draws=50, device="cpu")
    blind = np.random.default_rng(0).standard_normal(films.shape)
    rows, said = directions(data, {"mae": blind, "pacx": films}, comparison, config=CONFIG)
    (difference,) = [each for each in rows if each.metric == "correlation_1_difference" and not each.condition]
    assert difference.name == "pacx - mae"
    assert difference.ci_low > 0.5
    (given,) = [each for each in rows if each.metric == "correlation_1_difference" and each.condition]
    assert given.contrast == "mae (given age)"
    assert "pacx, ecg: 3 directions shared, 3 given age" in said
    assert "mae, ecg: 0 directions shared, 0 given age" in said
    assert difference.n == NUM // 2


def test_a_basis_bends_where_the_fitted_rows_do_and_says_what_is_missing() -> None:
    age = np.linspace(0, 1, 200)
    table = pd.DataFrame({"age": age, "kind": np.where(age < 0.5, "a", "b"), "code": np.arange(200) % 3})
    fitting = np.arange(0, 200, 2)
    told = basis(table, fitting)
    curved = np.stack([np.sin(2 * age) + (age < 0.5) + np.array([0, 5, 1])[table["code"]]], axis=1)
    left = residuals(curved, told, fitting)
    assert np.abs(left[1::2]).max() < 0.02
    gaps = basis(pd.DataFrame({"age": np.where(age < 0.1, np.nan, age)}), fitting)
    assert np.isfinite(gaps).all()
    assert np.abs(residuals((age < 0.1)[:, None].astype(float), gaps, fitting)).max() < 1e-9
    strange = basis(pd.DataFrame({"kind": ["a"] * 100 + ["b"] * 100}), np.arange(100))
    assert (strange[100:, 1:] == 0).all(), "a word nobody fitted has"
    assert basis(pd.DataFrame({"empty": [np.nan] * 4}), np.arange(4)).shape == (4, 1)


@pytest.mark.parametrize(
    ("cells", "numbers", "said"),
    [
        (["1", " 2.5", "", None], [1, 2.5, np.nan, np.nan], 0),
        ([3.0, np.nan, 4.0, 5.0], [3, np.nan, 4, 5], 0),
        ([True, False, True, True], [1, 0, 1, 1], 0),
        (["70", ">89", None, "71"], None, 1),
        (["70", "inf", "", "71"], None, 1),
        (["F", "M", None, ""], None, 0),
    ],
)
def test_numbers_as_text_are_numbers_and_what_a_word_makes_words_of_is_told(
    cells: list[object], numbers: list[float] | None, said: int
) -> None:
    column = pd.Series(cells)
    found = numbers_of(column)
    assert (found is None) if numbers is None else np.array_equal(found, numbers, equal_nan=True)
    sentences = taken_for_words(pd.DataFrame({"age": column}))
    assert len(sentences) == said
    assert all("column age counts as" in each and "1 of its 4 cells" in each for each in sentences)


def test_one_film_a_patient_and_measured_ones_first() -> None:
    patients = np.array(["p", "p", "q", "q", "r"], object)
    is_measured = np.array([False, True, False, False, True])
    assert one_film_a_patient(patients, np.arange(5), is_measured).tolist() == [1, 2, 4]
    assert one_film_a_patient(patients, np.array([0, 3]), is_measured).tolist() == [0, 3]


def test_bad_input_is_refused_in_a_sentence() -> None:
    _, films, targets = gaussians(CORRELATIONS)
    with pytest.raises(DataError, match="do not vary"):
        measured(films, np.full_like(targets, 2.5))
    with pytest.raises(DataError, match="NaN or infinity"):
        measured(films * np.nan, targets)
    with pytest.raises(UsageError, match="no column colour to be given; it has age"):
        given_columns(pd.DataFrame({"age": [1]}), ("colour",), "packs/films")
    table = pd.DataFrame({"sample_id": list("abcdef"), "view": list("PPPAAA"), "age_days": range(6)})
    with pytest.raises(UsageError, match="column sample_id of packs/films has 6 words in 6 films"):
        given_columns(table, ("view", "age_days", "sample_id"), "packs/films")
    assert list(given_columns(table, ("view", "age_days"), "packs/films")) == ["view", "age_days"]
    with pytest.raises(UsageError, match="one in twenty"):
        DirectionsConfig(num_shuffles=5)
    assert require_enough(25, CONFIG, ("test",)) == ""
    assert "25 patients with targets in test (24 are there" in require_enough(24, CONFIG, ("test",))
