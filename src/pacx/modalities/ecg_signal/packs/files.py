"""The files of an ECG pack while they are written: they grow block by block, and survive whatever ends the writing.

`prepared block -> signals.npy, journal line`. A journal line says which recordings a block holds, what their bytes sum
to, and whom it leaves out; whoever finds the folder again keeps the blocks whose bytes are there as the journal says,
and goes on after them.
"""

import hashlib
import io
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pacx.core.artifacts import sha256_of
from pacx.core.errors import UsageError
from pacx.core.quarantine import Quarantined
from pacx.core.vocabulary import ECG_LEADS
from pacx.data.packs.journal import JOURNAL_FILE, begin_after, first_line, growing, whole_lines, write_line
from pacx.modalities.ecg_signal.arrays import on_patients
from pacx.modalities.ecg_signal.doubts import Doubt
from pacx.modalities.ecg_signal.packs.pack import RECORDS_FILE, SIGNALS_FILE, EcgManifest
from pacx.modalities.ecg_signal.prepared import PreparedBlock, PreparedEcg, digest_of
from pacx.models.ecg.input import EcgPreprocessing

_ROWS_PER_GROUP = 4096


class EcgPackFiles:
    """The growing files of one pack.

    Attributes:
        entries: the recordings that are written, in order.
        bad: those left out, with where in the source each is.
        num_read: how many of the source's recordings either is.
    """

    def __init__(self, signals: BinaryIO, journal: BinaryIO, num_samples: int) -> None:
        self._signals, self._journal, self._row_shape = signals, journal, (len(ECG_LEADS), num_samples)
        self.entries: list[PreparedEcg] = []
        self.bad: list[tuple[int, Quarantined]] = []

    @property
    def num_read(self) -> int:
        """Recordings that need not be read again."""
        return len(self.entries) + len(self.bad)

    def written(self, blocks: Iterable[PreparedBlock]) -> Iterator[int]:
        """Write each block as it comes, then the line that says so.

        Yields:
            How many recordings of the source were behind it.
        """
        for block in blocks:
            self._signals.write(np.ascontiguousarray(block.signals).data)
            self._signals.flush()
            line = {"entries": block.entries, "bad": [[row, asdict(each)] for row, each in block.quarantined]}
            write_line(self._journal, line)
            self._count(block.entries, block.quarantined)
            yield len(block.entries) + len(block.quarantined)

    def _count(self, entries: list[PreparedEcg], bad: list[tuple[int, Quarantined]]) -> None:
        self.entries += entries
        self.bad += bad

    def resume(self, first: bytes) -> None:
        """Keep the whole blocks of this work; where there are none, begin."""
        self._write_header()
        end = len(first)
        if self._journal.readline() == first:
            for entries, bad in self._whole_blocks():
                end = self._journal.tell()
                self._count(entries, bad)
        else:
            self._journal.seek(0)
            self._journal.write(first)
        begin_after(self._journal, end)
        self._write_header()
        self._signals.seek(len(self.entries) * 4 * int(np.prod(self._row_shape)), io.SEEK_CUR)
        self._signals.truncate()

    def _whole_blocks(self) -> Iterator[tuple[list[PreparedEcg], list[tuple[int, Quarantined]]]]:
        row_bytes = 4 * int(np.prod(self._row_shape))
        for line in whole_lines(self._journal):
            entries = [_entry(values) for values in line["entries"]]
            for entry in entries:
                if digest_of(self._signals.read(row_bytes)) != entry.digest:
                    return
            yield entries, [(row, Quarantined(**values)) for row, values in line["bad"]]

    def _write_header(self) -> None:
        """Say how many rows there are, and stand before the first; numpy pads it so that they may grow in place."""
        header = io.BytesIO()
        shape = (len(self.entries), *self._row_shape)
        np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
        self._signals.seek(0)
        self._signals.write(header.getvalue())

    def finished(
        self,
        folder: Path,
        preprocessing: EcgPreprocessing,
        source: tuple[str, str],
        notes: tuple[str, ...],
        place: str,
    ) -> EcgManifest:
        """Finish the files, write the table, and describe both.

        Args:
            folder: of the pack.
            preprocessing: what the samples went through.
            source: SHA-256 over what was read and how, and the source's stamp.
            notes: of the source.
            place: what should have named the patients.
        """
        self._write_header()
        self._signals.flush()
        _table(folder, self.entries)
        alone = ["" if entry.patient_id == entry.sample_id else entry.patient_id for entry in self.entries]
        content = hashlib.sha256(repr(preprocessing).encode())
        for entry in self.entries:
            content.update(repr((entry.sample_id, entry.patient_id, entry.digest)).encode())
        return EcgManifest(
            num_recordings=len(self.entries),
            preprocessing=preprocessing,
            has_voltage=all(entry.is_millivolt for entry in self.entries),
            fingerprint=content.hexdigest(),
            source_fingerprint=source[0],
            source_stamp=source[1],
            records_sha256=sha256_of(folder / RECORDS_FILE),
            quarantined=tuple(each for _, each in self.bad),
            notes=(*notes, *(on_patients(alone, len(alone), place) if place else ()), *_doubted(self.entries)),
        )


