"""One heartbeat as a handful of waves: when each happens, how long it lasts, where it points, and what disease does.

The electrical half of ``ecg``: from a patient's physiology to the Gaussians of a single beat. Times count from the R
peak of a normal beat. Directions are given as two angles: frontal (0 to the patient's left, 90 to the feet, as
cardiologists count) and horizontal (0 to the left, 90 to the front).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pacx.simulation.patients.physiology import LEFT_BUNDLE_BLOCK, PACED, RIGHT_BUNDLE_BLOCK, SINUS, Physiology, Values

SPIKE_LEAD_S = 0.062
"""How long before the R reference a ventricular pacing spike fires."""


class Temperament(NamedTuple):
    """What differs between hearts of equal physiology: standard normal numbers of shape (N,)."""

    axis: Values
    horizontal: Values
    gain: Values
    t_gain: Values
    width: Values
    pr_interval: Values
    territory: Values  # which wall an infarction takes
    is_transmural: Values  # ST elevation rather than depression, where positive


class Waves(NamedTuple):
    """W Gaussians of one beat for N patients."""

    center_s: Values  # (N, W) after the R reference
    width_s: Values  # (N, W) standard deviation
    dipole_mv: NDArray[np.float64]  # (N, W, 3) peak vector: left, feet, front


def _direction(frontal_deg: Values | float, horizontal_deg: Values | float) -> NDArray[np.float64]:
    """Unit vectors (..., 3) for cardiologists' angles."""
    frontal, horizontal = np.broadcast_arrays(np.deg2rad(frontal_deg), np.deg2rad(horizontal_deg))
    flat = np.cos(horizontal)
    return np.stack([np.cos(frontal) * flat, np.sin(frontal) * flat, np.sin(horizontal)], axis=-1)


class _State(NamedTuple):
    """The quantities several waves share, each of shape (N,)."""

    is_wide: NDArray[np.bool_]  # left bundle block or paced: the left ventricle fires late
    is_paced: NDArray[np.bool_]
    axis_deg: Values
    gain: Values
    stretch: Values  # of the ventricular complex in time
    hyperkalaemia: Values  # 0 to 1
    hypokalaemia: Values
    strain: Values  # repolarisation of a thick wall
    root_rr: Values  # square root of the mean beat interval in s: Bazett's scale of the QT interval


def _state(physiology: Physiology, temper: Temperament) -> _State:
    is_paced = physiology.rhythm == PACED
    is_wide = is_paced | (physiology.conduction == LEFT_BUNDLE_BLOCK)
    thick = (physiology.wall_thickness_mm - 10.0).clip(-4.0, 10.0)
    axis = 48.0 - 0.4 * (physiology.age_years - 60.0) - 1.1 * (physiology.body_mass_index - 27.0) - 2.0 * thick
    axis = axis + 75.0 * physiology.right_heart_load + 20.0 * physiology.hyperinflation + 16.0 * temper.axis
    axis = np.where(is_wide, 0.4 * axis - 5.0, axis)
    fluid = 0.5 * (physiology.effusion_left + physiology.effusion_right)
    damping = (1.0 - 0.35 * fluid) * (1.0 - 0.25 * physiology.hyperinflation)
    damping = damping * np.exp(-0.014 * (physiology.body_mass_index - 27.0))
    hyperkalaemia = ((physiology.potassium_mmol_l - 5.0) / 2.5).clip(0.0, 1.0)
    stretch = 1.0 + 0.18 * physiology.ventricle_dilation + 0.8 * hyperkalaemia + 0.05 * temper.width
    return _State(
        is_wide=is_wide,
        is_paced=is_paced,
        axis_deg=np.where(is_paced, -65.0 + 10.0 * temper.axis, axis.clip(-75.0, 160.0)),
        gain=1.15 * damping * np.exp(0.07 * thick + 0.16 * temper.gain),
        stretch=stretch,
        hyperkalaemia=hyperkalaemia,
        hypokalaemia=((3.5 - physiology.potassium_mmol_l) / 1.1).clip(0.0, 1.0),
        strain=((physiology.wall_thickness_mm - 12.5) / 5.0).clip(0.0, 1.0),
        root_rr=np.sqrt(60.0 / physiology.heart_rate_bpm).clip(0.62, 1.2),
    )


