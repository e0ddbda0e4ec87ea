import itertools
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file

from pacx.core.errors import TrainingError, UsageError
from pacx.core.randomness import uniform
from pacx.data.augment import Augmentation, augment, to_input
from pacx.data.batches import Batch
from pacx.data.packs.pack import Pack
from pacx.models.encoders.folder import load_encoder
from pacx.models.encoders.origin import read_origin
from pacx.models.mae.flops import training_flops
from pacx.models.mae.model import MAEConfig, MaskedAutoencoder
from pacx.training.loop import TrainingConfig, train
from pacx.training.monitoring.journal import TRAIN, VALIDATION, curve, read_journal
from pacx.training.monitoring.reconstructions import reconstruct
from pacx.training.tasks.mae import MAETask, MAETaskConfig

MODEL = MAEConfig(
    img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=2, decoder_embed_dim=16, decoder_depth=1,
    decoder_num_heads=2, mask_ratio=0.75,
)  # fmt: skip
TASK = MAETaskConfig(model=MODEL, augmentation=Augmentation.STAGE1_RELEASED)
CONFIG = TrainingConfig(
    epochs=3, batch_size=8, learning_rate=2e-3, warmup_epochs=1, betas=(0.9, 0.95), seed=5, accelerator="cpu",
    log_every_steps=3,
)  # fmt: skip


def mae_task(pack: Pack, config: MAETaskConfig = TASK, seed: int = 5) -> MAETask:
    return MAETask(pack, pack.rows("train"), pack.rows("val"), config, seed)


def test_learns_more_than_the_mean_image(blob_pack, tmp_path):
    config = replace(CONFIG, epochs=40, learning_rate=4e-3, validate_every_epochs=10, checkpoint_every_epochs=40)
    model = replace(MODEL, mask_ratio=0.5)
    task = mae_task(blob_pack, MAETaskConfig(model=model, augmentation=Augmentation()))
    summary = train(task, config, tmp_path / "run")
    assert summary.validation["masked_mse"] < 0.8 * summary.validation["mean_image_mse"]
    assert summary.validation["visible_tokens"] == 8
    losses = curve(read_journal(tmp_path / "run/journal.jsonl"), TRAIN, "loss")[1]
    assert losses[-1] < 0.5 * losses[0]


def test_same_bits_again_and_with_any_number_of_workers(blob_pack, tmp_path):
    released, journals = [], []
    for name, num_workers in (("none", 0), ("again", 0), ("one", 1), ("two", 2)):
        train(mae_task(blob_pack), replace(CONFIG, epochs=2, num_workers=num_workers), tmp_path / name)
        released.append(load_file(tmp_path / name / "mae.safetensors"))
        journals.append(curve(read_journal(tmp_path / name / "journal.jsonl"), VALIDATION, "masked_mse"))
    for other in released[1:]:
        assert all(torch.equal(tensor, other[name]) for name, tensor in released[0].items())
    assert all(journal == journals[0] for journal in journals)


def test_crop_and_mask_follow_seed_epoch_and_film(blob_pack):
    """The loss, put together by hand from the stateless pieces."""
    task = mae_task(blob_pack)
    batch = next(task.batches(2, CONFIG, 0, 1))
    for epoch in (0, 2):
        films = augment(batch.images, batch.keys, TASK.augmentation, seed=5, epoch=epoch)
        noise = torch.from_numpy(uniform(5, "mask", epoch, batch.keys, 16).astype(np.float32))
        expected = task.module(to_input(films, blob_pack.preprocessing), noise).loss
        assert torch.equal(task.loss(batch, epoch).loss, expected)
    assert not torch.equal(task.loss(batch, 0).loss, task.loss(batch, 2).loss)


def test_a_film_has_the_same_crop_and_mask_in_any_batch(blob_pack):
    """The loss of a batch is the mean of its films' losses, each computed alone."""
    task = mae_task(blob_pack)
    batch = next(task.batches(0, CONFIG, 0, 1))
    with torch.no_grad():
        whole = task.loss(batch, 0).loss
        alone = []
        for i in range(len(batch)):
            one = slice(i, i + 1)
            film = Batch(rows=batch.rows[one], keys=batch.keys[one], images=batch.images[one])
            alone.append(task.loss(film, 0).loss)
    torch.testing.assert_close(torch.stack(alone).mean(), whole)


@pytest.mark.parametrize("norm_pix_loss", [False, True])
def test_validation_is_the_models_own_loss_under_fixed_masks(blob_pack, norm_pix_loss):
    task = mae_task(blob_pack, MAETaskConfig(model=replace(MODEL, norm_pix_loss=norm_pix_loss)))
    with torch.no_grad():
        values = task.validate()
        rows = task.val_rows
        images = to_input(torch.from_numpy(blob_pack.images[rows]), blob_pack.preprocessing)
        noise = task._mask_noise("validation-mask", 0, blob_pack.keys[rows])
        assert values["masked_mse"] == pytest.approx(task.module(images, noise).loss.item(), rel=1e-5)
        assert values == task.validate()


