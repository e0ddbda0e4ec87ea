"""Low-rank adapters: teach an encoder physiology by moving one weight in a hundred.

Stage 2 freezes the anatomical prior and trains LoRA matrices on the attention and MLP projections together with the
LayerNorms (peft does the work); afterwards the matrices are merged, and what is left is a plain encoder again. It
refuses to merge when the merged encoder does not give the same embeddings.
"""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from peft import (
    LoraConfig,
    PeftConfig,
    PeftModel,
    get_peft_model,
    get_peft_model_state_dict,
    set_peft_model_state_dict,
)
from peft.tuners.lora.layer import Linear as PeftLinear
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from pacx.core.artifacts import staged_directory
from pacx.core.errors import ModelError
from pacx.core.randomness import seed_of
from pacx.models.adapters_config import LoRAConfig, NormsTrained
from pacx.models.initialization import seeded_rng
from pacx.models.onednn import adapted_linear, is_suitable, use_onednn
from pacx.models.vit import config_of, vit_with_weights
from pacx.models.vit_config import NORM_EPS

_LARGEST_MERGE_ERROR = 1e-5
_PROBE_IMAGES = 2


@dataclass(frozen=True, kw_only=True)
class TrainableSummary:
    """How much of a model trains, in numbers of parameters."""

    num_total: int
    num_trainable: int
    num_lora: int
    num_norm: int

    @property
    def trainable_fraction(self) -> float:
        """Trainable share of all parameters, adapters included."""
        return self.num_trainable / self.num_total


def add_lora(vit: VisionTransformer, config: LoRAConfig, *, seed: int) -> PeftModel:
    """Give a copy of an encoder adapters; nothing else than adapters and the chosen norms requires a gradient.

    Before the first step the adapted encoder computes exactly what the encoder does (one factor starts at zero), unless
    the epsilon of its norms is another.

    Args:
        vit: a plain encoder; it is left as it is.
        config: what trains.
        seed: fixes the adapters' start; torch's global generator is left alone.

    Raises:
        ModelError: a target names no linear layer of the blocks, or the network is no plain ViT.
    """
    _require_plain(vit)
    adapted = copy.deepcopy(vit)
    _set_norm_eps(adapted, config.norm_eps)
    linear = (name for name, layer in adapted.blocks.named_modules() if isinstance(layer, nn.Linear))
    known = {name.rpartition(".")[2] for name in linear}
    unknown = [target for target in config.targets if target not in known]
    if unknown:
        raise ModelError(
            f"LoRA target '{unknown[0]}' is no linear layer of the encoder's blocks; use qkv, proj, fc1, fc2"
        )
    settings = LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,  # type: ignore[arg-type]  # annotated int, used as a factor
        lora_dropout=config.dropout,
        target_modules=rf"blocks\.\d+\.(attn|mlp)\.({'|'.join(config.targets)})",
        bias="none",
    )
    with seeded_rng(seed_of(seed, "lora")):
        model = get_peft_model(adapted, settings)
    use_onednn(model)
    multiply_at_once(model)
    norms = adapted.modules() if config.norms is NormsTrained.ALL else adapted.norm.modules()
    for layer in norms:
        if isinstance(layer, nn.LayerNorm):
            layer.requires_grad_(True)
    return model


class AdaptedLinear(PeftLinear):
    """peft's layer, multiplied at once where nothing but one plain adapter is on; its parameters are peft's.

    peft multiplies by the frozen weight and by both factors and adds; on a CPU the thin products and the sums are a
    third of a step (ADR 0051). Adapters with dropout, merged, switched off or on a GPU are peft's own business.
    """

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:  # noqa: ANN401 - as peft's
        """(..., in_features) to (..., out_features)."""
        base, names = cast("nn.Linear", self.base_layer), self.active_adapters
        is_plain = (
            len(names) == 1
            and names[0] in self.lora_A
            and not (args or kwargs or self.merged or self.disable_adapters or self.lora_variant)
            and isinstance(self.lora_dropout[names[0]], nn.Identity)
            and not any(parameter.requires_grad for parameter in base.parameters())
        )
        if is_plain:
            down, up = (cast("Tensor", side[names[0]].weight) for side in (self.lora_A, self.lora_B))  # (r, K), (N, r)
            if is_suitable(x, base.weight, base.bias, down, up):
                return adapted_linear(x, base.weight, base.bias, down, up, self.scaling[names[0]])
        return super().forward(x, *args, **kwargs)


def multiply_at_once(model: nn.Module, *, at_once: bool = True) -> None:
    """Let every linear layer with adapters multiply as ``AdaptedLinear``, or as peft again."""
    was, becomes = (PeftLinear, AdaptedLinear) if at_once else (AdaptedLinear, PeftLinear)
    for layer in model.modules():
        if type(layer) is was:
            layer.__class__ = becomes


