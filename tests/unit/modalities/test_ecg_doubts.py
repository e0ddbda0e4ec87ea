"""What a recording says against itself, on simulated hearts whose electrodes are moved by their own equations."""

import numpy as np
import pytest

from pacx.core.vocabulary import ECG_LEADS
from pacx.modalities.ecg_signal.doubts import Doubt, doubts, recorded_part, require_limb_leads
from pacx.modalities.ecg_signal.facts import UnusableError
from pacx.simulation.patients.population import draw_physiology
from pacx.simulation.patients.sites import UNIVERSITY_HOSPITAL
from pacx.simulation.signals.ecg import simulate_ecg

STEP_MV = 0.00488
RATE_HZ = 500.0


def from_electrodes(right, left, foot, chest):
    """The twelve leads by their definitions, from potentials (T) at the limbs and (6, T) at the chest."""
    centre = (right + left + foot) / 3
    goldberger = [right - (left + foot) / 2, left - (right + foot) / 2, foot - (right + left) / 2]
    return np.stack([left - right, foot - right, foot - left, *goldberger, *(chest - centre)])


@pytest.fixture(scope="module")
def hearts():
    ids = [f"h{number}" for number in range(24)]
    return simulate_ecg(draw_physiology(ids, seed=3, site=UNIVERSITY_HOSPITAL), ids, seed=3).astype(float)


def electrodes(leads):
    """Potentials of a recording, up to a constant: the right arm is the reference."""
    right, left, foot = np.zeros_like(leads[0]), leads[0], leads[1]
    return right, left, foot, leads[6:] + (right + left + foot) / 3


def stored(leads, step_mv=STEP_MV):
    return np.rint(leads / step_mv) * step_mv


def test_the_definitions_give_the_simulated_leads_back(hearts):
    np.testing.assert_allclose(from_electrodes(*electrodes(hearts[0])), hearts[0], atol=1e-6)


@pytest.mark.parametrize("step_mv", [0.001, 0.00488, 0.02])
@pytest.mark.parametrize("cut", [np.rint, np.floor], ids=["rounded", "cut off"])
def test_leads_rounded_to_their_steps_follow_from_each_other(hearts, step_mv, cut):
    for leads in hearts:
        assert require_limb_leads(cut(leads / step_mv) * step_mv, (step_mv,) * 12) == ()


@pytest.mark.parametrize("lead", ["III", "aVR", "aVL", "aVF"])
def test_a_lead_that_is_off_by_more_than_its_steps_is_told(hearts, lead):
    row = ECG_LEADS.index(lead)
    for leads in hearts[:8]:
        weaker = leads.copy()
        weaker[row] *= 0.97 if np.ptp(leads[row]) > 0.6 else 0.9
        assert require_limb_leads(stored(weaker, 0.001), (0.001,) * 12) == (Doubt.LIMB_LEADS,)


def test_without_known_steps_a_twentieth_is_borne(hearts):
    near, far = hearts[0].copy(), hearts[0].copy()
    near[3] *= 1.04
    far[3] *= 1.1
    assert require_limb_leads(near) == ()
    assert require_limb_leads(far) == (Doubt.LIMB_LEADS,)


@pytest.mark.parametrize(
    ("order", "told"),
    [
        ("I II III aVR aVF aVL", "what is called aVF is aVL, what is called aVL is aVF"),
        ("II I III aVR aVL aVF", "what is called I is II, what is called II is I"),
        ("I III II aVR aVL aVF", "what is called II is III, what is called III is II"),
        ("I II III aVL aVF aVR", "what is called aVF is aVR, what is called aVL is aVF, what is called aVR is aVL"),
    ],
)
def test_another_order_is_refused_and_named(hearts, order, told):
    rows = [ECG_LEADS.index(lead) for lead in order.split()]
    for leads in hearts:
        with pytest.raises(UnusableError) as refusal:
            require_limb_leads(np.concatenate([leads[rows], leads[6:]]))
        # "what is called X is Y": X names a row, in which the moved recording holds Y
        by_row = sorted(f"what is called {ECG_LEADS[row]} is {lead}" for row, lead in enumerate(order.split()))
        expected = [words for words in by_row if words.split()[3] != words.split()[5]]
        assert str(refusal.value).endswith(": " + ", ".join(expected)), told


def test_cabreras_turned_lead_is_named(hearts):
    turned = hearts[0].copy()
    turned[3] *= -1
    with pytest.raises(UnusableError, match="aVR is turned round"):
        require_limb_leads(turned)


def test_leads_of_different_hearts_are_refused(hearts):
    mixed = hearts[0].copy()
    mixed[2:6] = hearts[5, 2:6]
    with pytest.raises(UnusableError, match="do not follow from I and II"):
        require_limb_leads(mixed)


