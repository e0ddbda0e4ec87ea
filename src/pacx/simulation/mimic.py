"""One simulated MIMIC for the datasets that are cut from it: ids, paths, findings and films of MIMIC-CXR-JPG.

Subject number k is the same person, with the same films, in the twins of MIMIC-CXR-JPG, Symile-MIMIC, MedMod and
CXLSeg, so that what the official datasets share by origin is there to be found among their twins as well.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from pacx.core.findings import CHEXPERT_LABELS
from pacx.core.randomness import sample_keys, uniform
from pacx.simulation.patients.physiology import Physiology, Values
from pacx.simulation.patients.population import CLEARLY_DISEASED, draw_nuisance
from pacx.simulation.patients.sites import CohortConfig
from pacx.simulation.recruitment import filmed, stretched

FILMS_PER_SUBJECT = 5
_HOURS_AFTER_ADMISSION = ((25.0, 71.0), (-800.0, -700.0), (2.0, 20.0), (80.0, 120.0), (1466.0, 1500.0))
_HEIGHT_TO_WIDTH = 3056 / 2544
_JPEG_QUALITY = 95


def subject_id(number: int) -> int:
    """Eight digits, different for each number and spread over p10 to p19."""
    return 10_000_000 + (32 + 6_180_339 * number) % 10_000_000


def patient_id(number: int) -> str:
    """By which the simulated hospital knows the subject."""
    return f"mimic-{subject_id(number)}"


def admission_id(number: int, visit: int = 0) -> int:
    """Eight digits, different for each subject and visit (0 or 1)."""
    return 20_000_000 + (44 + 3_141_593 * (2 * number + visit)) % 10_000_000


def admitted(number: int, visit: int = 0) -> datetime:
    """When the subject was admitted, in the shifted years of MIMIC; the second time two months after the first."""
    chance = uniform(0, "mimic-admission-time", 0, sample_keys([patient_id(number)]), 1)[0, 0]
    return datetime(2110, 1, 1) + timedelta(minutes=int(chance * 60 * 24 * 365 * 90), days=60 * visit)


@dataclass(frozen=True, kw_only=True)
class MimicFilm:
    """One image of MIMIC-CXR-JPG: subject ``number``'s film ``index`` (0 to 4), each in a study of its own."""

    number: int
    index: int = 0

    @property
    def study_id(self) -> int:
        """Eight digits, different for each film."""
        return 50_000_000 + (FILMS_PER_SUBJECT * self.number + self.index) * 2_718_283 % 10_000_000

    @property
    def film_id(self) -> str:
        """By which the simulated hospital knows the film."""
        return f"{patient_id(self.number)}-{self.index}"

    @property
    def dicom_id(self) -> str:
        """Five groups of eight hexadecimal digits, as MIMIC's are."""
        digits = hashlib.blake2b(self.film_id.encode(), digest_size=20).hexdigest()
        return "-".join(digits[start : start + 8] for start in range(0, 40, 8))

    @property
    def taken(self) -> datetime:
        """Film 0 on day two or three of the admission, 1 a month before, 2 on day one, 3 later, 4 in the next one."""
        first, last = _HOURS_AFTER_ADMISSION[self.index]
        chance = uniform(0, "mimic-film-time", self.index, sample_keys([self.film_id]), 1)[0, 0]
        return admitted(self.number) + timedelta(seconds=round(3600 * (first + (last - first) * chance)))

    @property
    def folder(self) -> str:
        """The study's folder in MIMIC's layout, files/pNN/pNNNNNNNN/sNNNNNNNN."""
        subject = subject_id(self.number)
        return f"files/p{str(subject)[:2]}/p{subject}/s{self.study_id}"

    @property
    def path(self) -> str:
        """Where it lies in MIMIC-CXR-JPG, and in everything that copies its tree."""
        return f"{self.folder}/{self.dicom_id}.jpg"


def save_jpeg(picture: NDArray[np.uint8], path: Path) -> None:
    """Write a grey (H, W) or colour (H, W, 3) JPEG, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, format="JPEG", quality=_JPEG_QUALITY)


def save_mimic_jpeg(film: NDArray[np.uint8], path: Path) -> None:
    """Write a film in the proportions of MIMIC's, higher than wide."""
    width = film.shape[1]
    save_jpeg(stretched(film, width, round(width * _HEIGHT_TO_WIDTH)), path)


def save_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table as MIMIC's are written; a name that ends in .gz is compressed, to the same bytes every time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    compression = {"method": "gzip", "mtime": 0} if path.suffix == ".gz" else None
    table.to_csv(path, index=False, lineterminator="\n", compression=compression)


