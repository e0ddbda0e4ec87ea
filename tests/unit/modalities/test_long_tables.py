"""Long exports: layouts, first values, windows, units, text, unknown items; and the real demo tables."""

import csv
import gzip
from datetime import datetime

import numpy as np
import pytest

from pacx.core.errors import DataError, UsageError
from pacx.core.vocabulary import LAB_ITEM_IDS, LAB_TESTS
from pacx.data import text_tables
from pacx.data.text_tables import open_text_table
from pacx.modalities.labs import read_labs
from pacx.modalities.panel.lab_exports import LAB_LAYOUTS, lab_units
from pacx.modalities.panel.long_tables import folded, layout_of
from pacx.modalities.panel.reading import TableReading
from pacx.modalities.patients import Patients

CREATININE, GLUCOSE, POTASSIUM, MCHC = 50912, 50931, 50971, 51249
HEADER = "subject_id,hadm_id,itemid,charttime,value,valuenum,valueuom,flag"


def column(item: int) -> int:
    return LAB_ITEM_IDS.index(item)


def write(path, lines, header=HEADER):
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def event(hadm, item, value, *, unit="mg/dL", hour=0, subject=1, day=5):
    return f"{subject},{hadm},{item},2150-01-{day:02d} {hour:02d}:00:00,{value},{value},{unit},"


def test_the_earliest_number_counts_and_of_equal_times_the_first_listed(tmp_path, monkeypatch):
    lines = [
        event(7, CREATININE, 3.0, hour=9), event(7, CREATININE, 1.0, hour=2), event(7, CREATININE, 2.0, hour=2),
        event(7, GLUCOSE, "", hour=1), event(7, GLUCOSE, 120, hour=5), event(8, GLUCOSE, 90, subject=2),
    ]  # fmt: skip
    for size in (1_000_000, 100):  # in one piece, and in pieces that divide a patient
        monkeypatch.setattr(text_tables, "_BYTES_AT_A_TIME", size)
        table = read_labs(write(tmp_path / "labevents.csv", lines), TableReading())
        assert table.sample_ids == ("7", "8")
        assert table.patient_ids == ("1", "2")
        assert table.values[:, column(CREATININE)].tolist()[0] == 1.0
        assert table.values[:, column(GLUCOSE)].tolist() == [120, 90]
        assert np.isfinite(table.values).sum() == 3


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
def test_a_long_table_of_any_spreadsheet_gives_the_same_values(tmp_path, monkeypatch, encoding):
    lines = [event(7, CREATININE, 88.42, unit="µmol/L"), event(8, GLUCOSE, 90, subject=2)]
    path = write(tmp_path / "a.tsv", lines)
    path.write_bytes(path.read_text().replace(",", "\t").encode(encoding))
    monkeypatch.setattr(text_tables, "_BYTES_AT_A_TIME", 200)
    table = read_labs(path, TableReading())
    assert (table.sample_ids, table.patient_ids) == (("7", "8"), ("1", "2"))
    assert table.values[0, column(CREATININE)] == pytest.approx(1.0)
    assert any("Windows-1252" in note for note in table.notes) == (encoding == "cp1252")


def test_units_are_converted_where_the_factor_is_known_and_refused_elsewhere(tmp_path):
    lines = [
        event(7, CREATININE, 88.42, unit="umol/L"), event(7, GLUCOSE, 10, unit="mmol/L"),
        event(7, POTASSIUM, 4.1, unit="mmol/L"), event(7, MCHC, 33, unit="%"), event(8, GLUCOSE, 101, unit=""),
    ]  # fmt: skip
    table = read_labs(write(tmp_path / "a.csv", lines), TableReading())
    expected = {CREATININE: 1.0, GLUCOSE: 180.16, POTASSIUM: 4.1, MCHC: 33.0}
    for item, value in expected.items():
        assert table.values[0, column(item)] == pytest.approx(value)
    assert table.values[1, column(GLUCOSE)] == 101, "a blank unit is the usual one"
    assert "1 values of Creatinine converted from umol/L" in table.notes
    bad = write(tmp_path / "b.csv", [*lines, event(8, CREATININE, 5, unit="furlong")])
    with pytest.raises(
        DataError, match=r"1 of 6 values are in units that cannot be converted: Creatinine in 'furlong'"
    ):
        read_labs(bad, TableReading())
    table = read_labs(bad, TableReading(max_bad_fraction=0.5))
    assert np.isnan(table.values[1, column(CREATININE)])
    assert "1 values of Creatinine left out: unit 'furlong'" in table.notes


