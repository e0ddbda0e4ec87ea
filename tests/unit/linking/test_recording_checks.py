"""A recording read without wfdb is judged as wfdb's signals would be, and every other kind by wfdb itself."""

from pathlib import Path

import numpy as np
import pytest

from pacx.core.vocabulary import ECG_LEADS
from pacx.linking import recording_checks
from pacx.linking.recording_checks import Signal, checked
from pacx.modalities.ecg_signal.formats.wfdb import imported_wfdb

COUNT = 500


def record(folder: Path, name: str, samples: np.ndarray, lead: str = "16 200(0)/mV 16 0 0 0 0", count: int = 0) -> str:
    """A record whose every lead has the same line."""
    lines = [f"{name} 12 500 {count or len(samples)}", *(f"{name}.dat {lead} {each}" for each in ECG_LEADS)]
    (folder / f"{name}.hea").write_text("\n".join(lines) + "\n")
    (folder / f"{name}.dat").write_bytes(samples.astype("<i2").tobytes())
    return name


def as_wfdb_says(path: Path) -> Signal:
    """The rule's own words, on what wfdb reads."""
    signal = imported_wfdb().rdrecord(str(path)).p_signal
    return Signal.INVALID if np.isnan(signal).any() else Signal.ZERO if np.all(signal == 0) else Signal.GOOD


@pytest.mark.parametrize("lead", ["16 200(0)/mV 16 0 0 0 0", "16 4.88(-7)/uV 16 3 0 0 0", "16 200/mV 16 5 0 0 0"])
@pytest.mark.parametrize("at_rest", [0, -7, 5])
def test_a_plain_record_is_judged_as_by_wfdb(tmp_path: Path, lead: str, at_rest: int) -> None:
    flat = np.full((COUNT, 12), at_rest)
    one_off, invalid = flat.copy(), flat.copy()
    one_off[COUNT - 1, 11] += 1
    invalid[COUNT // 2, 3] = -32768
    names = [
        record(tmp_path, name, samples, lead)
        for name, samples in {"flat": flat, "one_off": one_off, "invalid": invalid}.items()
    ]
    found = checked(tmp_path, names, tmp_path, 1)
    assert found == {name: as_wfdb_says(tmp_path / name) for name in names}
    assert found["invalid"] is Signal.INVALID


def test_other_kinds_are_left_to_wfdb(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(-900, 900, (COUNT, 12))
    names = [
        record(tmp_path, "pressure", samples, "16 200(0)/mmHg 16 0 0 0 0"),
        record(tmp_path, "packed", samples[: COUNT // 4 * 3], "212 200(0)/mV 12 0 0 0 0", count=COUNT),
        record(tmp_path, "bare", 0 * samples, "16 200"),
    ]
    found = checked(tmp_path, names, tmp_path, 1)
    assert found == {name: as_wfdb_says(tmp_path / name) for name in names}
    assert found["bare"] is Signal.ZERO


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    samples = np.ones((COUNT, 12))
    short = record(tmp_path, "short", samples, count=COUNT + 1)
    lost = record(tmp_path, "lost", samples)
    (tmp_path / "lost.dat").unlink()
    found = checked(tmp_path, [short, lost, "nowhere"], tmp_path, 1)
    assert list(found.values()) == [Signal.UNREADABLE, Signal.UNREADABLE, Signal.ABSENT]


def test_worker_processes_say_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = np.zeros((COUNT, 12))
    names = [record(tmp_path, f"r{row}", samples + row % 2) for row in range(130)]
    alone = checked(tmp_path, names, tmp_path, 1)
    (tmp_path / recording_checks.JOURNAL).unlink()
    monkeypatch.setattr(recording_checks, "_MANY", len(names))
    monkeypatch.setattr(recording_checks, "_signal", None)  # here; worker processes have their own
    assert checked(tmp_path, names, tmp_path, 2) == alone
    assert set(alone.values()) == {Signal.ZERO, Signal.GOOD}