def _doubted(entries: list[PreparedEcg]) -> Iterator[str]:
    """How many recordings are strange in each way."""
    for doubt in Doubt:
        if number := sum(doubt.name in entry.doubts for entry in entries):
            yield f"{number:,} of {len(entries):,} recordings: each {doubt.value}"


def _table(folder: Path, entries: list[PreparedEcg]) -> None:
    import pandas as pd

    table = pd.DataFrame(entries, columns=list(PreparedEcg._fields))
    for column in ("derived", "doubts"):
        table[column] = [" ".join(values) for values in table[column]]
    with (folder / RECORDS_FILE).open("wb") as file:  # by name, pyarrow takes paths of valid text only
        table.to_parquet(file, index=False, row_group_size=_ROWS_PER_GROUP)


def entries_of(table: Any) -> list[PreparedEcg]:  # noqa: ANN401 - a pandas table
    """The rows of a pack's table as they were written."""
    return [_entry(values) for values in table.itertuples(index=False, name=None)]


def _entry(values: Any) -> PreparedEcg:  # noqa: ANN401 - of a table or of JSON
    entry = PreparedEcg(*values)
    derived, doubts = (
        tuple(value.split() if isinstance(value, str) else value) for value in (entry.derived, entry.doubts)
    )
    return entry._replace(derived=derived, doubts=doubts)


@contextmanager
def ecg_pack_files(folder: Path, source: str, num_samples: int, *, is_anew: bool = False) -> Iterator[EcgPackFiles]:
    """Open the growing files of a pack in ``folder``, and go on where an earlier call ended.

    What ends this one leaves the files; they go only where they hold no recording.

    Args:
        folder: where they are, or will be.
        source: SHA-256 over what is read and how.
        num_samples: of each recording.
        is_anew: remove what other work left in the folder.

    Raises:
        UsageError: the folder holds recordings of other work.
    """
    first, names = first_line(source), (SIGNALS_FILE, JOURNAL_FILE)
    begun = (folder / JOURNAL_FILE).read_bytes() if (folder / JOURNAL_FILE).is_file() else b""
    if not begun.startswith(first):
        if begun.count(b"\n") > 1 and not is_anew:
            raise UsageError(
                f"{folder} holds recordings of a pack that was begun from other files, with other options, or by "
                "another version of PaCX; give those again, choose another folder for this pack, or remove that one"
            )
        for name in names:
            (folder / name).unlink(missing_ok=True)
    with ExitStack() as opened:
        signals, journal = (opened.enter_context(growing(folder / name)) for name in names)
        files = EcgPackFiles(signals, journal, num_samples)
        files.resume(first)
        try:
            yield files
        except BaseException as error:
            if files.entries:
                error.add_note(f"{files.num_read:,} recordings are kept; run the same command again to go on")
            else:
                for name in names:
                    (folder / name).unlink()
            raise
