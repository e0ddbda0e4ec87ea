"""What a downstream study would ask of a film: diagnoses as 0 or 1, straight from the physiology that caused it.

``film_findings`` is what a radiologist would write of the film, in the words that the official datasets' labels are
translated from. ``downstream_labels`` is what the whole patient has.

``PHYSIOLOGY_DENSE`` are states of heart, kidney and blood which a film shows in part, by the shape of the heart and
the vessels, or only through their causes and companions; ECG and labs know more. ``ANATOMICAL`` are findings that the
film itself shows. The thresholds stand in ``downstream_labels``, each with its clinical counterpart.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from pacx.simulation.patients.physiology import ATRIAL_FIBRILLATION, Physiology
from pacx.simulation.patients.population import CLEARLY_DISEASED
from pacx.simulation.signals.labs import expected_haemoglobin_g_dl

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
DENSE_GROUP = "physiology-dense"
LABEL_GROUPS: Mapping[str, tuple[str, ...]] = {DENSE_GROUP: PHYSIOLOGY_DENSE, "anatomical": ANATOMICAL}
"""Labels that are probed together, by the name under which results have them."""


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


def film_findings(physiology: Physiology) -> pd.DataFrame:
    """Read N films as a radiologist would: one row each, one boolean column per finding.

    Nobody is simulated who has a fracture, a nodule, a pneumothorax, fibrosis or a hernia: there is no such column, and
    a dataset's twin never marks those labels present.

    - cardiomegaly: ventricle clearly dilated, or a wall above 15 mm;
    - aortic_enlargement, pulmonary_artery (enlarged), emphysema, pneumonia, effusion: the clearly diseased;
    - copd: emphysema beyond 0.6; consolidation: pneumonia beyond 0.6; edema: congestion beyond 0.5;
    - infiltrate: pneumonia beyond 0.2, or interstitial congestion;
    - pleural_thickening: a blunted angle, which is how fluid of 0.15 up to a clear effusion is often read;
    - atelectasis: lung compressed by fluid beyond 0.5 on either side;
    - mediastinal_shift: fluid of both sides differs by more than 0.5;
    - opacity: pneumonia, edema or consolidation; pacemaker: a generator on the film;
    - normal: none of these.
    """
    fluid = np.maximum(physiology.effusion_right, physiology.effusion_left)
    columns = {
        "cardiomegaly": (physiology.ventricle_dilation > CLEARLY_DISEASED) | (physiology.wall_thickness_mm > 15.0),
        "aortic_enlargement": physiology.aortic_widening > CLEARLY_DISEASED,
        "pulmonary_artery": physiology.right_heart_load > CLEARLY_DISEASED,
        "emphysema": physiology.hyperinflation > CLEARLY_DISEASED,
        "copd": physiology.hyperinflation > 0.6,
        "pneumonia": physiology.pneumonia > CLEARLY_DISEASED,
        "consolidation": physiology.pneumonia > 0.6,
        "infiltrate": (physiology.pneumonia > 0.2) | (physiology.congestion > CLEARLY_DISEASED),
        "edema": physiology.congestion > 0.5,
        "effusion": fluid > CLEARLY_DISEASED,
        "pleural_thickening": (fluid > 0.15) & (fluid <= CLEARLY_DISEASED),
        "atelectasis": fluid > 0.5,
        "mediastinal_shift": np.abs(physiology.effusion_right - physiology.effusion_left) > 0.5,
        "opacity": (physiology.pneumonia > CLEARLY_DISEASED) | (physiology.congestion > 0.5),
        "pacemaker": physiology.has_pacemaker == 1,
    }
    findings = pd.DataFrame(columns)
    findings["normal"] = ~findings.any(axis=1)
    return findings
