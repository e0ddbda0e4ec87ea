"""MATLAB files of one recording: CPSC 2018's, and any one array of 12 leads.

``val`` of the PhysioNet challenges has a header (.hea) beside it, by which it is a WFDB record; without it nobody knows
rate, unit and leads. CPSC 2018's structure ``ECG`` (``sex``, ``age``, ``data``) says none of them either, but has been
described: 500 Hz, millivolts, the leads in the usual order; what somebody says counts before that. MATLAB 7.3 writes
HDF5, which is refused.

Source: 2018.icbeb.org/Challenge.html; MAT-File Format, versions 4 and 5.
"""

import io
import struct
import zlib
from pathlib import Path

import numpy as np

from pacx.core.host import require_memory
from pacx.core.vocabulary import ECG_LEADS
from pacx.modalities.ecg_signal.ecg_file import OneEcgFormat
from pacx.modalities.ecg_signal.facts import EcgFacts, EcgUnit, UnusableError
from pacx.modalities.ecg_signal.record import EcgRecord, Window, leads_first

_VERSION_5 = b"MATLAB 5.0 MAT-file"
_VERSION_7_3 = b"MATLAB 7.3 MAT-file"
_VERSION_4 = struct.Struct("<5i")
_HEADER_5 = 128
_BIG_ENDIAN = slice(126, 128), b"MI"
_COMPRESSED = 15
_AT_ONCE = 2**20
_CPSC_HZ = 500.0
_NAMES = ("val", "data", "ecg", "signal", "signals")
_STRINGS_AND_MORE = ("char", "cell", "struct", "object", "function", "opaque", "sparse", "unknown")


class Mat(OneEcgFormat):
    """A file of MATLAB's versions 4 to 7."""

    title = "MATLAB file"

    def recognises(self, head: bytes, path: Path) -> bool:
        """By the text of version 5, or the five numbers and the name with which version 4 begins."""
        if head.startswith((_VERSION_5, _VERSION_7_3)):
            return True
        if len(head) < _VERSION_4.size:
            return False
        kind, rows, columns, is_complex, length = _VERSION_4.unpack_from(head)
        name = head[_VERSION_4.size : _VERSION_4.size + max(length, 0)]
        is_plausible = kind in range(0, 60, 10) and min(rows, columns) > 0 and is_complex == 0 and 1 < length < 64
        return is_plausible and len(ECG_LEADS) in (rows, columns) and name[-1:] == b"\0" and name[:-1].isalnum()

    def read(self, path: Path, window: Window, facts: EcgFacts) -> EcgRecord:
        """The array of twelve leads, whichever of its axes they are."""
        from scipy.io import loadmat, whosmat

        with path.open("rb") as file:
            if file.read(len(_VERSION_7_3)) == _VERSION_7_3:
                raise UnusableError("was saved by MATLAB as version 7.3, which is not read; save it again with -v7")
        _require_room(path)
        shapes = {name: (shape, kind) for name, shape, kind in whosmat(str(path))}
        if shapes.get("ECG", ((), ""))[1] == "struct":
            stored = np.asarray(loadmat(str(path), simplify_cells=True)["ECG"]["data"])
            unit = facts.unit or EcgUnit.MILLIVOLT
            known = facts.behind(facts.rate_hz or _CPSC_HZ, unit, facts.leads or ECG_LEADS)
        else:
            arrays = [
                name
                for name, (shape, kind) in shapes.items()
                if len(shape) == 2 and len(ECG_LEADS) in shape and kind not in _STRINGS_AND_MORE
            ]
            named = [name for name in arrays if name.casefold() in _NAMES] or arrays
            if len(named) != 1:
                raise UnusableError(f"holds {'no' if not named else 'more than one'} array of twelve leads")
            stored, known = np.asarray(loadmat(str(path), variable_names=named)[named[0]]), facts.behind()
        if stored.dtype.kind not in "iuf":
            raise UnusableError("holds no array of numbers")
        signals = leads_first(stored[None])[0]
        wanted = window.within(signals.shape[1])
        factor = known.unit.millivolts
        return EcgRecord(
            signals=signals[:, wanted] * factor,
            stored_leads=known.leads,
            rate_hz=known.rate_hz,
            num_stored=signals.shape[1],
            resolution_mv=(None if stored.dtype.kind == "f" else factor,) * len(known.leads),
            is_millivolt=known.unit is not EcgUnit.RELATIVE,
        )


def _require_room(path: Path) -> None:
    """Refuse a file of version 5 that would grow beyond the memory: a thousandth of it may be all that lies there."""
    with path.open("rb") as file:
        head = file.read(_HEADER_5)
        if not head.startswith(_VERSION_5):
            return
        order = ">" if head[_BIG_ENDIAN[0]] == _BIG_ENDIAN[1] else "<"
        grown = 0
        while len(tag := file.read(8)) == 8:
            kind, size = struct.unpack(f"{order}2I", tag)
            if kind != _COMPRESSED:
                file.seek(size, io.SEEK_CUR)
                continue
            inflating = zlib.decompressobj()
            while size and (part := file.read(min(size, _AT_ONCE))):
                size -= len(part)
                while part:
                    grown += len(inflating.decompress(part, _AT_ONCE))
                    part = inflating.unconsumed_tail
                    require_memory(4 * grown, "the samples of a MATLAB file")


FORMAT = Mat()
