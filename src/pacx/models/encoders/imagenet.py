"""The ImageNet baseline of every table: a supervised ViT from timm, from the local cache or the hub.

Its authors normalised inputs with mean and standard deviation 0.5; the paper feeds it ImageNet statistics like every
other encoder, and so does everybody here. It refuses quickly when the hub cannot be reached.
"""

import enum
from typing import cast

import timm
from timm.models.vision_transformer import VisionTransformer

from pacx.models.encoders.hub import hub_file
from pacx.models.vit import config_of, vit_with_weights


class ImageNetModel(enum.Enum):
    """timm's names; both take 224 pixels in patches of 16."""

    BASE = "vit_base_patch16_224.augreg2_in21k_ft_in1k"
    TINY = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"


def imagenet_vit(model: ImageNetModel = ImageNetModel.BASE) -> VisionTransformer:
    """The encoder with its published weights, in eval mode; the paper's is ``BASE``.

    Raises:
        ModelError: the weights are not in the cache and cannot be fetched.

    Source: paper section 4; timm's default weights of these models.
    """
    overlay = {"file": hub_file(f"timm/{model.value}", "model.safetensors")}
    created = timm.create_model(model.value, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=0)
    vit = cast("VisionTransformer", created)
    return vit_with_weights(config_of(vit), vit.state_dict())
