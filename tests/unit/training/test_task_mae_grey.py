"""One channel in place of three equal ones, and encoders that start from published weights: exact both ways."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from test_task_mae import CONFIG, MODEL, TASK, mae_task
from test_train_command import TINY, complaint
from test_training_loop import same_weights, stop_after

from pacx.cli.main import main
from pacx.core.errors import UsageError
from pacx.core.preprocessing import Preprocessing
from pacx.data.augment import to_input
from pacx.data.packs.pack import Pack
from pacx.evaluation.embeddings import check_size
from pacx.models.encoders.folder import LoadedEncoder, load_encoder
from pacx.models.grey import grey_contract, restate
from pacx.models.mae.checkpoints import save_for_mae
from pacx.models.mae.model import MaskedAutoencoder
from pacx.models.vit import Pooling, ViTConfig, random_vit
from pacx.training.loop import train
from pacx.training.tasks.mae import MAETask, MAETaskConfig

GREY = MAETaskConfig(model=replace(MODEL, in_chans=1), augmentation=TASK.augmentation)


def three_channel(seed: int = 1) -> LoadedEncoder:
    vit = random_vit(ViTConfig(img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=2), seed)
    return LoadedEncoder(vit, Preprocessing(image_size_px=32), Pooling.CLASS_TOKEN)


def task_from(pack: Pack, config: MAETaskConfig, initial: LoadedEncoder) -> MAETask:
    return MAETask(pack, pack.rows("train"), pack.rows("val"), config, 5, initial)


def test_a_squared_error_means_the_same_in_one_channel(blob_pack):
    """The mean image's error does not depend on the model, only on films and contract."""
    with torch.no_grad():
        three, one = (mae_task(blob_pack, config).validate()["mean_image_mse"] for config in (TASK, GREY))
    assert one == pytest.approx(three, rel=1e-5)


def test_one_channel_trains_resumes_and_releases_for_the_packs_contract(blob_pack, tmp_path):
    train(mae_task(blob_pack, GREY), CONFIG, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(stop_after(mae_task(blob_pack, GREY), 2), CONFIG, tmp_path / "cut")
    train(mae_task(blob_pack, GREY), CONFIG, tmp_path / "cut", resume=True)
    assert same_weights(tmp_path / "whole/mae.safetensors", tmp_path / "cut/mae.safetensors")
    whole = MaskedAutoencoder(GREY.model)
    whole.load_state_dict(load_file(tmp_path / "whole/mae.safetensors"))
    loaded = load_encoder(tmp_path / "whole/encoder")
    check_size(blob_pack, loaded.preprocessing)  # what every protocol asks
    films = torch.from_numpy(blob_pack.images[:4].copy())
    with torch.no_grad():
        as_trained = whole.encoder()(to_input(films, grey_contract(blob_pack.preprocessing)))
        released = loaded.vit(to_input(films, loaded.preprocessing))
    torch.testing.assert_close(released, as_trained, rtol=1e-5, atol=1e-5)
    assert "trained on | one channel" in (tmp_path / "whole/encoder/MODEL_CARD.md").read_text()
    assert (tmp_path / "whole/reconstructions.png").exists()


@pytest.mark.parametrize("config", [TASK, GREY], ids=["three channels", "one channel"])
def test_training_starts_at_the_embeddings_of_the_encoder_it_is_given(blob_pack, config):
    initial = three_channel()
    task = task_from(blob_pack, config, initial)
    films = torch.from_numpy(blob_pack.images[:4].copy())
    with torch.no_grad():
        expected = initial.vit(to_input(films, initial.preprocessing))
        started = task.module.encoder()(to_input(films, task.preprocessing))
    torch.testing.assert_close(started, expected, rtol=1e-5, atol=1e-5)
    fresh = mae_task(blob_pack, config).module
    assert torch.equal(task.module.decoder_embed.weight, fresh.decoder_embed.weight)
    assert not torch.equal(task.module.blocks[0].attn.qkv.weight, fresh.blocks[0].attn.qkv.weight)


def test_a_run_belongs_to_the_encoder_it_started_from(blob_pack, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(stop_after(task_from(blob_pack, TASK, three_channel(1)), 2), CONFIG, tmp_path / "run")
    with pytest.raises(UsageError, match=r"task\.initial_encoder_sha256"):
        train(task_from(blob_pack, TASK, three_channel(2)), CONFIG, tmp_path / "run", resume=True)
    train(task_from(blob_pack, TASK, three_channel(1)), CONFIG, tmp_path / "run", resume=True)
    assert "encoder it started from" in (tmp_path / "run/encoder/MODEL_CARD.md").read_text()


def test_an_encoder_of_another_shape_is_refused(blob_pack):
    initial = three_channel()
    with pytest.raises(UsageError, match=r"does not fit the films: .* 64 px"):
        task_from(blob_pack, TASK, initial._replace(preprocessing=Preprocessing(image_size_px=64)))
    with pytest.raises(UsageError, match=r"depth=2.* 'depth': 1"):
        task_from(blob_pack, MAETaskConfig(model=replace(MODEL, depth=1)), initial)


def test_any_two_contracts_of_the_same_films(blob_pack):
    """There and back, with means and deviations of their own in each channel."""
    odd = replace(Preprocessing(image_size_px=32), mean=(0.1, 0.5, 0.7), std=(0.3, 0.2, 0.4))
    initial, films = three_channel(), torch.from_numpy(blob_pack.images[:4].copy())
    restated = restate(initial, odd)
    with torch.no_grad():
        expected = initial.vit(to_input(films, initial.preprocessing))
        torch.testing.assert_close(restated.vit(to_input(films, odd)), expected, rtol=1e-5, atol=1e-5)
    assert restate(initial, initial.preprocessing) is initial


def test_the_command_starts_one_channel_from_a_published_file(blob_pack, tmp_path, capsys):
    published = MaskedAutoencoder(replace(MODEL, depth=1), seed=9)
    save_for_mae(published, tmp_path / "published.pth")
    words = ["mae-tiny", "--pack", str(blob_pack.path), *TINY.split(), "--task.model.in-chans", "1"]
    words += ["--training.learning-rate", "0"]
    main(["train", *words, "--out", str(tmp_path / "run"), "--init", str(tmp_path / "published.pth")])
    films = torch.from_numpy(blob_pack.images[:4].copy())
    released = load_encoder(tmp_path / "run/encoder")
    with torch.no_grad():  # at a learning rate of zero, what comes out is what went in
        expected = published.encoder()(to_input(films, blob_pack.preprocessing))
        torch.testing.assert_close(
            released.vit(to_input(films, released.preprocessing)), expected, rtol=1e-5, atol=1e-5
        )
    again = ["--out", str(tmp_path / "again"), "--init", str(tmp_path / "run/mae.safetensors")]
    main(["train", *words, *again])
    assert load_file(tmp_path / "again/mae.safetensors")["patch_embed.proj.weight"].shape[1] == 1
    code, said = complaint(capsys, *words, "--out", tmp_path / "nowhere", "--init", tmp_path / "missing.pth")
    assert code == 2
    assert "missing.pth is not there; give an encoder folder, a checkpoint file or imagenet" in said
