"""Fifty laboratory values from the physiology that also shapes the film and the ECG, and which of them were ordered.

The values obey the arithmetic a laboratory obeys: anion gap from the electrolytes, pH from Henderson and Hasselbalch,
red cell indices from each other, differential counts from the white cells, creatinine from the filtration rate (MDRD
equation, Levey et al. 2006). Whether a test was ordered depends on how ill the patient is, panel by panel: a missing
blood gas says that nobody was worried, as in life.

Columns are ``core.vocabulary.LAB_TESTS``; units are theirs; values are rounded as a laboratory reports them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from pacx.core.errors import UsageError
from pacx.core.randomness import sample_keys, uniform
from pacx.core.vocabulary import LAB_ITEM_IDS, LAB_TESTS, NUM_LABS
from pacx.simulation.patients.physiology import ATRIAL_FIBRILLATION, Physiology, Values

Column = dict[int, Values]  # item id -> values of N patients


class _Chance(NamedTuple):
    """Independent standard normal numbers per patient; append only, or every laboratory value changes."""

    creatinine: Values
    urea: Values
    sodium: Values
    anions: Values
    bicarbonate: Values
    carbon_dioxide: Values
    oxygen: Values
    oxygen_therapy: Values
    potassium: Values
    lactate: Values
    glucose: Values
    magnesium: Values
    phosphate: Values
    calcium: Values
    albumin: Values
    bilirubin: Values
    hepatocytes: Values
    aspartate: Values
    phosphatase: Values
    clotting: Values
    warfarin: Values
    heparin: Values
    muscle: Values
    haemoglobin: Values
    cell_volume: Values
    cell_content: Values
    cell_spread: Values
    spread_sd: Values
    platelets: Values
    white_cells: Values
    neutrophils: Values
    lymphocytes: Values
    monocytes: Values
    eosinophils: Values
    basophils: Values
    immature: Values
    haemolysis: Values
    lipaemia: Values
    icterus: Values


def _kidney_failure(physiology: Physiology) -> Values:
    """0 at a filtration of 60 mL/min/1.73 m^2 and above, 1 at none."""
    return np.clip(1.0 - physiology.kidney_function / 60.0, 0.0, 1.0)


def expected_haemoglobin_g_dl(physiology: Physiology) -> Values:
    """The haemoglobin a patient's state leads to, in g/dL, before the chance that every single blood count adds."""
    loss = 4.2 * physiology.iron_deficiency + 5.2 * physiology.marrow_failure + 3.2 * _kidney_failure(physiology)
    loss = loss + 1.3 * physiology.infection + 0.9 * physiology.congestion + 0.01 * (physiology.age_years - 40.0)
    return np.clip(14.9 - 1.3 * physiology.is_female - loss, 5.0, 18.0)


def _acid_base(physiology: Physiology, chance: _Chance, albumin: Values) -> Column:
    """Electrolytes, blood gas and lactate: one system, solved in the order in which the body solves it."""
    shock = physiology.infection + 0.7 * physiology.ischemia + 0.8 * physiology.liver_failure
    lactate = 1.35 * np.exp(0.85 * shock + 0.32 * chance.lactate)
    acids = (lactate - 1.4) + 7.0 * _kidney_failure(physiology) - 2.0 * (3.8 - albumin)
    retention = physiology.hyperinflation  # of carbon dioxide; the kidney answers with bicarbonate
    bicarbonate = 24.2 - 0.75 * acids + 7.0 * retention + 2.0 * physiology.congestion + 2.0 * chance.bicarbonate
    bicarbonate = np.rint(np.clip(bicarbonate, 6.0, 45.0))
    sodium = 139.0 - 3.5 * physiology.congestion - 4.5 * physiology.liver_failure + 3.6 * chance.sodium
    sodium = np.rint(np.clip(sodium, 115.0, 160.0))
    gap = np.rint(np.clip(10.8 + acids + 1.8 * chance.anions, 3.0, 40.0))
    chloride = sodium - bicarbonate - gap
    arousal = 5.0 * physiology.pneumonia + 4.0 * physiology.infection  # fever and stiff lungs make one breathe more
    carbon_dioxide = 40.0 + 1.0 * (bicarbonate - 7.0 * retention - 24.5) + 24.0 * retention - arousal
    carbon_dioxide = np.rint(np.clip(carbon_dioxide + 3.5 * chance.carbon_dioxide, 14.0, 110.0))
    acidity = 6.1 + np.log10(bicarbonate / (0.0307 * carbon_dioxide))
    damage = 0.5 * physiology.pneumonia + 0.4 * physiology.congestion + 0.3 * physiology.hyperinflation
    damage = damage + 0.15 * (physiology.effusion_left + physiology.effusion_right)
    therapy = np.exp(0.9 * np.maximum(chance.oxygen_therapy, 0.0) * (0.5 + physiology.acuity))
    oxygen = np.clip(96.0 * np.exp(-0.7 * damage + 0.15 * chance.oxygen) * therapy, 25.0, 520.0)
    return {
        50802: np.rint(0.93 * (bicarbonate - 24.4 + 14.8 * (acidity - 7.4))) + 0.0,  # no minus zero
        50804: np.rint(bicarbonate + 0.0307 * carbon_dioxide),
        50813: lactate,
        50818: carbon_dioxide,
        50820: acidity,
        50821: oxygen,
        50868: gap,
        50882: bicarbonate,
        50902: chloride,
        50983: sodium,
    }


