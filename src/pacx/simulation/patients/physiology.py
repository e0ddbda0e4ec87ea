"""A patient as a vector of physiology: the words in which the simulated hospital speaks about bodies and pictures.

What is *state of the body* lives in ``Physiology`` and reaches film, ECG and labs alike; what belongs to the picture
only (exposure, rotation, wires ...) lives in ``Nuisance`` and reaches the film alone. ``Visibility`` says how strongly
the film shows each mechanism. ``population`` draws values for them; nothing here is random.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

SINUS, ATRIAL_FIBRILLATION, PACED = 0, 1, 2
NORMAL_CONDUCTION, LEFT_BUNDLE_BLOCK, RIGHT_BUNDLE_BLOCK = 0, 1, 2


@dataclass(frozen=True, kw_only=True)
class Physiology:
    """State of N patients: one array of shape (N,) per quantity. Severities run from 0 (none) to 1 (extreme)."""

    age_years: Values  # 18 to 95
    is_female: Values  # 0 or 1
    height_m: Values  # 1.45 to 2.00
    body_mass_index: Values  # 16 to 50 kg/m^2
    ventricle_dilation: Values  # left ventricle, 0 to 1: widens the heart to the left and downwards
    wall_thickness_mm: Values  # interventricular septum, 6 to 20; above 15 is severe hypertrophy
    right_heart_load: Values  # 0 to 1: pulmonary hypertension, right ventricle and pulmonary trunk enlarged
    aortic_widening: Values  # 0 to 1: unfolded, calcified aorta of age and hypertension
    congestion: Values  # 0 to 1: pulmonary venous congestion up to alveolar oedema
    effusion_right: Values  # 0 to 1: pleural fluid, 1 about two litres
    effusion_left: Values  # 0 to 1
    hyperinflation: Values  # 0 to 1: emphysema, flat diaphragm, narrow heart, dark lungs
    pneumonia: Values  # 0 to 1: severity of one focus
    pneumonia_side: Values  # -1 the patient's right lung, +1 the left
    pneumonia_height: Values  # 0 base to 1 apex of the lung
    infection: Values  # 0 to 1: systemic inflammatory response
    kidney_function: Values  # estimated glomerular filtration, 5 to 120 mL/min/1.73 m^2
    liver_failure: Values  # 0 to 1
    marrow_failure: Values  # 0 to 1: pancytopenia
    iron_deficiency: Values  # 0 to 1: microcytic anaemia
    ischemia: Values  # 0 to 1: acute myocardial injury
    potassium_mmol_l: Values  # 2.4 to 7.5, the true serum value
    rhythm: Values  # SINUS, ATRIAL_FIBRILLATION or PACED
    conduction: Values  # NORMAL_CONDUCTION, LEFT_BUNDLE_BLOCK or RIGHT_BUNDLE_BLOCK
    heart_rate_bpm: Values  # 35 to 180
    has_pacemaker: Values  # 0 or 1: generator and leads are on the film
    acuity: Values  # 0 to 1: how ill the patient is; decides which labs get ordered and AP against PA

    def __len__(self) -> int:
        return len(self.age_years)

    def take(self, rows: NDArray[np.int64]) -> "Physiology":
        """The patients at these rows, shape (M,), in that order; a row may occur more than once (two films)."""
        return Physiology(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


@dataclass(frozen=True, kw_only=True)
class Nuisance:
    """What a film shows that is not physiology: one array of shape (N,) per quantity."""

    is_ap: Values  # 0 = PA standing, 1 = AP bedside: larger heart shadow, shallower breath, scapulae in the lungs
    exposure: Values  # -1 to 1, under- to over-exposed
    rotation_deg: Values  # -12 to 12 about the body's long axis
    inspiration: Values  # 0 shallow to 1 deep
    tilt_deg: Values  # -4 to 4 in the plane of the film
    shift_x: Values  # -0.06 to 0.06 of the film's width
    shift_y: Values  # -0.06 to 0.06 of the film's height
    scale: Values  # 0.9 to 1.1
    noise: Values  # 0 to 1, quantum noise
    collimation: Values  # 0 to 1, width of the black border
    wires: Values  # 0 to 1: how many ECG leads and tubes lie on the chest


@dataclass(frozen=True, kw_only=True)
class Visibility:
    """How strongly the film shows each mechanism: 0 not at all, 1 as in life, more to exaggerate.

    At 0 the film of a patient is the same, byte for byte, as that of the same patient without the mechanism.
    """

    heart: float = 1.0  # ventricle_dilation, wall_thickness_mm, right_heart_load
    aorta: float = 1.0  # aortic_widening
    congestion: float = 1.0
    effusion: float = 1.0
    hyperinflation: float = 1.0
    pneumonia: float = 1.0
    pacemaker: float = 1.0
    body: float = 1.0  # body_mass_index, height, sex: soft tissue
    age: float = 1.0  # age as such: bone density, calcified aortic knob
