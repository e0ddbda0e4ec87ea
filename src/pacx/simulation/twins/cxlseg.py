"""CXLSeg for simulated patients: lung masks and pre-masked films beside MIMIC-CXR-JPG, which alone has the X-rays.

CXLSeg's folder is nested twice under its own name. Its ``<dicom_id>.jpg`` is what the official one is: 224 pixels,
three equal channels, the film multiplied by its mask. Masks are grey JPEGs, with greys along their edges. The four
tables share their keys; two of them call different paths ``DicomPath``. The splits are train, test and validate, and
divide subjects. Subjects and films are those of the other MIMIC twins.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from pacx.core.findings import CHEXPERT_LABELS
from pacx.simulation.cohort import patients_of
from pacx.simulation.mimic import (
    MimicFilm,
    chexpert_findings,
    film_keys,
    patient_id,
    save_csv,
    save_jpeg,
    save_mimic_jpeg,
    subject_id,
)
from pacx.simulation.recruitment import filmed, mask_picture, stretched
from pacx.simulation.twin import Twin, TwinConfig
from pacx.simulation.written_counts import Census

_SIDE_PX = 224
_AT_LEAST = 10
_NAME = "chest-x-ray-dataset-with-lung-segmentation-1.0.0"
_SPLITS = {"train": "train", "test": "test", "validate": "val"}


class CxlSegTwin(Twin):
    """Writes CXLSeg and the part of MIMIC-CXR-JPG it was made from."""

    name = "cxlseg"

    def write(self, root: Path, config: TwinConfig) -> Mapping[str, int]:
        """Fill both folders; every third subject has two films."""
        numbers = range(max(config.num_patients, _AT_LEAST))
        ids = [patient_id(number) for number in numbers]
        patients = patients_of(ids, config)
        films = [
            MimicFilm(number=number, index=index) for number in numbers for index in (0, 2)[: 1 + (number % 3 == 1)]
        ]
        rows = np.array([film.number for film in films])
        film_ids = [film.film_id for film in films]
        findings = chexpert_findings(patients.take(rows), tuple(film_ids), seed=config.seed)
        home, mimic = root / _NAME / _NAME, root / "mimic-cxr-jpg" / "2.1.0"
        place = 0
        for chunk in filmed(patients, film_ids, rows, config, "simulate cxlseg"):
            for image, lung in zip(chunk.films.images, chunk.films.lung, strict=True):
                mask = mask_picture(lung, _SIDE_PX, _SIDE_PX)
                segmented = np.where(mask > 0, stretched(image, _SIDE_PX, _SIDE_PX), np.uint8(0))
                path = films[place].path
                save_mimic_jpeg(image, mimic / path)
                save_jpeg(np.repeat(segmented[..., None], 3, axis=2), home / path)
                save_jpeg(mask, home / _mask_path(path))
                place += 1
        splits = [("train", "train", "test", "train", "validate")[place % 5] for place in range(len(films))]
        _save_tables(home, mimic, films, findings, splits)
        census = Census(CHEXPERT_LABELS, ("lung",))
        for film, split, (_, row) in zip(films, splits, findings.iterrows(), strict=True):
            labels = {name: row[name] if row[name] in (0, 1) else np.nan for name in CHEXPERT_LABELS}
            census.add(str(subject_id(film.number)), split=_SPLITS[split], labels=labels, masks=("lung",))
        return census.counts()


TWIN = CxlSegTwin()


def _mask_path(path: str) -> str:
    return path.removesuffix(".jpg") + "-mask.jpg"


def _save_tables(home: Path, mimic: Path, films: list[MimicFilm], findings: pd.DataFrame, splits: list[str]) -> None:
    keys = film_keys(films)
    paths = pd.Series([film.path for film in films])
    save_csv(pd.concat([keys.assign(DicomPath=paths), findings], axis=1), home / "CXLSeg-segmented.csv")
    # Each table has the films in an order of its own.
    save_csv(keys.assign(DicomPath=paths.map(_mask_path)).iloc[::-1], home / "CXLSeg-mask.csv")
    save_csv(keys.assign(Reports="The report of a simulated film."), home / "CXLSeg-metadata.csv")
    save_csv(keys.assign(split=splits).sort_values("dicom_id"), home / "CXLSeg-split.csv")
    days = [int(f"{film.taken:%Y%m%d}") for film in films]
    times = [float(f"{film.taken:%H%M%S}") for film in films]
    metadata = keys.assign(ViewPosition="AP", StudyDate=days, StudyTime=times)
    save_csv(metadata, mimic / "mimic-cxr-2.0.0-metadata.csv.gz")
