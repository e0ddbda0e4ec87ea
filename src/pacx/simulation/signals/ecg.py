"""A twelve-lead ECG from the physiology that also shapes the film: a moving heart dipole seen from twelve places.

Each wave of the beat (``ecg_beat``) is a Gaussian in time along one direction of the body: x to the patient's left, y
to the feet, z to the front. One beat is drawn per patient, set down at every heartbeat and projected on leads I, II and
V1 to V6; the other limb leads follow by Einthoven's and Goldberger's equations. The model is McSharry et al. 2003 ("A
dynamical model for generating synthetic electrocardiogram signals") in the vector form of Sameni et al. 2007.

Noise comes last: breathing, mains and muscle, independent in each of the twelve leads, so the lead identities hold
exactly only in the clean signal. The recording is raw, in mV: filtering is the reader's business.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from pacx.core.errors import UsageError
from pacx.core.randomness import generator, sample_keys, uniform
from pacx.core.vocabulary import ECG_LEADS
from pacx.simulation.patients.physiology import ATRIAL_FIBRILLATION, PACED, Physiology, Values
from pacx.simulation.signals.ecg_beat import Temperament, beat_waves

SAMPLE_RATE_HZ = 500
DURATION_S = 10
NUM_SAMPLES = SAMPLE_RATE_HZ * DURATION_S

_BEFORE_S, _AFTER_S = 0.36, 0.8  # a beat's window around its R reference
_MAX_BEATS = 48  # 11 s at the shortest interval of 0.25 s, and some
_CHUNK = 64  # patients at once: bounds the memory

# Rows I, II, V1 to V6 as seen by a dipole (left, feet, front), with the gain of an electrode near the heart.
_HORIZONTAL_DEG = np.deg2rad([118.0, 95.0, 76.0, 58.0, 32.0, 6.0])
_NEARNESS = np.array([1.5, 2.4, 2.4, 2.3, 2.0, 1.6])
_DOWN = np.array([-0.1, 0.0, 0.1, 0.25, 0.3, 0.3])
_RECORDED = np.concatenate(
    [
        [[1.15, 0.0, 0.0], [0.575, 0.99592921, 0.0]],
        np.stack([np.cos(_HORIZONTAL_DEG), _DOWN, np.sin(_HORIZONTAL_DEG)], axis=1) * _NEARNESS[:, None],
    ]
)  # (8, 3)


def _normals(seed: int, stream: str, keys: NDArray[np.uint64], count: int) -> Values:
    """Standard normal numbers (N, count) fixed by seed, stream and patient."""
    return ndtri(uniform(seed, stream, 0, keys, count) + 2.0**-54)


def _beat_times_s(physiology: Physiology, breath_hz: Values, chance: Values) -> Values:
    """R references (N, _MAX_BEATS) in s: breathing moves a sinus rhythm, less with age; fibrillation has no order."""
    mean_s = (60.0 / physiology.heart_rate_bpm)[:, None]
    steps = np.arange(_MAX_BEATS)
    breathing = (0.045 * (1.0 - (physiology.age_years - 18.0) / 100.0))[:, None]
    phase = 2.0 * np.pi * breath_hz[:, None] * (mean_s * steps + chance[:, :1])
    sinus = mean_s * (1.0 + breathing * np.sin(phase) + 0.012 * chance)
    fibrillating = mean_s * np.exp(0.22 * chance - 0.024)
    paced = mean_s + 0.001 * chance
    rhythm = physiology.rhythm[:, None]
    intervals = np.select([rhythm == ATRIAL_FIBRILLATION, rhythm == PACED], [fibrillating, paced], sinus).clip(0.25)
    first = -ndtr(chance[:, -1]) * intervals[:, 0]  # the recording begins somewhere within a beat
    return first[:, None] + np.cumsum(intervals, axis=1) - intervals


def _beat_shapes(physiology: Physiology, temper: Temperament) -> NDArray[np.float32]:
    """One beat of each patient as a dipole in mV, (N, 3, window)."""
    waves = beat_waves(physiology, temper)
    time_s = np.arange(-_BEFORE_S, _AFTER_S, 1.0 / SAMPLE_RATE_HZ, dtype=np.float32)
    offset = time_s - waves.center_s[..., None].astype(np.float32)  # (N, W, window)
    gaussians = np.exp(-0.5 * np.square(offset / waves.width_s[..., None].astype(np.float32)))
    dipoles = waves.dipole_mv.transpose(0, 2, 1).astype(np.float32)  # (N, 3, W)
    return dipoles @ gaussians


def _fibrillation(rate_hz: float, size_mv: float, phase: float, time_s: Values) -> NDArray[np.float32]:
    """The trembling atria: 4 to 8 waves a second that swell and drift; largest in V1 and the inferior leads. (3, T)."""
    drift = 2.0 * np.sin(2.0 * np.pi * 0.23 * time_s + phase)
    turn = 2.0 * np.pi * rate_hz * time_s + drift + phase
    swell = 1.0 + 0.35 * np.sin(2.0 * np.pi * 0.37 * time_s + 2.0 * phase)
    wave = size_mv * swell * (np.sin(turn) + 0.45 * np.sin(2.0 * turn + 1.0))
    return np.outer([-0.3, 0.55, 0.35], wave).astype(np.float32)


def _dipoles(physiology: Physiology, keys: NDArray[np.uint64], seed: int) -> NDArray[np.float32]:
    """The heart's dipole over the whole recording in mV, (N, 3, NUM_SAMPLES)."""
    temper = Temperament(*_normals(seed, "ecg-temperament", keys, len(Temperament._fields)).T)
    breath_hz, fibrillation_hz, fibrillation_mv, phase = uniform(seed, "ecg-pace", 0, keys, 4).T
    breath_hz = 0.2 + 0.15 * breath_hz
    times_s = _beat_times_s(physiology, breath_hz, _normals(seed, "ecg-beats", keys, _MAX_BEATS))
    shapes = _beat_shapes(physiology, temper)
    window, lead_in = shapes.shape[-1], round(_BEFORE_S * SAMPLE_RATE_HZ)
    starts = np.rint(times_s * SAMPLE_RATE_HZ).astype(np.int64) - lead_in
    swing = (1.0 + 0.04 * np.sin(2.0 * np.pi * breath_hz[:, None] * times_s)).astype(np.float32)

    margin = window
    canvas = np.zeros((len(keys), 3, margin + NUM_SAMPLES + margin), dtype=np.float32)
    for row, column in zip(*np.nonzero((starts > -window) & (starts < NUM_SAMPLES)), strict=True):
        begin = margin + starts[row, column]
        canvas[row, :, begin : begin + window] += swing[row, column] * shapes[row]
    dipoles = canvas[:, :, margin : margin + NUM_SAMPLES]
    time_s = np.arange(NUM_SAMPLES) / SAMPLE_RATE_HZ
    for row in np.flatnonzero(physiology.rhythm == ATRIAL_FIBRILLATION):
        rate, size = 4.5 + 3.0 * fibrillation_hz[row], 0.025 + 0.05 * fibrillation_mv[row]
        dipoles[row] += _fibrillation(rate, size, 2.0 * np.pi * phase[row], time_s)
    return dipoles


