"""The twin of CheXchoNet 1.0.0.

One flat folder ``images`` of standing (PA) films and ``metadata.csv`` with its 18 columns, in which ``cxr_path`` names
a folder that is not there. A patient has one to six films, about three on average, months apart. The labels follow
the heart: severe hypertrophy from a wall of 15 mm, and a severely dilated ventricle; now and then a measurement is
0, which is how the original writes a missing one.

The original's local equalisation (CLAHE) is stood in for by a global one; its films of 224 pixels have the size that
is asked for.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageOps

from pacx.core.findings import CHEXCHONET_LABELS
from pacx.core.randomness import generator
from pacx.simulation.cohort import patients_of
from pacx.simulation.film_files import counts_of, films_of, jpeg_bytes
from pacx.simulation.patients.physiology import Physiology
from pacx.simulation.twin import Twin, TwinConfig

_COLUMNS = (
    "patient_id",
    "cxr_filename",
    "cxr_time_offset",
    "cxr_year",
    "cxr_path",
    "cxr_pixel_spacing_x",
    "cxr_pixel_spacing_y",
    "age",
    "sex",
    "ivsd",
    "lvpwd",
    "lvidd",
    "slvh",
    "dlv",
    "composite_slvh_dlv",
    "heart_transplant",
    "lung_transplant",
    "pacemaker_or_icd",
)
_FILM_SHARES = (0.25, 0.25, 0.2, 0.12, 0.1, 0.08)  # of patients with one to six films
_NO_BEDSIDE = 1e-9  # the share of bedside films: none
_ZERO_EVERY = 50
_SEVERE_WALL_MM = 15.0
_SEVERE_DILATION = 0.6


class ChexchonetTwin(Twin):
    """Writes CheXchoNet for simulated patients."""

    name = "chexchonet"

    def write(self, root: Path, config: TwinConfig) -> Mapping[str, int]:
        """Fill a folder as the release is unpacked."""
        config = replace(config, site=replace(config.site, ap_share=_NO_BEDSIDE))
        patient_ids = [f"chexchonet-{number}" for number in range(config.num_patients)]
        patients = patients_of(patient_ids, config)
        chance = generator(config.seed, "chexchonet-films")
        num_films = 1 + chance.choice(len(_FILM_SHARES), size=config.num_patients, p=_FILM_SHARES)
        rows = np.repeat(np.arange(config.num_patients), num_films)
        film_ids = [f"{patient_ids[row]}-{number}" for number, row in enumerate(rows)]
        table = _metadata(patients, rows, film_ids, config)
        (root / "images").mkdir()
        for film in films_of(patients, film_ids, rows, config, title="CheXchoNet films"):
            path = root / "images" / str(table["cxr_filename"].iloc[film.row])
            path.write_bytes(jpeg_bytes(_equalised(film.image), quality=100))
        table.to_csv(root / "metadata.csv", index=False, lineterminator="\n")
        counted = table.assign(patient=table["patient_id"], split="", view="PA")
        return counts_of(counted, CHEXCHONET_LABELS[:1])


TWIN = ChexchonetTwin()


def _hexadecimal(text: str, num_digits: int) -> str:
    return hashlib.blake2b(text.encode(), digest_size=num_digits // 2).hexdigest()


def _metadata(patients: Physiology, rows: NDArray[np.int64], film_ids: list[str], config: TwinConfig) -> pd.DataFrame:
    on_film = patients.take(rows)
    num_films = len(rows)
    chance = generator(config.seed, "chexchonet-metadata")
    owners = [_hexadecimal(f"{config.seed}/{film_id.rpartition('-')[0]}", 32) for film_id in film_ids]
    names = [
        f"{owner}_{_hexadecimal(f'{config.seed}/{film}', 8)}.jpg" for owner, film in zip(owners, film_ids, strict=True)
    ]
    is_thick = on_film.wall_thickness_mm > _SEVERE_WALL_MM
    is_dilated = on_film.ventricle_dilation > _SEVERE_DILATION
    septum_cm = np.round(on_film.wall_thickness_mm / 10, 2)
    septum_cm[_ZERO_EVERY - 1 :: _ZERO_EVERY] = 0.0
    days = chance.integers(-3000, 3000, num_films)
    table = pd.DataFrame(
        {
            "patient_id": owners,
            "cxr_filename": names,
            "cxr_time_offset": [f"{day} days" for day in days],
            "cxr_year": 2013 + chance.integers(0, 6, num_films),
            "cxr_path": [f"./cxrs/{name}" for name in names],
            "cxr_pixel_spacing_x": 0.143,
            "cxr_pixel_spacing_y": 0.143,
            "age": on_film.age_years.astype(int).clip(max=89),
            "sex": np.where(on_film.is_female == 1, "F", "M"),
            "ivsd": septum_cm,
            "lvpwd": np.round(on_film.wall_thickness_mm / 10.5, 2),
            "lvidd": np.round(4.2 + 0.3 * (on_film.height_m - 1.6) / 0.1 + 2.6 * on_film.ventricle_dilation, 2),
            "slvh": is_thick.astype(int),
            "dlv": is_dilated.astype(int),
            "composite_slvh_dlv": (is_thick | is_dilated).astype(int),
            "heart_transplant": 0,
            "lung_transplant": 0,
            "pacemaker_or_icd": on_film.has_pacemaker.astype(int),
        }
    )
    return table[list(_COLUMNS)]


def _equalised(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Equalise the film's histogram and stretch it over all greys."""
    return np.asarray(ImageOps.autocontrast(ImageOps.equalize(Image.fromarray(image))))
