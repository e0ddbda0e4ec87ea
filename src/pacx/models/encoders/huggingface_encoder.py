"""A vision model of transformers as a film encoder: RAD-DINO and other DINOv2s, DINOv3, ViT, CLIP's image tower, ...

`AutoModel + AutoImageProcessor -> FilmEncoder`. The processor says size, mean and standard deviation; films are
stretched to its square and not cropped, like everywhere here. A pooler that was never trained is not used. A masked
autoencoder sees the whole film, its patches in their order. Code that comes with weights is never run. Refuses a model
that answers otherwise when asked again, and one whose tokens cannot be told apart.
"""

import inspect
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from pacx.core.artifacts import read_json
from pacx.core.errors import DataError, ModelError
from pacx.core.preprocessing import Preprocessing
from pacx.models.encoders.film_encoder import (
    EncoderOutput,
    FilmEncoder,
    ForeignEncoder,
    square_contract,
    tokens_of_grid,
)
from pacx.models.encoders.hub import hub_file
from pacx.models.encoders.timm_encoder import open_timm_folder

_NUMBER = re.compile(r"(?<=\.)[0-9]+(?=\.)")


@dataclass(frozen=True, kw_only=True)
class HuggingFaceEncoder(ForeignEncoder):
    """A transformers model.

    Args:
        has_pooler: whether its ``pooler_output`` may stand for the image; else its class token does, or the mean of
            its patches where it has none.
        takes_noise: whether it hides patches by noise that it is given, or else draws: the least noise stays and comes
            first, so that rising noise leaves the patches as they are.
    """

    has_pooler: bool = field(default=True)
    takes_noise: bool = field(default=False)

    def output(self, images: Tensor) -> EncoderOutput:
        """Run the network once."""
        more = {}
        if self.takes_noise:
            places = torch.arange(_num_patches(self.module, self.preprocessing), device=images.device)
            more["noise"] = places.float().expand(len(images), -1)
        found = self.module(pixel_values=images, **more)
        hidden: Tensor = found.last_hidden_state
        pooler = getattr(found, "pooler_output", None) if self.has_pooler else None
        if hidden.ndim == 4:  # a convolutional network
            patches, class_token = tokens_of_grid(hidden), None
        else:
            num_prefix = hidden.shape[1] - _num_patches(self.module, self.preprocessing)
            has_class_token = self._has_class_token(num_prefix)
            patches, class_token = hidden[:, num_prefix:], hidden[:, 0] if has_class_token else None
        own = class_token if class_token is not None else patches.mean(dim=1)
        return EncoderOutput(own if pooler is None else pooler.flatten(1), class_token, patches)

    def _has_class_token(self, num_prefix: int) -> bool:
        """Whether a class token stands before the patches; registers and a token of distillation may stand between."""
        config = cast("Any", self.module).config
        num_beside = num_prefix - int(getattr(config, "num_register_tokens", None) or 0)
        if getattr(config, "num_detection_tokens", 0) or num_beside not in (0, 1, 2):
            raise ModelError(
                f"encoder {self.name} gives {num_prefix} tokens more than a film of {self.preprocessing.image_size_px} "
                "pixels has patches, and nobody here knows which they are; choose another encoder"
            )
        return num_beside > 0


def _num_patches(network: nn.Module, contract: Preprocessing) -> int:
    """How many patches a film has."""
    patch = cast("Any", network).config.patch_size
    height, width = (patch, patch) if isinstance(patch, int) else patch
    return (contract.image_size_px // height) * (contract.image_size_px // width)


def open_huggingface(source: str) -> FilmEncoder:
    """A folder that transformers wrote, or a repository of the hub; one of timm's is opened as timm does.

    Args:
        source: a path, or an id such as ``microsoft/rad-dino``.

    Raises:
        ModelError: files are missing or cannot be fetched, weights are missing, or it is no model of images.
    """
    from transformers import AutoImageProcessor, AutoModel  # takes seconds, and few commands need it
    from transformers.utils import logging

    folder = Path(source)
    if not folder.is_dir():
        folder = Path(hub_file(source, "config.json")).parent
    if _is_of_timm(folder):
        if not Path(source).is_dir():
            hub_file(source, "model.safetensors")
        return open_timm_folder(folder)
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
    if deeper := _of_more_layers(info["unexpected_keys"], network):
        raise ModelError(
            f"{source} holds {len(deeper)} weights of layers that its config.json does not have, first {min(deeper)}; "
            "fetch both again"
        )
    encoder = HuggingFaceEncoder(
        name=source,
        module=network.eval(),
        preprocessing=_contract(source, processor),
        has_pooler=not missing,
        takes_noise="noise" in inspect.signature(network.forward).parameters,
    )
    if encoder.takes_noise:
        network.config.mask_ratio = 0.0
    _try(encoder)
    return encoder


def _of_more_layers(unexpected: Iterable[str], network: nn.Module) -> set[str]:
    """Those weights that are named as the network's own are, but for a number: of a deeper one, not of a head."""
    own = {f".{_NUMBER.sub('#', key)}" for key in network.state_dict()}
    return {key for key in unexpected if any(f".{_NUMBER.sub('#', key)}".endswith(each) for each in own)}


def _is_of_timm(folder: Path) -> bool:
    """Whether timm wrote it; transformers wraps such a model, and its processor names no size."""
    try:
        config = read_json(folder / "config.json")
    except DataError:  # transformers says what is wrong with it
        return False
    return isinstance(config, dict) and "architecture" in config


def _contract(source: str, processor: Any) -> Preprocessing:  # noqa: ANN401 - each model has a class of its own
    try:
        is_cropped = bool(getattr(processor, "do_center_crop", False)) and processor.crop_size
        found = processor.crop_size if is_cropped else processor.size
        size = {"height": found, "width": found} if isinstance(found, int) else dict(found)
        scale = 255 * (processor.rescale_factor if processor.do_rescale else 1.0)  # of the model's values over ours
        mean, std = (processor.image_mean, processor.image_std) if processor.do_normalize else (0.0, 1.0)
        shift_and_scale = [
            tuple(float(value) / scale for value in (values if isinstance(values, list | tuple) else [values]))
            for values in (mean, std)
        ]
    except (AttributeError, TypeError, ValueError) as error:
        raise ModelError(
            f"the image processor of {source} ({type(processor).__name__}) does not say size, mean and deviation as "
            "those of transformers' image models do; choose another encoder"
        ) from error
    side = size.get("shortest_edge")
    height, width = size.get("height", side), size.get("width", side)
    if height is None or width is None:
        raise ModelError(f"the image processor of {source} names the size {size}; expected height and width")
    return square_contract(source, (3, int(height), int(width)), *shift_and_scale)


def _try(encoder: HuggingFaceEncoder) -> None:
    """Run a film twice, so that a size or an output that will not do is noticed now and not after an hour."""
    side = encoder.preprocessing.image_size_px
    film = torch.linspace(-1, 1, 3 * side * side).reshape(1, 3, side, side)
    try:
        with torch.inference_mode():
            first, again = (encoder.output(film) for _ in range(2))
        if not all(torch.allclose(one, other, atol=1e-3, equal_nan=True) for one, other in _pairs(first, again)):
            raise ModelError(
                f"encoder {encoder.name} answers otherwise each time it sees the same film, as if it hid parts of it "
                "at random; choose one that does not"
            )
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"{encoder.name} does not take films of {side} pixels: {reason}") from error


def _pairs(first: EncoderOutput, again: EncoderOutput) -> Iterator[tuple[Tensor, Tensor]]:
    for one, other in zip(first, again, strict=True):
        if one is not None and other is not None:
            yield one, other
