"""The paper's lab encoder: the panel autoencoder over Symile-MIMIC's fifty tests, 341,298 parameters.

Source: paper appendix A.1.1; Lyce24/PACX-MAE, Models/labs_dae.py.
"""

from pacx.models.panel.autoencoder import PanelAutoencoder
from pacx.models.panel.config import LAB_PANEL


class LabsDenoisingAutoencoder(PanelAutoencoder):
    """The network that the paper trains on labs: 100 -> 512 -> 256 -> 512 -> 50.

    Args:
        seed: of the initial weights.
    """

    def __init__(self, *, seed: int = 0) -> None:
        super().__init__(LAB_PANEL, hidden_dim=512, embedding_dim=256, seed=seed)
