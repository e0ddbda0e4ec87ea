"""A vision model of transformers as a film encoder: RAD-DINO and other DINOv2s, DINOv3, ViT, CLIP's image tower, ...

`AutoModel + AutoImageProcessor -> FilmEncoder`. The processor says size, mean and standard deviation; films are
stretched to its square and not cropped, like everywhere here. A pooler that was never trained is not used. Code that
comes with weights is never run.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from pacx.core.errors import ModelError
from pacx.core.preprocessing import Preprocessing
from pacx.models.encoders.film_encoder import EncoderOutput, ForeignEncoder, square_contract, tokens_of_grid
from pacx.models.encoders.hub import hub_file


@dataclass(frozen=True, kw_only=True)
class HuggingFaceEncoder(ForeignEncoder):
    """A transformers model.

    Args:
        has_pooler: whether its ``pooler_output`` may stand for the image; else its class token does, or the mean of
            its patches where it has none.
    """

    has_pooler: bool = field(default=True)

    def output(self, images: Tensor) -> EncoderOutput:
        """Run the network once."""
        found = self.module(pixel_values=images)
        hidden: Tensor = found.last_hidden_state
        pooler = getattr(found, "pooler_output", None) if self.has_pooler else None
        if hidden.ndim == 4:  # a convolutional network
            patches, class_token = tokens_of_grid(hidden), None
        else:
            num_prefix = hidden.shape[1] - _num_patches(self.module, self.preprocessing)
            patches, class_token = hidden[:, num_prefix:], hidden[:, 0] if num_prefix else None
        own = class_token if class_token is not None else patches.mean(dim=1)
        return EncoderOutput(own if pooler is None else pooler.flatten(1), class_token, patches)


def _num_patches(network: nn.Module, contract: Preprocessing) -> int:
    return (contract.image_size_px // cast("Any", network).config.patch_size) ** 2


def open_huggingface(source: str) -> HuggingFaceEncoder:
    """A folder that transformers wrote, or a repository of the hub.

    Args:
        source: a path, or an id such as ``microsoft/rad-dino``.

    Raises:
        ModelError: files are missing or cannot be fetched, weights are missing, or it is no model of images.
    """
    from transformers import AutoImageProcessor, AutoModel  # takes seconds, and few commands need it
    from transformers.utils import logging

    if not Path(source).is_dir():
        hub_file(source, "config.json")
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # what it reports on standard error is said below, in a sentence
    try:
        processor = AutoImageProcessor.from_pretrained(source)
        loaded, info = AutoModel.from_pretrained(source, dtype=torch.float32, output_loading_info=True)
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"transformers cannot open {source} as a model of images: {reason}") from error
    finally:
        logging.set_verbosity(verbosity)
    prefix = "vision_model." if hasattr(loaded.config, "vision_config") else ""
    network = loaded.vision_model if prefix else loaded
    missing = {key for key in info["missing_keys"] if key.startswith(prefix)}
    without_pooler = {key for key in missing if not key.removeprefix(prefix).startswith("pooler.")}
    if without_pooler:
        raise ModelError(f"{source} lacks {len(without_pooler)} weights, first {min(without_pooler)}; fetch it again")
    encoder = HuggingFaceEncoder(
        name=source, module=network.eval(), preprocessing=_contract(source, processor), has_pooler=not missing
    )
    _try(encoder)
    return encoder


def _contract(source: str, processor: Any) -> Preprocessing:  # noqa: ANN401 - each model has a class of its own
    is_cropped = bool(getattr(processor, "do_center_crop", False)) and processor.crop_size
    size = dict(processor.crop_size if is_cropped else processor.size)
    side = size.get("shortest_edge")
    height, width = size.get("height", side), size.get("width", side)
    if height is None or width is None:
        raise ModelError(f"the image processor of {source} names the size {size}; expected height and width")
    scale = 255 * (processor.rescale_factor if processor.do_rescale else 1.0)  # of the model's values over ours
    mean, std = (processor.image_mean, processor.image_std) if processor.do_normalize else ([0.0], [1.0])
    shift_and_scale = (tuple(float(value) / scale for value in values) for values in (mean, std))
    return square_contract(source, (3, int(height), int(width)), *shift_and_scale)


def _try(encoder: HuggingFaceEncoder) -> None:
    """Run one black film, so that a size or an output that will not do is noticed now and not after an hour."""
    side = encoder.preprocessing.image_size_px
    try:
        with torch.inference_mode():
            encoder.output(torch.zeros(1, 3, side, side))
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"{encoder.name} does not take films of {side} pixels: {reason}") from error
