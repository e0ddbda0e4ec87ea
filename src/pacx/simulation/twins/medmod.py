"""MedMod for simulated patients: its tables of ICU stays beside MIMIC-CXR-JPG, and the tables of Symile-MIMIC.

``phenotype_labels.csv`` has no id column and stands in ascending order of ``stay_id``; ``all_stays.csv`` does not. Of
each subject there are films a month before the admission, on its first day (a side view for every third subject), in
its second or third day, and later; every fourth subject comes back for a second stay with a film of its own, and every
ninth has no film but the one before. Two of MIMIC's quirks are kept: ``StudyDate`` is a whole number, ``StudyTime`` a
number that lost its leading zeros. Phenotypes and deaths follow from the physiology where it has the mechanism. The
first third of the subjects is in Symile-MIMIC's training or validation set, with their first admission.
"""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from pacx.core.artifacts import write_json
from pacx.core.findings import MEDMOD_PHENOTYPES
from pacx.core.randomness import order, sample_keys, uniform
from pacx.core.vocabulary import LAB_ITEM_IDS
from pacx.simulation.cohort import patients_of
from pacx.simulation.mimic import (
    MimicFilm,
    admission_id,
    admitted,
    patient_id,
    save_csv,
    save_mimic_cxr_jpg,
    subject_id,
)
from pacx.simulation.patients.labels import downstream_labels
from pacx.simulation.patients.physiology import ATRIAL_FIBRILLATION, NORMAL_CONDUCTION, Physiology
from pacx.simulation.patients.population import CLEARLY_DISEASED
from pacx.simulation.twin import Twin, TwinConfig
from pacx.simulation.written_counts import Census

_AT_LEAST = 12
_UNIT = "Medical Intensive Care Unit (MICU)"


class MedModTwin(Twin):
    """Writes ``medmod/data/root``, ``mimic-cxr-jpg/2.1.0`` and two tables of ``symile-mimic/1.0.0``."""

    name = "medmod"

    def write(self, root: Path, config: TwinConfig) -> Mapping[str, int]:
        """Fill the three folders. Counts are of the stays whose subjects are not in Symile-MIMIC."""
        count = max(config.num_patients, _AT_LEAST)
        num_shared = count // 3
        numbers = list(range(count - num_shared, 2 * count - num_shared))
        patients = patients_of([patient_id(number) for number in numbers], config)
        visits = [_Visit(row, number, visit) for row, number in enumerate(numbers) for visit in range(_visits(number))]
        of_visit = patients.take(np.array([visit.row for visit in visits]))
        stays = _stays(visits, of_visit, config.seed)
        phenotypes = _phenotypes(of_visit, visits, config.seed)
        _save_extract(root / "medmod" / "data" / "root", stays, phenotypes, config.seed)
        films = [MimicFilm(number=number, index=index) for number in numbers for index in _films_of(number)]
        views = save_mimic_cxr_jpg(root / "mimic-cxr-jpg" / "2.1.0", films, patients, numbers[0], config)
        _save_symile(root / "symile-mimic" / "1.0.0", numbers[:num_shared])
        census = Census(MEDMOD_PHENOTYPES)
        for place, visit in enumerate(visits):
            first_in_stay = MimicFilm(number=visit.number, index=4 if visit.visit else 2)
            if visit.row >= num_shared and first_in_stay in views:
                labels = {name: float(phenotypes[name][place]) for name in MEDMOD_PHENOTYPES}
                census.add(str(subject_id(visit.number)), view=views[first_in_stay], labels=labels)
        return census.counts()


TWIN = MedModTwin()


class _Visit(NamedTuple):
    """One stay: the subject's row among the patients, its number, and whether it is the first stay or the second."""

    row: int
    number: int
    visit: int

    @property
    def key(self) -> str:
        return f"{patient_id(self.number)}-visit-{self.visit}"


def _visits(number: int) -> int:
    return 2 if number % 4 == 0 else 1


def _films_of(number: int) -> tuple[int, ...]:
    """Which of the subject's films there are."""
    if number % 9 == 4:
        return (1,)
    return (0, 1, 2, 3, 4) if _visits(number) == 2 else (0, 1, 2, 3)


def _stays(visits: list[_Visit], patients: Physiology, seed: int) -> pd.DataFrame:
    """all_stays.csv, in the order of the numbers, which is that of neither ids nor times."""
    chance = uniform(seed, "medmod-stays", 0, sample_keys([visit.key for visit in visits]), 4)
    risk = np.clip(patients.acuity - 0.35, 0.0, 0.6)
    died = ((chance[:, 0] < risk) & [visit.visit == _visits(visit.number) - 1 for visit in visits]).astype(int)
    died_in_unit = died * (chance[:, 1] < 0.6)
    rows = []
    for place, visit in enumerate(visits):
        entered = admitted(visit.number, visit.visit)
        into_unit = entered + timedelta(hours=round(1 + 4 * chance[place, 2]))
        out_of_unit = into_unit + timedelta(hours=round(75 + 3 * chance[place, 3]))
        left = entered + timedelta(days=8)
        death = str(left) if died[place] else ""
        rows.append(
            {
                "subject_id": subject_id(visit.number),
                "hadm_id": admission_id(visit.number, visit.visit),
                "stay_id": 30_000_000 + (77 + 5_772_157 * (2 * visit.number + visit.visit)) % 10_000_000,
                "last_careunit": _UNIT,
                "intime": str(into_unit),
                "outtime": str(out_of_unit),
                "los": round((out_of_unit - into_unit) / timedelta(days=1), 4),
                "admittime": str(entered),
                "dischtime": str(left),
                "deathtime": death,
                "race": "UNKNOWN",
                "gender": "F" if patients.is_female[place] else "M",
                "anchor_age": int(patients.age_years[place]),
                "dod": death[:10],
                "age": int(patients.age_years[place]),
                "mortality_inunit": int(died_in_unit[place]),
                "mortality": int(died[place]),
                "mortality_inhospital": int(died[place]),
            }
        )
    return pd.DataFrame(rows)


