"""Weights go into a network whole or not at all.

Reads safetensors, or a torch file with ``weights_only=True`` (a pickle that could run code is never executed), and
refuses a state dict in which one key or one shape is not the network's own. Used by every network here that is loaded
from a file and is not a plain timm model.
"""

import argparse
import contextlib
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core.multiarray import scalar as _numpy_scalar
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pacx.core.errors import ModelError

_NAMED_AT_MOST = 3


@contextlib.contextmanager
def _plain_values_allowed() -> Iterator[None]:
    """Let weights-only loading build what trainers like to store beside the weights and what can do nothing.

    Plain numpy numbers (a score), and the bag of attributes that holds command-line arguments (facebookresearch/mae).
    """
    kinds: list[Any] = [type(np.dtype(name)) for name in ("float64", "float32", "int64", "int32", "bool")]
    # The same function has two addresses: before and since numpy 2.
    scalars: list[Any] = [(_numpy_scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    with torch.serialization.safe_globals([*scalars, np.dtype, *kinds, argparse.Namespace]):
        yield


def _torch_file(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    try:
        with _plain_values_allowed():
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path} holds more than tensors and numbers, so it is not opened (a pickle can run code); save its state "
            "dict as safetensors on a machine you trust it on, and load that file"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError) as error:
        raise ModelError(f"{path} is not a readable torch file; download it again") from error


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Tensors of a checkpoint by name, on the CPU.

    Args:
        path: a ``.safetensors`` file, or a torch file whose top level is a state dict or holds one under
            ``state_dict``, ``model`` or ``module``. A ``module.`` prefix (from data-parallel training) is taken off.

    Raises:
        ModelError: there is no such file, it is damaged, it holds objects other than tensors, or no state dict.
    """
    if not path.is_file():
        raise ModelError(f"{path} is not a file; give the path of the downloaded weights (.safetensors or .pth)")
    if path.suffix == ".safetensors":
        try:
            state: Any = load_file(path)
        except SafetensorError as error:
            raise ModelError(f"{path} is not a whole safetensors file ({error}); copy or download it again") from error
    else:
        state = _torch_file(path)
        if isinstance(state, Mapping):
            holders = [name for name in ("state_dict", "model", "module") if isinstance(state.get(name), Mapping)]
            state = state[holders[0]] if holders else state
    if not isinstance(state, Mapping) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise ModelError(
            f"{path} holds no state dict; expected tensors by name, at the top level or under 'state_dict', 'model' or "
            "'module'"
        )
    return {str(key).removeprefix("module."): value for key, value in state.items()}


def _some(names: set[str]) -> str:
    shown = ", ".join(sorted(names)[:_NAMED_AT_MOST])
    return shown if len(names) <= _NAMED_AT_MOST else f"{shown} and {len(names) - _NAMED_AT_MOST} more"


def load_strictly(network: nn.Module, state: Mapping[str, Tensor], source: Path) -> None:
    """Put a state dict into a network; keys and shapes must be the network's own, no more and no less.

    The tensors become the network's own (they are not copied), so the network may live on the meta device.

    Raises:
        ModelError: keys are missing or unknown, or a tensor has another shape or kind of number, or is not finite.
    """
    expected = network.state_dict()
    missing, unknown = expected.keys() - state.keys(), state.keys() - expected.keys()
    name = type(network).__name__
    if missing or unknown:
        raise ModelError(
            f"{source} does not fit {name}: {len(missing)} keys are missing ({_some(set(missing)) or 'none'}) and "
            f"{len(unknown)} are unknown ({_some(set(unknown)) or 'none'}); give weights of exactly this network"
        )
    for key, value in state.items():
        wanted = expected[key]
        if value.shape != wanted.shape or value.is_floating_point() != wanted.is_floating_point():
            raise ModelError(
                f"{source} does not fit {name}: {key} is {value.dtype} {tuple(value.shape)}, expected {wanted.dtype} "
                f"{tuple(wanted.shape)}; give weights of exactly this network"
            )
        if not torch.isfinite(value).all():
            raise ModelError(f"{source} has NaN or infinite values in {key}; the file is damaged or its run diverged")
    typed = {key: value.to(expected[key].dtype) for key, value in state.items()}
    network.load_state_dict(typed, strict=True, assign=True)


def write_state_dict(network: nn.Module, path: Path) -> None:
    """Write a network's state dict as safetensors; ``path`` lies in a staged folder."""
    save_file({key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}, path)
