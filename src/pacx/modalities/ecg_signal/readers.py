"""ECG recordings from files: WFDB records, one array with a JSON file beside it, Symile-MIMIC's arrays.

Every reader checks lead order and voltage. A WFDB record that cannot be read is left out by name, up to an allowed
share of them; nothing else of a collection is touched.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pacx.core.artifacts import read_json
from pacx.core.errors import DataError, UsageError
from pacx.core.host import require_memory
from pacx.core.progress import progress
from pacx.core.quarantine import Quarantined, require_few_bad
from pacx.core.tables.cells import is_unknown
from pacx.core.tables.column_roles import Role
from pacx.core.tables.ids import whole_ids
from pacx.core.vocabulary import ECG_LEADS, MIMIC_ECG_LEADS
from pacx.data.file_names import on_disk
from pacx.data.folder_walk import files_below
from pacx.data.text_tables import open_text_table, without_blank_rows
from pacx.modalities.ecg_signal.recordings import (
    EcgRecordings,
    EcgUnit,
    UnusableError,
    check_lead_order,
    check_voltage,
    fitted,
    require_samples,
    resampled,
)
from pacx.modalities.ecg_signal.wfdb_records import HEADER_SUFFIX, read_record, without_segments
from pacx.modalities.patients import ANYBODY, Patients
from pacx.modalities.symile import admissions, mapped
from pacx.modalities.targets import named

_USED_KEYS = ("leads", "sample_rate_hz", "unit")
_LIST = re.compile(r".+\.(?:csv|tsv|txt)(?:\.(?:gz|bz2|zst))?", re.IGNORECASE)


def read_wfdb(
    paths: Sequence[Path],
    *,
    sample_ids: Sequence[str] = (),
    patient_ids: Sequence[str] = (),
    sample_rate_hz: float = 500.0,
    duration_s: float = 10.0,
    max_bad_fraction: float = 0.0,
    notes: tuple[str, ...] = (),
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
        notes: what is known already of how they came about.

    Raises:
        DataError: there is no memory for so many, or more of them than allowed cannot be read, lack a lead, have an
            unknown unit, are too short, or have too many gaps to be resampled.
    """
    num_samples = round(duration_s * sample_rate_hz)
    require_memory(
        len(paths) * len(ECG_LEADS) * num_samples * np.dtype(np.float32).itemsize, f"{len(paths):,} ECG records"
    )
    ids = [str(name) for name in sample_ids] or [Path(path).stem for path in paths]
    patients = list(patient_ids) or ids
    signals = np.empty((len(paths), len(ECG_LEADS), num_samples), np.float32)
    good: list[int] = []
    lengths: list[int] = []
    bad: list[Quarantined] = []
    with progress("reading ECGs", len(paths), "records") as bar:
        for row, path in enumerate(paths):
            try:
                physical, rate_hz = read_record(Path(path))
                known = _at_rate(physical, rate_hz, sample_rate_hz, num_samples)
                signals[len(good)] = fitted(known, num_samples)  # a copy of the good ones would need the memory twice
                lengths.append(_recorded(known, num_samples).shape[1])
                good.append(row)
            except (DataError, UnusableError) as reason:
                bad.append(Quarantined(sample_id=ids[row], reason=str(reason)))
            bar.advance()
    require_few_bad("WFDB records", bad, len(paths), max_bad_fraction)
    recordings = EcgRecordings(
        tuple(ids[row] for row in good),
        signals[: len(good)],
        ECG_LEADS,
        sample_rate_hz,
        patient_ids=tuple(patients[row] for row in good),
        quarantined=tuple(bad),
        lengths=tuple(lengths),
        notes=notes,
    )
    check_lead_order(recordings, "WFDB records")
    check_voltage(recordings, "WFDB records")
    return recordings


def _at_rate(physical: NDArray[np.float64], rate_hz: float, wanted_hz: float, num_samples: int) -> NDArray[np.float64]:
    """Resampled; gaps are kept where no filter has to run over them, and are 0 elsewhere.

    Nobody sees the gaps behind the filter, so a record with too many is refused here, judged by the part that is used.
    """
    if rate_hz == wanted_hz:
        return physical
    require_samples(_recorded(physical, round(num_samples * rate_hz / wanted_hz)), rate_hz, ECG_LEADS)
    return resampled(np.nan_to_num(physical), rate_hz, wanted_hz)


def _recorded(physical: NDArray[np.float64], num_samples: int) -> NDArray[np.float64]:
    """The part that is used, without what brings it to its length; a gap at the end goes on into that."""
    ends_in_gap = physical.shape[1] > 0 and np.isnan(physical[:, -1]).any()
    return fitted(physical, num_samples) if ends_in_gap else physical[:, :num_samples]


