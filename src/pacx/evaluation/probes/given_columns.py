"""What columns of a table tell of films and targets, taken out of both: what is left is not told by them.

`columns -> basis -> residuals`. Numbers become a natural cubic spline, words one column each; a missing value is a
value of its own. Knots, words and coefficients come of the films that are fitted, never of those that are measured.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Float = NDArray[np.float64]

_KNOTS = (0.05, 0.275, 0.5, 0.725, 0.95)
"""Quantiles, for five knots. Source: Harrell 2015, "Regression Modeling Strategies", table 2.3."""


def basis(table: pd.DataFrame, fitting: NDArray[np.int64]) -> Float:
    """Columns as numbers that a linear map may use, a constant among them: (N, K).

    Args:
        table: N films.
        fitting: rows from which knots and words are taken; a word that none of them has counts as missing.
    """
    parts = [np.ones((len(table), 1))]
    for name in table.columns:
        numbers = numbers_of(table[name])
        parts.append(
            _of_words(table[name].astype(str).to_numpy(), fitting) if numbers is None else _of_numbers(numbers, fitting)
        )
    return np.concatenate(parts, axis=1)


def numbers_of(column: "pd.Series[Any]") -> Float | None:
    """The numbers (N,) of a column, NaN where a cell is empty; None where a cell is a word, as then all of them are."""
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64)
    return None if _is_word(column, numbers).any() else numbers


def taken_for_words(table: pd.DataFrame) -> list[str]:
    """A sentence on each column whose numbers count as words, because a cell among them is none (">89", "unknown")."""
    said = []
    for name in table.columns:
        numbers = pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64)
        is_word, cells = _is_word(table[name], numbers), table[name].astype(str)
        if is_word.any() and np.isfinite(numbers).any():
            said.append(
                f"column {name} counts as {cells.nunique()} words and not as numbers: {int(is_word.sum())} of its "
                f"{len(cells)} cells are no number, such as '{cells[is_word].iloc[0]}'; leave them empty if numbers "
                "are meant"
            )
    return said


def _is_word(column: "pd.Series[Any]", numbers: Float) -> NDArray[np.bool_]:
    """Which cells (N,) are neither a finite number nor empty."""
    is_empty = column.isna().to_numpy() | (column.astype(str).str.strip() == "").to_numpy()
    return ~np.isfinite(numbers) & ~is_empty


def residuals(values: Float, told: Float, fitting: NDArray[np.int64]) -> Float:
    """Values (N, D) less what least squares on the fitted rows makes of their basis (N, K)."""
    return values - predicted(values, told, fitting)


def predicted(values: Float, told: Float, fitting: NDArray[np.int64]) -> Float:
    """What least squares on the fitted rows makes of the basis (N, K) of every row: (N, D)."""
    return told @ np.linalg.lstsq(told[fitting], values[fitting], rcond=None)[0]


def _of_numbers(numbers: Float, fitting: NDArray[np.int64]) -> Float:
    """A natural cubic spline, linear beyond the outer knots, and which are missing."""
    known = np.isfinite(numbers)
    fitted = numbers[fitting][known[fitting]]
    if len(fitted) == 0:
        return np.zeros((len(numbers), 0))
    filled = np.where(known, numbers, np.median(fitted))
    knots = np.unique(np.quantile(fitted, _KNOTS))
    if len(knots) < 3:
        knots = np.unique(fitted) if len(np.unique(fitted)) <= len(_KNOTS) else knots
    span = knots[-1] - knots[0] or 1.0
    columns = [(filled - knots[0]) / span, (~known).astype(np.float64)]
    if len(knots) >= 3:
        *inner, before, last = knots
        cubes = {knot: np.clip((filled - knot) / span, 0.0, None) ** 3 for knot in knots}
        columns += [
            cubes[knot]
            - cubes[before] * (last - knot) / (last - before)
            + cubes[last] * (before - knot) / (last - before)
            for knot in inner
        ]
    return np.stack(columns, axis=1)


def _of_words(words: NDArray[np.object_], fitting: NDArray[np.int64]) -> Float:
    return np.stack([words == each for each in np.unique(words[fitting].astype(str))], axis=1).astype(np.float64)
