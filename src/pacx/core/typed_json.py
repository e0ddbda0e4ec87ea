"""Dataclasses to JSON values and back, strictly: what is missing, unknown or of another type is refused.

Objects become dataclasses, lists tuples, text paths and enums, and the other way round; a field named
``format_version`` has to hold the value that this version writes. A field whose metadata is ``ADDED_LATER`` may be
missing in a file of an earlier release, and is its default then.
"""

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from itertools import repeat
from pathlib import Path
from types import NoneType
from typing import Any, ClassVar, Self, get_args, get_origin, get_type_hints

from pacx.core.errors import DataError, PacxError

ADDED_LATER = {"added_later": True}
"""Metadata of a field that files of an earlier release of the same format lack."""


def plain(value: Any, *, nan_is_null: bool = False) -> Any:  # noqa: ANN401 - any value
    """JSON values: dataclasses become objects, enums their value, tuples lists, paths text.

    Args:
        value: made of dataclasses, mappings, lists, tuples, enums, paths, numbers, text and None.
        nan_is_null: write null for floats that are NaN or infinite, which JSON does not have.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name), nan_is_null=nan_is_null) for each in fields(value)}
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, Mapping):
        return {str(key): plain(item, nan_is_null=nan_is_null) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, nan_is_null=nan_is_null) for item in value]
    if nan_is_null and isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


class TypedJson:
    """What a dataclass derives from to be written and read.

    Class arguments:
        what: the thing in words, for errors.
        error: the error that a reader gets.
        nan_is_null: whether null stands for NaN where a field is a float; infinities are written as null too.
    """

    _what: ClassVar[str]
    _error: ClassVar[type[PacxError]]
    _nan_is_null: ClassVar[bool]

    def __init_subclass__(
        cls, *, what: str = "", error: type[PacxError] = DataError, nan_is_null: bool = False
    ) -> None:
        cls._what, cls._error, cls._nan_is_null = what or cls.__name__, error, nan_is_null

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; ``from_json`` reads them back."""
        return plain(self, nan_is_null=self._nan_is_null)

    @classmethod
    def from_json(cls, values: Any) -> Self:  # noqa: ANN401 - whatever a file holds
        """Read what ``to_json`` wrote.

        Raises:
            PacxError: of the class's kind; a field is missing, unknown, or of another type or version.
        """
        try:
            return _object(cls, values, nan_is_null=cls._nan_is_null)
        except _MisfitError as misfit:
            raise cls._error(f"the {cls._what} {misfit}; it was written by another version") from None


class _MisfitError(Exception):
    """What does not fit, to stand behind the name of the thing."""


def _object(kind: type[Any], values: Any, *, nan_is_null: bool) -> Any:  # noqa: ANN401 - any dataclass
    known = get_type_hints(kind)
    hints = {each.name: known[each.name] for each in fields(kind)}
    later = {each.name for each in fields(kind) if each.metadata == ADDED_LATER}
    if not isinstance(values, dict) or set(values) - set(hints) or set(hints) - set(values) - later:
        found = sorted(values) if isinstance(values, dict) else type(values).__name__
        raise _MisfitError(f"has fields {found}, expected {sorted(hints)}")
    version = kind.__dataclass_fields__.get("format_version")
    if version is not None and values["format_version"] != version.default:
        raise _MisfitError(f"has format version {values['format_version']}, expected {version.default}")
    read = {}
    for name, hint in ((name, hint) for name, hint in hints.items() if name in values):
        try:
            read[name] = _value(hint, values[name], nan_is_null=nan_is_null)
        except (TypeError, ValueError):
            raise _MisfitError(f"has {values[name]!r} as {name}, expected {hint}") from None
    return kind(**read)


def _value(hint: Any, value: Any, *, nan_is_null: bool) -> Any:  # noqa: ANN401 - any JSON value
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if isinstance(hint, type) and issubclass(hint, TypedJson):
        return hint.from_json(value)
    if isinstance(hint, type) and is_dataclass(hint):
        return _object(hint, value, nan_is_null=nan_is_null)
    if NoneType in inner:  # X | None
        (hint,) = (each for each in inner if each is not NoneType)
        return None if value is None else _value(hint, value, nan_is_null=nan_is_null)
    if origin is tuple and isinstance(value, list):
        kinds = repeat(inner[0], len(value)) if inner[-1] is Ellipsis else inner
        return tuple(_value(each, item, nan_is_null=nan_is_null) for each, item in zip(kinds, value, strict=True))
    if isinstance(value, dict) and origin is not None and issubclass(origin, Mapping):
        return {key: _value(inner[1], item, nan_is_null=nan_is_null) for key, item in value.items()}
    if isinstance(hint, type) and issubclass(hint, Enum | Path):
        return hint(value)
    if hint is float and nan_is_null and value is None:
        return math.nan
    if type(value) is hint or (hint is float and type(value) is int):
        return value
    raise TypeError
