"""Distils into a tiny encoder over an existing pack, with a teacher and mixtures, in a process that can be killed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from resume_worker import slow_disk

from pacx.core.randomness import generator
from pacx.data.packs.pack import Pack
from pacx.modalities.targets import FrozenTargets
from pacx.models.adaptation import Adapters
from pacx.models.encoders.folder import LoadedEncoder
from pacx.models.vit import random_vit
from pacx.models.vit_config import Pooling, ViTConfig
from pacx.objectives.mixup import EmbeddingMixup
from pacx.objectives.whitening_config import FilmWhitening
from pacx.training.config import TrainingConfig
from pacx.training.loop import train
from pacx.training.task_config import DistillTaskConfig, MovingTeacher
from pacx.training.tasks.distill import DistillTask

MODEL = ViTConfig(img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=2)
CONFIG = TrainingConfig(
    epochs=16, batch_size=8, learning_rate=1e-3, warmup_epochs=1, gradient_clip=1.0, seed=5, accelerator="cpu",
    log_every_steps=2,
)  # fmt: skip


def task(pack: Pack) -> DistillTask:
    """What of Stage 2 keeps or draws something between steps: dropout, teacher, temperature, mixtures, statistics."""
    targets = {}
    for name in ("ecg", "labs"):
        drawn = generator(0, name)
        has = drawn.random(len(pack)) < 0.7
        embeddings = drawn.normal(size=(int(has.sum()), 6)).astype(np.float32)
        targets[name] = FrozenTargets(name, tuple(pack.sample_ids[has]), embeddings, name)
    config = replace(
        DistillTaskConfig(adaptation=Adapters(dropout=0.1), partial_pairs=True),
        whitening=FilmWhitening(),
        mixup=EmbeddingMixup(),
        teacher=MovingTeacher(decay=0.9),
    )
    encoder = LoadedEncoder(random_vit(MODEL, 0), pack.preprocessing, Pooling.CLASS_TOKEN)
    return DistillTask(pack, pack.rows("train"), pack.rows("val"), encoder, targets, config, 5)


def run(pack_path: Path, run_path: Path, resume: bool, pause_s: float) -> None:
    torch.set_num_threads(1)
    slow_disk(pause_s)
    train(task(Pack.open(pack_path)), CONFIG, run_path, resume=resume)
