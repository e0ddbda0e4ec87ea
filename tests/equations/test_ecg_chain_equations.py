"""ECGFounder's input chain against an independent, slow writing-out of its five steps."""

import numpy as np
import pytest
import scipy.signal

from pacx.modalities.ecg_signal.job import preprocess_ecg
from pacx.modalities.ecg_signal.recordings import EcgRecordings
from pacx.models.ecg.input import ECG_MAE_INPUT, EcgPreprocessing


def recording(seed: int) -> np.ndarray:
    """Beats, drift, hum, offsets and noise, (12, 5000) in mV; the limb leads obey Goldberger's identities."""
    rng = np.random.default_rng(seed)
    time = np.arange(5000) / 500
    beats = sum(np.exp(-(((time - start) / 0.02) ** 2)) for start in np.arange(0.4, 10, 0.8))
    waves = rng.uniform(-1, 1, (12, 1)) * beats + 0.3 * rng.standard_normal((12, 1)) * np.sin(2 * np.pi * 0.3 * time)
    noisy = waves + 0.05 * np.sin(2 * np.pi * 50 * time) + 0.02 * rng.standard_normal((12, 5000))
    noisy += rng.normal(0, 0.5, (12, 1))
    one, two = noisy[0], noisy[1]
    noisy[2:6] = two - one, -(one + two) / 2, one - two / 2, two - one / 2
    return noisy


def forwards_and_backwards(b, a, lead, padding):
    """Zero-phase filtering written out: odd extension, filter, reverse, filter, reverse, cut."""
    left, right = 2 * lead[0] - lead[padding:0:-1], 2 * lead[-1] - lead[-2 : -padding - 2 : -1]
    extended = np.concatenate([left, lead, right])
    state = scipy.signal.lfilter_zi(b, a)
    once, _ = scipy.signal.lfilter(b, a, extended, zi=state * extended[0])
    twice, _ = scipy.signal.lfilter(b, a, once[::-1], zi=state * once[-1])
    return twice[::-1][padding:-padding]


def running_median(lead):
    padded = np.concatenate([np.zeros(100), lead, np.zeros(100)])
    return np.sort(np.lib.stride_tricks.sliding_window_view(padded, 201), axis=1)[:, 100]


def by_hand(signals, *, with_median=True):
    signals = np.where(np.isnan(signals), 0, signals)
    notch = scipy.signal.iirnotch(50, 30, 500)
    band = scipy.signal.butter(4, [0.67 / 250, 40 / 250], btype="bandpass", output="ba")
    assert len(notch[0]) == 3
    assert len(band[0]) == 9
    leads = []
    for lead in signals:
        lead = forwards_and_backwards(*band, forwards_and_backwards(*notch, lead, 9), 27)
        leads.append(lead - running_median(lead) if with_median else lead)
    return np.stack(leads)


@pytest.fixture(scope="module")
def raw() -> np.ndarray:
    signals = recording(0)
    signals[7, 100:160] = np.nan
    return signals


def test_official_chain(raw):
    prepared = preprocess_ecg(EcgRecordings(("a",), raw[None]))[0]
    x = by_hand(raw)
    expected = (x - x.mean()) / (x.std() + 1e-8)
    np.testing.assert_allclose(prepared, expected, atol=1e-5)
    assert prepared.mean() == pytest.approx(0, abs=1e-5)
    assert prepared.std() == pytest.approx(1, abs=1e-5)
    assert np.ptp(prepared.std(axis=1)) > 0.1, "one z-score for the record, not one per lead"


def test_chain_of_the_autoencoder(raw):
    prepared = preprocess_ecg(EcgRecordings(("a",), raw[None]), ECG_MAE_INPUT)[0]
    np.testing.assert_allclose(prepared, by_hand(raw, with_median=False) / 0.25, atol=1e-5)


@pytest.mark.parametrize(("frequency_hz", "gain"), [(0.25, 3.35e-4), (0.67, 0.5), (10, 1.0), (40, 0.5), (60, 0.028)])
def test_gain_of_the_band_pass_is_the_squared_one(frequency_hz, gain):
    """Far from the ends of a long record; the notch is moved out of the way."""
    config = EcgPreprocessing(**{**_fields(ECG_MAE_INPUT), "notch_hz": 200.0, "duration_s": 120.0})
    tone = np.sin(2 * np.pi * frequency_hz * np.arange(60_000) / 500)
    prepared = preprocess_ecg(EcgRecordings(("a",), np.tile(tone, (1, 12, 1))), config)[0, 0, 20_000:40_000]
    assert np.abs(prepared).max() * 0.25 == pytest.approx(gain, rel=0.02)


def _fields(config):
    return {name: getattr(config, name) for name in EcgPreprocessing.__dataclass_fields__}
