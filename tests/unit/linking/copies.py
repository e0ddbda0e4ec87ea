"""The made-up hospital as other hospitals keep theirs: a MEDS dataset, an OMOP CDM, tables with names of their own"""

from pathlib import Path

import numpy as np
import pandas as pd
from made_hospital import MadeHospital, write_record

from pacx.core.vocabulary import LAB_TESTS

UNITS = {test.item_id: test.unit for test in LAB_TESTS}


def write_meds(hospital: MadeHospital, folder: Path, code: str = "LAB//{item}//{unit}") -> None:
    """Events of a patient in order of time, two shards, numbers of 32 bits."""
    admissions, events = hospital.admissions, hospital.events
    labs = pd.DataFrame(
        {
            "subject_id": events["subject_id"],
            "time": events["charttime"],
            "code": [code.format(item=item, unit=UNITS.get(item, "UNK")) for item in events["itemid"]],
            "numeric_value": events["valuenum"].astype(np.float32),
            "hadm_id": events["hadm_id"].astype("Int64"),
        }
    )
    stays = [
        pd.DataFrame(
            {
                "subject_id": admissions["subject_id"],
                "time": admissions[time],
                "code": name,
                "numeric_value": np.float32(np.nan),
                "hadm_id": admissions["hadm_id"].astype("Int64"),
            }
        )
        for time, name in (
            ("admittime", "HOSPITAL_ADMISSION//EW EMER.//UNK"),
            ("dischtime", "HOSPITAL_DISCHARGE//HOME"),
        )
    ]
    all_events = pd.concat([*stays, labs]).sort_values(["subject_id", "time"], kind="stable")
    subjects = all_events["subject_id"].unique()
    for name, some in (("train/0", subjects[::2]), ("held_out/0", subjects[1::2])):
        path = folder / "data" / f"{name}.parquet"
        path.parent.mkdir(parents=True)
        all_events[all_events["subject_id"].isin(some)].to_parquet(path, index=False)
    (folder / "metadata").mkdir()


def write_omop(hospital: MadeHospital, folder: Path, ending: str) -> None:
    """Persons and visits under numbers of their own (visits keep theirs), items as source values."""
    folder.mkdir(parents=True)
    admissions, events = hospital.admissions, hospital.events
    subjects = pd.concat([admissions["subject_id"], events["subject_id"]]).unique()
    number = {subject: 7 + 3 * place for place, subject in enumerate(subjects)}
    tables = {
        "person": pd.DataFrame({"person_id": list(number.values()), "person_source_value": list(map(str, number))}),
        "visit_occurrence": pd.DataFrame(
            {
                "visit_occurrence_id": admissions["hadm_id"],
                "person_id": admissions["subject_id"].map(number),
                "visit_concept_id": 9201,
                "visit_start_date": admissions["admittime"].dt.date,
                "visit_start_datetime": admissions["admittime"],
                "visit_end_date": admissions["dischtime"].dt.date,
                "visit_end_datetime": admissions["dischtime"],
            }
        ),
        "measurement": pd.DataFrame(
            {
                "measurement_id": range(len(events)),
                "person_id": events["subject_id"].map(number).to_numpy(),
                "measurement_concept_id": 0,
                "measurement_date": events["charttime"].dt.date.to_numpy(),
                "measurement_datetime": events["charttime"].to_numpy(),
                "value_as_number": events["valuenum"].to_numpy(),
                "unit_concept_id": 0,
                "measurement_source_value": events["itemid"].to_numpy(),
                "unit_source_value": events["itemid"].map(UNITS).to_numpy(),
            }
        ),
    }
    for name, table in tables.items():
        path = folder / f"{name}{ending}"
        table.to_parquet(path, index=False) if ending == ".parquet" else table.to_csv(path, index=False)


def write_tables(hospital: MadeHospital, folder: Path) -> Path:
    """Two csv files with German heads, and the two lines that say what they are."""
    folder.mkdir(parents=True)
    films = hospital.films.rename(columns={"subject_id": "PatNr", "time": "Aufnahme"})
    films = films.assign(Bild="bilder/" + films["dicom_id"] + ".png")
    labs = hospital.events.rename(columns={"subject_id": "PatNr", "charttime": "Entnahme", "valuenum": "Wert"})
    names = {test.item_id: test.name for test in LAB_TESTS}
    labs = labs.assign(Test=labs["itemid"].map(names).fillna("Other"), Einheit=labs["itemid"].map(UNITS))
    films[["PatNr", "Aufnahme", "Bild", "ViewPosition"]].to_csv(folder / "roentgen.csv", index=False, sep=";")
    labs[["PatNr", "Entnahme", "Test", "Wert", "Einheit"]].to_csv(folder / "labor.csv", index=False)
    for film in films[films["is_there"]].itertuples():
        (folder / str(film.Bild)).parent.mkdir(exist_ok=True)
        (folder / str(film.Bild)).touch()
    toml = folder / "hospital.toml"
    toml.write_text(
        'films = { table = "roentgen.csv", patient = "PatNr", time = "Aufnahme", file = "Bild", '
        'view = "ViewPosition" }\n'
        'labs = { table = "labor.csv", patient = "PatNr", time = "Entnahme", item = "Test", value = "Wert", '
        'unit = "Einheit" }\n'
    )
    return toml


def write_own_films(hospital: MadeHospital, folder: Path) -> Path:
    """Films, ECGs, admissions and labels as parquet tables with names of their own."""
    folder.mkdir(parents=True)
    for film in hospital.films[hospital.films["is_there"]].itertuples():
        (folder / f"{film.dicom_id}.jpg").touch()
    for record in hospital.recordings.itertuples():
        write_record(folder / str(record.path), str(record.kind))
    hospital.films.assign(name=hospital.films["dicom_id"] + ".jpg").to_parquet(folder / "f.parquet", index=False)
    hospital.recordings.assign(name=hospital.recordings["path"] + ".hea").to_parquet(folder / "e.parquet", index=False)
    pd.DataFrame({"s": hospital.labelled}).to_parquet(folder / "l.parquet", index=False)
    toml = folder / "films.toml"
    toml.write_text(
        'films = { table = "f.parquet", patient = "subject_id", time = "time", file = "name", id = "dicom_id", '
        'study = "study_id", view = "ViewPosition" }\n'
        'ecgs = { table = "e.parquet", patient = "subject_id", time = "ecg_time", file = "name", id = "study_id" }\n'
        'labels = { table = "l.parquet", study = "s" }\n'
    )
    return toml
