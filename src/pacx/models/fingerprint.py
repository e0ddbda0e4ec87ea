"""What a network's weights are, in one number: results and targets made with other weights can be told from it."""

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # processes that only filter recordings start four times faster without torch
    from torch import nn


def weights_sha256(network: "nn.Module") -> str:
    """SHA-256 over the kind of a network and every tensor of its state dict, by name."""
    digest = hashlib.sha256(type(network).__name__.encode())
    for key, value in sorted(network.state_dict().items()):
        digest.update(f"{key}{value.dtype}{tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()
