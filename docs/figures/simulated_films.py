"""Draw the contact sheet of simulated chest films: one mechanism at a time, then one mechanism at four visibilities.

Run: python docs/figures/simulated_films.py --out docs/images/simulated_films.png
"""

import argparse
from dataclasses import fields
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from pacx.core.artifacts import staged_file
from pacx.simulation.film.thorax import Scanner, render_films
from pacx.simulation.patients.physiology import Nuisance, Physiology, Visibility

FILM_PX, LABEL_PX, COLUMNS = 256, 20, 4
SEED = 11

HEALTHY = {
    "age_years": 40.0,
    "height_m": 1.74,
    "body_mass_index": 24.0,
    "wall_thickness_mm": 9.0,
    "pneumonia_side": -1.0,
    "pneumonia_height": 0.35,
    "kidney_function": 100.0,
    "potassium_mmol_l": 4.2,
    "heart_rate_bpm": 70.0,
}
STANDING = {"inspiration": 0.6, "scale": 1.0, "noise": 0.15}
WOMAN = {"is_female": 1.0, "height_m": 1.63}

SHEET: tuple[tuple[str, dict[str, float]], ...] = (
    ("healthy man, PA", {}),
    ("healthy man, AP at the bedside", {"is_ap": 1.0, "inspiration": 0.35}),
    ("healthy woman", WOMAN),
    ("obese woman", WOMAN | {"body_mass_index": 38.0}),
    ("dilated left ventricle", {"ventricle_dilation": 0.85}),
    ("loaded right heart", {"right_heart_load": 0.9}),
    ("unfolded, calcified aorta", {"aortic_widening": 0.9, "age_years": 82.0}),
    ("pacemaker", {"has_pacemaker": 1.0, "age_years": 70.0}),
    ("congestion", {"congestion": 0.6, "ventricle_dilation": 0.4}),
    ("alveolar oedema", {"congestion": 1.0, "ventricle_dilation": 0.5, "effusion_left": 0.12, "effusion_right": 0.15}),
    ("pleural effusion", {"effusion_right": 0.45, "effusion_left": 0.1}),
    ("pneumonia", {"pneumonia": 0.8}),
    ("emphysema", {"hyperinflation": 0.9, "age_years": 66.0}),
    ("rotated and tilted", {"rotation_deg": 9.0, "tilt_deg": 3.0, "scale": 0.94}),
    ("wires and tubes", {"is_ap": 1.0, "inspiration": 0.3, "wires": 0.9}),
    ("under-exposed, collimated", WOMAN | {"exposure": -0.8, "collimation": 1.0, "noise": 0.6, "scale": 0.92}),
)
VISIBILITIES = (0.0, 0.5, 1.0, 2.0)
SHOWN = {"congestion": 0.5}


def films(cases: list[dict[str, float]], ids: list[str], visibility: Visibility) -> list[Image.Image]:
    """Render hand-set patients; whatever a case does not name is healthy, standing and still."""

    def column(name: str, normal: dict[str, float]) -> np.ndarray:
        return np.array([(normal | case).get(name, 0.0) for case in cases])

    rendered = render_films(
        Physiology(**{f.name: column(f.name, HEALTHY) for f in fields(Physiology)}),
        Nuisance(**{f.name: column(f.name, STANDING) for f in fields(Nuisance)}),
        film_ids=ids,
        seed=SEED,
        image_size_px=FILM_PX,
        visibility=visibility,
        scanner=Scanner(),
    )
    return [Image.fromarray(image) for image in rendered.images]


def draw() -> Image.Image:
    """The labelled sheet: sixteen films, then the row of visibilities."""
    pictures = films([case for _, case in SHEET], [f"sheet-{i}" for i in range(len(SHEET))], Visibility())
    labels = [label for label, _ in SHEET]
    for visibility in VISIBILITIES:
        pictures += films([SHOWN], ["row"], Visibility(congestion=visibility))
        labels.append(f"congestion, visibility {visibility:g}")
    rows = -(-len(pictures) // COLUMNS)
    sheet = Image.new("L", (COLUMNS * FILM_PX, rows * (FILM_PX + LABEL_PX)), 255)
    pen = ImageDraw.Draw(sheet)
    for index, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        x, y = index % COLUMNS * FILM_PX, index // COLUMNS * (FILM_PX + LABEL_PX)
        pen.text((x + 6, y + 4), label, fill=0)
        sheet.paste(picture, (x, y + LABEL_PX))
    return sheet


def main() -> None:
    """Parse the one option, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="PNG to write")
    out = parser.parse_args().out
    with staged_file(out) as partial:
        draw().save(partial, format="PNG", optimize=True)


if __name__ == "__main__":
    main()
