"""Arrays of ECG recordings on disk: one array with a JSON file beside it, and Symile-MIMIC's.

They stay memory-mapped, as views of their files.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pacx.core.artifacts import read_json
from pacx.core.errors import DataError
from pacx.core.tables.cells import is_unknown
from pacx.core.tables.column_roles import Role
from pacx.core.tables.ids import whole_ids
from pacx.core.vocabulary import MIMIC_ECG_LEADS
from pacx.modalities.ecg_signal.facts import EcgUnit
from pacx.modalities.ecg_signal.recordings import EcgRecordings, check_plausible
from pacx.modalities.patients import ANYBODY, Patients
from pacx.modalities.symile import admissions, mapped

_USED_KEYS = ("leads", "sample_rate_hz", "unit")


def read_array(npy: Path, description: Path, patients: Patients = ANYBODY) -> EcgRecordings:
    """What ``described_array`` opens, with the order of its leads and its unit checked.

    Raises:
        UsageError: a list may name the patients and nobody says whether it does.
        DataError: a file or field is missing, array and description do not fit each other, or leads or unit are not
            what is said.
    """
    return check_plausible(described_array(npy, description, patients), str(npy))


def described_array(npy: Path, description: Path, patients: Patients = ANYBODY) -> EcgRecordings:
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
    return EcgRecordings(
        tuple(whole_ids(map(str, said[sample]), f"{sample} of {description}")),
        signals,
        tuple(said["leads"]),
        sample_rate_hz,
        EcgUnit(said["unit"]),
        whose,
        notes=(*roles.notes, *on_patients(whose, len(said[sample]), description.name)),
    )


def _described(description: Path) -> dict[str, Any]:
    said: object = read_json(description)
    if not isinstance(said, dict):
        raise DataError(f"{description} is no JSON object; expected sample_ids, {', '.join(_USED_KEYS)} in one")
    return said


def read_symile(npy: Path) -> EcgRecordings:
    """What ``symile_array`` opens, with the order of its leads checked.

    Raises:
        DataError: the array has another shape, another number of rows than ids, or another lead order.
    """
    return check_plausible(symile_array(npy), str(npy))


def symile_array(npy: Path) -> EcgRecordings:
    """Open an ``ecg_<split>.npy`` of Symile-MIMIC: (N, 1, 5000, 12) in MIMIC's lead order, each record in [-1, 1].

    Sample ids are the admissions in ``hadm_id_<split>.npy``; candidates of the retrieval task are left out.

    Raises:
        DataError: the array has another shape, another number of rows than ids.
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
    return EcgRecordings(ids, signals, MIMIC_ECG_LEADS, 500.0, EcgUnit.RELATIVE)


def on_patients(patients: Sequence[object], num_samples: int, place: str) -> tuple[str, ...]:
    """What has to be said of recordings whose patient is not known.

    Args:
        patients: as named, one per recording; () where nobody names any.
        num_samples: recordings.
        place: what should name them.
    """
    num_alone = sum(is_unknown(str(patient)) for patient in patients) if patients else num_samples
    if not num_alone:
        return ()
    alone = "every recording" if num_alone == num_samples else f"{num_alone:,} of {num_samples:,} recordings"
    return (f"{place} names no patient of {alone}: each of them counts as a person of its own",)