def _recorded(dipoles: NDArray[np.float32], placement: Values) -> NDArray[np.float32]:
    """Project (N, 3, T) to the recorded leads I, II, V1 to V6; ``placement`` (N, 6): misplaced chest electrodes."""
    gains = np.concatenate([np.ones((len(dipoles), 2)), np.exp(0.1 * placement)], axis=1)  # (N, 8)
    return (gains[:, :, None] * _RECORDED).astype(np.float32) @ dipoles  # (N, 8, T)


def _twelve_leads(recorded: NDArray[np.float32]) -> NDArray[np.float32]:
    """Leads I, II, V1 to V6 (N, 8, T) to all twelve; devices compute the other four, so noise obeys Einthoven too."""
    leads = np.empty((len(recorded), len(ECG_LEADS), recorded.shape[-1]), dtype=np.float32)
    leads[:, 6:] = recorded[:, 2:]
    one, two = recorded[:, 0], recorded[:, 1]
    leads[:, 0], leads[:, 1], leads[:, 2] = one, two, two - one
    leads[:, 3], leads[:, 4], leads[:, 5] = -(one + two) / 2, one - two / 2, two - one / 2
    return leads


def _add_noise(leads: NDArray[np.float32], patient_ids: Sequence[str], seed: int, noise_ratio: float) -> None:
    """Add baseline wander, mains hum and muscle noise in place, independently for each recorded lead of (N, 8, T)."""
    num_leads, num_samples = leads.shape[1:]
    time_s = np.arange(num_samples) / SAMPLE_RATE_HZ
    for signal, patient in zip(leads, patient_ids, strict=True):
        chance = generator(seed, "ecg-noise", patient)
        breath_hz, sway_hz, mains_hz = (
            chance.uniform(0.15, 0.4),
            chance.uniform(0.03, 0.12),
            chance.choice([50.0, 60.0]),
        )
        turns = 2.0 * np.pi * np.outer([breath_hz, sway_hz, mains_hz], time_s)
        slow_and_hum = np.concatenate([np.sin(turns), np.cos(turns)]).astype(np.float32)  # (6, T)
        sizes_mv = np.tile([0.025, 0.035, 0.002], 2) * np.exp(0.5 * chance.standard_normal(6))
        weights = (sizes_mv * chance.standard_normal((num_leads, 6))).astype(np.float32)
        muscle_mv = np.float32(0.005 * np.exp(0.5 * chance.standard_normal()))
        muscle = chance.standard_normal((num_leads, num_samples), dtype=np.float32)
        signal += np.float32(noise_ratio) * (weights @ slow_and_hum + muscle_mv * muscle)


def simulate_ecg(
    physiology: Physiology, patient_ids: Sequence[str], *, seed: int, noise_ratio: float = 1.0
) -> NDArray[np.float32]:
    """Record ten seconds of ECG from each patient.

    Args:
        physiology: N patients.
        patient_ids: their N ids; a recording depends on nothing but its patient, the id and the seed.
        seed: fixes everything the physiology leaves open.
        noise_ratio: 1 for a recording as in life, 0 for the clean signal.

    Returns:
        Signals in mV, (N, 12, 5000), leads in the order of ``ECG_LEADS``, 500 samples per second; never NaN.

    Raises:
        UsageError: the ids do not match the patients, or the noise is negative.
    """
    if len(patient_ids) != len(physiology):
        raise UsageError(f"{len(patient_ids)} patient ids for {len(physiology)} patients; give one id per patient")
    if noise_ratio < 0:
        raise UsageError(f"noise_ratio is {noise_ratio}; give 0 for a clean ECG, 1 for one as in life")
    signals = np.empty((len(physiology), len(ECG_LEADS), NUM_SAMPLES), dtype=np.float32)
    for start in range(0, len(physiology), _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, len(physiology)))
        ids = patient_ids[start : start + len(rows)]
        keys = sample_keys(ids)
        dipoles = _dipoles(physiology.take(rows), keys, seed)
        recorded = _recorded(dipoles, _normals(seed, "ecg-placement", keys, 6))
        if noise_ratio > 0:
            _add_noise(recorded, ids, seed, noise_ratio)
        signals[rows] = _twelve_leads(recorded)
    return signals
