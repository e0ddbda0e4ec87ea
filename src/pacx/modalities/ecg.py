"""The electrocardiogram: from raw recordings to what an ECG encoder takes, and on to the distillation target.

``preprocess_ecg`` carries out the input contract an encoder brings along (``EcgPreprocessing``): ECGFounder's filter
chain, or the one for a masked autoencoder of one's own, which keeps voltage visible. ``embed_ecg`` does it a block at
a time, so that a hospital's recordings never have to fit into memory.

It refuses recordings in which nothing was recorded: behind the z-score they would be amplified rounding noise.

Source: PKUDigitalHealth/ECGFounder, dataset.py and util.py (specification of the ECG side, section 1.4).
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from scipy.signal import butter, filtfilt, iirnotch

from pacx.core.errors import DataError
from pacx.core.progress import progress
from pacx.core.vocabulary import ECG_LEADS
from pacx.modalities.ecg_recordings import (
    EcgRecordings,
    EcgUnit,
    check_lead_order,
    fitted,
    read_array,
    read_symile,
    read_wfdb,
    resampled,
)
from pacx.modalities.targets import FrozenTargets, named, target_fingerprint
from pacx.models.ecg_founder import ECGFounder
from pacx.models.ecg_input import ECG_FOUNDER_INPUT, ECG_MAE_INPUT, EcgPreprocessing, EcgScale
from pacx.models.ecg_mae import EcgMaskedAutoencoder

__all__ = [
    "ECG_FOUNDER_INPUT",
    "ECG_MAE_INPUT",
    "EcgPreprocessing",
    "EcgRecordings",
    "EcgScale",
    "EcgUnit",
    "check_lead_order",
    "embed_ecg",
    "preprocess_ecg",
    "read_array",
    "read_symile",
    "read_wfdb",
]

_Z_SCORE_EPS = 1e-8
_SILENT_BELOW = 1e-6
_BATCH = 64


class _NoSignalError(Exception):
    """Nothing is left of a record behind the filters, or it is not finite; the message says which."""


class _Chain:
    """The filters of one input contract, designed once and applied record by record; safe to share among threads."""

    def __init__(self, config: EcgPreprocessing) -> None:
        self._config = config
        rate = config.sample_rate_hz
        self._notch = iirnotch(config.notch_hz, config.notch_quality, rate)
        self._band = butter(config.band_order, config.band_hz, "bandpass", fs=rate)
        # int(0.4 * 500) + 1 = 201; an even number gets one more, as in the original.
        window = int(config.baseline_window_s * rate) + 1 if config.baseline_window_s else 0
        self._window = window + (window > 0 and window % 2 == 0)

    def __call__(self, raw: NDArray[np.float64], rate_hz: float, what: str) -> NDArray[np.float32]:
        """Prepare one record (12, T) in the order of ``ECG_LEADS``."""
        config = self._config
        if np.isinf(raw).any():
            raise _NoSignalError("has infinite values")
        record = resampled(np.nan_to_num(raw, nan=0.0), rate_hz, config.sample_rate_hz)
        record = fitted(record, config.num_samples, what)
        filtered = filtfilt(*self._band, filtfilt(*self._notch, record))
        if filtered.std() <= _SILENT_BELOW * max(np.abs(record).max(), np.finfo(float).tiny):
            raise _NoSignalError("is constant")
        if self._window:
            # One lead at a time: scipy has a fast exact running median for one dimension only.
            baseline = [median_filter(lead, size=self._window, mode="constant", cval=0.0) for lead in filtered]
            filtered = filtered - np.stack(baseline)
        if config.scale is EcgScale.MILLIVOLT:
            return (filtered / config.millivolts_per_unit).astype(np.float32)
        return ((filtered - filtered.mean()) / (filtered.std() + _Z_SCORE_EPS)).astype(np.float32)


def _prepare(
    chain: _Chain, recordings: EcgRecordings, rows: range, num_samples: int, pool: ThreadPoolExecutor
) -> NDArray[np.float32]:
    prepared = np.empty((len(rows), len(ECG_LEADS), num_samples), np.float32)

    def one(row: int) -> str | None:
        sample = recordings.sample_ids[row]
        try:
            prepared[row - rows.start] = chain(recordings.record(row), recordings.sample_rate_hz, f"ECG of {sample}")
        except _NoSignalError as reason:
            return f"{sample} {reason}"
        return None

    bad = [complaint for complaint in pool.map(one, rows) if complaint]
    if bad:
        raise DataError(f"ECG of {named(bad)}: there is no signal to embed; leave such recordings out")
    return prepared


def _require_voltage(recordings: EcgRecordings, config: EcgPreprocessing) -> None:
    if config.scale is EcgScale.MILLIVOLT and recordings.unit is EcgUnit.RELATIVE:
        raise DataError(
            "the recordings were scaled one by one, so their voltage is lost, but the encoder expects millivolts; "
            "give recordings in physical units or use an encoder with record z-scores such as ECGFounder"
        )


def preprocess_ecg(
    recordings: EcgRecordings, config: EcgPreprocessing = ECG_FOUNDER_INPUT, *, num_threads: int = 2
) -> NDArray[np.float32]:
    """What an ECG encoder takes, for all recordings at once.

    Args:
        recordings: raw recordings of any rate and lead order.
        config: the encoder's input contract (``model.preprocessing``).
        num_threads: threads that filter side by side.

    Returns:
        (N, 12, config.num_samples) float32, leads in the order of ``ECG_LEADS``; 240 kB per record of 10 s at 500 Hz.

    Raises:
        DataError: a recording is constant, not finite or too short; or its voltage is unknown and needed.
    """
    _require_voltage(recordings, config)
    with ThreadPoolExecutor(num_threads) as pool:
        return _prepare(_Chain(config), recordings, range(len(recordings)), config.num_samples, pool)


@torch.no_grad()
def embed_ecg(
    model: ECGFounder | EcgMaskedAutoencoder,
    recordings: EcgRecordings,
    *,
    device: torch.device | str = "cpu",
    num_threads: int = 2,
) -> FrozenTargets:
    """Embed every recording once, as frozen distillation targets (N, D).

    Args:
        model: the ECG encoder; it is put into eval mode on ``device`` and decides the preprocessing.
        recordings: raw recordings; a memory-mapped array is read a block at a time.
        device: where the encoder computes.
        num_threads: threads that filter side by side.

    Raises:
        DataError: as for ``preprocess_ecg``; or the embeddings are not finite or the same for everybody.
    """
    config = model.preprocessing
    _require_voltage(recordings, config)
    model = model.eval().to(device)
    chain, embedded = _Chain(config), []
    with (
        ThreadPoolExecutor(num_threads) as pool,
        progress("embedding ECGs", len(recordings), "recordings") as bar,
    ):
        for start in range(0, len(recordings), _BATCH):
            rows = range(start, min(start + _BATCH, len(recordings)))
            prepared = _prepare(chain, recordings, rows, config.num_samples, pool)
            embedded.append(model.embed(torch.from_numpy(prepared).to(device)).float().cpu().numpy())
            bar.advance(len(rows))
    source = {
        "preprocessing": config.to_json(),
        "leads": list(recordings.leads),
        "sample_rate_hz": recordings.sample_rate_hz,
        "unit": recordings.unit.value,
    }
    fingerprint = target_fingerprint(model, source, recordings.signals, recordings.sample_ids)
    return FrozenTargets("ecg", recordings.sample_ids, np.concatenate(embedded), fingerprint)
