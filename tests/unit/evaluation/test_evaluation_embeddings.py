"""Embeddings equal a plain forward pass, and the wrong pack or a broken encoder is refused."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from pacx.core.errors import DataError, ModelError
from pacx.core.preprocessing import Preprocessing
from pacx.evaluation.embeddings import embed_each, embed_pack, embed_patches
from pacx.models.encoders.folder import LoadedEncoder
from pacx.models.vit import Pooling


def test_embeddings_equal_a_plain_forward_pass(pack, encoders):
    encoder = encoders["pacx"]
    vit, preprocessing, _ = encoder
    rows = np.array([5, 0, 17])
    found = embed_pack(encoder, pack, rows=rows, batch_size=2)
    with torch.no_grad():
        tokens = vit.forward_features(torch.from_numpy(preprocessing.normalize(pack.images[rows]))).numpy()
    np.testing.assert_allclose(found, tokens[:, 0], atol=1e-5)
    assert found.dtype == np.float32
    everything = embed_pack(encoder, pack)
    np.testing.assert_allclose(everything[rows], found, atol=1e-5)
    mean = embed_pack(encoder.pooled_by(Pooling.PATCH_MEAN), pack, rows=rows)
    np.testing.assert_allclose(mean, tokens[:, 1:].mean(axis=1), atol=1e-5)
    patches = embed_patches(encoder, pack, rows=rows)
    assert patches.dtype == np.float16
    np.testing.assert_allclose(patches, tokens[:, 1:], atol=5e-3)


def test_poolings_of_one_network_come_of_one_pass_and_equal_those_of_their_own(pack, encoders):
    token, other = encoders["pacx"], encoders["mae"]
    asked = {"token": token, "other": other, "mean": token.pooled_by(Pooling.PATCH_MEAN)}
    passes = []
    hooks = [each.vit.patch_embed.register_forward_hook(lambda *_: passes.append(1)) for each in (token, other)]
    try:
        found = dict(embed_each(asked, pack, batch_size=25))
    finally:
        for hook in hooks:
            hook.remove()
    assert len(passes) == 2 * 3  # two networks, sixty films
    assert found.keys() == asked.keys()
    for name, encoder in asked.items():
        np.testing.assert_array_equal(found[name], embed_pack(encoder, pack, batch_size=25))


def test_dropout_is_off_and_training_mode_comes_back(pack, encoders):
    vit, preprocessing, pooling = encoders["pacx"]
    vit = copy.deepcopy(vit)
    plain = embed_pack(LoadedEncoder(vit, preprocessing, pooling), pack)
    vit.blocks[0].attn.proj_drop.p = 0.5
    vit.train()
    np.testing.assert_array_equal(embed_pack(LoadedEncoder(vit, preprocessing, pooling), pack), plain)
    assert vit.training
    assert all(parameter.grad is None for parameter in vit.parameters())


def test_the_encoders_own_statistics_are_applied_to_the_packs_grey_films(pack, encoders):
    vit, preprocessing, pooling = encoders["pacx"]
    other = replace(preprocessing, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    found = embed_pack(LoadedEncoder(vit, other, pooling), pack, rows=np.arange(3))
    with torch.no_grad():
        expected = vit(torch.from_numpy(other.normalize(pack.images[:3]))).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(found - embed_pack(encoders["pacx"], pack, rows=np.arange(3))).max() > 0.01


def test_films_of_another_size_are_refused_with_the_remedy(pack, encoders):
    other = encoders["pacx"]._replace(preprocessing=Preprocessing())
    message = r"holds films of 32 pixels.* takes 224 .*pack the images again with --image-size-px 224"
    with pytest.raises(ModelError, match=message):
        embed_pack(other, pack)
    with pytest.raises(ModelError, match=message):
        embed_patches(other, pack, rows=np.arange(2))


def test_no_films_at_all_is_said(pack, encoders):
    with pytest.raises(DataError, match="no film of"):
        embed_pack(encoders["pacx"], pack, rows=np.arange(0))


def test_embeddings_that_are_not_finite_are_refused(pack, encoders):
    vit, preprocessing, pooling = encoders["pacx"]
    broken = copy.deepcopy(vit)
    with torch.no_grad():
        broken.norm.bias[3] = torch.nan
    with pytest.raises(ModelError, match="NaN or infinity for 2 of 2 films, first for sample s4"):
        embed_pack(LoadedEncoder(broken, preprocessing, pooling), pack, rows=np.array([4, 5]))
    with torch.no_grad():
        broken.norm.bias[3] = 1e6  # finite, but not in half precision
    with pytest.raises(ModelError, match="NaN or infinity"):
        embed_patches(LoadedEncoder(broken, preprocessing, pooling), pack, rows=np.array([4, 5]))
