"""The filters between an ECG recording and an encoder, and the reasons for which a recording is not let through.

``prepared_blocks`` carries out an encoder's input contract, 64 recordings at a time and in as many processes as
wanted, so that a hospital's recordings never have to fit into memory. The filters hold Python's lock, so threads would
not help; this file imports no torch, so that a process starts quickly.

A recording is unusable when it is infinite, full of gaps, constant, flat or clipped in a lead, too short, far from the
size of a heart's signal, or another patient's as well. Behind the z-score nobody would notice any of it.

Source: PKUDigitalHealth/ECGFounder, dataset.py and util.py (specification of the ECG side, section 1.4).
"""

import hashlib
from collections.abc import Iterator
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from scipy.signal import butter, filtfilt, iirnotch

from pacx.core.quarantine import Quarantined
from pacx.core.vocabulary import ECG_LEADS
from pacx.core.workers import in_order
from pacx.modalities.ecg_signal.facts import EcgUnit, UnusableError
from pacx.modalities.ecg_signal.recordings import PLAUSIBLE_MV, EcgRecordings, fitted, require_samples, resampled
from pacx.models.ecg.input import EcgPreprocessing, EcgScale

BLOCK = 64

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
        # int(0.4 * 500) + 1 = 201; an even number gets one more, as in the original.
        window = int(config.baseline_window_s * rate) + 1 if config.baseline_window_s else 0
        self._window = window + (window > 0 and window % 2 == 0)

    def __call__(self, raw: NDArray[np.float64], rate_hz: float, *, is_millivolt: bool) -> NDArray[np.float32]:
        """Prepare one record.

        Args:
            raw: (12, T) in the order of ``ECG_LEADS``; NaN = the device recorded nothing.
            rate_hz: its sample rate.
            is_millivolt: whether its size means anything.

        Returns:
            (leads, num_samples) of the input contract.

        Raises:
            UnusableError: the record is at fault.
        """
        config, raw = self._config, raw[self._positions]
        if np.isinf(raw).any():
            raise UnusableError("has infinite values")
        record = np.nan_to_num(raw, nan=0.0)
        _require_signal(raw, record, rate_hz, config.leads, is_millivolt=is_millivolt)
        record = fitted(resampled(record, rate_hz, config.sample_rate_hz), config.num_samples)
        filtered = filtfilt(*self._band, filtfilt(*self._notch, record))
        if filtered.std() <= _SILENT_BELOW * max(np.abs(record).max(), np.finfo(float).tiny):
            raise UnusableError("is constant")
        if self._window:
            # One lead at a time: scipy has a fast exact running median for one dimension only.
            baseline = [median_filter(lead, size=self._window, mode="constant", cval=0.0) for lead in filtered]
            filtered = filtered - np.stack(baseline)
        if config.scale is EcgScale.MILLIVOLT:
            return (filtered / config.millivolts_per_unit).astype(np.float32)
        return ((filtered - filtered.mean()) / (filtered.std() + _Z_SCORE_EPS)).astype(np.float32)


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
    leads: tuple[str, ...],
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
    if max(clipped):
        raise UnusableError(f"is clipped: {max(clipped):.0%} of lead {leads[np.argmax(clipped)]} stand at its limit")
    if is_millivolt and not PLAUSIBLE_MV[0] <= np.median(size) <= PLAUSIBLE_MV[1]:
        raise UnusableError(f"has a standard deviation of {np.median(size):.3g} mV, expected 0.1 to 0.5")


class _Block(NamedTuple):
    """Some recordings on their way through the chain."""

    sample_ids: list[str]
    patient_ids: list[str]
    prepared: NDArray[np.float32]  # (n, leads, samples); anything where there is a fault
    faults: list[str | None]
    digests: list[bytes]


@lru_cache(maxsize=4)
def _chain(config: EcgPreprocessing) -> EcgChain:
    return EcgChain(config)


def _prepare(recordings: EcgRecordings, *, config: EcgPreprocessing) -> _Block:
    """Prepare a block; a function of a module, so that other processes can be asked for it."""
    chain, is_millivolt = _chain(config), recordings.unit is not EcgUnit.RELATIVE
    prepared = np.zeros((len(recordings), len(config.leads), config.num_samples), np.float32)
    faults: list[str | None] = []
    for row in range(len(recordings)):
        try:
            prepared[row] = chain(recordings.record(row), recordings.sample_rate_hz, is_millivolt=is_millivolt)
            faults.append(None)
        except UnusableError as reason:
            faults.append(str(reason))
    digests = [hashlib.blake2b(np.ascontiguousarray(signal).data).digest() for signal in recordings.signals]
    return _Block(list(recordings.sample_ids), list(recordings.patient_ids), prepared, faults, digests)


def _blocks(recordings: EcgRecordings) -> Iterator[EcgRecordings]:
    for start in range(0, len(recordings), BLOCK):
        part: Any = slice(start, start + BLOCK)
        ids, patients = recordings.sample_ids[part], recordings.patient_ids[part]
        signals = np.asarray(recordings.signals[part])
        lengths = recordings.lengths[part]
        yield EcgRecordings(
            ids, signals, recordings.leads, recordings.sample_rate_hz, recordings.unit, patients, lengths=lengths
        )


class PreparedBlock(NamedTuple):
    """Recordings ready for an encoder, (n, leads, samples), their ids, and who was left out of this block."""

    sample_ids: list[str]
    signals: NDArray[np.float32]
    quarantined: list[Quarantined]


def prepared_blocks(recordings: EcgRecordings, config: EcgPreprocessing, num_workers: int) -> Iterator[PreparedBlock]:
    """Prepare all recordings, in order, at most 64 at a time.

    A recording that another patient has sample for sample is left out the second time: one of the two is not theirs.

    Args:
        recordings: of any rate and lead order; a memory-mapped array is read a block at a time.
        config: the encoder's input contract.
        num_workers: processes; 1 stays in this one. Never changes a bit.
    """
    owner: dict[bytes, str] = {}
    for block in in_order(partial(_prepare, config=config), _blocks(recordings), num_workers):
        bad: list[Quarantined] = []
        good: list[int] = []
        for row, (fault, digest) in enumerate(zip(block.faults, block.digests, strict=True)):
            patient = block.patient_ids[row]
            first = owner.setdefault(digest, patient)
            if fault is None and first != patient:
                fault = f"is sample for sample the recording of {first}"
            if fault is None:
                good.append(row)
            else:
                bad.append(Quarantined(sample_id=block.sample_ids[row], reason=fault))
        yield PreparedBlock([block.sample_ids[row] for row in good], block.prepared[good], bad)
