"""Stage 2 with mixtures and with a teacher, inside the task that trains it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from pacx.core.errors import UsageError
from pacx.core.randomness import generator
from pacx.data.augment import augment, to_input
from pacx.data.augment_config import Augmentation
from pacx.data.packs.pack import Pack
from pacx.modalities.targets import FrozenTargets
from pacx.models.encoders.folder import LoadedEncoder
from pacx.models.vit import pooled, random_vit
from pacx.models.vit_config import Pooling, ViTConfig
from pacx.objectives.mixup import EmbeddingMixup
from pacx.objectives.token_regression_config import TokenRegressionConfig
from pacx.training.config import TrainingConfig
from pacx.training.distillation import TEACHER
from pacx.training.loop import train
from pacx.training.monitoring.reading_maps import patch_grid
from pacx.training.task_config import DistillTaskConfig, MovingTeacher, WeightedObjective
from pacx.training.tasks.distill import DistillTask

MODEL = ViTConfig(img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=2)
CONFIG = TrainingConfig(epochs=2, batch_size=16, learning_rate=3e-3, seed=1, accelerator="cpu")


@pytest.fixture(scope="module")
def targets(blob_pack: Pack) -> dict[str, FrozenTargets]:
    ids, count = tuple(blob_pack.sample_ids), len(blob_pack)
    made = {name: generator(0, name).normal(size=(count, 6)).astype(np.float32) for name in ("ecg", "labs")}
    return {name: FrozenTargets(name, ids, embeddings, f"of-{name}") for name, embeddings in made.items()}


def task_with(pack: Pack, targets: dict[str, FrozenTargets], **changes: object) -> DistillTask:
    config = replace(DistillTaskConfig(augmentation=Augmentation()), **changes)
    encoder = LoadedEncoder(random_vit(MODEL, 0), pack.preprocessing, Pooling.CLASS_TOKEN)
    return DistillTask(pack, pack.rows("train"), pack.rows("val"), encoder, targets, config, 1)


def test_the_loss_under_mixup_is_that_of_the_mixtures(blob_pack, targets):
    """Put together by hand; the mixing itself has an oracle of its own."""
    task = task_with(blob_pack, targets, mixup=EmbeddingMixup(alpha=1.0))
    batch = next(task.batches(1, CONFIG, 0, 1))
    positions = torch.from_numpy(np.searchsorted(task.train_rows, batch.rows.numpy()))
    own = task._train_targets.at(positions, task.device)
    features = task.module.features(to_input(batch.images, blob_pack.preprocessing))
    mixed = task.config.mixup.mixed(features, own, batch.keys, seed=1, epoch=1)
    assert torch.equal(task.loss(batch, 1).loss, task.module.score(*mixed).loss)
    assert not torch.equal(task.loss(batch, 1).loss, task.module.score(features, own).loss)


def test_the_teacher_is_the_moving_average_of_the_student(blob_pack, targets, tmp_path):
    """After T steps: decay**T w_0 + (1 - decay) sum of decay**(T - t) w_t, over the weights seen before each step."""
    task = task_with(blob_pack, targets, teacher=MovingTeacher(decay=0.8))
    start = {name: each.detach().clone() for name, each in task.module.teacher.named_parameters()}
    seen: list[dict[str, torch.Tensor]] = []
    advance = task.module.advance_teacher

    def watched() -> None:
        seen.append({name: each.detach().clone() for name, each in task.module.vit.named_parameters()})
        advance()

    task.module.advance_teacher = watched
    train(task, CONFIG, tmp_path / "run")
    count = len(seen)
    assert count == 6
    moved = 0
    for name, taught in task.module.teacher.named_parameters():
        expected = 0.8**count * start[name].double()
        for step, weights in enumerate(seen, start=1):
            expected = expected + 0.2 * 0.8 ** (count - step) * weights[name].double()
        torch.testing.assert_close(taught.double(), expected, rtol=1e-5, atol=1e-6)
        moved += not torch.equal(taught, start[name])
    assert moved > 0


def test_the_student_predicts_what_the_teacher_makes_of_the_plain_film(blob_pack, targets):
    task = task_with(blob_pack, targets, teacher=MovingTeacher(weight=2.0), augmentation=Augmentation.DISTILLATION)
    task.module.train()
    batch = next(task.batches(0, CONFIG, 0, 1))
    outcome = task.loss(batch, 0)
    parts = 0.5 * outcome.metrics["contrastive"] + outcome.metrics["regression"] + 2 * outcome.metrics[TEACHER]
    assert outcome.loss.item() == pytest.approx(parts.item(), rel=1e-6)
    plain = to_input(batch.images, blob_pack.preprocessing)
    positions = torch.from_numpy(np.searchsorted(task.train_rows, batch.rows.numpy()))
    given = task.module.with_teacher(task._train_targets.at(positions, task.device), plain)
    films = augment(batch.images, batch.keys, Augmentation.DISTILLATION, seed=1, epoch=0)
    student = task.module.features(to_input(films, blob_pack.preprocessing))
    torch.testing.assert_close(outcome.loss, task.module.score(student, given).loss)
    with torch.no_grad():  # nothing has moved yet: the teacher is the Stage 1 encoder
        expected = pooled(random_vit(MODEL, 0), plain, Pooling.CLASS_TOKEN)
    torch.testing.assert_close(given.values[TEACHER], expected, rtol=1e-4, atol=1e-5)
    outcome.loss.backward()
    assert not task.module.teacher.training
    assert all(each.grad is None and not each.requires_grad for each in task.module.teacher.parameters())
    with torch.no_grad():
        values = task.module.eval() and task.validate()
    assert TEACHER in values
    assert not any("cosine_teacher" in name for name in values)


def test_settings_out_of_range_are_refused():
    with pytest.raises(UsageError, match="decay"):
        MovingTeacher(decay=1.0)
    with pytest.raises(UsageError, match="weight is 0"):
        MovingTeacher(weight=0)


def test_patches_are_put_where_they_lie():
    """Row by row: patch 5 of 16 is the second of the second row."""
    marked = np.zeros((1, 16), np.float32)
    marked[0, 5] = 1
    assert np.argwhere(patch_grid(marked)[0]).tolist() == [[1, 1]]


def test_a_token_run_draws_where_it_reads_and_others_draw_nothing(blob_pack, targets, tmp_path):
    term = WeightedObjective(name="token_regression", weight=1.0, config=TokenRegressionConfig())
    task = task_with(blob_pack, targets, further=(term,))
    with torch.no_grad():
        task.illustrate(tmp_path)
        task_with(blob_pack, targets).illustrate(tmp_path / "none")
    with Image.open(tmp_path / "reading.png") as picture:
        colours = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    assert len(np.unique(colours, axis=0)) > 100
    assert not (tmp_path / "none").exists()
