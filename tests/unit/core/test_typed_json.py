"""Dataclasses and JSON: there and back, and what is refused."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from pacx.core.errors import DataError, ModelError
from pacx.core.typed_json import ADDED_LATER, TypedJson, plain


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True, kw_only=True)
class Part:
    size: int
    place: Path


@dataclass(frozen=True, kw_only=True)
class Contract(TypedJson, what="contract of a part", error=ModelError):
    name: str


@dataclass(frozen=True, kw_only=True)
class Thing(TypedJson, what="thing"):
    number: float = 0.5
    maybe: float | None = None
    is_so: bool = True
    colour: Colour = Colour.RED
    pair: tuple[int, str] = (1, "a")
    parts: tuple[Part, ...] = (Part(size=1, place=Path("a/b")),)
    by_name: Mapping[str, Part] = field(default_factory=dict)
    contract: Contract = Contract(name="c")
    anything: Mapping[str, Any] = field(default_factory=dict)
    format_version: int = 3


@dataclass(frozen=True, kw_only=True)
class Measured(TypedJson, nan_is_null=True):
    totals: dict[str, float]
    best: float | None = None


def travelled(thing: TypedJson) -> Any:
    return type(thing).from_json(json.loads(json.dumps(thing.to_json(), allow_nan=False)))


def test_it_comes_back_as_it_was() -> None:
    thing = Thing(maybe=2.0, by_name={"x": Part(size=2, place=Path("/c"))}, anything={"a": [1, {"b": None}]})
    assert travelled(thing) == thing
    assert travelled(Thing()) == Thing()
    assert thing.to_json()["colour"] == "red"
    assert thing.to_json()["parts"] == [{"size": 1, "place": "a/b"}]
    assert list(thing.to_json()) == list(Thing.__dataclass_fields__), "the order of the file is that of the class"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ({"extra": 1}, "has fields"),
        ({"number": "0.5"}, "has '0.5' as number"),
        ({"number": None}, "has None as number"),
        ({"number": True}, "has True as number"),
        ({"is_so": 1}, "has 1 as is_so"),
        ({"colour": "blue"}, "has 'blue' as colour"),
        ({"pair": [1]}, r"has \[1\] as pair"),
        ({"pair": [1, "a", 2]}, "as pair"),
        ({"parts": {}}, "as parts"),
        ({"parts": [{"size": 1}]}, r"has fields \['size'\], expected \['place', 'size'\]"),
        ({"by_name": []}, "as by_name"),
        ({"format_version": 2}, "has format version 2, expected 3"),
    ],
)
def test_what_does_not_fit_is_refused(damage: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=rf"^the thing .*{said}.*; it was written by another version$"):
        Thing.from_json({**Thing().to_json(), **damage})


def test_a_part_with_an_error_of_its_own_keeps_it() -> None:
    with pytest.raises(ModelError, match=r"^the contract of a part has fields"):
        Thing.from_json({**Thing().to_json(), "contract": {}})


@pytest.mark.parametrize("values", [None, [], "text", 3])
def test_no_object_is_no_thing(values: Any) -> None:
    with pytest.raises(DataError, match="has fields"):
        Thing.from_json(values)


def test_a_whole_number_may_stand_for_a_float_and_stays_one() -> None:
    read = Thing.from_json({**Thing().to_json(), "number": 1})
    assert json.dumps(read.to_json()["number"]) == "1"


def test_nan_is_null_where_a_class_says_so() -> None:
    written = Measured(totals={"a": math.nan, "b": math.inf, "c": 1.0}).to_json()
    assert written == {"totals": {"a": None, "b": None, "c": 1.0}, "best": None}
    read = Measured.from_json(written)
    assert math.isnan(read.totals["a"])
    assert read.best is None
    assert math.isnan(replace(Thing(), number=math.nan).to_json()["number"]), "write_json refuses it"


def test_any_value_becomes_plain() -> None:
    assert plain({1: (Colour.RED, Path("a")), "b": [Part(size=1, place=Path())]}) == {
        "1": ["red", "a"],
        "b": [{"size": 1, "place": "."}],
    }


@dataclass(frozen=True, kw_only=True)
class Grown(TypedJson, what="grown"):
    old: int
    new: int | None = field(default=None, metadata=ADDED_LATER)


def test_only_a_field_that_was_added_later_may_be_missing() -> None:
    assert Grown.from_json({"old": 1}) == Grown(old=1)
    assert Grown.from_json({"old": 1, "new": 2}) == Grown(old=1, new=2)
    for values in ({"new": 2}, {"old": 1, "newer": 2}):
        with pytest.raises(DataError, match="has fields"):
            Grown.from_json(values)
