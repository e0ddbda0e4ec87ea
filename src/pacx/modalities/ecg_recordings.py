"""Raw ECGs in memory, whatever file they came from: who, which leads, which rate, which unit.

Signals stay in the numbers they were stored in (an int16 memory map stays on the disk) and become millivolts record by
record. Readers exist for WFDB files, for a memory-mapped array with a JSON file beside it, and for Symile-MIMIC.

A wrong lead order crashes nothing and ruins everything, so every reader checks it by Goldberger's identities: the
augmented limb leads follow from I and II (aVL = I - II/2, aVF = II - I/2). Files that lack a lead are refused; no lead
is ever made up from another.
"""

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from pacx.core.artifacts import read_json
from pacx.core.errors import DataError
from pacx.core.vocabulary import ECG_LEADS, MIMIC_ECG_LEADS
from pacx.modalities.targets import named

_CHECKED_RECORDS = 64
_SHORTEST_FRACTION = 0.5
# Unrelated leads differ by 1.4 times their size or more; with as much noise as signal the identities still give 1.
_IDENTITY_BROKEN_ABOVE = 0.9
_FULL_SCALE_UNITS = {"v": 1e3, "mv": 1.0, "uv": 1e-3, "µv": 1e-3, "μv": 1e-3}
_RATIO_PRECISION = 1000


class EcgUnit(Enum):
    """What one step of the stored numbers is; RELATIVE = scaled record by record, the voltage is lost."""

    MILLIVOLT = "mV"
    MICROVOLT = "uV"
    RELATIVE = "relative"


@dataclass(frozen=True, eq=False)
class EcgRecordings:
    """Twelve-lead recordings of one rate and length.

    Args:
        sample_ids: N different ids.
        signals: (N, 12, T), int16 or float, in memory or memory-mapped; NaN = the device recorded nothing.
        leads: names of the twelve leads in the order of the second axis; any order, upper or lower case.
        sample_rate_hz: samples per second.
        unit: unit of ``signals``.

    Raises:
        DataError: shapes do not match, an id occurs twice, leads are not the twelve, or the rate is not positive.
    """

    sample_ids: tuple[str, ...]
    signals: NDArray[Any]
    leads: tuple[str, ...] = ECG_LEADS
    sample_rate_hz: float = 500.0
    unit: EcgUnit = EcgUnit.MILLIVOLT

    def __post_init__(self) -> None:
        object.__setattr__(self, "sample_ids", tuple(map(str, self.sample_ids)))
        shape = self.signals.shape
        if len(shape) != 3 or shape[:2] != (len(self.sample_ids), len(ECG_LEADS)):
            raise DataError(
                f"ECG signals have shape {shape} for {len(self.sample_ids)} sample ids, expected (records, 12 leads, "
                "time); transpose arrays that have time before leads"
            )
        twice = sorted(name for name, count in Counter(self.sample_ids).items() if count > 1)
        if twice:
            raise DataError(f"ECG recordings name a sample more than once ({named(twice)}); keep one recording each")
        lead_positions(self.leads, "ECG recordings")
        if not self.sample_rate_hz > 0:
            raise DataError(f"ECG sample rate is {self.sample_rate_hz} Hz; give the rate of the recordings")

    def __len__(self) -> int:
        return len(self.sample_ids)

    def record(self, row: int) -> NDArray[np.float64]:
        """One recording in the order of ``ECG_LEADS``, (12, T): millivolts, or as stored if the unit is relative."""
        raw = np.asarray(self.signals[row], np.float64)[lead_positions(self.leads, "ECG recordings")]
        return raw * 1e-3 if self.unit is EcgUnit.MICROVOLT else raw

    def select(self, rows: Sequence[int] | NDArray[np.int64]) -> "EcgRecordings":
        """The recordings of some rows, for example of the training patients."""
        ids = tuple(self.sample_ids[row] for row in rows)
        return EcgRecordings(ids, self.signals[np.asarray(rows, np.int64)], self.leads, self.sample_rate_hz, self.unit)