def trainable_summary(model: nn.Module) -> TrainableSummary:
    """Count what trains in an adapted encoder, or in any model."""
    named = list(model.named_parameters())
    norms = {
        id(parameter)
        for layer in model.modules()
        if isinstance(layer, nn.LayerNorm)
        for parameter in layer.parameters()
    }
    trainable = [(name, parameter) for name, parameter in named if parameter.requires_grad]
    return TrainableSummary(
        num_total=sum(parameter.numel() for _, parameter in named),
        num_trainable=sum(parameter.numel() for _, parameter in trainable),
        num_lora=sum(parameter.numel() for name, parameter in trainable if ".lora_" in name),
        num_norm=sum(parameter.numel() for _, parameter in trainable if id(parameter) in norms),
    )


def save_lora(model: PeftModel, out: Path) -> None:
    """Write the adapters alone, in peft's format, with ``norms.safetensors``: the trained LayerNorms by encoder key.

    ``load_lora`` puts both back into the Stage-1 encoder.
    """
    norms = {
        name.removeprefix("base_model.model."): parameter.detach()
        .cpu()
        .contiguous()  # peft's levels around the encoder
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and ".lora_" not in name
    }
    with staged_directory(out) as folder:
        model.save_pretrained(str(folder))
        save_file(norms, folder / "norms.safetensors")


@torch.no_grad()
def load_lora(vit: VisionTransformer, folder: Path) -> PeftModel:
    """A copy of an encoder with adapters that ``save_lora`` or peft wrote: every one of them, or none.

    peft itself loads what happens to fit, and of a deeper network's adapters drops the rest in silence.

    Args:
        vit: the encoder they were trained on; it is left as it is.
        folder: ``adapter_config.json`` and ``adapter_model.safetensors``, with ``norms.safetensors`` if norms trained.

    Raises:
        ModelError: a file is missing or damaged, the adapters are no LoRA, or they are of another architecture.
    """
    _require_plain(vit)
    try:
        settings = PeftConfig.from_pretrained(str(folder))
        weights = load_file(folder / "adapter_model.safetensors")
        norms = load_file(folder / "norms.safetensors") if (folder / "norms.safetensors").is_file() else {}
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{folder} holds no adapters that peft can read: {reason}") from error
    if not isinstance(settings, LoraConfig):
        raise ModelError(f"{folder} holds adapters of kind {settings.peft_type}; only LoRA is read")
    adapted = copy.deepcopy(vit)
    try:
        model = get_peft_model(adapted, settings)
    except ValueError as error:  # no layer is called so
        raise ModelError(f"the adapters in {folder} are of another architecture: {error}") from error
    of_encoder, given = dict(adapted.named_parameters()), weights | norms
    wanted = get_peft_model_state_dict(model) | {key: of_encoder[key] for key in norms if key in of_encoder}
    unfit = {key for key in wanted.keys() & given.keys() if wanted[key].shape != given[key].shape}
    if unfit := unfit | (wanted.keys() ^ given.keys()):
        raise ModelError(
            f"the adapters in {folder} do not fit this encoder in {len(unfit)} weights, first {min(unfit)}; give the "
            "encoder that they were trained on"
        )
    set_peft_model_state_dict(model, weights)
    for key, value in norms.items():
        of_encoder[key].copy_(value)
    return model.eval()


@torch.no_grad()
def merge_lora(model: PeftModel) -> VisionTransformer:
    """Fold the adapters into a plain encoder, in float32 on the CPU; the adapted model is left as it is.

    The two are compared under the epsilon that was trained with; the returned encoder has ``NORM_EPS``.

    Returns:
        The encoder, on the CPU, in eval mode.

    Raises:
        ModelError: the merged encoder's tokens differ from the adapted one's by more than 1e-5 (relative L2).
    """
    adapted = copy.deepcopy(model).to("cpu", torch.float32).eval()
    multiply_at_once(adapted, at_once=False)  # ours adds it to the weight, and would round like the merge
    norm_eps = next(layer.eps for layer in adapted.modules() if isinstance(layer, nn.LayerNorm))
    _set_norm_eps(adapted, NORM_EPS)
    config = config_of(cast("VisionTransformer", adapted.get_base_model()))
    _set_norm_eps(adapted, norm_eps)
    shape = (_PROBE_IMAGES, config.in_chans, config.img_size, config.img_size)
    probe = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    before = adapted.forward_features(probe)  # (2, 1 + L, D)
    merged = vit_with_weights(config, adapted.merge_and_unload(safe_merge=True).state_dict())
    _set_norm_eps(merged, norm_eps)
    after = merged.forward_features(probe)
    error = float(torch.linalg.vector_norm(after - before) / torch.linalg.vector_norm(before))
    if not error <= _LARGEST_MERGE_ERROR:  # NaN fails too
        raise ModelError(
            f"merging the adapters changed the encoder's output by {error:.1e} (relative), at most "
            f"{_LARGEST_MERGE_ERROR:.0e} is allowed; the weights are too large for float32 or not finite"
        )
    _set_norm_eps(merged, NORM_EPS)
    return merged


def _require_plain(vit: nn.Module) -> None:
    if not isinstance(vit, VisionTransformer):  # BEiT and EVA multiply by their layers' weights and never call them
        raise ModelError(
            f"adapters do nothing in a {type(vit).__name__}, whose layers are not called one by one; take a plain ViT"
        )


def _set_norm_eps(model: nn.Module, norm_eps: float) -> None:
    for layer in model.modules():
        if isinstance(layer, nn.LayerNorm):
            layer.eps = norm_eps
