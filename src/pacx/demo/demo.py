"""The whole method on a simulated hospital: simulate, pack, pretrain, distil, evaluate, report.

Every step writes what it made under OUT and is skipped when that is already there and whole, so that a demo that was
killed goes on where it stopped. Sizes and recipes are for two CPU cores and some minutes; they show that the method
runs and learns, not how good it can get.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pacx.core.artifacts import read_json, staged_directory, write_json
from pacx.core.errors import UsageError
from pacx.core.preprocessing import Preprocessing
from pacx.core.progress import announce
from pacx.core.provenance import provenance
from pacx.data.datasets.folder import DATASET as FOLDER
from pacx.data.datasets.folder import FolderOptions
from pacx.data.packs.packing import pack_records
from pacx.data.packs.splitting import UNTESTED, with_splits
from pacx.data.records import Records
from pacx.demo.folders import DemoFolders
from pacx.demo.outlook import Clock, Step, Workload, seconds_of_a_training_step
from pacx.evaluation.comparison import Comparison
from pacx.evaluation.results import read_rows, rows_to_json, write_rows
from pacx.models.device import AUTOMATIC, chosen_device
from pacx.models.encoders.names import ABLATIONS, CONTRASTIVE_ONLY, ECG_ONLY, LABS_ONLY, MAE, PACX, REGRESSION_ONLY
from pacx.models.encoders.origin import Origin, read_origin, write_origin
from pacx.recipes.distill import DistillRun, distill_tiny
from pacx.recipes.distill_variants import distill_tiny_sparse
from pacx.recipes.ecg import ecg_tiny
from pacx.recipes.labs import labs_tiny
from pacx.recipes.mae import mae_tiny_muon
from pacx.recipes.run import Run
from pacx.training.config import TrainingConfig

if TYPE_CHECKING:
    from pacx.simulation.hospital import HospitalConfig


_EVALUATED = ("triplets", "downstream", "segmentation")
_NUM_SEGMENTATION_PATIENTS = 400
_NUM_CHECKPOINTS = 3
"""Of each run: a kill costs a third of it, and the demo writes megabytes instead of gigabytes."""


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

    film_epochs: int = 20
    """Epochs of the film autoencoder (Stage 1a), whose matrices Muon steps."""

    ecg_epochs: int = 20
    """Epochs of the ECG autoencoder (Stage 1c)."""

    lab_epochs: int = 50
    """Epochs of the laboratory autoencoder (Stage 1b)."""

    distillation_epochs: int = 10
    """Epochs of Stage 2, which looks at a quarter of each film's patches, and of each of its four ablations."""

    num_draws: int = 1000
    """Bootstrap draws of patients behind every interval."""

    num_processes: int = 2
    """How many processes simulate and distil at once; never changes a result."""

    device: str = AUTOMATIC
    """Where encoders are evaluated (cpu, cuda, cuda:1); by default a GPU if there is one."""

    @property
    def image_size_px(self) -> int:
        """The film encoder's input size."""
        return mae_tiny_muon().task.model.img_size

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

    def workload(self) -> Workload:
        """How much there is to do, for the time it will take."""
        patients = (self.num_pretraining_patients, self.num_triplet_patients, self.num_downstream_patients)
        return Workload(
            num_patients=sum(patients),
            num_films=self.film_epochs * self.num_pretraining_patients,
            num_recordings=self.ecg_epochs * self.num_triplet_patients,
            num_panels=self.lab_epochs * self.num_triplet_patients,
            num_pairs=(1 + len(ABLATIONS)) * self.distillation_epochs * self.num_triplet_patients,
            num_processes=self.num_processes,
        )


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
    """The same training over another number of epochs, the warm-up in proportion; measured and saved a few times."""
    sparing = -(-epochs // _NUM_CHECKPOINTS)
    return replace(
        training,
        epochs=epochs,
        warmup_epochs=training.warmup_epochs * epochs / training.epochs,
        validate_every_epochs=sparing,
        checkpoint_every_epochs=sparing,
        seed=seed,
    )


def _unimodal_runs(config: DemoConfig, folders: DemoFolders) -> list[Run]:
    """Stage 1: films, ECGs, labs; none needs another."""
    film, ecg, lab = mae_tiny_muon(), ecg_tiny(), labs_tiny()
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
    """The recipe whole and the four of Table 3, equally long, from the same MAE."""
    ecg, lab = (folders.run(name) / "targets" for name in ("ecg", "labs"))
    tiny = distill_tiny_sparse()
    full = replace(
        tiny,
        encoder=folders.run(MAE) / "encoder",
        pack=folders.pack("triplets", config.image_size_px),
        targets=(ecg, lab),
        out=folders.run(PACX),
        # Epochs are few, and the claims were measured at this rate, not at that of the sparse recipe.
        training=_shortened(distill_tiny().training, config.distillation_epochs, config.seed),
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
    from pacx.recipes.side_by_side import one_thread_each, run_side_by_side
    from pacx.simulation.hospital import write_hospital

    clock = Clock(config.out / "seconds.json", config.workload().expected(seconds_of_a_training_step()))
    announce(f"demo: about {clock.whole()} on this machine in all; stopped at any time, the same command goes on")
    with one_thread_each(config.num_processes) as workers:
        with clock.step(Step.SIMULATE):
            write_hospital(folders.hospital, config.hospital(), workers=workers)
        with clock.step(Step.PACK):
            _pack_cohorts(config, folders, config.image_size_px, ("pretraining", *_EVALUATED))
        with clock.step(Step.STAGE_1):
            run_side_by_side(_unimodal_runs(config, folders), workers)
        with clock.step(Step.STAGE_2):
            run_side_by_side(_distillations(config, folders), workers)
        with clock.step(Step.EVALUATE):
            encoders = open_demo_encoders(folders, config.seed)
            _pack_cohorts(config, folders, encoders.baseline.preprocessing.image_size_px, _EVALUATED)
            comparison = Comparison(
                dataset="simulated films",
                baseline=MAE,
                provenance=f"pacx demo, commit {provenance('pacx demo', config.seed).commit}",
                num_draws=config.num_draws,
                device=chosen_device(config.device),
            )
            write_rows(folders.results, evaluate_demo(folders, config.seed, comparison, workers))
    with clock.step(Step.DRAW):
        draw_demo(folders, encoders, config.seed, device=comparison.device)
    with clock.step(Step.REPORT):
        _release_and_report(config, folders, clock)
    return sum(clock.seconds.values())


def _release_and_report(config: DemoConfig, folders: DemoFolders, clock: Clock) -> None:
    """The encoder with what was measured of it, what was run, and the page; decoded ECGs, the largest of all, go."""
    from pacx.modalities.ecg_signal.packs.packing import packed_beside
    from pacx.reporting.report import write_report

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
    shutil.rmtree(packed_beside(folders.run("ecg")), ignore_errors=True)
