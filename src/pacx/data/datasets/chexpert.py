"""CheXpert v1.0: the films of the first training stage.

Reads both distributions, ``CheXpert-v1.0`` (original resolution; also as the batch folders of the AIMI download) and
``CheXpert-v1.0-small``, and copies of them below a folder of one's own. What it watches for:

- ``Path`` begins with the name of the distribution the table was written for, whichever films one has: that part is
  taken off, and the film is looked for where the tree has its patient, in every batch folder.
- A blank label is "not mentioned" and -1 is "uncertain". Both are unknown (NaN); neither ever becomes 0. (The paper
  trains on the films alone; who wants a probe learns from what is known.)
- The labels of visualCheXbert and CheXbert, which the AIMI download holds beside ``train.csv``, are an option; they
  name "No Finding" last, and columns are found by name.
- AP/PA is blank for side views, which become the view "LATERAL"; a few frontal films are marked LL or RL, and stay so.

The official validation films (their labels are the radiologists' consensus) are the split "val"; there is no "test".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from pacx.core.errors import DataError, UsageError
from pacx.core.findings import CHEXPERT_LABELS
from pacx.data.dataset import Dataset, DatasetCard, Issue, Task
from pacx.data.official_trees import CHEXPERT_CODES
from pacx.data.records import Records
from pacx.data.tables import SourceTable, missing, read_table

if TYPE_CHECKING:
    import pandas as pd


_DISTRIBUTIONS = "CheXpert-v1.0*"
_PATH = r"(?:CheXpert-v1\.0[^/]*/)?(train|valid)/(patient\d+)/(study\d+/view\d+_(frontal|lateral)\.jpg)"
_PATH_EXPECTED = "train/patientNNNNN/studyN/viewN_frontal.jpg (or valid, or lateral) behind the distribution's name"
_VIEW_CODES = ("AP", "PA", "LL", "RL")
_SEXES = {"Male": "M", "Female": "F", "Unknown": "", "": ""}
_SPLITS = {"train": "train", "valid": "val"}
_UNCERTAIN_IN_TRAINING = {
    "Enlarged Cardiomediastinum": 12_403,
    "Cardiomegaly": 8_087,
    "Lung Opacity": 5_598,
    "Lung Lesion": 1_488,
    "Edema": 12_984,
    "Consolidation": 27_742,
    "Pneumonia": 18_770,
    "Atelectasis": 33_739,
    "Pneumothorax": 3_145,
    "Pleural Effusion": 11_628,
    "Pleural Other": 2_653,
    "Fracture": 642,
    "Support Devices": 1_079,
}
_NUM_TRAINING = 223_414


class TrainingLabels(Enum):
    """Which labeller read the training reports; the value is its table."""

    CHEXPERT = "train.csv"
    VISUAL_CHEXBERT = "train_visualCheXbert.csv"
    CHEXBERT = "train_cheXbert.csv"


@dataclass(frozen=True, kw_only=True)
class ChexpertOptions:
    """How to read CheXpert.

    Args:
        labels: the labeller of the training films; each has a table of its own, with the same rows.
    """

    labels: TrainingLabels = TrainingLabels.CHEXPERT


class ChexpertDataset(Dataset[ChexpertOptions]):
    """Reads CheXpert v1.0 and its small version."""

    card = DatasetCard(
        name="chexpert",
        title="CheXpert v1.0",
        task=Task.MULTILABEL,
        licence="Stanford University research use agreement, non-commercial",
        access="register with Stanford AIMI (CheXpert-v1.0 in batches, or CheXpert-v1.0-small, about 11 GB)",
        citation="Irvin et al., CheXpert: a large chest radiograph dataset with uncertainty labels and expert "
        "comparison, AAAI 2019",
        layout=(
            "train.csv and valid.csv (in the root or in one folder CheXpert-v1.0...)",
            "train/patientNNNNN/studyN/viewN_frontal.jpg or viewN_lateral.jpg",
            "valid/patientNNNNN/studyN/viewN_frontal.jpg (both in the root or in folders CheXpert-v1.0...)",
        ),
        counts={
            "films": 223_648,
            "films:train": _NUM_TRAINING,
            "patients:train": 64_540,
            "films:val": 234,
            "view:LATERAL": 32_419,
        },
        image_globs=("**/patient*/study*/*.jpg",),
    )
    options_type = ChexpertOptions

    def read(self, root: Path, options: ChexpertOptions) -> Records:
        """Turn a copy of CheXpert into records.

        Raises:
            UsageError: the folder is not there.
            DataError: a table is missing or is not CheXpert's, or two distributions lie side by side.
        """
        import pandas as pd

        if not root.is_dir():
            raise UsageError(
                f"{root} is not a folder; give the one that holds train.csv, or the folders {_DISTRIBUTIONS}"
            )
        tables = [self._table(root, options.labels.value), self._table(root, "valid.csv")]
        rows = pd.concat([_rows(table) for table in tables], ignore_index=True)
        rows["image_path"] = _places(root, rows)
        note = f"The training labels are those of {options.labels.value}; uncertain and not mentioned are unknown."
        return Records(rows.drop(columns="place"), CHEXPERT_LABELS, (), root, (note,))

    def inspect(self, root: Path, options: ChexpertOptions, records: Records) -> Sequence[Issue]:
        """Hold the uncertain labels of a complete ``train.csv`` against the makers' numbers."""
        if options.labels is not TrainingLabels.CHEXPERT:
            return ()
        table = self._table(root, options.labels.value)
        if len(table) != _NUM_TRAINING:
            return ()
        issues = []
        for name, expected in _UNCERTAIN_IN_TRAINING.items():
            found = int(table.text(name).isin(["-1.0", "-1"]).sum())
            if found != expected:
                message = f"{table.path} marks {found} films uncertain for {name}, expected {expected}; fetch it again"
                issues.append(Issue(check="uncertain labels", message=message))
        return issues

    def _table(self, root: Path, name: str) -> SourceTable:
        places = [root / name] if (root / name).is_file() else sorted(root.glob(f"{_DISTRIBUTIONS}/{name}"))
        if not places:
            raise missing(root / name, self.card)
        if len(places) > 1:
            raise DataError(f"{root} holds {name} in {' and in '.join(str(path.parent) for path in places)}; give one")
        return read_table(places[0], ("Path", "Sex", "Age", "AP/PA", *CHEXPERT_LABELS), card=self.card)


