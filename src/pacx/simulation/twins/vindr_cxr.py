"""The twin of VinDr-CXR 1.0.0.

DICOM films ``train/*.dicom`` and ``test/*.dicom`` of 12, 14 or 16 bits, one in three MONOCHROME1, some rescaled by an
offset, one in four compressed (RLE), all with a window that is narrower than what the bits can hold. Every training
film is read by three of 17 radiologists, who overlook a finding now and then and rarely see one that is not there, so
that the majority and not the single reader follows the simulated body; the test table holds a consensus, and spells
its last disease ``Other disease``. Every film is another patient's.

Labels that no simulated body has (nodules, tuberculosis, fractures ...) never occur. The files of boxes, which the task
does not need, are left out.
"""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, RLELossless

from pacx.core.findings import VINDR_GLOBAL_LABELS, VINDR_LOCAL_LABELS
from pacx.core.randomness import generator
from pacx.simulation.cohort import patients_of
from pacx.simulation.film_files import films_of
from pacx.simulation.patients.labels import film_findings
from pacx.simulation.twin import Twin, TwinConfig

_LABELS = (*VINDR_LOCAL_LABELS, *VINDR_GLOBAL_LABELS)
_FINDINGS = {
    "Aortic enlargement": ("aortic_enlargement",),
    "Atelectasis": ("atelectasis",),
    "Cardiomegaly": ("cardiomegaly",),
    "Consolidation": ("consolidation",),
    "Edema": ("edema",),
    "Emphysema": ("emphysema",),
    "Enlarged PA": ("pulmonary_artery",),
    "Infiltration": ("infiltrate",),
    "Lung Opacity": ("opacity",),
    "Mediastinal shift": ("mediastinal_shift",),
    "Pleural effusion": ("effusion",),
    "Pleural thickening": ("pleural_thickening",),
    "COPD": ("copd",),
    "Pneumonia": ("pneumonia",),
    "Other diseases": ("edema", "pulmonary_artery"),
}
_NUM_READERS = 17
_USUAL_TRIO = (8, 9, 10)
_USUAL_TRIO_SHARE = 0.37
_SEEN = 0.85
_IMAGINED = 0.02
_TEST_EVERY = 6
_NO_BEDSIDE = 1e-9  # the share of bedside films: none
_MIN_POSITIVES, _OF_TRAINING_FILMS = 50, 15_000  # the rule by which the paper drops rare labels
_ROOT_UID = "1.2.826.0.1.3680043.8.498"


class VindrCxrTwin(Twin):
    """Writes VinDr-CXR for simulated patients."""

    name = "vindr-cxr"

    def write(self, root: Path, config: TwinConfig) -> Mapping[str, int]:
        """Fill a folder as the release is unpacked; one patient in six, at least one, is in the test set."""
        config = replace(config, site=replace(config.site, ap_share=_NO_BEDSIDE))
        num_patients = max(2, config.num_patients)
        patient_ids = [f"vindr-cxr-{number}" for number in range(num_patients)]
        patients = patients_of(patient_ids, config)
        image_ids = [
            hashlib.md5(f"{config.seed}/{one}".encode(), usedforsecurity=False).hexdigest() for one in patient_ids
        ]
        is_test = np.arange(num_patients) % _TEST_EVERY == 1
        truth = _truth(film_findings(patients))
        for folder in ("train", "test", "annotations"):
            (root / folder).mkdir()
        rows = np.arange(num_patients)
        for film in films_of(patients, patient_ids, rows, config, title="VinDr-CXR films"):
            sex, years = "F" if patients.is_female[film.row] else "M", int(patients.age_years[film.row])
            data = _dicom_bytes(film.image, film.row, image_ids[film.row], sex=sex, years=years)
            place = "test" if is_test[film.row] else "train"
            (root / place / f"{image_ids[film.row]}.dicom").write_bytes(data)
        readings = _readings(truth[~is_test], config)
        readings.insert(0, "image_id", np.repeat(np.array(image_ids)[~is_test], 3))
        readings.to_csv(root / "annotations/image_labels_train.csv", index=False, lineterminator="\n")
        consensus = truth[is_test].astype(int).rename(columns={"Other diseases": "Other disease"})
        consensus.insert(0, "image_id", np.array(image_ids)[is_test])
        consensus.to_csv(root / "annotations/image_labels_test.csv", index=False, lineterminator="\n")
        return _counts(readings, truth[is_test])


