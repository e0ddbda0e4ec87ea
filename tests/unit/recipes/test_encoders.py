"""Encoders as a user names them."""

from pathlib import Path

import pytest
import timm
import torch
from timm.models import save_for_hf

from pacx.core.errors import ModelError, UsageError
from pacx.core.preprocessing import Preprocessing
from pacx.models.encoders.by_name import open_encoder, open_encoders
from pacx.models.encoders.folder import LoadedEncoder, save_encoder
from pacx.models.encoders.huggingface_encoder import HuggingFaceEncoder
from pacx.models.encoders.timm_encoder import TimmEncoder
from pacx.models.vit import Pooling, ViTConfig, random_vit

CONFIG = ViTConfig(img_size=32, patch_size=8, embed_dim=24, depth=1, num_heads=2)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One small encoder of each kind of folder."""
    import transformers

    root = tmp_path_factory.mktemp("encoders")
    contract = Preprocessing(image_size_px=32)
    save_encoder(
        random_vit(CONFIG, 1), root / "ours", preprocessing=contract, pooling=Pooling.CLASS_TOKEN, card="a",
        provenance={},
    )  # fmt: skip
    model = timm.create_model("resnet10t", num_classes=2)
    save_for_hf(model, root / "timm")
    shape = {"image_size": 32, "patch_size": 8, "hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    transformers.ViTModel(transformers.ViTConfig(**shape)).save_pretrained(root / "hf")
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(root / "hf")
    return root


def test_every_kind_of_folder_is_recognised_and_keeps_its_name_and_order(folders: Path):
    words = [f"theirs={folders / 'hf'}", "random", f"resnet={folders / 'timm'}", f"mae={folders / 'ours'}"]
    opened = open_encoders(words, seed=0)
    assert [each.name for each in opened] == ["theirs", "random", "resnet", "mae"]
    kinds = [HuggingFaceEncoder, LoadedEncoder, TimmEncoder, LoadedEncoder]
    assert [type(each.encoder) for each in opened] == kinds
    assert opened[0].preprocessing.mean == (0.5, 0.5, 0.5)
    random, mae = opened[1].encoder, opened[3].encoder
    assert random.preprocessing == mae.preprocessing
    images = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert not torch.allclose(random.embed_images(images), mae.embed_images(images), atol=0.1)


def test_a_mark_behind_the_place_chooses_the_pooling(folders: Path):
    ours = folders / "ours"
    plain, mean, hf = open_encoders([f"a={ours}", f"b={ours}#mean", f"c=hf:{folders / 'hf'}#mean"], seed=0)
    images = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(mean.encoder.embed_images(images), plain.encoder.patches(images).mean(dim=1))
        torch.testing.assert_close(hf.encoder.embed_images(images), hf.encoder.patches(images).mean(dim=1))
        assert not torch.allclose(mean.encoder.embed_images(images), plain.encoder.embed_images(images))
    assert mean.encoder.module is plain.encoder.module  # so that both come of one pass


@pytest.mark.parametrize("place", ["ours", "timm", "hf"])
@torch.inference_mode()
def test_several_poolings_of_any_encoder_are_those_it_gives_alone(folders: Path, place: str):
    encoder = open_encoder(str(folders / place))
    size = encoder.preprocessing.image_size_px
    images = torch.randn(2, encoder.preprocessing.num_channels, size, size, generator=torch.Generator().manual_seed(0))
    own, mean = encoder.embed_images_in(images, [encoder.pooling, Pooling.PATCH_MEAN])
    torch.testing.assert_close(own, encoder.embed_images(images))
    torch.testing.assert_close(mean, encoder.patches(images).mean(dim=1))


def test_what_is_no_encoder_is_said(folders: Path, tmp_path: Path):
    with pytest.raises(ModelError, match=r"is no encoder: it has no readable config\.json; give a folder of ours"):
        open_encoders([f"a={tmp_path}"], seed=0)
    with pytest.raises(UsageError, match="random takes its shape from"):
        open_encoders(["random", f"resnet={folders / 'timm'}"], seed=0)
    with pytest.raises(UsageError, match="give NAME=PLACE"):
        open_encoders([str(folders)], seed=0)
    with pytest.raises(UsageError, match="each name once"):
        open_encoders([f"a={folders / 'ours'}", f"a={folders / 'timm'}"], seed=0)
