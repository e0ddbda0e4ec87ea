from dataclasses import replace

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from pacx.core.errors import DataError, UsageError
from pacx.core.preprocessing import Preprocessing
from pacx.core.randomness import generator
from pacx.data.augment import Augmentation, augment, to_input
from pacx.data.packs.pack import Pack
from pacx.modalities.targets import FrozenTargets
from pacx.models.encoders.folder import LoadedEncoder, load_encoder
from pacx.models.vit import Pooling, ViTConfig, pooled, random_vit, vit_with_weights
from pacx.objectives.objective import complete
from pacx.training.distillation import DistillTaskConfig
from pacx.training.loop import TrainingConfig, train
from pacx.training.monitoring.alignment_metrics import embedding_spread, mean_cosine, recall_at
from pacx.training.monitoring.journal import TRAIN, curve, read_journal
from pacx.training.task import Selection
from pacx.training.tasks.distill import DistillTask

MODEL = ViTConfig(img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=2)
PLAIN = DistillTaskConfig(augmentation=Augmentation())
CONFIG = TrainingConfig(
    epochs=3, batch_size=16, learning_rate=3e-3, warmup_epochs=1, final_lr_fraction=0.01, gradient_clip=1.0, seed=1,
    accelerator="cpu", log_every_steps=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def targets(blob_pack: Pack) -> dict[str, FrozenTargets]:
    """Two modalities that depend on the film (its quadrants' brightness), in another order than the films."""
    quadrants = blob_pack.images[:].reshape(-1, 2, 16, 2, 16).mean((2, 4)).reshape(-1, 4)
    quadrants = (quadrants - quadrants.mean(0)) / quadrants.std(0)
    shuffled = generator(0, "shuffle").permutation(len(quadrants))
    ids = tuple(blob_pack.sample_ids[shuffled])
    made = {}
    for name, width in (("ecg", 12), ("labs", 8)):
        embeddings = quadrants @ generator(0, name).normal(size=(4, width)) + 0.5
        made[name] = FrozenTargets(name, ids, embeddings[shuffled].astype(np.float32), f"of-{name}")
    return made


def distill_task(
    pack: Pack,
    targets: dict[str, FrozenTargets],
    config: DistillTaskConfig = PLAIN,
    seed: int = 1,
    encoder: LoadedEncoder | None = None,
) -> DistillTask:
    encoder = encoder or LoadedEncoder(random_vit(MODEL, 0), pack.preprocessing, Pooling.CLASS_TOKEN)
    return DistillTask(pack, pack.rows("train"), pack.rows("val"), encoder, targets, config, seed)


def test_learns_held_out_physiology_and_releases_a_plain_encoder(blob_pack, targets, tmp_path):
    config = replace(CONFIG, epochs=30, validate_every_epochs=30, checkpoint_every_epochs=30, log_every_steps=10)
    task = distill_task(blob_pack, targets)
    with torch.no_grad():
        before = task.validate()
    after = train(task, config, tmp_path / "run").validation
    for name in ("ecg", "labs"):
        assert after[f"cosine_{name}"] > before[f"cosine_{name}"] + 0.3
        assert after[f"cosine_{name}"] > after[f"constant_cosine_{name}"] + 0.1
        assert after[f"recall_at_5_{name}"] > after["chance_recall_at_5"]
    assert after["chance_recall_at_1"] == pytest.approx(1 / 12)
    assert after["temperature"] != pytest.approx(0.07, abs=1e-5)
    assert after["embedding_spread"] > 0.01
    again = random_vit(MODEL, 0)
    again.load_state_dict(again.state_dict() | load_file(tmp_path / "run/adapter/norms.safetensors"))
    adapted = PeftModel.from_pretrained(again, str(tmp_path / "run/adapter")).eval()
    loaded = load_encoder(tmp_path / "run/encoder")
    images = to_input(torch.from_numpy(blob_pack.images[[0, 1, 2]]), blob_pack.preprocessing)
    with torch.no_grad():
        torch.testing.assert_close(loaded.vit(images), task.module.features(images).embedding, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(loaded.vit(images), random_vit(MODEL, 0)(images), atol=1e-3)
        torch.testing.assert_close(adapted(images), loaded.vit(images), rtol=1e-4, atol=1e-5)


def test_only_adapters_norms_and_heads_train(blob_pack, targets):
    task = distill_task(blob_pack, targets)
    names = [name for name, parameter in task.module.named_parameters() if parameter.requires_grad]
    assert all("lora_" in name or "norm" in name or name.startswith("objectives.") for name in names)
    assert any("blocks.0.norm1" in name for name in names)
    batch = next(task.batches(0, CONFIG, 0, 1))
    task.loss(batch, 0).loss.backward()
    touched = {name for name, parameter in task.module.named_parameters() if parameter.grad is not None}
    assert touched == set(names)


def test_targets_are_joined_by_id(blob_pack, targets):
    """Reordering the targets' rows changes nothing; swapping their ids does."""
    batch = next(distill_task(blob_pack, targets).batches(0, CONFIG, 0, 1))
    reversed_rows = {
        name: FrozenTargets(name, t.sample_ids[::-1], t.embeddings[::-1].copy(), t.fingerprint)
        for name, t in targets.items()
    }
    swapped_ids = {
        name: FrozenTargets(name, t.sample_ids[::-1], t.embeddings, t.fingerprint) for name, t in targets.items()
    }
    losses = [distill_task(blob_pack, t).loss(batch, 0).loss.item() for t in (targets, reversed_rows, swapped_ids)]
    assert losses[0] == losses[1] != losses[2]


def test_augmentation_follows_seed_epoch_and_film(blob_pack, targets):
    """The loss, put together by hand from the stateless pieces."""
    task = distill_task(blob_pack, targets, replace(PLAIN, augmentation=Augmentation.DISTILLATION))
    batch = next(task.batches(0, CONFIG, 0, 1))
    ids = list(task.sample_ids(batch))
    own = complete({name: torch.from_numpy(frozen.for_samples(ids)) for name, frozen in targets.items()})
    for epoch in (0, 2):
        films = augment(batch.images, batch.keys, Augmentation.DISTILLATION, seed=1, epoch=epoch)
        features = task.module.features(to_input(films, blob_pack.preprocessing))
        assert torch.equal(task.loss(batch, epoch).loss, task.module.score(features, own).loss)
    assert not torch.equal(task.loss(batch, 0).loss, task.loss(batch, 2).loss)


def test_total_is_the_weighted_sum_of_the_terms(blob_pack, targets):
    task = distill_task(blob_pack, targets)
    outcome = task.loss(next(task.batches(0, CONFIG, 0, 1)), 0)
    expected = 0.5 * outcome.metrics["contrastive"] + outcome.metrics["regression"]
    assert outcome.loss.item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize(
    ("changes", "absent"), [({"contrastive_weight": 0.0}, "contrastive"), ({"regression_weight": 0.0}, "regression")]
)
def test_ablated_objective_is_not_there(blob_pack, targets, changes, absent):
    task = distill_task(blob_pack, targets, replace(PLAIN, **changes))
    assert absent not in task.module.objectives
    with torch.no_grad():
        values = task.validate()
    assert not any(name.startswith(absent) for name in values)
    assert ("recall_at_1_ecg" in values) == (absent == "regression")


def test_one_modality_alone(blob_pack, targets):
    task = distill_task(blob_pack, {"labs": targets["labs"]})
    with torch.no_grad():
        values = task.validate()
    assert "cosine_labs" in values
    assert not any("ecg" in name for name in [*values, *task.module.state_dict()])


def test_repeatable_and_refuses_stale_targets(blob_pack, targets, tmp_path):
    config = replace(PLAIN, augmentation=Augmentation.DISTILLATION, pooling=Pooling.PATCH_MEAN)
    config = replace(config, selection=Selection(metric="loss", is_higher_better=False))
    for name in ("one", "other"):
        train(distill_task(blob_pack, targets, config), CONFIG, tmp_path / name)
    one, other = (load_file(tmp_path / name / "encoder/model.safetensors") for name in ("one", "other"))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    assert load_encoder(tmp_path / "one/encoder").pooling is Pooling.PATCH_MEAN
    assert len(curve(read_journal(tmp_path / "one/journal.jsonl"), TRAIN, "contrastive_ecg")[1]) == 9
    stale = distill_task(blob_pack, targets | {"ecg": replace(targets["ecg"], fingerprint="stale")}, config)
    with pytest.raises(UsageError, match=r"task\.targets\.ecg was 'of-ecg', is 'stale'"):
        train(stale, CONFIG, tmp_path / "one", resume=True)


def without(targets: FrozenTargets, is_missing: np.ndarray) -> FrozenTargets:
    kept = np.flatnonzero(~is_missing)
    return FrozenTargets(
        targets.modality, tuple(targets.sample_ids[row] for row in kept), targets.embeddings[kept], "partial"
    )


def test_patients_without_a_target_train_on_what_they_have(blob_pack, targets, tmp_path):
    chance = generator(5, "missing").random((2, len(blob_pack)))
    partial = {name: without(targets[name], row < 0.5) for name, row in zip(targets, chance, strict=True)}
    with pytest.raises(DataError, match="ecg"):
        distill_task(blob_pack, partial)
    task = distill_task(blob_pack, partial, replace(PLAIN, partial_pairs=True))
    batch = next(task.batches(0, CONFIG, 0, 1))
    ids = task.sample_ids(batch)
    taken = task._train_targets
    for name, frozen in partial.items():
        has = taken.observed[name].numpy()
        fitted = blob_pack.sample_ids[task.train_rows]
        assert has.tolist() == [sample in frozen.sample_ids for sample in fitted]
        np.testing.assert_array_equal(taken.values[name][has], targets[name].for_samples(fitted[has].tolist()))
    assert any(sample not in partial["ecg"].sample_ids for sample in ids)
    summary = train(task, replace(CONFIG, epochs=20, validate_every_epochs=20), tmp_path / "run")
    for name in targets:
        assert summary.validation[f"cosine_{name}"] > summary.validation[f"constant_cosine_{name}"]
        assert 0 < summary.validation[f"chance_recall_at_1_{name}"] < 1


def test_a_modality_of_one_patient_teaches_nothing_and_is_refused(blob_pack, targets):
    one = without(targets["ecg"], np.array([s != blob_pack.sample_ids[1] for s in targets["ecg"].sample_ids]))
    with pytest.raises(
        DataError, match=r"1 of 48 films .* have a target in ecg, of 1 patients, .* films of more patients"
    ):
        distill_task(blob_pack, {**targets, "ecg": one}, replace(PLAIN, partial_pairs=True))


def test_impossible_calls_are_refused(blob_pack, targets):
    with pytest.raises(UsageError, match="no targets"):
        distill_task(blob_pack, {})
    few = {"ecg": FrozenTargets("ecg", targets["ecg"].sample_ids[:50], targets["ecg"].embeddings[:50], "few")}
    with pytest.raises(DataError, match="ecg"):
        distill_task(blob_pack, few)
    with pytest.raises(UsageError, match="weights"):
        DistillTaskConfig(contrastive_weight=0.0, regression_weight=0.0)
    other = random_vit(replace(MODEL, img_size=64), 0), Preprocessing(image_size_px=64), Pooling.CLASS_TOKEN
    with pytest.raises(UsageError, match="64 px"):
        distill_task(blob_pack, targets, encoder=LoadedEncoder(*other))


def test_an_encoder_of_other_statistics_or_channels_sees_the_films_as_it_was_trained_to(blob_pack, targets, tmp_path):
    films = blob_pack.images[blob_pack.rows("val")]
    images = to_input(torch.from_numpy(films), blob_pack.preprocessing)
    half = Preprocessing(image_size_px=32, mean=(0.5,) * 3, std=(0.5,) * 3)
    grey = Preprocessing(image_size_px=32, num_channels=1, mean=(0.5,), std=(0.25,))
    for contract in (half, grey, blob_pack.preprocessing):
        vit = random_vit(replace(MODEL, in_chans=contract.num_channels), 0)
        encoder = LoadedEncoder(vit, contract, Pooling.CLASS_TOKEN)
        task = distill_task(blob_pack, targets, encoder=encoder)
        with torch.no_grad():
            expected = encoder.embed_images(torch.from_numpy(contract.normalize(films)))
            found = task.module.eval().features(images).embedding
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(task.module.vit.patch_embed.proj.weight, vit.patch_embed.proj.weight)  # the pack's own contract
    task.release(tmp_path)
    assert load_encoder(tmp_path / "encoder").preprocessing == blob_pack.preprocessing


def test_a_pooling_is_not_replaced_silently(blob_pack, targets):
    vit = vit_with_weights(MODEL, random_vit(MODEL, 0).state_dict(), Pooling.PATCH_MEAN)
    encoder = LoadedEncoder(vit, blob_pack.preprocessing, Pooling.PATCH_MEAN)
    with pytest.raises(UsageError, match=r"class token was to be trained; give --task.pooling PATCH_MEAN"):
        distill_task(blob_pack, targets, encoder=encoder)
    task = distill_task(blob_pack, targets, replace(PLAIN, pooling=Pooling.PATCH_MEAN), encoder=encoder)
    images = to_input(torch.from_numpy(blob_pack.images[[0, 1]]), blob_pack.preprocessing)
    with torch.no_grad():
        torch.testing.assert_close(task.module.eval().features(images).embedding, vit(images), rtol=1e-5, atol=1e-5)


def test_alignment_metrics_in_closed_form():
    identity = torch.eye(10)
    assert recall_at(identity, 1) == 1.0
    assert recall_at(-identity, 5) == 0.0
    assert recall_at(torch.ones(10, 10), 1) == 0.0  # collapse is no success
    rolled = torch.roll(identity, 1, dims=1) * 2 + identity  # the own target is second
    assert (recall_at(rolled, 1), recall_at(rolled, 2)) == (0.0, 1.0)
    assert embedding_spread(torch.ones(5, 3)) == pytest.approx(0, abs=1e-6)
    assert embedding_spread(torch.cat([identity, -identity])) == 1.0
    assert mean_cosine(identity, 3 * identity) == pytest.approx(1)
    assert pooled(random_vit(MODEL, 0), torch.zeros(2, 3, 32, 32), Pooling.CLASS_TOKEN).shape == (2, 32)
