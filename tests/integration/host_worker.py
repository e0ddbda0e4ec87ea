"""One of several processes that train one model; torchrun starts it: host_worker.py PACK RUN NUM_NODES PAUSE_S."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import torch
from resume_worker import config, slow_disk, task

from pacx.core.errors import InterruptedRunError
from pacx.data.packs.pack import Pack
from pacx.training.config import TrainingConfig
from pacx.training.loop import train


def node_config(num_nodes: int = 1, devices: int = 1) -> TrainingConfig:
    return replace(config(epochs=30), num_nodes=num_nodes, devices=devices)


def run(pack: Path, out: Path, run_config: TrainingConfig) -> None:
    torch.set_num_threads(1)
    train(task(Pack.open(pack)), run_config, out, resume=True)


def run_rank(pack: Path, out: Path, run_config: TrainingConfig, rank: int, port: int) -> None:
    """As torchrun starts a process, without torchrun."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    os.environ |= {"LOCAL_RANK": str(rank), "NODE_RANK": "0"}
    try:
        run(pack, out, run_config)
    except InterruptedRunError as error:
        sys.exit(error.exit_code)
    finally:
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    slow_disk(float(sys.argv[4]))
    run(Path(sys.argv[1]), Path(sys.argv[2]), node_config(int(sys.argv[3])))
