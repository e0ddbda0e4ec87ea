"""Which column of a table is which: the roles that films, ECG lists, lab tables and their JSON companions share.

Names are compared folded (case, blanks, underscores, hyphens, dots, slashes and a plural of "ids" do not count), so
that ``PatientID``, ``Patient ID`` and ``patient_ids`` are ``patient_id``. A table with a column that looks like one of
patients and was not taken for it is refused: its rows would be divided as if every one were another person. Knows no
value of any table, and no pandas.
"""

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from pacx.core.errors import UsageError

NO_PATIENTS = "--no-patients"


class Role(Enum):
    """What a column may be for; the value is the name that it has with us."""

    PATH = "path"
    SAMPLE = "sample_id"
    PATIENT = "patient_id"
    STUDY = "study_id"
    SPLIT = "split"
    VIEW = "view"
    SEX = "sex"
    AGE = "age"


_OWN = {Role.PATH: ("file", "image_path", "image", "path", "filename")}
"""Spellings that need no word about them, where the role's own name is not the only one; the first counts."""

_PERSONS = ("patient", "subject", "person", "participant", "individual", "proband")
_NUMBERS = (
    "", "id", "identifier", "number", "no", "nr", "num", "code", "key", "uid", "guid", "index", "idx", "hash",
    "pseudonym",
)  # fmt: skip
_PREFIXES = (
    "",
    "id",
    "anon",
    "anonymized",
    "anonymised",
    "deid",
    "deidentified",
    "pseudo",
    "unique",
    "study",
    "original",
)
_SPELLINGS: Mapping[Role, tuple[str, ...]] = {
    Role.PATH: (
        "file", "imagepath", "image", "path", "filename", "filepath", "imagefile", "imagefilename", "imagename",
        "imageindex", "img", "imgpath", "imgfile", "imgname", "relativepath", "relpath", "pngpath", "jpgpath",
        "jpegpath", "dicompath", "dcmpath", "dicomfile", "dcmfile", "cxrpath", "cxrfilename", "xraypath", "filmpath",
        "fullpath", "recordpath", "ecgpath", "waveformpath", "filenamehr", "filenamelr", "imageid", "imgid",
        "dicomfilename", "tracefile",
    ),
    Role.SAMPLE: ("sampleid", "sample", "samplename", "dicomid", "sopinstanceuid", "recordingid", "ecgid"),
    Role.PATIENT: (
        *(prefix + person + number for prefix in _PREFIXES for person in _PERSONS for number in _NUMBERS),
        "pid", "ptid", "patid", "subjid", "mrn", "mrnid", "anonmrn", "mrnanon", "medicalrecordnumber",
        "medicalrecordno", "medrecno", "empi", "empianon", "uniquepid", "anonpatid", "patientidanon", "patientanonid",
        "subjectanonid", "hospitalnumber", "nhsnumber", "eid", "patientdeid", "personnummer",
    ),
    Role.STUDY: (
        "studyid", "study", "studyinstanceuid", "studyuid", "accessionnumber", "accessionno", "accession",
        "accessionid", "accanon", "examid", "exam", "examinationid", "studynumber",
    ),
    Role.SPLIT: (
        "split", "datasplit", "datasetsplit", "splitname", "splitset", "trainvaltest", "traintestsplit", "partition",
        "datapartition", "subset", "datasubset", "set", "setname", "datasettype", "settype", "usage", "phase", "fold",
    ),
    Role.VIEW: (
        "view", "viewposition", "projection", "viewname", "apororpa", "appa", "paap", "position", "frontallateral",
    ),
    Role.SEX: ("sex", "gender", "patientsex", "patientgender", "subjectsex", "subjectgender"),
    Role.AGE: (
        "age", "patientage", "ageyears", "ageinyears", "subjectage", "ageatstudy", "ageatexam", "ageatscan",
        "ageatimaging",
    ),
}  # fmt: skip
"""Folded, the likeliest first."""

_ONE_ONLY = (Role.PATIENT, Role.SPLIT)
"""Roles in which a wrong choice spoils every score, so that nobody chooses between two columns but the user."""

_LOOKS_LIKE_A_PERSON = re.compile(
    r"patient|pa[cz]ient|pacjent|subject(?!ive)|subj\b|participant|proband|person(?!al)"
    r"|\b(?:mrn|pat|pts?)\b|\bcase ?(?:id|no|nr|number)\b"
)
_ATTRIBUTES = (
    "age", "sex", "gender", "birth", "dob", "weight", "height", "size", "bmi", "position", "orientation", "race",
    "ethnic", "stay", "visit", "encounter", "admission", "admit", "type", "class", "status", "group", "history",
    "comment", "insurance", "smok", "died", "dead", "alive", "death", "location", "site", "pathway",
    "inpatient", "outpatient", "language", "country", "zip", "postal", "address", "consent", "complaint", "diagnos",
    "symptom", "intub", "temperature", "pregnan", "path", "days", "date", "time", "unit", "species", "breed", "marital",
    "occupation", "care", "state",
)  # fmt: skip
"""Parts of names that tell of a patient without saying who it is (PatientPosition, patient_weight, inpatient)."""


