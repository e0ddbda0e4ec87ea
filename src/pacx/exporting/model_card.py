"""The card of an exported encoder: what its run knows of it, limits first, in the shape of a Hugging Face repository.

`encoder folder, parity, heads -> README.md, MODEL_CARD.md`. Everything is read from files; what they do not say
is not said. Reads files only, so a card can be made again without the encoder.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pacx.core.artifacts import read_json
from pacx.data.packs.pack import BY_PATIENT
from pacx.inference.export_folder import RESEARCH_USE, ExportFolder
from pacx.models.encoders.origin import FILE as ORIGIN
from pacx.models.encoders.origin import Origin, read_origin

_FRONT_MATTER = """---
license: other
license_name: see-training-data
library_name: timm
pipeline_tag: image-feature-extraction
tags:
- timm
- chest-x-ray
- radiology
- masked-autoencoder
- pacx
---
"""
CARD, OFFICIAL = "MODEL_CARD.md", "official_mae.safetensors"
_MOST_RESULTS = 60
_FILES = {
    "model.safetensors, config.json": 'timm: `timm.create_model("local-dir:PATH", pretrained=True, num_classes=0)`',
    "preprocessing.json": "what a film has to go through first, with the hashes that tie the files together",
    ORIGIN: "where it came from, how it was trained and what was measured, as data",
    OFFICIAL: "the encoder under the names of facebookresearch/mae, for ImageNet-normalised films",
    "onnx/": "graphs for ONNX Runtime: `export.json` says what each takes and gives, `parity.json` how near it is",
    "directions/": "what ECG and laboratory values would say, guessed from the film: the graphs' embedding",
    "readouts/": "measured values guessed from the film, each with an interval",
    "classifier/": "findings with probabilities and intervals",
    "segmenter/": "masks from patch tokens",
    "reference/": "which films are unlike those the encoder knows",
}


@dataclass(frozen=True, kw_only=True)
class RunData:
    """What is known of an encoder.

    Attributes:
        card: the card training wrote, without its provenance; "" where there is none.
        origin: where it came from, how it was trained, what was measured.
    """

    card: str
    origin: Origin


def read_run(encoder: Path) -> RunData:
    """What an encoder folder says of itself; nothing is required.

    What its ``origin.json`` does not say is taken from the run around it, as far as there is one: the folder above,
    and ``results.json`` there or up to two folders higher (``RUNS/NAME/encoder`` of a demo), under the run's name.

    Raises:
        DataError: a file is there and is no JSON.
    """
    path = encoder / CARD
    card, _, printed = (path.read_text(encoding="utf-8") if path.is_file() else "").partition("\n## Provenance\n")
    origin = read_origin(encoder) or Origin(provenance=_json_block(printed))  # a folder from before there was the file
    run = encoder.resolve().parent
    if (run / "config.json").is_file() and (run / "summary.json").is_file():
        if not origin.summary:
            training = read_json(run / "config.json").get("training", {})
            origin = replace(origin, training=training, summary=read_json(run / "summary.json"))
        if not origin.results:
            origin = replace(origin, results=_results(run))
    return RunData(card=card.strip(), origin=origin)


def _json_block(text: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text.partition("```json")[2].partition("```")[0])
    except json.JSONDecodeError:
        return {}  # a card somebody wrote by hand
    return value if isinstance(value, dict) else {}


def _results(run: Path) -> tuple[Mapping[str, Any], ...]:
    for folder in (run, *list(run.parents)[:2]):
        path = folder / "results.json"
        if path.is_file():
            rows = read_json(path)
            return tuple(row for row in rows if isinstance(row, dict) and _is_score_of(row, run.name))
    return ()


def _is_score_of(row: Mapping[str, Any], encoder: str) -> bool:
    """Whether a row is this encoder's own, in its own pooling, and no difference."""
    return row.get("encoder") == encoder and not any(row.get(name) for name in ("pooling", "condition", "contrast"))


