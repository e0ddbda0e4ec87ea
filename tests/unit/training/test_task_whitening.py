"""Stage 2 whose objectives read films through a whitening, inside the task that trains it."""

import multiprocessing
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import whitened_task as worker
from safetensors.torch import load_file
from whitened_task import CONFIG, MODEL, whitened_task

from pacx.core.errors import DataError, TrainingError
from pacx.data.augment import augment, to_input
from pacx.data.augment_config import Augmentation
from pacx.models.encoders.folder import load_encoder
from pacx.models.vit import pooled, random_vit
from pacx.models.vit_config import Pooling
from pacx.objectives.mixup import EmbeddingMixup
from pacx.objectives.token_regression_config import TokenRegressionConfig
from pacx.objectives.whitening import chosen_shrinkage, whitening_map
from pacx.objectives.whitening_config import FilmWhitening
from pacx.training.loop import train
from pacx.training.monitoring.alignment_metrics import mean_cosine
from pacx.training.task_config import WeightedObjective
from ports import free_port


def stage_1(pack, pooling: Pooling, rows: np.ndarray) -> torch.Tensor:
    with torch.no_grad():
        images = to_input(torch.from_numpy(pack.images[rows]), pack.preprocessing)
        return pooled(random_vit(MODEL, 0).eval(), images, pooling)


