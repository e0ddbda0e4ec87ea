"""What of an encoder moves in Stage 2: small adapters (the paper), its last blocks, or everything.

`encoder -> module that trains -> plain encoder`. Every way begins as exactly the encoder it was given and ends as a
plain one; only how much may move differs. The file imports no torch, so that help is instant; each way imports what it
works with.
"""

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pacx.core.errors import ModelError
from pacx.models.adapters_config import LoRAConfig

if TYPE_CHECKING:
    from peft import PeftModel
    from timm.models.vision_transformer import VisionTransformer
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Adaptation(ABC):
    """One way of adapting an encoder."""

    @abstractmethod
    def adapted(self, vit: "VisionTransformer", *, seed: int) -> "nn.Module":
        """A copy of the encoder of which nothing but what this way moves requires a gradient.

        Raises:
            ModelError: the encoder has no such parts.
        """

    @abstractmethod
    def release(self, model: "nn.Module", out: Path) -> "VisionTransformer":
        """The plain encoder that came of it, on the CPU; whatever else is worth keeping is written below ``out``."""


@dataclass(frozen=True, kw_only=True)
class Adapters(Adaptation, LoRAConfig):
    """LoRA and LayerNorms: the paper's way; see ``LoRAConfig``."""

    def adapted(self, vit: "VisionTransformer", *, seed: int) -> "PeftModel":
        """The encoder with low-rank adapters, which are zero at first, so that its output stays."""
        from pacx.models.adapters import add_lora

        return add_lora(vit, self, seed=seed)

    def release(self, model: "nn.Module", out: Path) -> "VisionTransformer":
        """The adapters merged in; alone they are written to ``adapter/``."""
        from pacx.models.adapters import merge_lora, save_lora

        adapted = cast("PeftModel", model)
        save_lora(adapted, out / "adapter")
        return merge_lora(adapted)


@dataclass(frozen=True, kw_only=True)
class LastBlocks(Adaptation):
    """Fine-tune the last blocks and the norm behind them, as the authors also tried.

    Args:
        num_blocks: how many, counted from the end; None fine-tunes every weight (positions excepted, which are fixed).
    """

    num_blocks: int | None = None

    def adapted(self, vit: "VisionTransformer", *, seed: int) -> "VisionTransformer":
        """With these blocks free."""
        from pacx.models.onednn import use_onednn
        from pacx.models.vit import config_of

        depth = config_of(vit).depth
        if self.num_blocks is not None and not 1 <= self.num_blocks <= depth:
            raise ModelError(f"num_blocks is {self.num_blocks}; the encoder has {depth} blocks, give 1 to {depth}")
        free = copy.deepcopy(vit).requires_grad_(self.num_blocks is None)
        cast("nn.Parameter", free.pos_embed).requires_grad_(False)
        for part in (*free.blocks[depth - (self.num_blocks or depth) :], free.norm):
            part.requires_grad_(True)
        use_onednn(free)
        return free

    def release(self, model: "nn.Module", out: Path) -> "VisionTransformer":
        """The encoder as it is."""
        from pacx.models.vit import config_of, vit_with_weights

        vit = cast("VisionTransformer", model)
        return vit_with_weights(config_of(vit), {name: tensor.cpu() for name, tensor in vit.state_dict().items()})
