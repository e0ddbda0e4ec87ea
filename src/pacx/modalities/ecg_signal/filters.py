"""The filters between an ECG recording that was examined (``doubts.py``) and an encoder.

Source: PKUDigitalHealth/ECGFounder, dataset.py and util.py (specification of the ECG side, section 1.4).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from scipy.signal import butter, filtfilt, iirnotch

from pacx.core.vocabulary import ECG_LEADS
from pacx.modalities.ecg_signal.doubts import SILENT_BELOW, Doubt, examined
from pacx.modalities.ecg_signal.facts import UnusableError
from pacx.modalities.ecg_signal.record import EcgRecord
from pacx.modalities.ecg_signal.recordings import fitted, resampled
from pacx.models.ecg.input import EcgPreprocessing, EcgScale

VOLTAGE_LOST = "was scaled for itself, so that its voltage is lost, but millivolts are needed"

_Z_SCORE_EPS = 1e-8


class EcgChain:
    """The filters of one input contract, designed once and applied record by record."""

    def __init__(self, config: EcgPreprocessing) -> None:
        self._config = config
        rate = config.sample_rate_hz
        self._positions = [ECG_LEADS.index(lead) for lead in config.leads]
        self._notch = iirnotch(config.notch_hz, config.notch_quality, rate)
        self._band = butter(config.band_order, config.band_hz, "bandpass", fs=rate)
        self._window = baseline_window(config)

    def __call__(self, record: EcgRecord) -> tuple[NDArray[np.float32], tuple[Doubt, ...]]:
        """Prepare one record.

        Args:
            record: of any rate and order of leads.

        Returns:
            (leads, num_samples) of the input contract, and what is strange about the record.

        Raises:
            UnusableError: the record is at fault.
        """
        filtered, strange = self.filtered(record)
        if self._config.scale is EcgScale.MILLIVOLT and not record.is_millivolt:
            raise UnusableError(VOLTAGE_LOST)
        return scaled(filtered, self._config), strange

    def filtered(self, record: EcgRecord) -> tuple[NDArray[np.float64], tuple[Doubt, ...]]:
        """All of it but the scale, (leads, num_samples) in the unit of the record, and the doubts.

        Raises:
            UnusableError: the record is at fault.
        """
        config = self._config
        found = examined(record, config.duration_s, config.leads, notch_hz=config.notch_hz)
        raw = found.recorded if config.leads == ECG_LEADS else found.recorded[self._positions]
        wanted = resampled(raw, record.rate_hz, config.sample_rate_hz)
        known = fitted(wanted, config.num_samples)
        filtered = filtfilt(*self._band, filtfilt(*self._notch, known))
        if filtered.std() <= SILENT_BELOW * max(np.abs(known).max(), np.finfo(float).tiny):
            raise UnusableError("is constant")
        if not self._window:
            return filtered, found.doubts
        return without_baseline(filtered, self._window), found.doubts


def baseline_window(config: EcgPreprocessing) -> int:
    """Samples under the running median, an odd number; 0 = there is none."""
    # int(0.4 * 500) + 1 = 201; an even number gets one more, as in the original.
    window = int(config.baseline_window_s * config.sample_rate_hz) + 1 if config.baseline_window_s else 0
    return window + (window > 0 and window % 2 == 0)


def without_baseline(filtered: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """A record (leads, samples) less its running median."""
    # One lead at a time: scipy has a fast exact running median for one dimension only.
    return filtered - np.stack([median_filter(lead, size=window, mode="constant", cval=0.0) for lead in filtered])


def scaled(filtered: NDArray[np.floating[Any]], config: EcgPreprocessing) -> NDArray[np.float32]:
    """Filtered records (..., leads, samples) with the amplitudes of an input contract."""
    if config.scale is EcgScale.AS_RECORDED:
        return filtered.astype(np.float32)
    if config.scale is EcgScale.MILLIVOLT:
        return (filtered / config.millivolts_per_unit).astype(np.float32, copy=False)
    exact = filtered.astype(np.float64, copy=False)
    mean, std = (method(axis=(-2, -1), keepdims=True) for method in (exact.mean, exact.std))
    return ((exact - mean) / (std + _Z_SCORE_EPS)).astype(np.float32)
