"""What laboratory codes mean in the panel, and by which factors their units are converted.

Vocabularies are matched by code and never by name, since a name does not say blood: a LOINC code, a concept of the
OMOP vocabulary or an item id of MIMIC does. A hospital's own codes come from a table that the user gives.

Sources: LOINC (codes of blood, serum or plasma), the OMOP standard concepts of these codes, Young 1987 for the factors.
"""

from collections.abc import Mapping
from pathlib import Path

from pacx.core.errors import DataError
from pacx.core.vocabulary import LAB_ITEM_IDS
from pacx.data.text_tables import open_text_table
from pacx.linking.raw_tables import Lookup
from pacx.modalities.panel.lab_exports import EICU_LAB, PLAIN_LONG, lab_units
from pacx.modalities.panel.long_tables import folded
from pacx.models.panel.config import LAB_PANEL

ITEMS = tuple(map(str, LAB_ITEM_IDS))
BY_NAME: Mapping[str, str] = {**EICU_LAB.keys, **PLAIN_LONG.keys}
"""Item by its id, name or eICU name in lower case."""

BY_LOINC: Mapping[str, str] = {
    "11555-0": "50802", "1925-7": "50802", "1959-6": "50804", "32693-4": "50813", "2524-7": "50813",
    "2518-9": "50813", "11557-6": "50818", "2019-8": "50818", "11558-4": "50820", "2744-1": "50820",
    "11556-8": "50821", "2703-7": "50821", "1742-6": "50861", "1751-7": "50862", "6768-6": "50863", "1863-0": "50868",
    "33037-3": "50868", "1920-8": "50878", "1963-8": "50882", "1975-2": "50885", "17861-6": "50893", "2000-8": "50893",
    "2075-0": "50902", "2157-6": "50910", "2160-0": "50912", "14682-9": "50912", "2345-7": "50931", "14749-6": "50931",
    "19123-9": "50960", "2601-3": "50960", "2777-1": "50970", "14879-1": "50970", "2823-3": "50971", "2951-2": "50983",
    "3094-0": "51006", "731-0": "51133", "26474-7": "51133", "706-2": "51146", "30180-4": "51146", "713-8": "51200",
    "26450-7": "51200", "4544-3": "51221", "20570-8": "51221", "718-7": "51222", "6301-6": "51237", "34714-6": "51237",
    "736-9": "51244", "26478-8": "51244", "785-6": "51248", "28539-5": "51248", "786-4": "51249", "28540-3": "51249",
    "787-2": "51250", "30428-7": "51250", "5905-5": "51254", "26485-3": "51254", "770-8": "51256", "26511-6": "51256",
    "777-3": "51265", "26515-7": "51265", "5902-2": "51274", "14979-9": "51275", "3173-2": "51275", "788-0": "51277",
    "30385-9": "51277", "789-8": "51279", "26453-1": "51279", "6690-2": "51301", "26464-8": "51301", "704-7": "52069",
    "26444-0": "52069", "711-2": "52073", "26449-9": "52073", "742-7": "52074", "26484-6": "52074", "751-8": "52075",
    "26499-4": "52075", "71695-1": "52135", "21000-5": "52172", "30384-2": "52172",
}  # fmt: skip
"""Codes of blood, serum and plasma; where one counts amount and another mass, the unit says which."""

BY_CONCEPT: Mapping[str, str] = {
    "3012501": "50802", "3047181": "50813", "3027946": "50818", "3013290": "50818", "3019977": "50820",
    "3010421": "50820", "3027801": "50821", "3006923": "50861", "3024561": "50862", "3035995": "50863",
    "3037278": "50868", "3013721": "50878", "3016293": "50882", "3024128": "50885", "3006906": "50893",
    "3014576": "50902", "3007220": "50910", "3016723": "50912", "3004501": "50931", "3001420": "50960",
    "3011904": "50970", "3023103": "50971", "3019550": "50983", "3013682": "51006", "3004327": "51133",
    "3013869": "51146", "3010457": "51200", "3023314": "51221", "3000963": "51222", "3022217": "51237",
    "3037511": "51244", "3012030": "51248", "3009744": "51249", "3023599": "51250", "3011948": "51254",
    "3008342": "51256", "3024929": "51265", "3034426": "51274", "3018677": "51275", "3019897": "51277",
    "3020416": "51279", "3000905": "51301", "3013429": "52069", "3028615": "52073", "3033575": "52074",
    "3013650": "52075",
}  # fmt: skip
"""The standard concepts that hospitals use most; a CDM that brings its table ``concept`` is read by LOINC as well."""

UNIT_BY_CONCEPT: Mapping[str, str] = {
    "8840": "mg/dL", "8753": "mmol/L", "9557": "mEq/L", "8713": "g/dL", "8636": "g/L", "8645": "U/L", "8923": "IU/L",
    "8554": "%", "8749": "umol/L", "8848": "10^3/uL", "9444": "10^9/L", "8815": "10^6/uL", "8647": "/uL", "8583": "fL",
    "8564": "pg", "8555": "s", "8876": "mmHg", "8523": "ratio", "8482": "units",
}  # fmt: skip
"""Units by concept of the OMOP vocabulary."""


def own_items(table: Path | None) -> dict[str, str]:
    """A user's own codes: a csv whose first column is a code, and whose column ``item`` an id or name of the panel.

    Raises:
        DataError: there is no such column, or an item is none of the panel's.
    """
    if table is None:
        return {}
    read = open_text_table(table)
    code = next((name for name in read.names if name.casefold() != "item"), "")
    item = next((name for name in read.names if name.casefold() == "item"), "")
    if not code or not item:
        raise DataError(f"{table} has columns {', '.join(read.names)}; expected two, a code and its item")
    rows = read.all([code, item])
    return items_of(dict(zip(rows[code], rows[item], strict=True)), str(table))


def items_of(named: Mapping[str, str], place: str) -> dict[str, str]:
    """Codes to item ids, given by id or by name.

    Raises:
        DataError: an item is none of the panel's.
    """
    unknown = [name for name in named.values() if name.casefold() not in BY_NAME]
    if unknown:
        raise DataError(
            f"{place} names '{unknown[0]}', which is no test of the panel; give an item id or name of docs/formats.md"
        )
    return {code: BY_NAME[name.casefold()] for code, name in named.items()}


def factors(item: str, unit: str) -> Lookup:
    """By what a number is multiplied to be in the panel's unit; a blank unit is taken for the right one.

    Args:
        item: SQL of the item id.
        unit: SQL of the unit as the hospital writes it.
    """
    own = {quantity.key: quantity.unit for quantity in LAB_PANEL.quantities}
    known = {
        f"{key} {written}": factor
        for key, units in lab_units().items()
        for written, factor in {**units, folded(own[key]): 1.0, "": 1.0}.items()
    }
    return Lookup.of("factor", f"{item} || ' ' || {folded_sql(unit)}", known)


def folded_sql(unit: str) -> str:
    """``folded`` as SQL."""
    text = f"replace(lower(trim({unit})), ' ', '')"
    for old, new in (("µ", "u"), ("μ", "u"), ("mc", "u"), ("*", "^")):
        text = f"replace({text}, '{old}', '{new}')"
    return f"regexp_replace({text}, '^x', '')"
