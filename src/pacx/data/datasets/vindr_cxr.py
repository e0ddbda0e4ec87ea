"""VinDr-CXR 1.0.0: DICOM films, each read by three radiologists (training) or by five in consensus (test).

Reads the PhysioNet release, or its labels with the 512-pixel PNG copy from Kaggle that the authors' released code used.
What it watches for:

- Every training film has three rows, one per reader; a finding is present where at least two saw it. Another number of
  readers, or the same reader twice, is refused.
- The training table says ``Other diseases``, the test table ``Other disease``: one label. Capitals differ between names
  that look alike (``Lung Opacity``, ``Pleural effusion``), and are kept.
- "No finding" is no label. Labels with fewer than 50 positives among the 15,000 training films are dropped, before any
  validation films are drawn: 19 remain of 27. In a smaller tree the threshold shrinks in proportion.
- A blank is refused, not read as 0.
- Films may be MONOCHROME1 and need rescaling, window and inversion in that order; the packer's DICOM reader does it.

There are no patient ids: every film counts as its own patient, and the records say so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from pacx.core.errors import DataError, UsageError
from pacx.core.findings import VINDR_GLOBAL_LABELS, VINDR_LOCAL_LABELS
from pacx.data.dataset import Dataset, DatasetCard, Issue, SplitPlan, Task
from pacx.data.records import Records
from pacx.data.splits import image_level_splits
from pacx.data.tables import SourceTable, read_table

if TYPE_CHECKING:
    import pandas as pd


_NO_FINDING = "No finding"
_OTHER = "Other diseases"
_OTHER_SPELLINGS = (_OTHER, "Other disease")
_DISEASES = tuple(name for name in (*VINDR_LOCAL_LABELS, *VINDR_GLOBAL_LABELS) if name != _NO_FINDING)
_BINARY = {"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0}
_NUM_READERS = 3
_MAJORITY = 2
_NUM_TRAINING = 15_000
_PNG_FOLDER = "vinbigdata"
_PAPER_MIN_POSITIVES = 50
_TRAINING_POSITIVES = {
    "Pneumothorax": 58,
    "Atelectasis": 62,
    "Mediastinal shift": 85,
    "Consolidation": 121,
    "Lung tumor": 134,
    "ILD": 152,
    "Calcification": 177,
    "Infiltration": 245,
    "Other lesion": 362,
    "Nodule/Mass": 409,
    "Pneumonia": 471,
    "Tuberculosis": 482,
    "Lung Opacity": 547,
    "Pleural effusion": 634,
    "Pleural thickening": 882,
    "Pulmonary fibrosis": 1_017,
    "Cardiomegaly": 1_817,
    "Aortic enlargement": 2_346,
    "Other diseases": 4_003,
}


class FilmSource(Enum):
    """Which copy of the films lies in the root; the value is the ending of their names."""

    DICOM = ".dicom"
    PNG_512 = ".png"


@dataclass(frozen=True, kw_only=True)
class VindrCxrOptions:
    """How to read VinDr-CXR.

    Args:
        films: PNG_512 is the Kaggle copy, in ``vinbigdata/train`` and ``vinbigdata/test`` or straight in the root, with
            the PhysioNet ``annotations`` beside it.
        min_positives: labels with fewer positives are dropped; counted for the complete 15,000 training films, and in
            proportion where a tree has fewer. 0 keeps all 27.
    """

    films: FilmSource = FilmSource.DICOM
    min_positives: int = _PAPER_MIN_POSITIVES

    def __post_init__(self) -> None:
        if self.min_positives < 0:
            raise UsageError(f"min_positives is {self.min_positives}, expected 0 or more")


class VindrCxrDataset(Dataset[VindrCxrOptions]):
    """Reads films and image labels; what most of three radiologists saw on a training film counts."""

    card = DatasetCard(
        name="vindr-cxr",
        title="VinDr-CXR 1.0.0",
        task=Task.MULTILABEL,
        licence="PhysioNet Credentialed Health Data License",
        access="PhysioNet vindr-cxr/1.0.0, credentialed: training and data use agreement",
        citation="Nguyen et al., VinDr-CXR: an open dataset of chest X-rays with radiologist annotations, PhysioNet "
        "2021, doi:10.13026/3akn-b287",
        layout=(
            "annotations/image_labels_train.csv and annotations/image_labels_test.csv",
            "train/IMAGE_ID.dicom and test/IMAGE_ID.dicom (or .png in vinbigdata/train and vinbigdata/test: option)",
        ),
        splits=SplitPlan(val_share_of_train=0.1),
        counts={"films": 18_000, "films:train": _NUM_TRAINING, "films:test": 3_000},
        image_globs=("train/*.dicom", "test/*.dicom", f"{_PNG_FOLDER}/*/*.png"),
    )
    options_type = VindrCxrOptions

    def read(self, root: Path, options: VindrCxrOptions) -> Records:
        """Turn a copy of VinDr-CXR into records.

        Raises:
            UsageError: the folder is not there.
            DataError: a table is missing or is not VinDr's, or no label has positives enough.
        """
        import pandas as pd

        if not root.is_dir():
            raise UsageError(f"{root} is not a folder; give the one that holds annotations and train")
        annotations = root / "annotations"
        training = _majority(self._table(annotations / "image_labels_train.csv", "rad_id"))
        test_table = self._table(annotations / "image_labels_test.csv")
        test_table.require(
            "image_id", ~test_table.text("image_id").duplicated(), "each film once: the test is read once"
        )
        test = _readings(test_table)
        kept = [name for name in _DISEASES if _is_frequent(training[name], options.min_positives)]
        if not kept:
            raise DataError(f"no label of {annotations} has positives enough; lower min_positives")
        table = pd.concat([training.assign(split="train"), test.assign(split="test")], ignore_index=True)
        ids = table["image_id"]
        place = f"{_PNG_FOLDER}/" if options.films is FilmSource.PNG_512 and (root / _PNG_FOLDER).is_dir() else ""
        columns: dict[str, object] = {
            "sample_id": ids,
            "image_path": place + table["split"] + "/" + ids + options.films.value,
            "patient_id": ids,
            "study_id": "",
            "view": "",
            "split": table["split"],
            **{name: table[name] for name in kept},
        }
        return Records(pd.DataFrame(columns), tuple(kept), (), root, _notes(kept), has_unknown_patients=True)

    def inspect(self, root: Path, options: VindrCxrOptions, records: Records) -> Sequence[Issue]:
        """Hold the majority's positives of a complete training set against what is known of them."""
        training = records.table[records.table["split"] == "train"]
        if len(training) != _NUM_TRAINING or options.min_positives != _PAPER_MIN_POSITIVES:
            return ()
        found = {name: int(training[name].sum()) for name in records.label_names}
        wrong = [name for name in {**_TRAINING_POSITIVES, **found} if found.get(name) != _TRAINING_POSITIVES.get(name)]
        return [
            Issue(
                check="majority labels",
                message=f"{name} is present on {found.get(name, 'too few')} training films of {root}, expected "
                f"{_TRAINING_POSITIVES.get(name, 'fewer than 50')}; fetch image_labels_train.csv again",
            )
            for name in wrong
        ]

    def released_code_splits(self, records: Records) -> "pd.Series[str]":
        """Of the official training films, 10 % validate, drawn plainly by film (13,500/1,500/3,000)."""
        return image_level_splits(records.table["split"], val_share=0.1)

    def _table(self, path: Path, *further: str) -> SourceTable:
        others = [name for name in _DISEASES if name != _OTHER]
        table = read_table(path, ("image_id", *further, *others), card=self.card, optional=_OTHER_SPELLINGS)
        if not any(name in table for name in _OTHER_SPELLINGS):
            raise DataError(f"{path} lacks column '{_OTHER}' (or '{_OTHER_SPELLINGS[1]}')")
        table.require("image_id", table.text("image_id").str.fullmatch("[0-9a-f]{32}"), "32 hexadecimal digits")
        return table


