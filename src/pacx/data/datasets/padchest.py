"""PadChest: 160,000 films of a Spanish hospital, with findings as lists of words.

What is watched for:

- Findings stand as a list in Python's spelling, with blanks around words and empty words among them. They are terms of
  a tree: a film with "laminar atelectasis" has an atelectasis, whose word need not stand there. A label is present
  where it or a narrower term stands, absent where the report names others. Nothing is known where a report was not
  labelled or is marked "exclude", and of what a report does not name that says "unchanged".
- Pictures are 16-bit PNG of which detectors used 10 to 15 bits; the packer finds their scale. Some are negatives, which
  only the table says (MONOCHROME1); they are turned round.
- Some films have ended early or were never there since they were published. They are known, and left out by name; so
  are films of another part of the body, whose projection the makers call EXCLUDE.
- Films lie in folders 0 to 54, as unpacked, or all in one, as smaller copies have them.
- Of four reports one was labelled by a physician, the others by a network; an option keeps to the former.
"""

import ast
import io
import re
import tokenize
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pacx.core.errors import DataError, UsageError
from pacx.core.findings import PADCHEST_LABELS
from pacx.data.dataset import Dataset, DatasetCard, Task
from pacx.data.official_trees import ids
from pacx.data.records import NEGATIVE_COLUMN, Records
from pacx.data.tables import SourceTable, missing, read_table

if TYPE_CHECKING:
    import pandas as pd


_TABLE = "PADCHEST_chest_x_ray_images_labels_160K*.csv*"
_COLUMNS = (
    *("ImageID", "ImageDir", "StudyID", "PatientID", "Projection", "PhotometricInterpretation_DICOM"),
    *("PatientSex_DICOM", "MethodLabel", "Labels"),
)
_VIEWS = {"PA": "PA", "AP": "AP", "AP_horizontal": "AP", "L": "LATERAL", "COSTAL": "COSTAL", "UNK": "", "": ""}
_NOT_CHEST = "EXCLUDE"
_NARROWER = {
    "atelectasis": (
        *("total atelectasis", "lobar atelectasis", "segmental atelectasis", "laminar atelectasis"),
        *("round atelectasis", "atelectasis basal"),
    ),
    "pleural effusion": (
        *("loculated pleural effusion", "loculated fissural effusion", "hydropneumothorax", "empyema", "hemothorax"),
    ),
    "pleural thickening": ("apical pleural thickening", "calcified pleural thickening"),
    "pneumothorax": ("hydropneumothorax",),
    "pneumonia": ("atypical pneumonia",),
    "infiltrates": (
        *("interstitial pattern", "ground glass pattern", "reticular interstitial pattern", "alveolar pattern"),
        *("reticulonodular interstitial pattern", "miliary opacities", "consolidation", "air bronchogram"),
    ),
    "consolidation": ("air bronchogram",),
    "nodule": ("multiple nodules",),
    "mass": ("breast mass", "pleural mass", "pulmonary mass", "soft tissue mass", "mediastinal mass"),
    "pulmonary fibrosis": ("post radiotherapy changes", "asbestosis signs"),
    "aortic elongation": (
        *("descendent aortic elongation", "ascendent aortic elongation", "supra aortic elongation"),
        "aortic button enlargement",
    ),
    "fracture": ("clavicle fracture", "humeral fracture", "vertebral fracture", "rib fracture", "callus rib fracture"),
    "electrical device": ("dual chamber device", "single chamber device", "pacemaker", "dai"),
}
"""Terms below a label in the makers' trees, of those that occur."""
_MAYBE_JOINED = re.compile(r"""['"]\s*['"]""")
_UNUSABLE, _UNCHANGED = "exclude", "unchanged"
_DAMAGED = frozenset(
    f"216840111366964{rest}.png"
    for rest in (
        *("012819207061112010307142602253_04-014-084", "012989926673512011074122523403_00-163-058"),
        *("012959786098432011033083840143_00-176-115", "012558082906712009327122220177_00-102-064"),
        *("012339356563862009072111404053_00-043-192", "013076187734852011291090445391_00-196-188"),
        *("012373310883942009117084022290_00-064-025", "012283393834152009033102258826_00-059-087"),
        *("012373310883942009170084120009_00-097-074", "012819207061112010315104455352_04-024-184"),
        *("012819207061112010306085429121_04-020-102", "012989926673512011083134050913_00-168-009"),
        *("012373310883942009152114636712_00-102-045", "012819207061112010281134410801_00-129-131"),
        *("012487858717522009280135853083_00-075-001", "012989926673512011151082430686_00-157-045"),
        *("013686042548532013208193054515_02-026-007", "013590140476722013058110301622_02-056-111"),
        *("013590140476722013043111952381_02-065-198", "013829543166512013353113303615_02-092-190"),
        "013962490064942014134093945580_01-178-104",
    )
)
"""Files that others found missing or cut off in the release (torchxrayvision, datasets.py)."""


@dataclass(frozen=True, kw_only=True)
class PadChestOptions:
    """How to read PadChest.

    Args:
        physicians_only: labels of reports that a network read are unknown.
    """

    physicians_only: bool = False


