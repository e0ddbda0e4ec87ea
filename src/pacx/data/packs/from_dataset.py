"""A dataset as its makers ship it to a pack, in one call."""

from dataclasses import replace
from pathlib import Path

from pacx.core.preprocessing import Preprocessing
from pacx.data.dataset import datasets
from pacx.data.images.decode import Decoding
from pacx.data.packs.pack import Pack
from pacx.data.packs.packing import pack_records
from pacx.data.packs.splitting import divided
from pacx.data.splits import SplitPolicy


def pack_dataset(
    name: str,
    root: Path | str,
    out: Path | str,
    *,
    image_size_px: int = 224,
    options: object | None = None,
    seed: int = 0,
    split_policy: SplitPolicy = SplitPolicy.PATIENT,
    max_bad_fraction: float = 0.001,
    num_workers: int = 1,
    overwrite: bool = False,
) -> Pack:
    """Decode a dataset's films and masks once, as ``pacx data pack`` does, and open the pack.

    Args:
        name: of the dataset, as ``pacx data list`` shows it; ``folder`` for a folder of one's own films.
        root: the folder as its makers distribute it.
        out: the pack to write; one that holds the same films already is opened and not made again.
        image_size_px: side of the packed squares, the encoder's input size.
        options: how to read the dataset, of its ``options_type``; None takes the defaults.
        seed: of the splits, where the dataset has none of its own.
        split_policy: who divides films that their makers leave undivided.
        max_bad_fraction: share of films that may be unreadable; they are quarantined by name and reason.
        num_workers: decoding processes; they change no byte. A script that asks for more than one needs the usual
            ``if __name__ == "__main__"``, for it is imported again by each of them.
        overwrite: replace another pack at ``out``.

    Returns:
        The pack, opened: its images are uint8 (N, S, S) with S = ``image_size_px``, on disk.

    Raises:
        UsageError: no dataset of this name, or ``root`` does not hold it.
        DataError: the files are not what the dataset's description says, or too many films cannot be read.
        ArtifactError: the pack cannot be written.

    Example:
        >>> from pacx.data import pack_dataset
        >>> pack = pack_dataset("folder", "films", "packs/own", image_size_px=64)
        >>> pack.images.shape[1:], pack.quarantined
        ((64, 64), ())
    """
    dataset = datasets().called(name, "dataset")
    read = dataset.read(Path(root), dataset.options_type() if options is None else options)
    records = divided(replace(read, dataset=dataset.card.name), dataset, seed, split_policy)
    return pack_records(
        records,
        Path(out),
        preprocessing=Preprocessing(image_size_px=image_size_px),
        decoding=Decoding(),
        max_bad_fraction=max_bad_fraction,
        num_workers=num_workers,
        overwrite=overwrite,
    )
