from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from scipy.stats import norm

from pacx.core.errors import UsageError
from pacx.core.vocabulary import NUM_LABS
from pacx.modalities.modality import EmbeddingSettings
from pacx.modalities.panel.encoder import PanelEncoder, PanelJob
from pacx.modalities.panel.panels import PanelTable
from pacx.modalities.vitals import VITALS_PANEL
from pacx.models.panel.config import LAB_PANEL, Corruption
from pacx.simulation.patients.population import draw_physiology
from pacx.simulation.patients.sites import UNIVERSITY_HOSPITAL
from pacx.simulation.signals.labs import simulate_labs
from pacx.simulation.signals.vitals import simulate_vitals
from pacx.training.config import TrainingConfig
from pacx.training.loop import train
from pacx.training.monitoring.journal import TRAIN, curve, read_journal
from pacx.training.task_config import PanelTaskConfig
from pacx.training.tasks.panel import PanelTask

CONFIG = TrainingConfig(
    epochs=12, batch_size=64, learning_rate=1e-3, warmup_steps=10, weight_decay=0.01, seed=2, accelerator="cpu"
)
TRAIN_ROWS, VAL_ROWS = np.arange(320), np.arange(320, 400)


@pytest.fixture(scope="module")
def table() -> PanelTable:
    """Fifty tests driven by two hidden causes, a quarter of them not ordered."""
    rng = np.random.default_rng(4)
    causes = rng.normal(size=(400, 2)) @ rng.normal(size=(2, NUM_LABS))
    values = np.exp(causes + 0.2 * rng.normal(size=causes.shape))
    values[rng.random(values.shape) < 0.25] = np.nan
    return PanelTable(LAB_PANEL, tuple(f"s{i}" for i in range(400)), values)


def labs_task(table: PanelTable, seed: int = 2, **changes: object) -> PanelTask:
    return PanelTask(table, TRAIN_ROWS, VAL_ROWS, PanelTaskConfig(**changes), seed)


def test_imputes_better_than_the_mean_and_releases_what_later_stages_load(table, tmp_path):
    task = labs_task(table)
    summary = train(task, CONFIG, tmp_path / "run")
    assert summary.validation["imputation_mse"] < 0.5 * summary.validation["mean_imputation_mse"]
    # the variance of a uniform percentile is 1/12: the baseline is what it says it is
    assert summary.validation["mean_imputation_mse"] == pytest.approx(1 / 12, rel=0.15)
    assert summary.validation["latent_std"] > 0.01
    encoder = PanelEncoder.load(tmp_path / "run/labs", LAB_PANEL)
    targets = PanelJob(encoder, table).run(EmbeddingSettings())
    percentiles, observed = task._measured(np.arange(400))
    with torch.no_grad():
        assert np.allclose(targets.embeddings, task.module.encode(percentiles, observed).numpy(), atol=1e-6)


def test_labs_and_vital_signs_of_the_simulated_cohort_beat_the_mean_by_a_quarter(tmp_path):
    """Labs of one body hang together; measured margin with 1,400 patients and 50 epochs: 45 and 37 percent."""
    ids = [f"u{i}" for i in range(800)]
    people = draw_physiology(ids, seed=0, site=UNIVERSITY_HOSPITAL)
    signs = np.stack(simulate_vitals(people, ids, seed=0), axis=1)
    tables = PanelTable(LAB_PANEL, ids, simulate_labs(people, ids, seed=0)), PanelTable(VITALS_PANEL, ids, signs)
    for table in tables:
        task = PanelTask(table, np.arange(640), np.arange(640, 800), PanelTaskConfig(), 0)
        values = train(task, replace(CONFIG, epochs=40, seed=0), tmp_path / table.panel.name).validation
        assert values["imputation_mse"] < 0.75 * values["mean_imputation_mse"]
        assert values["reconstruction_mse"] < values["denoising_mse"] < values["imputation_mse"]
        assert values["latent_std"] > 0.1


def test_percentiles_know_the_training_patients_only(table):
    values = table.values.copy()
    values[VAL_ROWS] *= 1000
    moved = labs_task(PanelTable(LAB_PANEL, table.sample_ids, values))
    whole = labs_task(table)
    percentiles, observed = moved._measured(VAL_ROWS)
    assert (percentiles[observed > 0] == 1).float().mean() > 0.9
    assert torch.equal(moved._measured(TRAIN_ROWS)[0], whole._measured(TRAIN_ROWS)[0])


