"""Trains a tiny masked autoencoder over an existing pack, in a process that can be killed."""

import sys
from pathlib import Path

import torch

from pacx.core.errors import InterruptedRunError
from pacx.data.augment import Augmentation
from pacx.data.pack import Pack
from pacx.models.mae import MAEConfig
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


def run(pack_path: Path, run_path: Path, resume: bool, num_workers: int, epochs: int) -> None:
    torch.set_num_threads(1)
    try:
        train(task(Pack.open(pack_path)), config(num_workers, epochs), run_path, resume=resume)
    except InterruptedRunError as error:  # as the command does
        sys.stderr.write(str(error))
        sys.exit(error.exit_code)
