"""Whose films are they, where no table says so: a folder's, those that DICOM headers name, or nobody's."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pacx.core.errors import UsageError
from pacx.core.tables.column_roles import NO_PATIENTS
from pacx.data.images.dicom_objects import DicomObject
from pacx.data.own_films.film_tree import FilmTree


@dataclass(frozen=True)
class People:
    """Whose each film is: the patient and study, "" where not known, and what to say of it."""

    patients: list[str]
    studies: list[str]
    notes: tuple[str, ...] = ()


def numbered(values: Sequence[str]) -> list[int]:
    """Numbers from 1 in the order in which values come, 0 for a blank one, so that no identifier becomes a record."""
    numbers: dict[str, int] = {}
    return [numbers.setdefault(value, len(numbers) + 1) if value else 0 for value in values]


def people_of_headers(paths: Sequence[str], objects: Mapping[str, DicomObject]) -> People:
    """The patients and studies that DICOM headers name, numbered as they come.

    Args:
        paths: of the films, in their order.
        objects: what the headers of those that are DICOM say, by path.
    """
    said = [objects.get(path, DicomObject()) for path in paths]
    patients = [f"patient-{number:06d}" if number else "" for number in numbered([each.patient for each in said])]
    studies = [f"study-{number:06d}" if number else "" for number in numbered([each.study for each in said])]
    return People(patients, studies)


def people_of_paths(
    tree: FilmTree, objects: Mapping[str, DicomObject], *, folder_level: int | None, no_patients: bool
) -> People:
    """The patients that no table names: of a folder level, of headers, or of nobody.

    Args:
        tree: of the films.
        objects: what the headers of DICOM films say, by path.
        folder_level: of the folders that name the patients, 1 being the first; None is not said.
        no_patients: somebody said that nobody knows them.

    Raises:
        UsageError: folders look as if they named the patients, and nobody said so.
    """
    num_films = len(tree.paths)
    if folder_level is not None:
        return People(tree.patients_at(folder_level), [""] * num_films)
    if no_patients:
        return People([""] * num_films, [""] * num_films)
    people = people_of_headers(tree.paths, objects)
    if any(people.patients):
        note = "Patients are those that the headers of the DICOM films name, numbered."
        return People(people.patients, people.studies, (note,))
    if level := tree.likely_patient_level():
        raise UsageError(
            f"folders at level {level} below {tree.root} look as if they named the patients; say --patient-folder "
            f"{level}, or {NO_PATIENTS} if they do not"
        )
    if num_named := tree.num_names_of_patients():
        note = f"{num_named} files are named as if by patient, which was not used; a table with a patient_id would be."
        return People(people.patients, people.studies, (note,))
    return people


def nearly_one_note(patients: Sequence[str], place: str) -> tuple[str, ...]:
    """What to say of patients that case or leading zeros alone tell apart, as in two tables put together."""
    spellings: defaultdict[str, set[str]] = defaultdict(set)
    for patient in patients:
        spellings[patient.casefold().lstrip("0")].add(patient)
    num = sum(len(each) for each in spellings.values() if len(each) > 1)
    if not num:
        return ()
    return (f"{num} patients of {place} differ in case or leading zeros alone, and count as different people.",)


def own_patient_note(patients: Sequence[str]) -> tuple[str, ...]:
    """What a reader of results has to know of films without a patient."""
    num_alone = sum(not patient for patient in patients)
    if not num_alone:
        return ()
    whose = "Every image" if num_alone == len(patients) else f"{num_alone} of {len(patients)} images"
    return (f"{whose} had no patient id and counts as its own patient: films of one person may lie in two splits.",)
