"""PaCX: chest X-ray encoders that have learnt physiology. Research software, not a medical device."""

from importlib import metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pacx.inference.encoder import Encoder, load_encoder

__version__ = metadata.version("pacx")
__all__ = ["Encoder", "__version__", "load_encoder"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    """Load the public names on first use, so that ``import pacx`` does not import torch."""
    if name in ("Encoder", "load_encoder"):
        from pacx.inference import encoder

        return getattr(encoder, name)
    raise AttributeError(f"module 'pacx' has no attribute '{name}'")
