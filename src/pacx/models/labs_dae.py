"""The lab encoder: a denoising autoencoder that knows which values were measured.

Fifty percentiles and fifty observed bits go in; 256 numbers describe the patient's blood; fifty percentiles come out.
It is trained to restore observed values that were hidden from it, then its encoder alone is frozen and gives the
distillation targets. ``pacx.modalities.labs`` makes the percentiles.

The mask is always called ``observed`` and 1 always means measured. An inverted mask crashes nothing here; the loader
checks for it (``pacx.modalities.labs.check_observed_polarity``).

Source: paper appendix A.1.1 and Eq. 2; Lyce24/PACX-MAE, Models/labs_dae.py for what the paper leaves out.
"""

from enum import Enum
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pacx.core.artifacts import read_json, staged_directory, write_json
from pacx.core.errors import DataError, ModelError
from pacx.core.vocabulary import LAB_ITEM_IDS, NUM_LABS
from pacx.models.strict_loading import load_strictly, read_state_dict, write_state_dict

EMBEDDING_DIM = 256
DROP_FRACTION = 0.15

_HIDDEN_DIM = 512
_LOSS_EPS = 1e-6
_KIND = "labs-denoising-autoencoder"


class LabCorruption(Enum):
    """What happens to a value hidden from the encoder in training.

    VALUE_AND_MASK: value and observed bit both become 0, as if the test had not been ordered (released code).
    VALUE_ONLY: the value becomes 0 and still counts as observed, like a true percentile of 0 (paper's wording).
    """

    VALUE_AND_MASK = "value-and-mask"
    VALUE_ONLY = "value-only"


class LabsDenoisingAutoencoder(nn.Module):
    """The network of 341,298 parameters; keys ``encoder.0/1/3`` and ``decoder.0/2``.

    Args:
        seed: of the initial weights (PyTorch's default distributions).

    Source: released code; its decoder has no LayerNorm although the paper says that it mirrors the encoder.
    """

    def __init__(self, *, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.encoder = nn.Sequential(
                nn.Linear(2 * NUM_LABS, _HIDDEN_DIM),
                nn.LayerNorm(_HIDDEN_DIM),
                nn.GELU(),
                nn.Linear(_HIDDEN_DIM, EMBEDDING_DIM),
            )
            self.decoder = nn.Sequential(
                nn.Linear(EMBEDDING_DIM, _HIDDEN_DIM), nn.GELU(), nn.Linear(_HIDDEN_DIM, NUM_LABS), nn.Sigmoid()
            )

    def encode(self, percentiles: Tensor, observed: Tensor, *, zero_missing: bool = True) -> Tensor:
        """The embedding of each patient's labs.

        Args:
            percentiles: (B, 50) in [0, 1], columns in the order of ``LAB_ITEM_IDS``; what stands where a test is
                missing is ignored.
            observed: (B, 50), 1 = measured, 0 = missing.
            zero_missing: put 0 where a test is missing, as in training. False feeds the placeholders as they stand
                (the released code's feature extraction, which fed imputed means to a network trained on zeros).

        Returns:
            (B, 256), a raw linear output: no norm, no activation.

        Raises:
            DataError: a shape is not (B, 50).
        """
        if percentiles.ndim != 2 or percentiles.shape[1] != NUM_LABS or observed.shape != percentiles.shape:
            raise DataError(
                f"lab encoder got percentiles {tuple(percentiles.shape)} and observed {tuple(observed.shape)}, "
                f"expected (patients, {NUM_LABS}) for both; give one column per test in the order of LAB_ITEM_IDS"
            )
        observed = observed.to(percentiles.dtype)
        values = percentiles * observed if zero_missing else percentiles
        return self.encoder(torch.cat([values, observed], dim=1))  # (B, 100) -> (B, 256)

    def forward(self, percentiles: Tensor, observed: Tensor) -> Tensor:
        """Restored percentiles (B, 50) in (0, 1), missing tests included; arguments as in ``encode``."""
        return self.decoder(self.encode(percentiles, observed))


def corrupt(
    percentiles: Tensor,
    observed: Tensor,
    noise: Tensor,
    *,
    drop_fraction: float = DROP_FRACTION,
    corruption: LabCorruption = LabCorruption.VALUE_AND_MASK,
) -> tuple[Tensor, Tensor]:
    """Hide observed values from the encoder; the inputs stay as they are.

    Args:
        percentiles: (B, 50) in [0, 1].
        observed: (B, 50), 1 = measured.
        noise: (B, 50) uniform in [0, 1); an observed value is dropped where it is below ``drop_fraction``, each one
            independently of the others.
        drop_fraction: expected share of observed values dropped.
        corruption: whether the observed bit goes too.

    Returns:
        Percentiles with 0 where missing or dropped, and the observed mask the encoder is to see.

    Source: paper appendix A.1.1 (15 %); released code.
    """
    observed = observed.to(percentiles.dtype)
    kept = observed * (noise >= drop_fraction)
    shown = kept if corruption is LabCorruption.VALUE_AND_MASK else observed
    return percentiles * kept, shown


def dae_loss(reconstruction: Tensor, percentiles: Tensor, observed: Tensor) -> Tensor:
    """Mean squared error over everything that was measured, dropped or not, pooled over the batch.

    Args:
        reconstruction: (B, 50) what the decoder gave.
        percentiles: (B, 50) the clean values.
        observed: (B, 50) the original mask, before corruption.

    Source: released code; paper Eq. 2 writes it per sample, which weighs patients with few labs more.
    """
    observed = observed.to(reconstruction.dtype)
    squared = observed * (reconstruction - percentiles) ** 2
    return squared.sum() / (observed.sum() + _LOSS_EPS)


def save_labs_dae(model: LabsDenoisingAutoencoder, out: Path, *, provenance: dict[str, Any]) -> None:
    """Write the folder ``load_labs_dae`` reads: model.safetensors and config.json (kind, item ids, provenance)."""
    with staged_directory(out) as folder:
        write_state_dict(model, folder / "model.safetensors")
        write_json(folder / "config.json", {"kind": _KIND, "item_ids": LAB_ITEM_IDS, "provenance": provenance})


def load_labs_dae(path: Path) -> LabsDenoisingAutoencoder:
    """Read a folder written by ``save_labs_dae``; in eval mode.

    Raises:
        ModelError: the folder holds another kind of model, other lab tests, or weights that do not fit.
        DataError: config.json is missing or not JSON.
    """
    config = read_json(path / "config.json")
    if config.get("kind") != _KIND or tuple(config.get("item_ids", ())) != LAB_ITEM_IDS:
        raise ModelError(
            f"{path} is not a lab autoencoder for the {NUM_LABS} tests of this version; "
            "give a folder that lab training wrote"
        )
    with torch.device("meta"):
        model = LabsDenoisingAutoencoder()
    load_strictly(model, read_state_dict(path / "model.safetensors"), path)
    return model.eval().requires_grad_(False)
