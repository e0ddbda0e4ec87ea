#!/usr/bin/env bash
# ucumvert 0.3.2 takes the Calorie of food for a calorie, a thousandth of it, and other UCUM units for something else.
#
# [Cal] is the kilocalorie by UCUM's own table, which is part of the package; ucumvert gives 4.184 J. A second of arc
# (''), in which stereo vision is measured, becomes a second of time. The prism dioptre of eye medicine, 100 tan(angle),
# becomes the number 156 (100 times the tangent of one radian), and twice as much for two. mg%, an old unit of
# laboratories (mg per decilitre), becomes a hundredth of a milligram. A cubic foot becomes a hundredth of a foot. None
# of them is refused.
# Source: The Unified Code for Units of Measure (ucum.org), tables of units, as in ucum-essence.xml.
# Seen: the values below; right ones for neighbouring units (kcal, degree, mg/dL, square foot). This script fails when
# that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ucumvert==0.3.2 pint==0.25.3
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import math
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

import ucumvert

SECOND_OF_ARC = math.pi / 180 / 3600
registry = ucumvert.PintUcumRegistry()
table = ElementTree.parse(Path(ucumvert.__file__).parent / "vendor" / "ucum-essence.xml").getroot()
definitions = {
    unit.get("Code"): (value.get("value"), value.get("Unit"))
    for unit in table.iterfind("{*}unit")
    for value in unit.iterfind("{*}value")
}

assert definitions["[Cal]"] == ("1", "kcal_th")
assert definitions["''"] == ("1", "'/60") and definitions["'"] == ("1", "deg/60")
assert definitions["[p'diop]"] == (None, "100tan(1 rad)")
assert definitions["g%"] == ("1", "g/dl")
assert definitions["[cft_i]"] == ("1", "[ft_i]3")

for number, code, right, dimension, seen_size, seen_dimension in (
    (2000, "[Cal]", 2000 * 4184, "J", 2000 * 4.184, "J"),
    (40, "''", 40 * SECOND_OF_ARC, "rad", 40, "s"),
    (2, "[p'diop]", math.atan(0.02), "rad", 2 * 100 * math.tan(1), "rad"),
    (50, "mg%", 0.5, "kg/m**3", 50e-8, "kg"),
    (3, "[cft_i]", 3 * 0.3048**3, "m**3", 3 * 0.003048, "m"),
    (2000, "kcal", 2000 * 4184, "J", 2000 * 4184, "J"),
    (2, "deg", 2 * math.pi / 180, "rad", 2 * math.pi / 180, "rad"),
    (50, "mg/dL", 0.5, "kg/m**3", 0.5, "kg/m**3"),
    (3, "[sft_i]", 3 * 0.3048**2, "m**2", 3 * 0.3048**2, "m**2"),
):
    quantity = number * registry.from_ucum(code)
    print(f"ucumvert {version('ucumvert')}, {number} {code}: {quantity.to_base_units()}, where {right:.6g} {dimension} "
          f"is right")
    assert quantity.check(registry.parse_expression(seen_dimension).dimensionality), "the behaviour has changed"
    assert math.isclose(quantity.to(seen_dimension).magnitude, seen_size, rel_tol=1e-6), "the behaviour has changed"
PYTHON
