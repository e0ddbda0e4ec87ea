"""Time the preparation and embedding of ECGs, and measure the lab autoencoder's imputation with an interval.

    python benchmarks/physiology.py prepare [--recordings 2000] [--workers 2]
    python benchmarks/physiology.py embed [--recordings 64] [--threads 1]
    python benchmarks/physiology.py impute [--table labevents.csv.gz] [--samples samples.csv] [--patients 1400]
                                           [--epochs 50] [--batch-size 64]

``prepare`` and ``embed`` use simulated recordings of 10 s; both print wall-clock and processor seconds, because a busy
machine stretches the first. ``impute`` trains on the simulated cohort or on a table, five times with other held-out
patients, and prints the error on hidden values against the training mean's with a bootstrap interval over patients.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

Hidden = tuple[np.ndarray, np.ndarray]


def processor_s() -> float:
    """Seconds this process and its finished children have computed."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def simulated(count: int) -> Any:  # noqa: ANN401 - EcgRecordings, imported where worker processes need not
    """Recordings (count, 12, 5000) int16 of different people; beyond 256, copies with noise of one step."""
    from pacx.modalities.ecg_signal.facts import EcgUnit
    from pacx.modalities.ecg_signal.recordings import EcgRecordings
    from pacx.simulation.patients.population import draw_physiology
    from pacx.simulation.patients.sites import UNIVERSITY_HOSPITAL
    from pacx.simulation.signals.ecg import simulate_ecg

    ids = [f"b{number}" for number in range(count)]
    few = ids[:256]
    millivolts = simulate_ecg(draw_physiology(few, seed=0, site=UNIVERSITY_HOSPITAL), few, seed=0)
    rng = np.random.default_rng(0)
    signals = np.empty((count, 12, 5000), np.int16)
    for row in range(count):
        signals[row] = np.rint(millivolts[row % len(few)] * 1000) + rng.integers(-1, 2, (12, 5000))
    return EcgRecordings(tuple(ids), signals, unit=EcgUnit.MICROVOLT)


def prepare(recordings: int, workers: int) -> None:
    """Print seconds per 10,000 recordings through ECGFounder's filters."""
    from pacx.modalities.ecg_signal.filters import prepared_blocks
    from pacx.models.ecg.input import ECG_FOUNDER_INPUT

    signals = simulated(recordings)
    for num_workers in sorted({1, workers}):
        wall, used = time.perf_counter(), processor_s()
        done = sum(len(block.sample_ids) for block in prepared_blocks(signals, ECG_FOUNDER_INPUT, num_workers))
        wall, used = time.perf_counter() - wall, processor_s() - used
        wall, used = wall * 10_000 / recordings, used * 10_000 / recordings
        print(f"{num_workers} process(es): {done} recordings, per 10,000: {wall:.1f} s, processor {used:.1f} s")


def embed(recordings: int, threads: int) -> None:
    """Print seconds per 10,000 recordings through each ECG encoder, preparation included."""
    import torch

    from pacx.modalities.ecg_signal.job import EcgJob
    from pacx.modalities.modality import EmbeddingSettings
    from pacx.models.ecg.founder import ECGFounder
    from pacx.models.ecg.mae import EcgMaskedAutoencoder
    from pacx.models.ecg.mae_config import TINY_ECG_MAE, EcgMAEConfig

    torch.set_num_threads(threads)
    signals = simulated(recordings)
    encoders = {
        "ECGFounder, 12 leads": ECGFounder(12),
        "ECG autoencoder": EcgMaskedAutoencoder(EcgMAEConfig()),
        "ECG autoencoder, tiny": EcgMaskedAutoencoder(TINY_ECG_MAE),
    }
    for name, encoder in encoders.items():
        wall, used = time.perf_counter(), processor_s()
        EcgJob(encoder, signals).run(EmbeddingSettings())
        wall, used = time.perf_counter() - wall, processor_s() - used
        scale = 10_000 / recordings
        print(f"{name}: {threads} thread(s), per 10,000: {wall * scale:.0f} s, processor {used * scale:.0f} s")


