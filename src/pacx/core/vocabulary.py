"""The two orderings everything physiological relies on: ECG leads and the fifty laboratory tests.

Getting either wrong crashes nothing and ruins everything (swapped leads: 23 % feature error), so they stand once, here.
"""

from typing import NamedTuple

ECG_LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
"""The order every ECG tensor has inside this project; also ECGFounder's, PTB-XL's and the PhysioNet challenges'."""

MIMIC_ECG_LEADS = ("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6")
"""The order of MIMIC-IV-ECG files and of Symile-MIMIC tensors: aVF stands before aVL."""


class LabTest(NamedTuple):
    """One laboratory test: MIMIC-IV item id, name as spelled upstream, unit of the raw value.

    No living person has a value outside ``lowest`` to ``highest``, which are wide: what lies there stands for something
    else (-999, 9999999) or is in another unit.
    """

    item_id: int
    name: str
    unit: str
    lowest: float
    highest: float


LAB_TESTS = (
    LabTest(50802, "Base Excess", "mEq/L", -60, 60),
    LabTest(50804, "Calculated Total CO2", "mEq/L", 0, 150),
    LabTest(50813, "Lactate", "mmol/L", 0, 60),
    LabTest(50818, "pCO2", "mm Hg", 0, 300),
    LabTest(50820, "pH", "units", 0, 14),
    LabTest(50821, "pO2", "mm Hg", 0, 800),
    LabTest(50861, "Alanine Aminotransferase (ALT)", "IU/L", 0, 50000),
    LabTest(50862, "Albumin", "g/dL", 0, 15),
    LabTest(50863, "Alkaline Phosphatase", "IU/L", 0, 15000),
    LabTest(50868, "Anion Gap", "mEq/L", -40, 100),
    LabTest(50878, "Asparate Aminotransferase (AST)", "IU/L", 0, 100000),
    LabTest(50882, "Bicarbonate", "mEq/L", 0, 100),
    LabTest(50885, "Bilirubin, Total", "mg/dL", 0, 100),
    LabTest(50893, "Calcium, Total", "mg/dL", 0, 40),
    LabTest(50902, "Chloride", "mEq/L", 0, 250),
    LabTest(50910, "Creatine Kinase (CK)", "IU/L", 0, 2000000),
    LabTest(50912, "Creatinine", "mg/dL", 0, 100),
    LabTest(50931, "Glucose", "mg/dL", 0, 5000),
    LabTest(50934, "H", "index", -100, 10000),
    LabTest(50947, "I", "index", -100, 10000),
    LabTest(50960, "Magnesium", "mg/dL", 0, 50),
    LabTest(50970, "Phosphate", "mg/dL", 0, 60),
    LabTest(50971, "Potassium", "mEq/L", 0, 30),
    LabTest(50983, "Sodium", "mEq/L", 0, 300),
    LabTest(51006, "Urea Nitrogen", "mg/dL", 0, 500),
    LabTest(51133, "Absolute Lymphocyte Count", "K/uL", 0, 2000),
    LabTest(51146, "Basophils", "%", 0, 100),
    LabTest(51200, "Eosinophils", "%", 0, 100),
    LabTest(51221, "Hematocrit", "%", 0, 100),
    LabTest(51222, "Hemoglobin", "g/dL", 0, 40),
    LabTest(51237, "INR(PT)", "ratio", 0, 100),
    LabTest(51244, "Lymphocytes", "%", 0, 100),
    LabTest(51248, "MCH", "pg", 0, 100),
    LabTest(51249, "MCHC", "g/dL", 0, 100),
    LabTest(51250, "MCV", "fL", 0, 250),
    LabTest(51254, "Monocytes", "%", 0, 100),
    LabTest(51256, "Neutrophils", "%", 0, 100),
    LabTest(51265, "Platelet Count", "K/uL", 0, 10000),
    LabTest(51274, "PT", "s", 0, 500),
    LabTest(51275, "PTT", "s", 0, 500),
    LabTest(51277, "RDW", "%", 0, 100),
    LabTest(51279, "Red Blood Cells", "m/uL", 0, 20),
    LabTest(51301, "White Blood Cells", "K/uL", 0, 2000),
    LabTest(51678, "L", "index", -100, 10000),
    LabTest(52069, "Absolute Basophil Count", "K/uL", 0, 500),
    LabTest(52073, "Absolute Eosinophil Count", "K/uL", 0, 500),
    LabTest(52074, "Absolute Monocyte Count", "K/uL", 0, 500),
    LabTest(52075, "Absolute Neutrophil Count", "K/uL", 0, 2000),
    LabTest(52135, "Immature Granulocytes", "%", 0, 100),
    LabTest(52172, "RDW-SD", "fL", 0, 250),
)
"""The 50 tests of Symile-MIMIC in tensor order: ascending item id (H, L, I: haemolysis, lipaemia, icterus index)."""

NUM_LABS = len(LAB_TESTS)
LAB_ITEM_IDS = tuple(test.item_id for test in LAB_TESTS)


def quantity_title(name: str) -> str:
    """What people call a quantity: a laboratory test given by item id gets name and unit, others stay as they are."""
    titles = {str(test.item_id): f"{test.name}, {test.unit}" for test in LAB_TESTS}
    return titles.get(name, name)
