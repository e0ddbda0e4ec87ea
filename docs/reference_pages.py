"""Write the pages of the reference: one per package with public names, one per verb, from the code itself.

`docs/conf.py` calls `write`. Public is what a package lists in `__all__`, whether it is defined there or handed on
through a module's `__getattr__`. The words of the command line are read from its own `--help`, in this process: torch
is imported once and not ninety times.
"""

import contextlib
import importlib
import inspect
import io
import os
import pkgutil
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from types import ModuleType
from unittest import mock

from sphinx.pycode import ModuleAnalyzer

import pacx
from pacx.cli.main import main as command

COLUMNS = "88"
"""Width of the help texts; what fits into a page on a desktop without scrolling."""


@dataclass(frozen=True, kw_only=True)
class Help:
    """What `pacx WORDS --help` says.

    Args:
        words: of the command line, without `pacx` and `--help`.
        text: the help, as it is printed.
        choices: the words that may follow, with what the help says about each.
    """

    words: tuple[str, ...]
    text: str
    choices: Mapping[str, str]

    @property
    def title(self) -> str:
        """As one types it."""
        return " ".join(("pacx", *self.words))


def public_packages() -> Iterator[ModuleType]:
    """Every package of pacx that declares `__all__`, pacx itself first."""
    names = [info.name for info in pkgutil.walk_packages(pacx.__path__, "pacx.") if info.ispkg]
    for name in ("pacx", *names):
        module = importlib.import_module(name)
        if hasattr(module, "__all__"):
            yield module


def documentation(package: ModuleType, name: str) -> str:
    """What the source says about a public name; empty where it says nothing.

    A class or function has a docstring. A constant has the string below its definition, which is looked for in the
    module that defines it, because a package may hand on what another module holds.
    """
    value = getattr(package, name)
    if inspect.ismodule(value):  # a file is no public name: it would hide the function that it shares its name with
        return inspect.getdoc(value) or "" if hasattr(value, "__all__") else ""
    if inspect.isclass(value) or inspect.isroutine(value):
        said = inspect.cleandoc(value.__dict__.get("__doc__") or "" if inspect.isclass(value) else value.__doc__ or "")
        is_made_by_dataclass = is_dataclass(value) and said.startswith(f"{name}(")
        return "" if is_made_by_dataclass else said
    if name == "__version__":
        return "The version of this package, as text."
    root = package.__name__.partition(".")[0]
    for module in [each for key, each in sys.modules.items() if key.partition(".")[0] == root]:
        if module.__dict__.get(name) is value:
            found = ModuleAnalyzer.for_module(module.__name__).find_attr_docs().get(("", name), [])
            if any(found):
                return "\n".join(found).strip()
    return ""


def help_of(*words: str) -> Help:
    """Ask the command what it says about some of its words."""
    printed = io.StringIO()
    plain = mock.patch.dict(os.environ, {"COLUMNS": COLUMNS, "NO_COLOR": "1"})
    with plain, contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        command([*words, "--help"])
    usage, *lines = [line.rstrip() for line in printed.getvalue().rstrip().splitlines()]
    text = "\n".join([usage, *lines])
    choices = {}
    if re.search(r" (NAME|VERB) \.\.\.", usage):
        listed = (re.fullmatch(r"  (\w[\w-]*) +(\S.*)", line) for line in lines)
        choices = {found[1]: found[2] for found in listed if found and found[1] != "pacx"}
    elif further := re.search(rf"pacx {words[0]} ((?:[\w-]+\|)+[\w-]+) --help", " ".join(text.split())):
        choices = dict.fromkeys(further[1].split("|"), "words of its own")
    return Help(words=words, text=text, choices=choices)


def helps(*words: str) -> Iterator[Help]:
    """The help of these words and of all that may follow them."""
    asked = help_of(*words)
    yield asked
    for choice in asked.choices:
        yield from helps(*words, choice)


def _heading(text: str, under: str = "=") -> str:
    return f"{text}\n{under * len(text)}\n\n"


def _contents(pages: Sequence[str], **options: object) -> str:
    head = [".. toctree::", *(f"   :{name}: {value}".rstrip() for name, value in options.items())]
    return "\n".join([*head, "", *(f"   {page}" for page in pages)]) + "\n\n"


def api_page(package: ModuleType, described: dict[int, str]) -> str:
    """The page of one package in reStructuredText: its docstring, then every public name.

    Args:
        package: whose names are listed in `__all__`.
        described: classes and functions that have their place already, by `id`; those of this page are added. A name
            that two packages hand on is described once.
    """
    name = package.__name__
    text = _heading(name) + f".. py:module:: {name}\n\n{inspect.getdoc(package) or ''}\n\n"
    for public in sorted(package.__all__, key=lambda each: (each.startswith("_"), each.lower())):
        value, full = getattr(package, public), f"{name}.{public}"
        if inspect.ismodule(value):
            text += f"`{full}` is a package with a page of its own.\n\n"
        elif described.get(id(value), full) != full:
            text += f".. py:data:: {public}\n\n   The same as :py:obj:`{described[id(value)]}`.\n\n"
        elif inspect.isclass(value) or inspect.isroutine(value):
            described[id(value)] = full
            kind = "autoclass" if inspect.isclass(value) else "autofunction"
            text += f".. {kind}:: {full}\n" + "   :members:\n" * inspect.isclass(value) + "\n"
        else:
            text += f".. py:data:: {public}\n\n{textwrap.indent(documentation(package, public), '   ')}\n\n"
    return text


def command_page(asked: Help) -> str:
    """The page of some words in reStructuredText: the help, and a list of the pages below it."""
    text = _heading(asked.title) + ".. code-block:: text\n\n" + textwrap.indent(asked.text, "   ") + "\n\n"
    if asked.choices:
        text += _contents([f"{(asked.words or ('pacx',))[-1]}/{each}" for each in asked.choices], maxdepth=1)
    return text


def _pages() -> Iterator[tuple[Path, str]]:
    names, described = [], {}
    for package in public_packages():
        names.append(package.__name__)
        yield Path("api", f"{package.__name__}.rst"), api_page(package, described)
    yield Path("api.rst"), _heading("Python") + _API + _contents([f"api/{name}" for name in names], maxdepth=2)
    first, *others = helps()
    for asked in others:
        yield Path("cli", *asked.words).with_suffix(".rst"), command_page(asked)
    said = ".. code-block:: text\n\n" + textwrap.indent(first.text, "   ") + "\n\n"
    yield Path("cli.rst"), _heading("Command line") + said + _contents([f"cli/{v}" for v in first.choices], maxdepth=1)


_API = (
    "Public is what stands here (:doc:`what that promises </compatibility>`). A name is loaded on first use, so that "
    "importing a package does not import torch.\n\n"
)


def write(folder: Path) -> None:
    """Write all pages into a folder, leave alone what is there already, and remove pages of what is gone."""
    pages = {folder / name: text for name, text in _pages()}
    for path, text in pages.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_text() != text:
            path.write_text(text)
    for path in set(folder.rglob("*.rst")) - set(pages):
        path.unlink()