def impute(table: Path | None, samples: Path | None, patients: int, epochs: int, batch_size: int) -> None:
    """Print the imputation error over the training mean's, pooled over five divisions of the patients."""
    from dataclasses import replace

    from pacx.modalities.labs import read_labs
    from pacx.modalities.panel.panels import PanelTable
    from pacx.modalities.panel.reading import TableReading
    from pacx.models.panel.config import LAB_PANEL
    from pacx.recipes.labs import labs_tiny
    from pacx.simulation.patients.population import draw_physiology
    from pacx.simulation.patients.sites import UNIVERSITY_HOSPITAL
    from pacx.simulation.signals.labs import simulate_labs

    if table is None:
        ids = [f"u{number}" for number in range(patients)]
        people = draw_physiology(ids, seed=0, site=UNIVERSITY_HOSPITAL)
        measured: Any = PanelTable(LAB_PANEL, tuple(ids), simulate_labs(people, ids, seed=0))
    else:
        measured = read_labs(table, TableReading(samples=samples))
    training = replace(labs_tiny().training, epochs=epochs, batch_size=batch_size, accelerator="cpu")
    errors: dict[str, list[Hidden]] = {}
    for seed in range(5):
        for patient, pair in _hidden_errors(measured, replace(training, seed=seed)):
            errors.setdefault(patient, []).append(pair)
    people = [np.concatenate([np.stack(pair, 1) for pair in pairs]) for pairs in errors.values()]
    sums = np.array([each.sum(0) for each in people])  # (patients, 2)
    rng = np.random.default_rng(0)
    draws = [sums[rng.integers(0, len(sums), len(sums))].sum(0) for _ in range(2000)]
    low, high = np.percentile([1 - ours / mean for ours, mean in draws], [2.5, 97.5])
    ours, mean = sums.sum(0)
    count = sum(map(len, people))
    print(
        f"{len(people)} patients, {count} hidden values: error {ours / count:.4f}, training mean {mean / count:.4f}, "
        f"{1 - ours / mean:.1%} below [{low:.1%}, {high:.1%}]"
    )


def _hidden_errors(measured: Any, training: Any) -> list[tuple[str, Hidden]]:  # noqa: ANN401 - as above
    """Squared errors on hidden values of each held-out patient: the autoencoder's and the training mean's."""
    import torch

    from pacx.recipes.samples import learning_rows
    from pacx.training.loop import train
    from pacx.training.task_config import PanelTaskConfig
    from pacx.training.tasks.panel import PanelTask

    fitting, held_out = learning_rows(None, measured.sample_ids, measured.patient_ids, training.seed)
    task = PanelTask(measured, fitting, held_out, PanelTaskConfig(), training.seed)
    with tempfile.TemporaryDirectory() as folder:
        summary = train(task, training, Path(folder) / "run")
    print(f"  seed {training.seed}: " + ", ".join(f"{name} {value:.4f}" for name, value in summary.validation.items()))
    with torch.no_grad():
        validated = task.hidden_errors()
    return [
        (measured.patient_ids[row], (ours[is_hidden], mean[is_hidden]))
        for row, is_hidden, ours, mean in zip(held_out, *validated, strict=True)
    ]


def main() -> None:
    """Run one of the three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    chosen = parser.add_subparsers(dest="what", required=True)
    one = chosen.add_parser("prepare")
    one.add_argument("--recordings", type=int, default=2000)
    one.add_argument("--workers", type=int, default=2)
    one = chosen.add_parser("embed")
    one.add_argument("--recordings", type=int, default=64)
    one.add_argument("--threads", type=int, default=1)
    one = chosen.add_parser("impute")
    one.add_argument("--table", type=Path)
    one.add_argument("--samples", type=Path)
    one.add_argument("--patients", type=int, default=1400)
    one.add_argument("--epochs", type=int, default=50)
    one.add_argument("--batch-size", type=int, default=64)
    arguments = vars(parser.parse_args())
    {"prepare": prepare, "embed": embed, "impute": impute}[arguments.pop("what")](**arguments)


if __name__ == "__main__":
    main()