def test_monovalent_ions_only_are_the_same_in_mmol_and_meq():
    units = lab_units()
    assert units["50983"]["mmol/l"] == 1.0
    assert units["50893"]["mmol/l"] == pytest.approx(40.08 / 10, rel=1e-3), "calcium weighs 40.08 g/mol"
    assert units["50931"]["mmol/l"] == pytest.approx(180.156 / 10, rel=1e-3), "glucose"
    assert units["50912"]["umol/l"] == pytest.approx(113.12 / 1e4, rel=1e-3), "creatinine"
    assert units["51006"]["mmol/l"] == pytest.approx(28.0134 / 10, rel=1e-3), "two atoms of nitrogen"
    assert units["50885"]["umol/l"] == pytest.approx(584.66 / 1e4, rel=1e-3), "bilirubin"
    assert "meq/l" not in units["50931"]
    assert set(units) == {str(test.item_id) for test in LAB_TESTS}
    assert [folded(unit) for unit in (" K/mcL", "µmol/L", "x10*9/L", "MM HG")] == ["k/ul", "umol/l", "10^9/l", "mmhg"]


def test_text_unknown_items_and_ownerless_rows_are_counted_not_guessed(tmp_path):
    lines = [
        event(7, CREATININE, "HEMOLYZED"), event(7, GLUCOSE, ">600"), event(7, POTASSIUM, 4, unit="mEq/L"),
        event(7, 51464, 1.0), event(7, 99999, 1.0), event("", POTASSIUM, 9, unit="mEq/L"), event(7, MCHC, "inf"),
        event(8, POTASSIUM, "N/A"), event("NULL", POTASSIUM, 4),
    ]  # fmt: skip
    path = write(tmp_path / "a.csv", lines)
    with pytest.raises(DataError, match=r"2 of 7 values are no numbers; leave blank") as refused:
        read_labs(path, TableReading())
    table = read_labs(path, TableReading(max_bad_fraction=0.3))
    assert table.sample_ids == ("7",)
    assert table.values[0, column(POTASSIUM)] == 4
    assert table.values[0, column(GLUCOSE)] == 600, "a value above a limit is that limit"
    assert np.isfinite(table.values).sum() == 2
    assert table.notes == (
        "9 rows, 7 of them of the 50 labs",
        "2 other items passed over",
        "2 rows belong to no sample",
        "1 values are blank and count as not measured",
        "2 values are no numbers and count as not measured",
        "1 values are written as above or below a limit and count as that limit",
    )
    assert "HEMOLYZED" not in str(refused.value), "no content of a cell is repeated"


@pytest.mark.parametrize("spell", [str, "{}.0".format, " {} ".format])
def test_one_admission_is_one_sample_however_its_number_is_spelled(tmp_path, spell):
    """Columns with a blank become floating-point in pandas and R, and 7 becomes 7.0."""
    row = "{},{},{},2150-01-05 10:00,,{},mg/dL,"
    lines = [row.format(spell(1), spell(7), spell(GLUCOSE), 90), row.format(1, 7, CREATININE, 1.1)]
    samples = write(tmp_path / "samples.csv", [f"{spell(100)},{spell(7)}"], "sample_id,hadm_id")
    path = write(tmp_path / "a.csv", lines)
    for reading, sample in ((TableReading(), "7"), (TableReading(samples=samples), "100")):
        table = read_labs(path, reading)
        assert (table.sample_ids, table.patient_ids) == ((sample,), ("1",))
        assert np.isfinite(table.values).sum() == 2


