"""The ImageNet baseline of every table: a supervised ViT from timm, from the local cache or the hub.

Its authors normalised inputs with mean and standard deviation 0.5; the paper feeds it ImageNet statistics like every
other encoder, and so does everybody here. It refuses quickly when the hub cannot be reached.
"""

import enum
import os
from typing import cast

import huggingface_hub
import timm
from timm.models.vision_transformer import VisionTransformer

from pacx.core.errors import ModelError
from pacx.models.vit import config_of, vit_with_weights

_HUB_TIMEOUT_S = 10.0


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
    overlay = {"file": _weights_path(model)}
    created = timm.create_model(model.value, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=0)
    vit = cast("VisionTransformer", created)
    return vit_with_weights(config_of(vit), vit.state_dict())


def _weights_path(model: ImageNetModel) -> str:
    """From the local cache, else from the hub after one quick question whether it is there at all.

    Left to itself the hub client asks six times for each of two files: the best part of a minute without a network.
    """
    repository = f"timm/{model.value}"
    cached = huggingface_hub.try_to_load_from_cache(repository, "model.safetensors")
    if isinstance(cached, str | os.PathLike):
        return os.fspath(cached)
    try:
        url = huggingface_hub.hf_hub_url(repository, "model.safetensors")
        huggingface_hub.get_hf_file_metadata(url, timeout=_HUB_TIMEOUT_S)
        return huggingface_hub.hf_hub_download(repository, "model.safetensors", etag_timeout=_HUB_TIMEOUT_S)
    except Exception as error:  # the client's HTTP library, and so its errors, change with its version
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"cannot fetch ImageNet weights {repository} from {huggingface_hub.constants.ENDPOINT} ({reason}); "
            "connect to the network once, or copy them into the Hugging Face cache"
        ) from error