Wave = tuple[Values | float, Values | float, NDArray[np.float64]]


def _atrial(physiology: Physiology, temper: Temperament, state: _State) -> list[Wave]:
    """P wave of a sinus beat.

    The right atrium comes first (tall when the right heart is loaded), the left after (wide when the left heart
    congests). Fibrillating and ventricularly paced hearts have none; potassium flattens it.
    """
    has_p = (physiology.rhythm == SINUS) * (1.0 - 0.9 * state.hyperkalaemia)
    onset = -(0.15 + 0.012 * temper.pr_interval + 0.02 * physiology.age_years / 70.0) * state.root_rr**0.5
    right = 0.085 * (1.0 + 1.6 * physiology.right_heart_load) * has_p
    left = 0.075 * (1.0 + 0.8 * physiology.congestion) * has_p
    return [
        (onset - 0.012, 0.017, right[:, None] * _direction(70.0, 35.0)),
        (onset + 0.016 + 0.012 * physiology.congestion, 0.019, left[:, None] * _direction(40.0, -40.0)),
    ]


def _ventricular(physiology: Physiology, temper: Temperament, state: _State) -> list[Wave]:
    """QRS: septum, free wall towards the front, free wall towards the back, base; then the right ventricle.

    Right bundle block adds a late force to the right, a loaded right ventricle one to the front; dilation takes the
    forward force away (poor R progression); wall thickness is in the gain and turns the heart to the back.
    """
    wide, axis, gain, stretch = state.is_wide, state.axis_deg, state.gain, state.stretch
    thick = ((physiology.wall_thickness_mm - 11.0) / 8.0).clip(0.0, 1.0)
    turn = 8.0 * temper.horizontal - 25.0 * physiology.ventricle_dilation
    septal = np.where(wide, 0.0, 0.18) * gain
    front = np.where(wide, 0.7, 0.62 * (1.0 - 0.6 * physiology.ventricle_dilation) * (1.0 - 0.4 * thick)) * gain
    back = np.where(wide, 1.05, 0.68 * (1.0 + 0.3 * thick)) * gain * (1.0 - 0.5 * physiology.right_heart_load)
    base = np.where(wide, 0.0, 0.2) * gain
    right_block = (physiology.conduction == RIGHT_BUNDLE_BLOCK) & ~state.is_paced
    right_late = np.where(right_block, 0.6, 0.0) * np.exp(0.1 * temper.gain)
    right_load = np.where(wide, 0.0, 1.15 * physiology.right_heart_load) * np.exp(0.1 * temper.gain)
    backwards = np.where(wide, -48.0, -38.0)
    return [
        (-0.022 * stretch, 0.007 * stretch, septal[:, None] * _direction(axis + 140.0, 50.0)),
        (
            np.where(wide, -0.026, -0.005) * stretch,
            np.where(wide, 0.017, 0.009) * stretch,
            front[:, None] * _direction(axis, np.where(wide, -20.0, 38.0) + turn),
        ),
        (
            np.where(wide, 0.028, 0.008) * stretch,
            np.where(wide, 0.021, 0.010) * stretch,
            back[:, None] * _direction(axis, backwards + turn),
        ),
        (0.028 * stretch, 0.008 * stretch, base[:, None] * _direction(axis - 150.0, -50.0)),
        (0.056 * stretch, 0.015 * stretch, right_late[:, None] * _direction(175.0, 48.0)),
        (0.010 * stretch, 0.012 * stretch, right_load[:, None] * _direction(140.0, 62.0)),
    ]


