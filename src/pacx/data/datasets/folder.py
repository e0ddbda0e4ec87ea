"""Any directory of images, with a csv or without: how a person's own films enter.

With a csv, each row is a film; columns with conventional names (file, sample_id, patient_id, study_id, view, split,
mask:NAME) are found by themselves, others are named by the options. Without one, every image below the folder is a
film. It refuses to guess at labels: a label column is named, or asked for as "*", and holds 1, 0 or nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pacx.core.errors import DataError, UsageError
from pacx.data.dataset import Dataset, DatasetCard, Task
from pacx.data.film_folders import films_below, require_films
from pacx.data.folder_walk import is_folder
from pacx.data.records import MASK_PREFIX, Records, shown
from pacx.data.table_paths import named_files

if TYPE_CHECKING:
    import pandas as pd


_IMAGE_COLUMNS = ("file", "image_path", "image", "path", "filename")
_EVERY_LABEL = "*"
_LABEL_VALUES = {"1": 1.0, "1.0": 1.0, "0": 0.0, "0.0": 0.0, "": np.nan, "-1": np.nan, "-1.0": np.nan}
_SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
    "": "",
}


@dataclass(frozen=True, kw_only=True)
class FolderOptions:
    """How to read a folder of one's own.

    Args:
        csv: the table; by default ``index.csv`` in the folder where there is one, else no table at all.
        image_column: paths of the films, relative to the folder or to its ``images`` sub-folder; by default the first
            of file, image_path, image, path, filename that the table has.
        sample_id_column: a unique name per film; default sample_id, or the film's path.
        patient_column: default patient_id; without one every film is its own patient, and the records say so.
        study_column: default study_id.
        view_column: default view.
        split_column: default split; train, val or test (valid, validation, dev ... are understood), or blank.
        label_columns: one column per label holding 1, 0, or blank for unknown (-1, CheXpert's "uncertain", is unknown
            too). "*" takes every column not otherwise used that holds nothing else.
        finding_column: one column of findings joined by ``separator``, in place of label_columns; each finding becomes
            a label. A blank cell is unknown for all of them.
        separator: between two findings of one film.
        negative_value: the finding that stands for none; it becomes no label.
        mask_columns: masks by name, "lung=COLUMN" each, besides the columns named ``mask:NAME``.
        where: "column=value" each; rows that do not match are left out. Values of one column are alternatives.
        labels_from_subfolders: without a table, the first sub-folder below the folder (below train/val/test, if the
            folder is divided so) names the film's class, and each class is a label.

    Raises:
        UsageError: label and finding columns are both given, or a mask or condition is not of the form name=value.

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
    study_column: str | None = None
    view_column: str | None = None
    split_column: str | None = None
    label_columns: tuple[str, ...] = ()
    finding_column: str | None = None
    separator: str = "|"
    negative_value: str = "No Finding"
    mask_columns: tuple[str, ...] = ()
    where: tuple[str, ...] = ()
    labels_from_subfolders: bool = False

    def __post_init__(self) -> None:
        if self.label_columns and self.finding_column:
            raise UsageError("label_columns and finding_column are both given; give the one the table has")
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


def _blank(num_rows: int) -> list[str]:
    return [""] * num_rows


def _splits(words: Sequence[str], place: str) -> list[str]:
    lowered = [word.strip().lower() for word in words]
    unknown = sorted({word for word, low in zip(words, lowered, strict=True) if low not in _SPLIT_WORDS})
    if unknown:
        raise DataError(f"{place} holds {shown(unknown)}; expected train, val, test or blank")
    return [_SPLIT_WORDS[low] for low in lowered]


def _own_patient_note(num_rows: int, num_alone: int) -> tuple[str, ...]:
    if not num_alone:
        return ()
    whose = "Every image" if num_alone == num_rows else f"{num_alone} of {num_rows} images"
    return (f"{whose} had no patient id and counts as its own patient: films of one person may lie in two splits.",)


