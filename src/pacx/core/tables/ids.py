"""Ids as tables spell them: whole numbers that passed through a floating-point column, and ids that nearly meet.

One spelling per id, given where a table enters, so that admission 20000001 of one table meets 20000001.0 of another.
Leading zeros, prefixes and case are part of an id; where two sides differ only in those, a message says so.
"""

import re
from collections.abc import Callable, Iterable, Sequence

from pacx.core.errors import DataError
from pacx.core.tables.cells import bare, known

_WHOLE = re.compile(r"(-?(?:0|[1-9][0-9]*))\.0*")
_POWER = re.compile(r"([1-9])(?:\.([0-9]+))?e\+([0-9]{2})")
ROUNDED = r"[0-9](?:[.,][0-9]+)?[eE]\+[0-9]+"
"""A number as spreadsheets round it."""
_MOST_ROUNDED = 0.01
_NUM_DIGITS_EXACT = 15


def whole_number_id(text: str) -> str:
    """An id without blanks around it, and without the ``.0`` that a floating-point column adds to a whole number.

    R writes 100000 as 1e+05, wherever that is shorter, which is exact and read. Everything else stays as it is: 007,
    1.50, 1e7, 2.01235e+07, and numbers of more digits than a floating-point number holds.

    Example:
        >>> [whole_number_id(text) for text in ("20000001.0", " 20000001", "007", "1.50", "s1")]
        ['20000001', '20000001', '007', '1.50', 's1']
    """
    stripped = bare(text)
    if (whole := _WHOLE.fullmatch(stripped)) and len(whole[1]) <= _NUM_DIGITS_EXACT:
        return whole[1]
    if (power := _POWER.fullmatch(stripped)) and len(power[2] or "") <= int(power[3]) < _NUM_DIGITS_EXACT:
        digits = power[1] + (power[2] or "").ljust(int(power[3]), "0")
        return digits if len(stripped) < len(digits) else stripped
    return stripped


def is_rounded(text: str) -> bool:
    """Whether an id is a number as spreadsheets round it (2.00E+07), so that its digits are lost."""
    return re.fullmatch(ROUNDED, bare(text)) is not None


def require_whole_ids(ids: Iterable[str], place: str) -> None:
    """Refuse ids that were written as rounded numbers (2.00E+07, 2e+07), so that many of them have become one.

    One in a hundred may look so: R writes 100000 as 1e+05.

    Args:
        ids: as the table has them, before anything is made of them; blank ones are none.
        place: of the table, for the message.

    Raises:
        DataError: more than that are.
    """
    distinct = set(map(bare, ids)) - {""}
    num_rounded = sum(map(is_rounded, distinct))
    if num_rounded > max(1, _MOST_ROUNDED * len(distinct)) or num_rounded == len(distinct) > 0:
        raise DataError(
            f"{num_rounded} of {len(distinct)} ids in {place} are rounded numbers, as spreadsheets and programs show "
            "long ones (2.00E+07, 2e+07), so that nobody knows whose they are; export the table again with the ids as "
            "text"
        )


def whole_ids(texts: Iterable[str], place: str) -> list[str]:
    """The ids of a column, each by ``whole_number_id``; raises as ``require_whole_ids``."""
    cells = list(texts)
    require_whole_ids(cells, place)
    return [whole_number_id(text) for text in cells]


def persons(patients: Iterable[object], samples: Sequence[str]) -> tuple[str, ...]:
    """Whose each sample is, (N,): where the patient is not known, the sample's own name stands for a person of its own.

    Args:
        patients: as a table or a caller has them, numbers and None among them; () where nobody is known.
        samples: N ids.

    Raises:
        DataError: the patients were written as rounded numbers, so that many of them have become one.
    """
    told = whole_ids((known(str(patient)) for patient in patients), "the column of patients") or [""] * len(samples)
    return tuple(patient or sample for patient, sample in zip(told, samples, strict=True))


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
