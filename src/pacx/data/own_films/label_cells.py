"""What people write into columns of labels and findings: present, absent, or not known.

A cell means one thing or the table is refused; a word for "nothing found" that nobody declared becomes no disease.
"""

import ast
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from pacx.core.errors import DataError, UsageError
from pacx.core.tables.cells import is_unknown, known
from pacx.data.records import shown

UNCERTAIN = -1.0
"""CheXpert's code for "perhaps"; it counts as unknown."""
NO_FINDING = "No Finding"
_PRESENT = frozenset(("yes", "y", "true", "positive", "pos", "present"))
_ABSENT = frozenset(("no", "n", "false", "negative", "neg", "absent"))
_UNCERTAIN = frozenset(("uncertain", "equivocal", "indeterminate", "maybe"))
_NEGATIVES = frozenset(
    ("nofinding", "nofindings", "normal", "healthy", "negative", "unremarkable", "noabnormality", "noabnormalities",
     "nothing", "clear", "nodisease", "nopathology", "withinnormallimits", "wnl")
)  # fmt: skip
_OTHER_SEPARATORS = {"|": any, ";": any, ",": all}
"""Signs that join findings, and how many of the parts have to be findings of their own for it to be so: commas also
stand within the name of one."""
_TEXT_IN_LIST = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")


def label_value(cell: str) -> float | None:
    """What a cell of a label column says: 1 present, 0 absent, NaN unknown; None where it says nothing of the kind.

    Example:
        >>> [label_value(cell) for cell in ("1.0", "no", "TRUE", "2")], label_value("NA")
        ([1.0, 0.0, 1.0, None], nan)
    """
    word = cell.strip().casefold()
    if is_unknown(word) or word in _UNCERTAIN:
        return math.nan
    if word in _PRESENT or word in _ABSENT:
        return float(word in _PRESENT)
    if not re.fullmatch(r"[+-]?\d+(?:[.,]0*)?", word):
        return None
    number = float(word.replace(",", "."))
    return {1.0: 1.0, 0.0: 0.0, UNCERTAIN: math.nan}.get(number)


def label_values(name: str, cells: Sequence[str], place: str) -> tuple[list[float], tuple[str, ...]]:
    """A column of labels as numbers, and what should be known about it.

    Raises:
        DataError: a cell says something else.
    """
    meant = {cell: label_value(cell) for cell in set(cells)}
    wrong = sorted(cell for cell, value in meant.items() if value is None)
    if wrong:
        raise DataError(
            f"label column '{name}' of {place} holds {len(wrong)} values other than 1, 0, -1 and blank, such as "
            f"'{wrong[0][:20]}'; write 1 and 0 (yes and no are read too), or give finding_column for findings"
        )
    values = [value for value in (meant[cell] for cell in cells) if value is not None]
    is_plus_or_minus = any(cell.startswith("-1") for cell in meant) and not any(is_unknown(cell) for cell in meant)
    if is_plus_or_minus and 0.0 not in values:
        return values, (f"label '{name}' holds -1 and no 0: -1 counts as unknown; write 0 if it means absent.",)
    return values, ()


def findings_of(
    column: str, cells: Sequence[str], place: str, *, separator: str, negative: str | None
) -> tuple[list[list[str] | None], list[str], tuple[str, ...]]:
    """Cells of findings taken apart.

    Args:
        column: its name, for messages.
        cells: (N,) findings joined by the separator, or a list as Python writes one.
        place: the table, for messages.
        separator: between two findings.
        negative: the finding that stands for none; None is ``NO_FINDING``, whatever its spelling.

    Returns:
        The findings of each cell, without the negative one, None where nothing is known; their names, sorted; notes.

    Raises:
        UsageError: nobody said which finding stands for none, or which sign stands between two, and the cells do not.
        DataError: a list cannot be read, the negative finding is joined with another, a finding has two spellings, or
            there is none.
    """
    between = separator.strip() or separator
    taken = {cell: _taken_apart(cell, between) for cell in set(cells)}
    if unreadable := sum(taken[cell] is None for cell in cells):
        raise DataError(f"{unreadable} cells of column '{column}' of {place} begin a list that does not end as one")
    rows = [taken[cell] or [] for cell in cells]
    none_of_all, notes = _negatives(column, rows, place, negative)
    contradictory = sum(len(row) > 1 and not none_of_all.isdisjoint(row) for row in rows)
    if contradictory:
        raise DataError(
            f"{contradictory} rows of {place} join '{negative or NO_FINDING}' with a finding in column '{column}'; "
            "correct them, or leave them out with --where on another column"
        )
    names = sorted({finding for row in rows for finding in row} - none_of_all)
    if not names:
        raise DataError(f"column '{column}' of {place} names no finding besides '{negative or NO_FINDING}'")
    _require_one_spelling(column, names, place)
    _require_one_separator(column, names, place, between)
    found = [[finding for finding in row if finding not in none_of_all] if row else None for row in rows]
    if num_words := sum(bool(cell.strip()) and is_unknown(cell) for cell in cells):
        notes = (*notes, f"{num_words} cells of column '{column}' say None, NA or the like, and count as unknown.")
    return found, names, notes