def _one_hot(findings: Sequence[Sequence[str] | None], names: Sequence[str]) -> dict[str, list[float]]:
    """One float column per name; None means that nothing is known of that film."""
    return {name: [np.nan if row is None else float(name in row) for row in findings] for name in names}


def _from_tree(root: Path, options: FolderOptions) -> Records:
    import pandas as pd

    folder = films_below(root)
    require_films(folder, root, "PNG, JPEG, TIFF, BMP or DICOM files")
    paths = folder.files.films
    tops = [path.partition("/")[0] if "/" in path else None for path in paths]
    is_divided = all(top is not None and top.lower() in _SPLIT_WORDS for top in set(tops))
    split = _splits([str(top) for top in tops], str(root)) if is_divided else _blank(len(paths))
    labels: dict[str, list[float]] = {}
    if options.labels_from_subfolders:
        folders = [path.split("/")[is_divided:-1] for path in paths]
        classes = [parts[0] if parts else None for parts in folders]
        names = sorted({name for name in classes if name is not None})
        if not names:
            raise DataError(f"{root} has no sub-folder with images to take labels from; expected one per class")
        labels = _one_hot([None if name is None else [name] for name in classes], names)
    names_of_films, blank = pd.Series(paths, dtype=str), pd.Series(_blank(len(paths)), dtype=str)
    columns = {
        "sample_id": names_of_films,
        "image_path": names_of_films,
        "patient_id": names_of_films,
        "study_id": blank,
        "view": blank,
        "split": pd.Series(split, dtype=str),
    }
    table = pd.DataFrame({**columns, **labels})
    return Records(table, tuple(labels), (), root, (*_own_patient_note(len(paths), len(paths)), *folder.notes))


