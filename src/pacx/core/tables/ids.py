"""Ids as tables spell them: whole numbers that passed through a floating-point column, and ids that nearly meet.

One spelling per id, given where a table enters, so that admission 20000001 of one table meets 20000001.0 of another.
Leading zeros, prefixes and case are part of an id; where two sides differ only in those, a message says so.
"""

import re
from collections.abc import Callable, Iterable

_WHOLE = re.compile(r"(-?(?:0|[1-9][0-9]*))\.0*")
_ROUNDED = re.compile(r"[0-9](?:[.,][0-9]+)?[eE]\+[0-9]+")
_NUM_DIGITS_EXACT = 15


def whole_number_id(text: str) -> str:
    """An id without blanks around it, and without the ``.0`` that a floating-point column adds to a whole number.

    Everything else stays as it is: 007, 1.50, 1e7, and numbers of more digits than a floating-point number holds.

    Example:
        >>> [whole_number_id(text) for text in ("20000001.0", " 20000001", "007", "1.50", "s1")]
        ['20000001', '20000001', '007', '1.50', 's1']
    """
    stripped = text.strip()
    whole = _WHOLE.fullmatch(stripped)
    return whole[1] if whole and len(whole[1]) <= _NUM_DIGITS_EXACT else stripped


def is_rounded(text: str) -> bool:
    """Whether an id is a rounded number (2.00E+07, as spreadsheets show long ones), so that its digits are lost."""
    return _ROUNDED.fullmatch(text.strip()) is not None


_SPELLINGS: dict[str, Callable[[str], str]] = {
    "if '.0' is dropped": whole_number_id,
    "if upper and lower case are the same": str.casefold,
    "if leading zeros are dropped": lambda text: text.lstrip("0"),
    "if what stands before the number is dropped": lambda text: re.sub(r"^[^0-9]+", "", text),
    "if the ending is dropped": lambda text: re.sub(r"\.[A-Za-z][A-Za-z0-9]*$", "", text),
    "if folders and endings are dropped": lambda text: re.sub(r"\.[A-Za-z][A-Za-z0-9]*$", "", text.rpartition("/")[2]),
}


def how_they_would_meet(ids: Iterable[str], others: Iterable[str]) -> str:
    """The end of a sentence on ids that do not meet: under which other spelling most of them would; "" if none helps.

    Example:
        >>> how_they_would_meet(["p1", "p2", "p3"], ["1", "2", "9"])
        '; 2 ids would meet if what stands before the number is dropped'
    """
    ours, theirs = set(ids), set(others)
    best, said = 0, ""
    for what, spell in _SPELLINGS.items():
        meant = {spell(text) for text in theirs} - {""}
        count = sum(spell(text) in meant for text in ours)
        if count > best:
            best, said = count, what
    return f"; {best:,} ids would meet {said}" if best > len(ours & theirs) else ""
