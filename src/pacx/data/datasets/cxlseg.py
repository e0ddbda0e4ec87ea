"""CXLSeg: lung masks of 243,324 frontal films of MIMIC-CXR.

The one thing to know: CXLSeg has no X-rays. Its ``<dicom_id>.jpg`` is the film multiplied by the mask, black outside
the lungs, from which a threshold recovers the mask; a segmentation trained on it is worth nothing, however high it
scores. Here the film comes from MIMIC-CXR-JPG, at the same relative path, and the mask alone from CXLSeg. A folder of
films that is CXLSeg's own is refused, and so are films that are black outside the mask, wherever they lie: a few are
looked at whenever the set is read, more by the doctor.

Masks were made by a model, and are JPEGs of 224 x 224 pixels: structure above 127. The films are larger and higher than
wide; both are stretched to the same square. The official split is random over films, not MIMIC's, and subjects are to
be expected on both sides of it. Labels are those of the CheXpert labeller; uncertain and not mentioned are unknown.
Reports are not read.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pacx.core.errors import DataError, UsageError
from pacx.core.findings import CHEXPERT_LABELS
from pacx.data.dataset import Dataset, DatasetCard, Issue, Task
from pacx.data.images.decode import UnreadableImage, decode_grey, decode_mask
from pacx.data.official_trees import CHEXPERT_CODES, MIMIC_CXR_LANDMARKS, find_folder, ids, look_for
from pacx.data.records import MASK_PREFIX, Records, shown
from pacx.data.tables import read_table

if TYPE_CHECKING:
    import pandas as pd


_SPLITS = {"train": "train", "validate": "val", "test": "test"}
_MASK = MASK_PREFIX + "lung"
_BLACK_BELOW = 1.0
"""Mean grey outside the mask: 0.08 in a pre-masked film, far above in an X-ray."""
_LOOKED_AT_READING, _LOOKED_AT_BY_DOCTOR = 4, 64
_WHY = (
    "they are black outside the lung mask, so the mask can be read off them and a segmentation would learn nothing; "
    "take the X-rays from MIMIC-CXR-JPG"
)


@dataclass(frozen=True, kw_only=True)
class CxlSegOptions:
    """Where the X-rays are.

    Args:
        mimic_cxr_jpg: the folder of MIMIC-CXR-JPG that holds ``files``; by default looked for below the root.
    """

    mimic_cxr_jpg: Path | None = None


class CxlSegDataset(Dataset[CxlSegOptions]):
    """Reads the masks of CXLSeg with the films of MIMIC-CXR-JPG."""

    card = DatasetCard(
        name="cxlseg",
        title="CXLSeg: Chest X-ray Dataset with Lung Segmentation 1.0.0",
        task=Task.SEGMENTATION,
        licence="PhysioNet Credentialed Health Data License; not to be shared",
        access="PhysioNet, credentialed: chest-x-ray-segmentation 1.0.0 (DOI 10.13026/9cy4-f535), MIMIC-CXR-JPG 2.1.0",
        citation="Chest X-ray Dataset with Lung Segmentation, version 1.0.0, PhysioNet, 2023; MIMIC-CXR-JPG 2.1.0, "
        "PhysioNet, 2024.",
        layout=(
            "CXLSeg-segmented.csv, CXLSeg-mask.csv, CXLSeg-split.csv and "
            "files/pNN/pNNNNNNNN/sNNNNNNNN/DICOM_ID-mask.jpg in one folder",
            "mimic-cxr-jpg/files/pNN/pNNNNNNNN/sNNNNNNNN/DICOM_ID.jpg (or its folder as an option)",
        ),
        counts={
            "films": 243_324,
            "films:train": 194_660,
            "films:val": 24_332,
            "films:test": 24_332,
            "mask:lung": 243_324,
        },
        image_globs=("**/files/p[0-9][0-9]/p*/s*/*-mask.jpg",),
        masks_have_image_size=False,
        splits_share_patients=True,
    )
    options_type = CxlSegOptions

    def read(self, root: Path, options: CxlSegOptions) -> Records:
        """Turn the tables into records and look at a few of the films.

        Raises:
            UsageError: ``root`` is not a folder, or MIMIC-CXR-JPG is nowhere.
            DataError: a table is missing or does not fit the others, or the films are the pre-masked ones.
        """
        home = find_folder(root, "CXLSeg-split.csv", self.card)
        mimic = options.mimic_cxr_jpg or look_for(root, MIMIC_CXR_LANDMARKS)
        if mimic is None:
            raise UsageError(
                f"MIMIC-CXR-JPG is not below {root}; CXLSeg ships no X-rays (its DICOM_ID.jpg are black outside the "
                "mask), so give the folder of MIMIC-CXR-JPG as mimic_cxr_jpg"
            )
        _refuse_own_films(home, mimic)
        above = Path(os.path.commonpath([home.absolute(), mimic.absolute()]))
        table = self._table(home)
        for column, folder in (("image_path", mimic), (_MASK, home)):
            below = folder.absolute().relative_to(above).as_posix()
            table[column] = [f"{below}/{path}".removeprefix("./") for path in table[column]]
        records = Records(table, CHEXPERT_LABELS, ("lung",), above, ("The masks were made by a model.",))
        masked = list(_premasked(records, _LOOKED_AT_READING))
        if masked:
            raise DataError(f"films of {mimic} ({shown(masked)}) are not X-rays: {_WHY}")
        return records

    def inspect(self, root: Path, options: CxlSegOptions, records: Records) -> list[Issue]:
        """Look at more of the films: is the X-ray there outside the mask?"""
        masked = tuple(_premasked(records, _LOOKED_AT_BY_DOCTOR))
        if not masked:
            return []
        message = f"{len(masked)} films ({shown(masked)}) are not X-rays: {_WHY}"
        return [Issue(check="pre-masked films", message=message, files=masked)]

    def _table(self, home: Path) -> "pd.DataFrame":
        """The three tables joined by dicom_id; the paths are still those of the tables."""
        import pandas as pd

        films = read_table(
            home / "CXLSeg-segmented.csv",
            ("dicom_id", "subject_id", "study_id", "DicomPath", *CHEXPERT_LABELS),
            card=self.card,
        )
        masks = read_table(home / "CXLSeg-mask.csv", ("dicom_id", "DicomPath"), card=self.card)
        split = read_table(home / "CXLSeg-split.csv", ("dicom_id", "split"), card=self.card)
        split.require("split", split.text("split").isin(list(_SPLITS)), "train, validate or test")
        path = r"(files/p\d\d/p\d+/s\d+/{}\.jpg)"
        table = pd.DataFrame(
            {
                "sample_id": films.text("dicom_id"),
                "image_path": films.matching("DicomPath", path.format("[0-9a-f-]+"), "files/pNN/.../DICOM_ID.jpg")[0],
                "patient_id": ids(films, "subject_id"),
                "study_id": ids(films, "study_id"),
                "view": "",
                **{name: films.coded(name, CHEXPERT_CODES) for name in CHEXPERT_LABELS},
            }
        )
        mask_path = masks.matching("DicomPath", path.format("[0-9a-f-]+-mask"), "files/pNN/.../DICOM_ID-mask.jpg")[0]
        others = {_MASK: (masks, mask_path), "split": (split, split.text("split").map(_SPLITS))}
        for name, (source, values) in others.items():
            dicoms = source.text("dicom_id")
            if dicoms.duplicated().any() or set(dicoms) != set(table["sample_id"]):
                raise DataError(
                    f"{source.path} and {films.path.name} do not name the same films once each; expected both of one "
                    "release, download them again"
                )
            table[name] = table["sample_id"].map(dict(zip(dicoms, values, strict=True)))
        return table


DATASET = CxlSegDataset()


def _refuse_own_films(home: Path, mimic: Path) -> None:
    """The films of MIMIC-CXR-JPG are never those of CXLSeg."""
    if not (mimic / "files").is_dir():
        raise UsageError(
            f"{mimic} holds no folder 'files'; give the folder of MIMIC-CXR-JPG, such as mimic-cxr-jpg/2.1.0"
        )
    own, films = (home / "files").resolve(), (mimic / "files").resolve()
    if films == own or own in films.parents or (mimic / "CXLSeg-segmented.csv").exists():
        raise DataError(f"{mimic} is CXLSeg's own folder, and its films are not X-rays: {_WHY}")


def _premasked(records: Records, num_looked_at: int) -> Iterator[str]:
    """Which of some films, evenly drawn, have the size of their mask and nothing outside it."""
    table = records.table
    rows = np.unique(np.linspace(0, len(table) - 1, min(num_looked_at, len(table))).astype(int))
    for film, mask in table[["image_path", _MASK]].iloc[rows].itertuples(index=False):
        try:
            grey, lung = decode_grey(records.root / film), decode_mask(records.root / mask)
        except UnreadableImage:
            continue  # the doctor and the packer name it
        if grey.shape == lung.shape and (lung == 0).any() and grey[lung == 0].mean() < _BLACK_BELOW:
            yield film
