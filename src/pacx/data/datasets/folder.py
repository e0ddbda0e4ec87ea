"""Any directory of images, with a csv or without: how a person's own films enter.

With a csv, each row is a film; the columns of files, samples, patients, studies, views and splits are found by their
usual names, others are named by the options. Without one, every image below the folder is a film. It refuses to guess
at labels: a label column is named, or asked for as "*". A table with a column that may name the patients, or a tree
that is divided in part, is refused until somebody says what is meant.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pacx.core.errors import DataError, UsageError, refuse_idle
from pacx.core.tables.cells import known
from pacx.core.tables.column_roles import NO_PATIENTS, Role, candidates, column_roles
from pacx.core.tables.ids import whole_ids, whole_number_id
from pacx.data.dataset import Dataset, DatasetCard, Task
from pacx.data.film_folders import films_among, films_below, require_films
from pacx.data.folder_walk import is_folder
from pacx.data.own_films.columns import ages, numbers_or_text, rows_of_films
from pacx.data.own_films.film_tree import FilmTree
from pacx.data.own_films.label_cells import findings_of, label_value, label_values, one_hot
from pacx.data.own_films.negatives import Monochrome1, negatives
from pacx.data.own_films.people import nearly_one_note, own_patient_note, people_of_paths
from pacx.data.own_films.split_words import are_splits, is_flag_of_split, split_of
from pacx.data.records import MASK_PREFIX, NEGATIVE_COLUMN, Records, shown
from pacx.data.table_paths import named_files

if TYPE_CHECKING:
    import pandas as pd


_EVERY_LABEL = "*"
_ROLES = (Role.PATH, Role.SAMPLE, Role.PATIENT, Role.STUDY, Role.SPLIT, Role.VIEW, Role.SEX, Role.AGE)
_OF_TABLES = (
    *("image_column", "sample_id_column", "patient_column", "study_column", "view_column", "split_column"),
    *("label_columns", "finding_column", "separator", "negative_value", "mask_columns", "where"),
)
_OPTIONS = {
    Role.PATH: "--image-column",
    Role.SAMPLE: "--sample-id-column",
    Role.PATIENT: "--patient-column",
    Role.STUDY: "--study-column",
    Role.VIEW: "--view-column",
    Role.SPLIT: "--split-column",
}


@dataclass(frozen=True, kw_only=True)
class FolderOptions:
    """How to read a folder of one's own.

    Args:
        csv: the table; by default ``index.csv`` in the folder where there is one, else no table at all.
        image_column: paths of the films, relative to the folder or to its ``images`` sub-folder; by default the first
            of file, image_path, image, path, filename that the table has, or one of their other spellings.
        sample_id_column: a unique name per film; default sample_id, or the film's path.
        patient_column: default patient_id in any usual spelling (PatientID, subject_id, MRN ...).
        patient_folder: which folder level below the root names the patient, in place of patient_column: 1 is the first.
        no_patients: nobody knows the patients: every film counts as its own, and results say so. Only needed where a
            column or folder looks as if it named them.
        study_column: default study_id in any usual spelling.
        view_column: default view, likewise.
        split_column: default split, likewise; train, val or test in any usual spelling (Training, validate, dev,
            hold-out ...), or blank.
        label_columns: one column per label holding 1 or 0, yes or no, true or false, positive or negative, or blank for
            unknown (-1, CheXpert's "uncertain", is unknown too). "*" takes every column not otherwise used that holds
            nothing else.
        finding_column: one column of findings joined by ``separator``, or a list as Python writes one, in place of
            label_columns; each finding becomes a label. A blank cell is unknown for all of them.
        separator: between two findings of one film.
        negative_value: the finding that stands for none; it becomes no label. Default "No Finding", in any spelling.
        mask_columns: masks by name, "lung=COLUMN" each, besides the columns named ``mask:NAME``.
        monochrome1: pictures that a column of photometric interpretations calls MONOCHROME1, as PadChest's does: INVERT
            turns them round, KEEP reads them as they are; asked about where there are any. DICOM films say it of
            themselves.
        where: "column=value" each; rows that do not match are left out. Values of one column are alternatives.
        labels_from_subfolders: without a table, the first sub-folder below the folder (below train/val/test, if the
            folder is divided so) names the film's class, and each class is a label.

    Raises:
        UsageError: label and finding columns are both given, patients are told in two ways, or a mask or condition is
            not of the form name=value.

    Example:
        >>> from pacx.data import FolderOptions, pack_dataset
        >>> options = FolderOptions(label_columns=("heart_failure",), where=("view=AP",))
        >>> pack = pack_dataset("folder", "hospital/downstream", "packs/ap", image_size_px=64, options=options)
        >>> pack.label_names, set(pack.table["view"])
        (('heart_failure',), {'AP'})
    """

    csv: Path | None = None
    image_column: str | None = None
    sample_id_column: str | None = None
    patient_column: str | None = None
    patient_folder: int | None = None
    no_patients: bool = False
    study_column: str | None = None
    view_column: str | None = None
    split_column: str | None = None
    label_columns: tuple[str, ...] = ()
    finding_column: str | None = None
    separator: str = "|"
    negative_value: str | None = None
    mask_columns: tuple[str, ...] = ()
    monochrome1: Monochrome1 = Monochrome1.ASK
    where: tuple[str, ...] = ()
    labels_from_subfolders: bool = False

    def __post_init__(self) -> None:
        if self.label_columns and self.finding_column:
            raise UsageError("label_columns and finding_column are both given; give the one the table has")
        if not self.finding_column:
            refuse_idle(self, ("separator", "negative_value"), "films without a finding_column")
        if sum((self.patient_column is not None, self.patient_folder is not None, self.no_patients)) > 1:
            raise UsageError(f"--patient-column, --patient-folder and {NO_PATIENTS} exclude each other; give one")
        if self.patient_folder is not None and self.patient_folder < 1:
            raise UsageError(f"patient_folder is {self.patient_folder}; the first folder below the root is level 1")
        for option in (*self.where, *self.mask_columns):
            if not all(part.strip() for part in option.partition("=")):
                raise UsageError(f"'{option}' is not of the form name=value")


class FolderDataset(Dataset[FolderOptions]):
    """Reads any directory of images."""

    card = DatasetCard(
        name="folder",
        title="A folder of your own",
        task=Task.ANY,
        licence="yours",
        access="any directory of PNG, JPEG, TIFF, BMP or DICOM films, with a csv or one sub-folder per class",
        citation="",
    )
    options_type = FolderOptions

    def read(self, root: Path, options: FolderOptions) -> Records:
        """Turn a folder, and its csv if there is one, into records.

        Raises:
            UsageError: the folder, the csv or a column named by the options is not there.
            DataError: no image is found, the csv names missing files, a sample id occurs twice, a value is not one of
                those expected.
        """
        if not is_folder(root):
            raise UsageError(f"{root} is not a folder; give the folder that holds the images")
        csv = options.csv or root / "index.csv"
        if options.csv or csv.is_file():
            if options.labels_from_subfolders:
                raise UsageError(f"labels_from_subfolders does not go with a table, and {csv} is one; name its columns")
            return _CsvReader(root, csv, options).records()
        return _from_tree(root, options)


DATASET = FolderDataset()


def _from_tree(root: Path, options: FolderOptions) -> Records:
    import pandas as pd

    refuse_idle(options, _OF_TABLES, f"{root}, which is read without a table (--csv names one)")
    folder = films_below(root)
    require_films(folder, root, "PNG, JPEG, TIFF, BMP or DICOM files")
    paths = folder.files.films
    tree = FilmTree(root, paths)
    split = tree.splits()
    notes = folder.notes
    labels: dict[str, list[float]] = {}
    if options.labels_from_subfolders:
        classes = tree.classes()
        labels = one_hot(
            [None if name is None else [name] for name in classes],
            sorted({name for name in classes if name is not None}),
        )
        if num_without := classes.count(None):
            notes += (f"{num_without} films lie in no folder of a class and have no label.",)
    people = people_of_paths(
        tree, folder.files.objects, folder_level=options.patient_folder, no_patients=options.no_patients
    )
    if tables := sorted(path.name for path in root.iterdir() if path.suffix.lower() in (".csv", ".tsv", ".xlsx")):
        notes += (f"{shown(tables)} in {root} was not read; --csv names a table of the films.",)
    names, patients = pd.Series(paths, dtype=str), people.patients
    columns = {
        "sample_id": names,
        "image_path": names,
        "patient_id": pd.Series([patient or path for patient, path in zip(patients, paths, strict=True)], dtype=str),
        "study_id": pd.Series(people.studies, dtype=str),
        "view": pd.Series([""] * len(paths), dtype=str),
        "split": pd.Series(split, dtype=str),
    }
    table = pd.DataFrame({**columns, **labels})
    return Records(
        table,
        tuple(labels),
        (),
        root,
        (*own_patient_note(patients), *people.notes, *notes),
        has_unknown_patients=not all(patients),
    )


class _CsvReader:
    """One reading of one table: finds the columns, checks them, puts the records together."""

    def __init__(self, root: Path, csv: Path, options: FolderOptions) -> None:
        self._root, self._csv, self._options = root, csv, options
        cells, notes = rows_of_films(csv)
        self._raw, self._notes = self._filtered(cells), list(notes)
        masks = [str(name) for name in self._raw if str(name).startswith(MASK_PREFIX)]
        conditions = (option.partition("=") for option in options.mask_columns)
        self._mask_columns = {name.removeprefix(MASK_PREFIX): name for name in masks}
        self._mask_columns |= {name: column for name, _, column in conditions}
        findings = (options.finding_column,) if options.finding_column else ()
        self._used = {*self._mask_columns.values(), *findings, *options.label_columns} - {_EVERY_LABEL}
        for column in self._used:
            self._require(column, self._raw)
        named = {
            Role.PATH: options.image_column,
            Role.SAMPLE: options.sample_id_column,
            Role.PATIENT: options.patient_column,
            Role.STUDY: options.study_column,
            Role.VIEW: options.view_column,
            Role.SPLIT: options.split_column,
        }
        names = list(self._raw.columns)
        # a column "set" or "fold" may hold something else
        guesses = [
            name for name in candidates(Role.SPLIT, names) if name not in (Role.SPLIT.value, options.split_column)
        ]
        hollow = [name for name in guesses if name not in self._used and not any(map(split_of, self._raw[name]))]
        if hollow:
            self._notes.append(f"{csv}: {shown(hollow)} is not taken for the split; it holds no word for one.")
        self._roles = column_roles(
            names,
            _ROLES,
            place=str(csv),
            named=named,
            options=_OPTIONS,
            used={*self._used, *hollow},
            no_patients=options.no_patients or options.patient_folder is not None,
        )
        self._used |= set(self._roles.columns.values())
        self._notes += self._roles.notes

    def records(self) -> Records:
        import pandas as pd

        files, image_column = self._files()
        paths = self._existing(files, image_column)
        ids = self._samples(files)
        patients, studies = self._people(paths)
        columns: dict[str, Sequence[object]] = {
            "sample_id": ids,
            "image_path": paths,
            "patient_id": [patient or sample for patient, sample in zip(patients, ids, strict=True)],
            "study_id": studies,
            "view": self._views(),
            "split": self._splits(paths),
        }
        masks = {MASK_PREFIX + name: self._existing(self._column(of), of) for name, of in self._mask_columns.items()}
        labels = self._labels()
        if any(turned := self._negatives(paths)):
            columns[NEGATIVE_COLUMN] = turned
        taken = self._used | set(columns) | set(labels)
        others = dict(self._other(name) for name in self._raw.columns if self._is_person(name) or name not in taken)
        table = pd.DataFrame({**columns, **masks, **labels, **others})
        notes = (*own_patient_note(patients), *self._notes)
        return Records(
            table, tuple(labels), tuple(self._mask_columns), self._root, notes, has_unknown_patients=not all(patients)
        )

    def _filtered(self, table: "pd.DataFrame") -> "pd.DataFrame":
        wanted: dict[str, set[str]] = {}
        for condition in self._options.where:
            column, _, value = condition.partition("=")
            self._require(column, table)
            wanted.setdefault(column, set()).add(value.strip())
        for column, values in wanted.items():
            table = table[table[column].isin(values)]
        if table.empty:
            raise DataError(f"no row of {self._csv} matches {' and '.join(self._options.where)}")
        return table.reset_index(drop=True)

    def _require(self, column: str, table: "pd.DataFrame") -> None:
        if column not in table.columns:
            raise UsageError(f"{self._csv} has no column '{column}'; it has {shown(list(table.columns), 20)}")

    def _column(self, column: str) -> list[str]:
        return [str(cell) for cell in self._raw[column]]

    def _known(self, role: Role) -> list[str]:
        """The cells of a role, "" where they say that nothing is known or the table has no such column."""
        column = self._roles.get(role)
        return [""] * len(self._raw) if column is None else [known(cell) for cell in self._column(column)]

    def _views(self) -> list[str]:
        """Of each film, from the first column of views that says something of it."""
        views = self._known(Role.VIEW)
        others = [str(name) for name in self._raw.columns if name not in self._used]
        for column in [] if self._options.view_column else candidates(Role.VIEW, others):
            filled = [view or known(cell) for view, cell in zip(views, self._column(column), strict=True)]
            if num := sum(map(bool, filled)) - sum(map(bool, views)):
                self._notes.append(f"{self._csv}: view is column '{column}' in {num} rows where the other is blank.")
            views = filled
        return views

    def _ids(self, role: Role) -> list[str]:
        return whole_ids(self._known(role), f"column '{self._roles.get(role)}' of {self._csv}")

    def _people(self, paths: Sequence[str]) -> tuple[list[str], list[str]]:
        """Patient and study of each film, "" where not known."""
        studies = self._ids(Role.STUDY)
        if Role.PATIENT in self._roles:
            patients = self._ids(Role.PATIENT)
            self._notes += nearly_one_note(patients, str(self._csv))
            return patients, studies
        people = people_of_paths(
            FilmTree(self._root, paths),
            films_among([path for path in paths if path], self._root).objects,
            folder_level=self._options.patient_folder,
            no_patients=self._options.no_patients,
        )
        self._notes += people.notes
        return people.patients, [said or found for said, found in zip(studies, people.studies, strict=True)]

    def _samples(self, files: list[str]) -> list[str]:
        column = self._roles.get(Role.SAMPLE)
        if column is None:
            return files
        ids = [whole_number_id(cell) for cell in self._column(column)]
        is_own = column in (Role.SAMPLE.value, self._options.sample_id_column)
        return ids if is_own or (len(set(ids)) == len(ids) and all(ids)) else files

    def _split_column(self) -> str | None:
        """The column of splits: by its name, or by its cells where it has a name that nobody knows."""
        if Role.SPLIT in self._roles:
            return self._roles.get(Role.SPLIT)
        free = [str(name) for name in self._raw.columns if name not in self._used]
        if flags := [name for name in free if is_flag_of_split(name) and self._is_label(self._column(name))]:
            raise UsageError(
                f"column {shown(flags)} of {self._csv} may say which films train and which judge; write it as a column "
                "'split' of train, val and test, or leave it out"
            )
        found = [name for name in free if are_splits(self._column(name))]
        if len(found) > 1:
            raise UsageError(
                f"{self._csv} has {len(found)} columns that hold splits: {shown(found)}; say which with --split-column"
            )
        if found:
            self._used.add(found[0])
            self._notes.append(f"{self._csv}: split is column '{found[0]}', by what it holds.")
        return found[0] if found else None

    def _splits(self, paths: Sequence[str]) -> list[str]:
        column = self._split_column()
        if column is None:
            divided = FilmTree(self._root, paths).divided() if all(paths) else None  # else the records are refused
            if divided is None:
                return [""] * len(self._raw)
            self._notes.append(f"{self._csv}: split is by the folders of the films, which are named so.")
            return divided
        cells = self._column(column)
        meant = {cell: split_of(cell) for cell in set(cells)}
        unknown = sorted(cell for cell, split in meant.items() if split is None)
        if unknown:
            raise DataError(
                f"the split column '{column}' of {self._csv} holds {shown(unknown)}; expected train, val, test or blank"
            )
        return [meant[cell] or "" for cell in cells]

    def _is_person(self, column: str) -> bool:
        return column in (self._roles.get(Role.SEX), self._roles.get(Role.AGE))

    def _other(self, column: str) -> tuple[str, "Sequence[object] | pd.Series"]:
        """Name and values of a column that passes through; sex and age have our names, whatever the table's are."""
        values = numbers_or_text(self._raw[column])
        name = next((role.value for role in (Role.SEX, Role.AGE) if column == self._roles.get(role)), column)
        if values.dtype.kind in "if" or not self._is_person(column):
            return name, values
        if name == Role.SEX.value:
            return name, self._known(Role.SEX)
        years, num_bad = ages(self._column(column))
        if num_bad:
            self._notes.append(f"{num_bad} cells of column '{column}' are no age in years and count as unknown.")
        return name, years

    def _negatives(self, paths: Sequence[str]) -> list[bool]:
        turned, notes = negatives(self._raw, paths, self._root, str(self._csv), self._options.monochrome1)
        self._notes += notes
        return turned

    def _files(self) -> tuple[list[str], str]:
        column = self._roles.get(Role.PATH)
        if column is None:
            raise UsageError(
                f"{self._csv} has no column of files (file, image_path, image, path, filename or the like); name the "
                f"one that holds the films' paths with image_column; it has {shown(list(self._raw.columns), 20)}"
            )
        return self._column(column), column

    def _existing(self, files: Sequence[str], column: str) -> list[str]:
        """Paths relative to the root, all of them there; a blank one stays blank."""
        found = named_files(files, self._root, f"column '{column}' of {self._csv}")
        self._notes += found.notes
        return found.paths

    def _labels(self) -> dict[str, list[float]]:
        options, place = self._options, str(self._csv)
        if column := options.finding_column:
            found, names, notes = findings_of(
                column, self._column(column), place, separator=options.separator, negative=options.negative_value
            )
            self._notes += notes
            return one_hot(found, names)
        names = list(options.label_columns)
        if names == [_EVERY_LABEL]:
            free = [str(name) for name in self._raw.columns if name not in self._used]
            names = [name for name in free if self._is_label(self._column(name))]
            if not names:
                raise DataError(f"{self._csv} has no column of 1, 0 and blank; its other columns are {shown(free, 20)}")
        labels = {}
        for name in names:
            labels[name], notes = label_values(name, self._column(name), place)
            self._notes += notes
        return labels

    @staticmethod
    def _is_label(cells: Sequence[str]) -> bool:
        return any(map(known, cells)) and all(label_value(cell) is not None for cell in set(cells))