def _phenotypes(patients: Physiology, visits: list[_Visit], seed: int) -> pd.DataFrame:
    """One column of 0 and 1 per phenotype: from the physiology where it has the mechanism, else from chance."""
    keys = sample_keys([visit.key for visit in visits])
    chance = uniform(seed, "medmod-phenotypes", 0, keys, len(MEDMOD_PHENOTYPES))
    columns = {name: luck < 0.12 for name, luck in zip(MEDMOD_PHENOTYPES, chance.T, strict=True)}
    is_diabetic = (patients.body_mass_index > 29.0) & (patients.age_years > 40.0)
    known = downstream_labels(patients)
    kidney = patients.kidney_function
    has_hypertension = patients.wall_thickness_mm > 11.0
    columns |= {
        "Acute and unspecified renal failure": kidney < 40,
        "Acute myocardial infarction": patients.ischemia > CLEARLY_DISEASED,
        "Cardiac dysrhythmias": patients.rhythm == ATRIAL_FIBRILLATION,
        "Chronic kidney disease": kidney < 60,
        "Chronic obstructive pulmonary disease and bronchiectasis": known["emphysema"],
        "Conduction disorders": (patients.conduction != NORMAL_CONDUCTION) | (patients.has_pacemaker == 1),
        "Congestive heart failure; nonhypertensive": known["heart_failure"],
        "Coronary atherosclerosis and other heart disease": patients.ischemia > 0.1,
        "Diabetes mellitus with complications": is_diabetic & (kidney < 60),
        "Diabetes mellitus without complication": is_diabetic & (kidney >= 60),
        "Disorders of lipid metabolism": (patients.body_mass_index > 30.0) | (patients.age_years > 75.0),
        "Essential hypertension": has_hypertension & (kidney >= 60),
        "Fluid and electrolyte disorders": (patients.potassium_mmol_l < 3.6) | (patients.potassium_mmol_l > 5.0),
        "Gastrointestinal hemorrhage": patients.iron_deficiency > CLEARLY_DISEASED,
        "Hypertension with complications and secondary hypertension": has_hypertension & (kidney < 60),
        "Other liver diseases": patients.liver_failure > CLEARLY_DISEASED,
        "Other lower respiratory disease": patients.hyperinflation > 0.2,
        "Pleurisy; pneumothorax; pulmonary collapse": known["pleural_effusion"],
        "Pneumonia (except that caused by tuberculosis or sexually transmitted disease)": known["pneumonia"],
        "Respiratory failure; insufficiency; arrest (adult)": patients.acuity > 0.6,
        "Septicemia (except in labor)": known["sepsis"],
        "Shock": (patients.infection > 0.6) | (patients.ischemia > 0.6),
    }
    return pd.DataFrame(columns)[list(MEDMOD_PHENOTYPES)].astype("int64")


def _save_extract(folder: Path, stays: pd.DataFrame, phenotypes: pd.DataFrame, seed: int) -> None:
    """MedMod's own tables. Its stays are shuffled; its labels follow the stay ids and do not name them."""
    by_id = stays["stay_id"].argsort()
    save_csv(phenotypes.iloc[by_id], folder / "phenotype_labels.csv")
    shuffled = order(seed, "medmod-table", 0, sample_keys(stays["stay_id"].astype(str).tolist()))
    save_csv(stays.iloc[shuffled], folder / "all_stays.csv")
    episodes = pd.DataFrame({"stay": "", "period_length": stays["los"] * 24, "stay_id": stays["stay_id"]})
    episodes["stay"] = [f"{subject}_episode1_timeseries.csv" for subject in stays["subject_id"]]
    listed = pd.concat([episodes, phenotypes], axis=1).iloc[shuffled]
    for place, split in enumerate(("train", "val", "test")):
        save_csv(listed.iloc[place::3], folder.parent / "phenotyping" / f"{split}_listfile.csv")


def _save_symile(folder: Path, numbers: list[int]) -> None:
    """As much of Symile-MIMIC as tells whose admissions it holds."""
    table = pd.DataFrame(
        {
            "subject_id": [subject_id(number) for number in numbers],
            "hadm_id": [admission_id(number) for number in numbers],
            "cxr_path": [MimicFilm(number=number).path for number in numbers],
        }
    )
    half = max(len(numbers) // 2, 1)
    save_csv(table.iloc[half:], folder / "train.csv")
    save_csv(table.iloc[:half], folder / "val.csv")
    write_json(folder / "labs_means.json", {f"{item}_percentile": 0.5 for item in LAB_ITEM_IDS})
