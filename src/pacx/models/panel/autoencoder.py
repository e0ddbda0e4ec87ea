"""A denoising autoencoder over a panel of measurements that knows which ones were taken.

A panel is a fixed list of quantities of which every patient has some: fifty blood tests, a handful of vital signs.
Percentiles and observed bits go in, an embedding comes out, and a decoder restores all percentiles. It is trained to
restore observed values that were hidden from it, then its encoder alone is frozen and gives the distillation targets.
``pacx.modalities.panel.panels`` makes the percentiles.

The mask is always called ``observed`` and 1 always means measured. An inverted mask crashes nothing here; the loader
checks for it (``pacx.modalities.panel.panels.check_observed_polarity``).

Source: paper appendix A.1.1 and Eq. 2; Lyce24/PACX-MAE, Models/labs_dae.py for what the paper leaves out.
"""

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pacx.core.artifacts import read_json, write_json
from pacx.core.errors import DataError, ModelError
from pacx.models.initialization import seeded_rng
from pacx.models.panel.config import DROP_FRACTION, Corruption, Panel
from pacx.models.strict_loading import load_strictly, read_state_dict, write_state_dict

_LOSS_EPS = 1e-6
_KIND = "panel-autoencoder"
_WEIGHTS, _CONFIG = "model.safetensors", "config.json"


class PanelAutoencoder(nn.Module):
    """Encoder and decoder of one panel; keys ``encoder.0/1/3`` and ``decoder.0/2``.

    Args:
        panel: what the columns are.
        hidden_dim: width between panel and embedding.
        embedding_dim: width of the embedding.
        seed: of the initial weights (PyTorch's default distributions).

    Source: released code; its decoder has no LayerNorm although the paper says that it mirrors the encoder.
    """

    def __init__(self, panel: Panel, *, hidden_dim: int = 512, embedding_dim: int = 256, seed: int = 0) -> None:
        super().__init__()
        self.panel, self.hidden_dim, self.embedding_dim = panel, hidden_dim, embedding_dim
        with seeded_rng(seed):
            self.encoder = nn.Sequential(
                nn.Linear(2 * len(panel), hidden_dim),
                nn.LayerNorm(hidden_dim),
                nn.GELU(),
                nn.Linear(hidden_dim, embedding_dim),
            )
            self.decoder = nn.Sequential(
                nn.Linear(embedding_dim, hidden_dim), nn.GELU(), nn.Linear(hidden_dim, len(panel)), nn.Sigmoid()
            )

    def encode(self, percentiles: Tensor, observed: Tensor, *, zero_missing: bool = True) -> Tensor:
        """The embedding of each patient's measurements.

        Args:
            percentiles: (B, Q) in [0, 1], columns in the order of the panel; what stands where a quantity is missing
                is ignored.
            observed: (B, Q), 1 = measured, 0 = missing.
            zero_missing: put 0 where a quantity is missing, as in training. False feeds the placeholders as they stand
                (the released code's feature extraction, which fed imputed means to a network trained on zeros).

        Returns:
            (B, embedding_dim), a raw linear output: no norm, no activation.

        Raises:
            DataError: a shape is not (B, Q).
        """
        if percentiles.ndim != 2 or percentiles.shape[1] != len(self.panel) or observed.shape != percentiles.shape:
            raise DataError(
                f"the {self.panel.name} encoder got percentiles {tuple(percentiles.shape)} and observed "
                f"{tuple(observed.shape)}, expected (patients, {len(self.panel)}) for both; give one column per "
                "quantity in the order of its panel"
            )
        observed = observed.to(percentiles.dtype)
        values = percentiles * observed if zero_missing else percentiles
        return self.encoder(torch.cat([values, observed], dim=1))  # (B, 2 Q) -> (B, D)

    def forward(self, percentiles: Tensor, observed: Tensor) -> Tensor:
        """Restored percentiles (B, Q) in (0, 1), missing ones included; arguments as in ``encode``."""
        return self.decoder(self.encode(percentiles, observed))


def corrupt(
    percentiles: Tensor,
    observed: Tensor,
    noise: Tensor,
    *,
    drop_fraction: float = DROP_FRACTION,
    corruption: Corruption = Corruption.VALUE_AND_MASK,
) -> tuple[Tensor, Tensor]:
    """Hide observed values from the encoder; the inputs stay as they are.

    Args:
        percentiles: (B, Q) in [0, 1].
        observed: (B, Q), 1 = measured.
        noise: (B, Q) uniform in [0, 1); an observed value is dropped where it is below ``drop_fraction``, each one
            independently of the others.
        drop_fraction: expected share of observed values dropped.
        corruption: whether the observed bit goes too.

    Returns:
        Percentiles with 0 where missing or dropped, and the observed mask the encoder is to see.

    Source: paper appendix A.1.1 (15 %); released code.
    """
    observed = observed.to(percentiles.dtype)
    kept = observed * (noise >= drop_fraction)
    shown = kept if corruption is Corruption.VALUE_AND_MASK else observed
    return percentiles * kept, shown


def dae_loss(reconstruction: Tensor, percentiles: Tensor, observed: Tensor, *, is_shared: bool = False) -> Tensor:
    """Mean squared error over everything that was measured, dropped or not, pooled over the batch.

    Args:
        reconstruction: (B, Q) what the decoder gave.
        percentiles: (B, Q) the clean values.
        observed: (B, Q) the original mask, before corruption.
        is_shared: the batch is spread over devices: each one's loss is then its share of the whole batch's, times the
            number of devices, so that the mean over devices is the loss.

    Source: released code; paper Eq. 2 writes it per sample, which weighs patients with few values more.
    """
    observed = observed.to(reconstruction.dtype)
    squared = observed * (reconstruction - percentiles) ** 2
    num_observed, num_devices = observed.sum(), 1
    if is_shared:  # each device's own mean would weigh a value more where fewer were measured
        dist.all_reduce(num_observed)
        num_devices = dist.get_world_size()
    return num_devices * squared.sum() / (num_observed + _LOSS_EPS)


def write_panel_autoencoder(model: PanelAutoencoder, folder: Path, *, provenance: dict[str, Any]) -> None:
    """Put model.safetensors and config.json (kind, panel, widths, provenance) into a staged folder."""
    write_state_dict(model, folder / _WEIGHTS)
    config = {
        "kind": _KIND,
        "panel": model.panel.name,
        "keys": model.panel.keys,
        "hidden_dim": model.hidden_dim,
        "embedding_dim": model.embedding_dim,
        "provenance": provenance,
    }
    write_json(folder / _CONFIG, config)


def load_panel_autoencoder(path: Path, panel: Panel) -> PanelAutoencoder:
    """Read the autoencoder of one panel from its folder; in eval mode.

    Raises:
        ModelError: the folder holds another kind of model, another panel, or weights that do not fit.
        DataError: config.json is missing or not JSON.
    """
    config = read_json(path / _CONFIG)
    if config.get("kind") != _KIND or (config.get("panel"), tuple(config.get("keys", ()))) != (panel.name, panel.keys):
        raise ModelError(
            f"{path} is not an autoencoder of {panel.name} with the {len(panel)} quantities of this version; "
            f"give a folder that training {panel.name} wrote"
        )
    with torch.device("meta"):
        model = PanelAutoencoder(panel, hidden_dim=config["hidden_dim"], embedding_dim=config["embedding_dim"])
    load_strictly(model, read_state_dict(path / _WEIGHTS), path)
    return model.eval().requires_grad_(False)
