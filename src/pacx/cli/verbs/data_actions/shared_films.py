"""``pacx data overlap``: which films and patients packs have in common."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pacx.cli.terminal import parse, say
from pacx.core.artifacts import write_json
from pacx.core.errors import UsageError
from pacx.data.checks.shared_films import MIN_CORRELATION, Overlap, overlap
from pacx.data.packs.pack import BY_PATIENT, Pack

_EXAMPLE = "pacx data overlap packs/chestx6 packs/tb packs/nih14 --json overlap.json"
_NUM_GROUPS_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class OverlapCall:
    """Find exact and near copies of films, and patients, between packs and within each.

    Two films are copies when their pixels, shrunk to 64 x 64 and with brightness and contrast taken out, correlate.
    Patient ids mean something only where two packs come from the same archive. Mirror images and crops are not found.
    """

    packs: tyro.conf.Positional[tuple[Path, ...]]
    """The packs to compare; one is compared with itself."""

    json: Path | None = None
    """Write everything, every group of copies included, to this file."""

    min_correlation: float = MIN_CORRELATION
    """From which correlation on two films are copies."""


def _show(found: Overlap) -> None:
    table = Table("films of", "found in", "exact", "near", "in another split", "patients")
    for column in table.columns[2:]:
        column.justify = "right"
    for shared in found.shared:
        second = "itself" if shared.second == shared.first else escape(shared.second)
        counts = (shared.exact, shared.near, shared.across_splits, shared.patients)
        cells = ("unknown" if count is None else f"{count:,}" for count in counts)
        table.add_row(escape(shared.first), second, *cells)
    console = Console()
    console.print(table)
    for name, words in found.drawn_by.items():
        if words != BY_PATIENT:
            console.print(f"{name}: by {words}", markup=False, highlight=False, soft_wrap=True)
    for group in found.copies[:_NUM_GROUPS_SHOWN]:
        kind = "exact" if group.is_exact else f"near ({group.correlation:.4f})"
        named = ", ".join(
            f"{film.pack}: {film.sample_id}" + f" [{film.split}]" * bool(film.split) for film in group.films[:4]
        )
        rest = f" and {len(group.films) - 4} more" if len(group.films) > 4 else ""
        console.print(f"{kind}: {named}{rest}", markup=False, highlight=False, soft_wrap=True)


def main(words: Sequence[str]) -> None:
    """Say which films and patients packs share, and write it down if asked to."""
    call = parse(OverlapCall, words, verb="data overlap", example=_EXAMPLE)
    named = {str(path): path for path in call.packs}
    if len(named) < len(call.packs):
        raise UsageError("a pack is given twice; each is compared with itself anyway")
    found = overlap({name: Pack.open(path) for name, path in named.items()}, min_correlation=call.min_correlation)
    _show(found)
    written = ""
    if call.json:
        write_json(call.json, found.to_json())
        written = f"; written to {call.json}"
    num_exact = sum(group.is_exact for group in found.copies)
    say(f"{num_exact} groups of exact copies, {len(found.copies) - num_exact} groups with near ones{written}")
