"""ECG recordings from files: WFDB records, one array with a JSON file beside it, Symile-MIMIC's arrays.

Every reader checks lead order and voltage. A WFDB record that cannot be read is left out by name, up to an allowed
share of them; nothing else of a collection is touched.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pacx.core.artifacts import read_json
from pacx.core.errors import DataError, UsageError
from pacx.core.progress import progress
from pacx.core.quarantine import Quarantined, require_few_bad
from pacx.core.vocabulary import ECG_LEADS, MIMIC_ECG_LEADS
from pacx.data.file_names import on_disk
from pacx.data.folder_walk import files_below
from pacx.modalities.ecg_signal.recordings import (
    EcgRecordings,
    EcgUnit,
    UnusableError,
    check_lead_order,
    check_voltage,
    fitted,
    lead_positions,
    require_samples,
    resampled,
)
from pacx.modalities.symile import admissions, mapped
from pacx.modalities.targets import named

_FULL_SCALE_UNITS = {"v": 1e3, "mv": 1.0, "uv": 1e-3, "µv": 1e-3, "μv": 1e-3}
_HEADER_SUFFIX = ".hea"
_WFDB_SUFFIXES = (_HEADER_SUFFIX, ".dat", ".mat")


def _wfdb_record(path: Path) -> tuple[NDArray[np.float64], float]:
    stem = path.with_suffix("") if path.suffix in _WFDB_SUFFIXES else path
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


def read_wfdb(
    paths: Sequence[Path],
    *,
    sample_ids: Sequence[str] = (),
    patient_ids: Sequence[str] = (),
    sample_rate_hz: float = 500.0,
    duration_s: float = 10.0,
    max_bad_fraction: float = 0.0,
) -> EcgRecordings:
    """Read WFDB records (.hea with .dat or .mat), as MIMIC-IV-ECG, PTB-XL and the PhysioNet challenges have them.

    Leads are reordered by name; values become millivolts; NaN stays (a sample the device marked as invalid). A record
    with another rate is resampled; a longer one keeps its first ``duration_s`` seconds; a shorter one holds its last
    value, and is unusable below half of the length.

    Args:
        paths: records with or without suffix.
        sample_ids: one per record; by default the file name without suffix.
        patient_ids: one per record; by default all are different people.
        sample_rate_hz: common rate of the result.
        duration_s: common length of the result.
        max_bad_fraction: share of records that may be unusable and are then left out.

    Raises:
        DataError: more records than allowed cannot be read, lack a lead, have an unknown unit, are too short,
            or have too many gaps to be resampled.
    """
    num_samples = round(duration_s * sample_rate_hz)
    ids = [str(name) for name in sample_ids] or [Path(path).stem for path in paths]
    patients = [str(name) for name in patient_ids] or ids
    signals = np.empty((len(paths), len(ECG_LEADS), num_samples), np.float32)
    good: list[int] = []
    bad: list[Quarantined] = []
    with progress("reading ECGs", len(paths), "records") as bar:
        for row, path in enumerate(paths):
            try:
                physical, rate_hz = _wfdb_record(Path(path))
                signals[row] = _at_rate(physical, rate_hz, sample_rate_hz, num_samples)
                good.append(row)
            except (DataError, UnusableError) as reason:
                bad.append(Quarantined(sample_id=ids[row], reason=str(reason)))
            bar.advance()
    require_few_bad("WFDB records", bad, len(paths), max_bad_fraction)
    recordings = EcgRecordings(
        tuple(ids[row] for row in good),
        signals[good] if bad else signals,
        ECG_LEADS,
        sample_rate_hz,
        patient_ids=tuple(patients[row] for row in good),
        quarantined=tuple(bad),
    )
    check_lead_order(recordings, "WFDB records")
    check_voltage(recordings, "WFDB records")
    return recordings


def _at_rate(physical: NDArray[np.float64], rate_hz: float, wanted_hz: float, num_samples: int) -> NDArray[np.float64]:
    """Resampled and cut; gaps are kept where no filter has to run over them, and are 0 elsewhere.

    Nobody sees the gaps behind the filter, so a record with too many is refused here, judged by the part that is used.
    """
    if rate_hz == wanted_hz:
        return fitted(physical, num_samples)
    require_samples(fitted(physical, round(num_samples * rate_hz / wanted_hz)), ECG_LEADS)
    return fitted(resampled(np.nan_to_num(physical), rate_hz, wanted_hz), num_samples)


def read_array(npy: Path, description: Path) -> EcgRecordings:
    """Open recordings kept as one array (N, 12, T), memory-mapped, with a JSON file that says what they are.

    Args:
        npy: int16 microvolts or float millivolts.
        description: JSON object with ``sample_ids``, ``leads``, ``sample_rate_hz`` and ``unit`` ("mV", "uV" or
            "relative"), and if known ``patient_ids``.

    Raises:
        DataError: a file or field is missing, or array and description do not fit each other.
    """
    signals, said = mapped(npy), read_json(description)
    absent = [field for field in ("sample_ids", "leads", "sample_rate_hz", "unit") if field not in said]
    if absent:
        raise DataError(f"{description} does not say {', '.join(absent)}; add what the recordings in {npy.name} are")
    if said["unit"] not in {unit.value for unit in EcgUnit}:
        raise DataError(f"{description} names unit '{said['unit']}'; expected mV, uV or relative")
    recordings = EcgRecordings(
        tuple(said["sample_ids"]),
        signals,
        tuple(said["leads"]),
        float(said["sample_rate_hz"]),
        EcgUnit(said["unit"]),
        tuple(said.get("patient_ids", ())),
    )
    check_lead_order(recordings, str(npy))
    check_voltage(recordings, str(npy))
    return recordings


def read_symile(npy: Path) -> EcgRecordings:
    """Open an ``ecg_<split>.npy`` of Symile-MIMIC: (N, 1, 5000, 12) in MIMIC's lead order, each record in [-1, 1].

    Sample ids are the admissions in ``hadm_id_<split>.npy``; candidates of the retrieval task are left out.

    Raises:
        DataError: the array has another shape, another number of rows than ids, or another lead order.
    """
    stored = mapped(npy)
    if stored.ndim != 4 or stored.shape[1] != 1 or stored.shape[3] != len(MIMIC_ECG_LEADS):
        raise DataError(f"{npy} has shape {stored.shape}, expected (records, 1, 5000, 12) as Symile-MIMIC has it")
    ids, rows = admissions(npy, "ecg")
    if len(stored) <= rows.max(initial=-1):
        raise DataError(f"{npy} has {len(stored)} records, its hadm_id file more; copy both files of the split again")
    # The samples come first in every split, so that they stay a view of the file.
    chosen = stored[: len(rows)] if np.array_equal(rows, np.arange(len(rows))) else stored[rows]
    signals = chosen[:, 0].transpose(0, 2, 1)
    recordings = EcgRecordings(ids, signals, MIMIC_ECG_LEADS, 500.0, EcgUnit.RELATIVE)
    check_lead_order(recordings, str(npy))
    return recordings


def _read_list(path: Path, max_bad_fraction: float) -> EcgRecordings:
    import pandas as pd

    table = pd.read_csv(path, dtype=str)
    absent = [name for name in ("sample_id", "path") if name not in table.columns]
    if absent:
        raise DataError(f"{path} has no column {named(absent)}; expected sample_id, path (below it), maybe patient_id")
    patients = tuple(table["patient_id"]) if "patient_id" in table.columns else ()
    files = [path.parent / each for each in table["path"]]
    return read_wfdb(
        files, sample_ids=tuple(table["sample_id"]), patient_ids=patients, max_bad_fraction=max_bad_fraction
    )


def open_recordings(path: Path, *, max_bad_fraction: float = 0.0) -> EcgRecordings:
    """Open recordings of any kind, recognised by what is there.

    Args:
        path: an array with its JSON file beside it, Symile-MIMIC's ``ecg_<split>.npy``, a WFDB record or a folder of
            them (at any depth), or a csv with sample_id, path and if known patient_id.
        max_bad_fraction: share of WFDB records that may be unreadable.

    Raises:
        UsageError: there is nothing of the kind.
        DataError: it is at fault.
    """
    if path.is_dir():
        below = files_below(path, lambda file: file.suffix == _HEADER_SUFFIX)
        files = [on_disk(path / name) for name in below.chosen]
        if not files:
            raise UsageError(f"{path} has no WFDB record (.hea) in it; give a folder that has")
        return read_wfdb(files, max_bad_fraction=max_bad_fraction)
    if path.suffix == ".npy" and path.is_file():
        has_description = path.with_suffix(".json").exists()
        return read_array(path, path.with_suffix(".json")) if has_description else read_symile(path)
    if path.suffix == ".csv" and path.is_file():
        return _read_list(path, max_bad_fraction)
    if path.with_suffix(".hea").is_file():
        return read_wfdb([path], max_bad_fraction=max_bad_fraction)
    raise UsageError(f"{path} is no recording; give a .npy array, a .csv list, a WFDB record or a folder of them")