class _CsvReader:
    """One reading of one table: finds the columns, checks them, puts the records together."""

    def __init__(self, root: Path, csv: Path, options: FolderOptions) -> None:
        self._root, self._csv, self._options = root, csv, options
        self._raw = self._filtered(self._read_text())
        self._used: set[str] = set()
        self._notes: list[str] = []

    def records(self) -> Records:
        import pandas as pd

        options = self._options
        files, image_column = self._files()
        num_rows = len(files)
        patients = self._text(options.patient_column, "patient_id") or _blank(num_rows)
        ids = self._text(options.sample_id_column, "sample_id") or files
        columns: dict[str, Sequence[object]] = {
            "sample_id": ids,
            "image_path": self._existing(files, image_column),
            "patient_id": [patient or sample for patient, sample in zip(patients, ids, strict=True)],
            "study_id": self._text(options.study_column, "study_id") or _blank(num_rows),
            "view": self._text(options.view_column, "view") or _blank(num_rows),
            "split": _splits(
                self._text(options.split_column, "split") or _blank(num_rows), f"the split column of {self._csv}"
            ),
        }
        masks = self._masks()
        labels = self._labels()
        taken = self._used | set(columns) | set(labels)
        others = {name: _numbers_or_text(self._raw[name]) for name in self._raw.columns if name not in taken}
        table = pd.DataFrame(
            {**columns, **{MASK_PREFIX + name: paths for name, paths in masks.items()}, **labels, **others}
        )
        notes = (*_own_patient_note(num_rows, patients.count("")), *self._notes)
        return Records(table, tuple(labels), tuple(masks), self._root, notes)

    def _read_text(self) -> "pd.DataFrame":
        import pandas as pd

        try:
            table = pd.read_csv(self._csv, dtype=str, keep_default_na=False, encoding="utf-8-sig")
        except FileNotFoundError as error:
            raise UsageError(f"{self._csv} is not there; give the path of the table") from error
        except (ValueError, OSError) as error:  # pandas' parser errors are ValueErrors; their text may quote the file
            raise DataError(
                f"{self._csv} cannot be read as a comma-separated table in UTF-8 with a header line"
            ) from error
        if table.empty:
            raise DataError(f"{self._csv} has no row; expected one per film")
        return table.fillna("")

    def _filtered(self, table: "pd.DataFrame") -> "pd.DataFrame":
        wanted: dict[str, set[str]] = {}
        for condition in self._options.where:
            column, _, value = condition.partition("=")
            self._require(column, table)
            wanted.setdefault(column, set()).add(value)
        for column, values in wanted.items():
            table = table[table[column].isin(values)]
        if table.empty:
            raise DataError(f"no row of {self._csv} matches {' and '.join(self._options.where)}")
        return table.reset_index(drop=True)

    def _require(self, column: str, table: "pd.DataFrame") -> None:
        if column not in table.columns:
            raise UsageError(f"{self._csv} has no column '{column}'; it has {shown(list(table.columns), 20)}")

    def _text(self, named: str | None, conventional: str) -> list[str] | None:
        """The values of the column an option names, or of the conventional one; None where there is none."""
        if named is None and conventional not in self._raw.columns:
            return None
        return self._column(named or conventional)

    def _column(self, column: str) -> list[str]:
        self._require(column, self._raw)
        self._used.add(column)
        return self._raw[column].str.strip().tolist()

    def _files(self) -> tuple[list[str], str]:
        named = self._options.image_column
        column = named or next((name for name in _IMAGE_COLUMNS if name in self._raw.columns), None)
        if column is None:
            raise UsageError(
                f"{self._csv} has none of the columns {', '.join(_IMAGE_COLUMNS)}; name the one that holds the "
                f"films' paths with image_column; it has {shown(list(self._raw.columns), 20)}"
            )
        return self._column(column), column

    def _existing(self, files: Sequence[str], column: str) -> list[str]:
        """Paths relative to the root, all of them there; a blank one stays blank."""
        found = named_files(files, self._root, f"column '{column}' of {self._csv}")
        self._notes += found.notes
        return found.paths

    def _masks(self) -> dict[str, list[str]]:
        columns = {
            str(name).removeprefix(MASK_PREFIX): str(name) for name in self._raw if str(name).startswith(MASK_PREFIX)
        }
        columns |= {
            name: column for name, _, column in (option.partition("=") for option in self._options.mask_columns)
        }
        masks = {}
        for name, column in columns.items():
            masks[name] = self._existing(self._column(column), column)
        return masks

    def _labels(self) -> dict[str, list[float]]:
        if self._options.finding_column:
            return self._labels_from_findings(self._options.finding_column)
        names = list(self._options.label_columns)
        if names == [_EVERY_LABEL]:
            free = [str(name) for name in self._raw.columns if name not in self._used]
            names = [name for name in free if self._raw[name].isin(list(_LABEL_VALUES)).all() and any(self._raw[name])]
            if not names:
                raise DataError(f"{self._csv} has no column of 1, 0 and blank; its other columns are {shown(free, 20)}")
        labels = {}
        for name in names:
            texts = self._column(name)
            wrong = sorted({text for text in texts if text not in _LABEL_VALUES})
            if wrong:
                raise DataError(
                    f"label column '{name}' of {self._csv} holds {len(wrong)} values other than 1, 0, -1 and blank, "
                    f"such as '{wrong[0][:20]}'; a column of findings is read with finding_column"
                )
            labels[name] = [_LABEL_VALUES[text] for text in texts]
        return labels

    def _labels_from_findings(self, column: str) -> dict[str, list[float]]:
        negative = self._options.negative_value
        texts = self._column(column)
        findings = [[part.strip() for part in text.split(self._options.separator) if part.strip()] for text in texts]
        contradictory = sum(negative in row and len(row) > 1 for row in findings)
        if contradictory:
            raise DataError(
                f"{contradictory} rows of {self._csv} join '{negative}' with a finding in column '{column}'"
            )
        names = sorted({finding for row in findings for finding in row} - {negative})
        if not names:
            raise DataError(f"column '{column}' of {self._csv} names no finding besides '{negative}'")
        return _one_hot([row or None for row in findings], names)


def _numbers_or_text(column: "pd.Series[str]") -> "pd.Series":
    """A column that passes through: numbers where every filled cell is one."""
    import pandas as pd

    numbers = pd.to_numeric(column.where(column != ""), errors="coerce")
    return column if (numbers.isna() & (column != "")).any() or (column == "").all() else numbers
