"""The whole method on a simulated hospital: simulate, pack, pretrain, distil, evaluate, report.

Every step writes what it made under OUT and is skipped when that is already there and whole, so that a demo that was
killed goes on where it stopped. The sizes are for two CPU cores and ten minutes; they show that the method runs and
learns, not how good it can get.
"""

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pacx.core.artifacts import read_json, staged_directory, write_json
from pacx.core.errors import UsageError
from pacx.core.preprocessing import Preprocessing
from pacx.core.provenance import provenance
from pacx.data.datasets.folder import DATASET as FOLDER
from pacx.data.datasets.folder import FolderOptions
from pacx.data.packs.packing import pack_records
from pacx.data.packs.splitting import UNTESTED, with_splits
from pacx.data.records import Records
from pacx.demo.folders import DemoFolders
from pacx.evaluation.comparison import Comparison
from pacx.evaluation.results import read_rows, rows_to_json, write_rows
from pacx.models.device import AUTOMATIC, chosen_device
from pacx.models.encoders.names import CONTRASTIVE_ONLY, ECG_ONLY, LABS_ONLY, MAE, PACX, REGRESSION_ONLY
from pacx.models.encoders.origin import Origin, read_origin, write_origin
from pacx.recipes.distill import DistillRun, distill_tiny
from pacx.recipes.ecg import ecg_tiny
from pacx.recipes.labs import labs_tiny
from pacx.recipes.mae import mae_tiny
from pacx.recipes.run import Run
from pacx.training.config import TrainingConfig

if TYPE_CHECKING:
    from pacx.simulation.hospital import HospitalConfig


_EVALUATED = ("triplets", "downstream", "segmentation")
_NUM_SEGMENTATION_PATIENTS = 400


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Run the whole method on a simulated hospital and write a report of it.

    Example:
        >>> from pathlib import Path
        >>> from pacx.demo import DemoConfig
        >>> config = DemoConfig(out=Path("runs/short-demo"), film_epochs=2, num_draws=100)
        >>> config.image_size_px, config.hospital().num_triplet_patients
        (64, 1400)
    """

    out: Path = Path("runs/demo")
    """The folder for everything; report.html, results.json and encoder/ are the ones to look at."""

    seed: int = 0
    """Of patients, films, weights, masks, probes: everything random follows from it."""

    num_pretraining_patients: int = 2400
    """Patients whose films are pretrained on, without labels."""

    num_triplet_patients: int = 1400
    """Patients with film, ECG and labs."""

    num_downstream_patients: int = 1600
    """Patients with labelled films and masks, for the benchmarks."""

    film_epochs: int = 40
    """Epochs of the film autoencoder (Stage 1a)."""

    ecg_epochs: int = 60
    """Epochs of the ECG autoencoder (Stage 1c)."""

    lab_epochs: int = 50
    """Epochs of the laboratory autoencoder (Stage 1b)."""

    distillation_epochs: int = 10
    """Epochs of Stage 2, and of each of its four ablations."""

    num_draws: int = 1000
    """Bootstrap draws of patients behind every interval."""

    num_processes: int = 2
    """How many processes simulate and distil at once; never changes a result."""

    device: str = AUTOMATIC
    """Where encoders are evaluated (cpu, cuda, cuda:1); by default a GPU if there is one."""

    @property
    def image_size_px(self) -> int:
        """The film encoder's input size."""
        return mae_tiny().task.model.img_size

    def hospital(self) -> "HospitalConfig":
        """The hospital this demo simulates."""
        from pacx.simulation.hospital import HospitalConfig

        return HospitalConfig(
            num_pretraining_patients=self.num_pretraining_patients,
            num_triplet_patients=self.num_triplet_patients,
            num_downstream_patients=self.num_downstream_patients,
            image_size_px=self.image_size_px,
            seed=self.seed,
        )


class _Clock:
    """Seconds per step, kept in a file so that a demo that goes on later still knows them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.seconds: dict[str, float] = read_json(path) if path.exists() else {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.monotonic() - began, 1)
        write_json(self._path, self.seconds)


def _require_same_config(config: DemoConfig) -> None:
    """A folder holds one demo; another configuration needs another folder."""
    path = config.out / "config.json"
    told = {name: value for name, value in asdict(config).items() if name != "device"}
    asked = json.loads(json.dumps({**told, "out": None, "num_processes": None}))
    if path.exists() and read_json(path) != asked:
        raise UsageError(f"{config.out} holds a demo of another configuration; choose another --out or delete it")
    write_json(path, asked)


def _cohort(folders: DemoFolders, name: str, seed: int) -> Records:
    """A cohort's films with splits: labels without masks for the probes, some masks without labels for the decoder."""
    source = "downstream" if name == "segmentation" else name
    labelled = FolderOptions(label_columns=("*",) if name == "downstream" else ())
    records = FOLDER.read(folders.hospital / source, labelled)
    if name == "segmentation":
        patients = records.table["patient_id"].unique()[:_NUM_SEGMENTATION_PATIENTS]
        records = replace(records, table=records.table[records.table["patient_id"].isin(patients)])
    else:
        records = replace(records, mask_names=())
    return with_splits(records, seed, UNTESTED if name == "pretraining" else FOLDER.card.splits)


