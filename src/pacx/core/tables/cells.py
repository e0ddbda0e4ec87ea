"""Which cells of a table say that something is not known: one set of words for every reader.

People's tables come out of R, Excel, databases and laboratory systems, and each has its own word. Ids of samples and
paths are not asked: a sample that is called NA is called NA.
"""

BLANKS = (
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
)
"""What is no part of a cell where it stands at its beginning or end: Unicode's white space, and what nobody sees and
web pages and spreadsheets leave behind (zero-width blanks and joiners, marks of direction, byte order marks)."""

UNKNOWN_WORDS = frozenset(
    ("", "na", "n/a", "n.a.", "#n/a", "#na", "<na>", "nan", "-nan", "#null!", "nat", "none", "null", "(null)", "nil",
     r"\n", "unknown", ".", "..", "-", "--", "–", "—", "?")
)  # fmt: skip
r"""What stands for "not known", case-folded: R's NA, Python's nan and None, databases' NULL and \N, Excel's #N/A, the
point of Stata and SAS, and the signs people type."""


def bare(text: str) -> str:
    r"""A cell, a name or an id without blanks around it.

    Example:
        >>> bare("\ufeff P001\u00a0\t")
        'P001'
    """
    return text.strip(BLANKS)


def is_unknown(text: str) -> bool:
    """Whether a cell says that something is not known; not to be asked of ids of samples, nor of paths."""
    return bare(text).casefold() in UNKNOWN_WORDS


def known(text: str) -> str:
    """A cell without blanks around it; "" where it says that something is not known.

    Example:
        >>> [known(cell) for cell in (" F ", "N/A", "null", "007")]
        ['F', '', '', '007']
    """
    return "" if is_unknown(text) else bare(text)
