"""Pairs against the rules' own words, row by row; what is at fault in tables is counted and named"""

import importlib.util
import itertools
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pytest
from made_hospital import make_hospital, pairs_film_by_film, pairs_row_by_row, write_hospital

from pacx.cli.main import main
from pacx.core.errors import DataError
from pacx.core.vocabulary import LAB_ITEM_IDS
from pacx.linking import raw_tables
from pacx.linking.links import Links
from pacx.linking.raw_tables import table_of


def linked(words: list[str], out: Path, *more: str) -> Links:
    main(["data", "link", "mimic-iv", *words, "--out", str(out), *more])
    return Links.open(out)


def by_item(links: Links, row: int) -> dict[int, float]:
    values = links.pairs.iloc[row][list(links.items)].astype(float)
    return {int(item): value for item, value in values.items() if value == value}


@pytest.mark.parametrize("seed", range(4))
def test_symile_is_the_makers_rule_row_by_row(tmp_path: Path, seed: int) -> None:
    hospital = make_hospital(seed)
    expected = pairs_row_by_row(hospital)
    links = linked(write_hospital(hospital, tmp_path), tmp_path / "links", "--rule", "symile")
    found = {
        row.hadm_id: (row.dicom_id, row.ecg_study_id, by_item(links, place))
        for place, row in enumerate(links.pairs.itertuples())
    }
    assert len(expected) > 3
    assert found == expected


@pytest.mark.parametrize("last", [False, True])
def test_film_takes_what_is_nearest_row_by_row(tmp_path: Path, last: bool) -> None:
    hospital = make_hospital(9)
    expected = pairs_film_by_film(hospital, window_h=30, last=last)
    choice = ["--lab-choice", "last" if last else "nearest", "--ecg-window-h", "30", "--lab-window-h", "30"]
    links = linked(write_hospital(hospital, tmp_path), tmp_path / "links", *choice)
    found = {
        row.dicom_id: (None if pd.isna(row.ecg_study_id) else row.ecg_study_id, by_item(links, place))
        for place, row in enumerate(links.pairs.itertuples())
    }
    assert any(ecg is None for ecg, _ in expected.values())
    assert any(not values for _, values in expected.values())
    assert found == expected


def test_no_future_takes_nothing_from_after_the_film(tmp_path: Path) -> None:
    hospital = make_hospital(3)
    words = write_hospital(hospital, tmp_path)
    links = linked(words, tmp_path / "links", "--no-future")
    assert (links.pairs["ecg_time"].dropna() <= links.pairs["film_time"][links.pairs["ecg_time"].notna()]).all()
    first = {subject: min(times) for subject, times in hospital.events.groupby("subject_id")["charttime"]}
    known = links.pairs[links.pairs[list(links.items)].notna().any(axis=1)]
    assert all(first[row.subject_id] <= row.film_time for row in known.itertuples())
    assert len(links.pairs) < len(linked(words, tmp_path / "all").pairs)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # wfdb writes its records
def test_the_makers_own_script_gives_the_same_pairs(tmp_path: Path, shared: Path) -> None:
    folder = shared / "golden" / "linking"
    spec = importlib.util.spec_from_file_location("golden_hospital", folder / "make_hospital.py")
    assert spec
    assert spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["make_hospital.py", str(tmp_path / "H"), "--subjects", "120", "--seed", "1"])
        script.main()
    place = tmp_path / "H"
    words = ["--hosp", f"{place}/mimiciv/hosp", "--mimic-cxr-jpg", f"{place}/mimic-cxr-jpg"]
    links = linked([*words, "--mimic-iv-ecg", f"{place}/mimic-iv-ecg"], tmp_path / "links", "--rule", "symile")
    expected = pd.read_csv(folder / "expected_seed1.csv")
    named = {"cxr_dicom_id": "dicom_id", "cxr_study_id": "study_id", "cxr_StudyDateTime": "film_time"}
    expected = expected.rename(columns=named)
    items = [str(item) for item in LAB_ITEM_IDS]
    pairs = links.pairs.astype({"film_time": str, "ecg_time": str})
    columns = ["subject_id", "hadm_id", "dicom_id", "study_id", "film_time", "ecg_study_id", "ecg_time"]
    pd.testing.assert_frame_equal(pairs[columns], expected[columns], check_dtype=False)
    assert np.array_equal(pairs[items], expected[items], equal_nan=True)


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_the_same_tables_in_another_format_give_the_same_bytes(tmp_path: Path, ending: str) -> None:
    hospital = make_hospital(2)
    one = linked(write_hospital(hospital, tmp_path / "gz"), tmp_path / "one", "--rule", "symile", "--num-workers", "1")
    words = write_hospital(hospital, tmp_path / "other", ending=ending)
    two = linked(words, tmp_path / "two", "--rule", "symile", "--num-workers", "2")
    assert (one.path / "pairs.parquet").read_bytes() == (two.path / "pairs.parquet").read_bytes()


