"""The twin of CheXpert-v1.0-small.

Simulated patients in the tree and the tables of the small distribution. A patient has one to three studies; a study has
a frontal film and, in one of six, a side view, and all its films carry the labels of its one report. The labeller's
habits are kept: what a report does not mention is blank, some mentions are uncertain (-1.0), a normal film is marked
"No Finding" and nothing else. The validation patients, numbered from 64541, have consensus labels without gaps.
``train_visualCheXbert.csv`` has the same rows, no gaps, and "No Finding" last.

A side view is the frontal film mirrored and squeezed: the simulator projects from the front only. Lung lesions,
pneumothoraces, fractures and other pleural findings never occur, because no simulated body has them.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from pacx.core.findings import CHEXPERT_LABELS
from pacx.core.randomness import generator
from pacx.simulation.cohort import patients_of
from pacx.simulation.film_files import RenderedFilm, as_lateral, counts_of, films_of, jpeg_bytes
from pacx.simulation.patients.labels import film_findings
from pacx.simulation.patients.physiology import Physiology
from pacx.simulation.twin import Twin, TwinConfig

_DISTRIBUTION = "CheXpert-v1.0-small"
_FIRST_VALIDATION_NUMBER = 64_541
_LATERAL_SHARE = 0.17
_STUDY_SHARES = (0.6, 0.25, 0.15)  # of patients with one, two, three studies
_FINDINGS = {
    "Cardiomegaly": "cardiomegaly",
    "Lung Opacity": "opacity",
    "Edema": "edema",
    "Consolidation": "consolidation",
    "Pneumonia": "pneumonia",
    "Atelectasis": "atelectasis",
    "Pleural Effusion": "effusion",
    "Support Devices": "pacemaker",
}
_POSITIVE_UNCERTAIN = 0.12
_NEGATIVE_UNCERTAIN = 0.03
_NEGATIVE_MENTIONED = 0.3


class ChexpertTwin(Twin):
    """Writes CheXpert-v1.0-small for simulated patients."""

    name = "chexpert"

    def write(self, root: Path, config: TwinConfig) -> Mapping[str, int]:
        """Fill a folder as the small distribution is unpacked; one patient in eight is for validation."""
        num_valid = max(1, config.num_patients // 8)
        numbers = [*range(1, max(1, config.num_patients - num_valid) + 1)]
        numbers += range(_FIRST_VALIDATION_NUMBER, _FIRST_VALIDATION_NUMBER + num_valid)
        patients = patients_of([f"chexpert-{number}" for number in numbers], config)
        films = _planned(numbers, config)
        truth = _truth(patients)
        reported = _reported(films, truth, config)
        views = []
        rows = films["row"].to_numpy(np.int64)
        for film in films_of(patients, films["film_id"].tolist(), rows, config, title="CheXpert films"):
            planned = films.iloc[film.row]
            path = root / str(planned["path"])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(jpeg_bytes(_as_taken(film, is_lateral=bool(planned["is_lateral"]))))
            views.append("" if planned["is_lateral"] else ("AP" if film.is_ap else "PA"))
        table = _table(films, patients, views)
        is_training = (films["place"] == "train").to_numpy()
        labelled = pd.concat([table, reported], axis=1)
        labelled[is_training].to_csv(root / "train.csv", index=False, lineterminator="\n")
        labelled[~is_training].to_csv(root / "valid.csv", index=False, lineterminator="\n")
        last = [*CHEXPERT_LABELS[1:], CHEXPERT_LABELS[0]]
        complete = truth.iloc[rows].reset_index(drop=True)[last].map("{:.1f}".format)
        pd.concat([table, complete], axis=1)[is_training].to_csv(
            root / "train_visualCheXbert.csv", index=False, lineterminator="\n"
        )
        counted = reported.replace({"1.0": 1, "0.0": 0, "-1.0": -1}).assign(
            patient=films["patient"],
            split=films["place"].replace({"valid": "val"}),
            view=[view or "LATERAL" for view in views],
        )
        return counts_of(counted, CHEXPERT_LABELS)


TWIN = ChexpertTwin()


def _planned(numbers: list[int], config: TwinConfig) -> pd.DataFrame:
    """Which films there are: one row each, with the patient's row, place in the tree and study."""
    films = []
    for row, number in enumerate(numbers):
        chance = generator(config.seed, "chexpert-studies", number)
        place = "train" if number < _FIRST_VALIDATION_NUMBER else "valid"
        num_studies = 1 + chance.choice(len(_STUDY_SHARES), p=_STUDY_SHARES) if place == "train" else 1
        patient = f"patient{number:05d}"
        for study in range(1, num_studies + 1):
            views = ["frontal", "lateral"] if chance.random() < _LATERAL_SHARE else ["frontal"]
            for view_number, view in enumerate(views, start=1):
                films.append(
                    {
                        "row": row,
                        "patient": patient,
                        "place": place,
                        "study": study,
                        "is_lateral": view == "lateral",
                        "path": f"{place}/{patient}/study{study}/view{view_number}_{view}.jpg",
                        "film_id": f"chexpert-{number}-{study}-{view_number}",
                    }
                )
    return pd.DataFrame(films)


