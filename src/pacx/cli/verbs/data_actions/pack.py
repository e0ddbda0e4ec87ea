"""``pacx data pack`` and ``merge``: decode a dataset's films once for everything that follows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import tyro

from pacx.cli.terminal import parse, say
from pacx.core.preprocessing import Preprocessing
from pacx.data.dataset import Dataset
from pacx.data.images.decode import Decoding
from pacx.data.packs.merging import merge_shards
from pacx.data.packs.pack import Pack
from pacx.data.packs.packing import Shard, pack_records, pack_shard
from pacx.data.packs.splitting import divided
from pacx.data.pairs.linked_films import LinkedFilms, with_pairs_only
from pacx.data.splits import SplitPolicy

EXAMPLE = "pacx data pack folder --root films --out packs/films --image-size-px 224"
MERGE_EXAMPLE = "pacx data merge packs/films.shard-*-of-8 --out packs/films"
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

    links: Path | None = None
    """Pack only films that have a pair in these links, which pacx data link made, and call them as the links do."""

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
    """Replace another pack, or shard of one, at OUT."""

    scaled_jpeg: bool = False
    """Let JPEG's own transform shrink large films before they are resized: faster, and a little different; recorded."""

    allow_burned_in: bool = False
    """Pack DICOM films whose header says that text is burned in; recorded."""

    shard: str | None = None
    """Pack one part of the films only, 2/8 being the second of eight, for job arrays; merge puts the parts together."""


@dataclass(frozen=True, kw_only=True)
class MergeCall:
    """Put the shards of a dataset, made with --shard, together into the pack that one process would have written."""

    shards: tyro.conf.Positional[tuple[Path, ...]]
    """The folders of all the shards, in any order; they are left as they are."""

    out: Path
    """The pack to write."""

    max_bad_fraction: float = 0.001
    """Stop when more films than this share cannot be read."""


def main(dataset: Dataset[Any], words: Sequence[str]) -> None:
    """Pack a dataset."""
    kind: Any = PackCall[dataset.options_type]  # type: ignore[name-defined]  # known when called
    call = parse(kind, words, verb=f"data pack {dataset.card.name}", example=EXAMPLE)
    read = replace(dataset.read(call.root, call.options), dataset=dataset.card.name)
    if call.links is not None:
        read = with_pairs_only(read, LinkedFilms.open(call.links))
    records = divided(read, dataset, call.seed, call.split_policy)
    options: dict[str, Any] = {
        "preprocessing": Preprocessing(image_size_px=call.image_size_px),
        "decoding": Decoding(scaled_jpeg=call.scaled_jpeg, allow_burned_in=call.allow_burned_in),
        "max_bad_fraction": call.max_bad_fraction,
        "num_workers": call.num_workers,
    }
    if call.shard:
        shard = Shard.parse(call.shard)
        place = pack_shard(records, call.out, shard, overwrite=call.overwrite, **options)
        every = f"{call.out}.shard-*-of-{shard.of}"
        say(f"shard {call.shard} written to {place}; when all are: pacx data merge {every} --out {call.out}")
        return
    _describe(pack_records(records, call.out, overwrite=call.overwrite, **options))


def merge(words: Sequence[str]) -> None:
    """Put shards together."""
    call = parse(MergeCall, words, verb="data merge", example=MERGE_EXAMPLE)
    from pacx.cli.verbs.data_actions import pack_ecg
    from pacx.modalities.ecg_signal.packs.packing import is_ecg_shard, merge_ecg_shards

    if any(map(is_ecg_shard, call.shards)):
        pack_ecg.describe(merge_ecg_shards(call.shards, call.out, max_bad_fraction=call.max_bad_fraction))
        return
    _describe(merge_shards(call.shards, call.out, max_bad_fraction=call.max_bad_fraction))


def _describe(pack: Pack) -> None:
    for note in pack.manifest.notes:
        say(f"note: {note}")
    for film in pack.quarantined:
        say(f"quarantined: {film.file}: {film.reason}")
    split = ", ".join(f"{len(pack.rows(name))} {name}" for name in ("train", "val", "test"))
    say(
        f"{len(pack)} films ({split}), {len(pack.label_names)} labels, {len(pack.mask_names)} masks, "
        f"{len(pack.quarantined)} quarantined; written to {pack.path}"
    )