class PadChestDataset(Dataset[PadChestOptions]):
    """Reads PadChest."""

    card = DatasetCard(
        name="padchest",
        title="PadChest 160K (01.02.19)",
        task=Task.MULTILABEL,
        licence="BIMCV PadChest research use agreement; not to be shared",
        access="BIMCV, on request (54 archives, about 1 TB)",
        citation="Bustos et al., PadChest: a large chest x-ray image dataset with multi-label annotated reports, "
        "Medical Image Analysis 66, 2020",
        layout=(
            "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv (or .csv.gz)",
            "N/IMAGE_ID.png, N from 0 to 54 (also below images/), or all IMAGE_ID.png in one folder",
        ),
    )
    options_type = PadChestOptions

    def read(self, root: Path, options: PadChestOptions) -> Records:
        """Turn the table into records.

        Raises:
            UsageError: the folder is not there.
            DataError: the table is missing, is there twice, or is not PadChest's.
        """
        import pandas as pd

        table = self._table(root)
        image, projection = table.text("ImageID"), table.text("Projection")
        table.require("ImageID", ~image.duplicated() & (image != ""), "each film once")
        table.require("Projection", projection.isin([*_VIEWS, _NOT_CHEST]), " / ".join([*_VIEWS, _NOT_CHEST]))
        black = table.text("PhotometricInterpretation_DICOM").str.upper()
        table.require("PhotometricInterpretation_DICOM", black.isin(["MONOCHROME1", "MONOCHROME2"]), "MONOCHROME1 or 2")
        films = pd.DataFrame(
            {
                "sample_id": image.str.removesuffix(".png"),
                "image_path": _places(root, image, table),
                "patient_id": table.text("PatientID"),
                "study_id": table.text("StudyID"),
                "view": projection.map(_VIEWS),
                "split": "",
                "sex": table.text("PatientSex_DICOM").where(lambda sex: sex.isin(["F", "M"]), ""),
                NEGATIVE_COLUMN: black == "MONOCHROME1",
            }
        )
        findings, num_unknown = _findings(table, physicians_only=options.physicians_only)
        is_damaged, is_other = image.isin(_DAMAGED), projection == _NOT_CHEST
        notes = (
            f"{int((is_damaged & ~is_other).sum())} films whose files are known to be missing or cut off, and "
            f"{int(is_other.sum())} whose projection is {_NOT_CHEST}, are left out.",
            f"{int(films[NEGATIVE_COLUMN].sum())} films are MONOCHROME1, negatives, and are turned round.",
            f"The labels of {num_unknown} films are unknown: not labelled, or marked {_UNUSABLE}.",
        )
        kept = pd.concat([films, findings], axis=1)[~is_damaged & ~is_other].reset_index(drop=True)
        return Records(kept, PADCHEST_LABELS, (), root, notes)

    def _table(self, root: Path) -> SourceTable:
        if not root.is_dir():
            raise UsageError(f"{root} is not a folder; give the one that holds PadChest's table and films")
        found = sorted(root.glob(_TABLE))
        if not found:
            raise missing(root / self.card.layout[0].partition(" ")[0], self.card)
        if len(found) > 1:
            raise DataError(f"{root} holds {len(found)} tables {_TABLE}; keep one")
        return read_table(found[0], _COLUMNS, card=self.card)


DATASET = PadChestDataset()


def _places(root: Path, image: "pd.Series[str]", table: SourceTable) -> "pd.Series[str]":
    """Where each film lies: in numbered folders, or all in one."""
    number = ids(table, "ImageDir")
    for folder in ("", "images/"):
        if any((root / folder / each).is_dir() for each in number.unique()):
            return folder + number + "/" + image
    return ("images/" if (root / "images").is_dir() else "") + image


def _findings(table: SourceTable, *, physicians_only: bool) -> "tuple[pd.DataFrame, int]":
    """One column per label, and of how many films nothing is known."""
    import pandas as pd

    cells = table.text("Labels")
    said = {cell: _terms(cell) for cell in cells.unique()}
    broken = [cell for cell, terms in said.items() if terms is None]
    table.require("Labels", ~cells.isin(broken), "a list of words in Python's spelling, or blank")
    values = {cell: _values(terms or frozenset()) for cell, terms in said.items()}
    rows = np.array([values[cell] for cell in cells])
    if physicians_only:
        rows[(table.text("MethodLabel") != "Physician").to_numpy()] = np.nan
    return pd.DataFrame(rows, columns=list(PADCHEST_LABELS)), int(np.isnan(rows).all(axis=1).sum())


def _terms(cell: str) -> frozenset[str] | None:
    """The words of a list, lower case; None where it is none."""
    if cell in ("", "nan"):
        return frozenset()
    try:
        words = ast.literal_eval(cell)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words) or _has_joined_words(cell):
        return None
    return frozenset(word.strip().casefold() for word in words) - {""}


def _has_joined_words(cell: str) -> bool:
    """Whether words stand without a comma, as numpy prints them: Python reads them as one, which is no term."""
    if not _MAYBE_JOINED.search(cell):
        return False
    kinds = [token.type for token in tokenize.generate_tokens(io.StringIO(cell).readline)]
    return (tokenize.STRING, tokenize.STRING) in pairwise(kind for kind in kinds if kind != tokenize.NL)


def _values(terms: frozenset[str]) -> list[float]:
    if not terms or _UNUSABLE in terms:
        return [np.nan] * len(PADCHEST_LABELS)
    absent = np.nan if _UNCHANGED in terms else 0.0
    has = (terms & {label.casefold(), *_NARROWER.get(label, ())} for label in PADCHEST_LABELS)
    return [1.0 if found else absent for found in has]
