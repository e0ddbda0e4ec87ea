"""Rows as they were written before a contrast, a condition and a pooling had fields: words inside the encoder's name.

``"pacx-mean, standardized - mae-mean"`` becomes encoder, pooling, condition and contrast, and "3 Stage 2 seeds" in a
remark become ``num_trainings``. Nothing else reads such names. A reader of current rows never comes here.
"""

import re
from collections.abc import Mapping
from typing import Any, TypeGuard

_FIELDS = frozenset(
    ("protocol", "dataset", "encoder", "label", "metric", "value", "ci_low", "ci_high", "n", "seed", "fraction")
) | {"provenance"}
_CONDITION = re.compile(r"(.+?)(?:, (standardized|read without wires)| \((.+)\))$")
_CONDITIONED = ("study", "shortcut")
"""Protocols that put a condition behind an encoder's name; elsewhere a bracket is part of a name a user gave."""
_POOLED = ("study", "low-data")


def is_old(value: object) -> TypeGuard[Mapping[str, Any]]:
    """Whether this is a row of that format."""
    return isinstance(value, dict) and set(value) - {"subgroup"} == _FIELDS


def upgraded(value: Mapping[str, Any]) -> dict[str, Any]:
    """The same row with the fields of today, still as JSON values."""
    metric, protocol = value["metric"], value["protocol"]
    between = " / " if metric == "share_of_gain" else " - " if "_difference" in metric else None
    first, _, contrast = value["encoder"].partition(between) if between else (value["encoder"], "", "")
    trainings = re.search(r"(\d+) Stage 2 seed", value["provenance"])
    return {
        "subgroup": "",
        **value,
        **_parts(first, protocol),
        "contrast": _spelt(_parts(contrast, protocol)) if contrast else "",
        "num_trainings": int(trainings.group(1)) if trainings else 0,
        "device": "",
    }


def _parts(name: str, protocol: str) -> dict[str, str]:
    found = _CONDITION.fullmatch(name) if protocol in _CONDITIONED else None
    plain, condition = (found.group(1), found.group(2) or found.group(3)) if found else (name, "")
    is_mean = protocol in _POOLED and plain.endswith("-mean")
    return {
        "encoder": plain.removesuffix("-mean") if is_mean else plain,
        "pooling": "mean" if is_mean else "",
        "condition": condition,
    }


def _spelt(parts: Mapping[str, str]) -> str:
    """As ``results.Subject`` spells it; frozen here, as the format is."""
    pooling, condition = parts["pooling"], parts["condition"]
    return f"{parts['encoder']}{f'#{pooling}' * bool(pooling)}{f' ({condition})' * bool(condition)}"
