"""Draw the picture of the README: a film, the physiology of the same patient, and what the encoder gains from it.

The film, the ECG and the laboratory values are those of one simulated patient; the gains are rows of the study.

Run: python docs/figures/pictures.py --out docs/images/pacx.png
"""

import argparse
from dataclasses import fields
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from pacx.core.artifacts import staged_file
from pacx.core.vocabulary import ECG_LEADS, LAB_TESTS
from pacx.evaluation.results import ResultRow, read_rows
from pacx.reporting.style import GREY, INK, drawing, encoder_colour, png_bytes
from pacx.simulation.film.thorax import Scanner, render_films
from pacx.simulation.patients.physiology import Nuisance, Physiology, Visibility
from pacx.simulation.signals.ecg import simulate_ecg
from pacx.simulation.signals.labs import simulate_labs

ROWS = Path(__file__).parents[1] / "results" / "simulated-hospital.json"
DATASET, FRACTION = "simulated hospital, physiology-dense", 0.01
SEED, FILM_PX, RATE_HZ = 3, 512, 500
PATIENT = "readme"
STATE = {
    "age_years": 74.0,
    "height_m": 1.72,
    "body_mass_index": 27.0,
    "ventricle_dilation": 0.75,
    "wall_thickness_mm": 11.0,
    "congestion": 0.55,
    "effusion_right": 0.2,
    "pneumonia_side": -1.0,
    "pneumonia_height": 0.35,
    "kidney_function": 28.0,
    "potassium_mmol_l": 5.6,
    "heart_rate_bpm": 88.0,
    "conduction": 1.0,
    "acuity": 0.9,
}
TAKEN = {"inspiration": 0.6, "scale": 1.0, "noise": 0.15}
LEADS = ("II", "V1", "V5")
TESTS = {"Creatinine": "creatinine", "Potassium": "potassium", "Lactate": "lactate", "Hemoglobin": "haemoglobin"}
GAINS = (
    ("pacx - mae", "their own ECG and labs"),
    ("shuffled-within-acuity - mae", "control: those of an equally ill patient"),
    ("random-targets - mae", "control: random vectors"),
)


def patient() -> Physiology:
    """One patient with a dilated heart, congestion and failing kidneys."""
    return Physiology(**{f.name: np.array([STATE.get(f.name, 0.0)]) for f in fields(Physiology)})


def film(physiology: Physiology) -> np.ndarray:
    """The patient's film, grey uint8 (S, S)."""
    taken = Nuisance(**{f.name: np.array([TAKEN.get(f.name, 0.0)]) for f in fields(Nuisance)})
    return render_films(
        physiology,
        taken,
        film_ids=[PATIENT],
        seed=SEED,
        image_size_px=FILM_PX,
        visibility=Visibility(),
        scanner=Scanner(),
    ).images[0]


def draw_ecg(axes: Axes, physiology: Physiology) -> None:
    """Three seconds of three leads, one below the other."""
    signal = simulate_ecg(physiology, [PATIENT], seed=SEED)[0]  # (12, 5000) in mV
    for row, lead in enumerate(LEADS):
        trace = signal[ECG_LEADS.index(lead), : 3 * RATE_HZ]
        axes.plot(np.arange(len(trace)) / RATE_HZ, trace - np.median(trace) - 3.2 * row, color=INK, linewidth=0.8)
        axes.text(-0.08, -3.2 * row, lead, ha="right", va="center", fontsize=8, color=GREY)
    axes.axis("off")


def draw_labs(axes: Axes, physiology: Physiology) -> None:
    """Four laboratory values with their units."""
    values = simulate_labs(physiology, [PATIENT], seed=SEED)[0]  # (50,) in the order of LAB_TESTS
    axes.axis("off")
    for row, (name, called) in enumerate(TESTS.items()):
        place = next(index for index, test in enumerate(LAB_TESTS) if test.name == name)
        y = 0.9 - 0.26 * row
        axes.text(0.0, y, called, transform=axes.transAxes, va="center", fontsize=9)
        number = f"{values[place]:g} {LAB_TESTS[place].unit}"
        axes.text(1.0, y, number, transform=axes.transAxes, va="center", ha="right", fontsize=9)


def draw_gains(axes: Axes, rows: list[ResultRow]) -> None:
    """What the encoder gains over the masked autoencoder when it is taught this, that, or noise."""
    for place, (name, called) in enumerate(GAINS):
        (row,) = [
            each
            for each in rows
            if (each.dataset, each.name, each.label, each.metric, each.fraction)
            == (DATASET, name, "macro", "auroc_difference", FRACTION)
        ]
        colour = encoder_colour("pacx") if place == 0 else GREY
        ends = [[100 * (row.value - row.ci_low)], [100 * (row.ci_high - row.value)]]
        axes.errorbar([100 * row.value], [place], xerr=ends, fmt="o", color=colour, markersize=6, linewidth=2)
        axes.text(0.3, place - 0.28, called, fontsize=8.5, color=colour if place == 0 else INK)
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.set_ylim(len(GAINS) - 0.6, -0.75)
    axes.set_xlim(-0.6, 16)
    axes.set_xticks([0, 5, 10, 15])
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("points of AUROC over the MAE\n(1 % of the labels, simulated patients)")


def draw(figure: Figure) -> None:
    """Film, physiology and gain from left to right."""
    figure.set_layout_engine("none")
    physiology = patient()
    left = figure.add_axes((0.005, 0.08, 0.27, 0.76))
    left.imshow(film(physiology), cmap="gray", vmin=0, vmax=255)
    left.axis("off")
    draw_ecg(figure.add_axes((0.345, 0.42, 0.24, 0.44)), physiology)
    draw_labs(figure.add_axes((0.345, 0.06, 0.24, 0.36)), physiology)
    draw_gains(figure.add_axes((0.675, 0.25, 0.31, 0.6)), read_rows(ROWS))
    for x, title in ((0.14, "a film: all the encoder sees"), (0.465, "the same patient, in training only")):
        figure.text(x, 0.93, title, ha="center", fontsize=10)
    figure.text(0.83, 0.93, "what it gained when taught ...", ha="center", fontsize=10)
    figure.text(0.298, 0.45, "+", ha="center", fontsize=20, color=GREY)
    figure.add_artist(FancyArrowPatch((0.61, 0.48), (0.648, 0.48), arrowstyle="-|>", mutation_scale=16, color=GREY))


def main() -> None:
    """Parse the one option, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="PNG to write")
    out = parser.parse_args().out
    with drawing(9.6, 3.5) as figure:
        draw(figure)
        picture = png_bytes(figure)
    with staged_file(out) as partial:
        partial.write_bytes(picture)


if __name__ == "__main__":
    main()