@dataclass(frozen=True)
class Roles:
    """The columns of one table that have a role.

    Args:
        columns: the column of each role that the table has.
        notes: what the reader of results should know of the choice, one sentence each; none where every column has the
            name that it has with us.
    """

    columns: Mapping[Role, str]
    notes: tuple[str, ...] = ()

    def __contains__(self, role: Role) -> bool:
        return role in self.columns

    def get(self, role: Role) -> str | None:
        """The column of a role, None where the table has none."""
        return self.columns.get(role)


def folded(name: str) -> str:
    """A name without what spellings differ in."""
    letters = re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", name).casefold())
    return letters.removesuffix("s") if letters.endswith("ids") else letters


def column_roles(
    names: Sequence[str],
    wanted: Sequence[Role],
    *,
    place: str,
    named: Mapping[Role, str | None] | None = None,
    options: Mapping[Role, str] | None = None,
    used: Collection[str] = (),
    no_patients: bool = False,
) -> Roles:
    """Find the roles of a table's columns by their names.

    A role is taken, in this order: by the option that names its column; by our own spelling; by the one other known
    spelling. Of two known spellings of a study, view, sex, age or path the likelier is taken; two of a patient or split
    are refused.

    Args:
        names: of the columns, as the table has them.
        wanted: the roles that the reader has a use for; no column gets two, the first role of these has it.
        place: of the table, for messages and notes.
        named: what options said; None for a role is as if it was not in there.
        options: how a user names the column of a role (``--patient-column``); without one a column has to be renamed.
        used: columns that the reader uses for something else; they are no candidates and may look like patients.
        no_patients: the user says that nobody knows the patients: none is looked for.

    Raises:
        UsageError: a named column is not there, two columns may be the patient or the split, or a column looks like one
            that names patients while none was taken.

    Example:
        >>> from pacx.core.tables.column_roles import Role, column_roles
        >>> roles = column_roles(["Image Index", "Patient ID", "Edema"], (Role.PATH, Role.PATIENT), place="films.csv")
        >>> roles.get(Role.PATIENT), roles.notes
        ('Patient ID', ("films.csv: path is column 'Image Index', patient_id is column 'Patient ID'",))
    """
    named, options = named or {}, options or {}
    if no_patients and named.get(Role.PATIENT):
        raise UsageError(f"{NO_PATIENTS} is given and so is a column of patients, '{named[Role.PATIENT]}'; give one")
    given = {role: column for role, column in named.items() if column is not None}
    for column in given.values():
        if column not in names:
            raise UsageError(f"{place} has no column '{column}'; it has {_listed(names)}")
    taken: dict[Role, str] = {}
    passed_over: list[str] = []
    for role in wanted:
        others = {*used, *(column for each, column in given.items() if each is not role)} - {given.get(role)}
        free = [name for name in names if name not in others and name not in taken.values()]
        if role in given:
            taken[role] = given[role]
        elif found := candidates(role, free):
            if no_patients and role is Role.PATIENT:
                passed_over += found
                continue
            if role in _ONE_ONLY and found[0] not in _own(role) and len(found) > 1:
                raise UsageError(
                    f"{place} has {len(found)} columns that may be the {role.value}: {_listed(found)}; "
                    f"{_say_which(role, options)}"
                )
            taken[role] = found[0]
            passed_over += found[1:] if role in _ONE_ONLY else []
    if Role.PATIENT in wanted and Role.PATIENT not in taken and not no_patients:
        free = [name for name in names if name not in {*used, *given.values(), *taken.values()}]
        if likely := [name for name in free if _may_name_patients(name)]:
            raise UsageError(
                f"{place} has a column that may name the patients, and nobody said so: {_listed(likely)}; "
                f"{_say_which(Role.PATIENT, options)}, or {NO_PATIENTS} if it does not"
            )
    return Roles(taken, _notes(place, taken, given, passed_over))


def _own(role: Role) -> tuple[str, ...]:
    return _OWN.get(role, (role.value,))


def candidates(role: Role, names: Sequence[str]) -> list[str]:
    """The columns that may have a role, the likeliest first: our own spelling, then known ones in their order."""
    known = {spelling: place for place, spelling in enumerate(_SPELLINGS[role])}
    own = [name for name in _own(role) if name in names]
    others = [name for name in names if name not in own and folded(name) in known]
    return own + sorted(others, key=lambda name: known[folded(name)])


def _may_name_patients(name: str) -> bool:
    # Humps become blanks first: "anonPat" is two words, "pattern" is one.
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[\W_]+", " ", unicodedata.normalize("NFKC", name)).casefold()
    tells_of = any(part in words.replace(" ", "") for part in _ATTRIBUTES)
    return bool(_LOOKS_LIKE_A_PERSON.search(words)) and not tells_of


def _say_which(role: Role, options: Mapping[Role, str]) -> str:
    return f"say which with {options[role]} COLUMN" if role in options else f"name that column {role.value}"


def _notes(
    place: str, taken: Mapping[Role, str], given: Mapping[Role, str], passed_over: Sequence[str]
) -> tuple[str, ...]:
    found = [
        f"{role.value} is column '{column}'"
        for role, column in taken.items()
        if role not in given and column not in _own(role)
    ]
    if passed_over:
        found.append(f"passed over is {_listed(passed_over)}")
    return (f"{place}: {', '.join(found)}",) if found else ()


def _listed(names: Sequence[str], most: int = 20) -> str:
    rest = len(names) - most
    shown = ", ".join(f"'{' '.join(name.split())[:60]}'" for name in names[:most])
    return shown + (f" and {rest} more" if rest > 0 else "")