def lead_positions(leads: Sequence[str], source: str) -> list[int]:
    """Where each lead of ``ECG_LEADS`` stands among ``leads``; upper and lower case are the same.

    Raises:
        DataError: a lead is missing or occurs twice.
    """
    folded = [str(lead).strip().casefold() for lead in leads]
    wrong = [lead for lead in ECG_LEADS if folded.count(lead.casefold()) != 1]
    if wrong:
        raise DataError(
            f"{source} must have each of the twelve leads once, but not so {', '.join(wrong)} (leads: "
            f"{', '.join(map(str, leads))}); leads are never made up from others, leave such recordings out"
        )
    return [folded.index(lead.casefold()) for lead in ECG_LEADS]


def _misfit(lead: NDArray[np.float64], identity: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(lead - identity) / np.linalg.norm(identity))


def check_lead_order(recordings: EcgRecordings, source: str) -> None:
    """Refuse recordings whose augmented limb leads are not where their names say.

    Compares aVR, aVL and aVF with what follows from I and II, on up to 64 recordings spread over all; the median over
    recordings decides, so that single noisy ones do not.

    Raises:
        DataError: aVL and aVF are exchanged, or the identities do not hold at all.
    """
    as_named, exchanged = [], []
    for row in np.unique(np.linspace(0, len(recordings) - 1, min(_CHECKED_RECORDS, len(recordings))).astype(int)):
        centered = np.nan_to_num(recordings.record(row)[:6])
        centered -= centered.mean(axis=1, keepdims=True)
        one, two, _, a_vr, a_vl, a_vf = centered
        r, left, foot = -(one + two) / 2, one - two / 2, two - one / 2
        if min(np.linalg.norm(x) for x in (r, left, foot)) < 1e-9:
            continue  # a flat limb lead says nothing about the order
        as_named.append((_misfit(a_vr, r), _misfit(a_vl, left), _misfit(a_vf, foot)))
        exchanged.append((_misfit(a_vl, foot), _misfit(a_vf, left)))
    misfit = np.median(as_named, axis=0).max() if as_named else 0.0
    if misfit < _IDENTITY_BROKEN_ABOVE:
        return
    if np.median(exchanged, axis=0).max() < _IDENTITY_BROKEN_ABOVE:
        raise DataError(
            f"{source}: leads aVL and aVF are exchanged (the lead named aVL is II - I/2, which is aVF); declare the "
            "order of the file, MIMIC-IV-ECG's is I, II, III, aVR, aVF, aVL, V1 to V6"
        )
    raise DataError(
        f"{source}: aVR, aVL and aVF do not follow from I and II as they must in every twelve-lead ECG; "
        "declare the order in which the file stores its leads"
    )


def resampled(signals: NDArray[np.float64], rate_hz: float, wanted_hz: float) -> NDArray[np.float64]:
    """Another sample rate along the last axis, by a polyphase filter; the trend is kept out of the edges. No NaN."""
    if rate_hz == wanted_hz:
        return signals
    ratio = (Fraction(wanted_hz) / Fraction(rate_hz)).limit_denominator(_RATIO_PRECISION)
    return resample_poly(signals, ratio.numerator, ratio.denominator, axis=-1, padtype="line")


def fitted(signals: NDArray[np.float64], num_samples: int, what: str) -> NDArray[np.float64]:
    """Exactly ``num_samples`` samples: the first ones of a longer record; a shorter one holds its last value.

    Holding makes no step; behind the band-pass it is silence.

    Raises:
        DataError: more than half of the record would be made up.
    """
    length = signals.shape[-1]
    if length < _SHORTEST_FRACTION * num_samples:
        raise DataError(
            f"{what} has {length} samples where {num_samples} are needed, so more than half would be made up; "
            "leave it out"
        )
    if length < num_samples:
        return np.pad(signals, ((0, 0), (0, num_samples - length)), mode="edge")
    return signals[:, :num_samples]


def _wfdb_record(path: Path) -> tuple[NDArray[np.float64], float]:
    stem = path.with_suffix("") if path.suffix in (".hea", ".dat", ".mat") else path
    with warnings.catch_warnings():
        # wfdb 4.3 calls pandas in ways that pandas 3.1 deprecates, while it is imported; nothing a user can act on.
        warnings.simplefilter("ignore", DeprecationWarning)
        from wfdb import rdrecord
    try:
        record = rdrecord(str(stem))
    except FileNotFoundError as error:
        raise DataError(
            f"{stem} has no header (.hea) or no signal file beside it; copy both files of the record"
        ) from error
    except (ValueError, IndexError, OSError, AttributeError) as error:
        raise DataError(f"{stem} is not a readable WFDB record ({type(error).__name__}); copy it again") from error
    positions = lead_positions(record.sig_name, str(stem))
    units = [str(record.units[position]).strip().casefold() for position in positions]
    unknown = sorted(set(units) - _FULL_SCALE_UNITS.keys())
    if unknown:
        raise DataError(f"{stem} is in units of {', '.join(unknown)}; expected V, mV or uV: correct its header")
    gains = np.array([_FULL_SCALE_UNITS[unit] for unit in units])
    return record.p_signal.T[positions] * gains[:, None], float(record.fs)


