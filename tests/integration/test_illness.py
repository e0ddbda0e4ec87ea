"""The study of illness in small, from nothing to rows; what is done is not done again; pairs go to whom they should."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pacx.core.errors import DataError, UsageError
from pacx.data.packs.pack import Pack
from pacx.evaluation.embeddings import embed_pack
from pacx.evaluation.results import read_rows, rows_to_json
from pacx.modalities.targets import FrozenTargets
from pacx.models.encoders.folder import load_encoder
from pacx.recipes.negative_controls import RandomTargetsRun, ShuffledPairsRun
from studies.illness import cohorts
from studies.illness.cohorts import require_strangers, tenths_of_films, true_acuity, true_physiology
from studies.illness.design import BLIND_WORLD, METHODS, TAUGHT, TRAINED, WORLD, sizes
from studies.illness.names import EQUALLY_ILL, ILLNESS, KNOWLEDGE, OWN, RANDOM_VECTORS
from studies.illness.plan import SOURCES, all_steps
from studies.illness.steps import ClosedFormStep, IllnessStudy, embedded
from studies.illness.study import IllnessConfig, run_study
from studies.illness.training import AfterTrainingStep, TrainedStep


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> IllnessConfig:
    out = tmp_path_factory.mktemp("illness")
    config = IllnessConfig(out=out, rehearse=True, stage_1_seeds=(0,), stage_2_seeds=(0,), num_processes=1)
    run_study(config)
    return config


@pytest.fixture
def study(config: IllnessConfig) -> IllnessStudy:
    return IllnessStudy(folders=config.folders, sizes=config.sizes, seed=0, num_draws=20)


@pytest.mark.slow
def test_rows_of_every_method_say_that_they_are_a_rehearsal(config: IllnessConfig) -> None:
    before = {path: path.stat().st_mtime_ns for path in (config.folders.out / "scores").iterdir()}
    rows = run_study(config)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert all("REHEARSAL" in row.provenance and "commit" in row.provenance for row in rows)
    assert rows_to_json(read_rows(config.folders.out / "results.json")) == rows_to_json(rows)
    assert all(row.value == round(row.value, 6) for row in rows if np.isfinite(row.value))
    told = {row.encoder for row in rows if row.protocol == ILLNESS}
    assert told == {"acuity", "mae", *METHODS}
    assert {row.metric for row in rows if row.protocol == ILLNESS and not row.contrast} == {
        "auroc",
        "auroc_within_tenths",
    }
    assert {row.encoder for row in rows if row.protocol == KNOWLEDGE} == {"films", *SOURCES}
    with pytest.raises(UsageError, match="another study"):
        run_study(replace(config, seed=1))


@pytest.mark.slow
def test_equally_ill_pairs_go_to_equally_ill_patients_and_nobody_keeps_his_own(study: IllnessStudy) -> None:
    pack = Pack.open(study.folders.pairs(60))
    fitting, tenths = pack.rows("train"), pack.table["acuity_tenth"].to_numpy()
    ids = pack.sample_ids[fitting].tolist()
    own = true_acuity(pack, 0)
    named = FrozenTargets("who", tuple(pack.sample_ids), np.arange(60, dtype=np.float32)[:, None], "made up")

    def taught(kind: str, target: FrozenTargets) -> np.ndarray:
        step = next(
            step
            for step in all_steps(study, (0,), (0,))
            if isinstance(step, ClosedFormStep) and (step.num_pairs, step.taught) == (60, kind)
        )
        return step.taught_targets(target, pack, fitting).for_samples(ids)[:, 0]

    assert np.array_equal(taught(OWN, own), own.for_samples(ids)[:, 0])
    owner = taught(EQUALLY_ILL, named).astype(int)
    assert np.array_equal(tenths[owner], tenths[fitting])
    assert (owner != fitting).mean() > 0.5
    assert abs(np.corrcoef(taught(RANDOM_VECTORS, own), own.for_samples(ids)[:, 0])[0, 1]) < 0.4


@pytest.mark.slow
def test_the_oracle_knows_the_patient_of_each_film(study: IllnessStudy) -> None:
    pack = Pack.open(study.folders.pairs(60))
    told = true_physiology(pack, 0)
    assert told.embeddings.shape == (60, 29)
    order = np.argsort(told.embeddings[:, -1])
    assert np.array_equal(np.sort(pack.table["acuity_tenth"].to_numpy()), pack.table["acuity_tenth"].to_numpy()[order])
    table = Pack.open(study.folders.downstream()).table
    tenths = tenths_of_films(table["patient_id"].tolist(), 0)
    assert (table.assign(tenth=tenths).groupby("patient_id")["tenth"].nunique() == 1).all()
    assert set(tenths) == set(range(10))


@pytest.mark.slow
def test_a_patient_in_two_cohorts_stops_the_study(config: IllnessConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    assert require_strangers(config.folders) == {"pretraining": 20, "triplets": 60, "downstream": 80}
    stranger, real = Pack.open(config.folders.pretraining).patient_ids[0], Pack.open

    def with_a_guest(path: Path) -> Pack:
        pack = real(path)
        if path.name.startswith("downstream"):
            pack.patient_ids[0] = stranger
        return pack

    monkeypatch.setattr(cohorts.Pack, "open", with_a_guest)
    with pytest.raises(DataError, match="in two cohorts"):
        require_strangers(config.folders)


@pytest.mark.slow
def test_films_that_show_nothing_are_of_the_same_patients(config: IllnessConfig) -> None:
    for place in (lambda world: config.folders.pairs(60, world), config.folders.downstream):
        real, blind = (Pack.open(place(world)) for world in (WORLD, BLIND_WORLD))
        assert real.sample_ids.tolist() == blind.sample_ids.tolist()
        assert not np.array_equal(real.images[:], blind.images[:])


def test_what_is_trained_differs_in_what_it_is_taught_alone(tmp_path: Path) -> None:
    runs = {method: sizes(is_rehearsal=False).distill(method) for method in TRAINED}
    assert all(run.task.patch_dropout is not None for run in runs.values())
    assert runs["conditioned Stage 2"].task.whitening is not None
    run = replace(runs["Stage 2"], encoder=tmp_path, pack=tmp_path, targets=(tmp_path,))
    assert TAUGHT[OWN](run) == run
    equal = TAUGHT[EQUALLY_ILL](run)
    assert isinstance(equal, ShuffledPairsRun)
    assert equal.within == ("acuity_tenth",)
    assert isinstance(TAUGHT[RANDOM_VECTORS](run), RandomTargetsRun)


def test_trainings_differ_by_both_seeds_first(tmp_path: Path) -> None:
    config = IllnessConfig(out=tmp_path)
    study = IllnessStudy(folders=config.folders, sizes=config.sizes, seed=0, num_draws=1)
    steps = all_steps(study, (0, 1, 2), (0, 1, 2))
    assert len({step.name for step in steps}) == len(steps) == len({step.file for step in steps})
    trained = [step for step in steps if isinstance(step, TrainedStep)]
    assert {(step.stage_1, step.seed) for step in trained if step.world == WORLD} == {(0, 0), (1, 1), (2, 2)}
    planned = [(step.method, step.num_pairs, step.taught) for step in trained if step.world == WORLD]
    assert Counter(planned) == {
        ("Stage 2", 3000, OWN): 3,
        ("Stage 2", 3000, EQUALLY_ILL): 3,
        ("conditioned Stage 2", 3000, OWN): 3,
        ("conditioned Stage 2", 3000, EQUALLY_ILL): 3,
        ("Stage 2", 10000, OWN): 3,
        ("Stage 2", 10000, EQUALLY_ILL): 3,
        ("Stage 2", 3000, RANDOM_VECTORS): 1,
        ("Stage 2", 10000, RANDOM_VECTORS): 1,
    }
    blind = [(step.method, step.num_pairs, step.taught) for step in trained if step.world == BLIND_WORLD]
    assert Counter(blind) == {
        ("Stage 2", 900, OWN): 3,
        ("Stage 2", 900, EQUALLY_ILL): 3,
        ("conditioned Stage 2", 900, OWN): 1,
        ("conditioned Stage 2", 900, EQUALLY_ILL): 1,
    }


def test_closed_forms_are_read_off_what_was_trained_alike(tmp_path: Path) -> None:
    config = IllnessConfig(out=tmp_path)
    study = IllnessStudy(folders=config.folders, sizes=config.sizes, seed=0, num_draws=1)
    steps = all_steps(study, (0, 1, 2), (0, 1, 2))
    after = [step for step in steps if isinstance(step, AfterTrainingStep)]
    trained = [step for step in steps if isinstance(step, TrainedStep) and step.method == "Stage 2"]
    assert Counter(step.after.name for step in after) == {step.name: 2 for step in trained}
    for step in after:
        assert steps.index(step.after) < steps.index(step)
        assert step.read.encoder == step.after.encoder
        assert (step.num_pairs, step.taught, step.stage_1, step.seed, step.world) == (
            step.after.num_pairs,
            step.after.taught,
            step.after.stage_1,
            step.after.seed,
            step.after.world,
        )


@pytest.mark.slow
def test_what_a_closed_form_reads_after_training_is_the_trained_encoder(study: IllnessStudy) -> None:
    step = next(step for step in all_steps(study, (0,), (0,)) if isinstance(step, AfterTrainingStep))
    read = embedded(step.read, "downstream")
    token = embed_pack(load_encoder(step.after.encoder), Pack.open(study.folders.downstream()))
    frozen = embed_pack(load_encoder(study.folders.stage_1(0) / "encoder"), Pack.open(study.folders.downstream()))
    halves = np.split(read, 2, axis=1)
    assert min(np.abs(half - token).max() for half in halves) < 1e-5
    assert min(np.abs(half - frozen).max() for half in halves) > 1e-3


def test_more_pairs_are_trained_on_for_about_twice_the_steps() -> None:
    whole = sizes(is_rehearsal=False)
    steps = {
        each.num_pairs: each.num_pairs * whole.distill("Stage 2", each.epochs).training.epochs for each in whole.trained
    }
    assert 1.5 < steps[10000] / steps[3000] < 2.5