DATASET = VindrCxrDataset()


def _readings(table: SourceTable) -> "pd.DataFrame":
    """image_id and the 27 diseases of each row, under one spelling."""
    import pandas as pd

    spelling = next(name for name in _OTHER_SPELLINGS if name in table)
    labels = {name: table.coded(spelling if name == _OTHER else name, _BINARY) for name in _DISEASES}
    return pd.DataFrame({"image_id": table.text("image_id"), **labels})


def _majority(table: SourceTable) -> "pd.DataFrame":
    """One row per film from three readers' rows: present where two of them say so."""
    ids, readers = table.text("image_id"), table.text("rad_id")
    table.require("rad_id", ~(ids + "/" + readers).duplicated(), "each reader once per film")
    table.require(
        "image_id", ids.map(ids.value_counts()) == _NUM_READERS, f"{_NUM_READERS} rows per film, one per reader"
    )
    votes = _readings(table).groupby("image_id", sort=False)[list(_DISEASES)].sum()
    return (votes >= _MAJORITY).astype("float64").reset_index()


def _is_frequent(positives: "pd.Series[float]", min_positives: int) -> bool:
    """Whether a label has its share of positives; whole numbers, so that 50 of 15,000 are 50 and not 49.99."""
    return int(positives.sum()) * _NUM_TRAINING >= min_positives * len(positives)


def _notes(kept: Sequence[str]) -> tuple[str, ...]:
    dropped = [name for name in _DISEASES if name not in kept]
    notes = ["VinDr-CXR has no patient ids; every film counts as its own patient."]
    if dropped:
        notes.append(f"Labels with too few positives are left out: {', '.join(dropped)}.")
    return tuple(notes)
