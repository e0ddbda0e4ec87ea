"""The twin of the Shenzhen and Montgomery tuberculosis sets, in the official trees.

As the originals, both are collections of cases and controls: about half of Shenzhen's films, and two in five of
Montgomery's, show tuberculosis. It is simulated as a clear focus in the upper half of a lung; the others have no focus
at all. Every patient has one film. Shenzhen's are grey stored as RGB, with clinical readings typed in many ways;
Montgomery's are grey, with three ``key: value`` lines. Montgomery has a quarter as many patients, and as its films are
no part of the paper's set, ``twin.json`` counts Shenzhen alone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pacx.core.findings import TUBERCULOSIS_LABELS
from pacx.core.randomness import generator
from pacx.simulation.cohort import patients_of
from pacx.simulation.film_files import counts_of, films_of, png_bytes
from pacx.simulation.patients.physiology import Physiology
from pacx.simulation.patients.population import CLEARLY_DISEASED
from pacx.simulation.recruitment import cast
from pacx.simulation.twin import Twin, TwinConfig

_UPPER_LUNG = 0.6


@dataclass(frozen=True, kw_only=True)
class _Hospital:
    folder: str
    prefix: str
    case_share: float
    mode: str  # of the PNG's pixels
    normal_line: str
    case_line: str  # collections that took films from one another in life name the same line


_SHENZHEN = _Hospital(
    folder="ChinaSet_AllFiles",
    prefix="CHNCXR",
    case_share=336 / 662,
    mode="RGB",
    normal_line="shenzhen-normal",
    case_line="tuberculosis",
)
_MONTGOMERY = _Hospital(
    folder="MontgomerySet",
    prefix="MCUCXR",
    case_share=58 / 138,
    mode="L",
    normal_line="montgomery-normal",
    case_line="montgomery-tuberculosis",
)


class NlmTbTwin(Twin):
    """Writes ChinaSet_AllFiles and MontgomerySet for simulated patients."""

    name = "nlm-tb"

    def write(self, root: Path, config: TwinConfig) -> Mapping[str, int]:
        """Fill a folder with both sets side by side; the counts are those of Shenzhen."""
        _write_hospital(root, _MONTGOMERY, max(1, config.num_patients // 4), config)
        is_case = _write_hospital(root, _SHENZHEN, config.num_patients, config)
        columns = {"patient": range(len(is_case)), "split": "", "view": "", TUBERCULOSIS_LABELS[0]: is_case.astype(int)}
        return counts_of(pd.DataFrame(columns), TUBERCULOSIS_LABELS)


TWIN = NlmTbTwin()


def _write_hospital(root: Path, hospital: _Hospital, num_patients: int, config: TwinConfig) -> NDArray[np.bool_]:
    """Write one set; says which of its patients are cases."""
    num_normal = round((1 - hospital.case_share) * num_patients)  # the numbers of the originals begin with them
    is_case = np.arange(num_patients) >= num_normal
    normal = cast(hospital.normal_line, num_normal, _has_no_focus, config)
    cases = cast(hospital.case_line, num_patients - num_normal, _has_tuberculosis, config)
    patient_ids = [*normal.ids, *cases.ids]
    patients = patients_of(patient_ids, config)
    films, readings = root / hospital.folder / "CXR_png", root / hospital.folder / "ClinicalReadings"
    films.mkdir(parents=True)
    readings.mkdir()
    rows = np.arange(num_patients)
    texts = _readings(hospital, patients, is_case, config)
    for film, text in zip(films_of(patients, patient_ids, rows, config, title=hospital.folder), texts, strict=True):
        name = f"{hospital.prefix}_{film.row + 1:04d}_{int(is_case[film.row])}"
        (films / f"{name}.png").write_bytes(png_bytes(film.image, mode=hospital.mode))
        (readings / f"{name}.txt").write_text(text, encoding="utf-8")
    return is_case


def _has_tuberculosis(people: Physiology) -> NDArray[np.bool_]:
    return (people.pneumonia > CLEARLY_DISEASED) & (people.pneumonia_height > _UPPER_LUNG)


def _has_no_focus(people: Physiology) -> NDArray[np.bool_]:
    return people.pneumonia == 0


def _readings(
    hospital: _Hospital, patients: Physiology, is_case: NDArray[np.bool_], config: TwinConfig
) -> Iterator[str]:
    for row in range(len(patients)):
        sex = "Female" if patients.is_female[row] == 1 else "Male"
        years = int(patients.age_years[row])
        side = "left" if patients.pneumonia_side[row] > 0 else "right"
        finding = f"{side} upper PTB" if is_case[row] else "normal"
        if hospital is _MONTGOMERY:
            yield f"Patient's Sex: {sex[0]}\nPatient's Age: {years:03d}Y\n{finding}\n"
            continue
        chance = generator(config.seed, "nlm-tb-reading", row)
        word = sex if chance.random() < 0.5 else sex.lower()
        between = (" ", ", ", ",", "  ")[chance.integers(4)]
        suffix = ("yrs", " yrs", "yr", "y")[chance.integers(4)]
        case = finding if chance.random() < 0.9 else finding.capitalize() + " "
        yield f"{word}{between}{years}{suffix}\n{case}\n"
