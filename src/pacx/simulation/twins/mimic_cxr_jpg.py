"""MIMIC-CXR-JPG for simulated patients, with MIMIC-IV's hosp and MIMIC-IV-ECG beside it.

Films, ECGs and laboratory values are of the same bodies at times that fit each other, so that ``pacx data link`` finds
pairs. Two labellers read the reports, and NegBio is the more uncertain of the two. One subject in ten is for
validation, one for testing; every fourth comes back after two months. Subjects and films are those of the other MIMIC
twins.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from pacx.core.findings import CHEXPERT_LABELS
from pacx.core.randomness import sample_keys, uniform
from pacx.simulation.cohort import patients_of
from pacx.simulation.mimic import (
    MimicFilm,
    chexpert_findings,
    film_keys,
    is_labelled,
    patient_id,
    save_csv,
    save_mimic_cxr_jpg,
    subject_id,
)
from pacx.simulation.mimic_stays import Stay, save_ecgs, save_hosp
from pacx.simulation.patients.physiology import Physiology
from pacx.simulation.twin import Twin, TwinConfig
from pacx.simulation.written_counts import Census

_AT_LEAST = 10
_SPLITS = {"train": "train", "validate": "val", "test": "test"}


class MimicCxrJpgTwin(Twin):
    """Writes ``mimic-cxr-jpg``, ``mimiciv/hosp`` and ``mimic-iv-ecg``."""

    name = "mimic-cxr-jpg"

    def write(self, root: Path, config: TwinConfig) -> Mapping[str, int]:
        """Fill the three folders; counts are of the films."""
        numbers = range(max(config.num_patients, _AT_LEAST))
        patients = patients_of([patient_id(number) for number in numbers], config)
        stays = [Stay(number=number, visit=visit) for number in numbers for visit in range(_visits(number))]
        of_stay = patients.take(np.array([stay.number for stay in stays]))
        save_hosp(root / "mimiciv" / "hosp", stays, of_stay, seed=config.seed)
        save_ecgs(root / "mimic-iv-ecg", stays, of_stay, seed=config.seed)
        films = [MimicFilm(number=number, index=index) for number in numbers for index in range(3 + _visits(number))]
        home = root / "mimic-cxr-jpg"
        views = save_mimic_cxr_jpg(home, films, patients, numbers[0], config)
        splits = [_split(film.number) for film in films]
        save_csv(film_keys(films).assign(split=splits).sort_values("dicom_id"), home / "mimic-cxr-2.0.0-split.csv.gz")
        findings = _labelled(home, films, patients, config)
        census = Census(CHEXPERT_LABELS)
        for film, split, (_, row) in zip(films, splits, findings.iterrows(), strict=True):
            labels = {name: row[name] if row[name] in (0, 1) else np.nan for name in CHEXPERT_LABELS}
            census.add(str(subject_id(film.number)), split=_SPLITS[split], view=views[film], labels=labels)
        return census.counts()


TWIN = MimicCxrJpgTwin()


def _visits(number: int) -> int:
    return 2 if number % 4 == 0 else 1


def _split(number: int) -> str:
    return {3: "validate", 7: "test"}.get(number % 10, "train")


def _labelled(home: Path, films: list[MimicFilm], patients: Physiology, config: TwinConfig) -> pd.DataFrame:
    """What CheXpert made of each film's report, NaN throughout where it had none; NegBio's table is written."""
    film_ids = [film.film_id for film in films]
    rows = np.array([film.number for film in films])
    findings = chexpert_findings(patients.take(rows), tuple(film_ids), seed=config.seed)[list(CHEXPERT_LABELS)]
    has_labels = is_labelled(films)
    doubts = uniform(config.seed, "mimic-negbio", 0, sample_keys(film_ids), len(CHEXPERT_LABELS)) < 0.1
    negbio = findings.mask(pd.DataFrame(doubts, columns=findings.columns) & findings.isin([0.0, 1.0]), -1.0)
    keys = film_keys(films)[["subject_id", "study_id"]]
    save_csv(pd.concat([keys, negbio], axis=1)[has_labels], home / "mimic-cxr-2.0.0-negbio.csv.gz")
    return findings.where(pd.Series(has_labels), np.nan)
