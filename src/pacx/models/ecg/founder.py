"""ECGFounder: the frozen ECG encoder of the distillation stage, key for key and number for number.

A RegNet-like one-dimensional residual network (its authors call it Net1D) of 30.8 million parameters: a stem, seven
stages of pre-activation bottleneck blocks with grouped convolutions and squeeze-and-excitation, and the mean over time
as the 1024-number feature. It turns 12 leads of 10 s at 500 Hz into the target an X-ray embedding is pulled towards.

The official checkpoint stores 61 batch normalisations that its configuration never applies. They are kept here so
that the checkpoint loads strictly, and are never called: train and eval mode give the same numbers.

It refuses input that is not (batch, leads, time), and weights whose keys are not exactly the official 509.

Source: PKUDigitalHealth/ECGFounder (net1d.py, finetune_model.py), as described in the specification of the ECG side.
"""

from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pacx.core.errors import DataError, ModelError
from pacx.models.ecg.input import ECG_FOUNDER_INPUT, ECG_FOUNDER_ONE_LEAD_INPUT, EcgPreprocessing
from pacx.models.strict_loading import load_strictly, read_state_dict

FEATURE_DIM = 1024
NUM_CLASSES = 150

_KERNEL = 16
_STEM_CHANNELS = 64
_GROUP_WIDTH = 16
_STAGE_CHANNELS = (64, 160, 160, 400, 400, 1024, 1024)
_STAGE_BLOCKS = (2, 2, 2, 3, 3, 4, 4)


class ECGFounderOutput(NamedTuple):
    """What the network gives: ``logits`` (B, 150) of its multi-label head, ``features`` (B, 1024)."""

    logits: Tensor
    features: Tensor


