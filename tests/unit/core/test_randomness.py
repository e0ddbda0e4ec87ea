import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pacx.core import randomness

KEYS = randomness.sample_keys([f"sample-{i}" for i in range(4000)])


def splitmix64(state: int) -> int:
    """The published algorithm, one Python integer at a time: the independent oracle."""
    mask = (1 << 64) - 1
    z = state & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


def test_uniform_equals_a_slow_integer_oracle() -> None:
    keys = KEYS[:3]
    got = randomness.uniform(7, "mask", 2, keys, 4)
    tag = randomness._hash64("7/mask/2")
    for row, key in enumerate(keys):
        start = splitmix64(int(key) ^ tag)
        for column in range(4):
            word = splitmix64(start + (column + 1) * 0x9E3779B97F4A7C15)
            assert got[row, column] == (word >> 11) / 2**53


def test_published_test_vector() -> None:
    # First outputs of SplitMix64 seeded with 1234567, as listed with the reference implementation.
    words = [splitmix64(1234567 + i * 0x9E3779B97F4A7C15) for i in (1, 2)]
    assert words == [6457827717110365317, 3203168211198807973]


def test_a_row_depends_on_its_own_key_alone() -> None:
    whole = randomness.uniform(1, "crop", 5, KEYS, 6)
    chosen = np.array([3, 999, 17])
    np.testing.assert_array_equal(randomness.uniform(1, "crop", 5, KEYS[chosen], 6), whole[chosen])
    np.testing.assert_array_equal(randomness.uniform(1, "crop", 5, KEYS, 2), whole[:, :2])


@pytest.mark.parametrize("change", [{"seed": 2}, {"stream": "mask"}, {"epoch": 6}])
def test_every_argument_matters(change: dict[str, object]) -> None:
    arguments: dict[str, object] = {"seed": 1, "stream": "crop", "epoch": 5}
    one = randomness.uniform(**arguments, keys=KEYS, count=1)
    other = randomness.uniform(**{**arguments, **change}, keys=KEYS, count=1)
    assert abs(np.corrcoef(one[:, 0], other[:, 0])[0, 1]) < 0.06
    assert (one != other).all()


def test_numbers_are_uniform_and_uncorrelated() -> None:
    draws = randomness.uniform(0, "noise", 0, KEYS, 8)
    assert stats.kstest(draws.ravel(), "uniform").pvalue > 1e-3
    correlation = np.corrcoef(draws.T) - np.eye(8)
    assert np.abs(correlation).max() < 0.06
    neighbours = np.corrcoef(draws[:-1, 0], draws[1:, 0])[0, 1]
    assert abs(neighbours) < 0.06


@given(st.integers(0, 2**31), st.integers(0, 500))
def test_order_is_a_permutation(seed: int, epoch: int) -> None:
    assert sorted(randomness.order(seed, "order", epoch, KEYS[:50])) == list(range(50))


def test_order_follows_the_sample_not_its_place() -> None:
    forward = KEYS[randomness.order(3, "order", 0, KEYS)]
    backward = KEYS[::-1][randomness.order(3, "order", 0, KEYS[::-1])]
    np.testing.assert_array_equal(forward, backward)


def test_generators_are_private() -> None:
    state = np.random.get_state()[1].copy()  # noqa: NPY002 - the very thing that must not change
    first = randomness.generator(1, "ecg", "p1").random(3)
    np.testing.assert_array_equal(first, randomness.generator(1, "ecg", "p1").random(3))
    assert (first != randomness.generator(1, "ecg", "p2").random(3)).all()
    np.testing.assert_array_equal(state, np.random.get_state()[1])  # noqa: NPY002 - as above
