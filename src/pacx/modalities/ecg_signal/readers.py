"""Where ECG recordings come from: a pack, files of any formats, lists of such files, arrays.

None is read here; a source says which recordings there are, what they are called and whose they are.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from pacx.core.errors import DataError, UsageError
from pacx.core.tables.column_roles import Role
from pacx.core.tables.ids import whole_ids
from pacx.data.text_tables import open_text_table, without_blank_rows
from pacx.modalities.ecg_signal.arrays import on_patients, read_array, read_symile
from pacx.modalities.ecg_signal.ecg_file import HEADER_SUFFIX, EcgRef, ecg_files, format_of, recordings_in
from pacx.modalities.ecg_signal.facts import NO_FACTS, EcgFacts
from pacx.modalities.ecg_signal.packs.pack import EcgPack, is_ecg_pack
from pacx.modalities.ecg_signal.sources import EcgArray, EcgFiles, EcgSource
from pacx.modalities.patients import ANYBODY, Patients
from pacx.modalities.targets import named

_EXAM = "exam_id"
"""What CODE-15 % calls a recording; in tables of films it may be a study."""
_LIST = re.compile(r".+\.(?:csv|tsv|txt)(?:\.(?:gz|bz2|zst))?", re.IGNORECASE)


def ecg_sources(
    refs: Sequence[EcgRef],
    *,
    sample_ids: Sequence[str] = (),
    patient_ids: Sequence[str] | None = None,
    moments: Sequence[datetime | None] = (),
    facts: EcgFacts = NO_FACTS,
    place: str = "",
    notes: tuple[str, ...] = (),
) -> EcgFiles:
    """Recordings in files, none of them read yet.

    Args:
        refs: which.
        sample_ids: one per recording; by default its key in its file, or the file's name without suffix.
        patient_ids: one per recording; None = whom the files name; () = nobody is known.
        moments: around which to read each.
        facts: what their files may not say.
        place: where the patients should have been named, for a note on those who are not.
        notes: what is known already of how they came about.
    """
    ids = tuple(map(str, sample_ids)) or tuple(ref.key or _stem(ref.path) for ref in refs)
    persons = ids if patient_ids == () else tuple(map(str, patient_ids or ()))
    known = () if patient_ids is None else on_patients(patient_ids, len(ids), place) if place else ()
    return EcgFiles(
        tuple(refs), ids, persons, tuple(moments), facts, (*notes, *known), place if patient_ids is None else ""
    )


def _stem(path: Path) -> str:
    """A file's name without its ending, and without the one that says that it was packed."""
    return Path(path.name.removesuffix(".gz")).stem


def _read_list(path: Path, patients: Patients, facts: EcgFacts) -> EcgFiles:
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
    moment = facts.moment_column
    if moment is not None and moment not in table.names:
        raise UsageError(f"{path} has no column {moment}; it has {named(table.names)}")
    frame = without_blank_rows(table.all(list(dict.fromkeys([column, *filter(None, (sample, whose, moment))]))))
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
        else [_stem(Path(each)) for each in frame[column]]
    )
    if num_nameless := ids.count(""):
        raise DataError(f"{path} has {num_nameless} rows with a path and no {sample}; give each recording its id")
    refs = [EcgRef.parse(_record_below(path.parent, each)) for each in frame[column]]
    return ecg_sources(
        refs,
        sample_ids=ids,
        patient_ids=tuple(frame[whose]) if whose else () if patients.no_patients else None,
        moments=_moments(frame[facts.moment_column], path) if facts.moment_column else (),
        facts=facts,
        place=path.name,
        notes=tuple(notes),
    )


def _record_below(folder: Path, written: str) -> Path:
    """The record that a list names; Windows divides folders by backslashes."""
    path = folder / written
    is_there = path.with_name(f"{path.name.removesuffix(HEADER_SUFFIX)}{HEADER_SUFFIX}").exists()
    return path if is_there or "\\" not in written else folder / written.replace("\\", "/")


def _moments(written: Iterable[str], path: Path) -> list[datetime | None]:
    """The moments of a list's column; a row without one takes its recording's beginning."""
    moments: list[datetime | None] = []
    for text in written:
        try:
            moments.append(datetime.fromisoformat(text.strip()) if text.strip() else None)
        except ValueError:
            raise DataError(f"{path} has moments that are no ISO 8601 (2180-05-06T22:30:00); rewrite them") from None
    return moments


def open_recordings(
    paths: Path | Sequence[Path], *, patients: Patients = ANYBODY, facts: EcgFacts = NO_FACTS
) -> EcgSource | EcgPack:
    """Open recordings of any kind, recognised by what is there; none of them is read yet.

    Args:
        paths: a pack of ECGs; a folder or files of any formats, mixed at will (of a folder everything below it); an
            array with its JSON file beside it or Symile-MIMIC's ``ecg_<split>.npy``, which stay on the disk; or a csv
            with path and if known sample_id and patient_id.
        patients: which column says whose a recording is.
        facts: what the files may not say.

    Raises:
        UsageError: there is nothing of the kind; a column may name the patients and nobody says whether it does; or a
            column of moments is named where there is no list.
        DataError: it is at fault.
    """
    path = paths if isinstance(paths, Path) else None
    is_list = path and _LIST.fullmatch(path.name) and path.is_file() and format_of(path) is None
    if path and is_list:
        return _read_list(path, patients, facts)
    if facts.moment_column is not None:
        raise UsageError("--moment-column names a column of a list; give a csv with path, sample_id and that column")
    if path and is_ecg_pack(path):
        return EcgPack.open(path)
    if path and path.suffix == ".npy" and path.is_file():
        if path.with_suffix(".json").exists():
            return EcgArray(read_array(path, path.with_suffix(".json"), patients))
        if path.name.startswith("ecg_"):
            return EcgArray(read_symile(path))
    files, notes = ecg_files(paths)
    if path and not path.is_dir() and not files[0].is_file():
        raise UsageError(
            f"{path} is no recording; give a pack of ECGs, an ECG file, a folder of them, a .npy array or a .csv list"
        )
    return ecg_sources(
        recordings_in(files, facts),
        patient_ids=() if patients.no_patients else None,
        facts=facts,
        place=f"the folder {path}" if path and path.is_dir() else "",
        notes=notes,
    )
