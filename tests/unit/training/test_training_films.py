import numpy as np
import pytest
import torch

from pacx.training.config import TrainingConfig
from pacx.training.films import FilmStream

CPU = torch.device("cpu")
CONFIG = TrainingConfig(epochs=1, batch_size=8, learning_rate=1e-3, seed=9, accelerator="cpu")


@pytest.mark.parametrize("num_rows", [5, 48])
def test_films_in_device_memory_give_the_same_batches(blob_pack, num_rows):
    """Residence is for GPUs; the code is the same wherever the films are put."""
    rows = blob_pack.rows("train")[:num_rows]
    streamed, resident = FilmStream(blob_pack, rows), FilmStream(blob_pack, rows)
    assert resident._on(CPU).shape == (num_rows, 32, 32)
    for epoch, rank in ((0, 0), (1, 1)):
        pairs = zip(*(s.batches(epoch, CONFIG, rank, 2, CPU) for s in (streamed, resident)), strict=True)
        count = 0
        for one, other in pairs:
            assert torch.equal(one.rows, other.rows)
            assert torch.equal(one.images, other.images)
            assert np.array_equal(one.keys, other.keys)
            assert np.array_equal(one.images.numpy(), blob_pack.images[one.rows.numpy()])
            count += 1
        assert count == max(1, num_rows // 8)


def test_films_stay_in_the_pack_without_a_gpu(blob_pack):
    stream = FilmStream(blob_pack, blob_pack.rows("train"))
    next(stream.batches(0, CONFIG, 0, 1, CPU))
    assert stream._resident is None
