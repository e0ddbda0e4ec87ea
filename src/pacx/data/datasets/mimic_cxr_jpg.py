"""MIMIC-CXR-JPG 2.0.0 and 2.1.0: films of an emergency department, with the labels of their reports.

The tables of both versions carry 2.0.0 in their names. What is watched for:

- Labels belong to studies, of which some have none, and films to studies: every film of a study carries its labels. A
  blank label is "not mentioned" and -1 is "uncertain". Both are unknown (NaN); neither ever becomes 0.
- Two labellers read the same reports, CheXpert and NegBio, into a table each.
- The official split calls its validation films ``validate``, and divides patients.
- ViewPosition is blank for some films; side views are LATERAL or LL.
- Ids that a spreadsheet or pandas made into 10000032.0 are read as whole numbers.
- A copy whose films were shrunk, in the same tree, is read as well: nothing here looks at a pixel.
"""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from pacx.core.errors import DataError
from pacx.core.findings import CHEXPERT_LABELS
from pacx.data.dataset import Dataset, DatasetCard, Task
from pacx.data.official_trees import CHEXPERT_CODES, MIMIC_CXR_LANDMARKS, ids, look_for, mimic_cxr_table
from pacx.data.records import Records
from pacx.data.tables import missing, read_table

if TYPE_CHECKING:
    import pandas as pd


_SPLITS = {"train": "train", "validate": "val", "test": "test"}


class Labeller(Enum):
    """Which labeller read the reports; the value is the part of its table's name."""

    CHEXPERT = "chexpert"
    NEGBIO = "negbio"


@dataclass(frozen=True, kw_only=True)
class MimicCxrJpgOptions:
    """How to read MIMIC-CXR-JPG.

    Args:
        labels: the labeller of the reports; each has a table of its own, with the same studies.
    """

    labels: Labeller = Labeller.CHEXPERT


class MimicCxrJpgDataset(Dataset[MimicCxrJpgOptions]):
    """Reads MIMIC-CXR-JPG."""

    card = DatasetCard(
        name="mimic-cxr-jpg",
        title="MIMIC-CXR-JPG 2.1.0",
        task=Task.MULTILABEL,
        licence="PhysioNet Credentialed Health Data License; not to be shared",
        access="PhysioNet, credentialed: mimic-cxr-jpg 2.1.0 (DOI 10.13026/jsn5-t979), about 570 GB",
        citation="Johnson et al., MIMIC-CXR-JPG, a large publicly available database of labeled chest radiographs, "
        "arXiv 1901.07042, 2019; version 2.1.0, PhysioNet, 2024",
        layout=(
            "mimic-cxr-2.0.0-{metadata,split,chexpert,negbio}.csv.gz (or .csv)",
            "files/pNN/pNNNNNNNN/sNNNNNNNN/DICOM_ID.jpg",
        ),
        counts={
            "films": 377_110,
            "patients": 65_379,
            "films:train": 368_960,
            "films:val": 2_991,
            "films:test": 5_159,
            "view:AP": 147_173,
            "view:PA": 96_161,
            "view:LATERAL": 82_853,
            "view:LL": 35_133,
        },
        image_globs=("**/files/p[0-9][0-9]/p*/s*/*.jpg",),
    )
    options_type = MimicCxrJpgOptions

    def read(self, root: Path, options: MimicCxrJpgOptions) -> Records:
        """Turn the tables into records.

        Raises:
            UsageError: the folder is not there.
            DataError: a table is missing, or does not fit the others.
        """
        home = look_for(root, MIMIC_CXR_LANDMARKS)
        if home is None:
            raise missing(root / MIMIC_CXR_LANDMARKS[0], self.card)
        films = self._films(home)
        labels = self._labels(home, options.labels)
        bare = int((~films["study_id"].isin(labels.index)).sum())
        notes = [f"The labels are those of {options.labels.value}; uncertain and not mentioned are unknown."]
        if bare:
            notes.append(f"{bare} films are of studies that {options.labels.value} has no labels of: all are unknown.")
        return Records(films.join(labels, on="study_id"), CHEXPERT_LABELS, (), home, tuple(notes))

    def _films(self, home: Path) -> "pd.DataFrame":
        """Every film with its split, without labels."""
        import pandas as pd

        path = mimic_cxr_table(home, "metadata")
        table = read_table(path, ("dicom_id", "subject_id", "study_id", "ViewPosition"), card=self.card)
        dicom, subject, study = table.text("dicom_id"), ids(table, "subject_id"), ids(table, "study_id")
        table.require("dicom_id", ~dicom.duplicated(), "each film once")
        return pd.DataFrame(
            {
                "sample_id": dicom,
                "image_path": "files/p" + subject.str[:2] + "/p" + subject + "/s" + study + "/" + dicom + ".jpg",
                "patient_id": subject,
                "study_id": study,
                "view": table.text("ViewPosition"),
                "split": self._splits(home, dicom, path),
            }
        )

    def _splits(self, home: Path, dicom: "pd.Series[str]", metadata: Path) -> "pd.Series[str]":
        table = read_table(mimic_cxr_table(home, "split"), ("dicom_id", "split"), card=self.card)
        table.require("split", table.text("split").isin(list(_SPLITS)), "train, validate or test")
        table.require("dicom_id", ~table.text("dicom_id").duplicated(), "each film once")
        split_of = dict(zip(table.text("dicom_id"), table.text("split").map(_SPLITS), strict=True))
        splits = dicom.map(split_of)
        if splits.isna().any():
            raise DataError(
                f"{table.path} has no split for {int(splits.isna().sum())} films of {metadata.name}; expected both of "
                "one release, download them again"
            )
        return splits

    def _labels(self, home: Path, labeller: Labeller) -> "pd.DataFrame":
        """By study."""
        import pandas as pd

        table = read_table(mimic_cxr_table(home, labeller.value), ("study_id", *CHEXPERT_LABELS), card=self.card)
        study = ids(table, "study_id")
        table.require("study_id", ~study.duplicated(), "each study once")
        labels = {name: table.coded(name, CHEXPERT_CODES) for name in CHEXPERT_LABELS}
        return pd.DataFrame(labels).set_axis(study, axis="index")


DATASET = MimicCxrJpgDataset()
