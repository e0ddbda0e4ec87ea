"""TensorBoard and W&B show what the journal says, each step once, also over kills; nothing is sent anywhere."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_training_loop import stop_after
from tiny_task import CONFIG, TinyTask

from pacx.core.errors import UsageError
from pacx.training.loop import train
from pacx.training.monitoring.journal import JournalEntry, read_journal

WATCHED = replace(CONFIG, tensorboard=True)


class IllustratedTask(TinyTask):
    def illustrate(self, out: Path) -> None:
        Image.fromarray(np.full((4, 6), 90, np.uint8)).save(out / "sketch.png")


def told(entries: list[JournalEntry]) -> dict[str, list[tuple[int, float]]]:
    """The journal as curves by the names trackers use."""
    curves: dict[str, list[tuple[int, float]]] = {}
    for entry in entries:
        for name, value in entry.values.items():
            curves.setdefault(f"{entry.kind}/{name}", []).append((entry.step, pytest.approx(value, rel=1e-6)))
    return curves


def events(run: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    shown = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0, "images": 0})
    shown.Reload()
    return shown


def test_tensorboard_tells_the_journal_once_over_a_kill(tmp_path):
    pytest.importorskip("tensorboard", reason="pip install '.[track]'")
    with pytest.raises(KeyboardInterrupt):
        train(stop_after(IllustratedTask(), 2), WATCHED, tmp_path / "run")
    # trained further than the last checkpoint, as before a kill: this step is trained, and told, again
    with (tmp_path / "run/journal.jsonl").open("a") as journal:
        journal.write(JournalEntry(kind="train", epoch=2, step=10, values={"loss": 99.0}).to_line() + "\n")
    train(IllustratedTask(), WATCHED, tmp_path / "run", resume=True)
    shown = events(tmp_path / "run")
    curves = {tag: [(each.step, each.value) for each in shown.Scalars(tag)] for tag in shown.Tags()["scalars"]}
    assert curves == told(read_journal(tmp_path / "run/journal.jsonl"))
    assert [step for step, _ in curves["train/loss"]] == [2, 4, 6, 8, 10, 12, 14, 16]
    pictures = shown.Images("sketch")
    assert [each.step for each in pictures] == [12, 16]
    assert (pictures[0].width, pictures[0].height) == (6, 4)


def test_a_run_may_be_watched_or_not_and_ends_in_the_same_bits(tmp_path):
    pytest.importorskip("tensorboard", reason="pip install '.[track]'")
    with pytest.raises(KeyboardInterrupt):
        train(stop_after(TinyTask(), 2), CONFIG, tmp_path / "run")
    train(TinyTask(), WATCHED, tmp_path / "run", resume=True)
    train(TinyTask(), CONFIG, tmp_path / "plain")
    assert (tmp_path / "run/tiny.safetensors").read_bytes() == (tmp_path / "plain/tiny.safetensors").read_bytes()
    assert len(events(tmp_path / "run").Scalars("train/loss")) == 8  # the unwatched session's steps too
    assert not (tmp_path / "plain/tensorboard").exists()


def logged(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """The curves in an offline run of W&B: framed protobuf records, all in one block of 32 kB."""
    from wandb.proto.wandb_internal_pb2 import Record

    (path,) = folder.glob("*.wandb")
    data, place, curves = path.read_bytes(), 7, {}
    assert len(data) < 2**15
    while place < len(data):
        length = int.from_bytes(data[place + 4 : place + 6], "little")
        record = Record.FromString(data[place + 7 : place + 7 + length])
        place += 7 + length
        values = {item.nested_key[0] if item.nested_key else item.key: item.value_json for item in record.history.item}
        for name, value in values.items():
            if not name.startswith("_"):
                curves.setdefault(name, []).append((int(values["_step"]), float(value)))
    return curves


def test_wandb_offline_tells_the_journal_once_over_a_kill(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="pip install '.[track]'")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    watched = replace(CONFIG, wandb=True)
    with pytest.raises(KeyboardInterrupt):
        train(stop_after(IllustratedTask(), 2), watched, tmp_path / "run")
    train(IllustratedTask(), watched, tmp_path / "run", resume=True)
    sessions = sorted((tmp_path / "run/wandb").glob("offline-run-*"))
    assert len({folder.name.rsplit("-", 1)[1] for folder in sessions}) == 1, "two sessions, one run"
    assert logged(sessions[-1]) == told(read_journal(tmp_path / "run/journal.jsonl"))
    assert not list((tmp_path / "run/wandb").rglob("*.png")), "films stay here"


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_tracker_that_is_not_installed_is_named_before_anything_is_written(tmp_path, monkeypatch, name):
    for module in [each for each in sys.modules if each.split(".")[0] == name or each == "torch.utils.tensorboard"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)  # what Python keeps for a package that is not there
    with pytest.raises(UsageError, match=rf"--training\.{name} needs the package {name} .*pip install '\.\[track\]'"):
        train(TinyTask(), replace(CONFIG, **{name: True}), tmp_path / "run")
    assert not (tmp_path / "run").exists()