DATASET = ChexpertDataset()


def _rows(table: SourceTable) -> "pd.DataFrame":
    """The records of one table, but for the place of the films on disk."""
    import pandas as pd

    parts = table.matching("Path", _PATH, _PATH_EXPECTED)
    place, patient, rest = parts[0], parts[1], parts[2]
    direction = table.text("AP/PA")
    table.require("AP/PA", direction.isin([*_VIEW_CODES, ""]), " / ".join(_VIEW_CODES) + " or blank")
    sex = table.text("Sex")
    table.require("Sex", sex.isin(list(_SEXES)), "Male, Female or Unknown")
    columns: dict[str, object] = {
        "sample_id": place + "/" + patient + "/" + rest.str.removesuffix(".jpg"),
        "image_path": place + "/" + patient + "/" + rest,
        "patient_id": patient,
        "study_id": patient + "/" + rest.str.partition("/")[0],
        "view": direction.where(parts[3] == "frontal", "LATERAL"),
        "split": place.map(_SPLITS),
        "age": table.numbers("Age"),
        "sex": sex.map(_SEXES),
        "place": place,
    }
    return pd.DataFrame(columns | {name: table.coded(name, CHEXPERT_CODES) for name in CHEXPERT_LABELS})


def _places(root: Path, rows: "pd.DataFrame") -> "pd.Series[str]":
    """Where the tree has each film: as the table says, or in one of several distribution or batch folders."""
    if (root / "train").is_dir():
        return rows["image_path"]
    homes = _homes(root)
    patients = rows["place"] + "/" + rows["patient_id"]
    found = {one: homes.get(one, []) + homes.get(one.partition("/")[2], []) for one in patients.unique()}
    inside = rows["image_path"].str.partition("/patient")[2].str.partition("/")[2]
    path = patients.map({one: folders[0] if folders else one for one, folders in found.items()}) + "/" + inside
    in_several = patients.isin([one for one, folders in found.items() if len(folders) > 1])
    for row in path.index[in_several]:
        candidates = [f"{folder}/{inside[row]}" for folder in found[patients[row]]]
        path[row] = next((one for one in candidates if (root / one).is_file()), candidates[0])
    return path


def _homes(root: Path) -> Mapping[str, list[str]]:
    """The folders of each patient, by "train/patientNNNNN", or by the patient alone where a batch has no such level."""
    homes: dict[str, list[str]] = {}
    for batch in sorted(root.glob(f"{_DISTRIBUTIONS}/")):
        for folder in (batch, *(batch / place for place in _SPLITS)):
            for patient in folder.glob("patient*/"):
                name = patient.name if folder == batch else f"{folder.name}/{patient.name}"
                homes.setdefault(name, []).append(patient.relative_to(root).as_posix())
    return homes
