"""A small distillation that reads films through a whitening, also as one of several processes."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from pacx.core.randomness import generator
from pacx.data.augment_config import Augmentation
from pacx.data.packs.pack import Pack
from pacx.modalities.targets import FrozenTargets
from pacx.models.encoders.folder import LoadedEncoder
from pacx.models.vit import random_vit
from pacx.models.vit_config import Pooling, ViTConfig
from pacx.objectives.whitening_config import FilmWhitening
from pacx.training.config import TrainingConfig
from pacx.training.loop import train
from pacx.training.task_config import DistillTaskConfig
from pacx.training.tasks.distill import DistillTask

MODEL = ViTConfig(img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=2)
CONFIG = TrainingConfig(epochs=2, batch_size=16, learning_rate=3e-3, seed=1, accelerator="cpu")


def whitened_task(pack: Pack, **changes: object) -> DistillTask:
    """Targets of chance for every film; augmented, so that statistics of augmented films would show."""
    ids, count = tuple(pack.sample_ids), len(pack)
    made = {name: generator(0, name).normal(size=(count, 6)).astype(np.float32) for name in ("ecg", "labs")}
    targets = {name: FrozenTargets(name, ids, embeddings, f"of-{name}") for name, embeddings in made.items()}
    config = DistillTaskConfig(augmentation=Augmentation.DISTILLATION, whitening=FilmWhitening(shrinkage=0.1))
    encoder = LoadedEncoder(random_vit(MODEL, 0), pack.preprocessing, Pooling.CLASS_TOKEN)
    return DistillTask(pack, pack.rows("train"), pack.rows("val"), encoder, targets, replace(config, **changes), 1)


def run(pack_path: Path, run_path: Path, rank: int, port: int) -> None:
    """One of two processes, started as torchrun would start them."""
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    os.environ |= {"LOCAL_RANK": str(rank), "NODE_RANK": "0"}
    train(whitened_task(Pack.open(pack_path)), replace(CONFIG, devices=2), run_path)
    torch.distributed.destroy_process_group()
