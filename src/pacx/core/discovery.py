"""Plug-ins by file or by entry point: what carries the agreed name is found; there is no registry to edit.

Which plug-ins there are is read from the text of a room's files and from what installed packages declare, so that a
listing or a typing error opens none of them: a plug-in is imported when it is asked for. One that cannot be imported
is named with its error, and the others go on working.
"""

import ast
import difflib
import importlib
import pkgutil
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from importlib.abc import InspectLoader
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from pacx.core.errors import PluginError, UsageError
from pacx.core.extras import extra_of
from pacx.core.progress import announce

T = TypeVar("T")
_say_once = cache(announce)


class Plugins(Mapping[str, T], Generic[T]):
    """Plug-ins of one kind by name, each imported when it is taken.

    Args:
        loaders: by name, what imports the plug-in and hands it over.
        summaries: by name, one line for listings, where it can be told without importing.
    """

    def __init__(self, loaders: Mapping[str, Callable[[], T]], summaries: Mapping[str, str] | None = None) -> None:
        self._loaders, self.summaries = loaders, summaries or {}

    def __getitem__(self, name: str) -> T:
        """Import a plug-in.

        Raises:
            PluginError: it cannot be imported, or is of another kind.
        """
        return self._loaders[name]()

    def __contains__(self, name: object) -> bool:
        return name in self._loaders

    def __iter__(self) -> Iterator[str]:
        return iter(self._loaders)

    def __len__(self) -> int:
        return len(self._loaders)

    def called(self, name: str, what: str) -> T:
        """The plug-in that a person asked for by name.

        Raises:
            UsageError: there is none; the sentence has the names that look like it.
            PluginError: it cannot be imported, or is of another kind.
        """
        if name not in self:
            raise UsageError(f"'{name}' is no {what}; there are {', '.join(self)}{like(name, self)}")
        return self[name]

    def usable(self) -> dict[str, T]:
        """All that can be imported; every other one is named with its error on standard error."""
        found = {}
        for name in self:
            try:
                found[name] = self[name]
            except PluginError as error:
                _say_once(str(error))
        return found


def discover(package_name: str, attribute: str, kind: type[T], *, group: str | None = None) -> Plugins[T]:
    """Every ``attribute`` of type ``kind`` in the modules of a package, by module name with hyphens (``nih14``).

    Modules without the attribute are infrastructure of the room and are passed over; ``x_config`` carries plug-in
    ``x``.

    Args:
        package_name: the room.
        attribute: what a plug-in's module assigns at its top.
        kind: what it has to be.
        group: entry points of this group in installed packages are plug-ins too; one that is called like a plug-in of
            the room, or like an earlier one, is refused with a sentence on standard error.
    """
    loaders: dict[str, Callable[[], T]] = {}
    for module, _ in _modules_with(package_name, attribute):
        name = module.rpartition(".")[2].removesuffix("_config").replace("_", "-")
        loaders[name] = partial(_load, name, partial(_attribute, module, attribute), kind, module)
    for point in sorted(entry_points(group=group), key=_maker) if group else ():
        if point.name in loaders:
            _say_once(f"plug-in '{point.name}' of {_maker(point)} is left out: there is another of that name already")
            continue
        loaders[point.name] = partial(_load, point.name, point.load, kind, _maker(point))
    return Plugins(loaders)


def discover_listed(package_name: str, attribute: str, kind: type[T]) -> Plugins[T]:
    """Every function or class in the tuples called ``attribute`` in the modules of a package.

    Each is called by its function's name with hyphens, or by the text its class assigns to ``name``; its summary is
    the first line of its docstring. Order: of modules, then of their tuples.

    Args:
        package_name: the room.
        attribute: the tuple's name.
        kind: what each member has to be: ``type`` for classes, any callable for functions.
    """
    loaders: dict[str, Callable[[], T]] = {}
    summaries: dict[str, str] = {}
    for module, source in _modules_with(package_name, attribute):
        try:
            tree = ast.parse(source)
        except SyntaxError as error:
            _say_once(str(_unusable(module.rpartition(".")[2], module, error)))
            continue
        defined = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        for member in _members(tree, attribute):
            name = _assigned_name(defined[member]) or member.replace("_", "-")
            summaries[name] = (ast.get_docstring(defined[member]) or "").partition("\n")[0]
            loaders[name] = partial(_load, name, partial(_attribute, module, member), kind, module)
    return Plugins(loaders, summaries)


def like(word: str, names: Iterable[str], *, cutoff: float = 0.6) -> str:
    """The names that look most like a word, as the end of a sentence; empty where none is like it by ``cutoff``."""
    close = difflib.get_close_matches(word, list(names), cutoff=cutoff)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def _modules_with(package_name: str, attribute: str) -> Iterator[tuple[str, str]]:
    """Modules of a package that assign ``attribute`` at their top, with their text; none is imported."""
    package = importlib.import_module(package_name)
    assigns = re.compile(rf"^{attribute}\b[^=\n]*=", re.MULTILINE)
    for info in sorted(pkgutil.iter_modules(package.__path__, f"{package_name}."), key=lambda info: info.name):
        spec = info.module_finder.find_spec(info.name, None)
        loader = spec.loader if spec else None
        source = loader.get_source(info.name) if isinstance(loader, InspectLoader) else None
        if source and assigns.search(source):
            yield info.name, source


def _members(tree: ast.Module, attribute: str) -> Iterator[str]:
    tuple_of_names = _assigned(tree.body, attribute)
    if isinstance(tuple_of_names, ast.Tuple):
        yield from (element.id for element in tuple_of_names.elts if isinstance(element, ast.Name))


def _assigned_name(definition: ast.FunctionDef | ast.ClassDef) -> str:
    value = _assigned(definition.body, "name")
    return str(value.value) if isinstance(value, ast.Constant) else ""


def _assigned(body: Sequence[ast.stmt], name: str) -> ast.expr | None:
    """What a body of statements assigns to a name."""
    for node in body:
        if isinstance(node, ast.Assign) and any(isinstance(to, ast.Name) and to.id == name for to in node.targets):
            return node.value
    return None


def _attribute(module: str, attribute: str) -> Any:  # noqa: ANN401 - the kind is compared by whoever asks
    return getattr(importlib.import_module(module), attribute)


def _load(name: str, load: Callable[[], Any], kind: type[T], where: str) -> T:
    try:
        plugin = load()
    except ModuleNotFoundError as error:
        if where.startswith("pacx.") and extra_of(str(error.name).partition(".")[0], ""):  # the command gives advice
            raise
        raise _unusable(name, where, error) from error
    except Exception as error:  # a stranger's file may do anything while it is imported
        raise _unusable(name, where, error) from error
    if not isinstance(plugin, kind):
        raise PluginError(f"plug-in '{name}' of {where} is {type(plugin).__name__}, expected {kind.__name__}")
    return plugin


def _unusable(name: str, where: str, error: Exception) -> PluginError:
    return PluginError(f"plug-in '{name}' of {where} cannot be imported ({type(error).__name__}: {error}); mend it")


def _maker(point: EntryPoint) -> str:
    return f"package {point.dist.name}" if point.dist else point.value
