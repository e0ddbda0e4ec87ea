"""Exponential moving averages of weights: what a run may release in place of its last step, and what a teacher is.

After each optimiser step ``average = decay * average + (1 - decay) * current``, from the weights at the start, without
bias correction: after T steps ``decay**T w_0 + (1 - decay) sum_t decay**(T - t) w_t``. ``blend`` is the arithmetic,
``follow`` applies it to a pair of modules, ``MovingAverage`` keeps the average of one module beside it.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from pacx.core.errors import ModelError
from pacx.models.ema_config import require_decay


@torch.no_grad()
def blend(averages: Sequence[Tensor], current: Sequence[Tensor], decay: float) -> None:
    """Move every average a step towards its current value, in place and in the average's own number format.

    Args:
        averages: float tensors of any shapes.
        current: as many, of the same shapes; other float formats are converted first.
        decay: share of the average that stays, in [0, 1].
    """
    towards = [value.detach().to(mean.dtype) for mean, value in zip(averages, current, strict=True)]
    torch._foreach_lerp_(list(averages), towards, 1 - decay)


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, decay: float) -> None:
    """One step of a teacher that is the moving average of its student: parameters averaged, buffers copied.

    Args:
        teacher: begins as a copy of the student, and gets no gradients.
        student: a module with the same names and shapes.
        decay: share of the teacher that stays, in [0, 1].

    Raises:
        ModelError: the two have different parameters or buffers.
    """
    means, values = dict(teacher.named_parameters()), dict(student.named_parameters())
    kept, new = dict(teacher.named_buffers()), dict(student.named_buffers())
    _require_same(means, values)
    _require_same(kept, new)
    blend(list(means.values()), [values[name] for name in means], decay)
    for name, buffer in kept.items():
        buffer.copy_(new[name])


class MovingAverage:
    """The average of the parameters of a module that train, in 32 bit, beside the module.

    Args:
        module: its present weights are the first average; frozen parameters and buffers are not averaged.
        decay: share of the average that stays at each step, in (0, 1).

    Raises:
        UsageError: the decay lies outside of its range.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        require_decay(decay)
        self.decay = decay
        self._trained = {name: each for name, each in module.named_parameters() if each.requires_grad}
        self._averages = {
            name: each.detach().to(torch.float32, copy=True) for name, each in self._trained.items()
        }  # 32 bit: in 16, a step's share of 1 - decay would be rounded away

    def update(self) -> None:
        """Take in the module's weights after a step; nothing waits for the device."""
        blend(list(self._averages.values()), list(self._trained.values()), self.decay)

    def state_dict(self) -> dict[str, Tensor]:
        """The averages by parameter name, not copied."""
        return dict(self._averages)

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from averages that were saved.

        Raises:
            ModelError: they belong to a module with other parameters.
        """
        _require_same(self._averages, state)
        for name, average in self._averages.items():
            average.copy_(state[name])

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the module carry the averages for the length of the block; its own weights come back to the bit."""
        own = {name: each.detach().clone() for name, each in self._trained.items()}
        self.put_in_place()
        try:
            yield
        finally:
            self._assign(own)

    def put_in_place(self) -> None:
        """Give the module the averages for good."""
        self._assign(self._averages)

    @torch.no_grad()
    def _assign(self, values: Mapping[str, Tensor]) -> None:
        for name, each in self._trained.items():
            each.copy_(values[name])


def _require_same(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> None:
    odd = sorted(ours.keys() ^ theirs.keys())
    odd += [name for name in sorted(ours.keys() & theirs.keys()) if ours[name].shape != theirs[name].shape]
    if odd:
        raise ModelError(
            f"a moving average needs two modules of the same make, but {odd[0]} is not alike in both; "
            "build the one as a copy of the other"
        )
