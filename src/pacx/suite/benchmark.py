"""One dataset of an evaluation: its packs, one per input size, and every encoder's embeddings of it, kept on disk."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pacx.core.artifacts import staged_file
from pacx.core.errors import DataError, UsageError
from pacx.data.packs.pack import Pack
from pacx.evaluation.embeddings import embed_each
from pacx.models.encoders.by_name import NamedEncoder

_ANYBODYS = ("", "folder", "dicom-folder")
"""Datasets whose name says nothing of what is in them."""


class Benchmark:
    """A dataset under its name, and the encoders that are asked about it.

    Args:
        name: what result rows call the dataset.
        packs: of the same films, by side in pixels.
        encoders: all of them; each takes the pack of its own size.
        embeddings: folder in which embeddings are kept.

    Raises:
        UsageError: an encoder's input size has no pack.
        DataError: the packs hold different films.
    """

    def __init__(
        self, name: str, packs: Mapping[int, Pack], encoders: Sequence[NamedEncoder], embeddings: Path
    ) -> None:
        self.name, self.packs, self.encoders = name, packs, encoders
        self.embeddings = embeddings
        for encoder in encoders:
            if encoder.preprocessing.image_size_px not in packs:
                raise UsageError(
                    f"encoder {encoder.name} takes films of {encoder.preprocessing.image_size_px} pixels, the pack of "
                    f"{name} has {', '.join(map(str, sorted(packs)))}; pack the dataset a second time with "
                    f"--image-size-px {encoder.preprocessing.image_size_px} and give both packs"
                )
        first, *others = packs.values()
        for other in others:
            if not np.array_equal(first.sample_ids, other.sample_ids) or not first.table["split"].equals(
                other.table["split"]
            ):
                raise DataError(
                    f"{first.path} and {other.path} are both {name} but differ in films or splits; pack both from the "
                    "same copy with the same seed"
                )

    @property
    def pack(self) -> Pack:
        """Any of the packs: labels, patients and splits are the same in all."""
        return next(iter(self.packs.values()))

    def pack_for(self, encoder: NamedEncoder) -> Pack:
        """The pack of the encoder's input size."""
        return self.packs[encoder.preprocessing.image_size_px]

    def by_size(self) -> Mapping[int, Sequence[NamedEncoder]]:
        """Encoders that read the same pack, in the order given."""
        sizes = dict.fromkeys(encoder.preprocessing.image_size_px for encoder in self.encoders)
        return {
            size: [encoder for encoder in self.encoders if encoder.preprocessing.image_size_px == size]
            for size in sizes
        }

    def embeddings_file(self, encoder: NamedEncoder) -> Path:
        """Where the encoder's embeddings of this dataset lie."""
        return self.embeddings / f"{self.name}.{encoder.name}.npz"

    def embed(self, weights_sha256: Mapping[str, str], device: str) -> None:
        """Embed every film by each encoder of which no file is there that came of the same pack and weights.

        Args:
            weights_sha256: by encoder name.
            device: where the encoders run.
        """
        for size, encoders in self.by_size().items():
            pack, missing = self.packs[size], {}
            for encoder in encoders:
                origin = f"{pack.fingerprint} {weights_sha256[encoder.name]} {encoder.stands_for}"
                if not _is_of(origin, self.embeddings_file(encoder)):
                    missing[encoder.name] = (encoder, origin)
            of_each = {name: encoder.encoder for name, (encoder, _) in missing.items()}
            for name, array in embed_each(of_each, pack, device=device):
                encoder, origin = missing[name]
                with staged_file(self.embeddings_file(encoder)) as partial, partial.open("wb") as opened:
                    np.savez(opened, origin=origin, sample_ids=pack.sample_ids.astype(np.str_), embeddings=array)

    def features(self) -> Mapping[str, NDArray[np.float32]]:
        """Per encoder name float32 (N, D), row i for film i, from the files that ``embed`` wrote.

        Raises:
            DataError: a file is not there, or holds embeddings of other films, be they as many.
        """
        found = {}
        for encoder in self.encoders:
            file = self.embeddings_file(encoder)
            if not file.is_file():
                raise DataError(f"{file} is not there; evaluate again, or verify at the depth 'encoders'")
            with np.load(file, allow_pickle=False) as kept:
                if not np.array_equal(kept["sample_ids"], self.pack.sample_ids.astype(np.str_)):
                    raise DataError(
                        f"{file} holds embeddings of other films than {self.pack.path} has, or in another order; "
                        "delete the file, so that they are made anew"
                    )
                found[encoder.name] = kept["embeddings"]
        return found


def _is_of(origin: str, file: Path) -> bool:
    if not file.is_file():
        return False
    with np.load(file, allow_pickle=False) as kept:
        return str(kept["origin"]) == origin


def benchmarks_of(packs: Sequence[Pack], encoders: Sequence[NamedEncoder], embeddings: Path) -> list[Benchmark]:
    """Packs as datasets, in the order given; packs of one dataset and different sizes belong together.

    A dataset is called as its adapter is; a user's own folder, or the second pack of one dataset and size (other
    splits), as its pack is.

    Raises:
        UsageError: two packs would carry the same name, or an encoder has no pack of its size.
        DataError: packs of one dataset hold different films.
    """
    grouped: dict[str, dict[int, Pack]] = {}
    for pack in packs:
        size = pack.preprocessing.image_size_px
        name = pack.path.name if pack.manifest.dataset in _ANYBODYS else pack.manifest.dataset
        if size in grouped.get(name, {}):
            name = pack.path.name
        if size in grouped.get(name, {}):
            raise UsageError(f"two packs of {size} pixels are called {name}; rename one of the folders")
        grouped.setdefault(name, {})[size] = pack
    return [Benchmark(name, sizes, encoders, embeddings) for name, sizes in grouped.items()]