def _kidney_and_minerals(physiology: Physiology, chance: _Chance, albumin: Values) -> Column:
    """What the kidney clears and what diet, drugs and cells add."""
    failure = _kidney_failure(physiology)
    plasma = 175.0 * physiology.age_years**-0.203 * np.where(physiology.is_female == 1, 0.742, 1.0)
    creatinine = (plasma / physiology.kidney_function) ** (1.0 / 1.154) * np.exp(0.08 * chance.creatinine)
    urea = 15.0 * (physiology.kidney_function / 90.0) ** -0.75
    urea = urea * np.exp(0.35 * physiology.congestion - 0.3 * physiology.liver_failure + 0.22 * chance.urea)
    stress = 0.3 * physiology.acuity + 0.012 * (physiology.body_mass_index - 27.0)
    haemolysis = np.exp(1.7 + 0.8 * chance.haemolysis)  # index: red cells broken in the tube leak their potassium
    leak = 0.006 * np.maximum(haemolysis - 8.0, 0.0)
    return {
        50893: 9.2 - 0.75 * (3.8 - albumin) - 0.7 * failure + 0.35 * chance.calcium,
        50912: np.clip(creatinine, 0.2, 20.0),
        50931: np.clip(112.0 * np.exp(stress + 0.3 * chance.glucose), 35.0, 900.0),
        50934: haemolysis,
        50960: np.clip(1.95 + 0.5 * failure + 0.22 * chance.magnesium, 0.8, 5.0),
        50970: np.clip(3.3 + 2.8 * failure + 0.6 * chance.phosphate, 0.8, 12.0),
        50971: np.clip(physiology.potassium_mmol_l + leak + 0.08 * chance.potassium, 2.0, 9.0),
        51006: np.clip(urea, 3.0, 200.0),
    }


def _liver_heart_and_clotting(physiology: Physiology, chance: _Chance, albumin: Values) -> Column:
    """Enzymes of dying cells, and what a liver makes and removes; half of those who fibrillate take warfarin."""
    liver = physiology.liver_failure
    bilirubin = 0.55 * np.exp(3.2 * liver + 0.4 * physiology.right_heart_load + 0.4 * chance.bilirubin)
    alanine = 22.0 * np.exp(2.4 * liver + 0.5 * physiology.congestion + 0.5 * chance.hepatocytes)
    aspartate = alanine**0.8 * np.exp(0.75 + 0.4 * liver + 1.1 * physiology.ischemia + 0.25 * chance.aspartate)
    takes_warfarin = (physiology.rhythm == ATRIAL_FIBRILLATION) & (chance.warfarin > 0)
    ratio = 1.1 * np.exp(0.95 * liver + 0.1 * physiology.infection + 0.07 * chance.clotting)
    ratio = np.clip(ratio * np.where(takes_warfarin, 2.1, 1.0), 0.8, 12.0).round(1)
    takes_heparin = chance.heparin > 1.6 - physiology.ischemia
    partial = 29.0 * (ratio / 1.1) ** 0.4 * np.exp(0.1 * chance.clotting) * np.where(takes_heparin, 1.9, 1.0)
    male = 1.0 - physiology.is_female
    return {
        50861: alanine,
        50862: albumin,
        50863: 78.0 * np.exp(0.8 * liver + 0.3 * physiology.right_heart_load + 0.33 * chance.phosphatase),
        50878: aspartate,
        50885: np.clip(bilirubin, 0.1, 50.0),
        50910: 75.0 * np.exp(2.8 * physiology.ischemia + 0.35 * male + 0.65 * chance.muscle),
        50947: np.maximum(bilirubin * np.exp(0.15 * chance.icterus), 0.0),
        51237: ratio,
        51274: 11.3 * ratio,
        51275: np.clip(partial, 18.0, 150.0),
        51678: np.exp(2.1 + 0.03 * (physiology.body_mass_index - 27.0) + 0.5 * chance.lipaemia),
    }


