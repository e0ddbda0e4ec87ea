"""The files behind records: which there are, what they are known by, and reading them film by film.

What packing and the doctor share. Everything here walks the table row by row: the memory it takes does not grow with
the number of films beyond the table itself.
"""

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pacx.data.decoded_films import Film
from pacx.data.images.array_rows import ImageRef
from pacx.data.records import MASK_PREFIX, Records

if TYPE_CHECKING:
    import pandas as pd

_ROWS_AT_ONCE = 1024


def image_columns(records: Records) -> tuple[str, ...]:
    """The columns that hold paths: the films', then each mask's."""
    return ("image_path", *(MASK_PREFIX + name for name in records.mask_names))


def films(records: Records, rows: NDArray[np.int64]) -> Iterator[Film]:
    """The films of some rows, in that order."""
    columns = ["sample_id", *image_columns(records)]
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = records.table[columns].iloc[rows[start : start + _ROWS_AT_ONCE]]
        for name, image, *masks in part.itertuples(index=False):
            refs = (ImageRef.parse(mask, records.root) if mask else None for mask in masks)
            yield Film(name, ImageRef.parse(image, records.root), tuple(refs))


def images(records: Records) -> Iterator[tuple[str, ImageRef]]:
    """Every image and mask with its column, column by column."""
    for column in image_columns(records):
        for start in range(0, len(records), _ROWS_AT_ONCE):
            for name in records.table[column].iloc[start : start + _ROWS_AT_ONCE]:
                if name:
                    yield column, ImageRef.parse(name, records.root)


def source_fingerprint(records: Records) -> str:
    """SHA-256 over the records and the size and time of every file they name."""
    digest = hashlib.sha256(repr((records.label_names, records.mask_names, records.notes, records.dataset)).encode())
    hash_table(records.table, digest)
    for _, image in images(records):
        digest.update(f"{image.stamp()}\n".encode())
    return digest.hexdigest()


def hash_table(table: "pd.DataFrame", digest: "hashlib._Hash") -> None:
    """Feed a table's content to a hash, in a form that does not depend on the version of a file format."""
    digest.update(table.iloc[:0].to_csv(index=False).encode())
    for start in range(0, len(table), _ROWS_AT_ONCE):
        digest.update(table.iloc[start : start + _ROWS_AT_ONCE].to_csv(index=False, header=False).encode())
