"""Which fields of a call something read while the call ran: what nobody reads was parsed and dropped.

Every settings object that the command line makes is watched from ``tyro.cli`` on. Not counted are reads that only hand
a field on or check its range: those of ``dataclasses`` (``replace``, ``asdict``), of equality, hashes and texts, of the
JSON that records a run, and of ``__post_init__``.
"""

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import tyro

from pacx.cli.main import main

_HAND_ON = {"__post_init__", "__repr__", "__eq__", "__hash__", "__getstate__", "__reduce_ex__", "plain", "to_json"}
_HAND_ON_FILES = ("dataclasses.py", "copy.py", "pickle.py", "<string>")
_TYRO = f"{Path(tyro.__file__).parent}"


def _hands_on(code: Any) -> bool:
    names = set(code.co_qualname.split("."))
    return bool(names & _HAND_ON) or code.co_filename.endswith(_HAND_ON_FILES) or code.co_filename.startswith(_TYRO)


class OptionReads:
    """Watches the settings of the calls that are made while it is in force."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self._watched: set[type] = set()
        self._paths: dict[int, str] = {}
        self._kept: list[object] = []  # or another object might get its place in memory
        self.options: dict[str, tuple[type, str]] = {}
        self._read: set[str] = set()
        self._read_of_others: set[tuple[type, str]] = set()
        parse = tyro.cli

        def parsed(*arguments: Any, **more: Any) -> Any:
            call = parse(*arguments, **more)
            self._watch(call, "")
            return call

        patch.setattr(tyro, "cli", parsed)

    def _watch(self, settings: object, path: str) -> None:
        self._paths[id(settings)] = path
        self._kept.append(settings)
        for each in dataclasses.fields(settings):  # type: ignore[arg-type]  # only dataclasses are watched
            value = object.__getattribute__(settings, each.name)
            if dataclasses.is_dataclass(value):
                self._watch(value, f"{path}{each.name}.")
            else:
                self.options[path + each.name] = (type(settings), each.name)
        if type(settings) not in self._watched:
            self._watched.add(type(settings))
            self._patch.setattr(type(settings), "__getattribute__", self._noting(type(settings)))

    def _noting(self, kind: type) -> Any:
        names = {each.name for each in dataclasses.fields(kind)}
        get = kind.__getattribute__

        def noting(settings: object, name: str) -> Any:
            if name in names and not _hands_on(sys._getframe(1).f_code):
                path = self._paths.get(id(settings))
                if path is None:  # made of a watched one, by ``replace``
                    self._read_of_others.update((each, name) for each in type(settings).__mro__)
                else:
                    self._read.add(path + name)
            return get(settings, name)

        return noting

    def unread(self) -> Iterator[str]:
        """Every field that nothing read, as dotted paths."""
        for path, kind in self.options.items():
            if path not in self._read and kind not in self._read_of_others:
                yield path


@dataclasses.dataclass(frozen=True)
class Told:
    """What is known of a call that has ended.

    Args:
        options: every field by its dotted path, with the dataclass it stands in and its name there.
        unread: paths of those that nothing read.
    """

    options: dict[str, tuple[type, str]]
    unread: set[str]


def options_of(words: Sequence[object]) -> Told:
    """Run a call to its end and say which of its options were read; one that found faults (exit code 1) has ended."""
    with pytest.MonkeyPatch.context() as patch:
        reads = OptionReads(patch)
        try:
            main([str(word) for word in words])
        except SystemExit as end:
            if end.code not in (0, 1) or not reads.options:
                raise
        return Told(reads.options, set(reads.unread()))
