"""Protocol: directions. How many directions do films and targets share, on patients that nothing was fitted to?

Regularised canonical correlations, fitted to everybody but a fold of the measured patients and measured on that fold;
one film a patient. A direction is shared where the interval of its correlation lies above 0 and the correlation itself
above what exchanged pairs reach at best. With columns given, films and targets are both rid of what those tell first:
directions that stay are none of theirs. Refuses too few patients and targets that do not vary.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pacx.core.errors import DataError, UsageError
from pacx.core.randomness import generator
from pacx.data.packs.pack import require_columns
from pacx.evaluation.comparison import Comparison
from pacx.evaluation.probes.given_columns import basis, numbers_of, predicted, residuals
from pacx.evaluation.results import ResultRow
from pacx.evaluation.settings import DirectionsConfig
from pacx.evaluation.statistics.bootstrap import Column, PatientDraws, patient_bootstrap, ratio, with_differences
from pacx.models.linear.correlations import chosen_penalties, shared_directions
from pacx.models.linear.ridge import design

if TYPE_CHECKING:
    import pandas as pd

Float = NDArray[np.float64]
Rows = NDArray[np.int64]

PROTOCOL = "directions"
COUNT = "shared_directions"
CHANCE = "chance_correlation"
_LEVEL = 0.05
"""Share of exchanges whose best direction may reach what counts as shared."""
_FEWEST = 5
"""Patients in a fold, at least."""


@dataclass(frozen=True, kw_only=True)
class DirectionsData:
    """One film a patient with its targets; row i is film i.

    Args:
        dataset: the name that result rows carry.
        targets: by label (N, T).
        measured: which films are measured, int rows; all others only serve to fit.
        given: N rows of the columns that are given; without columns nothing is.
        drawn_by: what a bootstrap draws, as ``Pack.drawn_by`` says it.
    """

    dataset: str
    targets: Mapping[str, Float]
    measured: Rows
    given: "pd.DataFrame"
    drawn_by: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """Held-out scores of one encoder and one target.

    Attributes:
        films: (M, n) of the measured films.
        targets: (M, n).
        told: (M, n) what the given columns predict of the films' scores.
        shuffled: (shuffles, n) correlations of exchanged pairs.
    """

    films: Float
    targets: Float
    told: Float
    shuffled: Float

    @property
    def chance(self) -> float:
        """What the best direction of exchanged pairs reaches, but for one exchange in twenty, the real one counted."""
        best = np.sort(self.shuffled.max(axis=1))
        return float(best[-int(_LEVEL * (len(best) + 1))])


def one_film_a_patient(patient_ids: NDArray[np.object_], rows: Rows, is_measured: NDArray[np.bool_]) -> Rows:
    """Of each patient the first film that is measured, else the first: rows, ascending."""
    order = np.concatenate([rows[is_measured[rows]], rows[~is_measured[rows]]])
    _, first = np.unique(patient_ids[order].astype(str), return_index=True)
    return np.sort(order[first])


def require_enough(num_measured: int, config: DirectionsConfig, splits: Sequence[str]) -> str:
    """What is missing, in words; "" where nothing is."""
    fewest = _FEWEST * config.folds
    if num_measured >= fewest:
        return ""
    return f"{fewest} patients with targets in {' and '.join(splits)} ({num_measured} are there; see --measured)"


def directions(
    data: DirectionsData,
    features: Mapping[str, Float],
    comparison: Comparison,
    *,
    config: DirectionsConfig,
) -> tuple[list[ResultRow], list[str]]:
    """Measure every encoder and target, plain and with the columns given.

    Args:
        data: targets, given columns and who is measured.
        features: per encoder name (N, D).
        comparison: baseline, draws, and what rows say.
        config: how many directions, folds and shuffles.

    Returns:
        Rows ``correlation_K`` with paired differences, ``shared_directions``, ``chance_correlation`` and, with columns
        given, ``given_explains_K`` (share of the films' direction that they predict); rows of what is left without
        those columns have the condition "given ...". And a sentence per encoder and target.

    Raises:
        DataError: a target or an encoder does not vary, or something is not finite.
    """
    draws = patient_bootstrap(np.arange(len(data.measured)), num_draws=comparison.num_draws, seed=config.seed)
    rows: list[ResultRow] = []
    counts: dict[tuple[str, str], list[int]] = {}
    for is_given in (False, True) if len(data.given.columns) else (False,):
        told = _given(comparison, features, data) if is_given else comparison
        maker = told.maker(PROTOCOL, config.seed, drawn_by=data.drawn_by)
        for label, target in data.targets.items():
            found = {name: _measured(array, target, data, config, is_given) for name, array in features.items()}
            columns = []
            for place in range(min(each.films.shape[1] for each in found.values())):
                metric = f"correlation_{place + 1}"
                by_name = {name: _correlation(each, place, draws) for name, each in found.items()}
                columns += with_differences(by_name, metric, comparison.baseline)
                if len(data.given.columns) and not is_given:
                    columns += [
                        Column(name, f"given_explains_{place + 1}", _explained(each, place, draws))
                        for name, each in found.items()
                    ]
            for name, each in found.items():
                count = shared(each, draws)
                counts.setdefault((name, label), []).append(count)
                columns += [Column(name, COUNT, np.array([count], float))]
                columns += [Column(name, CHANCE, np.array([each.chance]))]
            rows.extend(maker.row(column, column.draws, label=label, n=len(data.measured)) for column in columns)
    names = ", ".join(map(str, data.given.columns))
    said = [
        f"{name}, {label}: {found[0]} directions shared" + (f", {found[1]} given {names}" if len(found) > 1 else "")
        for (name, label), found in counts.items()
    ]
    return rows, said


def shared(found: Measured, draws: PatientDraws) -> int:
    """Directions whose interval lies above 0 and whose correlation above what exchanged pairs reach."""
    num = 0
    for place in range(found.films.shape[1]):
        values = _correlation(found, place, draws)
        num += int(np.nanquantile(values[1:], 0.025) > 0 and values[0] > found.chance)
    return num


def _given(comparison: Comparison, features: Mapping[str, Float], data: DirectionsData) -> Comparison:
    """The comparison whose rows say what was given."""
    given = f"given {', '.join(map(str, data.given.columns))}"
    maker = comparison.maker(PROTOCOL, 0)
    subjects = {name: maker.subject(name) for name in features}
    return replace(
        comparison,
        subjects={
            name: replace(each, condition=", ".join(filter(None, (each.condition, given))))
            for name, each in subjects.items()
        },
    )


class _Sides:
    """Turns directions of every fold to the side of the first fold's.

    Which of its two sides a decomposition gives is chance, and differs between processors; as correlations are about
    the mean over all folds, they would differ, too.
    """

    def __init__(self) -> None:
        self._first: Float | None = None

    def of(self, scores: Float) -> Float:
        """1 or -1 for each direction, (n,), of its scores (N, n) of all films."""
        if self._first is None:
            self._first = scores.copy()
        n = min(scores.shape[1], self._first.shape[1])
        sides = np.ones(scores.shape[1])
        sides[:n] = np.where((scores[:, :n] * self._first[:, :n]).sum(axis=0) < 0, -1.0, 1.0)
        return sides


def _measured(
    features: Float, target: Float, data: DirectionsData, config: DirectionsConfig, is_given: bool
) -> Measured:
    """Scores of the measured films, each by directions that were fitted without their fold."""
    num = len(target)
    order = generator(config.seed, "direction-folds", len(data.measured)).permutation(data.measured)
    place_of = np.full(num, -1)
    place_of[data.measured] = np.arange(len(data.measured))
    most = min(config.most, features.shape[1], target.shape[1])
    exchanges = [_exchanged(data, config.seed, shuffle) for shuffle in range(config.num_shuffles)]
    films, targets, told = np.full((3, len(data.measured), most), np.nan)
    exchanged = np.full((config.num_shuffles, 2, len(data.measured), most), np.nan)
    sides = [_Sides() for _ in range(1 + config.num_shuffles)]
    for held in np.array_split(order, config.folds):
        fitting = np.setdiff1d(np.arange(num), held)
        known = basis(data.given, fitting)
        first, second = (residuals(values, known, fitting) if is_given else values for values in (features, target))
        of_films, of_targets = (design(values[fitting], fitting) for values in (first, second))
        if not (len(of_films.singular) and len(of_targets.singular)):
            raise DataError(
                f"{data.dataset}: films or targets do not vary among {len(fitting)} patients, or given columns tell "
                "all of them; give others"
            )
        penalties, places = chosen_penalties(of_films, of_targets), place_of[held]
        found = shared_directions(of_films, of_targets, most, penalties)
        n = len(found.correlations)
        scores = found.of_films.scores(first)
        side = sides[-1].of(scores)
        scores *= side
        films[places, :n], targets[places, :n] = scores[held], side * found.of_targets.scores(second[held])
        told[places, :n] = predicted(scores, known, fitting)[held]
        for shuffle, partner in enumerate(exchanges):
            of_others = design(second[partner[fitting]], fitting)
            by_chance = shared_directions(of_films, of_others, most, penalties)
            n = len(by_chance.correlations)
            scores = by_chance.of_films.scores(first)
            side = sides[shuffle].of(scores)
            exchanged[shuffle, 0, places, :n] = side * scores[held]
            exchanged[shuffle, 1, places, :n] = side * by_chance.of_targets.scores(second[partner[held]])
    there = ~np.isnan(films).any(axis=0)
    shuffled = np.nan_to_num(np.stack([_correlations(each[0][:, there], each[1][:, there]) for each in exchanged]))
    return Measured(films=films[:, there], targets=targets[:, there], told=told[:, there], shuffled=shuffled)


def _exchanged(data: DirectionsData, seed: int, shuffle: int) -> Rows:
    """Whose targets each film is given, (N,), the same in all folds: measured films exchange among themselves.

    Folds that each exchange anew would hide that what is fitted to one fold is measured on the next, and the reverse.
    """
    random, partner = generator(seed, "direction-shuffles", shuffle), np.arange(len(data.given))
    for rows in (data.measured, np.setdiff1d(partner, data.measured)):
        partner[rows] = random.permutation(rows)
    return partner


def _correlations(films: Float, targets: Float) -> Float:
    first, second = films - films.mean(axis=0), targets - targets.mean(axis=0)
    return ratio((first * second).sum(axis=0), np.sqrt((first**2).sum(axis=0) * (second**2).sum(axis=0)))


def _correlation(found: Measured, place: int, draws: PatientDraws) -> Float:
    """Over draws, (R,)."""
    first, second = found.films[:, place], found.targets[:, place]
    first, second = first - first.mean(), second - second.mean()  # so that the subtraction below loses no digits
    of_first, of_second, product, square, other = draws.weighted_mean(
        np.stack([first, second, first * second, first**2, second**2], axis=1)
    ).T
    return ratio(
        product - of_first * of_second,
        np.sqrt(np.clip(square - of_first**2, 0, None) * np.clip(other - of_second**2, 0, None)),
    )


def _explained(found: Measured, place: int, draws: PatientDraws) -> Float:
    """Share of the films' direction that the given columns predict, over draws, (R,)."""
    truth = found.films[:, place] - found.films[:, place].mean()
    mean, square, error = draws.weighted_mean(
        np.stack([truth, truth**2, (found.films[:, place] - found.told[:, place]) ** 2], axis=1)
    ).T
    return 1 - ratio(error, square - mean**2)


def given_columns(table: "pd.DataFrame", names: Sequence[str], place: object) -> "pd.DataFrame":
    """Columns of a pack's records by name.

    Raises:
        UsageError: one is not there, or has words that hardly two films share: they explain everything.
    """
    require_columns(table, names, place, "be given")
    for name in names:
        if numbers_of(table[name]) is None and table[name].nunique() > len(table) / 2:
            raise UsageError(
                f"directions: column {name} of {place} has {table[name].nunique():,} words in {len(table):,} films, "
                "which tells films apart one by one, and nothing would be left without it; give columns whose words "
                "many films share"
            )
    return table[list(names)]
