"""What is lost adds up and is drawn; nobody whom a pack will test is linked; a kill or a full disk leaves no half"""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from copies import write_meds, write_omop, write_own_films
from made_hospital import make_hospital, write_hospital
from PIL import Image

from pacx.cli.main import main
from pacx.core.preprocessing import Preprocessing
from pacx.data.packs.packing import pack_records
from pacx.data.records import Records
from pacx.linking.flow import Flow, Loss, Step
from pacx.linking.kinds import Table
from pacx.linking.links import Links
from pacx.linking.staging import Staged, stage
from pacx.reporting.flow_diagram import draw_flow


def linked(words: list[str], out: Path, *more: str, source: str = "mimic-iv") -> Links:
    main(["data", "link", source, *words, "--out", str(out), *more])
    return Links.open(out)


@pytest.mark.parametrize("rule", ["film", "symile"])
def test_what_is_left_and_what_is_lost_is_what_was_left_before(tmp_path: Path, rule: str) -> None:
    hospital = make_hospital(5)
    links = linked(write_hospital(hospital, tmp_path), tmp_path / "links", "--rule", rule)
    steps = links.flow.steps
    read = {"films": len(hospital.films), "recordings": len(hospital.recordings), "measurements": len(hospital.events)}
    for of, num_rows in (read | {"admissions": len(hospital.admissions)}).items():
        track = [step for step in steps if step.of == of]
        assert track[0].count + sum(loss.count for loss in track[0].losses) == num_rows
        assert len(track) > 1 or of == "admissions"
        for before, after in pairwise(track):
            assert before.count - sum(loss.count for loss in after.losses) == after.count
    made = next(step for step in steps if step.of == "pairs")
    assert (made.count, made.patients) == (len(links.pairs), links.pairs["subject_id"].nunique())


def test_the_report_shows_what_was_lost_as_numbers_and_as_a_picture(tmp_path: Path) -> None:
    links = linked(write_hospital(make_hospital(5), tmp_path), tmp_path / "links")
    page, tables = tmp_path / "report.html", tmp_path / "tables"
    main(["report", str(links.path), "--out", str(page), "--tables", str(tables)])
    lines = (tables / "pairs.csv").read_text().splitlines()
    for step in links.flow.steps:
        (line,) = [line for line in lines if line.startswith(f"{step.of},{step.what},")]
        assert f"{step.count:,}" in line
        for loss in step.losses:
            assert f"{loss.count:,} {loss.reason}" in line
    text = page.read_text()
    assert "From rows to pairs" in text
    assert "1 folder(s) of pairs" in text
    assert "data:image/png;base64" in text


@pytest.mark.parametrize(
    ("spell", "said"),
    [
        (lambda patient: f"00{patient}", "no patient of the films has measurements; 1 ids would meet if leading zeros"),
        (lambda patient: f"pat-{patient}", "1 ids would meet if what stands before the number is dropped"),
        (lambda patient: f"x{patient[::-1]}9", "no patient of the films has measurements\n"),
        (lambda patient: patient, "(out: 1 are outside the window)"),
    ],
)
def test_patients_whose_ids_never_meet_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], spell: Callable[[str], str], said: str
) -> None:
    (tmp_path / "x.png").touch()
    (tmp_path / "f.csv").write_text("p,t,f\n4711,2150-01-02 10:00:00,x.png\n")
    (tmp_path / "l.csv").write_text(f"p,t,i,v\n{spell('4711')},2150-03-02 09:00:00,50912,1\n")
    labs = '{ table = "l.csv", patient = "p", time = "t", item = "i", value = "v" }'
    (tmp_path / "h.toml").write_text(
        f'films = {{ table = "f.csv", patient = "p", time = "t", file = "f" }}\nlabs = {labs}\n'
    )
    with pytest.raises(SystemExit):
        linked(["--toml", str(tmp_path / "h.toml")], tmp_path / "links", source="tables")
    message = capsys.readouterr().err
    assert said in message
    assert ("no patient of the films" in message) == (spell("4711") != "4711")
    assert "4711" not in message.replace(str(tmp_path), "")


@pytest.mark.parametrize("column", ["dicom_id", "path"])
@pytest.mark.parametrize("cell", ["x" * 5000, "a/" + "y" * 300, "../", "/"], ids=["path", "name", "folder", "root"])
def test_a_cell_that_can_be_no_file_counts_as_one_that_is_absent(tmp_path: Path, column: str, cell: str) -> None:
    words = write_hospital(make_hospital(5), tmp_path, ending=".csv")
    (path,) = tmp_path.rglob("*-metadata.csv" if column == "dicom_id" else "record_list.csv")
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    row = table.index[table["ViewPosition"] == "AP" if column == "dicom_id" else table["path"] != ""][0]
    table.loc[row, column] = cell
    table.to_csv(path, index=False)
    steps = linked(words, tmp_path / "links", "--ecg-window-h", "9000").flow.steps
    lost = [loss.rows for step in steps for loss in step.losses if loss.reason == "have no file" and loss.rows]
    assert any(row + 1 in rows for rows in lost)


