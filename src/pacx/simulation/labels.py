"""What a downstream study would ask of a film: diagnoses as 0 or 1, straight from the physiology that caused it.

``PHYSIOLOGY_DENSE`` are states of heart, kidney and blood which a film shows in part, by the shape of the heart and
the vessels, or only through their causes and companions; ECG and labs know more. ``ANATOMICAL`` are findings that the
film itself shows. The thresholds stand in ``downstream_labels``, each with its clinical counterpart.
"""

import numpy as np
import pandas as pd

from pacx.simulation.labs import expected_haemoglobin_g_dl
from pacx.simulation.physiology import ATRIAL_FIBRILLATION, Physiology
from pacx.simulation.population import CLEARLY_DISEASED

PHYSIOLOGY_DENSE: tuple[str, ...] = (
    "severe_lvh_or_dilated_lv",
    "heart_failure",
    "kidney_failure",
    "anaemia",
    "atrial_fibrillation",
    "pulmonary_hypertension",
    "sepsis",
)
ANATOMICAL: tuple[str, ...] = ("pleural_effusion", "pneumonia", "emphysema", "pacemaker", "aortic_widening")


def downstream_labels(physiology: Physiology) -> pd.DataFrame:
    """Diagnose N patients: one row each, one column of 0 and 1 per name of ``PHYSIOLOGY_DENSE`` and ``ANATOMICAL``.

    - severe_lvh_or_dilated_lv: septum above 15 mm, or a ventricle dilated beyond 0.6 (the composite of CheXchoNet,
      Elias et al. 2023: wall at least 15 mm or a severely dilated ventricle);
    - heart_failure: pulmonary congestion together with a reason in the heart: dilated, or a wall above 13 mm (HFpEF);
    - kidney_failure: filtration below 45 mL/min/1.73 m^2 (KDIGO stage 3b and worse);
    - anaemia: haemoglobin the body's state leads to below 11 g/dL (WHO: moderate anaemia and worse);
    - atrial_fibrillation: the rhythm, unless paced over;
    - pulmonary_hypertension: right heart load beyond 0.35, the clearly diseased;
    - sepsis: systemic inflammatory response beyond 0.5;
    - pleural_effusion: beyond 0.35 (about 700 mL) on either side: a moderate effusion, seen on supine films too;
    - pneumonia, emphysema, aortic_widening: severity beyond 0.35, the clearly diseased;
    - pacemaker: a generator under the skin, pacing or not.
    """
    heart_is_sick = (physiology.ventricle_dilation > CLEARLY_DISEASED) | (physiology.wall_thickness_mm > 13.0)
    columns = {
        "severe_lvh_or_dilated_lv": (physiology.wall_thickness_mm > 15.0) | (physiology.ventricle_dilation > 0.6),
        "heart_failure": (physiology.congestion > CLEARLY_DISEASED) & heart_is_sick,
        "kidney_failure": physiology.kidney_function < 45.0,
        "anaemia": expected_haemoglobin_g_dl(physiology) < 11.0,
        "atrial_fibrillation": physiology.rhythm == ATRIAL_FIBRILLATION,
        "pulmonary_hypertension": physiology.right_heart_load > CLEARLY_DISEASED,
        "sepsis": physiology.infection > 0.5,
        "pleural_effusion": np.maximum(physiology.effusion_right, physiology.effusion_left) > CLEARLY_DISEASED,
        "pneumonia": physiology.pneumonia > CLEARLY_DISEASED,
        "emphysema": physiology.hyperinflation > CLEARLY_DISEASED,
        "pacemaker": physiology.has_pacemaker == 1,
        "aortic_widening": physiology.aortic_widening > CLEARLY_DISEASED,
    }
    return pd.DataFrame(columns)[[*PHYSIOLOGY_DENSE, *ANATOMICAL]].astype("int64")
