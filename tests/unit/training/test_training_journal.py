import math

import pytest

from pacx.core.errors import ArtifactError, TrainingError
from pacx.training.monitoring.journal import TRAIN, VALIDATION, Journal, JournalEntry, curve, read_journal


def entry(step: int, value: float = 0.1, kind: str = TRAIN) -> JournalEntry:
    return JournalEntry(kind=kind, epoch=0, step=step, values={"loss": value})


def test_read_back_as_written(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    written = [entry(1, 1 / 3), entry(2), entry(2, 0.5, VALIDATION)]
    for item in written:
        journal.append(item)
    assert read_journal(journal.path) == written
    assert curve(written, TRAIN, "loss") == ([1, 2], [1 / 3, 0.1])
    assert curve(written, VALIDATION, "loss") == ([2], [0.5])
    assert curve(written, TRAIN, "other") == ([], [])


def test_missing_journal_is_empty(tmp_path):
    assert read_journal(tmp_path / "none.jsonl") == []


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_torn_last_line_is_passed_over(tmp_path, cut):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append(entry(1))
    whole = journal.path.read_bytes()
    journal.append(entry(2))
    torn = journal.path.read_bytes()[:-cut]
    journal.path.write_bytes(torn)
    expected = [entry(1), entry(2)] if cut == 1 else [entry(1)]  # only the newline is gone: the entry is whole
    assert read_journal(journal.path) == expected
    journal.forget_after(1)
    assert journal.path.read_bytes() == whole


def test_damage_before_the_last_line_is_refused(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append(entry(1))
    journal.path.write_bytes(journal.path.read_bytes()[:-9] + b"\n")
    journal.append(entry(2))
    with pytest.raises(TrainingError, match="line 1 is not a journal entry"):
        read_journal(journal.path)


def test_entries_after_the_checkpoint_are_dropped(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    for step in (2, 4, 6):
        journal.append(entry(step))
    journal.forget_after(4)
    assert [item.step for item in read_journal(journal.path)] == [2, 4]


def test_values_that_are_not_finite_come_back_as_nan(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append(entry(1, math.inf))
    journal.append(entry(2, math.nan))
    assert all(math.isnan(item.values["loss"]) for item in read_journal(journal.path))


def test_unwritable_folder_is_a_sentence(tmp_path):
    with pytest.raises(ArtifactError, match="cannot write"):
        Journal(tmp_path / "no/such/journal.jsonl").append(entry(1))
