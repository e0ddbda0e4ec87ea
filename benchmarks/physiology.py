"""Time what ECGs go through, and measure the lab autoencoder's imputation with an interval.

    python benchmarks/physiology.py prepare [--recordings 2000] [--workers 2]
    python benchmarks/physiology.py embed [--recordings 64] [--threads 1]
    python benchmarks/physiology.py targets [--before CHECKOUT] [--recordings 256] [--rounds 3]
    python benchmarks/physiology.py read [--recordings 256] [--rounds 3]
    python benchmarks/physiology.py write --place FOLDER [--recordings 100000]
    python benchmarks/physiology.py pack [--recordings 2000 8000] [--workers 2] [--seconds 10] [--place FOLDER]
    python benchmarks/physiology.py impute [--table labevents.csv.gz] [--samples samples.csv] [--patients 1400]
                                           [--epochs 50] [--batch-size 64]

``prepare`` and ``embed`` use simulated recordings of 10 s; both print wall-clock and processor seconds, because a busy
machine stretches the first. ``targets`` goes from WFDB records to the targets of distillation as ``pacx train ecg``
does, without the training between, and in turns with another checkout of this project. ``read`` holds a recording from
a pack against the same one from files of the formats that carts write. ``pack`` packs simulated WFDB records and looks
at the memory of all its processes (PSS; Linux), then reads some of them from the pack and from their files, with
nothing of either left in memory. With ``--place`` the records are those that ``write`` wrote there, and the pack stays
there. All three go by processor seconds.

``impute`` trains on the simulated cohort or on a table, five times with other held-out patients, and prints the error
on hidden values against the training mean's with a bootstrap interval over patients.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import datetime
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
    from pacx.modalities.ecg_signal.prepared import prepared_blocks
    from pacx.modalities.ecg_signal.sources import EcgArray
    from pacx.models.ecg.input import ECG_FOUNDER_INPUT

    signals = EcgArray(simulated(recordings))
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


def write_files(folder: Path, count: int, kind: str = "wfdb", num_samples: int = 5000) -> None:
    """Write simulated recordings of 500 Hz as files of a format; beyond 256, copies with noise of one step."""
    from pacx.simulation.patients.population import draw_physiology
    from pacx.simulation.patients.sites import UNIVERSITY_HOSPITAL
    from pacx.simulation.signals.ecg import SAMPLE_RATE_HZ, simulate_ecg
    from pacx.simulation.signals.ecg_files.writer import Tracing, ecg_writers

    few = [f"b{number}" for number in range(min(count, 256))]
    millivolts = simulate_ecg(draw_physiology(few, seed=0, site=UNIVERSITY_HOSPITAL), few, seed=0)[..., :num_samples]
    rng, writer = np.random.default_rng(0), ecg_writers()[kind]

    def tracing(row: int) -> Tracing:
        noise = writer.step_mv * rng.integers(-1, 2, millivolts.shape[1:], np.int8) if row >= len(few) else 0.0
        signals = millivolts[row % len(few)] + np.float32(noise)
        began = datetime(2026, 1, 1, row // 3600 % 24, row // 60 % 60, row % 60)
        return Tracing(patient_id=f"p{row}", millivolts=signals, rate_hz=SAMPLE_RATE_HZ, started=began)

    writer.write(folder, ((f"{row // 1000:03}/b{row:06}", tracing(row)) for row in range(count)))


def targets_of(records: Path, out: Path) -> None:
    """Make a pack of recordings and targets from it, or in a checkout without packs what came before; print seconds."""
    import torch

    torch.set_num_threads(1)
    from pacx.modalities.ecg_signal.job import EcgJob, prepare_usable
    from pacx.modalities.ecg_signal.readers import open_recordings
    from pacx.modalities.modality import EmbeddingSettings
    from pacx.models.ecg.mae import EcgMaskedAutoencoder
    from pacx.models.ecg.mae_config import TINY_ECG_MAE

    try:
        from pacx.modalities.ecg_signal.packs.packing import packed_once
    except ModuleNotFoundError:
        packed_once = None
    model, settings = EcgMaskedAutoencoder(TINY_ECG_MAE, seed=0), EmbeddingSettings(max_bad_fraction=0.1)
    import scipy.ndimage
    import scipy.signal  # noqa: F401 - no import counts

    used = processor_s()
    recordings: Any = open_recordings(records)
    if packed_once is None:
        ready = prepare_usable(recordings, model.preprocessing, max_bad_fraction=0.1)
        for each in ready.signals:  # what the task knew its recordings by
            np.abs(each).sum(dtype=np.float64)
    else:
        recordings = packed_once(recordings, out, model.preprocessing, max_bad_fraction=0.1, num_workers=1)
    job = EcgJob(model, recordings)
    made = job.run(settings)
    print(json.dumps({"seconds": processor_s() - used, "fingerprint": job.fingerprint}))
    np.savez(out, ids=np.array(made.sample_ids), embeddings=made.embeddings)


def targets(before: Path | None, recordings: int, rounds: int) -> None:
    """Print processor milliseconds per recording from files to targets, and how far the two checkouts' lie apart."""
    trees = {"this": Path(__file__).parents[1]} | ({"before": before.resolve()} if before else {})
    spent: dict[str, list[float]] = {name: [] for name in trees}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write_files(place / "records", recordings)
        for turn in range(rounds):
            for name, tree in trees.items():
                out = place / f"{name}{turn}.npz"
                call = [sys.executable, __file__, "targets-of", "--records", place / "records", "--out", out]
                settings = os.environ | {"PYTHONPATH": str(tree / "src"), "OMP_NUM_THREADS": "1"}
                said = subprocess.run(call, env=settings, check=True, capture_output=True, text=True).stdout
                spent[name].append(json.loads(said.splitlines()[-1])["seconds"] * 1000 / recordings)
        for name, each in spent.items():
            print(f"{name}: {np.median(each):.2f} ms a recording ({min(each):.2f} to {max(each):.2f})")
        if before:
            ratios = np.array(spent["this"]) / np.array(spent["before"])
            ours, theirs = (np.load(place / f"{name}0.npz") for name in trees)
            assert (ours["ids"] == theirs["ids"]).all()
            apart = np.abs(ours["embeddings"] - theirs["embeddings"]).max()
            print(
                f"{np.median(ratios):.3f} of before ({ratios.min():.3f} to {ratios.max():.3f}); targets of "
                f"{len(ours['ids'])} recordings differ by {apart:.1e} at most, the largest number is "
                f"{np.abs(theirs['embeddings']).max():.2f}"
            )


