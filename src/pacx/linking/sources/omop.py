"""Laboratory values and visits of an OMOP CDM 5.4, with films and ECGs as tables or in MIMIC's folders.

What is watched for: films bear the hospital's numbers of patients, which the CDM keeps as person_source_value; a
``datetime`` may be blank where the ``date`` is not; concept 0 means that nobody mapped a row, so that its source value
may say more; a unit is a concept or a text.
"""

from dataclasses import dataclass
from pathlib import Path

from pacx.core.errors import UsageError
from pacx.linking.kinds import Table
from pacx.linking.raw_tables import Lookup, Mapped, RawTable, files_called, quoted, table_at
from pacx.linking.source import Hospital, Source, SourceCard
from pacx.linking.sources.mimic_folders import mimic_tables


@dataclass(frozen=True, kw_only=True)
class OmopOptions:
    """Where the CDM and the films are."""

    cdm: Path
    """The folder of the CDM: measurement, person and visit_occurrence (.csv, .csv.gz or .parquet, in any case); concept
    if there."""

    mimic_cxr_jpg: Path | None = None
    """MIMIC-CXR-JPG, where its films are these patients'."""

    mimic_iv_ecg: Path | None = None
    """MIMIC-IV-ECG, where its recordings are these patients'."""

    tables: Path | None = None
    """A TOML that names the columns of tables of films, ecgs or labels, as source tables has it."""

    items: Path | None = None
    """A csv of two columns, code and item: your own concepts or source values, and the test of the panel each is."""

    visit_concepts: tuple[str, ...] = ("9201", "262")
    """Which visits are admissions: stays in hospital, with and without an emergency room before."""


class Omop(Source[OmopOptions]):
    """Reads a CDM."""

    card = SourceCard(
        name="omop",
        title="an OMOP CDM 5.4, with films and ECGs as tables",
        example="pacx data link omop --cdm cdm --tables films.toml --out links",
    )
    options_type = OmopOptions

    def open(self, options: OmopOptions) -> Hospital:
        """Map the CDM's tables."""
        from pacx.linking.sources.lab_codes import ITEMS, own_items
        from pacx.linking.sources.named_columns import hospital_of

        tables = mimic_tables(options.mimic_cxr_jpg, options.mimic_iv_ecg)
        film_root, recording_root = options.mimic_cxr_jpg, options.mimic_iv_ecg
        if options.tables:
            own = hospital_of(options.tables)
            tables |= own.tables
            film_root, recording_root = film_root or own.film_root, recording_root or own.recording_root
        if Table.FILMS not in tables or film_root is None:
            raise UsageError("films are needed; give --mimic-cxr-jpg, or --tables with a TOML that names them")
        person = table_at(options.cdm, "person")
        if files_called(options.cdm, "visit_occurrence"):
            visits = table_at(options.cdm, "visit_occurrence")
            tables[Table.ADMISSIONS] = _admissions(visits, person, options.visit_concepts)
        measurement = table_at(options.cdm, "measurement")
        concept = table_at(options.cdm, "concept") if files_called(options.cdm, "concept") else None
        tables[Table.MEASUREMENTS] = _measurements(measurement, person, concept, own_items(options.items))
        return Hospital(tables=tables, items=ITEMS, film_root=film_root, recording_root=recording_root)


SOURCE = Omop()


def _patient(table: RawTable, person: RawTable) -> Lookup:
    """The hospital's number of a person: the source value, or the CDM's own number where no person has any."""
    if not person.has("person_source_value"):
        return Lookup.within("person", table.cell("person_id"), person, "person_id", "person_id")
    lookup = Lookup.within("person", table.cell("person_id"), person, "person_id", "person_source_value")
    rows = (
        f"SELECT person_key, CASE WHEN max(person_found) OVER () = '' THEN person_key ELSE person_found END "
        f"AS person_found FROM ({lookup.rows})"
    )
    return Lookup(lookup.name, lookup.key, rows)


def _moment(table: RawTable, name: str) -> str:
    """A date and hour, or the date alone, which is counted as one without an hour."""
    day = table.cell(f"{name}_date")
    return f"coalesce(nullif({table.cell(f'{name}_datetime')}, ''), {day})" if table.has(f"{name}_datetime") else day


def _concept(table: RawTable, column: str) -> str:
    """A concept's id; '' for 0, which means that there is none."""
    whole = f"regexp_replace({table.cell(column)}, '\\.0*$', '')"
    return f"CASE {whole} WHEN '0' THEN '' ELSE {whole} END"


def _admissions(visits: RawTable, person: RawTable, concepts: tuple[str, ...]) -> Mapped:
    patient = _patient(visits, person)
    return Mapped(
        visits,
        {
            "subject_id": f"coalesce({patient.found}, '')",
            "hadm_id": visits.cell("visit_occurrence_id"),
            "admitted": _moment(visits, "visit_start"),
            "discharged": _moment(visits, "visit_end"),
        },
        where=f"{_concept(visits, 'visit_concept_id')} IN ({', '.join(map(quoted, concepts))})",
        others="are other visits",
        lookups=(patient,),
        reads=person.files,
    )


def _measurements(table: RawTable, person: RawTable, concept: RawTable | None, own: dict[str, str]) -> Mapped:
    from pacx.linking.sources.lab_codes import BY_CONCEPT, BY_LOINC, ITEMS, UNIT_BY_CONCEPT, factors

    patient = _patient(table, person)
    standard = _concept(table, "measurement_concept_id")
    source = table.cell("measurement_source_value") if table.has("measurement_source_value") else "''"
    items = [
        Lookup.of("concept", standard, {**BY_CONCEPT, **own}),
        Lookup.of("source", source, {**{item: item for item in ITEMS}, **own}),
    ]
    if concept is not None:
        codes = ", ".join(f"({quoted(code)}, {quoted(item)})" for code, item in BY_LOINC.items())
        rows = (
            f"SELECT {concept.cell('concept_id')} AS loinc_key, any_value(i) AS loinc_found FROM {concept.rows()} "
            f"JOIN (VALUES {codes}) AS known(c, i) ON {concept.cell('concept_code')} = c "
            f"WHERE {concept.cell('vocabulary_id')} = 'LOINC' GROUP BY 1"
        )
        items.append(Lookup("loinc", standard, rows))
    item = f"coalesce({', '.join(each.found for each in items)})"
    unit_concept = _concept(table, "unit_concept_id") if table.has("unit_concept_id") else "''"
    named = Lookup.of("unit", unit_concept, UNIT_BY_CONCEPT)
    text = table.cell("unit_source_value") if table.has("unit_source_value") else "''"
    # a concept that nobody knows here is a unit that cannot be converted
    unit = f"coalesce({named.found}, nullif({text}, ''), nullif('concept ' || {unit_concept}, 'concept '), '')"
    factor = factors(item, unit)
    return Mapped(
        table,
        {
            "subject_id": f"coalesce({patient.found}, '')",
            "item": item,
            "taken": _moment(table, "measurement"),
            "value": table.cell("value_as_number"),
        },
        where=f"{item} IS NOT NULL",
        others="are of other concepts",
        lookups=(patient, *items, named, factor),
        unit=unit,
        factor=factor.found,
        reads=(*person.files, *(concept.files if concept else ())),
    )