def test_a_file_that_is_absent_is_named_by_its_row(tmp_path: Path) -> None:
    hospital = make_hospital(5)
    losses = linked(write_hospital(hospital, tmp_path), tmp_path / "links").flow.steps
    found = next(loss for step in losses for loss in step.losses if loss.reason == "have no file")
    absent = hospital.films[~hospital.films["is_there"] & hospital.films["ViewPosition"].isin(["AP", "PA"])]
    assert found.count == len(absent)
    assert found.rows == tuple(absent.index[:3] + 1)


def test_too_many_absent_files_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = write_hospital(make_hospital(5), tmp_path)
    with pytest.raises(SystemExit) as stop:
        linked(words, tmp_path / "links", "--max-absent-fraction", "0.01")
    assert stop.value.code == 1
    assert "films that are wanted, more than the 1.00% allowed" in capsys.readouterr().err


def test_what_fails_first_ends_the_reading_of_measurements(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words, begun = write_hospital(make_hospital(5), tmp_path), threading.Event()

    def endless(connection: Any, table: Table, *given: object, **settings: Any) -> Staged:
        if table is not Table.MEASUREMENTS:
            assert begun.wait(60)  # measurements do not wait for the others
            return stage(connection, table, *given, **settings)  # type: ignore[arg-type]  # the arguments are stage's own, handed on
        begun.set()
        for _ in range(3):  # an interrupt may fall between two queries
            with contextlib.suppress(duckdb.InterruptException):
                connection.execute("SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b")
        raise AssertionError

    monkeypatch.setattr("pacx.linking.linking.stage", endless)
    with pytest.raises(SystemExit):
        linked(words, tmp_path / "links", "--max-absent-fraction", "0.01")
    assert "films that are wanted, more than the 1.00% allowed" in capsys.readouterr().err


def test_the_picture_says_every_number(tmp_path: Path) -> None:
    links = linked(write_hospital(make_hospital(5), tmp_path), tmp_path / "links")
    drawn = (links.path / "flow.svg").read_text()
    for step in links.flow.steps:
        if step.of != "labelled":
            assert f">{step.count:,} {step.of}" in drawn
            assert all(f">{loss.count:,} " in drawn for loss in step.losses)
    assert draw_flow(links.flow) == draw_flow(links.flow)
    with Image.open(links.path / "flow.png") as picture:
        assert picture.width > 1000


def test_the_picture_holds_what_a_whole_hospital_counts() -> None:
    long = tuple(Loss(f"of {item} in furlong per fortnight, which cannot be converted", 10**9) for item in range(9))
    steps = [Step(of, "read", 10**9, 10**6, long) for of in ("films", "recordings", "measurements")]
    drawn = draw_flow(Flow((*steps, Step("pairs", "made", 10**6, 10**5))))["flow.svg"].decode()
    assert drawn.count("1,000,000,000 of 3 in") == 3


def pack_of(folder: Path, patients: list[str], splits: list[str]) -> Path:
    (folder / "films").mkdir(parents=True)
    names = [f"{row}.png" for row in range(len(patients))]
    for row, name in enumerate(names):
        film = np.random.default_rng(row).integers(0, 255, (32, 32), np.uint8)
        Image.fromarray(film).save(folder / "films" / name)
    table = pd.DataFrame({"sample_id": names, "image_path": names, "patient_id": patients, "study_id": "", "view": ""})
    records = Records(table.assign(split=splits), (), (), folder / "films")
    pack_records(records, folder / "pack", preprocessing=Preprocessing(image_size_px=32), num_workers=0)
    return folder / "pack"


def test_nobody_is_linked_whom_a_pack_will_test(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = write_hospital(make_hospital(5), tmp_path)
    every = linked(words, tmp_path / "every").pairs
    trained, tested = map(str, every["subject_id"].unique()[:2])
    pack = pack_of(tmp_path / "p", [trained, tested, "7"], ["train", "test", "test"])
    links = linked(words, tmp_path / "apart", "--disjoint-from", str(pack))
    assert "shares 2 of its 3 patients" in capsys.readouterr().err
    apart = every[~every["subject_id"].isin([int(trained), int(tested)])]
    assert links.pairs["dicom_id"].tolist() == apart["dicom_id"].tolist()
    assert any(loss.reason == f"are of patients of {pack}" for step in links.flow.steps for loss in step.losses)
    of_test = linked(words, tmp_path / "test", "--disjoint-from", f"{pack}:test").pairs
    assert set(every["subject_id"]) - set(of_test["subject_id"]) == {int(tested)}
    with pytest.raises(SystemExit):
        linked(words, tmp_path / "refused", "--disjoint-from", str(pack), "--refuse-overlap")
    message = capsys.readouterr().err
    assert "shares 2 patients; link others" in message
    assert tested not in message


def zoned_meds(folder: Path, shards: str) -> None:
    for path in (folder / "data").glob(shards):
        table = pd.read_parquet(path)
        table.assign(time=table["time"].dt.tz_localize("UTC")).to_parquet(path, index=False)


def spoiled_visit(folder: Path, column: str, value: object) -> None:
    path = folder / "visit_occurrence.parquet"
    table = pd.read_parquet(path).astype({column: object})
    table.loc[2, column] = value
    table.to_parquet(path, index=False)


@pytest.mark.parametrize(
    ("source", "spoil", "said"),
    [
        ("meds", lambda folder: zoned_meds(folder, "*/*.parquet"), "with a time zone in admitted (row "),
        ("meds", lambda folder: zoned_meds(folder, "train/*.parquet"), "have different columns or zones"),
        (
            "omop",
            lambda folder: spoiled_visit(folder, "visit_start_datetime", None),
            "1 with a date and no hour as admitted (row 3)",
        ),
        (
            "omop",
            lambda folder: spoiled_visit(folder, "visit_end_datetime", pd.Timestamp("1999-01-01")),
            "1 end before they begin (row 3)",
        ),
        ("omop", lambda folder: spoiled_visit(folder, "person_id", 999_999), "1 without subject id (row 3)"),
    ],
    ids=["zone", "zone of some", "no hour", "ends before", "nobody"],
)
def test_other_sources_name_their_rows_at_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str, spoil: Callable[[Path], None], said: str
) -> None:
    hospital = make_hospital(5)
    toml = write_own_films(hospital, tmp_path / "films")
    write_meds(hospital, tmp_path / "meds")
    write_omop(hospital, tmp_path / "omop", ".parquet")
    spoil(tmp_path / source)
    words = [f"--{source.replace('omop', 'cdm')}", str(tmp_path / source), "--tables", str(toml)]
    with pytest.raises(SystemExit) as stop:
        linked(words, tmp_path / "links", source=source)
    assert stop.value.code == 1
    message = capsys.readouterr().err
    assert said in message
    assert not any(str(subject) in message for subject in hospital.admissions["subject_id"])


def call(words: list[str], out: Path, **options: object) -> "subprocess.Popen[str]":
    # without bytecode: Python itself keeps a module whose writing a limit cut short
    command = [
        sys.executable,
        "-B",
        "-m",
        "pacx",
        "data",
        "link",
        "mimic-iv",
        *words,
        "--out",
        str(out),
        "--rule",
        "symile",
    ]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, **options)  # type: ignore[call-overload]  # options vary by call


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    words = write_hospital(make_hospital(5), tmp_path)
    whole = linked(words, tmp_path / "whole", "--rule", "symile")
    for limit in (500, 20_000):
        # a limit of the size of files is to a process what a full disk is: a write that fails half-way
        limited = call(
            words,
            tmp_path / "links",
            preexec_fn=lambda most=limit: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)),
        )
        _, message = limited.communicate(timeout=120)
        assert limited.returncode == 1, message
        assert "Traceback" not in message
        assert "room" in message or "space" in message
        assert not (tmp_path / "links").exists()
    again = linked(words, tmp_path / "links", "--rule", "symile")
    assert (again.path / "pairs.parquet").read_bytes() == (whole.path / "pairs.parquet").read_bytes()
    assert not list(tmp_path.glob(".partial*"))


def test_killed_at_any_moment_the_same_call_goes_on(tmp_path: Path) -> None:
    words = write_hospital(make_hospital(5), tmp_path)
    whole = linked(words, tmp_path / "whole", "--rule", "symile")
    scratch = tmp_path / ".partial-links.work"
    for sign in ("films-*.parquet", "*recordings.jsonl"):
        killed = call(words, tmp_path / "links")
        end = time.monotonic() + 100
        while not list(scratch.glob(sign)) and killed.poll() is None and time.monotonic() < end:
            time.sleep(0.002)
        os.kill(killed.pid, signal.SIGKILL)
        killed.communicate(timeout=60)
        assert killed.returncode == -signal.SIGKILL
        assert not (tmp_path / "links").exists()
    again = linked(words, tmp_path / "links", "--rule", "symile")
    assert (again.path / "pairs.parquet").read_bytes() == (whole.path / "pairs.parquet").read_bytes()
    assert not list(tmp_path.glob(".partial*"))
