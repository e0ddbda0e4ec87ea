"""Which cells of a table say that something is not known: one set of words for every reader.

People's tables come out of R, Excel, databases and laboratory systems, and each has its own word. Ids of samples and
paths are not asked: a sample that is called NA is called NA.
"""

UNKNOWN_WORDS = frozenset(
    ("", "na", "n/a", "n.a.", "#n/a", "#na", "<na>", "nan", "-nan", "#null!", "nat", "none", "null", "(null)", "nil",
     r"\n", "unknown", ".", "..", "-", "--", "–", "—", "?")
)  # fmt: skip
r"""What stands for "not known", case-folded: R's NA, Python's nan and None, databases' NULL and \N, Excel's #N/A, the
point of Stata and SAS, and the signs people type."""


def is_unknown(text: str) -> bool:
    """Whether a cell says that something is not known; not to be asked of ids of samples, nor of paths."""
    return text.strip().casefold() in UNKNOWN_WORDS


def known(text: str) -> str:
    """A cell without blanks around it; "" where it says that something is not known.

    Example:
        >>> [known(cell) for cell in (" F ", "N/A", "null", "007")]
        ['F', '', '', '007']
    """
    return "" if is_unknown(text) else text.strip()