def one_hot(findings: Sequence[Sequence[str] | None], names: Sequence[str]) -> dict[str, list[float]]:
    """One float column per name; None means that nothing is known of that film."""
    return {name: [math.nan if row is None else float(name in row) for row in findings] for name in names}


def _taken_apart(cell: str, separator: str) -> list[str] | None:
    """The known findings of a cell; None for a list that cannot be read."""
    parts: Sequence[object] = cell.split(separator)
    if cell.strip()[:1] in ("[", "{"):
        try:
            listed = ast.literal_eval(cell.strip())
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return None
        parts = list(listed) if isinstance(listed, list | tuple | set) else []
        # numpy prints ['a' 'b'] without commas, which Python reads as one text
        if len(_TEXT_IN_LIST.findall(cell)) != len(parts) or not all(isinstance(part, str) for part in parts):
            return None
    return list(dict.fromkeys(text for part in parts if (text := known(str(part)))))


def _negatives(
    column: str, rows: Sequence[Sequence[str]], place: str, negative: str | None
) -> tuple[set[str], tuple[str, ...]]:
    """The spellings of the finding that stands for none."""
    count = Counter(finding for row in rows for finding in row)
    meant = NO_FINDING if negative is None else negative
    spellings = {finding for finding in count if _folded(finding) == _folded(meant)}
    if (
        negative is None
        and not spellings
        and (likely := [name for name in sorted(count) if _folded(name) in _NEGATIVES])
    ):
        raise UsageError(
            f"column '{column}' of {place} holds no '{NO_FINDING}' but {_quoted(likely)}; say with "
            "negative_value which finding stands for none, so that it becomes no label"
        )
    others = sorted(spellings - {meant})
    if others:
        return spellings, (f"{_quoted(others)} counts as '{meant}'.",)
    if negative and not spellings:
        return spellings, (f"no film has the finding '{negative}' that stands for none.",)
    return spellings, ()


def _require_one_spelling(column: str, names: Sequence[str], place: str) -> None:
    by_spelling: Mapping[str, int] = Counter(_folded(name) for name in names)
    twice = [name for name in names if by_spelling[_folded(name)] > 1]
    if twice:
        raise DataError(
            f"column '{column}' of {place} has findings that differ in nothing but spelling: {_quoted(twice)}; write "
            "each in one way"
        )


def _require_one_separator(column: str, names: Sequence[str], place: str, separator: str) -> None:
    """Findings that are several findings, joined by another sign, are no labels."""
    alone = {_folded(name) for name in names} | _NEGATIVES
    for sign, enough in _OTHER_SEPARATORS.items():
        joined = [
            name for name in names if sign in name and enough(_folded(part) in alone for part in name.split(sign))
        ]
        if sign != separator and joined:
            raise UsageError(
                f"column '{column}' of {place} joins findings by '{sign}', not only by '{separator}', in {len(joined)} "
                f"of its findings, such as '{joined[0][:60]}'; say so with separator, and write one sign throughout"
            )


def _folded(name: str) -> str:
    return re.sub(r"[\s_]+|(?<=\w)-(?=\w)", "", name).casefold()


def _quoted(names: Sequence[str]) -> str:
    return shown([f"'{name}'" for name in names], 6)
