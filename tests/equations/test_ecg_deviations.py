"""The specification's effect table: what a deviation from ECGFounder's input does to signal and feature.

Harmless ones stay within the table's bound. Harmful ones move signal and feature far beyond what the parity tests allow
(1e-5), and those a user can commit without touching the code are refused. The chain is written out with scipy here;
network weights are the parity cases' fill, recordings are simulated, so figures are the table's in size, not in digits.
"""

import runpy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.ndimage import median_filter
from scipy.signal import butter, filtfilt, iirnotch, sosfiltfilt, tf2sos

from pacx.core.errors import DataError
from pacx.modalities.ecg_signal.facts import EcgUnit
from pacx.modalities.ecg_signal.job import preprocess_ecg
from pacx.modalities.ecg_signal.recordings import EcgRecordings, check_lead_order
from pacx.models.ecg.founder import ECGFounder
from pacx.simulation.patients.population import draw_physiology
from pacx.simulation.patients.sites import UNIVERSITY_HOSPITAL
from pacx.simulation.signals.ecg import simulate_ecg

IDS = ("a", "b", "c", "d")
TO_MIMIC = [0, 1, 2, 3, 5, 4, 6, 7, 8, 9, 10, 11]


@pytest.fixture(scope="module")
def millivolts() -> np.ndarray:
    return simulate_ecg(draw_physiology(IDS, seed=1, site=UNIVERSITY_HOSPITAL), IDS, seed=1)


@pytest.fixture(scope="module")
def network(shared) -> ECGFounder:
    fill = runpy.run_path(str(shared / "golden" / "fill.py"))["fill"]
    with torch.device("meta"):
        network = ECGFounder(12)
    state = {
        key: torch.from_numpy(fill(key, tuple(value.shape), seed=7)).to(value.dtype)
        for key, value in network.state_dict().items()
    }
    network.load_state_dict(state, strict=True, assign=True)
    return network.requires_grad_(False)


@pytest.fixture(scope="module")
def official(millivolts) -> np.ndarray:
    return preprocess_ecg(EcgRecordings(IDS, millivolts))


def notched(x: np.ndarray, hz: float = 50.0) -> np.ndarray:
    return filtfilt(*iirnotch(hz, 30, 500), x)


def banded(x: np.ndarray) -> np.ndarray:
    return filtfilt(*butter(4, (0.67, 40), "bandpass", fs=500), x)


def levelled(x: np.ndarray, mode: str = "constant") -> np.ndarray:
    return x - median_filter(x, size=(1, 1, 201), mode=mode)


def scored(x: np.ndarray, axis: tuple[int, ...] = (1, 2)) -> np.ndarray:
    return (x - x.mean(axis, keepdims=True)) / (x.std(axis, keepdims=True) + 1e-8)


def in_sections(x: np.ndarray) -> np.ndarray:
    """Second-order sections in the place of one polynomial each."""
    padding = {"padtype": "odd", "padlen": 27}
    once = sosfiltfilt(tf2sos(*iirnotch(50, 30, 500)), x, padtype="odd", padlen=9)
    return scored(levelled(sosfiltfilt(butter(4, (0.67, 40), "bandpass", fs=500, output="sos"), once, **padding)))


def as_symile(x: np.ndarray) -> np.ndarray:
    low = x.min((1, 2), keepdims=True)
    return (2 * (x - low) / (x.max((1, 2), keepdims=True) - low) - 1).astype(np.float32)


def through_symile(x: np.ndarray) -> np.ndarray:
    return preprocess_ecg(EcgRecordings(IDS, as_symile(x), unit=EcgUnit.RELATIVE))


def moved(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def feature(network: ECGFounder, x: np.ndarray) -> np.ndarray:
    return network.embed(torch.from_numpy(x.astype(np.float32))).double().numpy()


HARMLESS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float, float]] = {
    "the chain written out": (lambda x: scored(levelled(banded(notched(x)))), 5e-7, 5e-7),
    "from Symile's [-1, 1] in float32": (through_symile, 5e-7, 5e-7),
    "second-order sections": (in_sections, 3e-7, 5e-7),
    "no notch": (lambda x: scored(levelled(banded(x))), 0.0015, 3e-4),
    "notch at 60 Hz": (lambda x: scored(levelled(banded(notched(x, 60)))), 0.010, 1.5e-3),
}
HARMFUL: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    "median with repeated ends": (lambda x: scored(levelled(banded(notched(x)), "nearest")), 0.009),
    "no band-pass": (lambda x: scored(levelled(notched(x))), 0.047),
    "no median": (lambda x: scored(banded(notched(x))), 0.13),
    "leads not reordered": (lambda x: scored(levelled(banded(notched(x[:, TO_MIMIC])))), 0.23),
    "z-score per lead": (lambda x: scored(levelled(banded(notched(x))), (2,)), 0.30),
    "z-score only": (scored, 0.40),
    "Symile's array as it is": (as_symile, 0.99),
}


@pytest.mark.parametrize("deviation", HARMLESS)
def test_harmless_deviations_stay_within_their_bound(network, millivolts, official, deviation):
    """Twice the table's figures, which were measured on other recordings and other random weights."""
    change, signal_bound, feature_bound = HARMLESS[deviation]
    theirs = change(millivolts)
    assert moved(theirs, official) < 2 * signal_bound
    assert moved(feature(network, theirs), feature(network, official)) < 2 * feature_bound


@pytest.mark.parametrize("deviation", HARMFUL)
def test_harmful_deviations_are_far_outside_of_what_the_parity_tests_allow(network, millivolts, official, deviation):
    change, in_table = HARMFUL[deviation]
    theirs = change(millivolts)
    assert moved(theirs, official) > 1e-2
    assert moved(feature(network, theirs), feature(network, official)) > 0.2 * in_table


def test_what_a_user_can_get_wrong_without_touching_the_code_is_refused(millivolts):
    with pytest.raises(DataError, match="aVL and aVF are exchanged"):
        check_lead_order(EcgRecordings(IDS, millivolts[:, TO_MIMIC]), "test")
    with pytest.raises(DataError, match="time before leads"):
        EcgRecordings(IDS, as_symile(millivolts).transpose(0, 2, 1))
    with pytest.raises(DataError, match=r"expected 0\.1 to 0\.5"):
        preprocess_ecg(EcgRecordings(IDS, millivolts * 1000))
