"""Symile-MIMIC 1.0.0: a film, an ECG and laboratory values of the same admission, for distillation and alignment.

The films are rows of arrays that are already normalised (``data_npy/train/cxr_train.npy#17``); the table of the same
name tells whose they are, row by row, and nothing but the order ties the two: so the admission ids of both are compared
before anything is believed. What else is watched for:

- ``labs_missingness`` is named the wrong way round: 1 is measured, 0 is missing. It is held against the raw values of
  the table, and an inverted one is refused.
- Laboratory columns stand in ascending order of item ids, which is not the order of the tables.
- ``test`` holds every query with nine negatives, ten rows each: only the rows with ``label`` 1 are patients of their
  own (464), and only those become records. ``val_retrieval`` is not read.
- ``hadm_id`` is the sample id, by which targets made from the other arrays are joined.
- A training film was cropped at random once, when its array was made.

Six labels of the CheXpert labeller; uncertain and not mentioned are unknown.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pacx.core.artifacts import read_json
from pacx.core.errors import DataError
from pacx.core.findings import CHEXPERT_LABELS
from pacx.core.vocabulary import LAB_ITEM_IDS, NUM_LABS
from pacx.data.dataset import Dataset, DatasetCard, Issue, Task
from pacx.data.official_trees import CHEXPERT_CODES, find_folder, ids
from pacx.data.records import Records, shown
from pacx.data.tables import SourceTable, missing, read_table

if TYPE_CHECKING:
    import pandas as pd


_SPLITS = ("train", "val", "test")
_NAMED = {"No Finding", "Cardiomegaly", "Lung Opacity", "Edema", "Atelectasis", "Pleural Effusion"}
_LABELS = tuple(name for name in CHEXPERT_LABELS if name in _NAMED)
_PATH = r"files/p\d\d/p\d+/s(\d+)/([0-9a-f-]+)\.jpg"
_RAW = tuple(str(item) for item in LAB_ITEM_IDS)
_RANKED = tuple(f"{item}_percentile" for item in LAB_ITEM_IDS)
_CANDIDATES = 10
_TOLERANCE = 1e-5  # float32 against the digits of a csv
_ARRAYS = {
    "cxr": ("float32", (3, 320, 320)),
    "ecg": ("float32", (1, 5000, 12)),
    "labs_percentiles": ("float32", (NUM_LABS,)),
    "labs_missingness": ("int64", (NUM_LABS,)),
    "hadm_id": ("int64", ()),
    "label_hadm_id": ("int64", ()),
    "label": ("int64", ()),
}
_CHECKED_RECORDS = 32


@dataclass(frozen=True, kw_only=True)
class SymileMimicOptions:
    """There is nothing to choose."""


class SymileMimicDataset(Dataset[SymileMimicOptions]):
    """Reads ``train``, ``val`` and the unique admissions of ``test``."""

    card = DatasetCard(
        name="symile-mimic",
        title="Symile-MIMIC 1.0.0",
        task=Task.MULTILABEL,
        licence="PhysioNet Credentialed Health Data License; not to be shared",
        access="PhysioNet, symile-mimic 1.0.0, credentialed (training and data use agreement); DOI 10.13026/3vvj-s428",
        citation="Symile-MIMIC: a multimodal clinical dataset of chest X-rays, electrocardiograms, and blood labs from "
        "MIMIC-IV, version 1.0.0, PhysioNet, 2025.",
        layout=(
            "train.csv, val.csv, test.csv and labs_means.json",
            "data_npy/SPLIT/{cxr,ecg,hadm_id,labs_percentiles,labs_missingness}_SPLIT.npy for train, val and test",
            "data_npy/test/{label,label_hadm_id}_test.npy",
        ),
        counts={
            "films": 11_214,
            "films:train": 10_000,
            "films:val": 750,
            "films:test": 464,
        },
        image_globs=tuple(f"**/data_npy/{split}/cxr_*.npy" for split in _SPLITS),
    )
    options_type = SymileMimicOptions

    def read(self, root: Path, options: SymileMimicOptions) -> Records:
        """Turn tables and arrays into records; array values other than ids and laboratory values are not read.

        Raises:
            UsageError: ``root`` is not a folder.
            DataError: a table or an array is missing, has another shape or type, or does not fit the other: admissions
                in another order, an inverted mask, laboratory columns in another order, subjects in two splits.
        """
        import pandas as pd

        tree = find_folder(root, "data_npy", self.card)
        means = _means(tree / "labs_means.json")
        parts = [self._part(tree, split, means, root) for split in _SPLITS]
        table = pd.concat(parts, ignore_index=True)
        _check_disjoint(table, tree)
        table["view"] = table["sample_id"].map(self._views(tree)).fillna("")
        notes = ("A training film was cropped at random once, when its array was made.",)
        return Records(table, _LABELS, (), root, notes)

    def inspect(self, root: Path, options: SymileMimicOptions, records: Records) -> list[Issue]:
        """Look into some of the ECGs: their range, and whether the leads stand in MIMIC's order."""
        tree = find_folder(root, "data_npy", self.card)
        issues = []
        for split in _SPLITS:
            path = tree / "data_npy" / split / f"ecg_{split}.npy"
            signals = self._array(tree, split, "ecg")
            rows = np.unique(np.linspace(0, len(signals) - 1, min(_CHECKED_RECORDS, len(signals))).astype(int))
            issues += _ecg_issues(np.asarray(signals[rows, 0], np.float64), path)
        return issues

    def _part(self, tree: Path, split: str, means: NDArray[np.float64], root: Path) -> "pd.DataFrame":
        """The records of one split."""
        columns = ("subject_id", "hadm_id", "cxr_path", *_LABELS, *_RAW, *_RANKED)
        queries = ("label_hadm_id", "label")
        is_test = split == "test"
        table = read_table(
            tree / f"{split}.csv",
            (*columns, *queries) if is_test else columns,
            card=self.card,
            optional=() if is_test else queries,
        )
        names = [name for name in _ARRAYS if is_test or name not in queries]
        arrays = {name: self._array(tree, split, name) for name in names}
        for name, values in arrays.items():
            if len(values) != len(table):
                raise DataError(
                    f"{name}_{split}.npy has {len(values)} rows and {table.path} {len(table)}; they belong together "
                    "row by row, so one of them is not of this release"
                )
        _check_ids(table, "hadm_id", arrays["hadm_id"])
        _check_labs(table, arrays["labs_percentiles"], arrays["labs_missingness"], means)
        rows = np.arange(len(table))
        if is_test:
            for name in queries:
                _check_ids(table, name, arrays[name])
            rows = _unique_admissions(table)
        return _records(table, rows, split, (tree / "data_npy").relative_to(root).as_posix())

    def _array(self, tree: Path, split: str, name: str) -> NDArray[Any]:
        """An array of the release, memory-mapped, of the type and shape it has there."""
        path = tree / "data_npy" / split / f"{name}_{split}.npy"
        if not path.is_file():
            raise missing(path, self.card)
        try:
            values = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError, SyntaxError) as error:
            raise DataError(f"{path} is damaged or cut short; download it again") from error
        kind, shape = _ARRAYS[name]
        if values.dtype != kind or values.shape[1:] != shape or values.ndim != len(shape) + 1:
            expected = ", ".join(map(str, ("N", *shape)))
            raise DataError(f"{path} holds {values.dtype} of shape {values.shape}, expected {kind} ({expected})")
        return values

    def _views(self, tree: Path) -> dict[str, str]:
        """How each admission's film was taken, from the table of all admissions where the copy has it."""
        path = tree / "symile_mimic_data.csv"
        if not path.is_file():
            return {}
        table = read_table(path, ("hadm_id", "cxr_ViewPosition"), card=self.card)
        return dict(zip(ids(table, "hadm_id"), table.text("cxr_ViewPosition"), strict=True))


