"""The study in small: every kind of step, a kill in between, rows that say what they are; strangers in every cohort."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from pacx.core.errors import DataError, UsageError
from pacx.data.packs.pack import Pack
from pacx.recipes.distill import DistillRun, distill_tiny
from pacx.recipes.negative_controls import AgeAndSexRun, RandomTargetsRun, ShuffledPairsRun
from pacx.simulation.patients.labels import PHYSIOLOGY_DENSE
from pacx.simulation.patients.population import draw_physiology
from pacx.simulation.patients.sites import UNIVERSITY_HOSPITAL
from studies.simulated import cohorts as study_cohorts
from studies.simulated.design import CONDITIONS, SIZES, WORLDS, HalfMissingRun, Preset, StudyFolders
from studies.simulated.study import StudyConfig, run_study

ONLY = ("pacx", "half-missing", "shuffled-within-acuity")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> StudyConfig:
    out = tmp_path_factory.mktemp("study")
    config = StudyConfig(out=out, rehearse=True, stage_2_seeds=(0,), num_processes=1, only=ONLY)
    run_study(config)
    return config


@pytest.mark.slow
def test_rows_of_what_is_done_with_paired_gains_and_their_origin(config: StudyConfig) -> None:
    rows = run_study(replace(config, rows_only=True))
    study = [row for row in rows if row.protocol == "study"]
    asked = {"mae", "mae#mean", "pacx", "pacx#mean - mae", "pacx - mae", "half-missing - mae", "half-missing - pacx"}
    assert asked <= {row.name for row in study}
    assert {row.fraction for row in study} == {0.01, 0.1, 1.0}
    assert {row.dataset.rpartition(", ")[2] for row in study} == {
        "physiology-dense",
        "anatomical",
        "physiology-dense at the other site",
        "anatomical at the other site",
    }
    assert all("REHEARSAL" in row.provenance and "commit" in row.provenance for row in rows)

    def value(encoder: str, metric: str) -> float:
        query = ("simulated hospital, physiology-dense", encoder, metric, 1.0)
        return next(row.value for row in study if (row.dataset, row.name, row.metric, row.fraction) == query)

    gain = value("pacx", "auroc") - value("mae", "auroc")
    assert value("pacx - mae", "auroc_difference") == pytest.approx(gain)
    half = value("half-missing", "auroc") - value("mae", "auroc")
    assert value("half-missing - pacx", "share_of_gain") == pytest.approx(half / gain, rel=1e-4)
    ours = "pacx - shuffled-within-acuity"
    by_label = [row for row in study if row.name == ours and row.dataset.endswith("dense") and row.fraction == 1.0]
    assert [row.label for row in by_label] == ["macro", *PHYSIOLOGY_DENSE]
    known = [row.value for row in by_label[1:] if not np.isnan(row.value)]
    assert by_label[0].value == pytest.approx(np.mean(known))
    masks = {(row.name, row.label) for row in rows if row.protocol == "segmentation"}
    assert {("pacx - mae", "lung"), ("pacx - mae", "heart")} <= masks


@pytest.mark.slow
def test_what_is_done_is_not_done_again_and_a_lost_step_is(config: StudyConfig) -> None:
    folders = config.folders
    before = {path: path.stat().st_mtime_ns for path in (folders.out / "runs").rglob("model.safetensors")}
    lost = folders.scores("pacx seed 0")
    kept = dict(np.load(lost))
    lost.unlink()
    run_study(config)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    again = dict(np.load(lost))
    assert all(np.array_equal(again[key], kept[key], equal_nan=True) for key in kept if key != "about")
    with pytest.raises(UsageError, match="another study"):
        run_study(replace(config, seed=1))


@pytest.mark.slow
def test_a_patient_in_two_cohorts_stops_the_study(config: StudyConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = study_cohorts.require_strangers(config.folders)
    assert len(counts) == 4
    assert min(counts.values()) >= 20
    stranger = Pack.open(config.folders.pack("pretraining", "in life")).patient_ids[0]
    real = Pack.open

    def with_a_guest(path: Path) -> Pack:
        pack = real(path)
        if path.name.startswith("downstream"):
            pack.patient_ids[0] = stranger
        return pack

    monkeypatch.setattr(study_cohorts.Pack, "open", with_a_guest)
    with pytest.raises(DataError, match="in two cohorts"):
        study_cohorts.require_strangers(config.folders)


@pytest.mark.slow
def test_worlds_hold_the_same_patients_on_other_films(config: StudyConfig) -> None:
    packs = [Pack.open(config.folders.pack("downstream", world.name)) for world in WORLDS]
    for pack in packs[1:]:
        assert np.array_equal(pack.labels, packs[0].labels)
        assert not np.array_equal(pack.images[:], packs[0].images[:])


def test_every_condition_differs_from_the_method_in_what_it_says(tmp_path: Path) -> None:
    targets = (tmp_path / "ecg" / "targets", tmp_path / "labs" / "targets")
    whole = replace(distill_tiny(), encoder=tmp_path, pack=tmp_path, targets=targets)
    runs = {str(condition.subject): condition.adapted(whole) for condition in CONDITIONS}
    assert len(runs) == len(CONDITIONS)
    assert all(run.training == whole.training and run.encoder == whole.encoder for run in runs.values())
    assert runs["pacx"] == whole
    assert runs["ecg-only"].targets == targets[:1]
    assert runs["labs-only"].targets == targets[1:]
    assert runs["contrastive-only"].task.regression_weight == 0
    assert runs["regression-only"].task.contrastive_weight == 0
    assert runs["tokens"].task.further
    assert runs["half-missing"].task.partial_pairs
    shuffled = {name: run for name, run in runs.items() if isinstance(run, ShuffledPairsRun)}
    assert {name: run.within for name, run in shuffled.items()} == {
        name: ("view",) if "view" in name else ("acuity_tenth",) if "acuity" in name else () for name in shuffled
    }
    kinds = {name: type(run) for name, run in runs.items() if type(run) is not DistillRun}
    assert kinds == {
        "shuffled-pairs": ShuffledPairsRun,
        "shuffled-pairs (visibility 0)": ShuffledPairsRun,
        "shuffled-within-view": ShuffledPairsRun,
        "shuffled-within-view (visibility 0)": ShuffledPairsRun,
        "shuffled-within-acuity": ShuffledPairsRun,
        "shuffled-pairs (visibility 0, film taken blindly)": ShuffledPairsRun,
        "random-targets": RandomTargetsRun,
        "age-and-sex": AgeAndSexRun,
        "half-missing": HalfMissingRun,
    }


@pytest.mark.slow
def test_tenths_of_acuity_put_the_less_ill_before_the_more_ill(config: StudyConfig) -> None:
    pack = Pack.open(config.folders.pack("triplets", "visibility 0"))
    acuity = draw_physiology(pack.patient_ids.tolist(), seed=0, site=UNIVERSITY_HOSPITAL).acuity
    tenths = pack.table["acuity_tenth"].to_numpy()
    assert set(np.bincount(tenths)) == {6}
    assert all(acuity[tenths == low].max() <= acuity[tenths == low + 1].min() for low in range(9))


@pytest.mark.slow
def test_pairs_shuffled_within_the_view_go_to_films_of_that_view(config: StudyConfig) -> None:
    folders = config.folders
    pack = Pack.open(folders.pack("triplets", "in life"))
    fitting = pack.rows("train")
    targets = tuple(folders.run(name) / "targets" for name in ("ecg", "labs"))
    run = replace(distill_tiny(), encoder=folders.mae, pack=pack.path, targets=targets)
    told = {each.name: getattr(run, each.name) for each in fields(DistillRun)}
    ids, views = pack.sample_ids[fitting].tolist(), pack.table["view"].to_numpy()[fitting]
    assert len(set(views)) == 2
    true = run.frozen_targets(pack, fitting)[0].for_samples(ids)
    share = {}
    for within in ((), ("view",)):
        shuffled = ShuffledPairsRun(**told, within=within).frozen_targets(pack, fitting)[0].for_samples(ids)
        owner = np.abs(shuffled[:, None] - true[None]).sum(axis=2).argmin(axis=1)
        share[within] = (views[owner] == views).mean()
        assert (owner != np.arange(len(ids))).mean() > 0.8
    assert share["view",] == 1.0
    assert share[()] < 0.9
    with pytest.raises(UsageError, match="no column colour to exchange within; it has sample_id"):
        ShuffledPairsRun(**told, within=("colour",)).frozen_targets(pack, fitting)


@pytest.mark.parametrize("preset", Preset)
def test_a_preset_is_of_the_size_it_says(preset: Preset) -> None:
    sizes, folders = SIZES[preset](), StudyFolders(out=Path("study"))
    films = 1.2 * sizes.num_pretraining_patients
    assert (sizes.image_size_px, films >= 50_000) == ((64, False) if preset is Preset.TINY else (224, True))
    assert sizes.distill.training.epochs > 1
    assert sizes.rehearsal().distill.training.epochs == 1
    runs = [folders.stage_2(condition, seed) for condition in CONDITIONS for seed in (0, 1)]
    assert len(set(runs)) == 2 * len(CONDITIONS)
