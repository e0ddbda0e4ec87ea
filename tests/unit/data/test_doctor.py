"""The doctor finds what is wrong with a copy, names it, forgets nothing when killed, and calls a whole copy green."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from film_folders import write_films
from PIL import Image

from pacx.cli.verbs.data_actions import doctor as data_doctor
from pacx.core.artifacts import write_json
from pacx.core.errors import UsageError
from pacx.core.twin_file import TWIN_FILE
from pacx.data.checks.doctor import Diagnosis, examine
from pacx.data.checks.record_counts import tally
from pacx.data.dataset import Issue, Task
from pacx.data.datasets.folder import FolderDataset, FolderOptions
from pacx.data.records import Records

OPTIONS = FolderOptions(label_columns=("Edema", "Mass"))


class Clinic(FolderDataset):
    """A dataset of 40 films with a card that knows its counts."""

    def __init__(self, **card: Any) -> None:
        counts = {"films": 40, "present:Edema": 20, "mask:lung": 26}
        given = {
            "name": "clinic",
            "counts": counts,
            "image_globs": ("films/*", "masks/*.png"),
            "splits_share_patients": True,
        }
        self.card = replace(FolderDataset.card, **(given | card))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_films(tmp_path / "clinic", 40)
    return tmp_path / "clinic"


def diagnosis_of(root: Path, dataset: FolderDataset | None = None, **options: Any) -> Diagnosis:
    given: dict[str, Any] = {"num_samples": None, "state": root.parent / "state.jsonl"}
    return examine(dataset or Clinic(), root, OPTIONS, **(given | options))


def faults(diagnosis: Diagnosis) -> Mapping[str, Issue]:
    assert diagnosis.is_green == all(not issue.is_fault for issue in diagnosis.issues)
    return {issue.check: issue for issue in diagnosis.issues if issue.is_fault}


def test_a_whole_copy_is_green_and_leaves_no_trace(root: Path) -> None:
    before = sorted(root.parent.rglob("*"))
    diagnosis = diagnosis_of(root)
    assert faults(diagnosis) == {}
    assert diagnosis.num_checked == 40
    assert not diagnosis.is_twin
    expected = {count.name: count.expected for count in diagnosis.counts}
    assert expected["films"] == 40
    assert expected["patients"] is None
    assert sorted(root.parent.rglob("*")) == before


def test_whose_films_are_is_said_where_nobody_knows(root: Path) -> None:
    assert not [note for note in diagnosis_of(root).notes if "by film" in note]
    table = pd.read_csv(root / "index.csv", dtype=str, keep_default_na=False)
    table.assign(patient_id=["NA", *table["patient_id"][1:]]).to_csv(root / "index.csv", index=False)
    assert diagnosis_of(root).notes[0] == (
        "Results on these films are by patient, 1 of 40 films alone, patients unknown."
    )
    table.drop(columns="patient_id").to_csv(root / "index.csv", index=False)
    assert diagnosis_of(root).notes[0] == "Results on these films are by film, patients unknown."


def test_missing_surplus_and_damaged_files_are_each_named(root: Path) -> None:
    paths = [f"films/{row:03d}.{'jpg' if row % 2 else 'png'}" for row in range(40)]
    (root / paths[0]).write_bytes((root / paths[0]).read_bytes()[:-200])
    shutil.copy(root / paths[2], root / "films/999.png")
    Image.fromarray(np.zeros((30, 30), np.uint8)).save(root / "masks/004.png")

    class Trusting(Clinic):
        """Names files without looking for them, as adapters of official trees do."""

        def read(self, root: Path, options: FolderOptions) -> Records:
            records = super().read(root, options)
            (root / paths[6]).unlink()
            (root / "masks/007.png").unlink()
            return records

    found = faults(diagnosis_of(root, Trusting()))
    assert set(found) == {"missing files", "surplus files", "readable films", "mask size"}
    assert found["missing files"].files == (paths[6], "masks/007.png")
    assert found["surplus files"].files == ("films/999.png",)
    assert found["readable films"].files == (f"{paths[0]}: the file is damaged or truncated",)
    assert found["mask size"].files == ("masks/004.png",)
    for issue in found.values():
        assert issue.files[0].split(":")[0] in issue.message


def test_wrong_counts_divided_patients_and_absent_masks_are_faults(root: Path) -> None:
    counts = {"films": 41, "present:Edema": 20, "present:Oedema": 3}
    dataset = Clinic(counts=counts, splits_share_patients=False, task=Task.SEGMENTATION)
    diagnosis = diagnosis_of(root, dataset)
    messages = [issue.message for issue in diagnosis.issues if issue.check == "counts"]
    assert messages[0].startswith("films is 40, but 41 in the complete dataset")
    assert messages[1].startswith("present:Oedema is 0, but 3")
    assert faults(diagnosis)["patients"].message.startswith("10 patients have films in two splits")
    assert faults(diagnosis)["masks"].message.startswith("14 films have no lung mask")


def test_known_leaks_and_other_mask_sizes_are_no_fault(root: Path) -> None:
    Image.fromarray(np.zeros((30, 30), np.uint8)).save(root / "masks/004.png")
    diagnosis = diagnosis_of(root, Clinic(masks_have_image_size=False))
    assert diagnosis.is_green
    assert [issue.check for issue in diagnosis.issues] == ["patients"]


def test_a_twin_is_held_against_what_was_written_not_against_the_original(root: Path) -> None:
    dataset = Clinic(counts={"films": 112_120})
    counts = dict(tally(dataset.read(root, OPTIONS)))
    write_json(root / TWIN_FILE, {"simulated": True, "counts": counts})
    diagnosis = diagnosis_of(root, dataset)
    assert diagnosis.is_twin
    assert diagnosis.is_green
    write_json(root / TWIN_FILE, {"simulated": True, "counts": counts | {"present:Mass": 3}})
    assert "but 3 in twin.json" in faults(diagnosis_of(root, dataset))["counts"].message
    write_json(root / TWIN_FILE, {"simulated": True})
    assert "holds no counts" in faults(diagnosis_of(root, dataset))["layout"].message


def test_a_sample_is_drawn_evenly(root: Path) -> None:
    (root / "films/000.png").write_bytes(b"")
    (root / "films/039.jpg").write_bytes(b"")
    diagnosis = diagnosis_of(root, num_samples=3)
    assert diagnosis.num_checked == 3
    assert [file[:9] for file in faults(diagnosis)["readable films"].files] == ["films/000", "films/039"]
    assert diagnosis_of(root, num_samples=0).num_checked == 0
    assert diagnosis_of(root, num_workers=2).issues == diagnosis_of(root).issues


def test_a_tree_that_cannot_be_read_is_a_finding_and_no_tree_is_the_calls_fault(root: Path) -> None:
    (root / "index.csv").write_text("file,Edema\n")
    assert "has no row" in faults(diagnosis_of(root))["layout"].message
    with pytest.raises(UsageError, match="is not a folder"):
        diagnosis_of(root / "nowhere")


class Particular(Clinic):
    """A dataset with a check of its own and counts that depend on an option."""

    def expected_counts(self, options: FolderOptions) -> Mapping[str, int]:
        return {"films": 39} if options.where else {}

    def inspect(self, root: Path, options: FolderOptions, records: Records) -> Sequence[Issue]:
        return [Issue(check="lab order", message=f"{len(records)} rows of {root.name} are not sorted", is_fault=False)]


def test_the_adapter_is_asked_for_its_counts_and_its_own_checks(root: Path) -> None:
    diagnosis = diagnosis_of(root, Particular())
    assert diagnosis.is_green
    assert diagnosis.issues[-1].message == "40 rows of clinic are not sorted"
    some = replace(OPTIONS, where=("split=train",))
    narrowed = examine(Particular(), root, some, state=root.parent / "state", num_samples=0)
    assert "films is 10, but 39" in faults(narrowed)["counts"].message


SCRIPT = """
import sys
from pathlib import Path
from pacx.data.datasets.folder import DATASET, FolderOptions
from pacx.data.checks.doctor import examine
examine(DATASET, Path(sys.argv[1]), FolderOptions(), state=Path(sys.argv[2]), num_samples=None)
"""


def test_killed_it_goes_on_where_it_was(tmp_path: Path) -> None:
    root, state = tmp_path / "films", tmp_path / "state.jsonl"
    root.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (700, 700), dtype=np.uint8)
    for row in range(200):
        Image.fromarray(noise).save(root / f"{row:03d}.jpg") if row == 0 else os.link(
            root / "000.jpg", root / f"{row:03d}.jpg"
        )
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(root), str(state)])
    deadline = time.monotonic() + 300
    while not (state.is_file() and state.read_text().count("\n") >= 3):
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    first, second, *rest = state.read_text().split("\n")
    assert 1 <= len(rest) < 7
    invented = json.dumps({"unreadable": [["000.jpg", "only the state says so"]], "wrong_size": []})
    state.write_text("\n".join([first, invented, *rest[:-1], second[: len(second) // 2]]))
    dataset = FolderDataset()
    resumed = examine(dataset, root, FolderOptions(), state=state, num_samples=None)
    assert faults(resumed)["readable films"].files == ("000.jpg: only the state says so",)
    assert resumed.num_checked == 200
    assert not state.exists()
    state.write_text(f"of another copy\n{invented}\n")
    assert examine(dataset, root, FolderOptions(), state=state, num_samples=40).is_green


def test_the_command_shows_a_table_writes_json_and_exits_by_verdict(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(root.parent / "cache"))
    words = ["--root", str(root), "--label-columns", "Edema", "--samples", "all", "--json", str(root.parent / "d.json")]
    data_doctor.main(Clinic(), [*words, "--num-workers", "1"])
    out = capsys.readouterr().out
    assert "clinic is complete and right: 40 films decoded; written to" in out
    assert "warning patients: 10 patients" in out
    saved = json.loads((root.parent / "d.json").read_text())
    assert saved["is_green"]
    assert saved["counts"][0] == {"name": "films", "expected": 40, "found": 40}
    (root / "films/000.png").write_bytes(b"")
    with pytest.raises(SystemExit) as stop:
        data_doctor.main(Clinic(), [*words, "--num-workers", "1"])
    assert stop.value.code == 1
    assert "FAULT readable films: 1 of the 40 films decoded cannot be read: films/000.png" in capsys.readouterr().out
    assert [path for path in (root.parent / "cache").rglob("*") if path.is_file()] == []
    assert pd.read_csv(root / "index.csv").shape[0] == 40