def test_what_is_lost_adds_up(tmp_path: Path) -> None:
    hospital = make_hospital(5)
    steps = linked(write_hospital(hospital, tmp_path), tmp_path / "links", "--rule", "symile").flow.steps
    lost = {(step.of, step.what): sum(loss.count for loss in step.losses) for step in steps}
    films = hospital.films
    assert lost["films", "of view AP or PA"] == (~films["ViewPosition"].isin(["AP", "PA"])).sum()
    chain = [step for step in steps if step.of == "admissions"][1:]
    for before, after in itertools.pairwise(chain):
        assert before.count - sum(loss.count for loss in after.losses) == after.count


FAULTS = {
    "an id as a float": ("admissions", "hadm_id", lambda text: f"{text}.0", None),
    "a time zone": ("admissions", "admittime", lambda text: f"{text}+01:00", "1 with a time zone in admitted (row 3)"),
    "a date without an hour": (
        "labevents",
        "charttime",
        lambda text: text[:10],
        "with a date and no hour as taken (row",
    ),
    "another format": ("admissions", "admittime", lambda _: "03/05/2150 10:00", "1 whose admitted is no time"),
    "an end before it began": ("admissions", "dischtime", lambda _: "1990-01-01 00:00:00", "1 end before they begin"),
    "no patient": ("labevents", "subject_id", lambda _: "", "1 without subject id"),
    "sixty seconds": (
        "mimic-cxr-2.0.0-metadata",
        "StudyTime",
        lambda _: "101060",
        "whose film time is no time",
    ),
    "hour 24": ("admissions", "admittime", lambda text: f"{text[:10]} 24:00:00", "whose admitted is no time"),
    "hour 24 of a film": ("mimic-cxr-2.0.0-metadata", "StudyTime", lambda _: "240000.0", "whose film time is no time"),
    "a rounded patient": ("admissions", "subject_id", lambda _: "1.23E+07", "1 with a rounded number as subject id"),
    "a rounded study": ("record_list", "study_id", lambda _: "4,0e+07", "1 with a rounded number as ecg study id"),
    "an unknown patient": ("labevents", "subject_id", lambda _: "NaN", "1 without subject id"),
    "an unknown admission": ("admissions", "hadm_id", lambda _: "NULL", "1 without hadm id"),
    "an unknown time": ("labevents", "charttime", lambda _: "n/a", "1 without taken"),
    "a number below a limit": ("labevents", "valuenum", lambda _: "<0.5", "1 whose value is no number"),
    "a number without end": ("labevents", "valuenum", lambda _: "inf", "1 whose value is no number"),
    "a comma": ("labevents", "valuenum", lambda _: "1,250", "1 with a comma in value, of decimals or of thousands"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_cell_at_fault_is_counted_with_its_row_or_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    name, column, spoil, said = FAULTS[fault]
    hospital = make_hospital(1)
    words = write_hospital(hospital, tmp_path, ending=".csv")
    (path,) = tmp_path.rglob(f"{name}.csv")
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if name == "labevents":
        table = table.sort_values("itemid").reset_index(drop=True)  # the third is of a known item
    before = table.to_csv(index=False)
    path.write_text(before)
    whole = linked(words, tmp_path / "whole", "--rule", "symile")
    table.loc[2, column] = spoil(table.loc[2, column])
    path.write_text(table.to_csv(index=False))
    if said is None:
        spoiled = linked(words, tmp_path / "links", "--rule", "symile")
        assert (spoiled.path / "pairs.parquet").read_bytes() == (whole.path / "pairs.parquet").read_bytes()
        return
    with pytest.raises(SystemExit) as stop:
        linked(words, tmp_path / "refused", "--rule", "symile", "--max-bad-fraction", "0")
    assert stop.value.code == 1
    message = capsys.readouterr().err
    assert said in message
    assert str(path) in message
    assert str(table.loc[2, "subject_id"] or "nobody") not in message
    lenient = linked(words, tmp_path / "lenient", "--rule", "symile", "--max-bad-fraction", "0.5")
    assert any(loss.rows == (3,) for step in lenient.flow.steps for loss in step.losses)


def test_an_id_that_occurs_twice_counts_once_and_is_named(tmp_path: Path) -> None:
    hospital = make_hospital(1)
    words = write_hospital(hospital, tmp_path, ending=".csv")
    path = tmp_path / "hosp" / "admissions.csv"
    table = pd.read_csv(path)
    pd.concat([table, table.iloc[[4]]]).to_csv(path, index=False)
    links = linked(words, tmp_path / "links", "--rule", "symile", "--max-bad-fraction", "0.5")
    assert links.pairs["hadm_id"].is_unique
    losses = [loss for step in links.flow.steps for loss in step.losses]
    assert [loss.rows for loss in losses if "stands before" in loss.reason] == [(len(table) + 1,)]


@pytest.mark.parametrize(
    ("num_looked_at", "message"),
    [(2**25, "cannot be unpacked or read to its end"), (64, ": it is cut off; copy the file again")],
    ids=["within what is looked at", "behind it"],
)
def test_a_table_that_is_cut_in_its_gzip_is_one_sentence(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    num_looked_at: int,
    message: str,
) -> None:
    monkeypatch.setattr(raw_tables, "_HEAD_BYTES", num_looked_at)
    words = write_hospital(make_hospital(1), tmp_path)
    path = tmp_path / "hosp" / "labevents.csv.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SystemExit) as stop:
        linked(words, tmp_path / "links", "--rule", "symile")
    assert stop.value.code == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "links").exists()


@pytest.mark.parametrize(
    ("name", "content", "columns", "separator"),
    [
        ("a.csv", b"height, m;EF, %\n1,5;55\n", ("height, m", "EF, %"), ";"),
        ("b.csv.zst", pyarrow.compress(b"a,b\n1,2\n", codec="zstd", asbytes=True), ("a", "b"), ","),
        ("c.csv", b'\xef\xbb\xbf"a"|"b"\r\n1|2\r\n', ("a", "b"), "|"),
    ],
)
def test_the_header_of_a_raw_table_is_read_however_it_is_written(
    tmp_path: Path, name: str, content: bytes, columns: tuple[str, ...], separator: str
) -> None:
    (tmp_path / name).write_bytes(content)
    table = table_of(tmp_path / name)
    assert (table.columns, table.separator) == (columns, separator)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n".encode("utf-16"), "is written in UTF-16; save it as CSV UTF-8"),
        ("a,b\n1,µ\n".encode("cp1252"), "is no text in UTF-8, as line 2 shows"),
        (b"sep=;\na;b\n1;2\n", "has lines above its header"),
        (b"a,b,\n1,2,3\n", "nameless columns"),
        (b"a\n1\n", "no header line with several columns"),
    ],
)
def test_a_raw_table_that_sql_would_misread_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        table_of(tmp_path / "t.csv")