def _pack_cohorts(config: DemoConfig, folders: DemoFolders, image_size_px: int, cohorts: Sequence[str]) -> None:
    for name in cohorts:
        pack_records(
            _cohort(folders, name, config.seed),
            folders.pack(name, image_size_px),
            preprocessing=Preprocessing(image_size_px=image_size_px),
        )


def _shortened(training: TrainingConfig, epochs: int, seed: int) -> TrainingConfig:
    """The same training over another number of epochs, the warm-up in proportion."""
    warmup = training.warmup_epochs * epochs / training.epochs
    return replace(training, epochs=epochs, warmup_epochs=warmup, seed=seed)


def _unimodal_runs(config: DemoConfig, folders: DemoFolders) -> list[Run]:
    """Stage 1: films, ECGs, labs; none needs another."""
    film, ecg, lab = mae_tiny(), ecg_tiny(), labs_tiny()
    films, triplets = (folders.pack(name, config.image_size_px) for name in ("pretraining", "triplets"))
    patients = folders.hospital / "triplets"
    return [
        replace(
            film,
            pack=films,
            out=folders.run(MAE),
            training=_shortened(film.training, config.film_epochs, config.seed),
            resume=True,
        ),
        replace(
            ecg,
            recordings=patients / "ecg.npy",
            pack=triplets,
            out=folders.run("ecg"),
            training=_shortened(ecg.training, config.ecg_epochs, config.seed),
            resume=True,
        ),
        replace(
            lab,
            table=(patients / "labs.csv",),
            pack=triplets,
            out=folders.run("labs"),
            training=_shortened(lab.training, config.lab_epochs, config.seed),
            resume=True,
        ),
    ]


def _distillations(config: DemoConfig, folders: DemoFolders) -> list[DistillRun]:
    """The full recipe and the four of Table 3, equally long, from the same MAE."""
    ecg, lab = (folders.run(name) / "targets" for name in ("ecg", "labs"))
    tiny = distill_tiny()
    full = replace(
        tiny,
        encoder=folders.run(MAE) / "encoder",
        pack=folders.pack("triplets", config.image_size_px),
        targets=(ecg, lab),
        out=folders.run(PACX),
        training=_shortened(tiny.training, config.distillation_epochs, config.seed),
        resume=True,
    )
    return [
        full,
        replace(full, targets=(ecg,), out=folders.run(ECG_ONLY)),
        replace(full, targets=(lab,), out=folders.run(LABS_ONLY)),
        replace(full, task=replace(full.task, regression_weight=0.0), out=folders.run(CONTRASTIVE_ONLY)),
        replace(full, task=replace(full.task, contrastive_weight=0.0), out=folders.run(REGRESSION_ONLY)),
    ]


def run_demo(config: DemoConfig) -> float:
    """Run every step that is not done yet: simulate, pack, pretrain, distil, evaluate, report.

    Args:
        config: sizes, seed, and the folder.

    Returns:
        The seconds that all steps took together, those of earlier calls too.

    Raises:
        UsageError: the folder holds a demo of another configuration.

    Example:
        >>> from pathlib import Path
        >>> from pacx.demo import DemoConfig, run_demo
        >>> run_demo(DemoConfig(out=Path("runs/demo")))  # doctest: +SKIP
    """
    folders = DemoFolders(out=config.out)
    _require_same_config(config)

    from pacx.demo.evaluation import evaluate_demo, open_demo_encoders
    from pacx.demo.pictures import draw_demo
    from pacx.recipes.side_by_side import run_side_by_side
    from pacx.reporting.report import write_report
    from pacx.simulation.hospital import write_hospital

    clock = _Clock(config.out / "seconds.json")
    with clock.step("simulate the hospital"):
        write_hospital(folders.hospital, config.hospital(), num_workers=config.num_processes)
    with clock.step("pack the films"):
        _pack_cohorts(config, folders, config.image_size_px, ("pretraining", *_EVALUATED))
    with clock.step("stage 1: films, ECGs, labs"):
        run_side_by_side(_unimodal_runs(config, folders), config.num_processes)
    with clock.step("stage 2: distil, with four ablations"):
        run_side_by_side(_distillations(config, folders), config.num_processes)
    with clock.step("stage 3: evaluate"):
        encoders = open_demo_encoders(folders, config.seed)
        _pack_cohorts(config, folders, encoders.baseline.preprocessing.image_size_px, _EVALUATED)
        comparison = Comparison(
            dataset="simulated films",
            baseline=MAE,
            provenance=f"pacx demo, commit {provenance('pacx demo', config.seed).commit}",
            num_draws=config.num_draws,
            device=chosen_device(config.device),
        )
        write_rows(folders.results, evaluate_demo(folders, encoders, config.seed, comparison))
        draw_demo(folders, encoders, config.seed, device=comparison.device)
    with staged_directory(config.out / "encoder") as released:
        shutil.copytree(folders.run(PACX) / "encoder", released, dirs_exist_ok=True)
        rows = rows_to_json([row for row in read_rows(folders.results) if row.encoder == PACX])
        write_origin(released, replace(read_origin(released) or Origin(), results=tuple(rows)))
    about = {"provenance": provenance("pacx demo", config.seed).to_json(), "seconds": clock.seconds}
    write_json(config.out / "demo.json", {**about, "config": read_json(config.out / "config.json")})
    write_report(
        [config.out],
        config.out / "report.html",
        title="PaCX demo",
        subtitle=f"The whole method on a simulated hospital, seed {config.seed}.",
    )
    return sum(clock.seconds.values())
