"""The same hospital gives the same pairs whatever it is kept as: MIMIC, MEDS, OMOP, or tables of anybody's"""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from copies import UNITS, write_meds, write_omop, write_own_films, write_tables
from made_hospital import make_hospital, pairs_film_by_film, write_hospital

from pacx.cli.main import main
from pacx.core.errors import DataError
from pacx.core.vocabulary import LAB_ITEM_IDS
from pacx.linking.links import Links
from pacx.linking.raw_tables import files_called, table_at

ITEMS = list(map(str, LAB_ITEM_IDS))
SAME = ["subject_id", "hadm_id", "dicom_id", "study_id", "film_time", "ecg_study_id", "ecg_time", *ITEMS]


def linked(source: str, words: list[str], out: Path, *more: str) -> Links:
    main(["data", "link", source, *words, "--out", str(out), *more])
    return Links.open(out)


@pytest.fixture(params=["film", "symile"])
def rule(request: pytest.FixtureRequest) -> list[str]:
    return ["--rule", request.param]


@pytest.mark.parametrize("code", ["LAB//{item}//{unit}", "LAB//RESULT//{item}//UNK", "MIMIC_IV_LABITEM/{item}"])
def test_a_meds_copy_gives_the_same_pairs(tmp_path: Path, rule: list[str], code: str) -> None:
    hospital = make_hospital(4)
    words = write_hospital(hospital, tmp_path / "mimic")
    expected = linked("mimic-iv", words, tmp_path / "links", *rule).pairs
    write_meds(hospital, tmp_path / "meds", code)
    found = linked("meds", ["--meds", str(tmp_path / "meds"), *words[2:]], tmp_path / "other", *rule).pairs
    assert expected[ITEMS].notna().to_numpy().sum() > 20
    pd.testing.assert_frame_equal(found[SAME], expected[SAME])


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet"])
def test_an_omop_copy_gives_the_same_pairs(tmp_path: Path, rule: list[str], ending: str) -> None:
    hospital = make_hospital(4)
    words = write_hospital(hospital, tmp_path / "mimic")
    expected = linked("mimic-iv", words, tmp_path / "links", *rule).pairs
    write_omop(hospital, tmp_path / "cdm", ending)
    found = linked("omop", ["--cdm", str(tmp_path / "cdm"), *words[2:]], tmp_path / "other", *rule).pairs
    pd.testing.assert_frame_equal(found[SAME], expected[SAME])


def renamed(folder: Path, how: Callable[[str], str]) -> None:
    for path in [path for path in folder.iterdir() if path.is_file()]:
        path.rename(path.with_name(how(path.name)))


@pytest.mark.parametrize(("ending", "how"), [(".csv.gz", str.upper), (".parquet", str.title)])
def test_tables_are_known_in_upper_and_lower_case(tmp_path: Path, ending: str, how: Callable[[str], str]) -> None:
    hospital = make_hospital(4)
    words = write_hospital(hospital, tmp_path / "mimic", ending=ending)
    expected = linked("mimic-iv", words, tmp_path / "links").pairs
    for name in ("hosp", "cxr", "ecg"):
        renamed(tmp_path / "mimic" / name, how)
    pd.testing.assert_frame_equal(linked("mimic-iv", words, tmp_path / "again").pairs, expected)
    write_omop(hospital, tmp_path / "cdm", ending)
    renamed(tmp_path / "cdm", how)
    found = linked("omop", ["--cdm", str(tmp_path / "cdm"), *words[2:]], tmp_path / "other").pairs
    pd.testing.assert_frame_equal(found[SAME], expected[SAME])


@pytest.mark.parametrize("second", ["MEASUREMENT.csv", "Measurement.CSV", "measurement.csv.gz", "MEASUREMENT.PARQUET"])
def test_two_tables_of_one_name_are_refused_by_theirs(tmp_path: Path, second: str) -> None:
    for name in ("measurement.csv", second):
        (tmp_path / name).write_text("a,b\n1,2\n")
    assert len(files_called(tmp_path, "MEASUREMENT")) == 2
    with pytest.raises(DataError, match=rf"has 2 tables measurement \(.*{re.escape(second)}.*\); keep one"):
        table_at(tmp_path, "measurement")
    with pytest.raises(DataError, match=r"has no table person \(\.csv\.gz, \.csv or \.parquet\); copy it there"):
        table_at(tmp_path, "person")


