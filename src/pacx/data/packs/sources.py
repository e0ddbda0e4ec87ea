"""The files behind records: which there are, what they are known by, and reading them film by film.

What packing and the doctor share. Everything here walks the table row by row: the memory it takes does not grow with
the number of films beyond the table itself.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pacx.data.decoded_films import Film
from pacx.data.images.array_rows import ImageRef
from pacx.data.records import MASK_PREFIX, NEGATIVE_COLUMN, Records

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
        some = rows[start : start + _ROWS_AT_ONCE]
        part = records.table[columns].iloc[some]
        for (name, image, *masks), is_negative in zip(
            part.itertuples(index=False), _are_negative(records, some), strict=True
        ):
            refs = (ImageRef.parse(mask, records.root) if mask else None for mask in masks)
            yield Film(name, ImageRef.parse(image, records.root), tuple(refs), is_negative)


def _are_negative(records: Records, rows: NDArray[np.int64]) -> list[bool]:
    if NEGATIVE_COLUMN not in records.table:
        return [False] * len(rows)
    return [bool(each) for each in records.table[NEGATIVE_COLUMN].iloc[rows]]


def images(records: Records) -> Iterator[tuple[str, ImageRef]]:
    """Every image and mask with its column, column by column."""
    for column in image_columns(records):
        for start in range(0, len(records), _ROWS_AT_ONCE):
            for name in records.table[column].iloc[start : start + _ROWS_AT_ONCE]:
                if name:
                    yield column, ImageRef.parse(name, records.root)


@dataclass(frozen=True)
class SourceStamps:
    """What the records and the files behind them were when they were looked at, each file once.

    Attributes:
        fingerprint: SHA-256 over the records and the size and time of every file they name.
        films: one word per film, over its id, whether it is a negative, and the names, sizes and times of its files:
            two films of one word have the same pixels.
    """

    fingerprint: str
    films: list[str]

    @classmethod
    def of(cls, records: Records) -> "SourceStamps":
        """Look at every file."""
        digest = hashlib.sha256(
            repr((records.label_names, records.mask_names, records.notes, records.dataset)).encode()
        )
        hash_table(records.table, digest)
        are_negative = _are_negative(records, np.arange(len(records)))
        films = [
            _word("negative" if each else "", name)
            for name, each in zip(records.table["sample_id"], are_negative, strict=True)
        ]
        for column in image_columns(records):
            for start in range(0, len(records), _ROWS_AT_ONCE):
                for row, name in enumerate(records.table[column].iloc[start : start + _ROWS_AT_ONCE], start):
                    stamp = f"{ImageRef.parse(name, records.root).stamp()}\n" if name else ""
                    digest.update(stamp.encode())
                    films[row] = _word(films[row], name, stamp)
        return cls(digest.hexdigest(), films)


def _word(*parts: str) -> str:
    return hashlib.blake2b(repr(parts).encode(), digest_size=8).hexdigest()


def hash_table(table: "pd.DataFrame", digest: "hashlib._Hash") -> None:
    """Feed a table's content to a hash, in a form that does not depend on the version of a file format."""
    digest.update(table.iloc[:0].to_csv(index=False).encode())
    for start in range(0, len(table), _ROWS_AT_ONCE):
        digest.update(table.iloc[start : start + _ROWS_AT_ONCE].to_csv(index=False, header=False).encode())