def read(recordings: int, rounds: int) -> None:
    """Print processor milliseconds per prepared recording from a pack, and from files of each format."""
    from pacx.modalities.ecg_signal.packs.packing import pack_ecgs
    from pacx.modalities.ecg_signal.prepared import prepared_blocks
    from pacx.modalities.ecg_signal.readers import open_recordings
    from pacx.models.ecg.input import ECG_MAE_INPUT

    def timed(work: Callable[[], object]) -> float:
        used = time.process_time()
        work()
        return (time.process_time() - used) * 1000 / recordings

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write_files(place / "wfdb", recordings)
        pack = pack_ecgs(open_recordings(place / "wfdb"), place / "pack", ECG_MAE_INPUT)
        from_pack = pack.prepared_for(ECG_MAE_INPUT)
        shuffled = np.random.default_rng(0).permutation(recordings)

        def in_order() -> None:
            for start in range(0, recordings, 64):
                from_pack[start : start + 64]

        def as_drawn() -> None:
            for start in range(0, recordings, 64):
                from_pack[shuffled[start : start + 64]]

        for kind in ("wfdb", "dicom", "muse-xml", "philips-xml", "hl7-aecg", "scp-ecg", "edf"):
            if kind != "wfdb":
                write_files(place / kind, recordings, kind)
            source, spent = open_recordings(place / kind), []
            for _ in range(rounds):
                from_files = timed(lambda source=source: list(map(len, prepared_blocks(source, ECG_MAE_INPUT, 1))))
                spent.append((from_files, timed(in_order), timed(as_drawn)))
            files, ordered, drawn = np.array(spent).T
            print(
                f"{kind}: from a file {np.median(files):.2f} ms, from a pack {np.median(ordered):.3f} in order and "
                f"{np.median(drawn):.3f} as training draws; {np.median(files / ordered):.0f} and "
                f"{np.median(files / drawn):.0f} times ({(files / ordered).min():.0f} and "
                f"{(files / drawn).min():.0f} at least)"
            )


