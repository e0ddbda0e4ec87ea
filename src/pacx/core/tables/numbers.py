"""Numbers in the cells of a table, as laboratory systems and spreadsheets of many countries write them.

Stands between the text of a cell and a value. A word is never taken for a number, nor one decimal sign for the other:
what is ambiguous is bad, and whoever reads the table says how much of that it bears.
"""

import re
from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pacx.core.errors import DataError
from pacx.core.tables.cells import BLANKS, is_unknown

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_LIMIT = re.compile(r"(?:<=|>=|=<|=>|[<>≤≥])\s*")
_FLAG = re.compile(r"\s*(?:\*+|!|\(?(?:HH?|LL?)\)?)$")
_SPACED = re.compile(r"([1-9][0-9]{0,2})((?:([ '’\u00a0\u2009\u202f])[0-9]{3})(?:\3[0-9]{3})*)(?![0-9])")
_BODY = re.compile(r"([+-]?)([0-9.,]+)((?:[eE][+-]?[0-9]+)?)")


class _Form(Enum):
    """How the digits of a number are written, as far as the cell alone can say; the first that fits counts."""

    WHOLE = r"[0-9]+"
    POINT_OR_THOUSAND = r"[1-9][0-9]{0,2}\.[0-9]{3}"
    COMMA_OR_THOUSAND = r"[1-9][0-9]{0,2},[0-9]{3}"
    POINT = r"[0-9]+\.[0-9]*|\.[0-9]+"
    COMMA = r"[0-9]*,[0-9]+"
    THOUSANDS_BY_COMMA = r"[1-9][0-9]{0,2}(?:,[0-9]{3}){2,}|[1-9][0-9]{0,2}(?:,[0-9]{3})+\.[0-9]*"
    THOUSANDS_BY_POINT = r"[1-9][0-9]{0,2}(?:\.[0-9]{3}){2,}|[1-9][0-9]{0,2}(?:\.[0-9]{3})+,[0-9]+"


_PATTERNS = {form: re.compile(form.value) for form in _Form}
_POINT_OR_THOUSAND = _PATTERNS[_Form.POINT_OR_THOUSAND]


class _Parts(NamedTuple):
    """A cell taken apart; without a form it is no number."""

    is_limit: bool
    is_flagged: bool
    is_spaced: bool
    sign: str = ""
    digits: str = ""
    exponent: str = ""
    form: _Form | None = None


class NumberCells:
    """Reads the numbers of one table, a part of its cells after the other, and counts what was made of them.

    Understood are a sign, an exponent, ``<0.90`` and ``>=600`` as the limit itself, a laboratory's flag behind the
    number (``5.6*``, ``5.6 H``), groups of three digits and decimal commas. ``4,2`` can only be 4.2 and ``1,250.5``
    only 1250.5; ``1,250`` is read as the other cells of the table are written, and is bad where they do not tell. So is
    every text that neither is a number nor says "not known": a unit behind the number, "haemolysed", inf.

    Example:
        >>> cells = NumberCells()
        >>> values, is_bad = cells.read(["4,2", "1.250,5", "<0,90", "NA", "98 %"])
        >>> values.tolist(), is_bad.tolist()
        ([4.2, 1250.5, 0.9, nan, nan], [False, False, False, False, True])
        >>> cells.notes()[0]
        '1 values are written as above or below a limit and count as that limit'
    """

    def __init__(self) -> None:
        self._num_limits = self._num_flagged = self._num_commas = self._num_grouped = 0
        self._seen: set[_Form] = set()
        self._decimal: dict[_Form, str] = {}

    def read(self, cells: Iterable[str]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Numbers (N,), NaN where there is none, and which cells are bad (N,).

        Raises:
            DataError: earlier cells of the same table had to be read by another meaning of comma and point.
        """
        texts = list(cells)
        values, is_bad = np.full(len(texts), np.nan), np.zeros(len(texts), bool)
        others: dict[str, list[int]] = {}
        for row, text in enumerate(texts):
            if _NUMBER.fullmatch(text) and not ("." in text and _POINT_OR_THOUSAND.fullmatch(text.lstrip("+-"))):
                values[row] = float(text)
                if "." in text:
                    self._seen.add(_Form.POINT)
            elif not is_unknown(text):
                others.setdefault(text, []).append(row)
        taken_apart = {text: _taken_apart(text) for text in others}
        self._seen |= {parts.form for parts in taken_apart.values() if parts.form}
        for text, rows in others.items():
            values[rows] = value = self._value(taken_apart[text], len(rows))
            is_bad[rows] = np.isnan(value)
        is_bad |= np.isinf(values)
        values[is_bad] = np.nan
        return values, is_bad

    def notes(self) -> tuple[str, ...]:
        """What was made of cells that are more than a number, one sentence each."""
        said = {
            "are written as above or below a limit and count as that limit": self._num_limits,
            "carry a flag behind the number, which is passed over": self._num_flagged,
            "have a decimal comma": self._num_commas,
            "have their thousands separated": self._num_grouped,
        }
        return tuple(f"{count:,} values {what}" for what, count in said.items() if count)

    def _value(self, parts: _Parts, count: int) -> float:
        if parts.form is None:
            return float("nan")
        decimal = self._decimal_sign(parts.form)
        if not decimal:
            return float("nan")
        thousands = "," if decimal == "." else "."
        self._num_limits += count * parts.is_limit
        self._num_flagged += count * parts.is_flagged
        self._num_commas += count * (decimal == "," and "," in parts.digits)
        self._num_grouped += count * (parts.is_spaced or thousands in parts.digits)
        return float(f"{parts.sign}{parts.digits.replace(thousands, '').replace(',', '.')}{parts.exponent}")

    def _decimal_sign(self, form: _Form) -> str:
        """The decimal sign by which such digits are read; "" where nobody can say."""
        if form in (_Form.COMMA, _Form.THOUSANDS_BY_POINT):
            return ","
        if form not in (_Form.COMMA_OR_THOUSAND, _Form.POINT_OR_THOUSAND):
            return "."
        by_comma = bool(self._seen & {_Form.COMMA, _Form.THOUSANDS_BY_POINT})
        by_point = bool(self._seen & {_Form.POINT, _Form.THOUSANDS_BY_COMMA})
        if form is _Form.COMMA_OR_THOUSAND:
            sign = "" if by_comma == by_point else "," if by_comma else "."
        elif by_comma and not by_point:  # a point among decimal commas: of thousands if others of them are
            sign = "," if _Form.THOUSANDS_BY_POINT in self._seen else ""
        else:
            sign = "."
        if self._decimal.setdefault(form, sign) != sign:
            raise DataError(
                "numbers such as 1,250 or 1.250 cannot be read, for the table has decimal commas in one part and "
                "decimal points in another; write decimal points throughout, and no separators of thousands"
            )
        return sign


def _taken_apart(text: str) -> _Parts:
    bare = text.strip(BLANKS).replace("−", "-")
    limit = _LIMIT.match(bare)
    bare = bare[limit.end() :] if limit else bare
    flag = _FLAG.search(bare)
    bare = bare[: flag.start()] if flag else bare
    closed = _SPACED.sub(lambda found: found[1] + found[2].replace(found[3], ""), bare)
    dressing = _Parts(bool(limit), bool(flag), closed != bare)
    body = _BODY.fullmatch(closed)
    form = next((form for form, pattern in _PATTERNS.items() if pattern.fullmatch(body[2])), None) if body else None
    return dressing._replace(sign=body[1], digits=body[2], exponent=body[3], form=form) if body and form else dressing
