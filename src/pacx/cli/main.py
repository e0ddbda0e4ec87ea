"""The ``pacx`` command: picks the verb, prints errors as one sentence, turns them into exit codes.

A verb's module is imported only when it is called, and what it works with only behind its ``parse``, so that help,
lists and wrong calls are answered at once. Exit codes: 0 done, 1 the data or the model is at fault, 2 the call is, 75 a
training that was asked to stop, and elsewhere 128 and the number of the signal that asked (Ctrl-C 130, SIGTERM 143).
"""

import importlib
import io
import os
import sys
from collections.abc import Sequence
from importlib import metadata

from pacx.cli.terminal import Stop, complain, explained, say
from pacx.core.discovery import like
from pacx.core.errors import InterruptedRunError
from pacx.core.extras import extra_of
from pacx.core.host import limit_threads

_AGAIN = InterruptedRunError.exit_code
_VERBS = {
    "demo": "the whole method on a simulated hospital, ending in a report (ten minutes on two cores, no data needed)",
    "simulate": "write a simulated hospital: films, masks, ECGs, laboratory values",
    "look": "one ECG of any format on paper of millimetres, with what is wrong with it",
    "data": "list datasets, check a copy, pack its images once for everything that follows",
    "convert": "published weights to safetensors: ECGFounder",
    "train": "run a recipe: mae, labs, ecg, ecg-measures, vitals, distill and their variants",
    "embed": "images to embeddings; ECGs, labs, vital signs to frozen targets",
    "predict": "findings and read-outs with intervals, for films, by an exported or trained encoder with heads",
    "evaluate": "everything at once with a certificate (all), or one protocol: result rows with intervals",
    "audit": "what the paper leaves open: class token, splits, threshold, pre-masked films, mask ratio, pairs, illness",
    "export": "an encoder to ONNX graphs, checked against torch, with its heads and cards",
    "serve": "exported encoders behind HTTP: POST a film, or open the page; needs no torch",
    "report": "result rows and run folders to one self-contained page; --verify a certificate",
}

_HELP = """usage: pacx VERB ...   (pacx VERB --help explains one, with an example)

{verbs}

options:
  --debug    show the traceback of an error
  --version  print the version

start with:  pacx demo --out runs/demo

Research software, not a medical device.
"""


def _help() -> str:
    return _HELP.format(verbs="\n".join(f"  {name:<10} {what}" for name, what in _VERBS.items()))


def _advice(verb: str, library: str) -> str:
    """What to install where a verb lacks a library."""
    extra = extra_of(library, verb)
    remedy = f"pip install '.[{extra}]' in the clone of PaCX" if extra else "no extra of PaCX brings it, install it"
    return f"pacx {verb} needs {library}, which is not installed; {remedy}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one verb and exit with its code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as standard error does, for names that are no valid text
    words = list(sys.argv[1:] if arguments is None else arguments)
    is_debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    if not words or words[0] in ("-h", "--help"):
        say(_help())
        sys.exit(0 if words else 2)
    if words[0] == "--version":
        say(f"pacx {metadata.version('pacx')}")
        sys.exit(0)
    verb, *rest = words
    if verb not in _VERBS:
        complain(f"'{verb}' is not a verb of pacx; it knows {', '.join(_VERBS)}{like(verb, _VERBS)}")
        sys.exit(2)
    limit_threads()
    try:
        with Stop(), explained(is_debug=is_debug, interrupted_code=_AGAIN if verb == "train" else None):
            importlib.import_module(f"pacx.cli.verbs.{verb}").main(rest)
    except ModuleNotFoundError as error:
        if is_debug or (error.name or "").partition(".")[0] == "pacx":
            raise
        complain(_advice(verb, (error.name or str(error)).partition(".")[0]))
        sys.exit(2)
    except BrokenPipeError:  # the reader of a pipe (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