def test_a_row_of_another_length_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = write_hospital(make_hospital(1), tmp_path, ending=".csv")
    path = tmp_path / "hosp" / "labevents.csv"
    path.write_text(path.read_text() + "1,2\n")
    with pytest.raises(SystemExit):
        linked(words, tmp_path / "links", "--rule", "symile")
    assert "no table with 5 cells in every row" in capsys.readouterr().err


def test_symile_takes_no_window_of_another_rule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = write_hospital(make_hospital(1, 3), tmp_path)
    with pytest.raises(SystemExit) as stop:
        linked(words, tmp_path / "links", "--rule", "symile", "--ecg-window-h", "3")
    assert stop.value.code == 2
    assert "windows of its own" in capsys.readouterr().err


def test_links_of_another_version_are_refused(tmp_path: Path) -> None:
    links = linked(write_hospital(make_hospital(0), tmp_path), tmp_path / "links")
    story = links.path / "links.json"
    story.write_text(story.read_text().replace('"format_version": 1', '"format_version": 0'))
    with pytest.raises(DataError, match="another version"):
        Links.open(links.path)


def test_a_killed_call_goes_on_with_what_it_had_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = write_hospital(make_hospital(6), tmp_path)
    whole = linked(words, tmp_path / "whole", "--rule", "symile")
    with monkeypatch.context() as patch:
        patch.setattr("pacx.linking.linking.write_links", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(SystemExit):
            linked(words, tmp_path / "links", "--rule", "symile")
    (scratch,) = tmp_path.glob(".partial-links*")
    states = {path.name: path.stat().st_mtime_ns for path in scratch.glob("*.parquet")}
    assert len(states) == 5
    with monkeypatch.context() as patch:
        patch.setattr("pacx.linking.staging.staged_file", lambda *_: pytest.fail("a table was read again"))
        patch.setattr("pacx.linking.recording_checks._look", lambda *_: pytest.fail("a recording was read again"))
        again = linked(words, tmp_path / "links", "--rule", "symile")
    assert (again.path / "pairs.parquet").read_bytes() == (whole.path / "pairs.parquet").read_bytes()
    assert not scratch.exists()


def test_a_table_that_changed_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = write_hospital(make_hospital(6), tmp_path, ending=".csv")
    with monkeypatch.context() as patch:
        patch.setattr("pacx.linking.linking.write_links", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(SystemExit):
            linked(words, tmp_path / "links", "--rule", "symile")
    events = tmp_path / "hosp" / "labevents.csv"
    table = pd.read_csv(events)
    table.assign(valuenum=table["valuenum"] * 2).to_csv(events, index=False)
    again = linked(words, tmp_path / "links", "--rule", "symile")
    fresh = linked(words, tmp_path / "fresh", "--rule", "symile")
    assert (again.path / "pairs.parquet").read_bytes() == (fresh.path / "pairs.parquet").read_bytes()