_TERRITORIES = ((70.0, 75.0), (95.0, 0.0), (-20.0, 10.0))  # anterior, inferior, lateral wall: frontal, horizontal


def _repolarisation(physiology: Physiology, temper: Temperament, state: _State) -> list[Wave]:
    """ST, T and U.

    T points against the QRS when conduction is wide, is turned over by strain and ischaemia, tall and narrow with
    much potassium, flat and followed by a U wave with little.
    """
    wide, root_rr = state.is_wide, state.root_rr
    ischemia = ((physiology.ischemia - 0.15) / 0.85).clip(0.0, 1.0)
    forwards = np.where(wide, -30.0, 32.0 - 10.0 * physiology.is_female + 6.0 * temper.horizontal)
    heading = _direction(np.where(wide, state.axis_deg, 42.0 + 0.1 * state.axis_deg), forwards)
    upright = np.where(wide, -0.75, (1.0 - 1.5 * state.strain - 1.5 * ischemia).clip(-0.6, 1.0))
    upright = upright - np.where(wide, 0.0, 0.25 * physiology.right_heart_load)
    potassium = (1.0 + 1.9 * state.hyperkalaemia) * (1.0 - 0.75 * state.hypokalaemia)
    size = 0.3 * state.gain**0.5 * np.exp(0.22 * temper.t_gain) * potassium
    t_dipole = (size * np.maximum(upright, -0.9))[:, None] * heading

    pick = np.digitize(temper.territory, [-0.43, 0.43])
    frontal, horizontal = np.asarray(_TERRITORIES).T
    injured = _direction(frontal[pick], horizontal[pick])
    st_mv = ischemia * np.where(temper.is_transmural > 0.3, 0.30, -0.20)
    lateral = _direction(20.0, 20.0)
    depression = 0.12 * state.strain * state.gain + 0.05 * state.hypokalaemia
    st_dipole = st_mv[:, None] * injured - np.where(wide, 0.0, depression)[:, None] * lateral
    st_dipole = st_dipole - (np.where(wide, 0.14, 0.0) * state.gain)[:, None] * heading

    narrow = 1.0 - 0.35 * state.hyperkalaemia
    peak = 0.285 * root_rr + np.where(wide, 0.045, 0.0) + 0.02 * (state.stretch - 1.0) + 0.02 * state.hypokalaemia
    u_dipole = (0.02 + 0.13 * state.hypokalaemia)[:, None] * _direction(50.0, 35.0)
    return [
        (0.45 * peak, 0.038 * root_rr, st_dipole),
        (peak - 0.04 * root_rr, 0.044 * root_rr * narrow, 0.55 * t_dipole),
        (peak + 0.005, 0.028 * root_rr * narrow, 0.6 * t_dipole),
        (peak + 0.17 * root_rr, 0.032 * root_rr, u_dipole),
    ]


def _pacing_spike(state: _State) -> list[Wave]:
    """Two milliseconds of stimulus, from the tip of the lead in the right ventricle towards the generator."""
    size = np.where(state.is_paced, 1.1, 0.0)
    return [(-SPIKE_LEAD_S, 0.0012, size[:, None] * _direction(-70.0, -30.0))]


def beat_waves(physiology: Physiology, temper: Temperament) -> Waves:
    """The waves of one beat for each of N patients, later waves of the list later in the beat."""
    state = _state(physiology, temper)
    waves = [
        *_atrial(physiology, temper, state),
        *_ventricular(physiology, temper, state),
        *_repolarisation(physiology, temper, state),
        *_pacing_spike(state),
    ]
    shape = (len(physiology),)
    centers, widths, dipoles = zip(*waves, strict=True)
    return Waves(
        center_s=np.stack([np.broadcast_to(center, shape) for center in centers], axis=1),
        width_s=np.stack([np.broadcast_to(width, shape) for width in widths], axis=1),
        dipole_mv=np.stack(dipoles, axis=1),  # (N, W, 3)
    )