def write(place: Path, recordings: int) -> None:
    """Write simulated WFDB records of 10 s for ``pack`` to read, those that are not there already.

    Beyond 256 they are copies with noise of one step.
    """
    from pacx.core.vocabulary import ECG_LEADS

    first = min(recordings, 256)
    write_files(place / "records", first)
    samples = [np.fromfile(place / f"records/000/b{row:06}.dat", "<i2").reshape(-1, 12) for row in range(first)]
    for row in range(first, recordings):
        stem = place / f"records/{row // 1000:03}/b{row:06}"
        if Path(f"{stem}.hea").is_file():
            continue
        noisy = samples[row % first] + np.random.default_rng(row).integers(-1, 2, samples[0].shape, np.int8)
        began = f"{row // 3600 % 24:02}:{row // 60 % 60:02}:{row % 60:02} 01/01/2026"
        sums = noisy.sum(axis=0).astype(np.int16)
        lines = [f"{stem.name} 12 500 {len(noisy)} {began}"]
        lines += [
            f"{stem.name}.dat 16 1000(0)/mV 16 0 {begin} {total} 0 {lead}"
            for lead, begin, total in zip(ECG_LEADS, noisy[0], sums, strict=True)
        ]
        stem.parent.mkdir(exist_ok=True)
        noisy.astype("<i2").tofile(f"{stem}.dat")
        Path(f"{stem}.hea").write_text("\n".join(lines) + "\n")


def pack(recordings: list[int], workers: int, seconds: float, place: Path | None) -> None:
    """Print seconds and peak memory of packing WFDB records, for each number of them or of those at a place."""
    if place:
        _pack(place, workers, seconds)
        return
    for count in recordings:
        with tempfile.TemporaryDirectory() as folder:
            write_files(Path(folder) / "records", count, num_samples=round(seconds * 500))
            _pack(Path(folder), workers, seconds)


def _pack(place: Path, workers: int, seconds: float) -> None:
    from dataclasses import replace

    from pacx.modalities.ecg_signal.packs.packing import pack_ecgs
    from pacx.modalities.ecg_signal.readers import open_recordings
    from pacx.models.ecg.input import ECG_MAE_INPUT

    config = replace(ECG_MAE_INPUT, duration_s=seconds)
    peak, is_done = [0], threading.Event()

    def watch() -> None:
        while not is_done.wait(0.1):
            peak[0] = max(peak[0], family_bytes())

    watching = threading.Thread(target=watch)
    watching.start()
    began, wall, used = family_bytes(), time.perf_counter(), processor_s()
    source = open_recordings(place / "records")
    opened = processor_s() - used
    made = pack_ecgs(source, place / "pack", config, max_bad_fraction=0.1, num_workers=workers)
    wall, used = time.perf_counter() - wall, processor_s() - used
    is_done.set()
    watching.join()
    count = len(made)
    print(
        f"{len(source.sample_ids):,} recordings of {seconds:g} s, {workers} process(es): {count:,} packed in "
        f"{wall:.0f} s, processor {used:.0f} s ({used * 1000 / count:.2f} ms each, {opened * 1000 / count:.2f} of them "
        f"to find them); memory of all processes {began / 2**20:.0f} MiB before, {peak[0] / 2**20:.0f} at its peak"
    )
    _read_back(place, config)


