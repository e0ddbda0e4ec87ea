"""Goes on training the tiny task as one of several processes, started as torchrun would start them."""

import os
from dataclasses import replace
from pathlib import Path

import torch
from tiny_task import CONFIG, TinyTask

from pacx.training.loop import train


def run(run_path: Path, rank: int, world_size: int, port: int) -> None:
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world_size)}
    os.environ |= {"LOCAL_RANK": str(rank), "NODE_RANK": "0"}
    train(TinyTask(dropout=0.0), replace(CONFIG, devices=world_size), run_path, resume=True)
    (run_path / f"rank-{rank}").write_text(str(torch.distributed.get_world_size()))
    torch.distributed.destroy_process_group()
