"""Measure how long Stage 2 in closed form takes from kept embeddings, on random numbers of ViT-B/16's widths.

    OMP_NUM_THREADS=2 python benchmarks/closed_form.py [--pairs 10000] [--width 768] [--components 256]

Two poolings, two modalities, seed 0; some directions can be predicted and most cannot. Embedding the films and writing
the encoder are not in it. Processor seconds are of all threads together.
"""

import argparse
import resource
import time

import numpy as np

from pacx.core.provenance import provenance
from pacx.training.task_config import ClosedFormConfig
from pacx.training.tasks.closed_form import FilmPairs, fit_closed_form


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--components", type=int, default=256)
    told = parser.parse_args()
    random = np.random.default_rng(0)
    tokens, means = random.standard_normal((2, told.pairs, told.width), np.float32)
    targets = {name: random.standard_normal((told.pairs, told.components), np.float32) for name in ("ecg", "labs")}
    for values in targets.values():
        values[:, :10] += tokens[:, :10]
    films = FilmPairs(
        class_tokens=tokens,
        patch_means=means,
        targets=targets,
        observed={name: np.full(told.pairs, True) for name in targets},
        patient_ids=np.arange(told.pairs),
    )
    wall, processor = time.perf_counter(), time.process_time()
    fitted = fit_closed_form(films, ClosedFormConfig(most_components=told.components))
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{told.pairs} pairs, 2 x {told.width} features, 2 x {told.components} directions, of which "
        f"{fitted.kept.sum()} kept: {wall:.1f} s, {processor:.1f} processor seconds, peak {peak:.1f} GiB; commit "
        f"{provenance('speed', 0).commit}"
    )


if __name__ == "__main__":
    main()
