"""Six vital signs from the physiology that also shapes film, ECG and labs: what a nurse writes down on admission.

Infection heats and makes the heart race and the pressure fall, stiff and wet lungs quicken the breath and lower the
saturation, a thick wall tells of years of high pressure, a stiff aorta widens the pulse pressure. The values are a
second look at a body whose ECG is recorded elsewhere: the heart rate is near the ECG's, not equal to it.

Rounded as a monitor shows them; a sign nobody wrote down is NaN, less often the iller the patient.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import ndtri

from pacx.core.artifacts import staged_file
from pacx.core.errors import UsageError
from pacx.core.randomness import sample_keys, uniform
from pacx.simulation.patients.physiology import Physiology, Values

_WRITTEN_DOWN = (0.97, 0.95, 0.95, 0.93, 0.85, 0.9)
"""Share of patients of middling acuity whose sign is known, in the order of ``VitalSigns``."""


class VitalSigns(NamedTuple):
    """One column per sign, (N,) each; NaN = not written down."""

    heart_rate: Values  # /min, 30 to 220
    systolic_pressure: Values  # mm Hg, 60 to 230
    diastolic_pressure: Values  # mm Hg, 30 to 130
    oxygen_saturation: Values  # %, 60 to 100
    temperature: Values  # degree Celsius, 34 to 42
    respiratory_rate: Values  # /min, 6 to 50


def _measured(physiology: Physiology, chance: VitalSigns) -> VitalSigns:
    """What a monitor would show of everybody; ``chance`` holds standard normal numbers."""
    kidney_failure = np.clip(1.0 - physiology.kidney_function / 60.0, 0.0, 1.0)
    effusion = physiology.effusion_left + physiology.effusion_right
    mean_pressure = 92.0 + 3.2 * (physiology.wall_thickness_mm - 10.0) + 8.0 * kidney_failure
    mean_pressure = mean_pressure - 22.0 * physiology.infection - 9.0 * physiology.ventricle_dilation
    mean_pressure = mean_pressure - 8.0 * physiology.ischemia - 6.0 * physiology.liver_failure
    mean_pressure = mean_pressure + 8.0 * chance.systolic_pressure
    pulse = 48.0 + 0.3 * (physiology.age_years - 60.0) + 18.0 * physiology.aortic_widening
    pulse = np.clip(pulse - 12.0 * physiology.ventricle_dilation + 7.0 * chance.diastolic_pressure, 18.0, 110.0)
    shunt = 7.0 * physiology.pneumonia + 5.0 * physiology.congestion + 4.0 * physiology.hyperinflation
    breath = 15.0 + 9.0 * physiology.pneumonia + 7.0 * physiology.congestion + 5.0 * physiology.infection
    breath = breath + 3.0 * physiology.hyperinflation + 3.0 * kidney_failure
    return VitalSigns(
        heart_rate=np.clip(physiology.heart_rate_bpm + 5.0 * chance.heart_rate, 30.0, 220.0).round(),
        systolic_pressure=np.clip(mean_pressure + pulse * 2.0 / 3.0, 60.0, 230.0).round(),
        diastolic_pressure=np.clip(mean_pressure - pulse / 3.0, 30.0, 130.0).round(),
        oxygen_saturation=np.clip(97.6 - shunt - 1.5 * effusion + 1.1 * chance.oxygen_saturation, 60.0, 100.0).round(),
        temperature=np.clip(36.8 + 1.7 * physiology.infection + 0.35 * chance.temperature, 34.0, 42.0).round(1),
        respiratory_rate=np.clip(breath + 2.2 * chance.respiratory_rate, 6.0, 50.0).round(),
    )


def simulate_vitals(physiology: Physiology, patient_ids: Sequence[str], *, seed: int) -> VitalSigns:
    """Take the vital signs of each patient.

    Args:
        physiology: N patients.
        patient_ids: their N ids; a result depends on nothing but its patient, the id and the seed.
        seed: fixes everything the physiology leaves open.

    Returns:
        Six columns of N values; nobody is without a heart rate who has nothing else.

    Raises:
        UsageError: the ids do not match the patients.
    """
    if len(patient_ids) != len(physiology):
        raise UsageError(f"{len(patient_ids)} patient ids for {len(physiology)} patients; give one id per patient")
    keys, num_signs = sample_keys(patient_ids), len(VitalSigns._fields)
    chance = VitalSigns(*ndtri(uniform(seed, "vitals", 0, keys, num_signs) + 2.0**-54).T)
    shown = np.stack(_measured(physiology, chance), axis=1)  # (N, 6)
    known = np.asarray(_WRITTEN_DOWN) ** (1.5 - physiology.acuity[:, None])
    written = uniform(seed, "vitals-written", 0, keys, num_signs) < known
    written[~written.any(axis=1), 0] = True
    return VitalSigns(*np.where(written, shown, np.nan).T)


def write_vitals(path: Path, sample_ids: Sequence[str], signs: VitalSigns) -> None:
    """Write a csv with sample_id and one column per sign; blank = not written down."""
    table = pd.DataFrame({"sample_id": list(sample_ids), **signs._asdict()})
    with staged_file(path) as partial:
        table.to_csv(partial, index=False, float_format="%.6g", lineterminator="\n")
