import pytest

from pacx.core import progress as module


def test_short_work_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with module.progress("Packing", 3, "images") as bar:
        bar.advance(3)
    assert capsys.readouterr() == ("", "")


def test_a_log_line_tells_rate_and_remaining_time(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 1.0, 40.0, 41.0, 80.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    with module.progress("Packing", 800, "images") as bar:
        for _ in range(4):
            bar.advance(100, "loss 0.5")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "Packing: 200/800 images, 5/s, 2:00 left loss 0.5",
        "Packing: 400/800 images, 5/s, 1:20 left loss 0.5",
    ]