def read_wfdb(paths: Sequence[Path], *, sample_rate_hz: float = 500.0, duration_s: float = 10.0) -> EcgRecordings:
    """Read WFDB records (.hea with .dat or .mat), as MIMIC-IV-ECG, PTB-XL and the PhysioNet challenges have them.

    Leads are reordered by name; values become millivolts; NaN (a sample the device marked as invalid) becomes 0, as in
    ECGFounder's pipeline. A record with another rate is resampled; a longer one keeps its first ``duration_s``
    seconds; a shorter one holds its last value, and is refused below half of the length.

    Args:
        paths: records with or without suffix; the file name without suffix becomes the sample id.
        sample_rate_hz: common rate of the result.
        duration_s: common length of the result.

    Raises:
        DataError: a record cannot be read, lacks a lead, has an unknown unit, or is too short.
    """
    num_samples = round(duration_s * sample_rate_hz)
    signals = np.empty((len(paths), len(ECG_LEADS), num_samples), np.float32)
    for row, path in enumerate(paths):
        physical, rate_hz = _wfdb_record(Path(path))
        signals[row] = fitted(resampled(np.nan_to_num(physical), rate_hz, sample_rate_hz), num_samples, str(path))
    recordings = EcgRecordings(tuple(Path(path).stem for path in paths), signals, ECG_LEADS, sample_rate_hz)
    check_lead_order(recordings, "WFDB records")
    return recordings


def _mapped(npy: Path) -> NDArray[Any]:
    try:
        return np.load(npy, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{npy} is not a readable .npy array of recordings; write it again") from error


def read_array(npy: Path, description: Path) -> EcgRecordings:
    """Open recordings kept as one array (N, 12, T), memory-mapped, with a JSON file that says what they are.

    Args:
        npy: int16 microvolts or float millivolts.
        description: JSON object with ``sample_ids``, ``leads``, ``sample_rate_hz`` and ``unit`` ("mV", "uV" or
            "relative").

    Raises:
        DataError: a file or field is missing, or array and description do not fit each other.
    """
    signals, said = _mapped(npy), read_json(description)
    absent = [field for field in ("sample_ids", "leads", "sample_rate_hz", "unit") if field not in said]
    if absent:
        raise DataError(f"{description} does not say {', '.join(absent)}; add what the recordings in {npy.name} are")
    if said["unit"] not in {unit.value for unit in EcgUnit}:
        raise DataError(f"{description} names unit '{said['unit']}'; expected mV, uV or relative")
    recordings = EcgRecordings(
        tuple(said["sample_ids"]), signals, tuple(said["leads"]), float(said["sample_rate_hz"]), EcgUnit(said["unit"])
    )
    check_lead_order(recordings, str(npy))
    return recordings


def read_symile(npy: Path, sample_ids: Sequence[str]) -> EcgRecordings:
    """Open an ``ecg_<split>.npy`` of Symile-MIMIC: (N, 1, 5000, 12) in MIMIC's lead order, each record in [-1, 1].

    Raises:
        DataError: the array has another shape, another number of rows than ids, or another lead order.
    """
    stored = _mapped(npy)
    if stored.ndim != 4 or stored.shape[1] != 1 or stored.shape[3] != len(MIMIC_ECG_LEADS):
        raise DataError(f"{npy} has shape {stored.shape}, expected (records, 1, 5000, 12) as Symile-MIMIC has it")
    recordings = EcgRecordings(
        tuple(sample_ids), stored[:, 0].transpose(0, 2, 1), MIMIC_ECG_LEADS, 500.0, EcgUnit.RELATIVE
    )
    check_lead_order(recordings, str(npy))
    return recordings