def test_decimal_commas_are_decimal_and_semicolons_divide_cells(tmp_path):
    values = [4.2, 138, 1.4, 0.9, 1250.5]
    spelled = ["4,2", "138", "1,4", "0,90", "1250,5"]
    header = HEADER.replace(",", ";")
    lines = [f"1;{10 + n};{GLUCOSE};2150-01-05 10:00;;{text};mg/dL;" for n, text in enumerate(spelled)]
    table = read_labs(write(tmp_path / "a.csv", lines, header), TableReading())
    assert table.values[:, column(GLUCOSE)].tolist() == values
    assert "4 values have a decimal comma" in table.notes
    ambiguous = [line.replace(text, "1,250") for line, text in zip(lines, spelled, strict=True)]
    with pytest.raises(DataError, match="5 of 5 values are no numbers"):
        read_labs(write(tmp_path / "b.csv", ambiguous, header), TableReading())


@pytest.mark.parametrize(("item", "value"), [(POTASSIUM, 9999999), (POTASSIUM, -999), (GLUCOSE, -1), (MCHC, 999.9)])
def test_a_number_that_no_person_has_and_that_stands_for_none_is_bad(tmp_path, item, value):
    lines = [event(7, item, value, unit=""), event(7, CREATININE, 1.0), event(8, CREATININE, 1.0)]
    path = write(tmp_path / "a.csv", lines)
    with pytest.raises(DataError, match=r"1 of 3 values are no numbers \(1 stand for none, such as -999 or 9999999\)"):
        read_labs(path, TableReading())
    table = read_labs(path, TableReading(max_bad_fraction=0.5))
    assert np.isfinite(table.values).sum() == 2
    assert "1 values such as -999 or 9999999 stand for none and count as not measured" in table.notes


def test_rare_values_of_living_people_are_no_stand_ins(tmp_path):
    rare = {50802: -30, 50868: -5, 51265: 999, 50910: 500_000, GLUCOSE: 2656, 50983: 198}
    path = write(tmp_path / "a.csv", [event(7, item, value, unit="") for item, value in rare.items()])
    table = read_labs(path, TableReading())
    assert {item: table.values[0, column(item)] for item in rare} == rare


@pytest.mark.parametrize("name", ["PatientID", "Patient ID", "SUBJECT_ID", "mrn"])
def test_the_patient_is_found_by_any_usual_name_and_said(tmp_path, name):
    lines = [event(7, GLUCOSE, 90), event(8, GLUCOSE, 91), event(9, GLUCOSE, 92, subject=2)]
    path = write(tmp_path / "a.csv", lines, HEADER.replace("subject_id", name))
    table = read_labs(path, TableReading())
    assert table.patient_ids == ("1", "1", "2")
    assert any(f"'{name}'" in note for note in table.notes) == (name != "SUBJECT_ID"), "the layout's own is not said"
    alone = read_labs(path, TableReading(), Patients(no_patients=True))
    assert len(set(alone.patient_ids)) == 3
    assert "no column names the patients: every hadm_id counts as a person of its own" in alone.notes


def test_a_column_that_may_name_the_patients_stops_the_call_until_somebody_says(tmp_path):
    path = write(tmp_path / "a.csv", [event(7, GLUCOSE, 90)], HEADER.replace("subject_id", "klinik_patient"))
    with pytest.raises(UsageError, match=r"klinik_patient.*say which with --patient-column COLUMN, or --no-patients"):
        read_labs(path, TableReading())
    assert read_labs(path, TableReading(), Patients(patient_column="klinik_patient")).patient_ids == ("1",)
    assert read_labs(path, TableReading(), Patients(no_patients=True)).patient_ids == ("7",)


def test_unknown_patients_are_people_of_their_own(tmp_path):
    lines = [event(hadm, GLUCOSE, 90, subject=subject) for hadm, subject in ((7, "NA"), (8, ""), (9, 3), (10, "3.0"))]
    assert read_labs(write(tmp_path / "a.csv", lines), TableReading()).patient_ids == ("7", "8", "3", "3")


