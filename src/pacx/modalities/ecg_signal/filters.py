"""The filters between an ECG recording and an encoder, and the reasons for which a recording is not let through.

A recording is unusable when it is infinite, full of gaps, constant, flat or clipped in a lead, too short, far from the
size of a heart's signal, or has limb leads in another order than their names say. What may be an illness is a doubt.

Source: PKUDigitalHealth/ECGFounder, dataset.py and util.py (specification of the ECG side, section 1.4).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from scipy.signal import butter, filtfilt, iirnotch

from pacx.core.vocabulary import ECG_LEADS
from pacx.modalities.ecg_signal.doubts import Doubt, doubts, recorded_part, require_limb_leads
from pacx.modalities.ecg_signal.facts import UnusableError
from pacx.modalities.ecg_signal.record import EcgRecord
from pacx.modalities.ecg_signal.recordings import PLAUSIBLE_MV, fitted, lead_positions, require_samples, resampled
from pacx.models.ecg.input import EcgPreprocessing, EcgScale

VOLTAGE_LOST = "was scaled for itself, so that its voltage is lost, but millivolts are needed"

_Z_SCORE_EPS = 1e-8
_SILENT_BELOW = 1e-6
_FLAT_BELOW = 1e-3
_MOST_CLIPPED = 0.02
"""Share of a lead's samples at its highest or lowest value. Of 198 real recordings none of 2,366 leads that are not
flat reaches 0.012; a wave cut off for 20 ms in every beat passes 0.02."""


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
        if filtered.std() <= _SILENT_BELOW * max(np.abs(known).max(), np.finfo(float).tiny):
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


class Examined(NamedTuple):
    """What is left of a record for the filters, (12, T) without gaps, and what is strange about it."""

    recorded: NDArray[np.float64]
    doubts: tuple[Doubt, ...]


def examined(
    record: EcgRecord, duration_s: float, leads: Sequence[str] = ECG_LEADS, *, notch_hz: float | None = None
) -> Examined:
    """Look at a record before it is filtered: behind the filters and a z-score nobody would notice any of it.

    Args:
        record: as it was recorded; its leads in any order.
        duration_s: how much of it is used.
        leads: those that must be good.
        notch_hz: the mains frequency that is taken out afterwards.

    Raises:
        UnusableError: the record is at fault.
    """
    positions = lead_positions(record.stored_leads)
    raw = record.signals[positions]
    part = recorded_part(raw, record.rate_hz)
    raw = raw[:, part]
    used = _used(raw, round(duration_s * record.rate_hz))
    known = used
    if not np.isfinite(used).all():
        if np.isinf(raw).any():
            raise UnusableError("has infinite values")
        raw, known = np.nan_to_num(raw, posinf=0.0, neginf=0.0), np.nan_to_num(used)
    elif raw.shape[1] > used.shape[1]:
        raw = np.nan_to_num(raw, posinf=0.0, neginf=0.0)  # what lies behind the used part
    wanted = [ECG_LEADS.index(lead) for lead in leads]
    _require_signal(used[wanted], known[wanted], record.rate_hz, leads, is_millivolt=record.is_millivolt)
    strange: tuple[Doubt, ...] = () if part == slice(0, record.signals.shape[1]) else (Doubt.PADDED,)
    if set(ECG_LEADS[:6]) <= set(leads):
        strange += require_limb_leads(known, [record.resolution_mv[position] for position in positions])
    strange += doubts(known, record.rate_hz, is_millivolt=record.is_millivolt, notch_hz=notch_hz)
    return Examined(raw, strange)


def _used(raw: NDArray[np.float64], num_samples: int) -> NDArray[np.float64]:
    """The part that is used, without what brings it to its length; a gap at the end goes on into that."""
    ends_in_gap = raw.shape[1] > 0 and np.isnan(raw[:, -1]).any()
    return fitted(raw, num_samples) if ends_in_gap else raw[:, :num_samples]


def _clipped(lead: NDArray[np.float64], size: float) -> float:
    """Share of a lead's samples that stand at a limit; 0 if its highest and lowest values are no limits.

    A clean baseline is the lowest value of many a lead: a limit lies two standard deviations from the median. The top
    of a coarsely stored wave holds some samples: at a limit stand five times as many as at the next value.
    """
    share = 0.0
    for edge, inwards in ((lead.max(), np.max), (lead.min(), np.min)):
        at_edge = lead == edge
        if at_edge.mean() > _MOST_CLIPPED and abs(edge - np.median(lead)) > 2 * size:
            rest = lead[~at_edge]
            if at_edge.sum() > 5 * (rest == inwards(rest)).sum():
                share = max(share, float(at_edge.mean()))
    return share


def _require_signal(
    raw: NDArray[np.float64],
    record: NDArray[np.float64],
    rate_hz: float,
    leads: Sequence[str],
    *,
    is_millivolt: bool,
) -> None:
    """Refuse what no filter can mend; ``record`` is ``raw`` with 0 for NaN."""
    size = record.std(axis=1)
    if size.max() <= _SILENT_BELOW * max(np.abs(record).max(), np.finfo(float).tiny):
        raise UnusableError("is constant")
    flat = [lead for lead, each in zip(leads, size, strict=True) if each <= _FLAT_BELOW * np.median(size[size > 0])]
    if flat and not np.isnan(raw).all(axis=1).any():
        raise UnusableError(f"is flat in lead {', '.join(flat)}")
    require_samples(raw, rate_hz, leads)
    clipped = [_clipped(lead, each) for lead, each in zip(record, size, strict=True)]
    if worst := max(clipped):
        raise UnusableError(f"is clipped: {worst:.0%} of lead {leads[clipped.index(worst)]} stand at its limit")
    if is_millivolt and not PLAUSIBLE_MV[0] <= np.median(size) <= PLAUSIBLE_MV[1]:
        raise UnusableError(f"has a standard deviation of {np.median(size):.3g} mV, expected 0.1 to 0.5")
