"""From the official ECGFounder checkpoint to plain tensors, once, without ever running what is in the file.

A ``.pth`` is a pickle and can run code when opened. It is opened here with ``weights_only=True`` and in no other way;
what comes out is a folder of safetensors with the SHA-256 of the file it was made from. The official 12-lead file
holds more than weights (its size is that of weights and an optimiser's two moments): only ``state_dict`` is kept.

The weights' licence is not stated by their authors: download them yourself and do not pass the folder on.

Source: PKUDigitalHealth/ECGFounder on Hugging Face (12_lead_ECGFounder.pth, 1_lead_ECGFounder.pth).
"""

import hmac
from pathlib import Path
from typing import Any, NamedTuple

import torch

from pacx.core.artifacts import read_json, sha256_of, staged_directory, write_json
from pacx.core.errors import ModelError
from pacx.models.ecg.founder import ECGFounder, load_ecg_founder
from pacx.models.ecg.kinds import ECG_FOUNDER
from pacx.models.strict_loading import write_state_dict

_WEIGHTS, _CONFIG = "model.safetensors", "config.json"
_LICENCE = "the authors state none for the weights; do not redistribute"
_NAMED_AT_MOST = 5


class Conversion(NamedTuple):
    """What was converted: leads of the network, and the SHA-256 of the official file."""

    num_leads: int
    source_sha256: str


def _wanted_globals(path: Path) -> list[str]:
    """What a torch file would build besides tensors and numbers, read off its pickle without running it."""
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except (RuntimeError, ValueError, EOFError, OSError):
        return []  # not a zip of this kind; the error at hand says enough
    return sorted(name for name in names if not name.startswith("numpy."))


def _refusal(path: Path, error: ModelError) -> ModelError:
    wanted = _wanted_globals(path)
    if not wanted:
        return error
    return ModelError(
        f"{path} would build {', '.join(wanted[:_NAMED_AT_MOST])} when opened, and a pickle that builds objects can "
        "run code, so it stays shut; if you trust its origin, open it where nothing can be harmed, write its "
        "'state_dict' alone with torch.save or safetensors, and convert that file"
    )


def convert_ecg_founder(source: Path, out: Path, *, expected_sha256: str | None = None) -> Conversion:
    """Write the folder ``load_converted_ecg_founder`` reads.

    Args:
        source: the official file; its weights may lie at the top level or under ``state_dict``, with or without
            ``module.`` before every key.
        out: folder to write: model.safetensors, and config.json with the file's name and SHA-256.
        expected_sha256: of the file, from somebody you trust; it is recorded either way.

    Raises:
        ModelError: the file is missing, is not the expected one, holds objects that are no tensors or numbers, or its
            509 keys and shapes are not exactly ECGFounder's.
    """
    if not source.is_file():
        raise ModelError(f"{source} is not a file; give the path of the downloaded weights (.pth or .safetensors)")
    found = sha256_of(source)
    if expected_sha256 is not None and not hmac.compare_digest(found, expected_sha256.strip().casefold()):
        raise ModelError(
            f"{source} has SHA-256 {found}, expected {expected_sha256}; it is another file or a broken download"
        )
    try:
        network = load_ecg_founder(source)
    except ModelError as error:
        raise _refusal(source, error) from error
    with staged_directory(out) as folder:
        write_state_dict(network, folder / _WEIGHTS)
        config = {
            "kind": ECG_FOUNDER,
            "num_leads": network.num_leads,
            "preprocessing": network.preprocessing.to_json(),
            "source": {"file": source.name, "sha256": found, "bytes": source.stat().st_size},
            "model_sha256": sha256_of(folder / _WEIGHTS),
            "licence": _LICENCE,
        }
        write_json(folder / _CONFIG, config)
    return Conversion(network.num_leads, found)


def load_converted_ecg_founder(path: Path) -> ECGFounder:
    """Read a folder written by ``convert_ecg_founder``; in eval mode.

    Raises:
        ModelError: the folder is of another kind, or its weights were changed.
        DataError: config.json is missing or not JSON.
    """
    config: dict[str, Any] = read_json(path / _CONFIG)
    if config.get("kind") != ECG_FOUNDER:
        raise ModelError(f"{path} does not hold converted ECGFounder weights; give a folder that pacx convert wrote")
    weights = path / _WEIGHTS
    if not weights.is_file() or sha256_of(weights) != config["model_sha256"]:
        raise ModelError(f"{weights} is missing or was changed since it was converted; convert again")
    return load_ecg_founder(weights)