@pytest.mark.parametrize("spelled", [("2.00E+07", "2.10E+07"), ("2e+07", "3e+07"), ("2.01235e+07", "2.01236e+07")])
def test_ids_that_a_spreadsheet_rounded_are_refused(tmp_path, spelled):
    path = write(tmp_path / "a.csv", [event(each, GLUCOSE, 90) for each in spelled])
    with pytest.raises(DataError, match=r"2 of 2 ids in column hadm_id .* are rounded numbers"):
        read_labs(path, TableReading())
    path = write(tmp_path / "b.csv", [event(row, GLUCOSE, 90, subject=each) for row, each in enumerate(spelled)])
    with pytest.raises(DataError, match="2 of 2 ids in the column of patients are rounded numbers"):
        read_labs(path, TableReading())
    samples = write(tmp_path / "samples.csv", [f"{each},7" for each in spelled], "sample_id,hadm_id")
    with pytest.raises(DataError, match=r"2 of 2 ids in column sample_id of .*samples\.csv are rounded"):
        read_labs(write(tmp_path / "c.csv", [event(7, GLUCOSE, 90)]), TableReading(samples=samples))


def test_nothing_to_read_is_said_in_a_sentence(tmp_path):
    with pytest.raises(DataError, match=r"its 2 items \(11, 12\) are all unknown; expected items such as 50802"):
        read_labs(write(tmp_path / "a.csv", [event(7, 11, 1.0), event(7, 12, 1.0)]), TableReading())
    with pytest.raises(DataError, match="no number that belongs to a sample"):
        read_labs(write(tmp_path / "b.csv", [event(7, GLUCOSE, "none")]), TableReading())
    with pytest.raises(DataError, match="a header and no rows"):
        read_labs(write(tmp_path / "c.csv", []), TableReading())
    with pytest.raises(UsageError, match="is not a file"):
        read_labs(tmp_path / "nothing.csv", TableReading())
    with pytest.raises(DataError, match="no column hospital"):
        read_labs(write(tmp_path / "d.csv", [event(7, GLUCOSE, 1)]), TableReading(owner="hospital"))
    (tmp_path / "e.csv").write_bytes(b"\xff\xfe\x00nonsense")
    with pytest.raises(DataError, match="is no text in UTF-16"):
        read_labs(tmp_path / "e.csv", TableReading())


def test_samples_that_are_asked_for_by_patient_and_time(tmp_path):
    """Two films of one patient, five days apart: each gets the values of its own day."""
    lines = [
        event(7, GLUCOSE, 100, day=5, subject=1), event(9, GLUCOSE, 200, day=10, subject=1),
        event(9, CREATININE, 2, day=20, subject=1), event(5, GLUCOSE, 300, day=10, subject=2),
    ]  # fmt: skip
    samples = write(
        tmp_path / "samples.csv",
        ["film2,1,2150-01-10 12:00:00", "film1,1,2150-01-05 06:00:00", "film3,3,2150-01-05 06:00:00"],
        "sample_id,subject_id,time",
    )
    reading = TableReading(samples=samples, owner="subject_id")
    table = read_labs(write(tmp_path / "a.csv", lines), reading)
    assert table.sample_ids == ("film2", "film1"), "in the order asked for; nobody measured anything of film3"
    assert table.patient_ids == ("1", "1")
    assert table.values[:, column(GLUCOSE)].tolist() == [200, 100]
    assert np.isnan(table.values[:, column(CREATININE)]).all(), "ten days later"
    wide = read_labs(tmp_path / "a.csv", TableReading(samples=samples, owner="subject_id", window_h=24 * 30))
    assert wide.values[:, column(GLUCOSE)].tolist() == [100, 100], "the earliest within the window"
    write(samples, ["a,1", "a,2"], "sample_id,subject_id")
    with pytest.raises(DataError, match=r"more than once \(a\)"):
        read_labs(tmp_path / "a.csv", reading)
    write(samples, ["a,1,noon"], "sample_id,subject_id,time")
    with pytest.raises(DataError, match="1 times that cannot be read"):
        read_labs(tmp_path / "a.csv", reading)


def at(hadm, time, value):
    return f"1,{hadm},{GLUCOSE},{time},{value},{value},mg/dL,"


