"""The twin of NIH ChestX-ray14, in the twelve folders of its archives.

Films of 1024 pixels become the size that is asked for; one in forty is stored as RGBA, as a few hundred of the
originals are. The table is that of 2017: bracketed header names with a comma inside, a comma at the end of every line,
and now and then an age nobody reaches. A patient has up to four films, numbered from 000; about a quarter of the
patients are on the test list. Findings are those the simulator's bodies can have: hernias, pneumothoraces, nodules,
masses and fibrosis never occur.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from pacx.core.findings import NIH14_LABELS
from pacx.core.randomness import generator
from pacx.simulation.cohort import patients_of
from pacx.simulation.film_files import counts_of, films_of, png_bytes
from pacx.simulation.patients.labels import film_findings
from pacx.simulation.twin import Twin, TwinConfig

_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
)
_NUM_FOLDERS = 12
_FILM_SHARES = (0.55, 0.2, 0.15, 0.1)  # of patients with one to four films
_TEST_SHARE = 0.25
_RGBA_EVERY = 40
_WRONG_AGE_EVERY = 60
_FINDINGS = {
    "Edema": "edema",
    "Effusion": "effusion",
    "Pleural_Thickening": "pleural_thickening",
    "Cardiomegaly": "cardiomegaly",
    "Consolidation": "consolidation",
    "Pneumonia": "pneumonia",
    "Infiltration": "infiltrate",
    "Emphysema": "emphysema",
    "Atelectasis": "atelectasis",
}


class Nih14Twin(Twin):
    """Writes ChestX-ray14 for simulated patients."""

    name = "nih14"

    def write(self, root: Path, config: TwinConfig) -> Mapping[str, int]:
        """Fill a folder as NIH's archives unpack into it."""
        numbers = np.arange(1, config.num_patients + 1)
        patients = patients_of([f"nih14-{number}" for number in numbers], config)
        chance = generator(config.seed, "nih14-patients").random((config.num_patients, 2))
        num_films = 1 + np.searchsorted(np.cumsum(_FILM_SHARES)[:-1], chance[:, 0])
        is_test = chance[:, 1] < _TEST_SHARE
        is_test[:2] = [False, True][: len(is_test)]  # both lists have a patient at least
        rows = np.repeat(np.arange(config.num_patients), num_films)
        follow_up = np.concatenate([np.arange(count) for count in num_films])
        names = [f"{numbers[row]:08d}_{count:03d}" for row, count in zip(rows, follow_up, strict=True)]
        truth = _truth(film_findings(patients).iloc[rows].reset_index(drop=True))
        folder_of = np.arange(len(names)) * _NUM_FOLDERS // len(names) + 1
        for folder in range(1, _NUM_FOLDERS + 1):
            (root / f"images_{folder:03d}" / "images").mkdir(parents=True)
        lines, views = [_HEADER], []
        film_ids = [f"nih14-{name}" for name in names]
        for film in films_of(patients, film_ids, rows, config, title="ChestX-ray14 films"):
            row = film.row
            mode = "RGBA" if row % _RGBA_EVERY == _RGBA_EVERY - 1 else "L"
            path = root / f"images_{folder_of[row]:03d}" / "images" / f"{names[row]}.png"
            path.write_bytes(png_bytes(film.image, mode=mode))
            age = 414 if row % _WRONG_AGE_EVERY == _WRONG_AGE_EVERY - 1 else int(patients.age_years[rows[row]])
            found = [name for name in NIH14_LABELS if truth[name].iloc[row]]
            view = "AP" if film.is_ap else "PA"
            sex = "F" if patients.is_female[rows[row]] else "M"
            words = "|".join(sorted(found)) or "No Finding"
            lines.append(
                f"{names[row]}.png,{words},{follow_up[row]},{numbers[rows[row]]},{age},{sex},{view},2500,2048,0.168,0.168,"
            )
            views.append(view)
        (root / "Data_Entry_2017.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        for file, chosen in (("train_val_list.txt", ~is_test[rows]), ("test_list.txt", is_test[rows])):
            listed = [f"{name}.png" for name, is_chosen in zip(names, chosen, strict=True) if is_chosen]
            (root / file).write_text("\n".join(listed), encoding="utf-8")
        counted = truth.assign(patient=rows, view=views, split=np.where(is_test[rows], "test", "train"))
        return counts_of(counted, NIH14_LABELS)


TWIN = Nih14Twin()


def _truth(findings: pd.DataFrame) -> pd.DataFrame:
    """1 or 0 for every label of every film."""
    columns = {label: findings[_FINDINGS[label]].astype(int) if label in _FINDINGS else 0 for label in NIH14_LABELS}
    return pd.DataFrame(columns, index=findings.index)
