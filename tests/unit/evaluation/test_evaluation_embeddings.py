"""Embeddings equal a plain forward pass, and the wrong pack or a broken encoder is refused."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from pacx.core.errors import ModelError
from pacx.core.preprocessing import Preprocessing
from pacx.evaluation.embeddings import embed_pack, embed_patches
from pacx.models.vit import Pooling


def test_embeddings_equal_a_plain_forward_pass(pack, encoders):
    vit, preprocessing, pooling = encoders["pacx"]
    rows = np.array([5, 0, 17])
    found = embed_pack(vit, pack, pooling=pooling, preprocessing=preprocessing, rows=rows, batch_size=2)
    with torch.no_grad():
        tokens = vit.forward_features(torch.from_numpy(preprocessing.normalize(pack.images[rows]))).numpy()
    np.testing.assert_allclose(found, tokens[:, 0], atol=1e-5)
    assert found.dtype == np.float32
    everything = embed_pack(vit, pack, pooling=pooling, preprocessing=preprocessing)
    np.testing.assert_allclose(everything[rows], found, atol=1e-5)
    mean = embed_pack(vit, pack, pooling=Pooling.PATCH_MEAN, preprocessing=preprocessing, rows=rows)
    np.testing.assert_allclose(mean, tokens[:, 1:].mean(axis=1), atol=1e-5)
    patches = embed_patches(vit, pack, preprocessing=preprocessing, rows=rows)
    assert patches.dtype == np.float16
    np.testing.assert_allclose(patches, tokens[:, 1:], atol=5e-3)


def test_dropout_is_off_and_training_mode_comes_back(pack, encoders):
    vit, preprocessing, pooling = encoders["pacx"]
    vit = copy.deepcopy(vit)
    plain = embed_pack(vit, pack, pooling=pooling, preprocessing=preprocessing)
    vit.blocks[0].attn.proj_drop.p = 0.5
    vit.train()
    np.testing.assert_array_equal(embed_pack(vit, pack, pooling=pooling, preprocessing=preprocessing), plain)
    assert vit.training
    assert all(parameter.grad is None for parameter in vit.parameters())


def test_pack_of_another_contract_is_refused_by_name(pack, encoders):
    vit, preprocessing, pooling = encoders["pacx"]
    other = replace(preprocessing, mean=(0.5, 0.5, 0.5))
    with pytest.raises(ModelError, match=r"mean=\(0.485.*mean=\(0.5, 0.5, 0.5\)"):
        embed_pack(vit, pack, pooling=pooling, preprocessing=other)
    with pytest.raises(ModelError, match=r"image_size_px=32.*image_size_px=224"):
        embed_patches(vit, pack, preprocessing=Preprocessing(), rows=np.arange(2))


def test_embeddings_that_are_not_finite_are_refused(pack, encoders):
    vit, preprocessing, pooling = encoders["pacx"]
    broken = copy.deepcopy(vit)
    with torch.no_grad():
        broken.norm.bias[3] = torch.nan
    with pytest.raises(ModelError, match="NaN or infinity for 2 of 2 films, first for sample s4"):
        embed_pack(broken, pack, pooling=pooling, preprocessing=preprocessing, rows=np.array([4, 5]))
    with torch.no_grad():
        broken.norm.bias[3] = 1e6  # finite, but not in half precision
    with pytest.raises(ModelError, match="NaN or infinity"):
        embed_patches(broken, pack, preprocessing=preprocessing, rows=np.array([4, 5]))
