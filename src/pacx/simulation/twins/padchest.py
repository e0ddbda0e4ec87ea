"""PadChest for simulated patients.

Films are PNG of 16 bits that hold 12, one in five a negative, in numbered folders. The table begins with a nameless
column of row numbers; findings are lists in Python's spelling, with blanks around words and empty words, and with
narrower terms as often as the labels themselves. Some reports are not labelled, some are marked "exclude", some say
"unchanged" and little else; one in four was read by a physician. Side views are the frontal film mirrored and squeezed.
The first film is one that the release has cut off, and every twentieth shows something else than a chest.

Nodules, masses, pneumothoraces, fibrosis, hernias and fractures never occur, because no simulated body has them.
"""

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from pacx.core.findings import PADCHEST_LABELS
from pacx.core.randomness import generator
from pacx.simulation.cohort import patients_of
from pacx.simulation.film_files import as_lateral, films_of
from pacx.simulation.patients.labels import film_findings
from pacx.simulation.twin import Twin, TwinConfig
from pacx.simulation.written_counts import Census

_WORDS = {
    "cardiomegaly": ("cardiomegaly",),
    "aortic_enlargement": ("aortic elongation", "supra aortic elongation", "descendent aortic elongation"),
    "emphysema": ("emphysema",),
    "copd": ("COPD signs",),
    "pneumonia": ("pneumonia",),
    "consolidation": ("consolidation", "air bronchogram"),
    "infiltrate": ("infiltrates", "alveolar pattern", "interstitial pattern"),
    "edema": ("pulmonary edema",),
    "effusion": ("pleural effusion", "loculated pleural effusion"),
    "pleural_thickening": ("pleural thickening", "apical pleural thickening"),
    "atelectasis": ("laminar atelectasis", "atelectasis", "atelectasis basal"),
    "pacemaker": ("pacemaker", "dual chamber device"),
}
_IMPLIED = {"consolidation": "infiltrates", "air bronchogram": "infiltrates"}
_LABEL_OF = {
    "copd": "COPD signs",
    "edema": "pulmonary edema",
    "effusion": "pleural effusion",
    "pleural_thickening": "pleural thickening",
    "infiltrate": "infiltrates",
    "aortic_enlargement": "aortic elongation",
    "pacemaker": "electrical device",
}
_CUT_OFF = "216840111366964013829543166512013353113303615_02-092-190.png"
_FOLDERS = (0, 1, 17)
_BITS = 12


class PadChestTwin(Twin):
    """Writes PadChest for simulated patients."""

    name = "padchest"

    def write(self, root: Path, config: TwinConfig) -> Mapping[str, int]:
        """Fill a folder as the archives are unpacked; every third patient has a side view too."""
        ids = [f"padchest-{number}" for number in range(config.num_patients)]
        patients = patients_of(ids, config)
        findings = film_findings(patients)
        planned = [
            (row, is_side) for row in range(len(ids)) for is_side in ((False, True) if row % 3 == 2 else (False,))
        ]
        rows = np.array([row for row, _ in planned])
        names = [f"{ids[row]}-{'side' if is_side else 'front'}" for row, is_side in planned]
        census, table = Census(PADCHEST_LABELS), []
        for film in films_of(patients, names, rows, config, title="PadChest films"):
            row, is_side = planned[film.row]
            chance = generator(config.seed, "padchest-report", ids[row])
            words, labels = _report(findings.iloc[row], row, chance)
            is_negative, is_cut_off = film.row % 5 == 3, film.row == 0
            projection = "EXCLUDE" if film.row % 20 == 19 else _projection(row, is_ap=film.is_ap, is_side=is_side)
            image = f"{_long_number(names[film.row], config.seed)}.png" if not is_cut_off else _CUT_OFF
            folder = _FOLDERS[film.row % len(_FOLDERS)]
            data = _png_bytes(as_lateral(film.image) if is_side else film.image, is_negative=is_negative)
            (root / str(folder)).mkdir(exist_ok=True)
            (root / str(folder) / image).write_bytes(data[: len(data) // 2] if is_cut_off else data)
            patient = _long_number(ids[row], config.seed)
            table.append(
                {
                    "": film.row,
                    "ImageID": image,
                    "ImageDir": folder,
                    "StudyDate_DICOM": 20100101 + row % 28,
                    "StudyID": _long_number(f"{ids[row]}-study", config.seed),
                    "PatientID": patient,
                    "PatientSex_DICOM": "F" if patients.is_female[row] else "M",
                    "Projection": projection,
                    "PhotometricInterpretation_DICOM": "MONOCHROME1" if is_negative else "MONOCHROME2",
                    "BitsStored_DICOM": _BITS,
                    "Report": 'inform simul , "sin hallazg" .',
                    "MethodLabel": "Physician" if row % 4 == 0 else "RNN_model",
                    "Labels": "" if words is None else str(words),
                }
            )
            if not is_cut_off and projection != "EXCLUDE":
                view = {"L": "LATERAL", "AP_horizontal": "AP"}.get(projection, projection)
                census.add(patient, view=view, labels=labels)
        name = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
        pd.DataFrame(table).to_csv(root / name, index=False, lineterminator="\n")
        return census.counts()


TWIN = PadChestTwin()


def _report(has: "pd.Series[bool]", row: int, chance: np.random.Generator) -> tuple[list[str] | None, dict[str, float]]:
    """The words of a report's list, None where it was not labelled; and what they say of each label."""
    unknown = dict.fromkeys(PADCHEST_LABELS, np.nan)
    if row % 9 == 8:
        return None, unknown
    if row % 13 == 12:
        return ["exclude"], unknown
    is_unchanged = row % 11 == 10
    labels = dict.fromkeys(PADCHEST_LABELS, np.nan if is_unchanged else 0.0)
    words = ["unchanged"] if is_unchanged else []
    for finding, terms in _WORDS.items():
        if has[finding]:
            word = str(chance.choice(terms))
            words.append(f" {word}" if chance.random() < 0.3 else word)
            labels[_LABEL_OF.get(finding, finding)] = 1.0
            if word in _IMPLIED:
                labels[_IMPLIED[word]] = 1.0
    if not words:
        words, labels["normal"] = ["normal"], 1.0
    return [*words, ""] if chance.random() < 0.1 else words, labels


def _projection(row: int, *, is_ap: bool, is_side: bool) -> str:
    if is_side:
        return "L"
    return ("AP_horizontal" if row % 2 else "AP") if is_ap else "PA"


def _long_number(name: str, seed: int) -> str:
    """Thirty-eight digits, as ids of PadChest are."""
    digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=15).digest()
    return f"1{int.from_bytes(digest):037d}"


def _png_bytes(image: NDArray[np.uint8], *, is_negative: bool) -> bytes:
    """A PNG of 16 bits whose greatest value is that of 12."""
    stored = image.astype(np.uint16) * np.uint16((2**_BITS - 1) // 255)
    stored = np.uint16(2**_BITS - 1) - stored if is_negative else stored
    buffer = io.BytesIO()
    Image.fromarray(stored).save(buffer, "PNG", compress_level=2)
    return buffer.getvalue()
