"""QaTa-COV19: films of COVID pneumonia with masks of the infected lung.

Version 2 (the default) ships a training and a test set: the test set is kept as it is (the paper says that there is no
official split; its released code uses this one). Version 1 has films without masks, which are left out. The mask of
``X.png`` is ``mask_X.png``; masks hold greys, and count as infected above 127.

Names are of two families. ``sub-S<id>_...`` are films of BIMCV, and ``sub-S<id>`` is the patient, whose films a
validation split must keep together. ``covid_<n>`` have no patient, and are held to be films of COVID-QU-Ex: an encoder
or a decoder trained there has seen them.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from pacx.core.errors import DataError
from pacx.data.dataset import Dataset, DatasetCard, Issue, SplitPlan, Task
from pacx.data.official_trees import film_names, find_folder, own_patient_note, unlisted_files
from pacx.data.records import MASK_PREFIX, Records, shown
from pacx.data.splits import image_level_splits

if TYPE_CHECKING:
    import pandas as pd


_PATIENT = re.compile(r"^(sub-S[0-9A-Za-z]+)_")
_MASK = "mask_"
_INFECTION = MASK_PREFIX + "infection"


class QataVersion(Enum):
    """Which release is read."""

    V1 = "v1"
    V2 = "v2"


_SETS = {QataVersion.V1: {"": ""}, QataVersion.V2: {"Train Set": "train", "Test Set": "test"}}

_V1_COUNTS = {"films": 2_951, "mask:infection": 2_951}


@dataclass(frozen=True, kw_only=True)
class QataCov19Options:
    """What to read.

    Args:
        version: 2 with its official test set, or 1, which has no split.
    """

    version: QataVersion = QataVersion.V2


class QataCov19Dataset(Dataset[QataCov19Options]):
    """Reads the films and masks of one version of the dataset, chosen by its options."""

    card = DatasetCard(
        name="qata-cov19",
        title="QaTa-COV19",
        task=Task.SEGMENTATION,
        licence="as its Kaggle page states",
        access="Kaggle, aysendegerli/qatacov19-dataset",
        citation="Degerli et al. QaTa-COV19 Dataset. Kaggle, Qatar University and Tampere University.",
        layout=(
            "QaTa-COV19/QaTa-COV19-v2/{Train Set,Test Set}/Images/*.png",
            "QaTa-COV19/QaTa-COV19-v2/{Train Set,Test Set}/Ground-truths/mask_*.png",
            "QaTa-COV19/QaTa-COV19-v1/{Images,Ground-truths}/ (version 1)",
        ),
        splits=SplitPlan(fractions=(0.7, 0.1, 0.2), val_share_of_train=0.1),
        counts={"films": 9_258, "films:test": 2_113, "mask:infection": 9_258},
        splits_share_patients=True,  # whether they do is not documented; the copy is not at fault if so
    )
    options_type = QataCov19Options

    def released_code_splits(self, records: Records) -> "pd.Series[str]":
        """A tenth of the training films for validation, whoever's they are; the test set is the official one."""
        return image_level_splits(records.table["split"], val_share=0.1)

    def read(self, root: Path, options: QataCov19Options) -> Records:
        """Turn a version into records.

        Raises:
            UsageError: ``root`` is not a folder.
            DataError: a folder is missing or empty, or a mask is not named after a film.
        """
        import pandas as pd

        if options.version is QataVersion.V2:
            tree = find_folder(root, "Train Set", self.card)
            rows = [
                row for part, split in _SETS[options.version].items() for row in self._all(tree / part, split, root)
            ]
        else:
            tree = find_folder(root, "QaTa-COV19-v1/Images", self.card) / "QaTa-COV19-v1"
            rows = self._masked(tree, root)
        table = pd.DataFrame(rows)
        is_alone = table["patient_id"] == table["sample_id"]
        notes = _notes(table)
        return Records(table, (), ("infection",), root, notes, has_unknown_patients=bool(is_alone.any()))

    def expected_counts(self, options: QataCov19Options) -> Mapping[str, int]:
        """Of the version that is read."""
        return self.card.counts if options.version is QataVersion.V2 else _V1_COUNTS

    def inspect(self, root: Path, options: QataCov19Options, records: Records) -> Sequence[Issue]:
        """Masks that belong to no film; films without a mask are known of version 1."""
        films = ["image_path"] if options.version is QataVersion.V2 else []
        return unlisted_files(records, [*films, _INFECTION])

    def _all(self, folder: Path, split: str, root: Path) -> list[dict[str, str]]:
        """Every film of a set, with the mask that is named after it."""
        return [_row(file, folder, split, root) for file in film_names(folder / "Images", self.card)]

    def _masked(self, folder: Path, root: Path) -> list[dict[str, str]]:
        """The films that have a mask."""
        masks = film_names(folder / "Ground-truths", self.card)
        films = set(film_names(folder / "Images", self.card))
        strange = [mask for mask in masks if not mask.startswith(_MASK) or mask.removeprefix(_MASK) not in films]
        if strange:
            raise DataError(
                f"{folder / 'Ground-truths'} holds masks of no film ({shown(strange)}); expected mask_X.png for a film "
                "Images/X.png"
            )
        return [_row(mask.removeprefix(_MASK), folder, "", root) for mask in masks]


DATASET = QataCov19Dataset()


def _row(file: str, folder: Path, split: str, root: Path) -> dict[str, str]:
    below = folder.relative_to(root).as_posix()
    found = _PATIENT.match(file)
    sample = f"{split or 'v1'}/{file}"
    return {
        "sample_id": sample,
        "image_path": f"{below}/Images/{file}",
        "patient_id": found[1] if found else sample,
        "study_id": "",
        "view": "",
        "split": split,
        _INFECTION: f"{below}/Ground-truths/{_MASK}{file}",
    }


def _notes(table: "pd.DataFrame") -> tuple[str, ...]:
    has_patient = table["patient_id"].str.startswith("sub-")
    notes = []
    if not has_patient.all():
        num_known = int(table["image_path"].str.contains("/covid_").sum())
        notes += [
            own_patient_note(f"{int((~has_patient).sum())} films without a BIMCV name"),
            f"{num_known} films (covid_*) are held to be films of "
            "COVID-QU-Ex: do not train on one and test on the other.",
        ]
    return tuple(notes)