def model_card(export: ExportFolder, run: RunData, parity: Mapping[str, Any]) -> str:
    """A card in Markdown, limits first."""
    title, _, own = run.card.partition("\n")
    parts = [
        f"# {export.name}",
        f"**{RESEARCH_USE}** Nothing here was tested for use on patients.",
        _limits(export),
        f"## What it is\n\n{_described(title, own)}" if run.card else "",
        _contract(export),
        _training(run.origin),
        _measured(run.origin.results),
        _parity(parity),
        _files(export),
        "## Provenance\n\n```json\n" + json.dumps(export.provenance, indent=2) + "\n```",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def hugging_face_readme(card: str) -> str:
    """The same card with the front matter that the hub indexes."""
    return f"{_FRONT_MATTER}\n{card}"


def _limits(export: ExportFolder) -> str:
    lines = [
        "It gives numbers that describe a chest radiograph; it makes no diagnosis.",
        "It carries whatever the training films carry: their scanners, their patients, their tubes and wires.",
        "It sees the film alone: no history, no earlier film, no side view beside it.",
        "How well it does on your films is for you to measure (`pacx evaluate`), by subgroup and with intervals.",
    ]
    if "readouts" in export.heads:
        lines.append(
            "The intervals of its read-outs hold for new patients of the hospital they were calibrated at only."
        )
    if "classifier" in export.heads:
        lines.append(
            "The intervals of its findings say how much they hang on which patients it was fitted to, and nothing else."
        )
    if "reference" not in export.heads:
        lines.append("It cannot say that a film is unlike those it knows: no reference was exported.")
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in lines)


def _described(title: str, own: str) -> str:
    summary = own.strip().partition("\n\n")[0].strip()
    table = [line for line in own.splitlines() if line.startswith("|")]
    return f"{title.removeprefix('#').strip()}. {summary}" + ("\n\n" + "\n".join(table) if table else "")


def _contract(export: ExportFolder) -> str:
    contract = export.preprocessing
    return (
        f"## Input\n\nOne grey film, 8 bits, stretched to {contract.image_size_px} x {contract.image_size_px} pixels "
        f"(antialiased bilinear), divided by 255, repeated over {contract.num_channels} channel(s), normalised with "
        f"mean {list(contract.mean)} and standard deviation {list(contract.std)}. Output: {export.embedding_dim} "
        f"numbers ({_what_they_are(export)})."
    )


def _what_they_are(export: ExportFolder) -> str:
    if "directions" in export.heads:
        return "what ECG and laboratory values would say, read off the class token and the mean of the patch tokens"
    return "the class token" if export.pooling == "token" else "the mean of the patch tokens"


def _training(origin: Origin) -> str:
    if not origin.summary:
        return ""
    rows = {name: origin.summary.get(name) for name in ("stage", "epochs", "steps")}
    rows |= {
        name: origin.training.get(name) for name in ("batch_size", "learning_rate", "weight_decay", "precision", "seed")
    }
    rows |= {f"validation: {name}": _number(value) for name, value in origin.summary.get("validation", {}).items()}
    body = "\n".join(f"| {name} | {value} |" for name, value in rows.items() if value is not None)
    return f"## Training\n\n| | |\n|---|---|\n{body}"


def _measured(results: Sequence[Mapping[str, Any]]) -> str:
    chosen = [row for row in results if row.get("label") in ("macro", "all") and not row.get("subgroup")]
    if not chosen:
        return ""
    head = (
        "| protocol | dataset | metric | share of labels | value | 95 % interval | n |\n|---|---|---|---|---|---|---|\n"
    )
    body = "\n".join(
        f"| {row['protocol']} | {row['dataset']} | {row['metric']} | {100 * row['fraction']:g} % "
        f"| {_number(row['value'])} | {_interval(row)} | {row['n']} |"
        for row in chosen[:_MOST_RESULTS]
    )
    more = f"\n\n{len(chosen) - _MOST_RESULTS} further rows are in {ORIGIN}." if len(chosen) > _MOST_RESULTS else ""
    return f"## Measured\n\nTest patients of the run's own evaluation.\n\n{head}{body}{more}"


def _interval(row: Mapping[str, Any]) -> str:
    drawn_by = row.get("drawn_by", "")
    how = "" if drawn_by in ("", BY_PATIENT) else f" (by {drawn_by})"
    return f"{_number(row['ci_low'])} to {_number(row['ci_high'])}{how}"


def _parity(parity: Mapping[str, Any]) -> str:
    head = "| graph | compared with | films | largest difference | smallest cosine | change of a probe's AUROC |\n"
    rule = "|---|---|---|---|---|---|\n"
    body = "\n".join(
        f"| {each['file']} | {each['compared_with']} | {each['films']} | {each['max_abs_difference']:.2g} "
        f"| {each['min_cosine']:.6f} | {'' if each['auroc_change'] is None else format(each['auroc_change'], '+.4f')} |"
        for each in parity["graphs"]
    )
    refused = "".join(f"\n\n{sentence}." for sentence in parity["refused"].values())
    return f"## Graphs\n\nOn simulated films.\n\n{head}{rule}{body}{refused}"


def _files(export: ExportFolder) -> str:
    lines = [
        f"- `{name}`: {what}"
        for name, what in _FILES.items()
        if all((export.folder / each.strip()).exists() for each in name.split(","))
    ]
    return "## Files\n\n" + "\n".join(lines) + "\n\n`pacx serve PATH` answers over HTTP without torch."


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)
