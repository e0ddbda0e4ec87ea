"""``pacx look``: one ECG file on paper of millimetres, with what was computed and what is wrong with it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from pacx.cli.terminal import choose, parse, say
from pacx.core.errors import UsageError
from pacx.modalities.ecg_signal.facts import EcgFacts

_EXAMPLE = "pacx look ecg cart/0042.xml --out 0042.svg"


@dataclass(frozen=True, kw_only=True)
class LookCall:
    """Draw the twelve leads as cardiologists read them: 25 mm/s, 10 mm/mV, lead II below, unfiltered.

    Below the leads stands which of them were computed, and what is wrong or strange about the recording. A picture is
    as large as its paper: in SVG, and in PNG at 200 dots per inch, a millimetre is a millimetre.
    """

    file: Annotated[Path, tyro.conf.Positional]
    """An ECG file of any format (docs/formats.md)."""

    out: Path | None = None
    """The .png or .svg file to write; by default the file's name with .png, here."""

    record: str | None = None
    """Which recording, where the file holds several; by default the first."""

    start_s: float = 0.0
    """Where in a longer recording the ten seconds begin."""

    facts: Annotated[EcgFacts, tyro.conf.arg(name="")] = field(default_factory=EcgFacts)
    """What the file does not say."""


def main(words: Sequence[str]) -> None:
    """Draw an ECG."""
    _, rest = choose(words, "look", {"ecg": "an ECG of any format, as a sheet"}, _EXAMPLE)
    call = parse(LookCall, rest, verb="look ecg", example=_EXAMPLE)
    out = call.out or Path(f"{call.file.stem}.png")
    if out.suffix.lower() not in (".png", ".svg"):
        raise UsageError(f"{out} is neither a .png nor a .svg; give one of them as --out")
    if call.start_s < 0:
        raise UsageError(f"--start-s is {call.start_s:g}; give the second to begin with, 0 or more")

    from pacx.core.artifacts import staged_file
    from pacx.modalities.ecg_signal.looks.look import look_at
    from pacx.modalities.ecg_signal.looks.sheet import draw_ecg

    view = look_at(call.file, call.record, start_s=call.start_s, facts=call.facts)
    picture = draw_ecg(
        view.signals, view.rate_hz, title=view.title, remarks=view.remarks, as_svg=out.suffix.lower() == ".svg"
    )
    with staged_file(out) as partial:
        partial.write_bytes(picture)
    for remark in view.remarks:
        say(remark)
    say(f"{view.title}; drawn to {out}")
