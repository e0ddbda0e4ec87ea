"""Films of MIMIC-CXR-JPG and recordings of MIMIC-IV-ECG, which hospitals' other tables are linked with as well.

What is watched for: StudyTime is a number without leading zeros, with fractions of a second that are cut off; the
tables of MIMIC-CXR-JPG carry its version in their names; film and ECG paths are made of ids.
"""

import re
from pathlib import Path

from pacx.core.errors import DataError, UsageError
from pacx.linking.kinds import Table
from pacx.linking.raw_tables import Lookup, Mapped, RawTable, files_called, table_at

_RECORDS = "record_list"
_PART = re.compile(r"(mimic-cxr-.*-([a-z]+))\.(?:csv(?:\.gz)?|parquet)")
_ID = r"'^0*([0-9]+)(\.0*)?$'"


def mimic_tables(films: Path | None, recordings: Path | None) -> dict[Table, Mapped]:
    """The tables of those of the two folders that are given.

    Raises:
        UsageError: one is no folder, or lacks its list.
        DataError: a table or a column is missing.
    """
    tables = _films(films) if films else {}
    return tables | ({Table.RECORDINGS: _recordings(_records(recordings))} if recordings else {})


def _films(folder: Path) -> dict[Table, Mapped]:
    films, labels, splits = (_named_part(folder, part) for part in ("metadata", "chexpert", "split"))
    if films is None or labels is None:
        raise DataError(f"{folder} lacks the table mimic-cxr-VERSION-metadata or -chexpert; fetch both")
    lookups = (Lookup.within("split", films.cell("dicom_id"), splits, "dicom_id", "split"),) if splits else ()
    subject, study, dicom = films.cell("subject_id"), films.cell("study_id"), films.cell("dicom_id")
    who, what = f"regexp_extract({subject}, {_ID}, 1)", f"regexp_extract({study}, {_ID}, 1)"
    day = f"regexp_extract({films.cell('StudyDate')}, '^([0-9]{{8}})(\\.0*)?$', 1)"
    clock = f"regexp_extract({films.cell('StudyTime')}, '^([0-9]{{1,6}})(\\.[0-9]*)?$', 1)"
    padded = f"lpad({clock}, 6, '0')"
    date = f"substr({day}, 1, 4) || '-' || substr({day}, 5, 2) || '-' || substr({day}, 7, 2)"
    hour = f"substr({padded}, 1, 2) || ':' || substr({padded}, 3, 2) || ':' || substr({padded}, 5, 2)"
    return {
        Table.FILMS: Mapped(
            films,
            {
                "subject_id": subject,
                "study_id": study,
                "dicom_id": dicom,
                "film_time": f"CASE WHEN {day} = '' THEN '' WHEN {clock} = '' THEN {date} "
                f"ELSE {date} || ' ' || {hour} END",
                "view": films.cell("ViewPosition"),
                "film_path": f"'files/p' || {who}[1:2] || '/p' || {who} || '/s' || {what} || '/' || {dicom} || '.jpg'",
                **{f"{each.name}": f"coalesce({each.found}, '')" for each in lookups},
            },
            lookups=lookups,
            reads=splits.files if splits else (),
        ),
        Table.LABELLED: Mapped(labels, {"study_id": labels.cell("study_id")}),
    }


def _named_part(folder: Path, part: str) -> RawTable | None:
    """A table of MIMIC-CXR-JPG, whatever version its name carries; None where there is none."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; give MIMIC-CXR-JPG's, with its metadata table and files/")
    names = {
        found[1] for path in folder.iterdir() if (found := _PART.fullmatch(path.name.casefold())) and found[2] == part
    }
    if len(names) > 1:
        raise DataError(f"{folder} has {len(names)} tables mimic-cxr-VERSION-{part}; keep one, as it is distributed")
    return table_at(folder, names.pop()) if names else None


def _records(folder: Path) -> RawTable:
    if not folder.is_dir() or not files_called(folder, _RECORDS):
        raise UsageError(f"{folder} has no {_RECORDS}.csv; give the folder of MIMIC-IV-ECG")
    return table_at(folder, _RECORDS)


def _recordings(records: RawTable) -> Mapped:
    return Mapped(
        records,
        {
            "subject_id": records.cell("subject_id"),
            "ecg_study_id": records.cell("study_id"),
            "ecg_time": records.cell("ecg_time"),
            "ecg_path": records.cell("path"),
        },
    )
