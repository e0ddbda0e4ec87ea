"""One channel instead of three equal ones: the same embeddings from the same film."""

import numpy as np
import pytest
import torch

from pacx.core.errors import ModelError
from pacx.core.preprocessing import Preprocessing
from pacx.models.encoders.folder import LoadedEncoder, load_encoder, save_encoder
from pacx.models.grey import fold_channels, unfold_channels
from pacx.models.vit import Pooling, ViTConfig, random_vit

CONFIG = ViTConfig(img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=2)
FILMS = np.random.default_rng(0).integers(0, 256, (3, 32, 32), dtype=np.uint8)


def embedded(encoder: LoadedEncoder) -> torch.Tensor:
    with torch.no_grad():
        return encoder.vit(torch.from_numpy(encoder.preprocessing.normalize(FILMS)))


@pytest.fixture
def three() -> LoadedEncoder:
    return LoadedEncoder(random_vit(CONFIG, 1), Preprocessing(image_size_px=32), Pooling.CLASS_TOKEN)


def test_folded_encoder_gives_the_same_embedding(three, tmp_path):
    one = fold_channels(three)
    assert one.vit.patch_embed.proj.weight.shape == (32, 1, 8, 8)
    torch.testing.assert_close(embedded(one), embedded(three), rtol=1e-5, atol=1e-5)
    save_encoder(
        one.vit, tmp_path / "one", preprocessing=one.preprocessing, pooling=one.pooling, card="", provenance={}
    )
    torch.testing.assert_close(embedded(load_encoder(tmp_path / "one")), embedded(one))


def test_unfolding_keeps_the_embedding_and_folds_back(three):
    contract = Preprocessing(image_size_px=32, num_channels=1, mean=(0.5,), std=(0.25,))
    one = LoadedEncoder(fold_channels(three).vit, contract, Pooling.CLASS_TOKEN)
    repeated = unfold_channels(one)
    assert repeated.preprocessing == Preprocessing(image_size_px=32)
    torch.testing.assert_close(embedded(repeated), embedded(one), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(embedded(fold_channels(repeated)), embedded(one), rtol=1e-5, atol=1e-5)


def test_only_what_can_be_folded_is(three):
    one = fold_channels(three)
    with pytest.raises(ModelError, match="one channel already"):
        fold_channels(one)
    with pytest.raises(ModelError, match="takes 3 channels"):
        unfold_channels(three)