def _read_back(place: Path, config: Any) -> None:  # noqa: ANN401 - EcgPreprocessing, imported where workers need not
    """Print milliseconds per recording from a pack and from its files, in the order that training draws."""
    from pacx.modalities.ecg_signal.packs.pack import EcgPack
    from pacx.modalities.ecg_signal.prepared import prepared_blocks
    from pacx.modalities.ecg_signal.readers import open_recordings

    made, source = EcgPack.open(place / "pack"), open_recordings(place / "records")
    ready = made.prepared_for(config)
    drawn = np.random.default_rng(0).permutation(len(made))[:2048]
    rows = {sample_id: row for row, sample_id in enumerate(source.sample_ids)}
    chosen = np.array([rows[made.sample_ids[row]] for row in drawn[:512]])

    def from_pack(share: int = 1) -> int:
        return sum(len(ready[drawn[start : start + 64]]) for start in range(0, len(drawn) // share, 64))

    def from_files(share: int = 1) -> int:
        return sum(len(block.entries) for block in prepared_blocks(source, config, 1, chosen[: len(chosen) // share]))

    for name, work in (("pack", from_pack), ("files", from_files)):
        work(8)  # no import counts
        for each in (place / ("records" if name == "files" else "pack")).rglob("*"):
            if each.is_file():
                with each.open("rb") as opened:
                    os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        wall, used = time.perf_counter(), processor_s()
        count = work()
        wall, used = (time.perf_counter() - wall) * 1000 / count, (processor_s() - used) * 1000 / count
        print(f"  {count:,} as drawn from the {name}, from the disk: {wall:.3f} ms each, processor {used:.3f} ms")


def family_bytes() -> int:
    """Memory of this process and of those it started, pages that several share divided among them (PSS)."""
    total = 0
    children = " ".join(each.read_text() for each in Path("/proc/self/task").glob("*/children"))
    for each in ("self", *children.split()):
        try:
            lines = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue
        total += next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
    return total


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
    """Run one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    chosen = parser.add_subparsers(dest="what", required=True)
    one = chosen.add_parser("prepare")
    one.add_argument("--recordings", type=int, default=2000)
    one.add_argument("--workers", type=int, default=2)
    one = chosen.add_parser("embed")
    one.add_argument("--recordings", type=int, default=64)
    one.add_argument("--threads", type=int, default=1)
    one = chosen.add_parser("targets")
    one.add_argument("--before", type=Path)
    one.add_argument("--recordings", type=int, default=256)
    one.add_argument("--rounds", type=int, default=3)
    one = chosen.add_parser("targets-of")
    one.add_argument("--records", type=Path)
    one.add_argument("--out", type=Path)
    one = chosen.add_parser("read")
    one.add_argument("--recordings", type=int, default=256)
    one.add_argument("--rounds", type=int, default=3)
    one = chosen.add_parser("pack")
    one.add_argument("--recordings", type=int, nargs="+", default=[2000, 8000])
    one.add_argument("--workers", type=int, default=2)
    one.add_argument("--seconds", type=float, default=10.0)
    one.add_argument("--place", type=Path)
    one = chosen.add_parser("write")
    one.add_argument("--place", type=Path, required=True)
    one.add_argument("--recordings", type=int, default=100_000)
    one = chosen.add_parser("impute")
    one.add_argument("--table", type=Path)
    one.add_argument("--samples", type=Path)
    one.add_argument("--patients", type=int, default=1400)
    one.add_argument("--epochs", type=int, default=50)
    one.add_argument("--batch-size", type=int, default=64)
    arguments = vars(parser.parse_args())
    modes = {"prepare": prepare, "embed": embed, "targets": targets, "targets-of": targets_of, "read": read}
    (modes | {"write": write, "pack": pack, "impute": impute})[arguments.pop("what")](**arguments)


if __name__ == "__main__":
    main()
