"""Stateless randomness: every random number is a pure function of (seed, stream, epoch, sample id).

Nothing is drawn from a global generator and nothing has to be saved: the order of samples, a crop, an augmentation or
a mask can be recomputed for any step, on any number of workers or devices, by whoever knows the seed. A *stream* is a
short name that keeps the purposes apart ("order", "mask", "crop", ...).

Per-sample numbers come from SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators")
run as a counter-based generator; everything that needs a long private sequence takes a numpy Philox generator keyed
by a hash.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_TO_UNIT = 2.0**-53


def _hash64(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finaliser: a bijection of 64-bit words whose output bits depend on all input bits."""
    x = (x ^ (x >> np.uint64(30))) * _MIX_1
    x = (x ^ (x >> np.uint64(27))) * _MIX_2
    return x ^ (x >> np.uint64(31))


def seed_of(seed: int, *labels: str | int) -> int:
    """A 63-bit seed for a library that wants its own (torch.Generator), fixed by the seed and the labels."""
    return _hash64("/".join([str(seed), *map(str, labels)])) >> 1


def generator(seed: int, *labels: str | int) -> np.random.Generator:
    """A private numpy generator (Philox) for one named purpose, for example one patient's ECG."""
    return np.random.Generator(np.random.Philox(key=seed_of(seed, *labels)))


def sample_keys(sample_ids: Sequence[str]) -> NDArray[np.uint64]:
    """One 64-bit key per sample id, shape (N,): the form in which the functions below take a sample."""
    return np.fromiter((_hash64(str(sample)) for sample in sample_ids), dtype=np.uint64, count=len(sample_ids))


def _words(seed: int, stream: str, epoch: int, keys: NDArray[np.uint64], count: int) -> NDArray[np.uint64]:
    start = _mix(keys ^ np.uint64(_hash64(f"{seed}/{stream}/{epoch}")))  # (N,)
    steps = np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN_GAMMA  # (count,)
    return _mix(start[:, None] + steps[None, :])  # (N, count)


def uniform(seed: int, stream: str, epoch: int, keys: NDArray[np.uint64], count: int) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1), shape (N, count); row i depends on nothing but (seed, stream, epoch, keys[i])."""
    return (_words(seed, stream, epoch, keys, count) >> np.uint64(11)).astype(np.float64) * _TO_UNIT


def order(seed: int, stream: str, epoch: int, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """A permutation of range(N) for one epoch; equal keys keep their relative order."""
    return np.argsort(_words(seed, stream, epoch, keys, 1)[:, 0], kind="stable")