def test_hides_fifteen_in_a_hundred_observed_values_differently_each_epoch(table):
    task = labs_task(table)
    percentiles, observed = task._measured(TRAIN_ROWS)
    hidden = []
    for epoch in (0, 0, 1):
        _, shown = task._corrupted(percentiles, observed, "drop", epoch, TRAIN_ROWS)
        assert ((observed - shown) >= 0).all()
        hidden.append(observed - shown)
    share = hidden[0].sum() / observed.sum()
    tolerance = norm.ppf(0.9999) * np.sqrt(0.15 * 0.85 / observed.sum().item())
    assert abs(share - 0.15) < tolerance
    assert torch.equal(hidden[0], hidden[1])
    assert not torch.equal(hidden[0], hidden[2])


def test_papers_corruption_leaves_the_mask(table):
    task = labs_task(table, corruption=Corruption.VALUE_ONLY)
    percentiles, observed = task._measured(TRAIN_ROWS)
    values, shown = task._corrupted(percentiles, observed, "drop", 0, TRAIN_ROWS)
    assert torch.equal(shown, observed)
    assert (values == 0).sum() > (percentiles == 0).sum()


def test_a_patient_is_treated_alike_in_any_batch(table):
    task = labs_task(table)
    percentiles, observed = task._measured(TRAIN_ROWS)
    _, whole = task._corrupted(percentiles, observed, "drop", 3, TRAIN_ROWS)
    _, part = task._corrupted(percentiles[7:9], observed[7:9], "drop", 3, TRAIN_ROWS[7:9])
    assert torch.equal(whole[7:9], part)


def test_all_parameters_decay(table):
    (group,) = labs_task(table).parameter_groups(0.01)
    assert sum(parameter.numel() for parameter in group.parameters) == 341_298
    assert group.weight_decay == 0.01


def test_repeatable(table, tmp_path):
    short = replace(CONFIG, epochs=3)
    for name in ("one", "other"):
        train(labs_task(table), short, tmp_path / name)
    one, other = (read_journal(tmp_path / name / "journal.jsonl") for name in ("one", "other"))
    assert curve(one, TRAIN, "loss") == curve(other, TRAIN, "loss")
    weights = [(tmp_path / name / "labs/model.safetensors").read_bytes() for name in ("one", "other")]
    assert weights[0] == weights[1]


def test_overlapping_split_is_refused(table):
    """By patient, whatever the rows."""
    whose = tuple(f"patient{i // 2}" for i in range(400))
    shared = PanelTable(LAB_PANEL, table.sample_ids, table.values, whose)
    with pytest.raises(UsageError, match="none that is trained on"):
        PanelTask(shared, np.arange(319), np.arange(319, 400), PanelTaskConfig(), 0)
    with pytest.raises(UsageError, match="none that is trained on"):
        PanelTask(table, TRAIN_ROWS, TRAIN_ROWS[:3], PanelTaskConfig(), 0)


def unevenly_measured_task() -> PanelTask:
    """The first patients have many values, the last ones few."""
    rng = np.random.default_rng(6)
    values = rng.normal(size=(400, NUM_LABS))
    values[rng.random(values.shape) < np.linspace(0, 0.95, 400)[:, None]] = np.nan
    values[:, 0] = rng.normal(size=400)
    return labs_task(PanelTable(LAB_PANEL, tuple(f"s{i}" for i in range(400)), values))


def loss_and_gradients(task: PanelTask, rows: np.ndarray) -> tuple[torch.Tensor, list[torch.Tensor]]:
    loss = task.loss(rows, 0).loss
    loss.backward()
    return loss.detach(), [parameter.grad for parameter in task.module.parameters()]


def one_of_two(rank: int, out: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{out}/meet", rank=rank, world_size=2)
    task, rows = unevenly_measured_task(), np.array_split(TRAIN_ROWS, 2)[rank]
    result = loss_and_gradients(task, rows)
    task.module.eval()
    torch.save((*result, task.loss(rows, 0).loss.detach()), f"{out}/{rank}.pt")
    dist.destroy_process_group()


def test_two_devices_give_the_loss_and_gradient_of_one(tmp_path):
    mp.get_context("forkserver").set_forkserver_preload(["pacx.training.tasks.panel"])  # imports torch once
    mp.start_processes(one_of_two, (str(tmp_path),), 2, start_method="forkserver")
    results = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    loss, gradients = loss_and_gradients(unevenly_measured_task(), TRAIN_ROWS)
    torch.testing.assert_close((results[0][0] + results[1][0]) / 2, loss)
    for one, first, second in zip(gradients, results[0][1], results[1][1], strict=True):  # as DDP averages
        torch.testing.assert_close((first + second) / 2, one, rtol=1e-4, atol=1e-7)
    for rank, rows in enumerate(np.array_split(TRAIN_ROWS, 2)):  # out of training each device measures its own
        torch.testing.assert_close(results[rank][2], unevenly_measured_task().loss(rows, 0).loss.detach())
