"""The study on a simulated hospital, from nothing to result rows; a killed one goes on where it was.

`simulate -> pack -> check that cohorts are strangers -> Stage 1 -> steps (train, probe, decode) -> rows`. Everything
that is whole is kept. Steps run side by side, each in a process with one thread, and a kill costs at most the epochs
since the last checkpoints of the steps at work.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from pacx.core.artifacts import write_json
from pacx.evaluation.results import ResultRow, write_rows
from pacx.models.encoders.names import MAE
from pacx.recipes.run import Run
from pacx.recipes.side_by_side import one_thread_each, run_side_by_side
from studies.simulated.cohorts import pack_cohorts, require_strangers, simulate
from studies.simulated.design import IN_LIFE, SIZES, Preset, StudyFolders, StudySizes
from studies.simulated.rows import study_rows
from studies.simulated.steps import HospitalStudy, all_steps
from studies.stepwise.cohorts import PRETRAINING, TRIPLETS
from studies.stepwise.step import require_same_study, run_steps, timed


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


def run_study(config: StudyConfig) -> list[ResultRow]:
    """Do what is missing; returns the rows that OUT/results.json holds.

    Raises:
        UsageError: the folder holds another study.
        DataError: a patient would be in two cohorts.
    """
    folders, sizes = config.folders, config.sizes
    require_same_study(folders.out, {"preset": config.preset.value, "seed": config.seed, "rehearse": config.rehearse})
    study = HospitalStudy(folders=folders, sizes=sizes, seed=config.seed, num_draws=sizes.num_draws)
    steps = all_steps(study, config.stage_2_seeds)
    if not config.rows_only:
        with timed(folders.out, "simulate"):
            simulate(folders, sizes, seed=config.seed, num_processes=config.num_processes)
        with timed(folders.out, "pack"):
            pack_cohorts(folders, sizes, config.seed)
        write_json(folders.out / "patients.json", require_strangers(folders))
        with timed(folders.out, "stage 1"), one_thread_each(config.num_processes) as workers:
            run_side_by_side(_stage_1(config), workers)
        with timed(folders.out, "steps"):
            run_steps([step for step in steps if step.is_of(config.only)], config.num_processes)
    rows = study_rows(study, steps, command=config.command, is_rehearsal=config.rehearse)
    write_rows(folders.out / "results.json", rows)
    return rows
