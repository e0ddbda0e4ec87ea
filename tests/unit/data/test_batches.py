"""Batches are the same however they are fetched, and shares of devices make up the whole."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch

from pacx.core.errors import UsageError
from pacx.core.preprocessing import Preprocessing
from pacx.data.batches import Batch, epoch_batches
from pacx.data.packs.pack import Pack
from pacx.data.packs.packing import pack_records
from pacx.data.records import Records


@pytest.fixture
def pack(records: Records, tmp_path: Path) -> Pack:
    return pack_records(records, tmp_path / "pack", preprocessing=Preprocessing(image_size_px=16))


def batches(pack: Pack, rows: np.ndarray, **options: object) -> Iterator[Batch]:
    plain = {"batch_size": 8, "seed": 1, "epoch": 0, "shuffle": True, "drop_last": False}
    return epoch_batches(pack, rows, **{**plain, **options})


def rows_of(found: Iterator[Batch]) -> list[list[int]]:
    return [batch.rows.tolist() for batch in found]


ROWS = np.arange(5, 66)  # 61 films: seven batches of eight and one of five


def test_pixels_keys_and_rows_belong_together(pack: Pack) -> None:
    for batch in batches(pack, ROWS):
        assert batch.rows.dtype == torch.int64
        assert batch.images.dtype == torch.uint8
        assert np.array_equal(batch.images, pack.images[batch.rows.numpy()])
        assert np.array_equal(batch.keys, pack.keys[batch.rows.numpy()])


def test_an_epoch_is_every_film_once_and_drop_last_keeps_full_batches(pack: Pack) -> None:
    assert sorted(chain(*rows_of(batches(pack, ROWS)))) == ROWS.tolist()
    full = rows_of(batches(pack, ROWS, drop_last=True))
    assert [len(rows) for rows in full] == [8] * 7
    assert full == rows_of(batches(pack, ROWS))[:7]


@pytest.mark.parametrize("num_workers", [1, 2])
def test_workers_change_nothing(pack: Pack, num_workers: int) -> None:
    alone, helped = list(batches(pack, ROWS)), list(batches(pack, ROWS, num_workers=num_workers))
    assert len(alone) == len(helped)
    for one, other in zip(alone, helped, strict=True):
        assert torch.equal(one.rows, other.rows)
        assert torch.equal(one.images, other.images)
        assert np.array_equal(one.keys, other.keys)


def test_order_depends_on_seed_epoch_and_films_alone(pack: Pack) -> None:
    first = rows_of(batches(pack, ROWS))
    assert rows_of(batches(pack, ROWS[::-1])) == first
    assert rows_of(batches(pack, ROWS, epoch=1)) != first
    assert rows_of(batches(pack, ROWS, seed=2)) != first
    assert list(chain(*rows_of(batches(pack, ROWS[::-1], shuffle=False)))) == ROWS[::-1].tolist()


@pytest.mark.parametrize("world_size", [2, 4])
def test_the_shares_of_all_devices_make_up_the_global_batch(pack: Pack, world_size: int) -> None:
    whole = rows_of(batches(pack, ROWS))
    shares = [rows_of(batches(pack, ROWS, rank=rank, world_size=world_size)) for rank in range(world_size)]
    assert [list(chain(*parts)) for parts in zip(*shares, strict=True)] == whole


def test_no_global_generator_is_touched(pack: Pack) -> None:
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002 - to see that it is left alone
    for num_workers in (0, 1):
        list(batches(pack, ROWS, num_workers=num_workers))
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002 - as above


def test_impossible_batches_are_refused_at_the_call(pack: Pack) -> None:
    with pytest.raises(UsageError, match="8 cannot be divided among 3 devices"):
        batches(pack, ROWS, world_size=3)
    with pytest.raises(UsageError, match="61 films do not fill one batch of 62"):
        batches(pack, ROWS, batch_size=62, drop_last=True)
