"""Stage 2 with mixtures and with a teacher, inside the task that trains it."""

import shutil
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
from pacx.training.distillation import TEACHER, drawn_evenly
from pacx.training.loop import train
from pacx.training.monitoring.reading_maps import patch_grid
from pacx.training.task_config import DistillTaskConfig, MovingTeacher, PatchDropout, WeightedObjective
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


def test_a_step_of_patch_dropout_sees_the_drawn_patches_and_nothing_else(blob_pack, targets):
    """What lies outside of them may be anything; each film's draw is its own and another one in every epoch."""
    task = task_with(blob_pack, targets, patch_dropout=PatchDropout(mask_ratio=0.75))
    batch = next(task.batches(0, CONFIG, 0, 1))
    first, later = task._seen(batch, 0), task._seen(batch, 1)
    assert first.shape == (16, 4)
    assert all(len(set(row.tolist())) == 4 for row in first)
    assert not torch.equal(first, later)
    alone = replace(batch, rows=batch.rows[3:4], images=batch.images[3:4], keys=batch.keys[3:4])
    assert torch.equal(task._seen(alone, 0)[0], first[3])
    images = to_input(batch.images, blob_pack.preprocessing)
    grid = torch.zeros(16, 16, dtype=torch.bool).scatter(1, first, True).view(16, 4, 4)
    is_seen = grid.repeat_interleave(8, 1).repeat_interleave(8, 2)[:, None]  # (B, 1, S, S)
    found = task.module.features(images, first)
    assert found.patches.shape == (16, 4, 32)
    other = task.module.features(torch.where(is_seen, images, 100.0), first)
    assert torch.equal(found.embedding, other.embedding)
    changed = task.module.features(torch.where(is_seen, -images, images), first)
    assert not torch.allclose(found.embedding, changed.embedding, atol=1e-3)


@pytest.mark.parametrize(("side", "num_drawn"), [(4, 4), (14, 49), (8, 32), (7, 12), (5, 25), (6, 1)])
def test_patches_drawn_evenly_are_one_of_each_group_of_neighbours(side, num_drawn):
    """Every film has as many, none twice; over many films each place comes up as often as its group's size says."""
    noise = generator(0, "even", side).random((4000, side**2))
    drawn = drawn_evenly(noise, num_drawn)
    assert drawn.shape == (4000, num_drawn)
    assert all(len(set(row.tolist())) == num_drawn for row in drawn)
    shares = np.bincount(drawn.ravel(), minlength=side**2) / len(drawn)
    expected = 1 / np.array([np.unique(drawn[:, group]).size for group in range(num_drawn)])
    for group, share in enumerate(expected):
        np.testing.assert_allclose(shares[np.unique(drawn[:, group])], share, atol=0.05)
    assert shares.min() > 0
    np.testing.assert_array_equal(drawn_evenly(noise[7:8], num_drawn), drawn[7:8])


def test_a_quarter_drawn_evenly_is_one_patch_of_every_two_by_two():
    drawn = drawn_evenly(generator(0, "even").random((50, 64)), 16)
    for row in drawn:
        assert len({(place // 8 // 2, place % 8 // 2) for place in row.tolist()}) == 16
    assert len({tuple(row) for row in drawn.tolist()}) == 50


def test_a_step_draws_evenly_where_it_is_asked_to(blob_pack, targets):
    task = task_with(blob_pack, targets, patch_dropout=PatchDropout(mask_ratio=0.75, is_even=True))
    batch = next(task.batches(0, CONFIG, 0, 1))
    for row in task._seen(batch, 0).tolist():
        assert len({(place // 4 // 2, place % 4 // 2) for place in row}) == 4
    assert not torch.equal(task._seen(batch, 0), task._seen(batch, 1))


def test_all_patches_seen_in_any_order_are_the_whole_film(blob_pack, targets):
    task = task_with(blob_pack, targets)
    images = to_input(next(task.batches(0, CONFIG, 0, 1)).images, blob_pack.preprocessing)
    order = torch.from_numpy(generator(0, "any order").permuted(np.tile(np.arange(16), (16, 1)), axis=1))
    whole, found = task.module.features(images), task.module.features(images, order)
    torch.testing.assert_close(found.embedding, whole.embedding, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.patches[2, 5], whole.patches[2, order[2, 5]], rtol=1e-4, atol=1e-5)


def test_patch_dropout_trains_measures_whole_films_and_resumes_to_the_same_bits(blob_pack, targets, tmp_path):
    dropout = PatchDropout(mask_ratio=0.5)
    task = task_with(blob_pack, targets, patch_dropout=dropout, augmentation=Augmentation.DISTILLATION)
    train(task, CONFIG, tmp_path / "run")
    weights = (tmp_path / "run/encoder/model.safetensors").read_bytes()
    with torch.no_grad():
        values = task.module.eval() and task.validate()
    whole = task_with(blob_pack, targets, augmentation=Augmentation.DISTILLATION)
    whole.module.load_state_dict(task.module.state_dict())
    with torch.no_grad():
        assert values == (whole.module.eval() and whole.validate())
    again = task_with(blob_pack, targets, patch_dropout=dropout, augmentation=Augmentation.DISTILLATION)
    train(again, CONFIG, tmp_path / "interrupted")
    for left in sorted((tmp_path / "interrupted/checkpoints").iterdir())[1:]:
        shutil.rmtree(left)
    for done in ("encoder", "adapter"):
        shutil.rmtree(tmp_path / "interrupted" / done)
    (tmp_path / "interrupted/summary.json").unlink()
    resumed = task_with(blob_pack, targets, patch_dropout=dropout, augmentation=Augmentation.DISTILLATION)
    train(resumed, CONFIG, tmp_path / "interrupted", resume=True)
    assert (tmp_path / "interrupted/encoder/model.safetensors").read_bytes() == weights


def test_settings_out_of_range_are_refused():
    with pytest.raises(UsageError, match="mask_ratio is 1"):
        PatchDropout(mask_ratio=1)
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
