"""Which extra of PaCX brings a library: read from the installed package's own metadata, so that it cannot go stale."""

import re
from collections.abc import Iterable
from importlib import metadata

_IMPORTED_AS = {"sklearn": "scikit-learn", "starlette": "fastapi"}
"""Libraries whose import name is not the name they are installed by, or that another one brings."""

_NOT_FOR_USERS = "dev"


def extra_of(library: str, verb: str, requirements: Iterable[str] | None = None) -> str | None:
    """The extra to install where a library is missing; None where no extra brings it.

    Args:
        library: as imported, such as ``sklearn``.
        verb: what the user called; an extra of that name is preferred, else the smallest that brings the library.
        requirements: in the spelling of ``importlib.metadata``; by default those of the installed PaCX.
    """
    brings: dict[str, set[str]] = {}
    for requirement in metadata.requires("pacx") or () if requirements is None else requirements:
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", requirement)
        if extra and extra[1] != _NOT_FOR_USERS:
            brings.setdefault(extra[1], set()).add(_normal(re.split(r"[^\w.-]", requirement, maxsplit=1)[0]))
    wanted = _normal(_IMPORTED_AS.get(library, library))
    candidates = [extra for extra, names in brings.items() if wanted in names]
    if verb in candidates:
        return verb
    return min(candidates, key=lambda extra: len(brings[extra]), default=None)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
