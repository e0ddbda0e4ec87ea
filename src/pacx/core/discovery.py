"""Plug-ins by file: a module that carries the agreed name is found; there is no registry to edit."""

import importlib
import pkgutil
from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeVar

T = TypeVar("T")


def discover(package_name: str, attribute: str, kind: type[T]) -> Mapping[str, T]:
    """Every ``attribute`` of type ``kind`` in the modules of a package, by module name with hyphens (``nih14``).

    Modules without the attribute are infrastructure of the room and are passed over.

    Raises:
        TypeError: a module carries the attribute with another type; that is a mistake of the plug-in's author.
    """
    package = importlib.import_module(package_name)
    found: dict[str, T] = {}
    for module_info in sorted(pkgutil.iter_modules(package.__path__), key=lambda info: info.name):
        module = importlib.import_module(f"{package_name}.{module_info.name}")
        plugin = getattr(module, attribute, None)
        if plugin is None:
            continue
        if not isinstance(plugin, kind):
            raise TypeError(f"{module.__name__}.{attribute} is {type(plugin).__name__}, expected {kind.__name__}")
        found[module_info.name.replace("_", "-")] = plugin
    return MappingProxyType(found)
