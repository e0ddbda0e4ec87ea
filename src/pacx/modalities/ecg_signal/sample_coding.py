"""How carts make samples small: differences of first or second order, and Huffman codes as SCP-ECG has them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pacx.modalities.ecg_signal.facts import UnusableError

_BITS = 16
_MOST_TABLES = 16
_TOO_FEW = "has fewer samples than it says; export it again"
_DAMAGED = "has compressed samples that are damaged; export it again"


def in_16_bits(samples: NDArray[np.int64]) -> NDArray[np.int64]:
    """Samples as coders keep them: what did not fit went round when it was coded, and comes round again."""
    return samples.astype(np.int16).astype(np.int64)


def undone(stored: NDArray[np.int64], order: int) -> NDArray[np.int64]:
    """The samples, in 16 bits.

    Args:
        stored: (T,) the first ``order`` samples as they are, then differences.
        order: 0 (the samples themselves), 1 or 2.
    """
    samples = stored.astype(np.int64)
    if order == 2 and len(samples) > 1:
        samples[1] -= samples[0]
        samples[1:] = np.cumsum(samples[1:])
    if order:
        samples = np.cumsum(samples)
    return in_16_bits(samples)


@dataclass(frozen=True)
class HuffmanCode:
    """One code of a table: up to 16 bits, the first one first, some followed by a number in bits.

    Args:
        prefix: its bits, the first one most significant.
        prefix_bits: how many, 1 to 16.
        extra_bits: of the signed number behind it, 0 to 16.
        value: what it stands for, to which that number is added; or the table to go on with, counted from 1.
        is_switch: whether it stands for a table.
    """

    prefix: int
    prefix_bits: int
    extra_bits: int
    value: int
    is_switch: bool = False


class HuffmanTables:
    """Tables of codes; decoding begins with the first.

    Raises:
        UnusableError: there is no table or too many, or a code is longer than 16 bits or begins like another one.
    """

    def __init__(self, tables: list[list[HuffmanCode]]) -> None:
        targets = [code.value for codes in tables for code in codes if code.is_switch]
        if not 1 <= len(tables) <= _MOST_TABLES or not all(1 <= target <= len(tables) for target in targets):
            raise UnusableError("has tables of codes that lead nowhere; leave it out")
        self._tables = [_Table(codes) for codes in tables]

    def decode(self, packed: bytes, count: int) -> NDArray[np.int64]:
        """The first ``count`` numbers.

        Raises:
            UnusableError: there are fewer, or something is no code.
        """
        windows, end = _windows(packed), 8 * len(packed)
        moves = {0: self._tables[0].moves(windows, end)}
        table = position = done = 0
        numbers: list[NDArray[np.int64]] = []
        while True:
            begins: list[int] = []  # of codes of one table in turn
            move = moves[table]
            for _ in range(count - done):
                if (bits := move[position]) <= 0:
                    break
                begins.append(position)
                position += bits
            if begins:
                numbers.append(self._tables[table].numbers(windows, np.array(begins, np.int64)))
            done += len(begins)
            if done == count:
                break
            if not bits:
                raise UnusableError(_DAMAGED if position < end else _TOO_FEW)
            table, position = self._tables[table].target(windows[position]), position - bits
            if table not in moves:
                moves[table] = self._tables[table].moves(windows, end)
        if position > end:
            raise UnusableError(_TOO_FEW)
        return np.concatenate(numbers)


class _Table:
    """The codes of a table, found by the next 16 bits."""

    def __init__(self, codes: list[HuffmanCode]) -> None:
        self._entries = np.full(2**_BITS, -1, np.int16)
        self._moves = np.zeros(2**_BITS, np.int16)
        for row, code in enumerate(codes):
            if not (1 <= code.prefix_bits <= _BITS and 0 <= code.extra_bits <= _BITS):
                raise UnusableError("has codes of a length that is not read; leave it out")
            spare = _BITS - code.prefix_bits
            begun = self._entries[code.prefix << spare : (code.prefix + 1) << spare]
            if (begun >= 0).any() or row > np.iinfo(np.int16).max:
                raise UnusableError("has codes that begin like each other; leave it out")
            begun[:] = row
            bits = -code.prefix_bits if code.is_switch else code.prefix_bits + code.extra_bits
            self._moves[code.prefix << spare : (code.prefix + 1) << spare] = bits
        self._prefix_bits, self._extra_bits, self._values = (
            np.array([getattr(code, name) for code in codes], np.int64)
            for name in ("prefix_bits", "extra_bits", "value")
        )

    def moves(self, windows: NDArray[np.int64], end: int) -> list[int]:
        """From each bit on, how many a code there takes; negative if it leads to another table, 0 = there is none."""
        moves = self._moves[windows]
        moves[end:] = 0
        return moves.tolist()

    def numbers(self, windows: NDArray[np.int64], begins: NDArray[np.int64]) -> NDArray[np.int64]:
        """What the codes stand for that begin at some bits."""
        entries = self._entries[windows[begins]]
        extra = self._extra_bits[entries]
        raw = windows[begins + self._prefix_bits[entries]] >> (_BITS - extra)
        return self._values[entries] + raw - ((raw >> np.maximum(extra - 1, 0)) << extra)

    def target(self, window: int) -> int:
        """The table that a code leads to, counted from 0."""
        return int(self._values[self._entries[window]]) - 1


def _windows(packed: bytes) -> NDArray[np.int64]:
    """The 16 bits from each bit on, zeros behind the end; some more of them than there are bits."""
    padded = np.frombuffer(packed + bytes(6), np.uint8).astype(np.int64)
    three = padded[:-2] << 16 | padded[1:-1] << 8 | padded[2:]
    return (three[:, None] >> (8 - np.arange(8)) & 0xFFFF).ravel()


def _standard() -> list[HuffmanCode]:
    """The table of EN 1064: 0, then up to 8 as a run of ones, a zero and a sign, else 8 or 16 bits."""
    codes = [HuffmanCode(0b0, 1, 0, 0)]
    for size in range(1, 9):
        run = (2**size - 1) << 2
        codes += [HuffmanCode(run | is_negative, size + 2, 0, -size if is_negative else size) for is_negative in (0, 1)]
    return [*codes, HuffmanCode(0b1111111110, 10, 8, 0), HuffmanCode(0b1111111111, 10, 16, 0)]


STANDARD = HuffmanTables([_standard()])
