"""Roles of columns: known under any spelling, said when guessed, refused when two may be meant or one looks unused."""

import pytest

from pacx.core.errors import UsageError
from pacx.core.tables.column_roles import Role, Roles, column_roles, folded

EVERY = tuple(Role)
OPTIONS = {Role.PATIENT: "--patient-column", Role.SPLIT: "--split-column"}


def roles(*names: str, **settings: object) -> Roles:
    return column_roles(names, EVERY, place="films.csv", options=OPTIONS, **settings)  # type: ignore[arg-type]  # settings vary by call


@pytest.mark.parametrize(
    "spelling",
    [
        "patient_id", "PatientID", "Patient ID", "patientId", "PATIENT-ID", "patient.id", "patient_ids", "Patient No.",
        "Patient Number", "patient", "subject_id", "SubjectID", "subject", "Subject ID", "participant_id", "person_id",
        "Participant", "pid", "MRN", "mrn", "anon_patient_id", "empi_anon", "subj_id", "  Patient ID ", "Patient_Key",
        "ＰatientＩＤ",
    ],
)  # fmt: skip
def test_the_patient_is_known_under_every_usual_spelling(spelling: str) -> None:
    assert roles("file", spelling, "Edema").get(Role.PATIENT) == spelling


@pytest.mark.parametrize(
    ("spelling", "role"),
    [
        ("StudyInstanceUID", Role.STUDY), ("AccessionNumber", Role.STUDY), ("study", Role.STUDY),
        ("Split", Role.SPLIT), ("dataset_split", Role.SPLIT), ("subset", Role.SPLIT), ("Partition", Role.SPLIT),
        ("ViewPosition", Role.VIEW), ("view_position", Role.VIEW), ("Projection", Role.VIEW),
        ("Frontal/Lateral", Role.VIEW), ("View Position", Role.VIEW),
        ("PatientSex", Role.SEX), ("gender", Role.SEX), ("Patient Gender", Role.SEX),
        ("PatientAge", Role.AGE), ("Patient Age", Role.AGE),
        ("Path", Role.PATH), ("file_name", Role.PATH), ("Image Index", Role.PATH), ("ImageID", Role.PATH),
        ("SampleID", Role.SAMPLE), ("dicom_id", Role.SAMPLE), ("sample_ids", Role.SAMPLE),
    ],
)  # fmt: skip
def test_other_roles_are_known_under_their_usual_spellings(spelling: str, role: Role) -> None:
    found = roles("patient_id", spelling, "Edema")
    assert found.columns == {Role.PATIENT: "patient_id", role: spelling}
    assert found.notes == (f"films.csv: {role.value} is column '{spelling}'",)


def test_our_own_spellings_need_no_word() -> None:
    found = roles("file", "sample_id", "patient_id", "study_id", "view", "split", "sex", "age")
    assert set(found.columns) == set(EVERY)
    assert found.notes == ()


@pytest.mark.parametrize(
    "name",
    [
        "PatientPosition", "patient_weight", "Patient Orientation", "patientunitstayid", "inpatient", "spattern",
        "personal_note", "pattern", "pleural effusion", "subjective_quality", "patient_has_pneumonia_history",
        "pt_status", "case", "uppercase_id",
    ],
)  # fmt: skip
def test_what_only_tells_of_a_patient_is_not_taken_for_one(name: str) -> None:
    assert roles("file", name).get(Role.PATIENT) is None


@pytest.mark.parametrize(
    "name",
    [
        "Patient Name",
        "patient_ref",
        "mrn_hashed",
        "subjectLabel",
        "ExternalPatient",
        "pat_nr_2",
        "IDPaciente",
        "case_id",
        "Patientennummer",
    ],
)
def test_a_column_that_may_name_patients_stops_the_call(name: str) -> None:
    with pytest.raises(UsageError, match=f"'{name}'; say which with --patient-column COLUMN, or --no-patients"):
        roles("file", name)
    assert roles("file", name, no_patients=True).get(Role.PATIENT) is None
    assert roles("file", name, named={Role.PATIENT: name}).get(Role.PATIENT) == name
    assert roles("file", name, "patient_id").get(Role.PATIENT) == "patient_id"


def test_of_two_patient_columns_our_own_spelling_wins_and_others_are_asked_for() -> None:
    found = roles("subject_id", "patient_id")
    assert found.get(Role.PATIENT) == "patient_id"
    assert found.notes == ("films.csv: passed over is 'subject_id'",)
    with pytest.raises(UsageError, match="'PatientID', 'subject_id'; say which with --patient-column"):
        roles("subject_id", "PatientID")
    assert roles("subject_id", "PatientID", named={Role.PATIENT: "PatientID"}).get(Role.PATIENT) == "PatientID"


def test_of_two_views_or_paths_the_likelier_is_taken() -> None:
    found = roles("image", "Path", "Frontal/Lateral", "AP/PA", "patient_id")
    assert (found.get(Role.PATH), found.get(Role.VIEW)) == ("image", "AP/PA")


def test_what_a_reader_uses_itself_is_neither_a_candidate_nor_left_unused() -> None:
    assert roles("patient_ref", "subject_id", used=("patient_ref", "subject_id")).columns == {}


def test_a_reader_without_use_for_patients_is_not_asked_about_them() -> None:
    assert column_roles(["patient_ref", "view"], (Role.VIEW,), place="t").columns == {Role.VIEW: "view"}


def test_no_patients_passes_the_column_over_and_says_so() -> None:
    found = roles("file", "subject_id", no_patients=True)
    assert found.get(Role.PATIENT) is None
    assert found.notes == ("films.csv: passed over is 'subject_id'",)
    with pytest.raises(UsageError, match="give one"):
        roles("subject_id", named={Role.PATIENT: "subject_id"}, no_patients=True)


def test_a_named_column_has_to_be_there() -> None:
    with pytest.raises(UsageError, match="no column 'who'; it has 'file', 'patient_id'"):
        roles("file", "patient_id", named={Role.PATIENT: "who"})


def test_without_an_option_the_column_has_to_be_renamed() -> None:
    with pytest.raises(UsageError, match="name that column patient_id"):
        column_roles(["PatientID", "subject"], EVERY, place="t")


def test_folding_keeps_what_tells_names_apart() -> None:
    assert folded("Patient-ID") == folded("patient.ids") == "patientid"
    assert folded("Größe") != folded("Grosse ID")
    assert folded("Iris") == "iris"
