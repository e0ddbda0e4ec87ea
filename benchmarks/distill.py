"""Measure Stage 2 on the simulated hospital: dose-response, partial pairs, controls, retrieval, intervals, speed.

    pacx demo --seed 0 --out runs/demo-0
    python benchmarks/distill.py study --demo runs/demo-0 --out runs/study-0 [--only full random ...]
    python benchmarks/distill.py table runs/study-0 runs/study-1
    python benchmarks/distill.py coverage --demo runs/demo-0 --out runs/study-0
    python benchmarks/distill.py speed [--size tiny|base] [--batch-size 64] [--steps 5]

``study`` takes Stage 1 and the splits of a demo, simulates further patients of the same hospital to retrieve among and
to test on (a patient is a function of seed and id, so the demo's are among them), trains one Stage 2 per condition and
probes every encoder. Each condition leaves one file; what is there is not done again. ``table`` prints gains over the
masked autoencoder, paired over test patients and label subsets, averaged over studies. One thread each.
"""

import argparse
import shutil
import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pacx.core.artifacts import read_json, staged_file
from pacx.core.preprocessing import Preprocessing
from pacx.core.randomness import order, sample_keys, seed_of
from pacx.data.augment import augment, to_input
from pacx.data.datasets.folder import DATASET as FOLDER
from pacx.data.datasets.folder import FolderOptions
from pacx.data.pack import Pack
from pacx.data.packing import pack_records
from pacx.data.splits import low_data_subset
from pacx.evaluation.alignment import expected_hits
from pacx.evaluation.classification import ClassificationData
from pacx.evaluation.embeddings import embed_pack
from pacx.evaluation.linear_heads import ProbeConfig, train_heads
from pacx.evaluation.metrics import auroc
from pacx.evaluation.readouts import ReadoutConfig, fit_readouts, read_measured_values, readout_rows
from pacx.evaluation.results import write_rows
from pacx.evaluation.statistics import RowMaker, interval, mean_over_seeds, patient_bootstrap
from pacx.modalities.controls import age_and_sex, random_targets, with_shuffled_pairs
from pacx.modalities.ecg import EcgJob
from pacx.modalities.ecg_readers import open_recordings
from pacx.modalities.labs import read_labs
from pacx.modalities.long_tables import Reading
from pacx.modalities.modality import EmbeddingSettings, embed_once
from pacx.modalities.panel_encoder import PanelEncoder, PanelJob
from pacx.modalities.panels import Missing
from pacx.modalities.targets import FrozenTargets
from pacx.models.ecg_mae import load_ecg_mae
from pacx.models.encoder_folder import load_encoder
from pacx.models.vit import Pooling
from pacx.recipes import distill_variants
from pacx.recipes.distill import distill_tiny
from pacx.simulation.hospital import HospitalConfig, write_hospital
from pacx.simulation.physiology import Visibility
from pacx.simulation.population import COMMUNITY_HOSPITAL
from pacx.training.loop import train
from pacx.training.tasks.distill import DistillTask

NUM_GALLERY, NUM_CALIBRATION, NUM_FURTHER = 1000, 1000, 2000
NUM_DOWNSTREAM = 2400
FRACTIONS, NUM_SUBSETS, NUM_DRAWS = (0.01, 0.1, 1.0), 5, 300
DOSES = {"full-v0.5": 0.5, "full-v0": 0.0}
RECIPES = {
    "tokens": "distill_tokens",
    "symile": "distill_symile",
    "contrastive": "distill_contrastive_only",
    "regression": "distill_regression_only",
    "mixup": "distill_mixup",
    "teacher": "distill_teacher_student",
}
WHOLE = ("full", "random", "shuffled", "full-mean", "random-mean")
CONDITIONS = (
    *("full", "random", "shuffled", "partial", "complete-rows", "complete-rows-longer", "full-v0", "full-v0.5"),
    *("full-mean", "random-mean", "age-and-sex", "full-more", "random-more", "shuffled-more", *RECIPES),
)


