"""The study on a simulated hospital, from nothing to result rows; a killed one goes on where it was.

`simulate -> pack -> check that cohorts are strangers -> Stage 1 -> steps (train, probe, decode) -> rows`. Everything
that is whole is kept. Steps run side by side, each in a process with one thread, and a kill costs at most the epochs
since the last checkpoints of the steps at work.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from pacx.core.artifacts import read_json, write_json
from pacx.core.errors import UsageError
from pacx.core.progress import announce, progress
from pacx.evaluation.results import ResultRow, write_rows
from pacx.models.encoders.names import MAE
from pacx.recipes.run import Run
from pacx.recipes.side_by_side import in_processes, one_thread_each, run_side_by_side
from studies.simulated.cohorts import PRETRAINING, TRIPLETS, pack_cohorts, require_strangers, simulate
from studies.simulated.design import IN_LIFE, SIZES, Preset, StudyFolders, StudySizes
from studies.simulated.rows import study_rows
from studies.simulated.steps import Study, StudyStep, all_steps


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """Measure what the method claims, with controls, on a simulated hospital. Ends in OUT/results.json."""

    preset: Annotated[Preset, tyro.conf.EnumChoicesFromValues] = Preset.TINY
    """How large."""

    out: Path | None = None
    """Patients, runs, draws and results; runs/study/PRESET unless given."""

    seed: int = 0
    """Of the hospital, Stage 1, probes and bootstrap."""

    stage_2_seeds: tuple[int, ...] = (0, 1, 2)
    """Each condition is trained once with each of these."""

    num_processes: int = 2
    """Steps at a time, each with one thread; never changes a result. One GPU: 1."""

    only: tuple[str, ...] = ()
    """Encoders to go on with, such as pacx or "pacx (visibility 0)"; all unless given. Always with the MAE."""

    rehearse: bool = False
    """A few patients and steps, to see every line run; the numbers mean nothing and the rows say so."""

    rows_only: bool = False
    """Make rows of the steps that are done, without doing more."""

    @property
    def folders(self) -> StudyFolders:
        """The folders below OUT that steps write and rows are made from."""
        name = f"{self.preset.value}{'-rehearsal' * self.rehearse}"
        return StudyFolders(out=self.out or Path("runs/study") / name)

    @property
    def sizes(self) -> StudySizes:
        """How large everything is."""
        whole = SIZES[self.preset]()
        return whole.rehearsal() if self.rehearse else whole

    @property
    def command(self) -> str:
        """What makes these numbers again."""
        seed = f" --seed {self.seed}" if self.seed else ""
        return f"python -m studies.simulated_hospital --preset {self.preset.value}{seed}{' --rehearse' * self.rehearse}"


def _require_same_study(config: StudyConfig) -> None:
    path = config.folders.out / "study.json"
    asked = {"preset": config.preset.value, "seed": config.seed, "rehearse": config.rehearse}
    if path.exists() and {key: read_json(path).get(key) for key in asked} != asked:
        raise UsageError(f"{config.folders.out} holds another study ({path} says which); give another --out")
    write_json(path, asked)


@contextmanager
def _timed(config: StudyConfig, name: str) -> Iterator[None]:
    """Announce a part, and keep the seconds it took: a later call that has nothing to do adds next to none."""
    path = config.folders.out / "seconds.json"
    announce(f"study: {name}")
    began = time.monotonic()
    yield
    known = read_json(path) if path.exists() else {}
    write_json(path, {**known, name: round(known.get(name, 0.0) + time.monotonic() - began, 1)})


def _stage_1(config: StudyConfig) -> list[Run]:
    """Films, ECGs, labs; none needs another."""
    folders, sizes = config.folders, config.sizes
    films, triplets = (folders.pack(cohort, IN_LIFE.name) for cohort in (PRETRAINING, TRIPLETS))
    patients = folders.hospital(IN_LIFE.name) / TRIPLETS
    training = {name: replace(getattr(sizes, name).training, seed=config.seed) for name in (MAE, "ecg", "labs")}
    ecg, labs = patients / "ecg.npy", (patients / "labs.csv",)
    return [
        replace(sizes.mae, pack=films, out=folders.run(MAE), training=training[MAE], resume=True),
        replace(
            sizes.ecg, recordings=ecg, pack=triplets, out=folders.run("ecg"), training=training["ecg"], resume=True
        ),
        replace(sizes.labs, table=labs, pack=triplets, out=folders.run("labs"), training=training["labs"], resume=True),
    ]


def _run(step: StudyStep) -> str:
    return step.run()


def _run_steps(steps: Sequence[StudyStep], num_processes: int) -> None:
    missing = [step for step in steps if not step.file.exists()]
    with progress("study", len(missing), "steps") as shown:
        for name in in_processes(_run, missing, num_processes):
            shown.advance(note=name)


def run_study(config: StudyConfig) -> list[ResultRow]:
    """Do what is missing; returns the rows that OUT/results.json holds.

    Raises:
        UsageError: the folder holds another study.
        DataError: a patient would be in two cohorts.
    """
    folders, sizes = config.folders, config.sizes
    _require_same_study(config)
    study = Study(folders=folders, sizes=sizes, seed=config.seed)
    steps = all_steps(study, config.stage_2_seeds)
    if not config.rows_only:
        with _timed(config, "simulate"):
            simulate(folders, sizes, seed=config.seed, num_processes=config.num_processes)
        with _timed(config, "pack"):
            pack_cohorts(folders, sizes, config.seed)
        write_json(folders.out / "patients.json", require_strangers(folders))
        with _timed(config, "stage 1"), one_thread_each(config.num_processes) as workers:
            run_side_by_side(_stage_1(config), workers)
        with _timed(config, "steps"):
            _run_steps([step for step in steps if step.is_of(config.only)], config.num_processes)
    rows = study_rows(study, steps, command=config.command, is_rehearsal=config.rehearse)
    write_rows(folders.out / "results.json", rows)
    return rows
