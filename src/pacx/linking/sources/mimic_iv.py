"""MIMIC-IV with MIMIC-CXR-JPG and MIMIC-IV-ECG, as PhysioNet distributes them (2.x and 3.x of MIMIC-IV).

What is watched for: laboratory rows count by patient, since a third of them names no admission; their numbers are taken
as they stand, since an item id of MIMIC has one unit.
"""

from dataclasses import dataclass
from pathlib import Path

from pacx.core.errors import UsageError
from pacx.core.vocabulary import LAB_ITEM_IDS
from pacx.linking.kinds import Table
from pacx.linking.raw_tables import Lookup, Mapped, table_at
from pacx.linking.source import Hospital, Source, SourceCard
from pacx.linking.sources.mimic_folders import mimic_tables

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
        tables = mimic_tables(options.mimic_cxr_jpg, options.mimic_iv_ecg)
        if options.hosp is not None:
            tables |= _hosp(options.hosp)
        return Hospital(
            tables=tables,
            items=tuple(map(str, LAB_ITEM_IDS)),
            film_root=options.mimic_cxr_jpg,
            recording_root=options.mimic_iv_ecg,
        )


SOURCE = MimicIv()


def _hosp(folder: Path) -> dict[Table, Mapped]:
    admissions, events = table_at(folder, "admissions"), table_at(folder, "labevents")
    cell = events.cell("itemid")
    items = list(map(str, LAB_ITEM_IDS))
    odd = f"contains({cell}, '.') OR starts_with({cell}, '0')"
    bare = f"CASE WHEN {odd} THEN regexp_extract({cell}, {_ID}, 1) ELSE {cell} END"
    # as many characters as an item id has are one as they stand, or are none
    bare = f"CASE WHEN strlen({cell.stored}) = {min(map(len, items))} THEN {cell.stored} ELSE {bare} END"
    # looked up, since comparing every row with fifty ids takes as long as reading it
    item = Lookup.of("item", bare, {item: item for item in items})
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
                "item": f"coalesce({item.found}, '')",
                "taken": events.cell("charttime"),
                "value": events.cell("valuenum"),
            },
            where=f"{item.found} IS NOT NULL",
            lookups=(item,),
            others="are of other items",
        ),
    }