def test_every_iso_spelling_of_a_time_is_read_and_the_earliest_is_found_among_them(tmp_path):
    """What databases write: with and without seconds, fractions, a T; the first row's spelling binds nobody."""
    spelled = ["2150-01-05 10:00:00", "2150-01-05 10:00:00.500", "2150-01-05T10:00", "2150-01-05", " 2150-01-05 10:00"]
    lines = [at(7, "2150-01-05 20:00", 9)] + [at(20 + row, time, row) for row, time in enumerate(spelled)]
    path = write(tmp_path / "a.csv", [*lines, at(7, "2150-01-05 08:00:00", 1)])
    table = read_labs(path, TableReading())
    found = dict(zip(table.sample_ids, table.values[:, column(GLUCOSE)], strict=True))
    assert found == {"7": 1, "20": 0, "21": 1, "22": 2, "23": 3, "24": 4}
    assert not any("times" in note for note in table.notes)
    samples = write(
        tmp_path / "samples.csv",
        [f"film{row},{20 + row},{time}" for row, time in enumerate(spelled)],
        "sample_id,hadm_id,time",
    )
    timed = read_labs(path, TableReading(samples=samples, window_h=12))
    assert timed.values[:, column(GLUCOSE)].tolist() == [0, 1, 2, 3, 4]


def test_dates_with_the_day_before_the_month_are_refused(tmp_path):
    """Read month first, the film of 5 March would get the glucose of 3 May."""
    lines = [at(7, "05/03/2150 10:00", 1), at(7, "03/05/2150 11:00", 9)]
    samples = write(
        tmp_path / "samples.csv", ["may,7,2150-05-03 12:00", "march,7,2150-03-05 12:00"], "sample_id,hadm_id,time"
    )
    for reading in (TableReading(), TableReading(samples=samples)):
        with pytest.raises(DataError, match="2 of 2 times cannot be read; write them as 2150-01-31 23:59:00"):
            read_labs(write(tmp_path / "a.csv", lines), reading)
    write(samples, ["march,7,05/03/2150 12:00", "may,7,2150-05-03 12:00"], "sample_id,hadm_id,time")
    with pytest.raises(DataError, match="1 times that cannot be read; write them as 2150-01-31"):
        read_labs(write(tmp_path / "b.csv", [at(7, "2150-03-05 10:00", 1)]), TableReading(samples=samples))


def test_a_few_unreadable_times_count_last_and_are_noted_and_blank_ones_are_no_fault(tmp_path):
    lines = [at(7, "noon", 9), at(7, "2150-01-05 20:00", 2), at(8, "", 3), at(9, "  ", 4)]
    path = write(tmp_path / "a.csv", lines)
    with pytest.raises(DataError, match="1 of 4 times cannot be read"):
        read_labs(path, TableReading())
    table = read_labs(path, TableReading(max_bad_fraction=0.5))
    assert table.values[:, column(GLUCOSE)].tolist() == [2, 3, 4]
    assert "1 times cannot be read; such values count last, or not at all in a window" in table.notes


def test_moments_of_several_zones_are_compared_as_what_they_are(tmp_path):
    """A clock that is set back: 02:10 in summer time comes before 02:05 in winter time."""
    lines = [
        at(7, "2150-10-25T02:05:00+01:00", 9),
        at(7, "2150-10-25T02:10:00+02:00", 1),
        at(8, "2150-10-25 09:00Z", 2),
    ]
    path = write(tmp_path / "a.csv", lines)
    assert read_labs(path, TableReading()).values[:, column(GLUCOSE)].tolist() == [1, 2]
    samples = write(
        tmp_path / "samples.csv", ["a,8,2150-10-25 19:00+10:00", "b,7,20501024T000000Z"], "sample_id,hadm_id,time"
    )
    timed = read_labs(path, TableReading(samples=samples, window_h=1))
    assert (timed.sample_ids, timed.values[0, column(GLUCOSE)]) == (("a",), 2)
    assert "2 values lie outside the window around their sample's time" in timed.notes