def _severities(physiology: Physiology) -> dict[str, Values]:
    """0 to 1 for each finding the labeller of reports knows; none for those that the simulation does not have."""
    effusion = np.maximum(physiology.effusion_right, physiology.effusion_left)
    return {
        "Enlarged Cardiomediastinum": physiology.aortic_widening,
        "Cardiomegaly": np.maximum(physiology.ventricle_dilation, physiology.right_heart_load),
        "Lung Opacity": np.maximum.reduce([physiology.pneumonia, physiology.congestion, 0.8 * effusion]),
        "Edema": physiology.congestion,
        "Consolidation": 0.8 * physiology.pneumonia,
        "Pneumonia": physiology.pneumonia,
        "Atelectasis": 0.9 * effusion,
        "Pleural Effusion": effusion,
        "Support Devices": physiology.has_pacemaker,
    }


def chexpert_findings(physiology: Physiology, film_ids: tuple[str, ...], *, seed: int) -> pd.DataFrame:
    """What the CheXpert labeller would have read out of the reports of N films.

    Returns:
        one float column per name of ``CHEXPERT_LABELS``: 1 where a physician would write the finding down; near that
        -1 (uncertain) in two reports of three; else 0 or, as often, nothing at all (NaN). "No Finding" is 1 or NaN.
    """
    chance = uniform(seed, "mimic-reports", 0, sample_keys(film_ids), len(CHEXPERT_LABELS))
    severities = _severities(physiology)
    table = pd.DataFrame(np.nan, index=range(len(film_ids)), columns=list(CHEXPERT_LABELS))
    for column, name in enumerate(CHEXPERT_LABELS):
        if name not in severities:
            continue
        severity, draw = severities[name], chance[:, column]
        is_near = severity > CLEARLY_DISEASED - 0.1
        not_there = np.where(is_near & (draw < 2 / 3), -1.0, np.where(draw < 0.5, 0.0, np.nan))
        table[name] = np.where(severity > CLEARLY_DISEASED, 1.0, not_there)
    is_free = ~(table.drop(columns="No Finding") == 1).any(axis=1)
    table["No Finding"] = np.where(is_free, 1.0, np.nan)
    return table


def save_mimic_cxr_jpg(
    folder: Path, films: Sequence[MimicFilm], patients: Physiology, first_number: int, config: CohortConfig
) -> dict[MimicFilm, str]:
    """Write films with their metadata and CheXpert labels, which one film in eleven lacks.

    Args:
        folder: of MIMIC-CXR-JPG.
        films: which.
        patients: the subjects, from ``first_number`` on.
        first_number: the number of the first of them.
        config: the world.

    Returns:
        How each was taken; "" where nobody wrote it down.
    """
    film_ids = [film.film_id for film in films]
    rows = np.array([film.number - first_number for film in films])
    is_ap = draw_nuisance(film_ids, patients.take(rows), seed=config.seed, site=config.site).is_ap
    views = {film: _view(film, is_ap=bool(ap)) for film, ap in zip(films, is_ap, strict=True)}
    place = 0
    for chunk in filmed(patients, film_ids, rows, config, "simulate films of MIMIC-CXR-JPG"):
        for image in chunk.films.images:
            film = films[place]
            # No side view can be projected: the film from behind, mirrored, stands for one.
            save_mimic_jpeg(image[:, ::-1].copy() if views[film] == "LATERAL" else image, folder / film.path)
            place += 1
    keys = film_keys(films)
    metadata = keys.assign(
        ViewPosition=list(views.values()),
        StudyDate=[int(f"{film.taken:%Y%m%d}") for film in films],
        StudyTime=[_clock(film.taken) for film in films],
    )
    # By study, as in MIMIC: which is not by time.
    save_csv(metadata.sort_values(["subject_id", "study_id"]), folder / "mimic-cxr-2.0.0-metadata.csv.gz")
    findings = chexpert_findings(patients.take(rows), tuple(film_ids), seed=config.seed)[list(CHEXPERT_LABELS)]
    labelled = pd.concat([keys[["subject_id", "study_id"]], findings], axis=1)
    save_csv(labelled[is_labelled(films)], folder / "mimic-cxr-2.0.0-chexpert.csv.gz")
    return views


def is_labelled(films: Sequence[MimicFilm]) -> NDArray[np.bool_]:
    """Which of some films have a report that was labelled: all but each eleventh."""
    return np.arange(len(films)) % 11 != 10


def film_keys(films: Sequence[MimicFilm]) -> pd.DataFrame:
    """The columns that the tables of MIMIC-CXR-JPG begin with."""
    return pd.DataFrame(
        {
            "dicom_id": [film.dicom_id for film in films],
            "subject_id": [subject_id(film.number) for film in films],
            "study_id": [film.study_id for film in films],
        }
    )


def _view(film: MimicFilm, *, is_ap: bool) -> str:
    if film.index == 2 and film.number % 3 == 0:
        return "LATERAL"
    if film.index == 1 and film.number % 8 == 5:
        return ""
    return "AP" if is_ap else "PA"


def _clock(moment: datetime) -> float:
    """HHMMSS and a fraction as one number: nine minutes past midnight is 900.0."""
    return float(f"{moment:%H%M%S}") + 0.125