DATASET = SymileMimicDataset()


def _records(table: SourceTable, rows: NDArray[np.int64], split: str, arrays: str) -> "pd.DataFrame":
    import pandas as pd

    film = table.matching("cxr_path", _PATH, "files/pNN/pNNNNNNNN/sNNNNNNNN/DICOM_ID.jpg")
    columns = {
        "sample_id": ids(table, "hadm_id"),
        "image_path": [f"{arrays}/{split}/cxr_{split}.npy#{row}" for row in range(len(table))],
        "patient_id": ids(table, "subject_id"),
        "study_id": film[0],
        "view": "",
        "split": split,
        **{name: table.coded(name, CHEXPERT_CODES) for name in _LABELS},
        "dicom_id": film[1],
    }
    return pd.DataFrame(columns).iloc[rows]


def _means(path: Path) -> NDArray[np.float64]:
    """The mean percentile of each test among the training admissions, by ascending item id."""
    import pandas as pd

    said = read_json(path)
    if not isinstance(said, dict) or sorted(said) != sorted(_RANKED):
        raise DataError(f"{path} does not name the {NUM_LABS} tests as ITEMID_percentile; it is not of this release")
    means = pd.to_numeric(pd.Series([said[name] for name in sorted(said)]), errors="coerce").to_numpy(float)
    if not ((means >= 0) & (means <= 1)).all():
        raise DataError(f"{path} holds a mean percentile that is not in [0, 1]; download it again")
    return means