@pytest.mark.parametrize(
    ("of_values", "of_sample"),
    [
        (["2150-10-25T02:05:00+01:00", "2150-10-25T02:05:00"], None),
        (["2150-10-25 02:05", "20501025T020500Z"], None),
        (["2150-10-25T02:05:00+01:00"], "2150-10-25 02:05:00"),
        (["2150-10-25 02:05:00"], "2150-10-25T02:05Z"),
    ],
)
def test_times_with_a_zone_and_without_are_never_compared(tmp_path, monkeypatch, of_values, of_sample):
    monkeypatch.setattr(text_tables, "_BYTES_AT_A_TIME", 100)  # each in a part of its own
    path = write(tmp_path / "a.csv", [at(7, time, 1) for time in of_values])
    samples = write(tmp_path / "samples.csv", [f"a,7,{of_sample}"], "sample_id,hadm_id,time")
    with pytest.raises(DataError, match="say their time zone and others do not"):
        read_labs(path, TableReading(samples=samples if of_sample else None))


@pytest.mark.parametrize("name", ["Time", "StudyDateTime", "acquisition_datetime", "timestamp"])
def test_the_time_of_a_sample_is_found_by_its_usual_names_and_said(tmp_path, name):
    path = write(tmp_path / "a.csv", [at(7, "2140-01-05 08:00", 1), at(7, "2150-01-05 08:00", 2)])
    samples = write(tmp_path / "samples.csv", ["film,7,2150-01-05 12:00"], f"sample_id,hadm_id,{name}")
    table = read_labs(path, TableReading(samples=samples))
    assert table.values[0, column(GLUCOSE)] == 2
    assert f"samples.csv: time is column '{name}'" in table.notes


@pytest.mark.parametrize("name", ["StudyDate", "StudyTime", "date_of_birth"])
def test_samples_without_a_time_are_said_to_take_values_of_any_year(tmp_path, name):
    path = write(tmp_path / "a.csv", [at(7, "2140-01-05 08:00", 1), at(7, "2150-01-05 08:00", 2)])
    samples = write(tmp_path / "samples.csv", ["film,7,2150-01-05"], f"sample_id,hadm_id,{name}")
    table = read_labs(path, TableReading(samples=samples))
    assert table.values[0, column(GLUCOSE)] == 1
    assert any(
        "has no column time: of every hadm_id the earliest values count, whenever" in note for note in table.notes
    )


def test_a_long_table_that_names_its_samples_gives_one_row_for_each(tmp_path):
    lines = ["film1,1,Glucose,100,mg/dL,2150-01-01", "film2,1,Glucose,200,mg/dL,2150-03-01"]
    table = read_labs(write(tmp_path / "a.csv", lines, "Sample ID,patient_id,item,value,unit,time"), TableReading())
    assert (table.sample_ids, table.patient_ids) == (("film1", "film2"), ("1", "1"))
    assert table.values[:, column(GLUCOSE)].tolist() == [100, 200]
    samples = write(tmp_path / "samples.csv", ["f,1,2150-03-01 10:00"], "sample_id,patient_id,time")
    asked = read_labs(tmp_path / "a.csv", TableReading(samples=samples))
    assert (asked.sample_ids, asked.values[0, column(GLUCOSE)]) == (("f",), 200), "the list of samples decides"


def test_values_without_a_unit_are_counted_where_units_differ(tmp_path):
    lines = [event(7, CREATININE, 80, unit=""), event(8, CREATININE, 1, unit="mg/dL"), event(8, MCHC, 33, unit="")]
    table = read_labs(write(tmp_path / "a.csv", lines), TableReading())
    assert "2 values have no unit and count as in the panel's own" in table.notes


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("patient_id,item,value,unit", "looks like a long table and has no column time"),
        ("subject_id,hadm_id,itemid,charttime,value", "looks like a MIMIC labevents and has no column valuenum"),
        ("Fallnummer,Parameter,Wert,Einheit", r"is no table of labs that is known \(it has Fallnummer, Parameter"),
        ("sample_id,potassium,sodium", "expected the columns sample_id and one for each of 50802"),
    ],
)
def test_a_table_of_an_unknown_kind_is_told_what_it_lacks(tmp_path, header, message):
    with pytest.raises(DataError, match=message):
        read_labs(write(tmp_path / "a.csv", ["1,2,3,4,5"[: 2 * header.count(",") + 1]], header), TableReading())