@pytest.mark.parametrize("source", ["meds", "omop"])
def test_films_and_recordings_may_be_tables_of_other_names(tmp_path: Path, rule: list[str], source: str) -> None:
    hospital = make_hospital(4)
    expected = linked("mimic-iv", write_hospital(hospital, tmp_path / "mimic"), tmp_path / "links", *rule).pairs
    write_meds(hospital, tmp_path / "meds")
    write_omop(hospital, tmp_path / "omop", ".parquet")
    toml = write_own_films(hospital, tmp_path / "films")
    words = [f"--{source.replace('omop', 'cdm')}", str(tmp_path / source), "--tables", str(toml)]
    found = linked(source, words, tmp_path / "other", *rule).pairs
    pd.testing.assert_frame_equal(found[SAME], expected[SAME])


def test_two_threads_give_the_same_bytes_as_one(tmp_path: Path) -> None:
    hospital = make_hospital(5)
    toml = write_own_films(hospital, tmp_path / "films")
    write_meds(hospital, tmp_path / "meds")
    words = ["--meds", str(tmp_path / "meds"), "--tables", str(toml)]
    one, two = (linked("meds", words, tmp_path / name, "--num-workers", name) for name in ("1", "2"))
    assert (one.path / "pairs.parquet").read_bytes() == (two.path / "pairs.parquet").read_bytes()


def test_two_csv_files_of_other_names_link_in_two_lines(tmp_path: Path) -> None:
    hospital = make_hospital(6)
    toml = write_tables(hospital, tmp_path / "own")
    assert len(toml.read_text().splitlines()) <= 5
    pairs = linked("tables", ["--toml", str(toml)], tmp_path / "links").pairs
    expected = pairs_film_by_film(hospital, window_h=24, last=False)
    found = {
        Path(row["film_path"]).stem: {int(item): row[item] for item in ITEMS if row[item] == row[item]}
        for _, row in pairs.iterrows()
    }
    assert found == {film: values for film, (_, values) in expected.items() if values}


def test_a_medical_split_of_patients_is_the_films(tmp_path: Path) -> None:
    hospital = make_hospital(5)
    toml = write_own_films(hospital, tmp_path / "films")
    write_meds(hospital, tmp_path / "meds")
    subjects = pd.Series(hospital.films["subject_id"].unique(), name="subject_id")
    words = ["train", "tuning", "held_out"]
    splits = pd.DataFrame({"subject_id": subjects, "split": [words[subject % 3] for subject in subjects]})
    splits.to_parquet(tmp_path / "meds" / "metadata" / "subject_splits.parquet", index=False)
    pairs = linked("meds", ["--meds", str(tmp_path / "meds"), "--tables", str(toml)], tmp_path / "links").pairs
    assert pairs["split"].tolist() == [("train", "val", "test")[subject % 3] for subject in pairs["subject_id"]]


LAB_TOML = (
    'films = {{ table = "f.csv", patient = "p", time = "t", file = "f" }}\nlabs = {{ table = "l.csv", {labs} }}\n'
)


def small(folder: Path, rows: list[tuple[object, ...]], toml: str = "", **options: str) -> Path:
    """One patient with one film, and measurements of item, value and unit an hour before."""
    folder.mkdir(exist_ok=True)
    (folder / "x.png").touch()
    film_time = options.get("film_time", "2150-01-02 10:00:00")
    (folder / "f.csv").write_text(f"p,t,f\n7,{film_time},x.png\n")
    lines = [f"7,{options.get('time', '2150-01-02 09:00:00')},{item},{value},{unit}" for item, value, unit in rows]
    (folder / "l.csv").write_text("\n".join(["p,t,i,v,u", *lines]) + "\n")
    labs = 'patient = "p", time = "t", item = "i", value = "v", unit = "u"' + toml
    (folder / "h.toml").write_text(LAB_TOML.format(labs=labs))
    return folder / "h.toml"


