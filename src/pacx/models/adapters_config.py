"""Which low-rank adapters an encoder gets in Stage 2."""

import enum
from dataclasses import dataclass

from pacx.core.errors import ModelError
from pacx.models.vit_config import NORM_EPS


class NormsTrained(enum.Enum):
    """Which LayerNorms train beside the adapters."""

    ALL = "all"
    """Every one: the paper."""
    FINAL = "final"
    """The one behind the last block: the authors' released code."""


@dataclass(frozen=True, kw_only=True)
class LoRAConfig:
    """What trains in Stage 2; the defaults are the paper's.

    Args:
        rank: inner width of the adapters, r.
        alpha: their strength; the update is scaled by alpha / rank.
        dropout: on the adapters' input while training.
        targets: the linear layers of each block that are adapted.
        norms: the LayerNorms that train beside them.
        norm_eps: of every LayerNorm while training (released code 1e-5). The released encoder has the 1e-6 that it
            was pretrained with and that timm gives it, whatever it was trained under; with another value its
            embeddings therefore differ slightly from those in training.

    Raises:
        ModelError: a rank, alpha or epsilon that is not positive, a dropout outside [0, 1), or no target.

    Source: paper appendix A.1.2; Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models".
    """

    rank: int = 8
    alpha: float = 8
    dropout: float = 0.0
    targets: tuple[str, ...] = ("qkv", "fc1", "fc2")
    norms: NormsTrained = NormsTrained.ALL
    norm_eps: float = NORM_EPS

    def __post_init__(self) -> None:
        is_usable = self.rank >= 1 and self.alpha > 0 and 0 <= self.dropout < 1 and self.norm_eps > 0
        if not is_usable or not self.targets:
            raise ModelError(
                f"{self} is no usable adapter; give a positive rank, alpha and epsilon, a dropout in [0, 1), targets"
            )