@dataclass(frozen=True)
class Study:
    """One simulated hospital with a demo's Stage 1."""

    demo: Path
    out: Path

    @cached_property
    def seed(self) -> int:
        """The demo's."""
        return int(read_json(self.demo / "config.json")["seed"])

    def hospital(self, visibility: float) -> Path:
        """The demo's patients and more; the films show this share of every mechanism."""
        root = self.out / f"hospital-{visibility:g}"
        names = Visibility.__dataclass_fields__
        demo = read_json(self.demo / "config.json")
        further = NUM_GALLERY + NUM_CALIBRATION + NUM_FURTHER if visibility == 1 else 0
        write_hospital(
            root,
            HospitalConfig(
                num_pretraining_patients=1,
                num_triplet_patients=demo["num_triplet_patients"] + further,
                num_downstream_patients=NUM_DOWNSTREAM if visibility < 1 else 3200,
                image_size_px=64,
                seed=self.seed,
                visibility=Visibility(**dict.fromkeys(names, visibility)),
            ),
        )
        return root

    def pack(self, cohort: str, visibility: float = 1.0) -> Pack:
        """A cohort; the demo's films keep their splits, further ones are the test split's."""
        out = self.out / "packs" / f"{cohort}-{visibility:g}"
        if out.exists():
            return Pack.open(out)
        options = FolderOptions(label_columns=("*",) if cohort == "downstream" else ())
        records = FOLDER.read(self.hospital(visibility) / cohort, options)
        known = Pack.open(self.demo / "packs" / f"{cohort}-64")
        split = dict(zip(known.sample_ids, known.table["split"], strict=True))
        table = records.table.assign(split=[split.get(sample, "test") for sample in records.table["sample_id"]])
        records = replace(records, table=table, mask_names=())
        pack = pack_records(records, out, preprocessing=Preprocessing(image_size_px=64))
        if visibility == 1:
            row = {sample: row for row, sample in enumerate(pack.sample_ids)}
            assert np.array_equal(known.images[:64], pack.images[[row[sample] for sample in known.sample_ids[:64]]])
        return pack

    @property
    def mae(self) -> Path:
        """The demo's Stage 1 encoder, at every visibility."""
        return self.demo / "runs" / "mae" / "encoder"

    def targets(self) -> list[FrozenTargets]:
        """ECG and labs of everybody, through the demo's encoders."""
        patients, runs, out = self.hospital(1.0) / "triplets", self.demo / "runs", self.out / "targets"
        if not (out / "ecg").exists():
            recordings = open_recordings(patients / "ecg.npy", max_bad_fraction=0.001)
            embed_once(EcgJob(load_ecg_mae(runs / "ecg" / "ecg"), recordings), out / "ecg", EmbeddingSettings())
        if not (out / "labs").exists():
            measured = read_labs(patients / "labs.csv", Reading())
            encoder = PanelEncoder.load(runs / "labs" / "labs", measured.panel)
            embed_once(PanelJob(encoder, measured, Missing.ZERO), out / "labs", EmbeddingSettings())
        return [FrozenTargets.open(out / name) for name in ("ecg", "labs")]

    def further(self, pack: Pack) -> dict[str, np.ndarray]:
        """Rows of the patients beyond the demo's: to retrieve among, to calibrate on, to learn from as well."""
        number = np.array([int(patient.rpartition("-t")[2]) for patient in pack.patient_ids])
        first = read_json(self.demo / "config.json")["num_triplet_patients"]
        ends = np.cumsum([first, NUM_GALLERY, NUM_CALIBRATION, NUM_FURTHER])
        names = ("gallery", "calibration", "more")
        rows = {
            name: np.flatnonzero((number >= low) & (number < high))
            for name, low, high in zip(names, ends, ends[1:], strict=False)
        }
        is_old_test = (number < first) & (pack.table["split"].to_numpy() == "test")
        return rows | {"gallery": np.union1d(rows["gallery"], np.flatnonzero(is_old_test))}


