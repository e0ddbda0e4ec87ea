"""One of two processes that train one masked autoencoder, in pieces or whole, and that something may happen to."""

import itertools
import os
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from resume_worker import MODEL
from torch import nn
from torch.distributed.tensor import DTensor

from pacx.core.errors import InterruptedRunError, TrainingError
from pacx.data.augment_config import Augmentation
from pacx.data.batches import Batch
from pacx.data.packs.pack import Pack
from pacx.models.mae.config import CrossDecoder, Decoder, FullDecoder
from pacx.training.config import TrainingConfig
from pacx.training.loop import train
from pacx.training.task import StepLoss
from pacx.training.task_config import MAETaskConfig
from pacx.training.tasks.mae import MAETask


@dataclass(frozen=True, kw_only=True)
class Mishap:
    """What happens in the session's n-th loss, from 1: a signal, or a loss that is no number."""

    loss: int
    sent: signal.Signals | None = None


class MishapTask(MAETask):
    """As the stage is, but for the mishap."""

    def befall(self, mishap: Mishap) -> None:
        honest, count = self.loss, itertools.count(1)

        def loss(batch: Batch, epoch: int) -> StepLoss:
            outcome = honest(batch, epoch)
            if next(count) != mishap.loss:
                return outcome
            if mishap.sent is None:
                return outcome._replace(loss=outcome.loss * torch.nan)
            signal.raise_signal(mishap.sent)
            return outcome

        self.loss = loss


def task(pack: Pack, *, is_cross: bool = False) -> MishapTask:
    decoder: Decoder = CrossDecoder(num_sampled=5) if is_cross else FullDecoder()
    config = MAETaskConfig(model=replace(MODEL, decoder=decoder), augmentation=Augmentation.STAGE1_RELEASED)
    return MishapTask(pack, pack.rows("train"), pack.rows("val"), config, seed=5)


def share_held(module: nn.Module) -> float:
    """Of the model's numbers, how many this process keeps."""
    parameters = list(module.parameters())
    held = sum((each.to_local() if isinstance(each, DTensor) else each).numel() for each in parameters)
    return held / sum(each.numel() for each in parameters)


def run(pack: Path, out: Path, config: TrainingConfig, mishap: Mishap | None = None, is_cross: bool = False) -> None:
    torch.set_num_threads(1)
    trained = task(Pack.open(pack), is_cross=is_cross)
    if mishap is not None:
        trained.befall(mishap)
    try:
        train(trained, config, out, resume=True)
        (out / f"held-{os.environ.get('LOCAL_RANK', '0')}").write_text(str(share_held(trained.module)))
    except (InterruptedRunError, TrainingError) as error:  # as the command does
        sys.stderr.write(f"{error}\n")
        (out / f"said-{os.environ.get('LOCAL_RANK', '0')}").write_text(str(error))
        sys.exit(error.exit_code)


def run_rank(
    rank: int, port: int, pack: Path, out: Path, config: TrainingConfig, mishap: Mishap | None, is_cross: bool
) -> None:
    """As torchrun starts a process, without torchrun; the mishap is the second process's."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    os.environ |= {"LOCAL_RANK": str(rank), "NODE_RANK": "0"}
    try:
        run(pack, out, config, mishap if rank == 1 else None, is_cross)
    finally:
        torch.distributed.destroy_process_group()
