"""Anybody's csv or parquet files; a small TOML names the columns (see ``named_columns``)."""

from dataclasses import dataclass
from pathlib import Path

from pacx.core.errors import UsageError
from pacx.linking.kinds import Table
from pacx.linking.source import Hospital, Source, SourceCard


@dataclass(frozen=True, kw_only=True)
class TablesOptions:
    """Where the TOML is."""

    toml: Path
    """Names tables and their columns, one section each: films (table, patient, time, file; id, study, view, split),
    ecgs (table, patient, time, file; id), labs (table, patient, time, item, value; unit, items), admissions (table,
    patient, id, begin; end), labels (table, study). What stands behind the semicolon may be left out."""


class Tables(Source[TablesOptions]):
    """Reads tables by the names that their owner gives."""

    card = SourceCard(
        name="tables",
        title="your own csv or parquet files; a small TOML names their columns",
        example="pacx data link tables --toml hospital.toml --out links",
    )
    options_type = TablesOptions

    def open(self, options: TablesOptions) -> Hospital:
        """Map the tables that the TOML names."""
        from pacx.linking.sources.named_columns import hospital_of

        hospital = hospital_of(options.toml)
        others = {Table.RECORDINGS, Table.MEASUREMENTS} & set(hospital.tables)
        if Table.FILMS not in hospital.tables or not others:
            raise UsageError(f"{options.toml} names too little to pair; it needs films, and ecgs or labs")
        return hospital


SOURCE = Tables()
