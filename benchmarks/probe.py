"""Time the batched linear probe and the patient bootstrap on arrays of the size of the real datasets.

    python benchmarks/probe.py [--datasets nih14 ...] [--threads 2] [--device cpu] [--rounds 1]

For each dataset: seconds of the low-data matrix (5 seeds x 1, 10 and 100 % of the labels, 40 epochs, the paper's
protocol) from cached embeddings of one encoder, and of training its fifteen heads one by one (``--alone``). Then the
images that ViT-B/16 embeds per second here, and what running it in every epoch would cost instead; and 2,000 patient
draws of macro AUROC on the test split of NIH ChestX-ray14. Embeddings and labels are made up; their sizes are those of
the papers.
"""

import argparse
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import timm
import torch

from pacx.core.randomness import sample_keys
from pacx.evaluation.probes.classification import ClassificationData
from pacx.evaluation.probes.linear_heads import LinearHeads, ProbeConfig, train_heads
from pacx.evaluation.probes.low_data import FRACTIONS, train_low_data, training_subsets
from pacx.evaluation.statistics.bootstrap import macro_average, patient_bootstrap
from pacx.evaluation.statistics.metrics import auroc


class Size(NamedTuple):
    """Films per split, labels, and films per patient (rounded)."""

    training: int
    validation: int
    test: int
    num_labels: int
    films_per_patient: int
    is_multiclass: bool = False


SIZES = {
    "nih14": Size(73_545, 12_979, 25_596, 14, 4),
    "chexchonet": Size(50_112, 7_159, 14_318, 1, 3),
    "chestx6": Size(14_551, 1_748, 1_737, 6, 1, is_multiclass=True),
    "vindr-cxr": Size(13_500, 1_500, 3_000, 19, 1),
    "medmod": Size(6_368, 910, 1_820, 28, 1),
    "tb": Size(463, 66, 133, 1, 1),
}
DIM = 768


def made_up(name: str) -> tuple[ClassificationData, np.ndarray]:
    """Random embeddings with labels that depend on them; about one film in ten is positive."""
    size = SIZES[name]
    random = np.random.default_rng(1)
    num = size.training + size.validation + size.test
    features = random.standard_normal((num, DIM), dtype=np.float32)
    direction = (random.standard_normal((DIM, size.num_labels)) / np.sqrt(DIM)).astype(np.float32)
    scores = features @ direction + random.standard_normal((num, size.num_labels), dtype=np.float32)
    if size.is_multiclass:
        labels = np.eye(size.num_labels, dtype=np.float32)[scores.argmax(axis=1)]
    else:
        labels = (scores > 1.8).astype(np.float32)
    data = ClassificationData(
        dataset=name,
        label_names=tuple(f"label {k}" for k in range(size.num_labels)),
        labels=labels,
        patient_ids=np.array([f"p{i // size.films_per_patient}" for i in range(num)], object),
        keys=sample_keys([f"film-{i}" for i in range(num)]),
        training=np.arange(size.training),
        validation=np.arange(size.training, size.training + size.validation),
        test=np.arange(size.training + size.validation, num),
        is_multiclass=size.is_multiclass,
    )
    return data, features


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def one_by_one(data: ClassificationData, features: np.ndarray, config: ProbeConfig, device: str) -> list[LinearHeads]:
    """The same heads, each in a problem of its own."""
    subsets = training_subsets(data, FRACTIONS, config)
    return [
        train_heads(
            data.part(features, data.training),
            data.part(features, data.validation),
            subsets=subsets[[head]],
            head_seeds=np.array([head % config.num_seeds]),
            is_multiclass=data.is_multiclass,
            config=config,
            device=device,
        )
        for head in range(len(subsets))
    ]


def images_per_second(device: str, num_batches: int = 3, batch_size: int = 32) -> float:
    """ViT-B/16 at 224 pixels, forward only, best of a few batches."""
    vit = timm.create_model("vit_base_patch16_224", num_classes=0).to(device).eval()
    images = torch.zeros(batch_size, 3, 224, 224, device=device)
    with torch.inference_mode():
        vit(images[:2])
        return batch_size / min(seconds(lambda: vit(images).sum().item()) for _ in range(num_batches))


def time_matrix(name: str, config: ProbeConfig, arguments: argparse.Namespace) -> float:
    """Median seconds of one dataset's matrix; prints it."""
    data, features = made_up(name)

    def train() -> LinearHeads:
        return train_low_data(data, features, FRACTIONS, config=config, device=arguments.device)

    began = time.process_time()
    times = sorted(seconds(train) for _ in range(arguments.rounds))
    of_processor = (time.process_time() - began) / arguments.rounds
    middle = times[len(times) // 2]
    print(
        f"{name:<12} 15 heads {middle:6.1f} s ({times[0]:.1f} to {times[-1]:.1f}), processor {of_processor:.1f} s",
        flush=True,
    )
    if arguments.alone:
        print(f"{'':<12} one by one {seconds(lambda: one_by_one(data, features, config, arguments.device)):.1f} s")
    return middle


def compare_with_encoder(spent: dict[str, float], config: ProbeConfig, rate: float) -> None:
    """Print what the same training would cost if every epoch ran the encoder, for fifteen heads and for one."""
    print(f"ViT-B/16, 224 pixels: {rate:.1f} images/s")
    for name, matrix_s in spent.items():
        size = SIZES[name]
        one_head = (config.epochs * (size.training + size.validation) + size.test) / rate
        in_sizes = config.num_seeds * sum(FRACTIONS) * size.training
        fifteen = (config.epochs * (in_sizes + 15 * size.validation) + 15 * size.test) / rate
        once = (size.training + size.validation + size.test) / rate
        print(
            f"{name:<12} encoder in every epoch: {fifteen / 3600:.1f} h, {fifteen / matrix_s:,.0f} times the matrix "
            f"from the cache, {fifteen / (once + matrix_s):.0f} times with filling it; one head alone "
            f"{one_head / 3600:.1f} h, {one_head / (once + matrix_s):.1f} times the cache and all fifteen heads"
        )


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", nargs="*", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--threads", type=int, default=2, help="of the encoder; probes take one")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    config, spent = ProbeConfig(), {}
    for name in arguments.datasets:
        spent[name] = time_matrix(name, config, arguments)
    print(f"{'all':<12} {sum(spent.values()):.1f} s")
    compare_with_encoder(spent, config, images_per_second(arguments.device))
    data, features = made_up("nih14")
    scores, truth = features[data.test, :14], data.labels[data.test]
    draws = patient_bootstrap(data.patient_ids[data.test], seed=0)
    drawn = seconds(lambda: patient_bootstrap(data.patient_ids[data.test], seed=0))
    scored = seconds(lambda: macro_average(auroc(scores, truth, draws), truth, data.label_names))
    print(
        f"2,000 patient draws of {len(truth):,} films: drawing {drawn:.1f} s, macro AUROC of 14 labels {scored:.1f} s"
    )


if __name__ == "__main__":
    main()
