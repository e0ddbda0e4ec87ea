from dataclasses import replace

import numpy as np
import pytest
import torch

from pacx.core.errors import UsageError
from pacx.models.ecg.input import ECG_MAE_INPUT
from pacx.models.ecg.mae import EcgMAEConfig, load_ecg_mae
from pacx.training.loop import TrainingConfig, train
from pacx.training.tasks.ecg import EcgTask, EcgTaskConfig

MODEL = EcgMAEConfig(
    embed_dim=32, depth=2, num_heads=2, decoder_embed_dim=16, decoder_depth=1, decoder_num_heads=2, mask_ratio=0.5,
    preprocessing=replace(ECG_MAE_INPUT, duration_s=2.0),
)  # fmt: skip
CONFIG = TrainingConfig(
    epochs=30, batch_size=16, learning_rate=4e-3, warmup_epochs=2, betas=(0.9, 0.95), seed=7, accelerator="cpu",
    validate_every_epochs=10, checkpoint_every_epochs=30,
)  # fmt: skip
TRAIN_ROWS, VAL_ROWS = np.arange(64), np.arange(64, 80)


@pytest.fixture(scope="module")
def signals() -> np.ndarray:
    """Recordings of one level each with a ripple on it; leads are scaled copies."""
    rng = np.random.default_rng(5)
    time_s = np.arange(1000) / 500
    ripple = 0.2 * np.sin(2 * np.pi * rng.uniform(1, 2, (80, 1)) * time_s)  # (80, T)
    wave = rng.normal(size=(80, 1)) + ripple
    return (wave[:, None] * np.linspace(0.5, 1, 12)[None, :, None]).astype(np.float32)


def ecg_task(signals: np.ndarray, seed: int = 7, content: str = "a pack") -> EcgTask:
    ids = [f"e{i}" for i in range(len(signals))]
    return EcgTask(ids, signals, TRAIN_ROWS, VAL_ROWS, EcgTaskConfig(model=MODEL), seed, content)


def test_restores_held_out_waves_and_releases_the_encoder(signals, tmp_path):
    task = ecg_task(signals)
    summary = train(task, CONFIG, tmp_path / "run")
    assert summary.validation["masked_mse"] < 0.6 * summary.validation["mean_recording_mse"]
    loaded = load_ecg_mae(tmp_path / "run/ecg")
    batch = torch.from_numpy(signals[:3])
    with torch.no_grad():
        torch.testing.assert_close(loaded.embed(batch), task.module.embed(batch))


def test_validation_is_the_models_own_loss_under_fixed_masks(signals):
    task = ecg_task(signals)
    with torch.no_grad():
        values = task.validate()
        loss = task.module(torch.from_numpy(signals[VAL_ROWS]), task._mask_noise("validation-mask", 0, VAL_ROWS)).loss
    assert values["masked_mse"] == pytest.approx(loss.item(), rel=1e-5)


def test_masks_follow_seed_epoch_and_recording(signals):
    task = ecg_task(signals)
    rows = next(task.batches(0, CONFIG, 0, 1))
    assert set(rows) <= set(TRAIN_ROWS)
    loss = task.loss(rows, 0).loss
    assert torch.equal(loss, task.loss(rows, 0).loss)
    assert not torch.equal(loss, task.loss(rows, 1).loss)
    assert torch.equal(task._mask_noise("mask", 0, rows)[3:4], task._mask_noise("mask", 0, rows[3:4]))


def test_other_signals_under_the_same_ids_are_noticed(signals):
    assert ecg_task(signals).describe() == ecg_task(signals).describe()
    assert ecg_task(signals).describe() != ecg_task(signals, content="another pack").describe()


def test_wrong_length_or_split_is_refused(signals):
    with pytest.raises(UsageError, match="expected \\(80, 12, 1000\\)"):
        ecg_task(signals[:, :, :900])
    with pytest.raises(UsageError, match="validation needs"):
        EcgTask(["a"] * 80, signals, TRAIN_ROWS, TRAIN_ROWS[:2], EcgTaskConfig(model=MODEL), 0, "a pack")