def test_a_flat_limb_lead_says_nothing_about_the_order(hearts):
    silent = hearts[0].copy()
    silent[:6] = 0
    assert require_limb_leads(silent) == ()


def exchanged(leads, what):
    right, left, foot, chest = electrodes(leads)
    if what == "arms":
        return from_electrodes(left, right, foot, chest)
    if what == "right arm and left leg":
        return from_electrodes(foot, left, right, chest)
    right_leg = foot + 0.002 * leads[1]  # both legs are at nearly one potential
    if what == "right arm and right leg":
        return from_electrodes(right_leg, left, foot, chest)
    return from_electrodes(right, right_leg, foot, chest)


@pytest.mark.parametrize(
    ("what", "doubt"),
    [
        ("arms", Doubt.ARMS),
        ("right arm and left leg", Doubt.ARM_AND_LEFT_LEG),
        ("right arm and right leg", Doubt.ARM_AND_RIGHT_LEG),
        ("left arm and right leg", Doubt.ARM_AND_RIGHT_LEG),
    ],
)
def test_exchanged_cables_are_suspected_where_the_heart_lies_as_usual(hearts, what, doubt):
    usual = [leads for leads in hearts if not doubts(leads, RATE_HZ, is_millivolt=True)]
    found = [doubt in doubts(exchanged(leads, what), RATE_HZ, is_millivolt=True) for leads in usual]
    assert len(usual) >= 18
    assert np.mean(found) >= 0.8
    for leads in usual:
        assert require_limb_leads(exchanged(leads, what)) == (), "every position of the cables obeys the equations"


@pytest.mark.parametrize("factor", [0.1, 10.0])
def test_a_voltage_off_by_ten_is_told_and_only_where_it_is_known(hearts, factor):
    found = [Doubt.VOLTAGE in doubts(leads * factor, RATE_HZ, is_millivolt=True) for leads in hearts]
    assert np.mean(found) > 0.5, "a pack is refused when most of its recordings have it"
    assert not any(Doubt.VOLTAGE in doubts(leads, RATE_HZ, is_millivolt=True) for leads in hearts)
    assert not any(Doubt.VOLTAGE in doubts(leads * factor, RATE_HZ, is_millivolt=False) for leads in hearts)


@pytest.mark.parametrize("rate_hz", [250.0, 500.0, 1000.0])
@pytest.mark.parametrize("mains_hz", [50.0, 60.0])
def test_hum_is_told_where_the_notch_leaves_it(hearts, mains_hz, rate_hz):
    other = 110.0 - mains_hz
    for leads in hearts[:6]:
        wanted = np.stack([np.interp(np.arange(0, 10, 1 / rate_hz), np.arange(5000) / 500, lead) for lead in leads])
        time_s = np.arange(wanted.shape[1]) / rate_hz
        for drift_hz in (0.0, 0.08):
            loud = wanted + 0.05 * np.sin(2 * np.pi * (mains_hz + drift_hz) * time_s + np.arange(12)[:, None])
            assert Doubt.HUM in doubts(loud, rate_hz, is_millivolt=True, notch_hz=other)
            assert Doubt.HUM not in doubts(loud, rate_hz, is_millivolt=True, notch_hz=mains_hz)
        assert Doubt.HUM not in doubts(wanted, rate_hz, is_millivolt=True)


def test_hum_is_not_looked_for_beyond_half_the_rate(hearts):
    assert Doubt.HUM not in doubts(hearts[0][:, ::5], 100.0, is_millivolt=True)


@pytest.mark.parametrize(("before", "behind"), [(0, 0), (700, 600), (0, 900), (60, 0), (49, 49)])
def test_zeros_at_the_ends_of_all_leads_are_taken_off(hearts, before, behind):
    heart = hearts[0] + 0.5  # no zero of its own
    part = recorded_part(np.pad(heart, ((0, 0), (before, behind))), RATE_HZ)
    kept = [count if count >= 50 else 0 for count in (before, behind)]
    assert part == slice(kept[0], before + 5000 + behind - kept[1])


def test_zeros_of_one_lead_or_within_the_recording_stay(hearts):
    heart = hearts[0] + 0.5
    heart[0, :1000] = 0
    heart[:, 2000:2500] = 0
    assert recorded_part(heart, RATE_HZ) == slice(0, 5000)
    assert recorded_part(np.zeros((12, 5000)), RATE_HZ) == slice(0, 5000)
    assert recorded_part(np.zeros((12, 3)), RATE_HZ) == slice(0, 3)
