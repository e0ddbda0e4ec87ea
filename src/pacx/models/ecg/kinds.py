"""What a folder says of the ECG encoder in it, read without torch."""

from pathlib import Path
from typing import Any

from pacx.core.artifacts import read_json

ECG_FOUNDER, ECG_MAE = "ecg-founder", "ecg-masked-autoencoder"


def kind_of(folder: Path) -> Any:  # noqa: ANN401 - whatever a JSON file holds
    """The kind that ``config.json`` names; None where there is no such file, or it names none."""
    config = folder / "config.json"
    values = read_json(config) if config.is_file() else None
    return values.get("kind") if isinstance(values, dict) else None


def is_ecg_encoder(folder: Path) -> bool:
    """Whether a folder says of itself that it is an ECG encoder; nothing else of it is checked."""
    return kind_of(folder) in (ECG_FOUNDER, ECG_MAE)