def half_missing(targets: list[FrozenTargets], ids: list[str], seed: int) -> list[FrozenTargets]:
    """Each modality without half of these samples, drawn independently."""
    left = []
    for target in targets:
        drawn = order(seed, f"half-missing/{target.modality}", 0, sample_keys(ids))
        gone = {ids[row] for row in drawn[: len(ids) // 2]}
        kept = np.array([sample not in gone for sample in target.sample_ids])
        names = tuple(np.array(target.sample_ids)[kept])
        left.append(replace(target, sample_ids=names, embeddings=np.array(target.embeddings)[kept]))
    return left


def build(study: Study, name: str) -> tuple[DistillTask, Any]:
    """The task and training of one condition."""
    visibility = DOSES.get(name, 1.0)
    pack, run, seed = study.pack("triplets", visibility), distill_tiny(), study.seed
    rows, targets = study.further(pack), study.targets()
    fitting, task = pack.rows("train"), run.task
    if name.endswith("-more"):
        fitting = np.union1d(fitting, rows["more"])
    ids = pack.sample_ids[fitting].tolist()
    training = replace(run.training, seed=seed, validate_every_epochs=run.training.epochs)
    kind = name.removesuffix("-more").removesuffix("-mean")
    if kind == "random":
        targets = [random_targets(target, seed=seed) for target in targets]
    elif kind == "shuffled":
        targets = [with_shuffled_pairs(target, ids, seed=seed) for target in targets]
    elif kind == "age-and-sex":
        targets = [age_and_sex(pack.table, ids)]
    elif kind == "partial":
        targets, task = half_missing(targets, ids, seed), replace(task, partial_pairs=True)
    elif kind.startswith("complete-rows"):
        left = [set(target.sample_ids) for target in half_missing(targets, ids, seed)]
        fitting = fitting[[all(sample in has for has in left) for sample in ids]]
        if kind.endswith("longer"):  # as many steps as with everybody
            epochs = round(run.training.epochs * (len(ids) // training.batch_size) / (len(fitting) // 64))
            training = replace(training, epochs=epochs, validate_every_epochs=epochs, warmup_epochs=epochs / 10)
    elif kind in RECIPES:
        task = getattr(distill_variants, RECIPES[kind])().task
    if name.endswith("-mean"):
        task = replace(task, pooling=Pooling.PATCH_MEAN)
    vit = load_encoder(study.mae).vit
    named = {target.modality: target for target in targets}
    return DistillTask(pack, fitting, rows["gallery"], vit, named, task, seed), training


def macro_draws(data: ClassificationData, features: np.ndarray, *, seed: int, standardize: bool) -> np.ndarray:
    """AUROC of probes on each share of the labels: (F, R, L), means over label subsets drawn anew in every draw."""
    config = ProbeConfig(seed=seed, num_seeds=NUM_SUBSETS, standardize=standardize)
    labels, patients, keys = (array[data.training] for array in (data.labels, data.patient_ids, data.keys))
    subsets = [
        low_data_subset(labels, patients, keys, fraction=fraction, seed=seed_of(seed, "low-data", subset))
        for fraction in FRACTIONS
        for subset in range(NUM_SUBSETS)
    ]
    heads = train_heads(
        data.part(features, data.training),
        data.part(features, data.validation),
        subsets=np.stack(subsets),
        head_seeds=np.tile(np.arange(NUM_SUBSETS), len(FRACTIONS)),
        is_multiclass=False,
        config=config,
    )
    draws = patient_bootstrap(data.patient_ids[data.test], num_draws=NUM_DRAWS, seed=seed)
    scores = [
        auroc(chance, data.labels[data.test], draws).astype(np.float32)
        for chance in heads.probabilities(features[data.test])
    ]
    parts = np.split(np.stack(scores), len(FRACTIONS))
    return np.stack([mean_over_seeds(part.astype(np.float64), seed=seed) for part in parts]).astype(np.float32)


def probed(study: Study, encoder: Path, visibility: float, *, is_whole: bool) -> dict[str, np.ndarray]:
    """Draws of the probes; for the whole picture on both poolings, as they are and standardized."""
    pack, loaded = study.pack("downstream", visibility), load_encoder(encoder)
    data, found = ClassificationData.from_pack(pack, dataset="downstream"), {}
    number = np.array([int(patient.rpartition("-d")[2]) for patient in pack.patient_ids])
    data = replace(data, test=data.test[number[data.test] < NUM_DOWNSTREAM])
    for pooling in Pooling if is_whole else (loaded.pooling,):
        features = embed_pack(loaded.pooled_by(pooling), pack)
        for standardize in (False, True) if is_whole else (False,):
            name = f"{pooling.value}{'-standardized' if standardize else ''}"
            found[name] = macro_draws(data, features, seed=study.seed, standardize=standardize)
    return found | {"own": np.array(loaded.pooling.value), "labels": np.array(data.label_names)}


@torch.no_grad()
def retrieved(task: DistillTask) -> dict[str, np.ndarray]:
    """Whether each gallery patient's own target is among the five nearest, by the contrastive objective's heads."""
    if "contrastive" not in task.module.objectives:
        return {}
    objective, films = task.module.eval().objectives["contrastive"], []
    for start in range(0, len(task.val_rows), 256):
        rows = task.val_rows[start : start + 256]
        images = torch.from_numpy(task.pack.images[rows])
        films.append(task.module.features(to_input(images, task.pack.preprocessing)).embedding)
    image = objective.image_projection(torch.cat(films)).numpy().astype(np.float64)
    ids = task.pack.sample_ids[task.val_rows].tolist()
    found = {}
    for name, projection in objective.target_projections.items():
        own = projection(torch.from_numpy(task.frozen[name].for_samples(ids))).numpy().astype(np.float64)
        found |= {f"hits-{name}": expected_hits(image, own, 5)}
    return found


def run_study(demo: Path, out: Path, only: list[str]) -> None:
    """Everything that is not there yet, in the order of the conditions."""
    study = Study(demo, out)
    for name in only or CONDITIONS:
        visibility = DOSES.get(name, 1.0)
        base = "mae" if visibility == 1 else f"mae-v{visibility:g}"
        for what in (base, name):
            file, began = out / f"{what}.npz", time.monotonic()
            if file.exists():
                continue
            if what == base:
                found = probed(study, study.mae, visibility, is_whole=visibility == 1)
            else:
                task, training = build(study, name)
                if (out / "runs" / name / "summary.json").exists():
                    shutil.rmtree(out / "runs" / name)  # its heads are gone
                train(task, training, out / "runs" / name, resume=True)
                found = retrieved(task) | probed(
                    study, out / "runs" / name / "encoder", visibility, is_whole=name in WHOLE
                )
            with staged_file(file) as partial, partial.open("wb") as stream:
                np.savez(stream, **found)
            print(f"{what}: {time.monotonic() - began:.0f} s", flush=True)


def gain(studies: list[Path], name: str, view: str = "token", base_view: str = "token") -> np.ndarray | None:
    """Draws (F, R) of the macro AUROC over the MAE in points, mean over studies."""
    base = f"mae-v{DOSES[name]:g}" if name in DOSES else "mae"
    files = [(folder / f"{name}.npz", folder / f"{base}.npz") for folder in studies]
    if not all(file.exists() for pair in files for file in pair):
        return None
    differences = [np.load(ours)[view] - np.load(theirs)[base_view] for ours, theirs in files]
    return 100 * np.mean([np.nanmean(each, axis=2) for each in differences], axis=0)


def shown(draws: np.ndarray) -> str:
    """Value and 95 % interval."""
    estimate = interval(draws)
    return f"{estimate.value:+.1f} [{estimate.low:.1f}, {estimate.high:.1f}]"


def table(studies: list[Path]) -> None:
    """Print gains per share of the labels, the ratio to the full recipe's, and retrieval."""
    full = gain(studies, "full")
    print(f"studies: {len(studies)}; shares of the labels {FRACTIONS}; gain in AUROC points; share of the full gain")
    for name in CONDITIONS:
        view = "mean" if name.endswith("-mean") else "token"
        draws = gain(studies, name, view)
        if draws is None or full is None:
            continue
        share = interval(draws[0] / full[0])
        hits = {
            modality: np.mean([np.load(folder / f"{name}.npz").get(f"hits-{modality}", np.array([np.nan])).mean()
                               for folder in studies])
            for modality in ("ecg", "labs")
        }  # fmt: skip
        print(
            f"| {name} | {' | '.join(map(shown, draws))} | {share.value:.2f} [{share.low:.2f}, {share.high:.2f}] | "
            + " | ".join(f"{100 * value:.1f} %" for value in hits.values())
        )
    print("against each pooling of the MAE, plain and standardized probes, at the first share:")
    for name in WHOLE:
        own = "mean" if name.endswith("-mean") else "token"
        cells = [
            gain(studies, name, own + suffix, base + suffix)
            for base in ("token", "mean") for suffix in ("", "-standardized")
        ]  # fmt: skip
        if all(cell is not None for cell in cells):
            print(f"| {name} | {' | '.join(shown(cell[0]) for cell in cells)} |")


def coverage(demo: Path, out: Path) -> None:
    """Coverage of read-outs with few and many calibration patients, at home and at another hospital."""
    study = Study(demo, out)
    pack, root = study.pack("triplets"), out / "community"
    few = HospitalConfig(
        num_pretraining_patients=1, num_triplet_patients=1280, num_downstream_patients=1,
        image_size_px=64, seed=study.seed, site=COMMUNITY_HOSPITAL,
    )  # fmt: skip
    write_hospital(root, few)
    records = FOLDER.read(root / "triplets", FolderOptions())
    records = replace(records, table=records.table.assign(split="test"))
    other = pack_records(records, out / "packs" / "community", preprocessing=pack.preprocessing)
    packs = {"home": pack, "elsewhere": other}
    tables = {"home": study.hospital(1.0), "elsewhere": root}
    values = {name: read_measured_values(tables[name] / "triplets" / "labs.csv", packs[name]) for name in packs}
    encoders = {"mae": study.mae, "full": out / "runs" / "full" / "encoder"}
    loaded = {name: load_encoder(folder) for name, folder in encoders.items()}
    features = {place: {name: embed_pack(each, packs[place]) for name, each in loaded.items()} for place in packs}
    rows, further = [], study.further(pack)
    tests = {"home": further["gallery"], "elsewhere": np.arange(len(other))}
    for calibration in (pack.rows("val"), np.union1d(pack.rows("val"), further["calibration"])):
        config = ReadoutConfig(seed=study.seed)
        fitted = {
            name: fit_readouts(
                array, values["home"], training=pack.rows("train"), calibration=calibration, config=config
            )
            for name, array in features["home"].items()
        }
        for place, test in tests.items():
            about = f"{place}, {len(calibration)} to calibrate"
            maker = RowMaker(protocol="readout", dataset=about, seed=study.seed, provenance="benchmarks/distill.py")
            arrays = features[place]
            found = readout_rows(fitted, arrays, values[place], test, maker=maker, baseline="mae", config=config)
            rows += found
            for row in found:
                if row.label == "all":
                    print(f"{about} | {row.encoder} | {row.metric} | {row.value:.4f} [{row.ci_low:.4f}, "
                          f"{row.ci_high:.4f}] | n {row.n} | {row.provenance}")  # fmt: skip
    write_rows(out / "coverage.json", rows)


def speed(size: str, batch_size: int, steps: int) -> None:
    """Print films per second of Stage 2's step (augmentation, forward, backward, AdamW), targets cached."""
    from pacx.core.provenance import provenance
    from pacx.models.vit import ViTConfig, random_vit
    from pacx.objectives.objective import complete
    from pacx.training.distillation import DistillModule, DistillTaskConfig

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
    taken = []
    for step in range(steps + 1):
        wall, processor = time.perf_counter(), time.process_time()
        images = to_input(augment(films, keys, config.augmentation, seed=0, epoch=step), preprocessing)
        module.score(module.features(images), targets).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        taken.append((time.perf_counter() - wall, time.process_time() - processor))
    rates = batch_size / np.array(taken[1:])  # the first step warms up
    low, middle, high = np.quantile(rates[:, 0], [0, 0.5, 1])
    print(
        f"{size}, batch {batch_size}, {steps} steps: {middle:.1f} films/s ({low:.1f} to {high:.1f}), "
        f"{np.median(rates[:, 1]):.1f} per processor second; commit {provenance('speed', 0).commit}"
    )


def main() -> None:
    """Run one of them."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    chosen = parser.add_subparsers(dest="what", required=True)
    for name in ("study", "coverage"):
        one = chosen.add_parser(name)
        one.add_argument("--demo", type=Path, required=True)
        one.add_argument("--out", type=Path, required=True)
        if name == "study":
            one.add_argument("--only", nargs="*", default=[], choices=CONDITIONS)
    one = chosen.add_parser("speed")
    one.add_argument("--size", choices=("tiny", "base"), default="tiny")
    one.add_argument("--batch-size", type=int, default=64)
    one.add_argument("--steps", type=int, default=5)
    chosen.add_parser("table").add_argument("studies", type=Path, nargs="+")
    arguments = vars(parser.parse_args())
    {"study": run_study, "coverage": coverage, "table": table, "speed": speed}[arguments.pop("what")](**arguments)


if __name__ == "__main__":
    main()
