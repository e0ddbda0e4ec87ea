"""``pacx data link``: which film, ECG and laboratory values belong together, from a hospital's own tables."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import tyro

from pacx.cli.terminal import parse, say
from pacx.core.errors import UsageError
from pacx.linking.rules import FilmRule, RuleName, SymileRule
from pacx.linking.settings import LinkSettings
from pacx.linking.source import Source

OptionsT = TypeVar("OptionsT")
EXAMPLE = "pacx data link mimic-iv --hosp mimiciv/hosp --mimic-cxr-jpg mimic-cxr-jpg --out links"


@dataclass(frozen=True, kw_only=True)
class LinkCall(Generic[OptionsT]):
    """Link films, ECGs and laboratory values of the same people: tables in, pairs out, and what was lost on the way.

    OUT holds pairs.parquet, one row per pair, links.json with the rule and the way from rows to pairs, and that way as
    a picture, flow.png and flow.svg. Tables
    larger than memory are read once and spilled to the disk beside OUT. Killed, the same call goes on where it was.
    """

    options: Annotated[OptionsT, tyro.conf.arg(name="")]
    """Where the hospital's copy is."""

    out: Path
    """The folder of links to make."""

    rule: Annotated[RuleName, tyro.conf.EnumChoicesFromValues] = RuleName.FILM
    """film: every film with the ECG and the measurements nearest to it; symile: one film, ECG and set of measurements
    per admission, as Symile-MIMIC was cut."""

    film: Annotated[FilmRule, tyro.conf.arg(name=""), tyro.conf.EnumChoicesFromValues] = field(default_factory=FilmRule)
    """Of rule film."""

    settings: Annotated[LinkSettings, tyro.conf.arg(name="")] = field(default_factory=LinkSettings)
    """How to link."""

    overwrite: bool = False
    """Replace links at OUT."""


def main(source: Source[Any], words: Sequence[str]) -> None:
    """Link by one source."""
    kind: Any = LinkCall[source.options_type]  # type: ignore[name-defined]  # known when called
    call = parse(kind, words, verb=f"data link {source.card.name}", example=source.card.example)
    if call.rule is RuleName.SYMILE and call.film != FilmRule():
        raise UsageError("rule symile has windows of its own; leave the options of rule film out, or give --rule film")
    hospital = source.open(call.options)
    # DuckDB, pandas and matplotlib, which a wrong call need not wait for
    from pacx.linking.linking import link
    from pacx.reporting.flow_diagram import draw_flow

    rule = SymileRule() if call.rule is RuleName.SYMILE else call.film
    flow = link(hospital, rule, call.out, call.settings, draw=draw_flow, overwrite=call.overwrite)
    for line in flow.lines():
        say(line)
    made = next(step for step in flow.steps if step.of == "pairs")
    say(f"{made.count:,} pairs of {made.patients:,} patients written to {call.out}")
