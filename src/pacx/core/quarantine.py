"""What was left out of a piece of work, by name and reason, and when that is too much of it.

Films, recordings and panels of laboratory values alike: one that cannot be used is named and left out, and work that
would have to leave out more than a sliver stops with the names of a few.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pacx.core.errors import DataError

_NUM_SHOWN = 3
_NUM_COLLECTED = 100


@dataclass(frozen=True, kw_only=True)
class Quarantined:
    """A film or another sample that was left out.

    Args:
        sample_id: whose it is; for a film that has no other name, its path.
        file: the file at fault, as the caller named it; "" where the sample is no file of its own.
        reason: why, in a few words, without any of the content; of a sample without a file it goes on after the name
            ("is constant").
        sha256: of the file's bytes; "" where they cannot be read.
    """

    sample_id: str
    file: str = ""
    reason: str
    sha256: str = ""

    def __str__(self) -> str:
        return f"{self.file} ({self.reason})" if self.file else f"{self.sample_id} {self.reason}"


def by_reason(bad: Iterable[Quarantined]) -> list[tuple[str, int]]:
    """How many were left out for each reason, the most frequent first.

    Reasons that differ in names of samples and files, numbers, leads or what stands behind a colon are one.
    """

    def bare(entry: Quarantined) -> str:
        reason = entry.reason.partition(":")[0]
        for name in filter(None, (entry.file, entry.sample_id)):
            reason = reason.replace(name, "")
        reason = re.sub(r"(recording|film) of \S+", r"\1 of another patient", reason)
        return re.sub(r"\d[\d.,]*(?:e[+-]?\d+)?", "N", re.sub(r" (in|of) lead .*", r" \1 a lead", reason)).strip()

    return Counter(map(bare, bad)).most_common()


def require_few_bad(
    what: str, bad: Sequence[Quarantined], num_all: int, max_bad_fraction: float, *, is_done: bool = True
) -> None:
    """Refuse work that has to leave out too much.

    Args:
        what: the samples, a plural noun ("films").
        bad: those left out so far.
        num_all: of all samples.
        max_bad_fraction: share that may be left out, in [0, 1].
        is_done: whether all were looked at. Until then a hundred more may be bad, so that a hopeless piece of work ends
            early, and one that is not can be mended in one go.

    Raises:
        DataError: more than the share allowed, or in the end everything; the message names some.
    """
    if len(bad) > max_bad_fraction * num_all + (0 if is_done else _NUM_COLLECTED):
        named = "; ".join(map(str, bad[:_NUM_SHOWN]))
        raise DataError(
            f"{len(bad)} of {num_all} {what} cannot be used, more than the {max_bad_fraction:.2%} allowed: {named}"
            f"{' ...' if len(bad) > _NUM_SHOWN else ''}; mend them, leave them out, or allow a larger share of bad ones"
        )
    if bad and len(bad) == num_all:
        raise DataError(f"none of {num_all} {what} can be used; the first: {bad[0]}")