def test_baseline_is_the_mean_training_image_on_the_same_masks(blob_pack):
    """Slow oracle in numpy: pixels of the mean training film against each held-out film, hidden patches only."""
    task = mae_task(blob_pack)
    with torch.no_grad():
        reported = task.validate()["mean_image_mse"]
        val = blob_pack.preprocessing.normalize(blob_pack.images[task.val_rows])
        mean = blob_pack.preprocessing.normalize(blob_pack.images[task.train_rows]).mean(0)
        noise = task._mask_noise("validation-mask", 0, blob_pack.keys[task.val_rows]).numpy()
    errors = []
    for film, draws in zip(val, noise, strict=True):
        for patch in np.argsort(draws)[MODEL.num_visible :]:
            row, column = divmod(patch, 4)
            window = (slice(None), slice(8 * row, 8 * row + 8), slice(8 * column, 8 * column + 8))
            errors.append(np.square(film[window] - mean[window]).mean())
    assert reported == pytest.approx(np.mean(errors), rel=1e-5)


def test_releases_an_encoder_timm_opens_and_the_whole_autoencoder(blob_pack, tmp_path):
    task = mae_task(blob_pack)
    train(task, replace(CONFIG, epochs=2), tmp_path / "run")
    whole = MaskedAutoencoder(MODEL, seed=1)
    whole.load_state_dict(load_file(tmp_path / "run/mae.safetensors"))
    images = to_input(torch.from_numpy(blob_pack.images[[0, 1, 2]]), blob_pack.preprocessing)
    loaded = load_encoder(tmp_path / "run/encoder")
    assert loaded.preprocessing == blob_pack.preprocessing
    with torch.no_grad():
        expected = whole.encoder()(images)
        by_timm = timm.create_model(f"local-dir:{tmp_path / 'run/encoder'}", pretrained=True, num_classes=0).eval()
        torch.testing.assert_close(loaded.vit(images), expected)
        torch.testing.assert_close(by_timm(images), expected, rtol=1e-4, atol=1e-5)
    assert "not a medical device" in (tmp_path / "run/encoder/MODEL_CARD.md").read_text()
    origin = read_origin(tmp_path / "run/encoder")
    assert (origin.training["epochs"], origin.summary["epochs"], origin.summary["stage"]) == (2, 2, "mae")
    assert origin.summary["validation"]["masked_mse"] > 0
    assert origin.provenance["command"] == "train mae"


def test_an_averaged_encoder_is_released_and_its_card_says_so(blob_pack, tmp_path):
    train(mae_task(blob_pack), replace(CONFIG, epochs=2), tmp_path / "plain")
    train(mae_task(blob_pack), replace(CONFIG, epochs=2, ema_decay=0.75), tmp_path / "run")
    average = load_file(tmp_path / "run/checkpoints/step-00000012/average.safetensors")
    encoder = load_file(tmp_path / "run/encoder/model.safetensors")
    whole = load_file(tmp_path / "run/mae.safetensors")
    assert all(torch.equal(tensor, average[name]) for name, tensor in encoder.items() if name in average)
    assert all(torch.equal(whole[name], tensor) for name, tensor in average.items())
    assert encoder.keys() - average.keys() == {"pos_embed"}
    said = "| weights | moving average over the steps of training, decay 0.75 |"
    assert said in (tmp_path / "run/encoder/MODEL_CARD.md").read_text()
    assert "moving average" not in (tmp_path / "plain/encoder/MODEL_CARD.md").read_text()


def test_decay_only_on_matrices(blob_pack):
    decayed, spared = mae_task(blob_pack).parameter_groups(0.05)
    assert (decayed.weight_decay, spared.weight_decay) == (0.05, 0.0)
    assert all(parameter.ndim > 1 for parameter in decayed.parameters)
    trained = sum(parameter.requires_grad for parameter in mae_task(blob_pack).module.parameters())
    tokens = 2
    assert len(spared.parameters) == sum(parameter.ndim == 1 for parameter in spared.parameters) + tokens
    assert len(decayed.parameters) + len(spared.parameters) == trained


def test_lost_mask_ratio_is_refused(blob_pack, monkeypatch):
    """The defect of the released code: the configured ratio never reaches the forward pass."""
    task = mae_task(blob_pack)
    honest = task.module.forward
    fewer = torch.zeros(12, 6, 32)
    monkeypatch.setattr(task.module, "forward", lambda images, noise: honest(images, noise)._replace(latent=fewer))
    with torch.no_grad(), pytest.raises(TrainingError, match="5 patches went through the encoder, expected 4"):
        task.validate()


def test_wrong_pack_or_split_is_refused(blob_pack):
    with pytest.raises(UsageError, match="32 px"):
        mae_task(blob_pack, MAETaskConfig(model=replace(MODEL, img_size=64)))
    rows = blob_pack.rows("train")
    for val_rows in (rows[:1], rows[:0]):
        with pytest.raises(UsageError, match="validation needs"):
            MAETask(blob_pack, rows, val_rows, TASK, 0)


