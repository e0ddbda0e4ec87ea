"""``pacx data doctor``: is a copy of a dataset complete and right?"""

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pacx.cli.terminal import parse, say
from pacx.core.artifacts import write_json
from pacx.core.host import cache_folder
from pacx.data.checks.doctor import Diagnosis, examine
from pacx.data.dataset import Dataset
from pacx.data.file_names import as_text

EXAMPLE = "pacx data doctor nih14 --root /data/nih14 --samples 1000 --json nih14-doctor.json"
OptionsT = TypeVar("OptionsT")


@dataclass(frozen=True, kw_only=True)
class DoctorCall(Generic[OptionsT]):
    """Say whether a copy of a dataset is complete and right, without changing anything in it.

    Counts are held against the figures of the dataset's card, or against twin.json where the folder is a simulated
    twin. Exit code 0: nothing is at fault; 1: something is; 2: the call is. Interrupted, the same call goes on where it
    was.
    """

    root: Path
    """The folder as its makers distribute it."""

    options: Annotated[OptionsT, tyro.conf.arg(name="")]
    """How to read this dataset."""

    samples: int | Literal["all"] = 1000
    """How many films to decode, evenly drawn; all decodes every one."""

    json: Path | None = None
    """Write the whole diagnosis, every file at fault included, to this file."""

    num_workers: int = 2
    """Decoding processes."""

    state: Path | None = None
    """Where to remember what was checked; by default a file in the user's cache folder, removed at the end."""


def _default_state(dataset: Dataset[Any], root: Path) -> Path:
    name = hashlib.sha256(f"{dataset.card.name} {as_text(root.absolute())}".encode()).hexdigest()
    return cache_folder() / "doctor" / f"{name[:24]}.jsonl"


def _show(diagnosis: Diagnosis) -> None:
    whose = "simulated twin" if diagnosis.is_twin else "complete"
    title = f"{diagnosis.dataset}: {escape(as_text(diagnosis.root))}"
    counts = Table("count", whose, "here", "", title=title, title_justify="left")
    for count in diagnosis.counts:
        if count.expected is None and count.found == 0:
            continue
        is_right = count.expected is None or count.expected == count.found
        expected = "" if count.expected is None else f"{count.expected:,}"
        mark = "" if count.expected is None else "ok" if is_right else "WRONG"
        counts.add_row(escape(count.name), expected, f"{count.found:,}", mark, style=None if is_right else "bold red")
    for column in counts.columns[1:3]:
        column.justify = "right"
    console = Console(soft_wrap=False)
    console.print(counts)
    for note in diagnosis.notes:
        console.print(f"note: {escape(note)}", highlight=False, soft_wrap=True)
    for issue in diagnosis.issues:
        label, style = ("FAULT", "bold red") if issue.is_fault else ("warning", "yellow")
        console.print(
            f"[{style}]{label}[/] {escape(issue.check)}: {escape(issue.message)}", highlight=False, soft_wrap=True
        )


def main(dataset: Dataset[Any], words: Sequence[str]) -> None:
    """Run the action for one dataset."""
    kind: Any = DoctorCall[dataset.options_type]  # type: ignore[name-defined]  # known when called
    call = parse(kind, words, verb=f"data doctor {dataset.card.name}", example=EXAMPLE)
    diagnosis = examine(
        dataset,
        call.root,
        call.options,
        state=call.state or _default_state(dataset, call.root),
        num_samples=None if call.samples == "all" else call.samples,
        num_workers=call.num_workers,
    )
    _show(diagnosis)
    written = ""
    if call.json:
        write_json(call.json, diagnosis.to_json())
        written = f"; written to {call.json}"
    num_faults = sum(issue.is_fault for issue in diagnosis.issues)
    whose = ", a simulated twin," if diagnosis.is_twin else ""
    verdict = "is complete and right" if diagnosis.is_green else f"has {num_faults} faults"
    say(f"{dataset.card.name}{whose} {verdict}: {diagnosis.num_checked} films decoded{written}")
    if not diagnosis.is_green:
        sys.exit(1)
