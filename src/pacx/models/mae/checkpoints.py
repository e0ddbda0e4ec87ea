"""Masked autoencoders from and for elsewhere: facebookresearch/mae, the authors' Lightning files, and our own.

All three name their tensors alike once a trainer's prefix is off (``module.`` of data-parallel runs, ``model.`` of
Lightning modules), so nothing is renamed and nothing is left out: a file either fits the model it is meant for, to the
last key and shape, or is refused. Only safetensors and weights-only torch files are read.
"""

from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from pacx.core.artifacts import staged_file
from pacx.core.errors import ModelError
from pacx.core.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from pacx.models.encoders.folder import LoadedEncoder, save_encoder
from pacx.models.grey import restate
from pacx.models.mae.config import MAEConfig
from pacx.models.mae.model import MaskedAutoencoder, is_decoder_key
from pacx.models.strict_loading import load_strictly, read_state_dict
from pacx.models.vit import vit_with_weights
from pacx.models.vit_config import Pooling, ViTConfig

_LIGHTNING_PREFIX = "model."


def read_mae_weights(path: Path) -> dict[str, Tensor]:
    """Tensors under the names of facebookresearch/mae.

    Args:
        path: ``mae.safetensors`` of a run; a torch file with the weights under ``model`` (facebookresearch/mae) or
            ``state_dict`` (Lightning, as the authors of PaCX-MAE release), or at the top level.

    Raises:
        ModelError: there is no such file, or it holds no state dict or more than tensors and numbers.
    """
    state = read_state_dict(path)
    if all(key.startswith(_LIGHTNING_PREFIX) for key in state):
        return {key.removeprefix(_LIGHTNING_PREFIX): tensor for key, tensor in state.items()}
    return state


def load_mae(path: Path, config: MAEConfig | None = None) -> MaskedAutoencoder:
    """A whole autoencoder, decoder included, in training mode; by default the paper's sizes.

    Raises:
        ModelError: a key is missing or unknown (as in a file of an encoder alone), or a tensor has another shape.
    """
    model = MaskedAutoencoder(config or MAEConfig())
    load_strictly(model, read_mae_weights(path), path)
    for positions in (model.pos_embed, model.decoder_pos_embed):
        positions.requires_grad_(False)
    return model


def load_mae_encoder(path: Path, config: ViTConfig | None = None) -> VisionTransformer:
    """The encoder of a whole autoencoder, or of a file that holds nothing else, in eval mode; by default ViT-B/16.

    Raises:
        ModelError: a key of the encoder is missing, another is unknown, or a tensor has another shape.
    """
    weights = {key: tensor.float() for key, tensor in read_mae_weights(path).items() if not is_decoder_key(key)}
    try:
        return vit_with_weights(config or ViTConfig(), weights)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def save_for_mae(model: MaskedAutoencoder, path: Path) -> None:
    """Write a torch file that facebookresearch/mae reads: the state dict under ``model``.

    Raises:
        ArtifactError: it could not be written whole.
    """
    state = {key: tensor.detach().cpu().contiguous() for key, tensor in model.state_dict().items()}
    with staged_file(path) as partial:
        torch.save({"model": state}, partial)


def save_encoder_for_mae(encoder: LoadedEncoder, path: Path) -> None:
    """Write an encoder under the names of facebookresearch/mae, for the films its users feed: three ImageNet channels.

    An encoder of another contract is restated (``pacx.models.grey``); one of that contract is written as it is.
    """
    official = replace(encoder.preprocessing, num_channels=3, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    state = restate(encoder, official).vit.state_dict()
    with staged_file(path) as partial:
        save_file({key: tensor.contiguous() for key, tensor in state.items()}, partial, metadata={"format": "pt"})


def convert_mae_encoder(path: Path, out: Path, config: ViTConfig | None = None) -> None:
    """Make an encoder folder, which every verb and timm open, of an autoencoder from elsewhere.

    Args:
        path: as for ``read_mae_weights``.
        out: the encoder folder.
        config: the encoder's sizes; by default ViT-B/16 at 224 pixels.

    Raises:
        ModelError: as ``load_mae_encoder``, or a weight is not finite.
        ArtifactError: the folder could not be written.
    """
    sizes = config or ViTConfig()
    card = (
        f"# Encoder of {path.name}\n\nA vision transformer taken from a masked autoencoder that was trained elsewhere; "
        "what it was trained on, its makers have to say. Research software, not a medical device."
    )
    save_encoder(
        load_mae_encoder(path, sizes),
        out,
        preprocessing=Preprocessing(image_size_px=sizes.img_size),
        pooling=Pooling.CLASS_TOKEN,
        card=card,
        provenance={"converted_from": path.name},
    )