def test_a_plain_long_table_goes_by_name_or_id(tmp_path):
    lines = ["a,Glucose,120,mg/dL,2150-01-01", "a,50912,1.2,,2150-01-01", "b,glucose,130,mg/dl,2150-01-01"]
    path = write(tmp_path / "a.csv", lines, "Patient_ID,Item,Value,Unit,Time")
    assert layout_of(open_text_table(path), LAB_LAYOUTS).name == "long table"
    table = read_labs(path, TableReading())
    assert table.sample_ids == ("a", "b")
    assert table.values[:, column(GLUCOSE)].tolist() == [120, 130]
    assert table.values[0, column(CREATININE)] == 1.2


def by_hand(events):
    """First number of each item by admission, with the standard library alone."""
    first: dict[tuple[str, str], tuple[datetime, float]] = {}
    for row in events:
        if row["hadm_id"] != "NA" and row["itemid"] in map(str, LAB_ITEM_IDS) and row["valuenum"] != "NA":
            when = datetime.fromisoformat(row["charttime"])
            key = row["hadm_id"], row["itemid"]
            if key not in first or when < first[key][0]:
                first[key] = when, float(row["valuenum"])
    return {key: value for key, (_, value) in first.items()}


def test_mimic_demo_equals_a_reading_by_hand(shared):
    path = shared / "data/labs/mimic3_demo/LABEVENTS.csv.gz"
    table = read_labs(path, TableReading())
    with gzip.open(path, "rt", newline="") as file:
        expected = by_hand(csv.DictReader(file))
    assert len(table) == len({owner for owner, _ in expected}) == 129
    assert len(set(table.patient_ids)) == 100
    rows = {sample: row for row, sample in enumerate(table.sample_ids)}
    assert np.isfinite(table.values).sum() == len(expected)
    for (owner, item), value in expected.items():
        assert table.values[rows[owner], column(int(item))] == value
    assert np.isfinite(table.values).any(axis=0).sum() == 40, "ten of the fifty exist in MIMIC-IV only"


def test_eicu_demo_goes_by_its_names_and_its_first_day(shared):
    path = shared / "data/labs/eicu_demo/lab.csv.gz"
    table = read_labs(path, TableReading())
    with gzip.open(path, "rt", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["labresult"] and abs(int(row["labresultoffset"])) <= 1440]
    glucose = {}
    for row in sorted(rows, key=lambda row: int(row["labresultoffset"])):
        if row["labname"] == "glucose":  # not bedside glucose
            glucose.setdefault(row["patientunitstayid"], float(row["labresult"]))
    ours = dict(zip(table.sample_ids, table.values[:, column(GLUCOSE)], strict=True))
    assert {sample: value for sample, value in ours.items() if np.isfinite(value)} == glucose
    sodium = table.values[:, column(50983)]
    assert 130 < np.nanmedian(sodium) < 145, "mmol/L are mEq/L"
    assert np.isfinite(table.values).any(axis=0).sum() == 40
    everything = read_labs(path, TableReading(window_h=1e6))
    assert np.isfinite(everything.values).sum() > np.isfinite(table.values).sum()


def test_eicu_stays_of_one_person_are_known_by_the_list_of_samples(shared, tmp_path):
    """The lab table does not name the person; without the list a division by patient would divide persons."""
    path = shared / "data/labs/eicu_demo/lab.csv.gz"
    with gzip.open(shared / "data/labs/eicu_demo/patient.csv.gz", "rt", newline="") as file:
        stays = [(row["patientunitstayid"], row["uniquepid"]) for row in csv.DictReader(file)]
    samples = write(
        tmp_path / "samples.csv", [f"{s},{s},{p}" for s, p in stays], "sample_id,patientunitstayid,patient_id"
    )
    plain, listed = read_labs(path, TableReading()), read_labs(path, TableReading(samples=samples))
    assert sorted(listed.sample_ids) == sorted(plain.sample_ids)
    assert len(set(plain.patient_ids)) == 168 > len(set(listed.patient_ids)) > 90
    rows = [plain.sample_ids.index(sample) for sample in listed.sample_ids]
    np.testing.assert_array_equal(listed.values, plain.values[rows], err_msg="the first day in both")