def test_every_training_film_comes_once(blob_pack):
    task = mae_task(blob_pack)
    seen = np.concatenate([batch.rows.numpy() for batch in task.batches(0, CONFIG, 0, 1)])
    assert len(seen) == task.num_batches(CONFIG) * 8 == 48
    assert sorted(seen) == sorted(task.train_rows)
    first, second = (next(iter(task.batches(epoch, CONFIG, 0, 1))).rows for epoch in (0, 1))
    assert not torch.equal(first, second)
    shares = [itertools.chain(*(task.sample_ids(b) for b in task.batches(0, CONFIG, rank, 2))) for rank in (0, 1)]
    assert sorted(itertools.chain(*shares)) == sorted(blob_pack.sample_ids[seen])


@pytest.mark.parametrize("norm_pix_loss", [False, True])
def test_pictures_keep_what_is_visible_and_show_what_is_drawn(blob_pack, tmp_path, norm_pix_loss):
    task = mae_task(blob_pack, MAETaskConfig(model=replace(MODEL, norm_pix_loss=norm_pix_loss)))
    task.illustrate(tmp_path)
    with Image.open(tmp_path / "reconstructions.png") as picture:
        assert picture.size == (6 * 32 + 5 * 4, 3 * 32 + 2 * 4)
    rows = task.val_rows[:2]
    noise = task._mask_noise("validation-mask", 0, blob_pack.keys[rows])
    shown = reconstruct(task.module, task._input(rows), noise, blob_pack.preprocessing)
    assert np.array_equal(shown.films, blob_pack.images[rows])
    kept = noise.argsort(1)[:, : task.module.num_visible]
    for film, seen, drawn, places in zip(*shown, kept, strict=True):
        is_visible = np.kron(np.isin(np.arange(16), places).reshape(4, 4), np.ones((8, 8))).astype(bool)
        assert np.array_equal(film[is_visible], seen[is_visible])
        assert np.array_equal(film[is_visible], drawn[is_visible])
        assert not seen[~is_visible].any()
        assert (drawn[~is_visible] != film[~is_visible]).mean() > 0.5


def test_a_picture_and_the_arithmetic_come_with_a_run(blob_pack, tmp_path):
    task = mae_task(blob_pack)
    train(task, replace(CONFIG, epochs=2), tmp_path / "run")
    assert (tmp_path / "run/reconstructions.png").exists()
    assert task.flops_per_sample == training_flops(MODEL)


def test_a_batch_in_parts_gives_the_same_gradients(blob_pack, tmp_path):
    """To rounding: the mean of the parts' gradients is the gradient of the whole batch.

    After one step AdamW's first moment is a fixed part of the gradient. Weights after many steps would be a poor
    measure: the gradient of a key's bias is zero in exact arithmetic, and Adam scales its rounding to full size.
    """
    moments, norms = [], []
    for count in (1, 4):
        config = replace(CONFIG, epochs=1, warmup_epochs=0, batch_size=48, accumulate=count, log_every_steps=1)
        train(mae_task(blob_pack), config, tmp_path / str(count))
        state = load_file(tmp_path / str(count) / "checkpoints/step-00000001/optimizer.safetensors")
        moments.append(torch.cat([state[name].flatten() for name in sorted(state) if name.endswith("exp_avg")]))
        norms.append(curve(read_journal(tmp_path / str(count) / "journal.jsonl"), TRAIN, "gradient_norm")[1])
    assert (moments[0] - moments[1]).norm() < 1e-6 * moments[0].norm()
    assert moments[0].norm().item() == pytest.approx((1 - CONFIG.betas[0]) * norms[0][0], rel=1e-5)
    assert norms[0] == pytest.approx(norms[1], rel=1e-6)


def test_parts_need_a_loss_that_is_a_mean_and_a_batch_that_divides(blob_pack, tmp_path):
    task = mae_task(blob_pack)
    task.is_mean_over_samples = False
    with pytest.raises(UsageError, match="compares the samples"):
        train(task, replace(CONFIG, accumulate=2), tmp_path / "run")
    with pytest.raises(UsageError, match=r"does not divide into 3 parts \(1 nodes x 1 devices x 3 accumulated\)"):
        replace(CONFIG, accumulate=3)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # the tracer looks at it
def test_traced_loss_is_the_loss(blob_pack, monkeypatch):
    """Traced whole, forward and backward, without generating code for it (a minute on two cores)."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager", fullgraph=True))
    task = mae_task(blob_pack)
    batch = next(task.batches(0, CONFIG, 0, 1))
    expected = task.loss(batch, 0).loss
    expected.backward()
    gradients = {
        name: parameter.grad.clone() for name, parameter in task.module.named_parameters() if parameter.grad is not None
    }
    task.module.zero_grad()
    task.compile()
    compiled = task.loss(batch, 0).loss
    compiled.backward()
    torch.testing.assert_close(compiled, expected)
    for name, gradient in gradients.items():
        torch.testing.assert_close(task.module.get_parameter(name).grad, gradient, rtol=1e-4, atol=1e-6)
