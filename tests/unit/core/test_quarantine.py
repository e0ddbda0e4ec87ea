"""When too much was left out: the share, everything, and the hundred that may come on top while work goes on."""

import pytest

from pacx.core.errors import DataError
from pacx.core.quarantine import Quarantined, require_few_bad


def bad(count: int, *, file: str = "") -> list[Quarantined]:
    return [Quarantined(sample_id=f"s{row}", file=file and f"{file}{row}", reason="is flat") for row in range(count)]


def test_the_share_allowed_is_allowed() -> None:
    require_few_bad("films", bad(2), 200, 0.01)
    require_few_bad("films", [], 0, 0.0)
    with pytest.raises(
        DataError,
        match=r"^3 of 200 films cannot be used, more than the 1\.00% allowed: s0 is flat; s1 is flat; s2 is flat; mend",
    ):
        require_few_bad("films", bad(3), 200, 0.01)


def test_a_few_are_named_by_their_files_where_they_have_some() -> None:
    with pytest.raises(DataError, match=r"f0 \(is flat\); f1 \(is flat\); f2 \(is flat\) \.\.\.; mend"):
        require_few_bad("films", bad(4, file="f"), 200, 0.01)


def test_while_work_goes_on_a_hundred_more_may_be_bad() -> None:
    require_few_bad("films", bad(102), 200, 0.01, is_done=False)
    with pytest.raises(DataError, match="103 of 200"):
        require_few_bad("films", bad(103), 200, 0.01, is_done=False)


def test_all_are_too_many_whatever_is_allowed() -> None:
    with pytest.raises(DataError, match=r"none of 5 ECG recordings can be used; the first: s0 is flat"):
        require_few_bad("ECG recordings", bad(5), 5, 1.0)