def _red_cells(physiology: Physiology, chance: _Chance) -> Column:
    """Haemoglobin, and the indices that follow from it by definition."""
    iron, marrow, liver = physiology.iron_deficiency, physiology.marrow_failure, physiology.liver_failure
    haemoglobin = np.clip(expected_haemoglobin_g_dl(physiology) + 0.8 * chance.haemoglobin, 4.0, 19.0).round(1)
    volume_fl = np.clip(90.0 - 18.0 * iron + 7.0 * marrow + 7.0 * liver + 3.5 * chance.cell_volume, 58.0, 125.0)
    content = np.clip(33.2 - 2.2 * iron + 0.8 * chance.cell_content, 27.0, 37.5)  # MCHC
    haematocrit = 100.0 * haemoglobin / content
    cells = 10.0 * haematocrit / volume_fl
    spread = 13.4 * np.exp(0.28 * iron + 0.17 * marrow + 0.1 * liver + 0.08 * _kidney_failure(physiology))
    spread = np.clip(spread * np.exp(0.055 * chance.cell_spread), 11.0, 32.0)
    return {
        51221: haematocrit,
        51222: haemoglobin,
        51248: 10.0 * haemoglobin / cells,
        51249: content,
        51250: volume_fl,
        51277: spread,
        51279: cells,
        52172: 0.0362 * spread * volume_fl * np.exp(0.02 * chance.spread_sd),
    }


def _white_cells(physiology: Physiology, chance: _Chance) -> Column:
    """White cells, their differential in percent (it adds up to 100) and the counts that follow; platelets."""
    marrow, infection = physiology.marrow_failure, physiology.infection
    white = 7.8 * np.exp(0.85 * infection + 0.15 * physiology.ischemia + 0.27 * chance.white_cells)
    white = np.clip(white * (1.0 - 0.75 * marrow), 0.3, 80.0).round(1)
    shares = np.stack(
        [  # neutrophils, lymphocytes, monocytes, eosinophils, basophils, immature granulocytes
            68.0 * np.exp(0.7 * infection - 0.8 * marrow + 0.1 * chance.neutrophils),
            20.0 * np.exp(-0.7 * infection - 0.3 * physiology.acuity + 0.4 * chance.lymphocytes),
            7.0 * np.exp(0.3 * chance.monocytes),
            1.6 * np.exp(-1.2 * infection + 0.8 * chance.eosinophils),
            0.4 * np.exp(0.5 * chance.basophils),
            0.45 * np.exp(1.4 * infection + 0.5 * chance.immature),
        ],
        axis=1,
    )
    shares = np.round(100.0 * shares / shares.sum(axis=1, keepdims=True), 1)  # (N, 6)
    shares[:, 0] = np.round(100.0 - shares[:, 1:].sum(axis=1), 1)
    counts = white[:, None] * shares / 100.0
    platelets = 235.0 * np.exp(0.2 * infection + 0.25 * physiology.iron_deficiency + 0.27 * chance.platelets)
    platelets = platelets * (1.0 - 0.75 * marrow) * (1.0 - 0.5 * physiology.liver_failure)
    percents = dict(zip((51256, 51244, 51254, 51200, 51146, 52135), shares.T, strict=True))
    absolutes = dict(zip((52075, 51133, 52074, 52073, 52069), counts.T[:5], strict=True))
    return {**percents, **absolutes, 51265: np.clip(platelets, 5.0, 1200.0), 51301: white}


_DECIMALS = {50813: 1, 50820: 2, 50862: 1, 50885: 1, 50893: 1, 50912: 1, 50960: 1, 50970: 1, 50971: 1} | {
    51133: 2, 51146: 1, 51200: 1, 51221: 1, 51222: 1, 51237: 1, 51244: 1, 51248: 1, 51249: 1, 51254: 1, 51256: 1,
    51274: 1, 51275: 1, 51277: 1, 51279: 2, 51301: 1, 52069: 2, 52073: 2, 52074: 2, 52075: 2, 52135: 1, 52172: 1,
}  # fmt: skip


