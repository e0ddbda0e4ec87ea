"""ChestX6: films of six classes from six sources, one folder per split and class.

A film belongs to one class. No patient ids are shipped. About 2,500 of the tuberculosis films are augmented copies of
some 700 originals, and they lie in all three splits: here the original's number is the patient of all its copies, and
how many cross splits is noted, not repaired, because the official split is the benchmark. Each class was collected
elsewhere (tuberculosis: NLM's Shenzhen and Montgomery; emphysema: NIH ChestX-ray14; COVID and viral: the COVID-QU-Ex
family), so a high score may owe to the source. Files end in .jpg, .jpeg or .png; names hold spaces and parentheses.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pacx.core.errors import DataError
from pacx.core.findings import CHESTX6_CLASSES
from pacx.data.dataset import Dataset, DatasetCard, Task
from pacx.data.official_trees import film_names, find_folder, own_patient_note
from pacx.data.records import SPLITS, Records

if TYPE_CHECKING:
    import pandas as pd


_TUBERCULOSIS = re.compile(r"^(?:augmented_)?Tuberculosis-(\d+)(?:_\d+_\d+)?\.")
_FIRST_CLASS_FOLDER = f"train/{CHESTX6_CLASSES[0]}"


@dataclass(frozen=True, kw_only=True)
class ChestX6Options:
    """There is nothing to choose."""


class ChestX6Dataset(Dataset[ChestX6Options]):
    """Reads the folders ``chest-xray/{train,val,test}/CLASS``."""

    card = DatasetCard(
        name="chestx6",
        title="ChestX6: Multi-Class X-ray Dataset",
        task=Task.MULTICLASS,
        licence="as its Kaggle page states; the sources have terms of their own",
        access="Kaggle, mohamedasak/chest-x-ray-6-classes-dataset (about 194 MB); the page may be gone",
        citation="Mohamed Adel. ChestX6: Multi-Class X-ray Dataset. Kaggle, 2025.",
        layout=(
            "chest-xray/{train,val,test}/{Covid-19,Emphysema,Normal,Pneumonia-Bacterial,Pneumonia-Viral,Tuberculosis}/ "
            "films of 224 x 224 pixels",
        ),
        counts={
            "films": 18_036,
            "films:train": 14_551,
            "films:val": 1_748,
            "films:test": 1_737,
            "present:Covid-19": 3_017,
            "present:Emphysema": 2_550,
            "present:Normal": 3_271,
            "present:Pneumonia-Bacterial": 3_000,
            "present:Pneumonia-Viral": 3_013,
            "present:Tuberculosis": 3_185,
        },
        image_globs=tuple(f"**/{split}/{name}/*.*" for split in SPLITS for name in CHESTX6_CLASSES),
        splits_share_patients=True,
    )
    options_type = ChestX6Options

    def read(self, root: Path, options: ChestX6Options) -> Records:
        """Turn the folders into records.

        Raises:
            UsageError: ``root`` is not a folder.
            DataError: one of the eighteen folders is missing or empty, or a tuberculosis film has no number.
        """
        import pandas as pd

        tree = find_folder(root, _FIRST_CLASS_FOLDER, self.card)
        rows = [row for split in SPLITS for name in CHESTX6_CLASSES for row in self._rows(tree, split, name, root)]
        table = pd.DataFrame(rows)
        return Records(table, CHESTX6_CLASSES, (), root, _notes(table), has_unknown_patients=True)

    def _rows(self, tree: Path, split: str, name: str, root: Path) -> list[dict[str, object]]:
        folder = tree / split / name
        files = film_names(folder, self.card)
        below = folder.relative_to(root).as_posix()
        return [
            {
                "sample_id": f"{split}/{name}/{file}",
                "image_path": f"{below}/{file}",
                "patient_id": _patient(split, name, file, folder),
                "study_id": "",
                "view": "",
                "split": split,
                **{other: float(other == name) for other in CHESTX6_CLASSES},
            }
            for file in files
        ]


DATASET = ChestX6Dataset()


def _patient(split: str, name: str, file: str, folder: Path) -> str:
    if name != "Tuberculosis":
        return f"{split}/{name}/{file}"
    found = _TUBERCULOSIS.match(file)
    if found is None:
        raise DataError(
            f"{folder} holds {file}; expected Tuberculosis-<n>.png or augmented_Tuberculosis-<n>_0_<k>.jpeg, by whose "
            "number copies are told from other patients"
        )
    return f"tuberculosis {int(found[1])}"


def _notes(table: "pd.DataFrame") -> tuple[str, ...]:
    tuberculosis = table[table["Tuberculosis"] == 1]
    in_splits = tuberculosis.groupby("patient_id")["split"].nunique()
    crossing = int((in_splits > 1).sum())
    own = own_patient_note("Films other than tuberculosis")
    if not crossing:
        return (own,)
    return (
        own,
        f"{crossing} of {len(in_splits)} tuberculosis originals have films (themselves or augmented copies) in more "
        "than one split, as shipped: the test score of this class is too good.",
    )
