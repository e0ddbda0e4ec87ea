"""Time the batched linear probe and the patient bootstrap on arrays of the size of a real dataset.

    python benchmarks/probe.py [--num-training 20000] [--num-test 5000] [--num-labels 14] [--num-heads 5] [--threads 1]

Prints heads trained one by one against all at once, and the seconds of AUROC over 2,000 draws.
"""

import argparse
import time
from dataclasses import replace

import numpy as np
import torch

from pacx.core.randomness import sample_keys
from pacx.evaluation.linear_heads import LabelledFeatures, ProbeConfig, train_heads
from pacx.evaluation.metrics import auroc
from pacx.evaluation.statistics import patient_bootstrap


def made_up(num: int, num_labels: int, seed: int, dim: int = 768) -> LabelledFeatures:
    """Random embeddings with labels that depend on them; about one in ten is positive."""
    random = np.random.default_rng(seed)
    features = random.standard_normal((num, dim), dtype=np.float32)
    direction = np.random.default_rng(0).standard_normal((dim, num_labels)) / np.sqrt(dim)
    labels = (features @ direction + random.standard_normal((num, num_labels)) > 1.8).astype(np.float32)
    return LabelledFeatures(features=features, labels=labels, keys=sample_keys([f"{seed}-{i}" for i in range(num)]))


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-training", type=int, default=20_000)
    parser.add_argument("--num-test", type=int, default=5_000)
    parser.add_argument("--num-labels", type=int, default=14)
    parser.add_argument("--num-heads", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    training = made_up(arguments.num_training, arguments.num_labels, 1)
    validation = made_up(arguments.num_test, arguments.num_labels, 2)
    config = replace(ProbeConfig(), epochs=arguments.epochs)
    for fraction in (0.01, 0.1, 1.0):
        subsets = np.random.default_rng(3).random((arguments.num_heads, arguments.num_training)) < fraction
        seeds = np.arange(arguments.num_heads)

        def timed(members: slice, subsets: np.ndarray = subsets, seeds: np.ndarray = seeds) -> float:
            began = time.perf_counter()
            train_heads(
                training,
                validation,
                subsets=subsets[members],
                head_seeds=seeds[members],
                is_multiclass=False,
                config=config,
                device=arguments.device,
            )
            return time.perf_counter() - began

        alone = sum(timed(slice(head, head + 1)) for head in range(arguments.num_heads))
        together = timed(slice(None))
        print(f"{fraction:5.0%} labels, {arguments.num_heads} heads: alone {alone:6.2f} s, batched {together:6.2f} s")
    began = time.perf_counter()
    draws = patient_bootstrap(np.arange(arguments.num_test) // 2, seed=0)
    drawn = time.perf_counter() - began
    scores = validation.features[:, : arguments.num_labels]
    began = time.perf_counter()
    auroc(scores, validation.labels, draws)
    print(
        f"2,000 draws of {arguments.num_test} images: draw {drawn:.2f} s, "
        f"AUROC of {arguments.num_labels} labels {time.perf_counter() - began:.2f} s"
    )


if __name__ == "__main__":
    main()