def read_array(npy: Path, description: Path, patients: Patients = ANYBODY) -> EcgRecordings:
    """Open recordings kept as one array (N, 12, T), memory-mapped, with a JSON file that says what they are.

    Args:
        npy: int16 microvolts or float millivolts.
        description: JSON object with ``sample_ids``, ``leads``, ``sample_rate_hz`` and ``unit`` ("mV", "uV" or
            "relative"), and if known ``patient_ids``; null is a patient that is not known.
        patients: which of its lists says whose the recordings are.

    Raises:
        UsageError: a list may name the patients and nobody says whether it does.
        DataError: a file or field is missing, or array and description do not fit each other.
    """
    signals, said = mapped(npy), _described(description)
    lists = [name for name, value in said.items() if isinstance(value, list) and name not in _USED_KEYS]
    roles = patients.roles(
        lists, (Role.SAMPLE, Role.PATIENT), place=description.name, used=("sample_ids",), usual="patient_ids"
    )
    sample = "sample_ids" if "sample_ids" in said else roles.get(Role.SAMPLE)
    absent = [*(() if sample else ("sample_ids",)), *(field for field in _USED_KEYS if field not in said)]
    if sample is None or absent:
        raise DataError(f"{description} does not say {', '.join(absent)}; add what the recordings in {npy.name} are")
    for each in (sample, "leads"):
        if not isinstance(said[each], list):
            raise DataError(f"{description} has no list as {each}; give one for each recording or lead of {npy.name}")
    try:
        sample_rate_hz = float(said["sample_rate_hz"])
    except (TypeError, ValueError):
        raise DataError(f"{description} has no number as sample_rate_hz; give the samples per second") from None
    if said["unit"] not in {unit.value for unit in EcgUnit}:
        raise DataError(f"{description} names unit '{said['unit']}'; expected mV, uV or relative")
    whose = tuple(said[name]) if (name := roles.get(Role.PATIENT)) else ()
    recordings = EcgRecordings(
        tuple(whole_ids(map(str, said[sample]), f"{sample} of {description}")),
        signals,
        tuple(said["leads"]),
        sample_rate_hz,
        EcgUnit(said["unit"]),
        whose,
        notes=(*roles.notes, *_on_patients(whose, len(said[sample]), description.name)),
    )
    check_lead_order(recordings, str(npy))
    check_voltage(recordings, str(npy))
    return recordings


def _described(description: Path) -> dict[str, Any]:
    said: object = read_json(description)
    if not isinstance(said, dict):
        raise DataError(f"{description} is no JSON object; expected sample_ids, {', '.join(_USED_KEYS)} in one")
    return said


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


def _on_patients(patients: Sequence[object], num_samples: int, place: str) -> tuple[str, ...]:
    """What has to be said of recordings whose patient is not known."""
    num_alone = sum(is_unknown(str(patient)) for patient in patients) if patients else num_samples
    if not num_alone:
        return ()
    alone = "every recording" if num_alone == num_samples else f"{num_alone:,} of {num_samples:,} recordings"
    return (f"{place} names no patient of {alone}: each of them counts as a person of its own",)


def _read_list(path: Path, max_bad_fraction: float, patients: Patients) -> EcgRecordings:
    table = open_text_table(path)
    roles = patients.roles(table.names, (Role.PATH, Role.SAMPLE, Role.PATIENT), place=path.name, used=())
    column = roles.get(Role.PATH)
    if column is None:
        raise DataError(
            f"{path} has no column path (it has {named(table.names)}); expected path, as seen from its folder, "
            "sample_id, and patient_id if known"
        )
    frame = without_blank_rows(table.all(list(dict.fromkeys(roles.columns.values()))))
    has_path = frame[column] != ""
    notes = [*table.notes, *roles.notes]
    if num_without := int((~has_path).sum()):
        notes.append(f"{num_without:,} of {len(frame):,} rows of {path.name} have no path and are passed over")
    frame = frame[has_path]
    if frame.empty:
        raise DataError(f"{path} has no row with a path; expected one per recording")
    sample, whose = roles.get(Role.SAMPLE), roles.get(Role.PATIENT)
    if sample is None:
        notes.append(f"{path.name} has no column sample_id: recordings are called by their files' names")
    ids = (
        whole_ids(frame[sample], f"column {sample} of {path}")
        if sample
        else [Path(each).stem for each in frame[column]]
    )
    if num_nameless := ids.count(""):
        raise DataError(f"{path} has {num_nameless} rows with a path and no {sample}; give each recording its id")
    persons = tuple(frame[whose]) if whose else ()
    return read_wfdb(
        [_record_below(path.parent, each) for each in frame[column]],
        sample_ids=ids,
        patient_ids=persons,
        max_bad_fraction=max_bad_fraction,
        notes=(*notes, *_on_patients(persons, len(ids), path.name)),
    )


def _record_below(folder: Path, written: str) -> Path:
    """The record that a list names; Windows divides folders by backslashes."""
    path = folder / written
    is_there = path.with_name(f"{path.name.removesuffix(HEADER_SUFFIX)}{HEADER_SUFFIX}").exists()
    return path if is_there or "\\" not in written else folder / written.replace("\\", "/")


def open_recordings(path: Path, *, max_bad_fraction: float = 0.0, patients: Patients = ANYBODY) -> EcgRecordings:
    """Open recordings of any kind, recognised by what is there.

    Args:
        path: an array with its JSON file beside it, Symile-MIMIC's ``ecg_<split>.npy``, a WFDB record or a folder of
            them (at any depth), or a csv with path and if known sample_id and patient_id.
        max_bad_fraction: share of WFDB records that may be unreadable.
        patients: which column says whose a recording is.

    Raises:
        UsageError: there is nothing of the kind, or a column may name the patients and nobody says whether it does.
        DataError: it is at fault.
    """
    if path.is_dir():
        below = files_below(path, lambda file: file.suffix == HEADER_SUFFIX)
        files = without_segments([on_disk(path / name) for name in below.chosen])
        if not files:
            raise UsageError(f"{path} has no WFDB record (.hea) in it; give a folder that has")
        notes = _on_patients((), len(files), f"the folder {path}")
        return read_wfdb(files, max_bad_fraction=max_bad_fraction, notes=notes)
    if path.suffix == ".npy" and path.is_file():
        has_description = path.with_suffix(".json").exists()
        return read_array(path, path.with_suffix(".json"), patients) if has_description else read_symile(path)
    if _LIST.fullmatch(path.name) and path.is_file():
        return _read_list(path, max_bad_fraction, patients)
    if path.with_suffix(HEADER_SUFFIX).is_file():
        return read_wfdb([path], max_bad_fraction=max_bad_fraction)
    raise UsageError(f"{path} is no recording; give a .npy array, a .csv list, a WFDB record or a folder of them")
