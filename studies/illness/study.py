"""The study of illness, from nothing to result rows; a killed one goes on where it was.

`simulate -> pack -> check that cohorts are strangers -> Stage 1 (films by seeds, ECG, labs) -> embed films once ->
steps (closed forms, Stage 2, probes) -> rows`. Everything that is whole is kept.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from pacx.core.artifacts import write_json
from pacx.evaluation.results import ResultRow, write_rows
from pacx.modalities.ecg_signal.packs.packing import packed_beside
from pacx.recipes.run import Run
from pacx.recipes.side_by_side import one_thread_each, run_side_by_side
from studies.illness.cohorts import pack_cohorts, require_strangers, simulate
from studies.illness.design import BLIND_WORLD, WORLD, IllnessFolders, IllnessSizes, sizes
from studies.illness.plan import all_steps
from studies.illness.rows import illness_rows
from studies.illness.steps import IllnessStudy, films_step
from studies.illness.training import AfterTrainingStep, TrainedStep
from studies.stepwise.cohorts import TRIPLETS
from studies.stepwise.finished import rounded
from studies.stepwise.step import require_same_study, run_steps, timed


@dataclass(frozen=True, kw_only=True)
class IllnessConfig:
    """Measure whether Stage 2 teaches what an illness is or how ill a patient is. Ends in OUT/results.json."""

    out: Path | None = None
    """Patients, runs, draws and results; runs/illness unless given."""

    seed: int = 0
    """Of the hospital, the encoders of ECG and labs, probes and bootstrap."""

    stage_1_seeds: tuple[int, ...] = (0, 1, 2)
    """One masked autoencoder of films each."""

    stage_2_seeds: tuple[int, ...] = (0, 1, 2)
    """Of exchanges with each Stage 1; a training of Stage 2 has the one in the place of its Stage 1."""

    num_processes: int = 2
    """Steps at a time, each with one thread; never changes a result."""

    untrained: bool = False
    """Do the closed forms alone, which take seconds each; Stage 2 itself takes minutes a step."""

    rehearse: bool = False
    """A few patients and steps, to see every line run; the numbers mean nothing and the rows say so."""

    rows_only: bool = False
    """Make rows of the steps that are done, without doing more."""

    @property
    def sizes(self) -> IllnessSizes:
        """How large everything is."""
        return sizes(is_rehearsal=self.rehearse)

    @property
    def folders(self) -> IllnessFolders:
        """The folders below OUT that steps write and rows are made from."""
        name = f"illness{'-rehearsal' * self.rehearse}"
        return IllnessFolders(out=self.out or Path("runs") / name, most_pairs=self.sizes.pairs[-1])

    @property
    def command(self) -> str:
        """What makes these numbers again."""
        seed = f" --seed {self.seed}" if self.seed else ""
        return f"python -m studies.illness{seed}{' --rehearse' * self.rehearse}"


def _stage_1(config: IllnessConfig) -> list[Run]:
    """Films with every seed, ECGs, labs; none needs another. Targets that are there are not made again."""
    folders, whole = config.folders, config.sizes
    signals, learnt_from = folders.hospital(WORLD) / TRIPLETS, folders.pairs(whole.num_encoder_patients)
    runs: list[Run] = [
        replace(
            whole.mae,
            pack=folders.pretraining,
            out=folders.stage_1(seed),
            training=replace(whole.mae.training, seed=seed),
            resume=True,
        )
        for seed in config.stage_1_seeds
    ]
    ecg = replace(whole.ecg, recordings=signals / "ecg.npy", training=replace(whole.ecg.training, seed=config.seed))
    labs = replace(whole.labs, table=(signals / "labs.csv",), training=replace(whole.labs.training, seed=config.seed))
    if not folders.targets("ecg").exists():
        runs.append(replace(ecg, pack=learnt_from, out=folders.run("ecg"), resume=True))
    if not folders.targets("labs").exists():
        runs.append(replace(labs, pack=learnt_from, out=folders.run("labs"), resume=True))
    return runs


def _measures(config: IllnessConfig) -> list[Run]:
    """Measures of the ECGs that training their encoder has packed."""
    folders, run = config.folders, config.sizes.measures
    if folders.targets("ecg-measures").exists():
        return []
    training = replace(run.training, seed=config.seed)
    return [
        replace(
            run,
            recordings=packed_beside(folders.run("ecg")),
            pack=folders.pairs(config.sizes.num_encoder_patients),
            out=folders.run("ecg-measures"),
            training=training,
            resume=True,
        )
    ]


def run_study(config: IllnessConfig) -> list[ResultRow]:
    """Do what is missing; returns the rows that OUT/results.json holds.

    Raises:
        UsageError: the folder holds another study.
        DataError: a patient would be in two cohorts.
    """
    folders, whole = config.folders, config.sizes
    require_same_study(folders.out, {"seed": config.seed, "rehearse": config.rehearse})
    study = IllnessStudy(folders=folders, sizes=whole, seed=config.seed, num_draws=whole.num_draws)
    steps = all_steps(study, config.stage_1_seeds, config.stage_2_seeds)
    if not config.rows_only:
        with timed(folders.out, "patients"), one_thread_each(config.num_processes) as workers:
            simulate(folders, whole, seed=config.seed, workers=workers)
            pack_cohorts(folders, whole, config.seed)
            write_json(folders.out / "patients.json", require_strangers(folders))
        with timed(folders.out, "stage 1"), one_thread_each(config.num_processes) as workers:
            run_side_by_side(_stage_1(config), workers)
            run_side_by_side(_measures(config), workers)
        with timed(folders.out, "steps"):
            blind = [films_step(study, seed, BLIND_WORLD) for seed in config.stage_1_seeds[:1]]
            run_steps([*(films_step(study, seed) for seed in config.stage_1_seeds), *blind], config.num_processes)
            wanted = [
                step for step in steps if not (config.untrained and isinstance(step, TrainedStep | AfterTrainingStep))
            ]
            run_steps(wanted, config.num_processes)
    rows = rounded(illness_rows(study, steps, command=config.command))
    write_rows(folders.out / "results.json", rows)
    return rows