class _SameConv(nn.Module):
    """Convolution with TensorFlow's SAME padding: ceil(T / stride) samples come out, the odd zero goes to the right."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv1d(in_channels, out_channels, kernel, stride=stride, groups=groups)
        self._kernel, self._stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        length = x.shape[-1]
        length_out = -(-length // self._stride)
        total = max(0, (length_out - 1) * self._stride + self._kernel - length)
        return self.conv(F.pad(x, (total // 2, total - total // 2)))


class _Block(nn.Module):
    """Pre-activation bottleneck: 1x1, grouped 16, 1x1, squeeze-and-excitation, plus the raw input."""

    def __init__(self, in_channels: int, channels: int, *, is_first: bool, downsamples: bool) -> None:
        super().__init__()
        self._is_first, self._downsamples = is_first, downsamples
        self._extra_channels = channels - in_channels
        self.bn1 = nn.BatchNorm1d(in_channels)  # this and the other two: stored, never applied
        self.conv1 = _SameConv(in_channels, channels, 1)
        self.bn2 = nn.BatchNorm1d(channels)
        stride = 2 if downsamples else 1
        self.conv2 = _SameConv(channels, channels, _KERNEL, stride, channels // _GROUP_WIDTH)
        self.bn3 = nn.BatchNorm1d(channels)
        self.conv3 = _SameConv(channels, channels, 1)
        self.se_fc1 = nn.Linear(channels, channels // 2)
        self.se_fc2 = nn.Linear(channels // 2, channels)

    def _shortcut(self, x: Tensor) -> Tensor:
        if self._downsamples:
            # A zero on the right, then floor mode: with odd T the last window is max(x_last, 0), not x_last.
            x = F.max_pool1d(F.pad(x, (0, 1)), kernel_size=2, stride=2)
        if self._extra_channels:
            before = self._extra_channels // 2
            x = F.pad(x, (0, 0, before, self._extra_channels - before))
        return x

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv1(x if self._is_first else F.silu(x))
        out = self.conv2(F.silu(out))
        out = self.conv3(F.silu(out))
        gate = torch.sigmoid(self.se_fc2(F.silu(self.se_fc1(out.mean(-1)))))  # (B, C)
        return out * gate[:, :, None] + self._shortcut(x)


class _Stage(nn.Module):
    def __init__(self, in_channels: int, channels: int, num_blocks: int, *, is_first: bool) -> None:
        super().__init__()
        self.block_list = nn.ModuleList(
            _Block(
                in_channels if index == 0 else channels,
                channels,
                is_first=is_first and index == 0,
                downsamples=index == 0,
            )
            for index in range(num_blocks)
        )

    def forward(self, x: Tensor) -> Tensor:
        for block in self.block_list:
            x = block(x)
        return x


class ECGFounder(nn.Module):
    """The ECGFounder network with the official 509 state-dict keys.

    Args:
        num_leads: 12 (order of ``ECG_LEADS``) or 1 (lead I).
        num_classes: width of the classification head, which the feature does not depend on.

    A new instance has PyTorch's default weights; ``load_ecg_founder`` gives the trained one.

    Source: PKUDigitalHealth/ECGFounder, released configuration (batch normalisation and dropout off).
    """

    def __init__(self, num_leads: int, *, num_classes: int = NUM_CLASSES) -> None:
        super().__init__()
        self.num_leads = num_leads
        self.first_conv = _SameConv(num_leads, _STEM_CHANNELS, _KERNEL, stride=2)
        self.first_bn = nn.BatchNorm1d(_STEM_CHANNELS)  # stored, never applied
        stages: list[_Stage] = []
        in_channels = _STEM_CHANNELS
        for channels, num_blocks in zip(_STAGE_CHANNELS, _STAGE_BLOCKS, strict=True):
            stages.append(_Stage(in_channels, channels, num_blocks, is_first=not stages))
            in_channels = channels
        self.stage_list = nn.ModuleList(stages)
        self.dense = nn.Linear(FEATURE_DIM, num_classes)

    @property
    def preprocessing(self) -> EcgPreprocessing:
        """The input contract: all twelve leads, or lead I."""
        return ECG_FOUNDER_INPUT if self.num_leads > 1 else ECG_FOUNDER_ONE_LEAD_INPUT

    def forward(self, signals: Tensor) -> ECGFounderOutput:
        """Logits and features of prepared recordings.

        Args:
            signals: (B, leads, T) after ``preprocessing``; trained with T = 5000, any T works; no NaN.

        Raises:
            DataError: the second axis is not the leads, for example because time and leads are exchanged.
        """
        if signals.ndim != 3 or signals.shape[1] != self.num_leads:
            raise DataError(
                f"ECGFounder got signals of shape {tuple(signals.shape)}, expected (records, {self.num_leads} leads, "
                "time); transpose recordings that have time before leads"
            )
        x = F.silu(self.first_conv(signals))  # (B, 64, T/2)
        for stage in self.stage_list:
            x = stage(x)
        features = x.mean(-1)  # (B, 1024)
        return ECGFounderOutput(self.dense(features), features)

    def embed(self, signals: Tensor) -> Tensor:
        """The feature alone, (B, 1024): the distillation target of a record (B, leads, T)."""
        return self.forward(signals).features


def load_ecg_founder(path: Path) -> ECGFounder:
    """The trained network from the official checkpoint, or from its tensors as safetensors; in eval mode.

    The number of leads is read off the file. ``pacx.models.ecg.founder_conversion`` turns the one into
    the other. Torch files are opened with ``weights_only=True`` and nothing else.

    Raises:
        ModelError: the file is missing, damaged, holds more than tensors, or is not exactly this network.
    """
    state = read_state_dict(path)
    stem = state.get("first_conv.conv.weight")
    if stem is None or stem.ndim != 3:
        raise ModelError(f"{path} has no first_conv.conv.weight (64, leads, 16); give an ECGFounder checkpoint")
    with torch.device("meta"):
        network = ECGFounder(stem.shape[1])
    load_strictly(network, state, path)
    return network.eval().requires_grad_(False)
