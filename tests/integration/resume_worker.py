"""Trains a tiny masked autoencoder over an existing pack, in a process that can be killed."""

import sys
import time
from pathlib import Path

import torch
from torch import Tensor

from pacx.core.errors import InterruptedRunError
from pacx.data.augment import Augmentation
from pacx.data.packs.pack import Pack
from pacx.models.mae.model import MAEConfig
from pacx.training import checkpoints
from pacx.training.loop import TrainingConfig, train
from pacx.training.tasks.mae import MAETask, MAETaskConfig

MODEL = MAEConfig(
    img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=2, decoder_embed_dim=16, decoder_depth=1,
    decoder_num_heads=2, mask_ratio=0.75,
)  # fmt: skip


def config(num_workers: int = 0, epochs: int = 12) -> TrainingConfig:
    return TrainingConfig(
        epochs=epochs,
        batch_size=8,
        learning_rate=1e-3,
        warmup_epochs=1,
        betas=(0.9, 0.95),
        num_workers=num_workers,
        ema_decay=0.9,  # then mae.safetensors is the average: one comparison sees both
        seed=5,
        accelerator="cpu",
        log_every_steps=2,
    )


def task(pack: Pack) -> MAETask:
    task_config = MAETaskConfig(model=MODEL, augmentation=Augmentation.STAGE1_RELEASED)
    return MAETask(pack, pack.rows("train"), pack.rows("val"), task_config, seed=5)


def slow_disk(pause_s: float) -> None:
    """Let this process take so much longer for each file of a checkpoint.

    Whoever waits for a checkpoint to be begun sees it, and a run that is to be killed is not over before, however
    late the watcher gets its turn on a busy machine.
    """
    fast = checkpoints.save_file

    def slow(tensors: dict[str, Tensor], path: Path) -> None:
        time.sleep(pause_s)
        fast(tensors, path)

    checkpoints.save_file = slow


def run(pack_path: Path, run_path: Path, resume: bool, num_workers: int, epochs: int, pause_s: float) -> None:
    torch.set_num_threads(1)
    slow_disk(pause_s)
    try:
        train(task(Pack.open(pack_path)), config(num_workers, epochs), run_path, resume=resume)
    except InterruptedRunError as error:  # as the command does
        sys.stderr.write(str(error))
        sys.exit(error.exit_code)