class _Panel(NamedTuple):
    """Tests that are ordered together: ordered when ``often + worry * (acuity - 0.5)`` beats a normal number."""

    tests: tuple[int, ...]
    often: float
    worry: float


_PANELS = (
    _Panel((50868, 50882, 50902, 50912, 50931, 50971, 50983, 51006), 2.3, 0.6),  # chemistry
    _Panel((51221, 51222, 51248, 51249, 51250, 51265, 51277, 51279, 51301), 2.2, 0.6),  # blood count
    _Panel((50893, 50960, 50970), 1.3, 1.2),  # minerals
    _Panel((51237, 51274, 51275), 0.85, 1.2),  # clotting
    _Panel((51146, 51200, 51244, 51254, 51256), 0.5, 0.8),  # differential
    _Panel((51133, 52069, 52073, 52074, 52075), 0.0, 0.6),  # its counts
    _Panel((52135,), -0.1, 0.6),
    _Panel((52172,), 0.2, 0.0),
    _Panel((50861, 50863, 50878, 50885), 0.35, 1.4),  # liver
    _Panel((50862,), 0.05, 1.5),
    _Panel((50910,), -0.35, 1.6),
    _Panel((50813,), 0.2, 2.6),
    _Panel((50802, 50804, 50818, 50820, 50821), -0.1, 2.6),  # blood gas
    _Panel((50934, 50947, 51678), 0.2, 0.0),  # serum indices, a habit of the analyser
)
_LOST_FRACTION = 0.01  # of single tests: clotted, spilt
_ALWAYS = 51221  # haematocrit: nobody is admitted without


def _ordered(acuity: Values, keys: NDArray[np.uint64], seed: int) -> NDArray[np.bool_]:
    """Which of the 50 tests each patient has, (N, 50); never none."""
    ordered = np.zeros((len(keys), NUM_LABS), dtype=bool)
    chance = uniform(seed, "labs-orders", 0, keys, len(_PANELS))
    column = {item: index for index, item in enumerate(LAB_ITEM_IDS)}
    for panel, draw in zip(_PANELS, chance.T, strict=True):
        is_ordered = draw < ndtr(panel.often + panel.worry * (acuity - 0.5))
        ordered[:, [column[item] for item in panel.tests]] = is_ordered[:, None]
    ordered &= uniform(seed, "labs-lost", 0, keys, NUM_LABS) >= _LOST_FRACTION
    ordered[~ordered.any(axis=1), column[_ALWAYS]] = True
    return ordered


def simulate_labs(physiology: Physiology, patient_ids: Sequence[str], *, seed: int) -> NDArray[np.float64]:
    """Take blood from each patient.

    Args:
        physiology: N patients.
        patient_ids: their N ids; a result depends on nothing but its patient, the id and the seed.
        seed: fixes everything the physiology leaves open.

    Returns:
        Values (N, 50) in the order and units of ``LAB_TESTS``; NaN where the test was not ordered; never a row of NaN.

    Raises:
        UsageError: the ids do not match the patients.
    """
    if len(patient_ids) != len(physiology):
        raise UsageError(f"{len(patient_ids)} patient ids for {len(physiology)} patients; give one id per patient")
    keys = sample_keys(patient_ids)
    chance = _Chance(*ndtri(uniform(seed, "labs", 0, keys, len(_Chance._fields)) + 2.0**-54).T)
    albumin = 4.05 - 1.3 * physiology.liver_failure - 0.9 * physiology.infection - 0.5 * physiology.congestion
    albumin = np.clip(albumin - 0.006 * (physiology.age_years - 60.0) + 0.35 * chance.albumin, 1.0, 5.3).round(1)
    columns = {
        **_acid_base(physiology, chance, albumin),
        **_kidney_and_minerals(physiology, chance, albumin),
        **_liver_heart_and_clotting(physiology, chance, albumin),
        **_red_cells(physiology, chance),
        **_white_cells(physiology, chance),
    }
    reported = [np.round(columns[test.item_id], _DECIMALS.get(test.item_id, 0)) for test in LAB_TESTS]
    return np.where(_ordered(physiology.acuity, keys, seed), np.stack(reported, axis=1), np.nan)
