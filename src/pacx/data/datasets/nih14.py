"""NIH ChestX-ray14.

Reads the official folders ``images_001/images`` to ``images_012/images``, as NIH's archives and the Kaggle mirror have
them, and the copies that hold all films in one folder ``images``; the table of 2017 or its revision of 2020. What it
watches for:

- The table's header names two columns with a comma inside, so that a reader sees 11 fields (12 in 2017, the last
  nameless): columns are found by name. Some copies say ``Patient Sex`` for ``Patient Gender``.
- Findings are joined by ``|`` and never searched for as a part of a text. A finding not named is absent (0); there is
  no uncertain label.
- Impossible ages (the table of 2017 goes beyond 400) become unknown.
- ``train_val_list.txt`` and ``test_list.txt`` share no patient; a pair of lists that does is refused. The validation
  films are drawn from the former by patient; the authors' released code draws them by film.

Some films are stored with four channels; the packer takes their luma.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pacx.core.errors import DataError, UsageError
from pacx.core.findings import NIH14_LABELS
from pacx.data.dataset import Dataset, DatasetCard, SplitPlan, Task
from pacx.data.records import Records, shown
from pacx.data.splits import image_level_splits
from pacx.data.tables import SourceTable, missing, read_table

if TYPE_CHECKING:
    import pandas as pd


_TABLES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
_LISTS = {"train": "train_val_list.txt", "test": "test_list.txt"}
_BOTH_LISTS = " and ".join(_LISTS.values())
_SEX_COLUMNS = ("Patient Gender", "Patient Sex")
_NO_FINDING = "No Finding"
_OLDEST_YEARS = 120
_YEARS_PER_UNIT = {"Y": 1.0, "M": 1.0 / 12.0, "D": 1.0 / 365.0, "": 1.0}


@dataclass(frozen=True, kw_only=True)
class Nih14Options:
    """There is nothing to choose."""


class Nih14Dataset(Dataset[Nih14Options]):
    """Reads the table, the official lists and the films, wherever the copy keeps them."""

    card = DatasetCard(
        name="nih14",
        title="NIH ChestX-ray14",
        task=Task.MULTILABEL,
        licence="free; NIH asks for attribution (Kaggle's copy is marked CC0)",
        access="open download from the NIH Clinical Center (nihcc.app.box.com/v/ChestXray-NIHCC), or Kaggle "
        "nih-chest-xrays/data",
        citation="Wang et al., ChestX-ray8: hospital-scale chest X-ray database and benchmarks, CVPR 2017",
        layout=(
            "Data_Entry_2017.csv or Data_Entry_2017_v2020.csv",
            "train_val_list.txt and test_list.txt",
            "images_001/images/NNNNNNNN_NNN.png up to images_012/images, or images/NNNNNNNN_NNN.png",
        ),
        splits=SplitPlan(val_share_of_train=0.15),
        counts={
            "films": 112_120,
            "patients": 30_805,
            "films:train": 86_524,
            "films:test": 25_596,
            "view:PA": 67_310,
            "view:AP": 44_810,
            "present:Hernia": 227,
            "present:Pneumothorax": 5_302,
            "present:Nodule": 6_331,
            "present:Edema": 2_303,
            "present:Effusion": 13_317,
            "present:Pleural_Thickening": 3_385,
            "present:Cardiomegaly": 2_776,
            "present:Mass": 5_782,
            "present:Fibrosis": 1_686,
            "present:Consolidation": 4_667,
            "present:Pneumonia": 1_431,
            "present:Infiltration": 19_894,
            "present:Emphysema": 2_516,
            "present:Atelectasis": 11_559,
        },
        image_globs=("images*/images/*.png", "images*/*.png"),
    )
    options_type = Nih14Options

    def read(self, root: Path, options: Nih14Options) -> Records:
        """Turn a copy of ChestX-ray14 into records.

        Raises:
            UsageError: the folder is not there.
            DataError: a table, a list or every folder of films is missing, or they are not NIH's.
        """
        import pandas as pd

        if not root.is_dir():
            raise UsageError(f"{root} is not a folder; give the one that holds {_TABLES[1]}")
        table = self._table(root)
        places = self._places(root)
        names = table.text("Image Index")
        parts = table.matching("Image Index", r"((\d{8})_\d{3})\.png", "NNNNNNNN_NNN.png")
        patients = table.text("Patient ID").str.zfill(8)
        table.require("Patient ID", patients == parts[1], "the number that the film's name begins with")
        sex = table.text(next(name for name in _SEX_COLUMNS if name in table))
        columns: dict[str, object] = {
            "sample_id": parts[0],
            "image_path": [places.get(name, f"images/{name}") for name in names],
            "patient_id": patients,
            "study_id": patients + "_" + table.text("Follow-up #"),
            "view": table.text("View Position"),
            "split": self._splits(root, names, patients),
            **_labels(table),
            "age": _ages(table),
            "sex": sex.where(sex.isin(["F", "M"]), ""),
        }
        table.require("View Position", table.text("View Position").isin(["AP", "PA"]), "AP or PA")
        return Records(pd.DataFrame(columns), NIH14_LABELS, (), root)

    def released_code_splits(self, records: Records) -> "pd.Series[str]":
        """Of the official training films, 15 % validate, drawn by film and so from patients that also train."""
        return image_level_splits(records.table["split"], val_share=0.15)

    def _table(self, root: Path) -> SourceTable:
        path = next((root / name for name in _TABLES if (root / name).is_file()), root / _TABLES[1])
        needed = ("Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age", "View Position")
        table = read_table(path, needed, card=self.card, optional=_SEX_COLUMNS)
        if not any(name in table for name in _SEX_COLUMNS):
            raise DataError(f"{path} lacks column '{_SEX_COLUMNS[0]}' (or '{_SEX_COLUMNS[1]}')")
        return table

    def _places(self, root: Path) -> Mapping[str, str]:
        """Where the tree has each film, by file name."""
        folders = sorted(root.glob("images*/images/")) + sorted(root.glob("images*/"))
        if not folders:
            raise missing(root / "images_001" / "images", self.card)
        places: dict[str, str] = {}
        for folder in folders:
            prefix = folder.relative_to(root).as_posix()
            for path in folder.glob("*.png"):
                places.setdefault(path.name, f"{prefix}/{path.name}")
        return places

    def _splits(self, root: Path, names: "pd.Series[str]", patients: "pd.Series[str]") -> "pd.Series[str]":
        """The official division; every film is on one list, and no patient on two."""
        import pandas as pd

        split = pd.Series("", index=names.index, dtype=str)
        for word, file in _LISTS.items():
            listed = names.isin(self._listed(root / file))
            both = names[listed & (split != "")].tolist()
            if both:
                raise DataError(f"{_BOTH_LISTS} in {root} both name {shown(both)}; expected each film on one of them")
            split[listed] = word
        unlisted = names[split == ""].tolist()
        if unlisted:
            raise DataError(
                f"{_BOTH_LISTS} in {root} lack {len(unlisted)} films of the table: {shown(unlisted)}; fetch lists and "
                "table of the same release"
            )
        divided = sorted(set(patients[split == "train"]) & set(patients[split == "test"]))
        if divided:
            raise DataError(
                f"{_BOTH_LISTS} in {root} share {len(divided)} patients: {shown(divided)}; NIH's lists share none, "
                "fetch them again"
            )
        return split

    def _listed(self, path: Path) -> Sequence[str]:
        try:
            return path.read_text(encoding="utf-8").split()
        except FileNotFoundError:
            raise missing(path, self.card) from None
        except (UnicodeDecodeError, OSError):
            raise DataError(f"{path} cannot be read as a list of file names, one a line") from None


DATASET = Nih14Dataset()


def _labels(table: SourceTable) -> Mapping[str, "pd.Series[float]"]:
    """One column of 0 and 1 per finding. There are few hundred different cells, so each is taken apart once."""
    import pandas as pd

    codes, cells = pd.factorize(table.text("Finding Labels"))
    found = [cell.split("|") for cell in cells]
    known = {*NIH14_LABELS, _NO_FINDING}
    is_right = [set(words) <= known and (_NO_FINDING not in words or len(words) == 1) for words in found]
    expected = f"{_NO_FINDING} alone, or some of {', '.join(NIH14_LABELS)} joined by |"
    table.require("Finding Labels", pd.Series(np.array(is_right)[codes]), expected)
    return {name: pd.Series(np.array([float(name in words) for words in found])[codes]) for name in NIH14_LABELS}


def _ages(table: SourceTable) -> "pd.Series[float]":
    """Years, NaN where it cannot be; some copies write 058Y, 011M or 003D."""
    parts = table.matching("Patient Age", r"(\d+)([YMD]?)", "a number of years")
    years = parts[0].astype("float64") * parts[1].map(_YEARS_PER_UNIT).astype("float64")
    return years.where(years <= _OLDEST_YEARS)