def _truth(patients: Physiology) -> pd.DataFrame:
    """What each patient has: 1 or 0 for every label."""
    findings = film_findings(patients)
    truth = pd.DataFrame(dict.fromkeys(CHEXPERT_LABELS, False), index=findings.index)
    for label, finding in _FINDINGS.items():
        truth[label] = findings[finding]
    truth["Enlarged Cardiomediastinum"] = findings["cardiomegaly"] | findings["aortic_enlargement"]
    sick = truth.drop(columns=["No Finding", "Support Devices"]).any(axis=1)
    truth["No Finding"] = ~sick
    return truth.astype("float64")


def _reported(films: pd.DataFrame, truth: pd.DataFrame, config: TwinConfig) -> pd.DataFrame:
    """What the labeller made of each film's report, as text: "1.0", "0.0", "-1.0" or ""."""
    rows = []
    for row, place, patient, study in zip(films["row"], films["place"], films["patient"], films["study"], strict=True):
        has = truth.iloc[int(row)]
        if place == "valid":
            rows.append({label: f"{has[label]:.1f}" for label in CHEXPERT_LABELS})
            continue
        chance = generator(config.seed, "chexpert-report", str(patient), int(study))
        words = {label: _mention(bool(has[label]), chance.random()) for label in CHEXPERT_LABELS}
        words["No Finding"] = "1.0" if has["No Finding"] else ""
        rows.append(words)
    return pd.DataFrame(rows, columns=list(CHEXPERT_LABELS))


def _mention(is_present: bool, chance: float) -> str:
    if is_present:
        return "-1.0" if chance < _POSITIVE_UNCERTAIN else "1.0"
    if chance < _NEGATIVE_UNCERTAIN:
        return "-1.0"
    return "0.0" if chance < _NEGATIVE_MENTIONED else ""


def _as_taken(film: RenderedFilm, *, is_lateral: bool) -> np.ndarray:
    """Side views are squeezed; frontal films are wider than high, as most of the originals."""
    if is_lateral:
        return as_lateral(film.image)
    side = film.image.shape[0]
    return film.image[round(0.06 * side) : side - round(0.1 * side)]


def _table(films: pd.DataFrame, patients: Physiology, views: list[str]) -> pd.DataFrame:
    rows = films["row"].to_numpy(np.int64)
    on_film = patients.take(rows)
    columns = {
        "Path": [f"{_DISTRIBUTION}/{path}" for path in films["path"]],
        "Sex": np.where(on_film.is_female == 1, "Female", "Male"),
        "Age": on_film.age_years.astype(int).clip(max=90),
        "Frontal/Lateral": np.where(films["is_lateral"], "Lateral", "Frontal"),
        "AP/PA": views,
    }
    return pd.DataFrame(columns)
