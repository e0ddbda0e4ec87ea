"""Of several processes that train an encoder, the first embeds; torch's fake group stands for the others."""

import numpy as np
import pytest
import torch.distributed as dist
from torch.testing._internal.distributed.fake_pg import FakeStore

from pacx.modalities.vitals import VITALS_PANEL
from pacx.recipes.vitals import VitalsRun
from pacx.training.loop import TrainingConfig


@pytest.mark.parametrize("rank", [0, 1])
def test_only_the_first_process_writes_targets(tmp_path, rank):
    values = np.random.default_rng(0).normal(50, 5, (20, len(VITALS_PANEL)))
    lines = [f"s{number}," + ",".join(f"{value:.3f}" for value in row) for number, row in enumerate(values)]
    table = tmp_path / "vitals.csv"
    table.write_text("\n".join(["sample_id," + ",".join(VITALS_PANEL.keys), *lines]) + "\n")
    training = TrainingConfig(epochs=1, batch_size=4, learning_rate=1e-3, accelerator="cpu")
    dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=2)
    try:
        VitalsRun(table=table, out=tmp_path / "run", training=training).run()
    finally:
        dist.destroy_process_group()
    assert (tmp_path / "run/vitals").is_dir()
    assert (tmp_path / "run/targets").is_dir() == (rank == 0)