TWIN = VindrCxrTwin()


def _truth(findings: pd.DataFrame) -> pd.DataFrame:
    """What each patient has: a boolean for every label."""
    truth = pd.DataFrame(dict.fromkeys(_LABELS, False), index=findings.index)
    for label, sources in _FINDINGS.items():
        truth[label] = findings[list(sources)].any(axis=1)
    truth["No finding"] = ~truth.any(axis=1)
    return truth


def _readings(truth: pd.DataFrame, config: TwinConfig) -> pd.DataFrame:
    """Three rows per film: who read it, and what they saw."""
    rows = []
    for film, has in truth.iterrows():
        chance = generator(config.seed, "vindr-cxr-readings", int(str(film)))
        is_usual = chance.random() < _USUAL_TRIO_SHARE
        others = [number for number in range(1, _NUM_READERS + 1) if number not in _USUAL_TRIO]
        for reader in _USUAL_TRIO if is_usual else chance.choice(others, size=3, replace=False):
            sees = {
                label: int(chance.random() < (_SEEN if has[label] else _IMAGINED)) if label in _FINDINGS else 0
                for label in _LABELS
            }
            sees["No finding"] = int(not any(sees.values()))
            rows.append({"rad_id": f"R{reader}", **sees})
    return pd.DataFrame(rows, columns=["rad_id", *_LABELS])


def _counts(readings: pd.DataFrame, test: pd.DataFrame) -> Mapping[str, int]:
    """As ``pacx.data.checks.record_counts`` words it; of the labels, those the paper's rule keeps."""
    num_training = len(readings) // 3
    votes = readings[list(_LABELS)].to_numpy().reshape(num_training, 3, len(_LABELS)).sum(axis=1)
    counts = {
        "films": num_training + len(test),
        "patients": num_training + len(test),
        "films:train": num_training,
        "patients:train": num_training,
        "films:test": len(test),
        "patients:test": len(test),
    }
    for column, label in enumerate(_LABELS):
        positives = int((votes[:, column] >= 2).sum())
        if label != "No finding" and positives / num_training >= _MIN_POSITIVES / _OF_TRAINING_FILMS:
            counts |= {f"present:{label}": positives + int(test[label].sum()), f"unknown:{label}": 0}
    return counts


def _dicom_bytes(image: NDArray[np.uint8], row: int, image_id: str, *, sex: str, years: int) -> bytes:
    """A film as a detector might have stored it; shown as its tags say, it is ``image`` again."""
    num_bits = (12, 14, 16)[row % 3]
    darkest, brightest = round(0.1 * 2**num_bits), round(0.9 * 2**num_bits)
    share = image.astype(np.float64) / 255
    is_inverted = row // 2 % 3 == 1
    stored = darkest + (brightest - darkest) * (1 - share if is_inverted else share)
    intercept = -1024 if row % 5 == 0 else 0
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.SOPInstanceUID = f"{_ROOT_UID}.{int(image_id[:24], 16)}"
    dataset.Modality = "DX"
    dataset.PatientName, dataset.PatientID, dataset.PatientSex, dataset.PatientAge = "", "", sex, f"{years:03d}Y"
    dataset.Rows, dataset.Columns = image.shape
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.PhotometricInterpretation = "MONOCHROME1" if is_inverted else "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, num_bits, num_bits - 1
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, intercept, "US"
    dataset.WindowWidth = brightest - darkest + 1
    dataset.WindowCenter = (darkest + brightest) / 2 + intercept + 0.5
    dataset.PixelData = np.rint(stored).astype("<u2").tobytes()
    if row % 4 == 3:
        dataset.compress(RLELossless, generate_instance_uid=False)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
