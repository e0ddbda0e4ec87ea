"""What the command says, and how the words after a verb become a typed object."""

import inspect
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TypeVar, get_origin

import tyro

from pacx.core.discovery import like
from pacx.core.errors import PacxError
from pacx.training.interruption import StopRequest

T = TypeVar("T")


def say(text: str) -> None:
    """Print a result to standard output."""
    sys.stdout.write(text.rstrip("\n") + "\n")


def complain(text: str) -> None:
    """Print an error to standard error."""
    sys.stderr.write(f"pacx: {text}\n")


class Stop(StopRequest):
    """Ends a verb in order when it is asked to stop, as Ctrl-C does; put back only where nobody asked."""

    def answer(self) -> None:
        """Interrupt, saying which signal it was."""
        raise KeyboardInterrupt(self.signal_name)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.signal_name is None:  # else a second signal would cut short what the first one began
            super().__exit__(kind, error, trace)


@contextmanager
def explained(*, is_debug: bool = False, interrupted_code: int | None = None) -> Iterator[None]:
    """Turn errors within into one sentence and an exit code; in debugging, show their traceback.

    Args:
        is_debug: whether a traceback is wanted.
        interrupted_code: of a call that was asked to stop; by default the shell's, 128 and the signal's number.
    """
    try:
        yield
    except PacxError as error:
        if is_debug:
            raise
        complain(_with_notes(str(error), error))
        sys.exit(error.exit_code)
    except MemoryError as error:
        if is_debug:
            raise
        complain(
            _with_notes("this machine has not enough memory for this; take fewer processes or less at once", error)
        )
        sys.exit(1)
    except KeyboardInterrupt as error:
        name = error.args[0] if error.args else signal.SIGINT.name
        what = "what was finished is on disk, the same command goes on (pacx train: with --resume)"
        complain(f"interrupted ({name}); {'; '.join(getattr(error, '__notes__', [])) or what}")
        sys.exit(interrupted_code or 128 + signal.Signals[name])


def _with_notes(text: str, error: BaseException) -> str:
    return "; ".join([text, *getattr(error, "__notes__", ())])


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