@pytest.mark.parametrize(
    ("item", "value", "unit", "expected"),
    [
        ("Creatinine", "88.42", "µmol/L", 1.0),
        ("creatinine", "88.42", "umol / l", 1.0),
        ("50912", "1.5", "", 1.5),
        ("50912.0", "1.5", "mg/dL", 1.5),
        ("Hemoglobin", "130", "g/L", 13.0),
        ("White Blood Cells", "7.1", "x10*9/L", 7.1),
        ("wbc x 1000", "7100", "/mcL", 7.1),
        ("Glucose", "5", "mmol/L", 90.08),
    ],
)
def test_units_are_converted_by_the_factors_of_the_panel(
    tmp_path: Path, item: str, value: str, unit: str, expected: float
) -> None:
    pairs = linked("tables", ["--toml", str(small(tmp_path / "h", [(item, value, unit)]))], tmp_path / "links").pairs
    assert np.isclose(pairs[ITEMS].stack().dropna().item(), expected, rtol=1e-12)


def test_a_unit_that_cannot_be_converted_is_counted_named_and_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toml = small(tmp_path / "h", [("Creatinine", 1, "mg/dL"), ("Creatinine", 4, "furlong"), ("Sodium", 140, "mmol/L")])
    with pytest.raises(SystemExit):
        linked("tables", ["--toml", str(toml)], tmp_path / "refused")
    message = capsys.readouterr().err
    assert f"{tmp_path}/h/l.csv: 1 of 3 rows cannot be used" in message
    assert "1 of 50912 in furlong, which cannot be converted (row 2)" in message
    links = linked("tables", ["--toml", str(toml)], tmp_path / "links", "--max-bad-fraction", "0.5")
    assert links.pairs[["50912", "50983"]].iloc[0].tolist() == [1.0, 140.0]


def test_a_user_names_tests_of_his_own(tmp_path: Path) -> None:
    toml = small(tmp_path / "h", [("KREA", 1.25, "")], ', items = { krea = "Creatinine" }')
    pairs = linked("tables", ["--toml", str(toml)], tmp_path / "links").pairs
    assert pairs["50912"].tolist() == [1.25]


@pytest.mark.parametrize(
    ("film_time", "time_format"), [("02.01.2150 10:00", "%d.%m.%Y %H:%M"), ("1/2/2150 10:00 AM", "%m/%d/%Y %I:%M %p")]
)
def test_times_may_be_of_another_format_where_it_is_said(tmp_path: Path, film_time: str, time_format: str) -> None:
    toml = small(tmp_path / "h", [("Creatinine", 1, "")], film_time=film_time)
    toml.write_text(toml.read_text().replace('file = "f"', f'file = "f", time_format = "{time_format}"'))
    pairs = linked("tables", ["--toml", str(toml)], tmp_path / "links").pairs
    assert pairs["film_time"].tolist() == [pd.Timestamp("2150-01-02 10:00")]


def test_a_time_may_stand_in_two_columns(tmp_path: Path) -> None:
    toml = small(tmp_path / "h", [("Creatinine", 1, "")])
    (tmp_path / "h" / "f.csv").write_text("p,day,hour,f\n7,2150-01-02,10:00,x.png\n")
    toml.write_text(toml.read_text().replace('time = "t", file', 'time = ["day", "hour"], file'))
    pairs = linked("tables", ["--toml", str(toml)], tmp_path / "links").pairs
    assert pairs["film_time"].tolist() == [pd.Timestamp("2150-01-02 10:00")]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("1,25", 1.25), ("1,250", 1.25), ("1.250", 1250), ("-1.250,5", -1250.5), ("1.234.567,8", 1234567.8), ("7", 7),
        (",5", 0.5), ("1.25", None), ("12.34,5", None), ("1,2,3", None), ("1,250.5", None), ("", None), ("NA", None),
    ],
)  # fmt: skip
def test_numbers_may_have_a_decimal_comma_where_it_is_said(
    tmp_path: Path, written: str, expected: float | None
) -> None:
    toml = small(tmp_path / "h", [("Creatinine", f'"{written}"', ""), ("Sodium", 140, "")], ', decimal = ","')
    links = linked("tables", ["--toml", str(toml)], tmp_path / "links", "--max-bad-fraction", "0.5")
    found = links.pairs["50912"].dropna().tolist()
    assert found == ([expected] if expected is not None else [])
    losses = [loss for step in links.flow.steps for loss in step.losses if loss.rows]
    assert bool(losses) == (expected is None and written not in ("", "NA"))


