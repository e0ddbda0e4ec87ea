"""The encoder on disk: a folder that this project checks to the last key, and that timm opens without us.

``model.safetensors`` and ``config.json`` are what ``timm.create_model("local-dir:PATH", pretrained=True)`` reads, and
``AutoModel.from_pretrained(PATH)`` of transformers; they may carry a linear head, which timm applies and nothing here;
``preprocessing.json`` is the input contract, with the hashes that tie the files together; ``MODEL_CARD.md`` is for
people, ``origin.json`` for programs. Training ends in such a folder, and probes, export and serving begin with one.
Loading refuses a folder that is incomplete, altered, or written under another contract; it never loads what happens to
fit.
"""

import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from pacx.core.artifacts import read_json, sha256_of, staged_directory
from pacx.core.errors import DataError, ModelError
from pacx.core.preprocessing import Preprocessing
from pacx.models.encoders.frozen_vit import frozen_pooled, frozen_pooled_each
from pacx.models.encoders.origin import Origin, write_origin
from pacx.models.vit import architecture_arguments, config_of, patch_tokens, vit_with_weights
from pacx.models.vit_config import Pooling, ViTConfig

FORMAT_VERSION = 1

_WEIGHTS, _CONFIG, _CONTRACT, _CARD = "model.safetensors", "config.json", "preprocessing.json", "MODEL_CARD.md"
_HEAD_KEYS = ("head.weight", "head.bias")
_CONTRACT_FIELDS = {"format_version", "preprocessing", "pooling", "sha256"}


class LinearHead(NamedTuple):
    """A linear layer of timm's model behind the pooling.

    Attributes:
        weight: float32 (K, D).
        bias: float32 (K,).
    """

    weight: Tensor
    bias: Tensor


class LoadedEncoder(NamedTuple):
    """An encoder ready for use.

    Attributes:
        vit: in eval mode on the CPU; its own forward gives the pooled embedding (B, D).
        preprocessing: what a film must go through first.
        pooling: which embedding stands for the image.
    """

    vit: VisionTransformer
    preprocessing: Preprocessing
    pooling: Pooling

    @property
    def module(self) -> VisionTransformer:
        """The network; with the methods below this is a ``FilmEncoder``."""
        return self.vit

    @property
    def embedding_dim(self) -> int:
        """Width of ``embed_images``, whatever the pooling."""
        return self.vit.embed_dim

    @property
    def parts(self) -> VisionTransformer:
        """Everything that has weights."""
        return self.vit

    def embed_images(self, images: Tensor) -> Tensor:
        """One embedding per image: (B, D) from normalised (B, C, S, S)."""
        return frozen_pooled(self.vit, images, self.pooling)

    def embed_images_in(self, images: Tensor, poolings: Sequence[Pooling | None]) -> tuple[Tensor, ...]:
        """``embed_images`` in each of several poolings (None = its own), in one forward pass."""
        return frozen_pooled_each(self.vit, images, [self.pooling if each is None else each for each in poolings])

    def patches(self, images: Tensor) -> Tensor:
        """One token per patch, row by row: (B, L, D)."""
        return patch_tokens(self.vit, images)

    def pooled_by(self, pooling: Pooling) -> "LoadedEncoder":
        """The same encoder with another part of its output standing for the image."""
        return self._replace(pooling=pooling)


def save_encoder(
    vit: VisionTransformer,
    out: Path,
    *,
    preprocessing: Preprocessing,
    pooling: Pooling,
    card: str,
    provenance: dict[str, Any],
    head: LinearHead | None = None,
) -> None:
    """Write an encoder folder, whole or not at all; an older folder of that name is replaced.

    Args:
        vit: a plain encoder; adapters must have been merged.
        out: the folder.
        preprocessing: the contract the encoder was trained under.
        pooling: which embedding stands for the image.
        card: the model card, Markdown.
        provenance: JSON values; kept as data and printed at the end of the card.
        head: what timm's own model is to make of the pooled embedding; None = nothing.

    Raises:
        ModelError: the encoder is not plain, has weights that are not finite, or does not fit the contract.
        ArtifactError: the folder cannot be written.
    """
    config = config_of(vit)
    _require_fit(config, preprocessing)
    weights = {key: tensor.detach().to("cpu", torch.float32).contiguous() for key, tensor in vit.state_dict().items()}
    vit_with_weights(config, weights)
    if head is not None:
        weights |= dict(zip(_HEAD_KEYS, head, strict=True))
    broken = [key for key, tensor in weights.items() if not tensor.isfinite().all()]
    if broken:
        raise ModelError(f"encoder weight {broken[0]} holds NaN or infinity; go back to a checkpoint before it did")
    with staged_directory(out) as folder:
        save_file(weights, folder / _WEIGHTS, metadata={"format": "pt"})
        _write_json(
            folder / _CONFIG, _timm_config(config, preprocessing, pooling, 0 if head is None else len(head.bias))
        )
        contract = {
            "format_version": FORMAT_VERSION,
            "preprocessing": preprocessing.to_json(),
            "pooling": pooling.value,
            "sha256": {name: sha256_of(folder / name) for name in (_WEIGHTS, _CONFIG)},
        }
        _write_json(folder / _CONTRACT, contract)
        write_origin(folder, Origin(provenance=provenance))
        printed = json.dumps(provenance, indent=2, allow_nan=False)
        (folder / _CARD).write_text(f"{card.rstrip()}\n\n## Provenance\n\n```json\n{printed}\n```\n", encoding="utf-8")


