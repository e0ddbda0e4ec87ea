"""A head beside its encoder: one folder of tensors and words, tied by hash to the weights and the pooling it needs.

`ENCODER/NAME/NAME.safetensors + NAME.json`. Numpy alone, so that a server needs no more. It refuses a head that was
altered, is of another version, or was fitted to another encoder or another pooling of it. What a head means, its own
module knows.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from pacx.core.artifacts import read_json, sha256_of, staged_directory, write_json
from pacx.core.errors import DataError, ModelError

FORMAT_VERSION = 1

Tensors = Mapping[str, NDArray[Any]]


class SavedHead(NamedTuple):
    """What lies in a head's folder.

    Attributes:
        tensors: by name.
        about: JSON values.
    """

    tensors: Tensors
    about: Mapping[str, Any]


def save_head(encoder: Path, name: str, tensors: Tensors, about: Mapping[str, Any]) -> Path:
    """Write a head into the folder of the encoder it was fitted to; an older one is replaced.

    Args:
        encoder: an encoder folder.
        name: of the head's folder.
        tensors: by name.
        about: JSON values of the head's own.

    Returns:
        The folder written, whole or not at all.

    Raises:
        DataError: there is no such encoder folder.
        ArtifactError: it cannot be written to.
    """
    weights, pooling = _encoder_of(encoder)
    with staged_directory(encoder / name) as folder:
        path = folder / f"{name}.safetensors"
        save_file({key: np.ascontiguousarray(array) for key, array in tensors.items()}, path)
        tie = {"format_version": FORMAT_VERSION, "encoder_sha256": weights, "pooling": pooling}
        write_json(folder / f"{name}.json", {**tie, **about, "sha256": sha256_of(path)})
    return encoder / name


def load_head(encoder: Path, name: str) -> SavedHead:
    """Read a head of an encoder folder.

    Raises:
        DataError: a file is missing or is no JSON.
        ModelError: the head was altered, is of another version, or belongs to another encoder or pooling.
    """
    folder = encoder / name
    words, tensors = folder / f"{name}.json", folder / f"{name}.safetensors"
    about = read_json(words)
    if not isinstance(about, dict) or about.get("format_version") != FORMAT_VERSION:
        raise ModelError(f"{words} is not of format version {FORMAT_VERSION}; save the {name} again")
    if (about.get("encoder_sha256"), about.get("pooling")) != _encoder_of(encoder):
        raise ModelError(
            f"the {name} in {folder} was fitted to another encoder, or to another pooling of it, than {encoder} holds; "
            "fit and save it again"
        )
    if not tensors.is_file() or sha256_of(tensors) != about.get("sha256"):
        raise ModelError(f"{tensors} is missing or was changed since it was written; save the {name} again")
    try:
        return SavedHead(load_file(tensors), about)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{tensors} is not a readable safetensors file ({error}); save the {name} again") from error


def has_head(encoder: Path, name: str) -> bool:
    """Whether an encoder folder has such a head; whether it is whole, loading tells."""
    return (encoder / name).is_dir()


def _encoder_of(folder: Path) -> tuple[str, str]:
    """SHA-256 of an encoder's weights and the pooling its contract names."""
    contract = read_json(folder / "preprocessing.json")
    try:
        return str(contract["sha256"]["model.safetensors"]), str(contract["pooling"])
    except (KeyError, TypeError) as error:
        raise DataError(f"{folder / 'preprocessing.json'} is no encoder's contract; give an encoder folder") from error
