"""The two orderings everything physiological relies on: ECG leads and the fifty laboratory tests.

Getting either wrong crashes nothing and ruins everything (swapped leads: 23 % feature error), so they stand once, here.
"""

from typing import NamedTuple

ECG_LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
"""The order every ECG tensor has inside this project; also ECGFounder's, PTB-XL's and the PhysioNet challenges'."""

MIMIC_ECG_LEADS = ("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6")
"""The order of MIMIC-IV-ECG files and of Symile-MIMIC tensors: aVF stands before aVL."""


class LabTest(NamedTuple):
    """One laboratory test: MIMIC-IV item id, name as spelled upstream, unit of the raw value."""

    item_id: int
    name: str
    unit: str


LAB_TESTS = (
    LabTest(50802, "Base Excess", "mEq/L"),
    LabTest(50804, "Calculated Total CO2", "mEq/L"),
    LabTest(50813, "Lactate", "mmol/L"),
    LabTest(50818, "pCO2", "mm Hg"),
    LabTest(50820, "pH", "units"),
    LabTest(50821, "pO2", "mm Hg"),
    LabTest(50861, "Alanine Aminotransferase (ALT)", "IU/L"),
    LabTest(50862, "Albumin", "g/dL"),
    LabTest(50863, "Alkaline Phosphatase", "IU/L"),
    LabTest(50868, "Anion Gap", "mEq/L"),
    LabTest(50878, "Asparate Aminotransferase (AST)", "IU/L"),
    LabTest(50882, "Bicarbonate", "mEq/L"),
    LabTest(50885, "Bilirubin, Total", "mg/dL"),
    LabTest(50893, "Calcium, Total", "mg/dL"),
    LabTest(50902, "Chloride", "mEq/L"),
    LabTest(50910, "Creatine Kinase (CK)", "IU/L"),
    LabTest(50912, "Creatinine", "mg/dL"),
    LabTest(50931, "Glucose", "mg/dL"),
    LabTest(50934, "H", "index"),
    LabTest(50947, "I", "index"),
    LabTest(50960, "Magnesium", "mg/dL"),
    LabTest(50970, "Phosphate", "mg/dL"),
    LabTest(50971, "Potassium", "mEq/L"),
    LabTest(50983, "Sodium", "mEq/L"),
    LabTest(51006, "Urea Nitrogen", "mg/dL"),
    LabTest(51133, "Absolute Lymphocyte Count", "K/uL"),
    LabTest(51146, "Basophils", "%"),
    LabTest(51200, "Eosinophils", "%"),
    LabTest(51221, "Hematocrit", "%"),
    LabTest(51222, "Hemoglobin", "g/dL"),
    LabTest(51237, "INR(PT)", "ratio"),
    LabTest(51244, "Lymphocytes", "%"),
    LabTest(51248, "MCH", "pg"),
    LabTest(51249, "MCHC", "g/dL"),
    LabTest(51250, "MCV", "fL"),
    LabTest(51254, "Monocytes", "%"),
    LabTest(51256, "Neutrophils", "%"),
    LabTest(51265, "Platelet Count", "K/uL"),
    LabTest(51274, "PT", "s"),
    LabTest(51275, "PTT", "s"),
    LabTest(51277, "RDW", "%"),
    LabTest(51279, "Red Blood Cells", "m/uL"),
    LabTest(51301, "White Blood Cells", "K/uL"),
    LabTest(51678, "L", "index"),
    LabTest(52069, "Absolute Basophil Count", "K/uL"),
    LabTest(52073, "Absolute Eosinophil Count", "K/uL"),
    LabTest(52074, "Absolute Monocyte Count", "K/uL"),
    LabTest(52075, "Absolute Neutrophil Count", "K/uL"),
    LabTest(52135, "Immature Granulocytes", "%"),
    LabTest(52172, "RDW-SD", "fL"),
)
"""The 50 tests of Symile-MIMIC in tensor order: ascending item id (H, L, I: haemolysis, lipaemia, icterus index)."""

NUM_LABS = len(LAB_TESTS)
LAB_ITEM_IDS = tuple(test.item_id for test in LAB_TESTS)


def quantity_title(name: str) -> str:
    """What people call a quantity: a laboratory test given by item id gets name and unit, others stay as they are."""
    titles = {str(test.item_id): f"{test.name}, {test.unit}" for test in LAB_TESTS}
    return titles.get(name, name)
