"""ECG recordings from files of any format, brought to one rate and length, and lists of such files.

Lead order and voltage are checked. A recording that cannot be read is left out by name, up to an allowed share of them;
nothing else of a collection is touched.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pacx.core.errors import DataError, UsageError
from pacx.core.host import require_memory
from pacx.core.progress import progress
from pacx.core.quarantine import Quarantined, require_few_bad
from pacx.core.tables.column_roles import Role
from pacx.core.tables.ids import whole_ids
from pacx.core.vocabulary import ECG_LEADS
from pacx.data.text_tables import open_text_table, without_blank_rows
from pacx.modalities.ecg_signal.arrays import on_patients, read_array, read_symile
from pacx.modalities.ecg_signal.ecg_file import HEADER_SUFFIX, EcgRef, ecg_files, format_of, open_ecg, recordings_in
from pacx.modalities.ecg_signal.facts import NO_FACTS, EcgFacts, EcgUnit, UnusableError
from pacx.modalities.ecg_signal.record import EcgRecord
from pacx.modalities.ecg_signal.recordings import EcgRecordings, check_plausible, fitted, require_samples, resampled
from pacx.modalities.patients import ANYBODY, Patients
from pacx.modalities.targets import named

_EXAM = "exam_id"
"""What CODE-15 % calls a recording; in tables of films it may be a study."""
_LIST = re.compile(r".+\.(?:csv|tsv|txt)(?:\.(?:gz|bz2|zst))?", re.IGNORECASE)


def read_ecgs(
    recordings: Sequence[EcgRef | Path],
    *,
    sample_ids: Sequence[str] = (),
    patient_ids: Sequence[str] | None = None,
    sample_rate_hz: float = 500.0,
    duration_s: float = 10.0,
    max_bad_fraction: float = 0.0,
    facts: EcgFacts = NO_FACTS,
    place: str = "",
    notes: tuple[str, ...] = (),
) -> EcgRecordings:
    """Read recordings of any formats into one array.

    Leads are reordered by name; values become millivolts; NaN stays (a sample the device marked as invalid). A record
    with another rate is resampled; a longer one keeps its first ``duration_s`` seconds; a shorter one holds its last
    value, and is unusable below half of the length.

    Args:
        recordings: which; WFDB records with or without suffix.
        sample_ids: one per recording; by default its key in its file, or the file's name without suffix.
        patient_ids: one per recording; None = whom the files name; () = nobody is known.
        sample_rate_hz: common rate of the result.
        duration_s: common length of the result.
        max_bad_fraction: share of recordings that may be unusable and are then left out.
        facts: what their files may not say.
        place: where the patients should have been named, for a note on those who are not.
        notes: what is known already of how they came about.

    Raises:
        DataError: there is no memory for so many, or more of them than allowed cannot be read, lack a lead, have an
            unknown unit, are too short, or have too many gaps to be resampled.
    """
    refs = [EcgRef.parse(each) for each in recordings]
    num_samples = round(duration_s * sample_rate_hz)
    require_memory(
        len(refs) * len(ECG_LEADS) * num_samples * np.dtype(np.float32).itemsize, f"{len(refs):,} ECG records"
    )
    ids = [str(name) for name in sample_ids] or [ref.key or ref.path.stem for ref in refs]
    whose = patient_ids or ("",) * len(refs)
    signals = np.empty((len(refs), len(ECG_LEADS), num_samples), np.float32)
    good: list[int] = []
    persons: list[str] = []
    lengths: list[int] = []
    bad: list[Quarantined] = []
    titles: set[str] = set()
    has_voltage = True
    with progress("reading ECGs", len(refs), "records") as bar:
        for row, (title, record) in enumerate(_records(refs, ids, facts)):
            titles |= {title} - {""}
            try:
                if isinstance(record, DataError):
                    raise record
                physical = record.twelve()
                known = _at_rate(physical, record.rate_hz, sample_rate_hz, num_samples)
                signals[len(good)] = fitted(known, num_samples)  # a copy of the good ones would need the memory twice
                lengths.append(_recorded(known, num_samples).shape[1])
                persons.append(record.patient_id if patient_ids is None else str(whose[row]))
                has_voltage &= record.is_millivolt
                good.append(row)
            except (DataError, UnusableError) as reason:
                bad.append(Quarantined(sample_id=ids[row], reason=str(reason)))
            bar.advance()
    what = f"{titles.pop()}s" if len(titles) == 1 else "ECG recordings"
    require_few_bad(what, bad, len(refs), max_bad_fraction)
    of_them = EcgRecordings(
        tuple(ids[row] for row in good),
        signals[: len(good)],
        ECG_LEADS,
        sample_rate_hz,
        EcgUnit.MILLIVOLT if has_voltage else EcgUnit.RELATIVE,
        patient_ids=tuple(persons),
        quarantined=tuple(bad),
        lengths=tuple(lengths),
        notes=(*notes, *(on_patients(persons, len(good), place) if place else ())),
    )
    return check_plausible(of_them, what)


def _records(
    refs: Sequence[EcgRef], ids: Sequence[str], facts: EcgFacts
) -> Iterator[tuple[str, EcgRecord | DataError]]:
    """Each recording with the title of its format, or why there is none; a file is opened once for its neighbours.

    Where only a file is named that holds many recordings, the sample's id says which of them is meant.
    """
    for path, of_file in groupby(zip(refs, ids, strict=True), lambda each: each[0].path):
        wanted = list(of_file)
        try:
            with open_ecg(path, facts) as file:
                is_one = "" in file.keys
                for ref, sample_id in wanted:
                    try:
                        yield file.title, file.read(ref.key or ("" if is_one else sample_id))
                    except DataError as error:
                        yield file.title, error
        except DataError as error:
            yield from (("", error) for _ in wanted)


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


def _read_list(path: Path, max_bad_fraction: float, patients: Patients, facts: EcgFacts) -> EcgRecordings:
    table = open_text_table(path)
    roles = patients.roles(table.names, (Role.PATH, Role.SAMPLE, Role.PATIENT), place=path.name, used=())
    column = roles.get(Role.PATH)
    if column is None:
        raise DataError(
            f"{path} has no column path (it has {named(table.names)}); expected path, as seen from its folder, "
            "sample_id, and patient_id if known"
        )
    sample, whose = roles.get(Role.SAMPLE), roles.get(Role.PATIENT)
    sample = _EXAM if sample is None and _EXAM in table.names else sample
    frame = without_blank_rows(table.all(list(dict.fromkeys([column, *filter(None, (sample, whose))]))))
    has_path = frame[column] != ""
    notes = [*table.notes, *roles.notes]
    if num_without := int((~has_path).sum()):
        notes.append(f"{num_without:,} of {len(frame):,} rows of {path.name} have no path and are passed over")
    frame = frame[has_path]
    if frame.empty:
        raise DataError(f"{path} has no row with a path; expected one per recording")
    if sample is None:
        notes.append(f"{path.name} has no column sample_id: recordings are called by their files' names")
    ids = (
        whole_ids(frame[sample], f"column {sample} of {path}")
        if sample
        else [Path(each).stem for each in frame[column]]
    )
    if num_nameless := ids.count(""):
        raise DataError(f"{path} has {num_nameless} rows with a path and no {sample}; give each recording its id")
    refs = [EcgRef.parse(_record_below(path.parent, each)) for each in frame[column]]
    return read_ecgs(
        refs,
        sample_ids=ids,
        patient_ids=tuple(frame[whose]) if whose else () if patients.no_patients else None,
        max_bad_fraction=max_bad_fraction,
        facts=facts,
        place=path.name,
        notes=tuple(notes),
    )


def _record_below(folder: Path, written: str) -> Path:
    """The record that a list names; Windows divides folders by backslashes."""
    path = folder / written
    is_there = path.with_name(f"{path.name.removesuffix(HEADER_SUFFIX)}{HEADER_SUFFIX}").exists()
    return path if is_there or "\\" not in written else folder / written.replace("\\", "/")


def open_recordings(
    paths: Path | Sequence[Path],
    *,
    max_bad_fraction: float = 0.0,
    patients: Patients = ANYBODY,
    facts: EcgFacts = NO_FACTS,
) -> EcgRecordings:
    """Open recordings of any kind, recognised by what is there.

    Args:
        paths: a folder or files of any formats, mixed at will (of a folder everything below it); an array with its
            JSON file beside it or Symile-MIMIC's ``ecg_<split>.npy``, which stay on the disk; or a csv with path and if
            known sample_id and patient_id.
        max_bad_fraction: share of recordings that may be unreadable.
        patients: which column says whose a recording is.
        facts: what the files may not say.

    Raises:
        UsageError: there is nothing of the kind, or a column may name the patients and nobody says whether it does.
        DataError: it is at fault.
    """
    path = paths if isinstance(paths, Path) else None
    if path and path.suffix == ".npy" and path.is_file():
        if path.with_suffix(".json").exists():
            return read_array(path, path.with_suffix(".json"), patients)
        if path.name.startswith("ecg_"):
            return read_symile(path)
    if path and _LIST.fullmatch(path.name) and path.is_file() and format_of(path) is None:
        return _read_list(path, max_bad_fraction, patients, facts)
    files = ecg_files(paths)
    if path and not path.is_dir() and not files[0].is_file():
        raise UsageError(f"{path} is no recording; give an ECG file, a folder of them, a .npy array or a .csv list")
    return read_ecgs(
        recordings_in(files, facts),
        patient_ids=() if patients.no_patients else None,
        max_bad_fraction=max_bad_fraction,
        facts=facts,
        place=f"the folder {path}" if path and path.is_dir() else "",
    )
