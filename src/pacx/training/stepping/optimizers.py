"""The optimiser of a stage: AdamW, or Muon for weight matrices with AdamW for the rest.

`parameter groups + TrainingConfig -> optimiser -> loop, checkpoints`. The two are one optimiser to everybody else: one
list of groups, one state, so that schedules, clipping, gradient scaling and checkpoints need not know of it.
"""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import torch
from torch.optim import AdamW, Optimizer

from pacx.core.errors import UsageError
from pacx.training.config import MatrixOptimizer, TrainingConfig
from pacx.training.stepping.muon import Muon
from pacx.training.task import ParameterGroup


def build_optimizer(groups: Sequence[ParameterGroup], config: TrainingConfig, device: torch.device) -> Optimizer:
    """The optimiser over a stage's parameter groups, AdamW in one fused kernel where gradient scaling allows it.

    Raises:
        UsageError: Muon is asked for and there is no matrix for it.
    """
    is_fused = device.type in {"cpu", "cuda"} and config.precision != "16-mixed"
    settings: dict[str, Any] = {"lr": config.learning_rate, "betas": config.betas, "fused": is_fused}
    if config.matrix_optimizer is None:
        return AdamW([_as_torch(group.parameters, group.weight_decay) for group in groups], **settings)
    assert config.matrix_optimizer is MatrixOptimizer.MUON
    return MuonWithAdamW(groups, factor=config.matrix_rate_factor or 1.0, **settings)


class MuonWithAdamW(Optimizer):
    """Muon for parameters of two axes, AdamW for all others, as one optimiser.

    Steps of both are of one size (``Muon``) where the factor is 1, so that they can have one rate and one decay.

    Args:
        groups: of a stage; each is divided, and keeps its decay.
        lr: the rate of both.
        factor: how much larger Muon's steps are.
        betas: AdamW's.
        fused: AdamW in one kernel.

    Raises:
        UsageError: no parameter has two axes.
    """

    def __init__(
        self,
        groups: Sequence[ParameterGroup],
        *,
        lr: float,
        factor: float,
        betas: tuple[float, float],
        fused: bool,
    ) -> None:
        matrices: list[dict[str, Any]] = []
        others: list[dict[str, Any]] = []
        for group in groups:
            for is_matrix, part in ((True, matrices), (False, others)):
                chosen = [each for each in group.parameters if (each.ndim == 2) is is_matrix]
                if chosen:
                    part.append(_as_torch(chosen, group.weight_decay))
        if not matrices:
            raise UsageError("training: no weight matrix trains here, so leave --training.matrix-optimizer out")
        self._parts: list[Optimizer] = [Muon(matrices, lr=lr, factor=factor)]
        self._parts += [AdamW(others, lr=lr, betas=betas, fused=fused)] if others else []
        self._sizes = [len(part.param_groups) for part in self._parts]
        # the same dictionaries: whoever sets a rate here sets it there
        super().__init__(list(chain(*(part.param_groups for part in self._parts))), {})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]  # torch overloads it; our loop gives no closure
        """Take a step of both."""
        assert closure is None
        first = 0
        for part, size in zip(self._parts, self._sizes, strict=True):
            # anew in every step: loading a checkpoint replaces both
            part.param_groups, part.state = self.param_groups[first : first + size], self.state
            part.step()
            first += size


def _as_torch(parameters: Sequence[torch.nn.Parameter], weight_decay: float) -> dict[str, Any]:
    return {"params": list(parameters), "weight_decay": weight_decay}
