"""Any timm model as a film encoder: by name, by name with a checkpoint of one's own, or from a folder timm writes.

`config.json + weights -> timm model -> FilmEncoder`. The classifier is loaded with everything else, so that a key too
few or too many is noticed, and taken off afterwards. Position embeddings of another grid are interpolated by timm, as
its users expect. Refuses weights that do not fit, and pickles that could run code.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import timm
from timm.data import resolve_model_data_config
from timm.models import PretrainedCfg
from torch import Tensor

from pacx.core.artifacts import read_json
from pacx.core.errors import DataError, ModelError
from pacx.models.encoders.film_encoder import EncoderOutput, ForeignEncoder, square_contract, tokens_of_grid
from pacx.models.encoders.hub import hub_file
from pacx.models.strict_loading import read_state_dict

_WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")


@dataclass(frozen=True, kw_only=True)
class TimmEncoder(ForeignEncoder):
    """A timm model without its classifier; its own pooling is what its classifier stood on."""

    def output(self, images: Tensor) -> EncoderOutput:
        """Run the network once."""
        network = cast("Any", self.module)
        features: Tensor = network.forward_features(images)
        own: Tensor = network.forward_head(features, pre_logits=True)
        if features.ndim == 4:
            is_channels_last = getattr(network, "output_fmt", "NCHW") == "NHWC"
            return EncoderOutput(own, None, tokens_of_grid(features, is_channels_last=is_channels_last))
        if features.ndim != 3:
            return EncoderOutput(own, None, None)
        num_prefix = getattr(network, "num_prefix_tokens", 0)
        has_class_token = num_prefix > 0 and getattr(network, "cls_token", None) is not None
        return EncoderOutput(own, features[:, 0] if has_class_token else None, features[:, num_prefix:])


def open_timm_model(name: str, checkpoint: Path | None = None) -> TimmEncoder:
    """A model by timm's name, with its published weights or a checkpoint's.

    Args:
        name: for example ``resnet50`` or ``vit_small_patch14_dinov2.lvd142m``.
        checkpoint: a safetensors or torch file of this model; None = the published weights, cached or fetched.

    Raises:
        ModelError: timm knows no such model, its weights cannot be had, or they do not fit.
    """
    if not timm.is_model(name):
        raise ModelError(f"timm {timm.__version__} knows no model '{name}'; see timm.list_models('*part*of*name*')")
    try:
        published = cast("PretrainedCfg", timm.get_pretrained_cfg(name, allow_unregistered=False))
    except RuntimeError as error:
        raise ModelError(f"timm has no weights '{name}' ({_first_line(error)})") from error
    if checkpoint is None:
        if not published.hf_hub_id:
            raise ModelError(f"timm publishes no weights of '{name}'; give a file of yours, timm:{name},FILE")
        checkpoint = Path(hub_file(published.hf_hub_id, published.hf_hub_filename or "model.safetensors"))
    return _built(name, published.classifier, checkpoint, shown=f"timm's {name}")


def open_timm_folder(folder: Path) -> TimmEncoder:
    """A folder with ``config.json`` (architecture, model_args, pretrained_cfg) and one file of weights.

    Raises:
        ModelError: a file is missing or damaged, timm does not know the architecture, or the weights do not fit.
    """
    try:
        config = read_json(folder / "config.json")
        name, published = config["architecture"], config.get("pretrained_cfg", config)
        is_without_input = "model_args" in config and "pretrained_cfg" not in config
    except (DataError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{folder / 'config.json'} names no 'architecture', as timm's do") from error
    if not timm.is_model(name):
        raise ModelError(f"{folder / 'config.json'} names '{name}', which timm {timm.__version__} does not know")
    if is_without_input:
        raise ModelError(
            f'{folder / "config.json"} does not say what the encoder is fed; add "pretrained_cfg": '
            '{"input_size": [3, H, W], "mean": [...], "std": [...]} of its makers'
        )
    found = sorted(
        (path for path in folder.iterdir() if path.suffix in _WEIGHT_SUFFIXES),
        key=lambda path: (_WEIGHT_SUFFIXES.index(path.suffix), path.name),
    )
    if not found:
        raise ModelError(f"{folder} holds no weights; expected a file ending in {', '.join(_WEIGHT_SUFFIXES)}")
    return _built(f"local-dir:{folder}", published.get("classifier"), found[0], shown=str(folder))


def _built(source: str, classifier: str | Sequence[str] | None, weights: Path, *, shown: str) -> TimmEncoder:
    """A model as timm builds it from ``source``, with these weights and no classifier."""
    state = read_state_dict(weights)
    first = classifier if isinstance(classifier, str) else next(iter(classifier or ("",)))
    head = state.get(f"{first}.weight")
    num_classes = 0 if head is None else len(head)
    # no "source", or timm would look for the weights itself
    overlay = {"state_dict": state, "num_classes": num_classes, "label_offset": 0, "source": ""}
    try:
        network: Any = timm.create_model(
            source, pretrained=True, num_classes=num_classes, pretrained_cfg_overlay=overlay
        )
    except (RuntimeError, KeyError, TypeError, ValueError, AssertionError) as error:
        raise ModelError(f"{weights} does not fit {shown}: {_first_line(error)}") from error
    if num_classes:
        network.reset_classifier(0)
    data = resolve_model_data_config(network)
    network.pretrained_cfg.pop("state_dict", None)  # a second copy of all weights
    contract = square_contract(shown, tuple(data["input_size"]), tuple(data["mean"]), tuple(data["std"]))
    return TimmEncoder(name=shown, module=network.eval(), preprocessing=contract)


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
