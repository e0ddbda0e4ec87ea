"""``pacx evaluate``: protocols on frozen encoders, ending in result rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pacx.cli.terminal import choose, parse, say
from pacx.core.provenance import provenance
from pacx.data.pack import Pack
from pacx.evaluation.classification import ClassificationData
from pacx.evaluation.embeddings import embed_pack
from pacx.evaluation.linear_heads import ProbeConfig
from pacx.evaluation.low_data import low_data
from pacx.evaluation.probe import linear_probe
from pacx.evaluation.results import ResultRow, write_rows
from pacx.evaluation.statistics import NUM_DRAWS
from pacx.recipes.encoders import open_encoders

_EXAMPLE = "pacx evaluate probe --pack packs/films --encoders mae=runs/mae/encoder random --out results.json"


@dataclass(frozen=True, kw_only=True)
class ProbeCall:
    """Train linear probes on cached embeddings and score them on the test split, with patient-level intervals."""

    pack: Path
    """A labelled pack with train, val and test splits."""

    encoders: tuple[str, ...]
    """NAME=FOLDER for each encoder, and the baselines random and imagenet by name."""

    out: Path
    """The results.json to write."""

    dataset: str = ""
    """The dataset's name in the rows; by default the pack folder's."""

    baseline: str | None = None
    """The encoder that paired differences are taken from."""

    probe: ProbeConfig = field(default_factory=ProbeConfig)
    """How the probes are trained; the defaults are the paper's."""

    num_draws: int = NUM_DRAWS
    """Bootstrap draws of patients."""


def _classify(call: ProbeCall, protocol: Callable[..., list[ResultRow]], command: str) -> list[ResultRow]:
    pack = Pack.open(call.pack)
    data = ClassificationData.from_pack(pack, dataset=call.dataset or call.pack.name)
    features = {
        encoder.name: embed_pack(encoder.vit, pack, pooling=encoder.pooling, preprocessing=encoder.preprocessing)
        for encoder in open_encoders(call.encoders, call.probe.seed)
    }
    commit = provenance(command, call.probe.seed).commit
    return protocol(
        data,
        features,
        baseline=call.baseline,
        config=call.probe,
        provenance=f"{command}, commit {commit}",
        num_draws=call.num_draws,
    )


def main(words: Sequence[str]) -> None:
    """Run the verb."""
    explained = {
        "probe": "linear probe on all training labels (Table 1)",
        "low-data": "linear probe on 1, 10 and 100 % of them (Figure 3)",
    }
    protocols: dict[str, Callable[..., list[ResultRow]]] = {"probe": linear_probe, "low-data": low_data}
    name, rest = choose(words, "evaluate", explained, _EXAMPLE)
    call = parse(ProbeCall, rest, verb=f"evaluate {name}", example=_EXAMPLE.replace("probe", name, 1))
    rows = _classify(call, protocols[name], f"pacx evaluate {name}")
    write_rows(call.out, rows)
    for row in rows:
        if row.label == "macro" and row.metric == "auroc":
            interval = f"[{row.ci_low:.3f}, {row.ci_high:.3f}]"
            say(f"{row.encoder:<12} macro AUROC at {100 * row.fraction:g} %: {row.value:.3f} {interval}, n = {row.n}")
    say(f"{len(rows)} result rows written to {call.out}; next: pacx report {call.out}")