def _check_ids(table: SourceTable, name: str, values: NDArray[np.int64]) -> None:
    differ = np.flatnonzero(ids(table, name).astype("int64").to_numpy() != values)
    if differ.size:
        raise DataError(
            f"column '{name}' of {table.path} and the array of that name differ in {differ.size} rows, the first in "
            f"row {differ[0]}; table and arrays are in different orders, download both again"
        )


def _check_labs(
    table: SourceTable,
    percentiles: NDArray[np.float32],
    observed: NDArray[np.int64],
    means: NDArray[np.float64],
) -> None:
    """Hold both laboratory arrays against the table: which values are measured, in which order, and how large.

    Raises:
        DataError: they do not fit; an inverted mask and another order of columns are told by name.
    """
    raw = np.stack([table.numbers(name) for name in _RAW], axis=1)
    ranked = np.stack([table.numbers(name) for name in _RANKED], axis=1)
    is_measured = ~np.isnan(raw)
    what = f"labs_missingness beside {table.path.name}"
    if not np.isin(observed, (0, 1)).all():
        raise DataError(f"{what} holds values other than 0 and 1; expected 1 = measured, 0 = missing")
    if ((observed == 0) == is_measured).all():
        raise DataError(
            f"{what} is inverted: it is 0 where the table has a value and 1 where it has none; expected 1 = measured "
            "in spite of its name"
        )
    fits = np.abs(percentiles - np.where(is_measured, ranked, means)) < _TOLERANCE
    wrong = np.flatnonzero(~((observed == is_measured) & fits).all(axis=0))
    if wrong.size:
        raise DataError(
            f"laboratory columns {shown([str(column) for column in wrong])} of the arrays beside {table.path.name} do "
            f"not hold item {LAB_ITEM_IDS[wrong[0]]} and so on of the table; expected ascending item ids, the table's "
            "percentile where a value is measured and the mean of labs_means.json where none is"
        )


def _unique_admissions(table: SourceTable) -> NDArray[np.int64]:
    """The rows of the test table that are queries: the first ones, one per query, each with nine negatives."""
    import pandas as pd

    label = table.coded("label", {"1": 1.0, "0": 0.0}).to_numpy()
    rows = np.flatnonzero(label == 1)
    query, admission = ids(table, "label_hadm_id").to_numpy(), ids(table, "hadm_id").to_numpy()
    sizes = pd.Series(query).value_counts()
    is_right = (
        np.array_equal(rows, np.arange(len(rows)))
        and len(set(query[rows])) == len(rows) == len(sizes)
        and (sizes == _CANDIDATES).all()
        and (query[rows] == admission[rows]).all()
    )
    if not is_right:
        raise DataError(
            f"{table.path} is not laid out as queries with negatives: expected for every label_hadm_id {_CANDIDATES} "
            "rows, one of them with label 1 and its own hadm_id, those rows first"
        )
    return rows


def _check_disjoint(table: "pd.DataFrame", tree: Path) -> None:
    for name, what in (("patient_id", "subjects"), ("sample_id", "admissions")):
        num_splits = table.groupby(name)["split"].nunique()
        shared = num_splits.index[num_splits > 1].tolist()
        if shared:
            raise DataError(
                f"{len(shared)} {what} of {tree} are in two splits; the release keeps them apart, download it again"
            )


def _ecg_issues(signals: NDArray[np.float64], path: Path) -> list[Issue]:
    """What is wrong with some ECGs (n, 5000, 12)."""
    lowest, highest = signals.min(axis=(1, 2)), signals.max(axis=(1, 2))
    if not (np.isclose(lowest, -1, atol=_TOLERANCE) & np.isclose(highest, 1, atol=_TOLERANCE)).all():
        message = f"{path} holds records that are not scaled to [-1, 1]; it is not of this release, download it again"
        return [Issue(check="ECG range", message=message)]
    one, two, _, _, foot, left = (
        signals[..., lead] - signals[..., lead].mean(axis=1, keepdims=True) for lead in range(6)
    )

    def misfit(lead: NDArray[np.float64], identity: NDArray[np.float64]) -> float:
        sizes = np.maximum(np.linalg.norm(identity, axis=1), 1e-9)
        return float(np.median(np.linalg.norm(lead - identity, axis=1) / sizes))

    as_mimic = max(misfit(foot, two - one / 2), misfit(left, one - two / 2))
    as_others = max(misfit(left, two - one / 2), misfit(foot, one - two / 2))
    if as_mimic <= as_others:
        return []
    message = (
        f"{path} has aVL before aVF, so its leads are not in the order of MIMIC (I, II, III, aVR, aVF, aVL, V1 to V6); "
        "embedding it as Symile-MIMIC exchanges two leads: download it again"
    )
    return [Issue(check="ECG leads", message=message)]
