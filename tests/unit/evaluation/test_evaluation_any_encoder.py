"""Protocols on encoders that are none of ours, and what they refuse."""

import copy

import numpy as np
import pytest
import timm
import torch

from pacx.core.errors import DataError, ModelError
from pacx.core.preprocessing import Preprocessing
from pacx.evaluation.comparison import Comparison
from pacx.evaluation.embeddings import embed_pack
from pacx.evaluation.evidence.attention import attention
from pacx.evaluation.masks.segmentation import SegmentationConfig, segmentation
from pacx.evaluation.probes.classification import ClassificationData
from pacx.evaluation.probes.linear_heads import ProbeConfig
from pacx.evaluation.probes.linear_probe import linear_probe
from pacx.models.encoders.film_encoder import EncoderOutput, ForeignEncoder
from pacx.models.encoders.timm_encoder import TimmEncoder

HALF = Preprocessing(image_size_px=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
SHORT = SegmentationConfig(epochs=2, batch_size=10, warmup_epochs=0, learning_rate=1e-3)


@pytest.fixture(scope="module")
def resnet():
    """timm's smallest ResNet with fresh weights: another pooling, another mean, patches of 32 pixels."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = timm.create_model("resnet10t", num_classes=0).eval()
    return TimmEncoder(name="resnet10t", module=network, preprocessing=HALF)


def test_a_resnet_beside_our_vit_is_probed_and_segments(pack, encoders, resnet):
    both = {"mae": encoders["mae"], "resnet": resnet}
    data = ClassificationData.from_pack(pack, dataset="discs")
    features = {name: embed_pack(encoder, pack) for name, encoder in both.items()}
    assert {name: array.shape for name, array in features.items()} == {"mae": (60, 32), "resnet": (60, 512)}
    config = ProbeConfig(epochs=5, num_seeds=1)
    rows = linear_probe(data, features, Comparison(dataset=data.dataset, baseline="mae", num_draws=20), config=config)
    assert {"mae", "resnet", "resnet - mae"} <= {row.name for row in rows}
    rows = segmentation(pack, both, Comparison(dataset="discs", baseline="mae", num_draws=20), config=SHORT)
    table = {(row.name, row.label, row.metric): row.value for row in rows}
    assert 0 <= table["resnet", "heart", "iou"] <= 1
    assert not np.isnan(table["resnet - mae", "heart", "iou_difference"])


def test_what_an_encoder_cannot_give_is_refused_by_name(pack, encoders, resnet):
    with pytest.raises(ModelError, match="this encoder is a ResNet; leave it out of this protocol"):
        attention(pack, {"resnet": resnet}, Comparison(dataset="discs", num_draws=20))

    class Cut(ForeignEncoder):
        def output(self, images):
            patches = encoders["mae"].patches(images)[:, :5]
            return EncoderOutput(patches[:, 0], None, patches)

    cut = Cut(name="cut", module=encoders["mae"].module, preprocessing=encoders["mae"].preprocessing)
    with pytest.raises(ModelError, match="encoder cut gives 5 patch tokens for 32 pixels, which is no square grid"):
        segmentation(pack, {"cut": cut}, Comparison(dataset="discs", num_draws=20), config=SHORT)


def test_packs_without_masks_are_refused(pack, encoders):
    bare = copy.copy(pack)
    bare.masks = None
    with pytest.raises(DataError, match="no masks or no test images, expected both"):
        attention(bare, encoders, Comparison(dataset="d"))
    with pytest.raises(DataError, match="has no masks, expected masks and all three splits"):
        segmentation(bare, encoders, Comparison(dataset="d"), config=SHORT)
