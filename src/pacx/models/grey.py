"""Three equal channels are one: fold an encoder for repeated grey films into one that takes the film once, and back.

A grey value x reaches a patch embedding as (x - m_c) / s_c in channel c, which is affine in x. With the contract mean 0
and standard deviation 1 for the single channel, w = sum_c w_c / s_c and b' = b - sum_c sum(w_c) m_c / s_c give the same
tokens from a third of the input. The same holds between any two contracts that differ in channels and statistics only.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from pacx.core.errors import ModelError
from pacx.core.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from pacx.models.encoders.folder import LoadedEncoder
from pacx.models.vit import config_of, vit_with_weights

_WEIGHT, _BIAS = "patch_embed.proj.weight", "patch_embed.proj.bias"


def fold_channels(encoder: LoadedEncoder) -> LoadedEncoder:
    """The same encoder for one channel of grey values in [0, 1].

    Raises:
        ModelError: it takes one channel already.
    """
    if encoder.preprocessing.num_channels == 1:
        raise ModelError("this encoder takes one channel already; use it as it is")
    return restate(encoder, replace(encoder.preprocessing, num_channels=1, mean=(0.0,), std=(1.0,)))


def unfold_channels(encoder: LoadedEncoder) -> LoadedEncoder:
    """The same encoder for a grey film repeated over three channels with ImageNet statistics, as tools expect it.

    Each channel takes a third of the film's part; ``fold_channels`` gives the single channel back.

    Raises:
        ModelError: it does not take one channel.
    """
    contract = encoder.preprocessing
    if contract.num_channels != 1:
        raise ModelError(f"this encoder takes {contract.num_channels} channels; only one can be repeated")
    return restate(encoder, replace(contract, num_channels=3, mean=IMAGENET_MEAN, std=IMAGENET_STD))


def grey_contract(contract: Preprocessing) -> Preprocessing:
    """The one-channel contract in which an error of grey weighs what it weighs on average over the given channels.

    With ``1 / s**2`` the mean of ``1 / s_c**2``, a squared error means the same under either, so that losses of one-
    and three-channel trainings may be compared. The mean is that of the channels.
    """
    std = float(np.mean([1 / each**2 for each in contract.std])) ** -0.5
    return replace(contract, num_channels=1, mean=(float(np.mean(contract.mean)),), std=(std,))


def restate(encoder: LoadedEncoder, contract: Preprocessing) -> LoadedEncoder:
    """The same encoder for the same grey films under another contract: other channels, means or deviations.

    Each channel takes an equal share of the film's part. An encoder of that very contract is returned as it is.

    Raises:
        ModelError: the contracts differ in more than that.
    """
    own = encoder.preprocessing
    if own == contract:
        return encoder
    if replace(own, num_channels=contract.num_channels, mean=contract.mean, std=contract.std) != contract:
        raise ModelError(
            f"an encoder for films of {own.image_size_px} px cannot take films of {contract.image_size_px} px; "
            "choose one of the same image size"
        )
    state = encoder.vit.state_dict()
    (own_mean, own_std), (mean, std) = _columns(own), _columns(contract)
    of_grey = state[_WEIGHT].double() / own_std  # (D, C, p, p), each acts on grey values
    bias = state[_BIAS].double() - (of_grey * own_mean).sum(dim=(1, 2, 3))
    weight = of_grey.sum(dim=1, keepdim=True) * std / contract.num_channels  # (D, C', p, p)
    return _with_projection(encoder, weight, bias + (weight * mean / std).sum(dim=(1, 2, 3)), contract)


def _columns(contract: Preprocessing) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation per channel, float64 (1, C, 1, 1)."""
    mean, std = (
        torch.tensor(values, dtype=torch.float64)[None, :, None, None] for values in (contract.mean, contract.std)
    )
    return mean, std


def _with_projection(encoder: LoadedEncoder, weight: Tensor, bias: Tensor, contract: Preprocessing) -> LoadedEncoder:
    state = {key: tensor.clone() for key, tensor in encoder.vit.state_dict().items()}
    state |= {_WEIGHT: weight.float().contiguous(), _BIAS: bias.float()}
    config = replace(config_of(encoder.vit), in_chans=contract.num_channels)
    return LoadedEncoder(vit_with_weights(config, state, encoder.pooling), contract, encoder.pooling)