@pytest.mark.parametrize("pooling", list(Pooling))
def test_statistics_are_of_plain_training_films_under_stage_1_in_the_pooling_that_trains(blob_pack, pooling):
    task = whitened_task(blob_pack, pooling=pooling)
    task.module.eval()
    task.prepare()
    embeddings = stage_1(blob_pack, pooling, task.train_rows).double().numpy()
    mean, matrix = whitening_map(embeddings, 0.1)
    torch.testing.assert_close(task.module.whitening.mean, torch.from_numpy(mean).float(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(task.module.whitening.map, torch.from_numpy(matrix).float(), rtol=1e-3, atol=1e-3)


def test_without_a_told_shrinkage_the_pairs_choose_and_it_is_said(blob_pack, capsys):
    task = whitened_task(blob_pack, whitening=FilmWhitening())
    task.module.eval()
    task.prepare()
    embeddings = stage_1(blob_pack, Pooling.CLASS_TOKEN, task.train_rows).double().numpy()
    targets = {name: table.double().numpy() for name, table in task._train_targets.values.items()}
    everyone = dict.fromkeys(targets, np.full(len(embeddings), True))
    expected, _ = chosen_shrinkage(embeddings, targets, everyone, np.arange(len(embeddings)))
    told = capsys.readouterr().err
    assert f"whitened with shrinkage {expected:.3g} over {len(embeddings)} films, chosen" in told
    assert told.count("\n") == 1
    assert expected >= 1  # targets of chance
    assert f"directions with less than {expected:.3g} of the mean variance stay weak" in told


def test_the_objectives_read_whitened_embeddings_and_tokens_as_they_are(blob_pack):
    """The loss, put together by hand; patches are the encoder's own."""
    term = WeightedObjective(name="token_regression", weight=1.0, config=TokenRegressionConfig())
    task = whitened_task(blob_pack, further=(term,))
    task.prepare()
    batch = next(task.batches(0, CONFIG, 0, 1))
    films = augment(batch.images, batch.keys, Augmentation.DISTILLATION, seed=1, epoch=0)
    features = task.module.features(to_input(films, blob_pack.preprocessing))
    positions = torch.from_numpy(np.searchsorted(task.train_rows, batch.rows.numpy()))
    targets = task._train_targets.at(positions, task.device)
    whitening = task.module.whitening
    seen = features._replace(embedding=(features.embedding - whitening.mean) @ whitening.map)
    losses = {name: objective(seen, targets).loss for name, objective in task.module.objectives.items()}
    expected = 0.5 * losses["contrastive"] + losses["regression"] + losses["token_regression"]
    outcome = task.loss(batch, 0)
    torch.testing.assert_close(outcome.loss, expected)
    outcome.loss.backward()
    trained = [each for each in task.module.parameters() if each.requires_grad]
    assert all(each.grad is not None and each.grad.isfinite().all() for each in trained)
    moved = [name for name, each in task.module.vit.named_parameters() if each.grad is not None and each.grad.any()]
    assert any("lora_B" in name for name in moved)


def test_mixtures_may_be_whitened_before_or_after(blob_pack):
    task = whitened_task(blob_pack, mixup=EmbeddingMixup(alpha=1.0))
    task.prepare()
    batch = next(task.batches(1, CONFIG, 0, 1))
    features = task.module.features(to_input(batch.images, blob_pack.preprocessing))
    positions = torch.from_numpy(np.searchsorted(task.train_rows, batch.rows.numpy()))
    targets = task._train_targets.at(positions, task.device)
    mix = task.config.mixup.mixed
    late = task.module.heard(mix(features, targets, batch.keys, seed=1, epoch=1)[0].embedding)
    early = features._replace(embedding=task.module.heard(features.embedding))
    torch.testing.assert_close(
        mix(early, targets, batch.keys, seed=1, epoch=1)[0].embedding, late, rtol=1e-3, atol=1e-4
    )


def test_a_validation_asks_the_heads_through_the_whitening(blob_pack):
    task = whitened_task(blob_pack)
    task.module.eval()
    task.prepare()
    with torch.no_grad():
        values = task.validate()
        read = task.module.heard(stage_1(blob_pack, Pooling.CLASS_TOKEN, task.val_rows))
        head = task.module.objectives["regression"].heads["ecg"]
        expected = mean_cosine(head(read), task._val_targets.values["ecg"])
    assert values["cosine_ecg"] == pytest.approx(expected, abs=1e-5)


def test_what_is_released_is_a_plain_encoder_that_was_trained_otherwise(blob_pack, tmp_path):
    task, plain = whitened_task(blob_pack), whitened_task(blob_pack, whitening=None)
    train(task, CONFIG, tmp_path / "whitened")
    train(plain, CONFIG, tmp_path / "plain")
    loaded = load_encoder(tmp_path / "whitened/encoder")
    images = to_input(torch.from_numpy(blob_pack.images[[0, 1, 2]]), blob_pack.preprocessing)
    with torch.no_grad():
        torch.testing.assert_close(loaded.vit(images), task.module.features(images).embedding, rtol=1e-4, atol=1e-5)
    one, other = (load_file(tmp_path / name / "encoder/model.safetensors") for name in ("whitened", "plain"))
    assert one.keys() == other.keys()
    assert not all(torch.equal(one[name], other[name]) for name in one)
    assert task.module.state_dict().keys() - plain.module.state_dict().keys() == {"whitening.mean", "whitening.map"}


def test_resumed_or_with_other_workers_it_ends_in_the_same_bits_and_is_measured_once(blob_pack, tmp_path, monkeypatch):
    train(whitened_task(blob_pack), CONFIG, tmp_path / "whole")
    train(whitened_task(blob_pack), replace(CONFIG, num_workers=2), tmp_path / "cut")
    weights = (tmp_path / "whole/encoder/model.safetensors").read_bytes()
    assert (tmp_path / "cut/encoder/model.safetensors").read_bytes() == weights
    for left in sorted((tmp_path / "cut/checkpoints").iterdir())[1:]:
        shutil.rmtree(left)
    for done in ("encoder", "adapter"):
        shutil.rmtree(tmp_path / "cut" / done)
    (tmp_path / "cut/summary.json").unlink()
    resumed = whitened_task(blob_pack)
    monkeypatch.setattr(resumed, "prepare", lambda: pytest.fail("the checkpoint has the statistics"))
    train(resumed, CONFIG, tmp_path / "cut", resume=True)
    assert (tmp_path / "cut/encoder/model.safetensors").read_bytes() == weights


def test_a_run_that_was_not_measured_is_refused_and_not_trained_on_nothing(blob_pack, tmp_path, monkeypatch):
    task = whitened_task(blob_pack)
    monkeypatch.setattr(task, "prepare", lambda: None)
    with pytest.raises(TrainingError, match="loss nan"):
        train(task, CONFIG, tmp_path / "run")


def test_an_encoder_that_tells_no_films_apart_is_refused(blob_pack, tmp_path):
    task = whitened_task(blob_pack)
    with torch.no_grad():
        for parameter in task.module.vit.parameters():
            parameter.zero_()
    with pytest.raises(DataError, match="all 48 training films have the same embedding"):
        train(task, CONFIG, tmp_path / "run")


def test_two_processes_measure_and_train_as_one(blob_pack, tmp_path):
    train(whitened_task(blob_pack), CONFIG, tmp_path / "one")
    context, port = multiprocessing.get_context("forkserver"), free_port()
    context.set_forkserver_preload(["pacx.training.tasks.distill", "pacx.training.loop"])
    where: tuple[Path, Path] = (blob_pack.path, tmp_path / "two")
    ranks = [context.Process(target=worker.run, args=(*where, rank, port)) for rank in (0, 1)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(300)
    assert [process.exitcode for process in ranks] == [0, 0]
    last = "checkpoints/step-00000006/module.safetensors"
    one, two = (load_file(tmp_path / name / last) for name in ("one", "two"))
    for name in ("whitening.mean", "whitening.map"):
        assert torch.equal(one[name], two[name])
    for name, weights in one.items():
        torch.testing.assert_close(two[name], weights, rtol=1e-3, atol=1e-4)
