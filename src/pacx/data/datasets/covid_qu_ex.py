"""COVID-QU-Ex: films of COVID, other pneumonia and healthy lungs with masks of the lungs, some with masks of infection.

Two trees, read one at a time: "Lung Segmentation Data" (33,920 films, the paper's task, its default) and "Infection
Segmentation Data" (5,826 films with lung and infection masks). Each is nested twice under its own name in the official
archive; unpacked once less, it is read as well. A mask has the name of its film. A film of a healthy or otherwise ill
lung has an infection mask without a single pixel set: that is its truth, not a fault. The class of a film is a label
beside the masks. No patient ids are shipped, and the films were merged from public collections: QaTa-COV19 and ChestX6
hold some of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from pacx.core.findings import COVID_QU_EX_CLASSES
from pacx.data.dataset import Dataset, DatasetCard, Issue, Task
from pacx.data.official_trees import film_names, look_for, own_patient_note, unlisted_files
from pacx.data.records import MASK_PREFIX, Records
from pacx.data.tables import missing

_SPLITS = {"Train": "train", "Val": "val", "Test": "test"}


class CovidQuExTree(Enum):
    """Which of the two trees is read; the value is the name of its folder."""

    LUNG = "Lung Segmentation Data"
    INFECTION = "Infection Segmentation Data"


_MASKS = {CovidQuExTree.LUNG: ("lung",), CovidQuExTree.INFECTION: ("lung", "infection")}

_INFECTION_COUNTS = {
    "films": 5_826,
    "present:COVID-19": 2_913,
    "present:Non-COVID": 1_457,
    "present:Normal": 1_456,
    "mask:lung": 5_826,
    "mask:infection": 5_826,
}


@dataclass(frozen=True, kw_only=True)
class CovidQuExOptions:
    """What to read.

    Args:
        tree: lung masks of all films, or lung and infection masks of a part of them.
    """

    tree: CovidQuExTree = CovidQuExTree.LUNG


class CovidQuExDataset(Dataset[CovidQuExOptions]):
    """Reads one of the two trees."""

    card = DatasetCard(
        name="covid-qu-ex",
        title="COVID-QU-Ex",
        task=Task.SEGMENTATION,
        licence="as its Kaggle page states",
        access="Kaggle, anasmohammedtahir/covidqu, version 7 (about 1.24 GB)",
        citation="Tahir et al. COVID-QU-Ex Dataset. Kaggle, 2021.",
        layout=(
            "Lung Segmentation Data/Lung Segmentation Data/{Train,Val,Test}/{COVID-19,Non-COVID,Normal}/"
            "{images,lung masks}/*.png",
            "Infection Segmentation Data/Infection Segmentation Data/{Train,Val,Test}/{COVID-19,Non-COVID,Normal}/"
            "{images,lung masks,infection masks}/*.png",
        ),
        counts={
            "films": 33_920,
            "films:train": 21_715,
            "films:val": 5_417,
            "films:test": 6_788,
            "present:COVID-19": 11_956,
            "present:Non-COVID": 11_263,
            "present:Normal": 10_701,
            "mask:lung": 33_920,
        },
    )
    options_type = CovidQuExOptions

    def read(self, root: Path, options: CovidQuExOptions) -> Records:
        """Turn one of the trees into records; the mask of each film is named, not looked for.

        Raises:
            UsageError: ``root`` is not a folder.
            DataError: the tree, or one of its folders, is missing, or has no film.
        """
        import pandas as pd

        name = options.tree.value
        home = look_for(root, (f"{name}/Train",))
        if home is None:
            raise missing(root / name / name / "Train", self.card)
        tree = home / name
        rows = [
            row
            for split in _SPLITS
            for label in COVID_QU_EX_CLASSES
            for row in self._rows(tree, split, label, root, _MASKS[options.tree])
        ]
        notes = (own_patient_note("Films"), "QaTa-COV19 and ChestX6 hold some of these films.")
        return Records(
            pd.DataFrame(rows), COVID_QU_EX_CLASSES, _MASKS[options.tree], root, notes, has_unknown_patients=True
        )

    def expected_counts(self, options: CovidQuExOptions) -> Mapping[str, int]:
        """Of the tree that is read."""
        return self.card.counts if options.tree is CovidQuExTree.LUNG else _INFECTION_COUNTS

    def inspect(self, root: Path, options: CovidQuExOptions, records: Records) -> Sequence[Issue]:
        """Masks that belong to no film."""
        return unlisted_files(records, ["image_path", *(MASK_PREFIX + name for name in records.mask_names)])

    def _rows(self, tree: Path, split: str, label: str, root: Path, masks: tuple[str, ...]) -> list[dict[str, object]]:
        folder = tree / split / label
        files = film_names(folder / "images", self.card)
        below = folder.relative_to(root).as_posix()
        return [
            {
                "sample_id": f"{split}/{label}/{file}",
                "image_path": f"{below}/images/{file}",
                "patient_id": f"{split}/{label}/{file}",
                "study_id": "",
                "view": "",
                "split": _SPLITS[split],
                **{MASK_PREFIX + mask: f"{below}/{mask} masks/{file}" for mask in masks},
                **{other: float(other == label) for other in COVID_QU_EX_CLASSES},
            }
            for file in files
        ]


DATASET = CovidQuExDataset()
