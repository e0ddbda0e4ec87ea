"""``pacx convert``: published weights to plain tensors, without running what is in the file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from pacx.cli.terminal import choose, parse, say

_EXAMPLE = "pacx convert ecgfounder 12_lead_ECGFounder.pth --out encoders/ecgfounder"


@dataclass(frozen=True, kw_only=True)
class ConvertCall:
    """Turn the official ECGFounder checkpoint into safetensors.

    The file is opened with weights_only=True and in no other way; its SHA-256 is recorded in the folder. Take the file
    from PKUDigitalHealth/ECGFounder on Hugging Face; its licence is not stated, so do not pass it on.
    """

    file: Annotated[Path, tyro.conf.Positional]
    """12_lead_ECGFounder.pth or 1_lead_ECGFounder.pth."""

    out: Path
    """The folder to write."""

    sha256: str | None = None
    """What the file's SHA-256 has to be; without it the one found is printed."""


def main(words: Sequence[str]) -> None:
    """Turn a published checkpoint into plain tensors."""
    choices = {"ecgfounder": "the frozen ECG encoder of the paper, 12 leads or 1"}
    _, rest = choose(words, "convert", choices, _EXAMPLE)
    call = parse(ConvertCall, rest, verb="convert ecgfounder", example=_EXAMPLE)

    from pacx.models.ecg.founder_conversion import convert_ecg_founder

    done = convert_ecg_founder(call.file, call.out, expected_sha256=call.sha256)
    say(f"ECGFounder for {done.num_leads} lead(s), file SHA-256 {done.source_sha256}; written to {call.out}")
