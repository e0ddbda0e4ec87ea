"""``pacx evaluate``: a protocol on frozen encoders, or all of them (``all``), ending in result rows.

Protocols are found (``evaluation/protocols/``), not listed here. What computes is imported when a call has been read,
so that help is shown at once.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic

import tyro

from pacx.cli.terminal import choose, say
from pacx.cli.verbs import evaluate_all
from pacx.core.errors import UsageError
from pacx.core.provenance import provenance
from pacx.evaluation.comparison import Comparison
from pacx.evaluation.protocol import EncodedPack, Protocol, SettingsT, protocols, unknown_protocol
from pacx.evaluation.results import ResultRow, difference_metric, write_rows
from pacx.evaluation.settings import NUM_DRAWS
from pacx.models.device import AUTOMATIC, chosen_device

_ALL = "all"
_EXAMPLE = "pacx evaluate {name} --pack packs/films --encoders mae=runs/mae/encoder random {more}--out results.json"
_TOTALS = ("macro", "all")
"""Labels of rows over all labels."""


@dataclass(frozen=True, kw_only=True)
class EvaluateCall(Generic[SettingsT]):
    """What every protocol is told."""

    pack: Path
    """A pack with train, val and test splits."""

    encoders: tuple[str, ...]
    """NAME=PLACE each, and the baselines random and imagenet; a place is a folder (ours, timm's or transformers'),
    timm:MODEL, timm:MODEL,CHECKPOINT or hf:MODEL, with #token or #mean behind it to choose what stands for the film."""

    out: Path
    """The results.json to write."""

    settings: Annotated[SettingsT, tyro.conf.arg(name="")]

    dataset: str = ""
    """The dataset's name in the rows; by default the pack folder's."""

    baseline: str | None = None
    """The encoder that paired differences are taken from."""

    num_draws: int = NUM_DRAWS
    """Bootstrap draws of patients (of films where nobody knows the patients)."""

    device: str = AUTOMATIC
    """Where encoders and heads run (cpu, cuda, cuda:1); by default a GPU if there is one."""

    @property
    def folders(self) -> dict[str, Path]:
        """Those encoders that are folders of ours, into which heads can be saved."""
        places = {name: Path(place) for name, _, place in (word.partition("=") for word in self.encoders)}
        return {name: place for name, place in places.items() if (place / "preprocessing.json").is_file()}


def _call(protocol: Protocol[Any], words: Sequence[str]) -> EvaluateCall[Any]:
    """The words after a protocol's name."""
    kind: Any = EvaluateCall[protocol.settings]  # type: ignore[name-defined]  # known when called
    example = _EXAMPLE.format(name=protocol.name, more=f"{protocol.example} " * bool(protocol.example))
    description = f"{inspect.getdoc(protocol.settings)}\n\nExample:\n  {example}"
    call: EvaluateCall[Any] = tyro.cli(
        kind, args=list(words), prog=f"pacx evaluate {protocol.name}", description=description
    )
    return call


def _say(rows: Sequence[ResultRow], headline: str) -> None:
    """The headline metric of every encoder and difference: over all labels where that is told, else label by label."""
    from pacx.reporting.tables import format_interval

    labels = {row.label for row in rows}
    labels = labels.intersection(_TOTALS) or labels
    for row in rows:
        if row.metric in (headline, difference_metric(headline)) and row.label in labels and not row.subgroup:
            what = f"{row.protocol}, {row.dataset}, {row.label} {row.metric}, {100 * row.fraction:g} % of the labels"
            interval = format_interval(row)  # "" of a count, which has none
            say(f"{row.name:<16} {what}: {row.value:.3f}{' ' * bool(interval)}{interval}, n = {row.n}")


def _evaluate(protocol: Protocol[Any], call: EvaluateCall[Any]) -> None:
    """Run a protocol; rows, pictures and remarks."""
    from pacx.data.packs.pack import BY_PATIENT, Pack

    pack = Pack.open(call.pack)  # told before what runs encoders is opened

    from pacx.models.encoders.by_name import open_encoders
    from pacx.reporting.pictures import draw

    command, seed = f"pacx evaluate {protocol.name}", protocol.seed(call.settings)
    comparison = Comparison(
        dataset=call.dataset or call.pack.name,
        baseline=call.baseline,
        provenance=f"{command}, commit {provenance(command, seed).commit}",
        num_draws=call.num_draws,
        device=chosen_device(call.device),
    )
    encoders = {each.name: each.encoder for each in open_encoders(call.encoders, seed)}
    films = EncodedPack(pack=pack, encoders=encoders, folders=call.folders)
    if missing := protocol.lacks(films, call.settings):
        raise UsageError(f"{protocol.name} on {call.pack} lacks {missing}; give it, or choose another pack or protocol")
    outcome = protocol.run(films, call.settings, comparison)
    write_rows(call.out, outcome.rows)
    if outcome.drawing is not None:
        draw(call.out.parent / "figures", outcome.drawing)
        say(f"picture drawn in {call.out.parent / 'figures'}")
    for remark in outcome.remarks:
        say(remark)
    _say(outcome.rows, protocol.headline)
    if pack.drawn_by != BY_PATIENT:
        say(f"note: intervals are by {pack.drawn_by}: films of one person may lie in training and test")
    say(f"{len(outcome.rows)} result rows written to {call.out}; next: pacx report {call.out}")


def main(words: Sequence[str]) -> None:
    """Run one protocol, or with ``all`` every one that the packs allow."""
    found = protocols()
    explained = {_ALL: "all of these that the packs allow, with a certificate and a report"}
    explained |= {name: protocol.summary for name, protocol in found.items()}
    if words and not words[0].startswith("-") and words[0] not in explained:
        raise UsageError(unknown_protocol(words[0], list(explained)))
    name, rest = choose(words, "evaluate", explained, _EXAMPLE.format(name="linear-probe", more=""))
    if name == _ALL:
        evaluate_all.main(rest)
    else:
        _evaluate(found[name], _call(found[name], rest))