def load_encoder(path: Path) -> LoadedEncoder:
    """Open an encoder folder.

    Raises:
        ModelError: a file is missing, damaged or altered, a weight is missing, extra or of another shape or type, or
            the contract is of another version; one sentence says which.
    """
    for name in (_WEIGHTS, _CONFIG, _CONTRACT):
        if not (path / name).is_file():
            raise ModelError(f"{path / name} is missing; an encoder folder holds {_WEIGHTS}, {_CONFIG}, {_CONTRACT}")
    preprocessing, pooling = _read_contract(path)
    config = _read_config(path / _CONFIG)
    _require_fit(config, preprocessing)
    weights = _read_weights(path / _WEIGHTS)
    if num_classes := _read_object(path / _CONFIG).get("num_classes"):
        _take_head(path / _WEIGHTS, weights, (num_classes, config.embed_dim))
    return LoadedEncoder(vit_with_weights(config, weights, pooling), preprocessing, pooling)


def is_config_of_ours(config: object) -> bool:
    """Whether ``save_encoder`` wrote this ``config.json``: timm's own never names all of these arguments."""
    arguments = config.get("model_args") if isinstance(config, dict) else None
    ours = {"num_classes", *architecture_arguments(ViTConfig())}  # which folders up to 0.2.0 name there as well
    return isinstance(arguments, dict) and {"num_classes", *arguments} == ours


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _timm_config(config: ViTConfig, preprocessing: Preprocessing, pooling: Pooling, num_classes: int) -> dict[str, Any]:
    """What timm needs to build the model and to prepare its input: a squash to the square, bilinear."""
    size = preprocessing.image_size_px
    return {
        "architecture": "vit_base_patch16_224",
        "num_classes": num_classes,
        "num_features": config.embed_dim,
        "model_args": architecture_arguments(config, pooling),
        "pretrained_cfg": {
            "input_size": [preprocessing.num_channels, size, size],
            "fixed_input_size": True,
            "interpolation": "bilinear",
            "crop_pct": 1.0,
            "crop_mode": "squash",
            "mean": list(preprocessing.mean),
            "std": list(preprocessing.std),
            "num_classes": num_classes,
            "first_conv": "patch_embed.proj",
            "classifier": "head",
        },
    }


def _require_fit(config: ViTConfig, preprocessing: Preprocessing) -> None:
    takes, gives = (config.in_chans, config.img_size), (preprocessing.num_channels, preprocessing.image_size_px)
    if takes != gives:
        raise ModelError(
            f"the encoder takes {takes[0]} channels of {takes[1]} pixels but its preprocessing gives {gives[0]} of "
            f"{gives[1]}; save it with the contract it was trained under"
        )


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = read_json(path)
    except DataError as error:
        raise ModelError(str(error)) from error
    if not isinstance(value, dict):
        raise ModelError(f"{path} holds {type(value).__name__}, expected a JSON object; export the encoder again")
    return value


def _read_contract(path: Path) -> tuple[Preprocessing, Pooling]:
    contract = _read_object(path / _CONTRACT)
    version = contract.get("format_version")
    if version != FORMAT_VERSION or set(contract) != _CONTRACT_FIELDS:
        raise ModelError(
            f"{path / _CONTRACT} has format version {version} and fields {sorted(contract)}, expected version "
            f"{FORMAT_VERSION} and {sorted(_CONTRACT_FIELDS)}; open it with the PaCX that wrote it"
        )
    for name in (_WEIGHTS, _CONFIG):
        if contract["sha256"].get(name) != sha256_of(path / name):
            raise ModelError(
                f"{path / name} is not the file that {_CONTRACT} was written for (its SHA-256 differs); "
                "copy or export the whole folder again"
            )
    try:
        pooling = Pooling(contract["pooling"])
    except ValueError as error:
        known = ", ".join(each.value for each in Pooling)
        raise ModelError(
            f"{path / _CONTRACT} names pooling '{contract['pooling']}', expected one of {known}"
        ) from error
    return Preprocessing.from_json(contract["preprocessing"]), pooling


def _read_config(path: Path) -> ViTConfig:
    arguments = _read_object(path).get("model_args", {})
    missing = [field.name for field in fields(ViTConfig) if field.name not in arguments]
    if missing:
        raise ModelError(f"{path} does not say the encoder's {missing[0]} under model_args; export the encoder again")
    return ViTConfig(**{field.name: arguments[field.name] for field in fields(ViTConfig)})


def _take_head(path: Path, weights: dict[str, Tensor], shape: tuple[int, int]) -> None:
    """Take timm's head out of the weights, or refuse another than the configuration tells of."""
    found = [tuple(weights.pop(key).shape) if key in weights else None for key in _HEAD_KEYS]
    if found != [shape, shape[:1]]:
        raise ModelError(
            f"{path} holds a head of {found[0]} and {found[1]}, expected {shape} and {shape[:1]} as {_CONFIG} says; "
            "copy or export the whole folder again"
        )


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        weights = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} is not a readable safetensors file ({error}); copy or export it again") from error
    for key, tensor in weights.items():
        if tensor.dtype != torch.float32:
            raise ModelError(f"{path} stores {key} as {tensor.dtype}, expected torch.float32; export the encoder again")
    return weights
