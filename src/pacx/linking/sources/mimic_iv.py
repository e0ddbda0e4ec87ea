"""MIMIC-IV with MIMIC-CXR-JPG and MIMIC-IV-ECG, as PhysioNet distributes them (2.x and 3.x of MIMIC-IV).

What is watched for: StudyTime is a number without leading zeros, with fractions of a second that are cut off; the
tables of MIMIC-CXR-JPG carry its version in their names; film and ECG paths are made of ids; laboratory rows count by
patient, since a third of them names no admission.
"""

from dataclasses import dataclass
from pathlib import Path

from pacx.core.errors import DataError, UsageError
from pacx.core.vocabulary import LAB_ITEM_IDS
from pacx.linking.kinds import Table
from pacx.linking.raw_tables import Lookup, Mapped, RawTable, table_at, table_of
from pacx.linking.source import Hospital, Source, SourceCard

_RECORDS = "record_list"
_ID = r"'^0*([0-9]+)(\.0*)?$'"


@dataclass(frozen=True, kw_only=True)
class MimicIvOptions:
    """Where the copies are; films and one of the other two are needed."""

    hosp: Path | None = None
    """The folder hosp of MIMIC-IV, with admissions and labevents (.csv.gz, .csv or .parquet)."""

    mimic_cxr_jpg: Path | None = None
    """MIMIC-CXR-JPG: its metadata and CheXpert tables, and files/."""

    mimic_iv_ecg: Path | None = None
    """MIMIC-IV-ECG: record_list.csv and files/."""


class MimicIv(Source[MimicIvOptions]):
    """Reads MIMIC."""

    card = SourceCard(
        name="mimic-iv",
        title="MIMIC-IV with MIMIC-CXR-JPG and MIMIC-IV-ECG",
        example="pacx data link mimic-iv --hosp mimiciv/hosp --mimic-cxr-jpg mimic-cxr-jpg --mimic-iv-ecg mimic-iv-ecg "
        "--rule symile --out links",
    )
    options_type = MimicIvOptions

    def open(self, options: MimicIvOptions) -> Hospital:
        """Map the tables of the modules that there are."""
        if options.mimic_cxr_jpg is None or (options.hosp is None and options.mimic_iv_ecg is None):
            raise UsageError(
                "films and something to pair them with are needed; give --mimic-cxr-jpg, and --hosp or --mimic-iv-ecg"
            )
        tables = _films(options.mimic_cxr_jpg)
        if options.hosp is not None:
            tables |= _hosp(options.hosp)
        if options.mimic_iv_ecg is not None:
            tables[Table.RECORDINGS] = _recordings(table_of(_records(options.mimic_iv_ecg)))
        return Hospital(
            tables=tables,
            items=tuple(map(str, LAB_ITEM_IDS)),
            film_root=options.mimic_cxr_jpg,
            recording_root=options.mimic_iv_ecg,
        )


SOURCE = MimicIv()


def _hosp(folder: Path) -> dict[Table, Mapped]:
    admissions, events = table_at(folder, "admissions"), table_at(folder, "labevents")
    items = ", ".join(f"'{item}'" for item in LAB_ITEM_IDS)
    item = f"regexp_extract({events.cell('itemid')}, {_ID}, 1)"
    return {
        Table.ADMISSIONS: Mapped(
            admissions,
            {
                "subject_id": admissions.cell("subject_id"),
                "hadm_id": admissions.cell("hadm_id"),
                "admitted": admissions.cell("admittime"),
                "discharged": admissions.cell("dischtime"),
            },
        ),
        Table.MEASUREMENTS: Mapped(
            events,
            {
                "subject_id": events.cell("subject_id"),
                "item": item,
                "taken": events.cell("charttime"),
                "value": events.cell("valuenum"),
            },
            where=f"{item} IN ({items})",
            others="are of other items",
        ),
    }


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
    names = {path.name.partition(".csv")[0].removesuffix(".parquet") for path in folder.glob(f"mimic-cxr-*-{part}.*")}
    if len(names) > 1:
        raise DataError(f"{folder} has {len(names)} tables mimic-cxr-VERSION-{part}; keep one, as it is distributed")
    return table_at(folder, names.pop()) if names else None


def _records(folder: Path) -> Path:
    found = [path for ending in (".csv", ".csv.gz", ".parquet") if (path := folder / f"{_RECORDS}{ending}").is_file()]
    if not found:
        raise UsageError(f"{folder} has no {_RECORDS}.csv; give the folder of MIMIC-IV-ECG")
    return found[0]


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
