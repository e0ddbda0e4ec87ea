"""How hospitals' exports call the fifty tests and their units: MIMIC, eICU, and a plain long table.

Item ids of MIMIC-III and MIMIC-IV agree for these tests (ten of the fifty exist in MIMIC-IV only). They are specific to
blood, so glucose in urine can not be mistaken. eICU goes by names; what it measures by another method (bedside glucose,
bicarbonate of a blood gas, base deficit) is another quantity and stays out.

Factors: molar masses as in Young 1987, "Implementation of SI units for clinical laboratory data".
"""

from pacx.modalities.panel.long_tables import Layout, Units
from pacx.models.panel.config import LAB_PANEL

_BY_ID = {key: key for key in LAB_PANEL.keys}
_BY_NAME = {quantity.name.casefold(): quantity.key for quantity in LAB_PANEL.quantities}

_EICU_NAMES = {
    "base excess": "50802", "total co2": "50804", "lactate": "50813", "paco2": "50818", "ph": "50820", "pao2": "50821",
    "alt (sgpt)": "50861", "albumin": "50862", "alkaline phos.": "50863", "anion gap": "50868", "ast (sgot)": "50878",
    "bicarbonate": "50882", "total bilirubin": "50885", "calcium": "50893", "chloride": "50902", "cpk": "50910",
    "creatinine": "50912", "glucose": "50931", "magnesium": "50960", "phosphate": "50970", "potassium": "50971",
    "sodium": "50983", "bun": "51006", "-basos": "51146", "-eos": "51200", "hct": "51221", "hgb": "51222",
    "pt - inr": "51237", "-lymphs": "51244", "mch": "51248", "mchc": "51249", "mcv": "51250", "-monos": "51254",
    "-polys": "51256", "platelets x 1000": "51265", "pt": "51274", "ptt": "51275", "rdw": "51277", "rbc": "51279",
    "wbc x 1000": "51301",
}  # fmt: skip

MIMIC_LABEVENTS = Layout(
    name="MIMIC labevents", owner="hadm_id", patient="subject_id", item="itemid", value="valuenum", unit="valueuom",
    time="charttime", hours_per_step=None, keys=_BY_ID,
)  # fmt: skip
EICU_LAB = Layout(
    name="eICU lab", owner="patientunitstayid", patient=None, item="labname", value="labresult",
    unit="labmeasurenamesystem", time="labresultoffset", hours_per_step=1 / 60, keys=_EICU_NAMES,
)  # fmt: skip
PLAIN_LONG = Layout(
    name="long table", owner=None, patient=None, item="item", value="value", unit="unit", time="time",
    hours_per_step=None, keys={**_BY_NAME, **_BY_ID},
)  # fmt: skip
LAB_LAYOUTS = (MIMIC_LABEVENTS, EICU_LAB, PLAIN_LONG)

_SAME_UNITS = {
    "iu/l": {"u/l": 1.0, "units/l": 1.0, "ukat/l": 60.0},
    "k/ul": {"10^3/ul": 1.0, "10^9/l": 1.0, "thousand/ul": 1.0, "/nl": 1.0, "/ul": 1e-3},
    "m/ul": {"10^6/ul": 1.0, "10^12/l": 1.0, "million/ul": 1.0},
    "s": {"sec": 1.0, "secs": 1.0, "seconds": 1.0},
    "units": {"unit": 1.0},
    "ratio": {"inr": 1.0},
    "mmhg": {"kpa": 7.50062},
    "g/dl": {"gm/dl": 1.0, "g/l": 0.1},
    "%": {"percent": 1.0},
    "fl": {"um^3": 1.0},
}
_BY_TEST = {
    **{key: {"mmol/l": 1.0} for key in ("50802", "50804", "50868", "50882", "50902", "50971", "50983")},
    "50813": {"mg/dl": 1 / 9.008, "meq/l": 1.0},  # lactate
    "50885": {"umol/l": 1 / 17.10},  # bilirubin
    "50893": {"mmol/l": 4.008, "meq/l": 2.004},  # calcium
    "50912": {"umol/l": 1 / 88.42},  # creatinine
    "50931": {"mmol/l": 18.016},  # glucose
    "50960": {"mmol/l": 2.4305, "meq/l": 1.21525},  # magnesium
    "50970": {"mmol/l": 3.097},  # phosphate, as phosphorus
    "51006": {"mmol/l": 2.801},  # urea, as urea nitrogen
    "51221": {"l/l": 100.0},  # haematocrit
    "51249": {"%": 1.0},  # MIMIC-III gives grams of haemoglobin per 100 mL of cells in per cent
}


def lab_units() -> Units:
    """Factors to the units of ``LAB_TESTS``, by item id and ``folded`` unit."""
    own = {quantity.key: quantity.unit.casefold().replace(" ", "") for quantity in LAB_PANEL.quantities}
    return {key: {**_SAME_UNITS.get(unit, {}), **_BY_TEST.get(key, {})} for key, unit in own.items()}
