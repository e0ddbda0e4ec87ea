"""Any ECG encoder by its path: ECGFounder's official file or converted folder, or an autoencoder of one's own."""

from pathlib import Path

from pacx.core.errors import ModelError
from pacx.models.ecg.founder import ECGFounder, load_ecg_founder
from pacx.models.ecg.founder_conversion import load_converted_ecg_founder
from pacx.models.ecg.kinds import ECG_FOUNDER, ECG_MAE, kind_of
from pacx.models.ecg.mae import EcgMaskedAutoencoder, load_ecg_mae

EcgEncoder = ECGFounder | EcgMaskedAutoencoder


def load_ecg_encoder(path: Path) -> EcgEncoder:
    """An ECG encoder in eval mode.

    Raises:
        ModelError: there is nothing of the kind, or its weights do not fit.
    """
    if path.is_file():
        return load_ecg_founder(path)
    if kind_of(path) == ECG_FOUNDER:
        return load_converted_ecg_founder(path)
    if kind_of(path) == ECG_MAE:
        return load_ecg_mae(path)
    raise ModelError(
        f"{path} is no ECG encoder; give ECGFounder's file, a folder that pacx convert wrote, or RUN/ecg of a "
        "training run"
    )
