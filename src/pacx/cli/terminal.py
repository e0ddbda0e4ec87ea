"""What the command says, and how the words after a verb become a typed object."""

import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar, get_origin

import tyro

from pacx.core.discovery import like
from pacx.core.errors import PacxError

T = TypeVar("T")


def say(text: str) -> None:
    """Print a result to standard output."""
    sys.stdout.write(text.rstrip("\n") + "\n")


def complain(text: str) -> None:
    """Print an error to standard error."""
    sys.stderr.write(f"pacx: {text}\n")


@contextmanager
def explained(*, is_debug: bool = False) -> Iterator[None]:
    """Turn errors within into one sentence and an exit code; in debugging, show their traceback."""
    try:
        yield
    except PacxError as error:
        if is_debug:
            raise
        complain("; ".join([str(error), *getattr(error, "__notes__", ())]))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        complain("interrupted; what was finished is on disk, the same command goes on (pacx train: with --resume)")
        sys.exit(130)


def parse(kind: type[T], words: Sequence[str], *, verb: str, example: str, default: T | None = None) -> T:
    """Read a verb's words into a dataclass; its docstring and field docstrings become the help.

    Args:
        kind: the dataclass.
        words: what stands after the verb.
        verb: as the user typed it, for the usage line.
        example: one line that works, shown in the help.
        default: values to start from (a recipe); without it the dataclass's own defaults count.
    """
    explanation, _, _ = (inspect.getdoc(get_origin(kind) or kind) or "").partition("\n\nExample:\n")  # of Python
    description = f"{explanation}\n\nExample:\n  {example}"
    if default is None:
        return tyro.cli(kind, args=list(words), prog=f"pacx {verb}", description=description)
    return tyro.cli(kind, args=list(words), prog=f"pacx {verb}", description=description, default=default)


def choose(words: Sequence[str], verb: str, choices: Mapping[str, str], example: str) -> tuple[str, list[str]]:
    """Take the first word as one of the choices (name to explanation); help and wrong words end the program."""
    listing = "\n".join(f"  {name:<24} {what}" for name, what in choices.items())
    usage = (
        f"usage: pacx {verb} NAME ...   (pacx {verb} NAME --help explains one)\n\n{listing}\n\nExample:\n  {example}"
    )
    if words and words[0] in choices:
        return words[0], list(words[1:])
    if words and words[0] in ("-h", "--help"):
        say(usage)
        sys.exit(0)
    wrong = f"'{words[0]}' is not known here{like(words[0], choices)}" if words else "choose one of these"
    complain(f"{wrong}\n{usage}")
    sys.exit(2)
