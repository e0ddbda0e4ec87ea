"""Measure the speed of Stage 2's step: augmentation, forward, backward, AdamW, targets cached.

    python benchmarks/distill.py [--size tiny|base] [--batch-size 64] [--steps 5] [--mask-ratio 0.75]

One thread; peak memory is that of the process, imports included. The mask ratio is patch dropout's, 0 for whole films.
What Stage 2 teaches is measured by ``studies/simulated_hospital.py``.
"""

import argparse
import resource
import time

import numpy as np
import torch

from pacx.core.preprocessing import Preprocessing
from pacx.core.provenance import provenance
from pacx.core.randomness import sample_keys, uniform
from pacx.data.augment import augment, to_input
from pacx.models.vit import random_vit
from pacx.models.vit_config import ViTConfig
from pacx.objectives.objective import complete
from pacx.training.distillation import DistillModule, drawn_evenly
from pacx.training.task_config import DistillTaskConfig, PatchDropout


def speed(size: str, batch_size: int, steps: int, mask_ratio: float) -> None:
    """Print films per second of Stage 2's step (augmentation, forward, backward, AdamW), targets cached."""
    tiny = ViTConfig(img_size=64, patch_size=8, embed_dim=128, depth=6, num_heads=4)
    shape, config, draw = tiny if size == "tiny" else ViTConfig(), DistillTaskConfig(), torch.Generator().manual_seed(0)
    module = DistillModule(random_vit(shape, 0), {"ecg": 1024, "labs": 256}, config, seed=0).train()
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=True)
    films = torch.randint(0, 256, (batch_size, shape.img_size, shape.img_size), generator=draw, dtype=torch.uint8)
    widths = {"ecg": 1024, "labs": 256}
    targets = complete({name: torch.randn(batch_size, width, generator=draw) for name, width in widths.items()})
    keys, preprocessing = (
        sample_keys([str(row) for row in range(batch_size)]),
        Preprocessing(image_size_px=shape.img_size),
    )
    num_seen = PatchDropout(mask_ratio=mask_ratio).num_seen(shape.num_patches) if mask_ratio else shape.num_patches
    taken, before = [], _peak_mib()
    for step in range(steps + 1):
        wall, processor = time.perf_counter(), time.process_time()
        images = to_input(augment(films, keys, config.augmentation, seed=0, epoch=step), preprocessing)
        noise = uniform(0, "patch-dropout", step, keys, shape.num_patches)
        seen = torch.from_numpy(drawn_evenly(noise, num_seen)) if mask_ratio else None
        module.score(module.features(images, seen), targets).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        taken.append((time.perf_counter() - wall, time.process_time() - processor))
    rates = batch_size / np.array(taken[1:])  # the first step warms up
    low, middle, high = np.quantile(rates[:, 0], [0, 0.5, 1])
    print(
        f"{size}, batch {batch_size}, {steps} steps, {num_seen} of {shape.num_patches} patches: {middle:.3g} films/s "
        f"({low:.3g} to {high:.3g}), {np.median(rates[:, 1]):.3g} per processor second, peak {_peak_mib():.0f} MiB, "
        f"{before:.0f} before the first step; commit {provenance('speed', 0).commit}"
    )


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Run it."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=("tiny", "base"), default="tiny")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--mask-ratio", type=float, default=0.0)
    speed(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
