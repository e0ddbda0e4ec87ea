"""``pacx data``: list datasets, and pack one: decode its films once for everything that follows."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import tyro

from pacx.cli import data_doctor
from pacx.cli.terminal import choose, parse, say
from pacx.core.preprocessing import Preprocessing
from pacx.data.dataset import Dataset, datasets
from pacx.data.packing import pack_records
from pacx.data.splits import SplitPolicy
from pacx.recipes.rows import with_released_code_splits, with_splits

_EXAMPLE = "pacx data pack folder --root films --out packs/films --image-size-px 224"
OptionsT = TypeVar("OptionsT")


@dataclass(frozen=True, kw_only=True)
class PackCall(Generic[OptionsT]):
    """Decode a dataset's films (and masks) once into a pack.

    Films that cannot be read are quarantined by name and reason. Where the makers define no split, patients are divided
    in the proportions of the dataset's card (95/5/0 for films without labels and masks).
    """

    root: Path
    """The folder as its makers distribute it."""

    out: Path
    """The pack to write."""

    image_size_px: int = 224
    """Side of the packed squares; the encoder's input size."""

    options: Annotated[OptionsT, tyro.conf.arg(name="")]
    """How to read this dataset."""

    seed: int = 0
    """Of the splits, where the dataset has none of its own."""

    split_policy: Annotated[SplitPolicy, tyro.conf.EnumChoicesFromValues] = SplitPolicy.PATIENT
    """Who divides films that their makers leave undivided: we, by patient, or the released code, by image."""

    max_bad_fraction: float = 0.001
    """Stop when more films than this share cannot be read."""

    num_workers: int = 2
    """Decoding processes; never changes a byte."""

    overwrite: bool = False
    """Replace another pack at OUT."""


def _list() -> None:
    for name, dataset in datasets().items():
        card = dataset.card
        lines = [
            f"{name:<16} {card.title}",
            f"task: {card.task.value}; licence: {card.licence}",
            f"get it: {card.access}",
        ]
        lines += [f"       {pattern}" if row else f"files: {pattern}" for row, pattern in enumerate(card.layout)]
        say(f"\n{'':<17}".join(lines))


def _pack(dataset: Dataset[Any], words: Sequence[str]) -> None:
    kind: Any = PackCall[dataset.options_type]  # type: ignore[name-defined]
    call = parse(kind, words, verb=f"data pack {dataset.card.name}", example=_EXAMPLE)
    records = dataset.read(call.root, call.options)
    if call.split_policy is SplitPolicy.RELEASED_CODE:
        records = with_released_code_splits(records, dataset)
    else:
        records = with_splits(records, call.seed, dataset.card.splits)
    pack = pack_records(
        records,
        call.out,
        preprocessing=Preprocessing(image_size_px=call.image_size_px),
        max_bad_fraction=call.max_bad_fraction,
        num_workers=call.num_workers,
        overwrite=call.overwrite,
    )
    for note in pack.manifest.notes:
        say(f"note: {note}")
    for film in pack.quarantined:
        say(f"quarantined: {film.file}: {film.reason}")
    split = ", ".join(f"{len(pack.rows(name))} {name}" for name in ("train", "val", "test"))
    say(
        f"{len(pack)} films ({split}), {len(pack.label_names)} labels, {len(pack.mask_names)} masks, "
        f"{len(pack.quarantined)} quarantined; written to {call.out}"
    )


def main(words: Sequence[str]) -> None:
    """Run the verb."""
    actions = {
        "list": "the datasets there is an adapter for, and what to download",
        "doctor": "is a copy of a dataset complete and right?",
        "pack": "decode a dataset once into a pack",
    }
    action, rest = choose(words, "data", actions, _EXAMPLE)
    if action == "list":
        _list()
        return
    titles = {name: dataset.card.title for name, dataset in datasets().items()}
    name, rest = choose(rest, f"data {action}", titles, data_doctor.EXAMPLE if action == "doctor" else _EXAMPLE)
    {"doctor": data_doctor.main, "pack": _pack}[action](datasets()[name], rest)