@pytest.mark.parametrize(
    ("time_format", "lacks"),
    [
        ("%d.%m.%Y", "without hour"),
        ("%d.%m.%Y %I:%M", "without hour"),
        ("%d.%m. %H:%M", "without year"),
        ("%Y %H:%M", "without day"),
        ("%H:%M:%S", "without year and day"),
        ("%Y-%m-%d %H:%M:%S%z", "with %z, which is not read (time zones are not"),
        ("%Y-%m-%d %H:%M %Z", "with %Z, which is not read"),
        ("%Y-%m-%d %H:%M %s", "with %s, which is not read"),
    ],
)
def test_a_format_by_which_an_hour_would_be_guessed_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], time_format: str, lacks: str
) -> None:
    toml = small(tmp_path / "h", [("Creatinine", 1, "")])
    toml.write_text(toml.read_text().replace('file = "f"', f'file = "f", time_format = "{time_format}"'))
    with pytest.raises(SystemExit) as stop:
        linked("tables", ["--toml", str(toml)], tmp_path / "links")
    assert stop.value.code == 2
    assert lacks in capsys.readouterr().err


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda text: text.replace("patient", "pateint", 1), "films does not name patient"),
        (lambda text: text.replace('file = "f"', 'file = "f", vew = "f"'), "did you mean view?"),
        (lambda text: text.replace("labs", "lab"), "did you mean labs"),
        (lambda text: text.replace('"v"', '"w"'), "has no column 'w'"),
        (lambda text: text.replace('"v"', "3"), "something else than text as 'value'"),
        (lambda text: text.replace('value = "v"', 'value = "v", decimal = ";"'), "decimal ';', expected '.' or ','"),
        (lambda text: text.replace('file = "f"', 'file = "f", decimal = ","'), "films has 'decimal', expected"),
        (lambda text: text + "x", "is no TOML"),
        (lambda text: text.partition("\n")[0], "names too little to pair"),
    ],
)
def test_a_toml_that_names_wrongly_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], edit: Callable[[str], str], message: str
) -> None:
    toml = small(tmp_path / "h", [("Creatinine", 1, "")])
    toml.write_text(edit(toml.read_text()))
    with pytest.raises(SystemExit):
        linked("tables", ["--toml", str(toml)], tmp_path / "links")
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("concept", "unit", "source", "expected"),
    [(3016723, 8749, "x", {"50912": 1.0}), (99, 0, "KREA", {"50912": 88.42}), (2000000001, 8840, "", {"50912": 88.42})],
    ids=["standard concept and unit", "a user's source value", "by LOINC of the CDM"],
)
@pytest.mark.parametrize("upper", [str, str.upper], ids=["concept", "CONCEPT"])
def test_concepts_lead_to_the_panel(
    tmp_path: Path, concept: int, unit: int, source: str, expected: dict[str, float], upper: Callable[[str], str]
) -> None:
    films = small(tmp_path / "h", [])
    films.write_text(films.read_text().partition("\n")[0])
    cdm = tmp_path / "cdm"
    cdm.mkdir()
    (cdm / "person.csv").write_text("person_id,gender_concept_id\n7,0\n")
    columns = "person_id,measurement_concept_id,measurement_date,measurement_datetime,value_as_number"
    (cdm / "measurement.csv").write_text(
        f"{columns},unit_concept_id,measurement_source_value\n"
        f"7,{concept},2150-01-02,2150-01-02 09:00:00,88.42,{unit},{source}\n"
    )
    (cdm / f"{upper('concept')}.csv").write_text(
        "concept_id,concept_code,vocabulary_id\n2000000001,2160-0,LOINC\n5,6,SNOMED\n"
    )
    (tmp_path / "own.csv").write_text("code,item\nKREA,50912\n")
    words = ["--cdm", str(cdm), "--tables", str(films), "--items", str(tmp_path / "own.csv")]
    pairs = linked("omop", words, tmp_path / "links").pairs
    assert pairs[ITEMS].iloc[0].dropna().round(12).to_dict() == expected


def test_units_fold_in_sql_as_elsewhere() -> None:
    import duckdb

    from pacx.linking.raw_tables import quoted
    from pacx.linking.sources.lab_codes import folded_sql
    from pacx.modalities.panel.long_tables import folded

    for unit in (*UNITS.values(), "µmol/L", "μmol/L", "x10*3/uL", "mcg / L", " IU/l ", "10E9/L"):
        assert duckdb.execute(f"SELECT {folded_sql(quoted(unit))}").fetchone() == (folded(unit),)
