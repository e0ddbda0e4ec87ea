"""The filters between an ECG recording that was examined (``doubts.py``) and an encoder.

`recorded, without gaps -> another rate -> length -> notch -> band -> median -> scale`.

Source: PKUDigitalHealth/ECGFounder, dataset.py and util.py (specification of the ECG side, section 1.4).
"""

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from scipy.signal import butter, filtfilt, iirnotch, resample_poly

from pacx.core.vocabulary import ECG_LEADS
from pacx.modalities.ecg_signal.facts import UnusableError
from pacx.models.ecg.input import EcgPreprocessing, EcgScale

VOLTAGE_LOST = "was scaled for itself, so that its voltage is lost, but millivolts are needed"

SILENT_BELOW = 1e-6
"""Of its largest value: a standard deviation that is none."""

_Z_SCORE_EPS = 1e-8
_SHORTEST_FRACTION = 0.5
_RATIO_PRECISION = 1000


class EcgChain:
    """The filters of one input contract, designed once and applied to one recording after another."""

    def __init__(self, config: EcgPreprocessing) -> None:
        self._config = config
        rate = config.sample_rate_hz
        self._positions = [ECG_LEADS.index(lead) for lead in config.leads]
        self._notch = iirnotch(config.notch_hz, config.notch_quality, rate)
        self._band = butter(config.band_order, config.band_hz, "bandpass", fs=rate)
        self._window = baseline_window(config)

    def __call__(self, recorded: NDArray[np.float64], rate_hz: float, *, is_millivolt: bool) -> NDArray[np.float32]:
        """Prepare one recording.

        Args:
            recorded: (12, T) in the order of ``ECG_LEADS``, without gaps: what ``examined`` leaves of a record.
            rate_hz: samples per second.
            is_millivolt: False where its voltage is lost.

        Returns:
            (leads, num_samples) of the input contract.

        Raises:
            UnusableError: the recording is at fault.
        """
        config = self._config
        raw = recorded if config.leads == ECG_LEADS else recorded[self._positions]
        known = fitted(resampled(raw, rate_hz, config.sample_rate_hz), config.num_samples)
        filtered = filtfilt(*self._band, filtfilt(*self._notch, known))
        if filtered.std() <= SILENT_BELOW * max(np.abs(known).max(), np.finfo(float).tiny):
            raise UnusableError("is constant")
        if config.scale is EcgScale.MILLIVOLT and not is_millivolt:
            raise UnusableError(VOLTAGE_LOST)
        return scaled(without_baseline(filtered, self._window) if self._window else filtered, config)


def resampled(signals: NDArray[np.float64], rate_hz: float, wanted_hz: float) -> NDArray[np.float64]:
    """Another sample rate along the last axis, by a polyphase filter; the trend is kept out of the edges. No NaN."""
    if rate_hz == wanted_hz:
        return signals
    ratio = (Fraction(wanted_hz) / Fraction(rate_hz)).limit_denominator(_RATIO_PRECISION)
    return resample_poly(signals, ratio.numerator, ratio.denominator, axis=-1, padtype="line")


def fitted(signals: NDArray[np.float64], num_samples: int) -> NDArray[np.float64]:
    """Exactly ``num_samples`` samples: the first ones of a longer record; a shorter one holds its last value.

    Holding makes no step; behind the band-pass it is silence.

    Raises:
        UnusableError: more than half of the record would be made up.
    """
    length = signals.shape[-1]
    if length < _SHORTEST_FRACTION * num_samples:
        raise UnusableError(f"has {length} samples where {num_samples} are needed, so more than half would be made up")
    if length < num_samples:
        return np.pad(signals, ((0, 0), (0, num_samples - length)), mode="edge")
    return signals[:, :num_samples]


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
