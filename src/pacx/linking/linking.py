"""A hospital's tables and a rule in, a folder of pairs out; goes on where it was when killed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from pacx.core.artifacts import discard_partials, scratch_directory
from pacx.core.errors import DataError, UsageError
from pacx.core.progress import announce
from pacx.core.tables.ids import how_they_would_meet, whole_number_id
from pacx.core.typed_json import plain
from pacx.linking.flow import Flow, Loss, Step
from pacx.linking.kinds import Table
from pacx.linking.links import write_links
from pacx.linking.pairing import Looks, Pairing
from pacx.linking.raw_tables import quoted, quoted_name
from pacx.linking.recording_checks import Signal, checked, is_there
from pacx.linking.rules import FilmRule, SymileRule
from pacx.linking.settings import LinkSettings
from pacx.linking.source import Hospital
from pacx.linking.staging import Staged, connected, explained, stage

if TYPE_CHECKING:
    import duckdb


def link(
    hospital: Hospital,
    rule: SymileRule | FilmRule,
    out: Path,
    settings: LinkSettings,
    *,
    draw: Callable[[Flow], Mapping[str, bytes]] = lambda _: {},
    overwrite: bool = False,
) -> Flow:
    """Link a hospital's films, recordings and measurements; ``Links`` opens what it writes.

    Args:
        hospital: what ``Source.open`` found.
        rule: which of them belong together.
        out: the folder of links to make.
        settings: how.
        draw: what draws the flow, as files by name.
        overwrite: replace a folder that is there.

    Raises:
        UsageError: ``out`` is there, or the rule needs a table that the hospital lacks.
        DataError: a table cannot be read, too many of its rows cannot be used, or no pair is left.
    """
    if out.exists() and not overwrite:
        raise UsageError(f"{out} is there already; choose another place, or replace it with --overwrite")
    needed = [each for each in Table if each is not Table.LABELLED]
    if isinstance(rule, SymileRule) and (lacking := [each.unit for each in needed if each not in hospital.tables]):
        raise UsageError(f"rule symile needs {' and '.join(lacking)}; give them, or link by rule film")
    with scratch_directory(out) as scratch, connected(scratch, settings.num_workers, settings.memory_mib) as database:
        discard_partials(scratch)
        with _measurements(database, hospital, scratch, settings) as measured:
            others = [
                _staged(database, table, hospital, scratch, settings)
                for table in Table
                if table is not Table.MEASUREMENTS
            ]
            looks = Looks(
                film_faults=lambda paths: _film_faults(hospital, paths, settings),
                signal_faults=lambda paths: _signal_faults(hospital, paths, scratch, settings),
            )
            pairing = Pairing(database, hospital, looks, _apart(database, settings), measured)
            with explained(f"pairing for {out}"):
                if isinstance(rule, SymileRule):
                    pairing.symile(rule)
                else:
                    pairing.film(rule)
                pairs = list(_content(database, hospital.items))
            staged = {each.table: each for each in (*others, measured()) if each}
        read = [staged[table] for table in Table if table in staged]
        flow = Flow((*(_read(hospital, each) for each in read), *pairing.steps, *pairs))
        if not pairs:
            said = "; ".join(" ".join(line.split()) for line in flow.lines())
            raise DataError(f"no pair is left: {said}{''.join(_strangers(database))}")
        (num_split,) = database.execute(
            "SELECT count(*) FROM (SELECT subject_id FROM pairs GROUP BY ALL HAVING count(DISTINCT split) > 1)"
        ).fetchone() or (0,)
        if num_split:
            raise DataError(
                f"{num_split} patients have films in more than one split, so that a test would know them; mend the "
                "table of splits, or link without it"
            )
        origin = {"rule": {"name": type(rule).__name__, **plain(rule)}, "tables": [each.place for each in read]}
        write_links(out, database, hospital.items, flow, origin, draw(flow))
    return flow


def _strangers(database: "duckdb.DuckDBPyConnection") -> Iterator[str]:
    """Of each table that knows no patient of the films, that it does not, and under which spelling it would."""

    def whose(table: Table) -> set[str]:
        found = database.execute(f"SELECT DISTINCT subject_id FROM {table.unit}").fetchall()
        return {patient for (patient,) in found}

    filmed = whose(Table.FILMS)
    for table in (Table.ADMISSIONS, Table.RECORDINGS, Table.MEASUREMENTS):
        theirs = whose(table)
        if filmed and theirs and not filmed & theirs:
            yield f"; no patient of the films has {table.unit}{how_they_would_meet(filmed, theirs)}"


@contextmanager
def _measurements(
    database: "duckdb.DuckDBPyConnection", hospital: Hospital, scratch: Path, settings: LinkSettings
) -> Iterator[Callable[[], Staged | None]]:
    """Stage the measurements, most of all work, while films and recordings are paired; what is given waits for them.

    A gzip is read by one thread however many there are. With one worker it is left until somebody waits.
    """
    with database.cursor() as beside, ThreadPoolExecutor(1) as thread:
        work = partial(_staged, beside, Table.MEASUREMENTS, hospital, scratch, settings)
        if settings.num_workers < 2:
            yield cache(work)
            return
        staged = thread.submit(work)
        try:
            yield staged.result
        finally:
            while not staged.done():  # something else failed, or somebody interrupts
                beside.interrupt()  # a query, not what is between two
                wait((staged,), timeout=0.1)


def _staged(
    database: "duckdb.DuckDBPyConnection", table: Table, hospital: Hospital, scratch: Path, settings: LinkSettings
) -> Staged | None:
    """Make a view of a table's rows; an empty one where the hospital has no such table."""
    if table in hospital.tables:
        announce(f"reading {hospital.tables[table].raw.place}")
        mapped = hospital.tables[table]
        return stage(database, table, mapped, scratch, max_bad_fraction=settings.max_bad_fraction)
    columns = ", ".join(f"NULL::{column.sql_type} AS {column.name}" for column in table.value)
    database.execute(f"CREATE VIEW {table.unit} AS SELECT NULL::BIGINT AS position, {columns} LIMIT 0")
    return None


def _read(hospital: Hospital, staged: Staged) -> Step:
    """The step from a table as it is to the rows of it that can be used."""
    table = staged.table
    losses = [Loss(fault.reason, fault.count, fault.rows) for fault in staged.faults]
    if staged.num_others:
        losses.insert(0, Loss(hospital.tables[table].others, staged.num_others))
    if (num_blank := staged.num_rows - staged.num_good - sum(fault.count for fault in staged.faults)) > 0:
        losses.append(Loss("without a number", num_blank))
    what = "studies read" if table is Table.LABELLED else "read"
    return Step(table.unit, what, staged.num_good, staged.num_people, tuple(losses))


def _content(database: "duckdb.DuckDBPyConnection", items: Sequence[str]) -> Iterator[Step]:
    """What the pairs have; nothing where there is none."""
    has_ecg = "ecg_study_id IS NOT NULL"
    has_values = f"coalesce({', '.join(map(quoted_name, items))}) IS NOT NULL"
    parts = {"made": "true", "with an ECG": has_ecg, "with measurements": has_values}
    parts["with both"] = f"{has_ecg} AND {has_values}"
    parts |= {f"of split {split}": f"split = {quoted(split)}" for split in ("train", "val", "test")}
    counts = ", ".join(
        f"count(*) FILTER ({test}), count(DISTINCT subject_id) FILTER ({test})" for test in parts.values()
    )
    found = database.execute(f"SELECT {counts} FROM pairs").fetchone() or (0,) * (2 * len(parts))
    for what, num, num_patients in zip(parts, found[::2], found[1::2], strict=True):
        if num and (what == "made" or num < found[0]):
            yield Step("pairs", what, num, num_patients)


def _apart(database: "duckdb.DuckDBPyConnection", settings: LinkSettings) -> Mapping[str, Sequence[str]]:
    """Patients whose films are left out, by the reason, and how many of the hospital's each pack shares."""
    if not settings.disjoint_from:
        return {}
    from pacx.data.packs.pack import Pack
    from pacx.data.records import SPLITS

    apart = {}
    for place in settings.disjoint_from:
        path, _, split = (str(place), "", "") if place.is_dir() else str(place).partition(":")
        pack = Pack.open(Path(path))
        rows = pack.table[pack.has_known_patient]
        if rows.empty:
            raise DataError(f"{path} knows no patient of its films, so that nobody can be kept apart; leave it out")
        if split and split not in SPLITS:
            raise UsageError(f"{place} names no split; write PACK:train, PACK:val, PACK:test, or PACK for all of them")
        patients = set(map(whole_number_id, rows["patient_id"][(rows["split"] == split) | (not split)]))
        theirs = {found for (found,) in database.execute("SELECT DISTINCT subject_id FROM films").fetchall()}
        announce(f"{place} shares {len(patients & theirs):,} of its {len(patients):,} patients")
        if settings.refuse_overlap and patients & theirs:
            raise DataError(f"{place} shares {len(patients & theirs):,} patients; link others, or let them be left out")
        apart[f"are of patients of {place}"] = sorted(patients & theirs)
    return apart


def _film_faults(hospital: Hospital, paths: Sequence[str], settings: LinkSettings) -> Mapping[str, str]:
    absent = [path for path in paths if not is_there(hospital.film_root / path)]
    _require_files("films", hospital.film_root, len(absent), len(paths), settings)
    return dict.fromkeys(absent, "have no file")


def _signal_faults(
    hospital: Hospital, paths: Sequence[str], scratch: Path, settings: LinkSettings
) -> Mapping[str, str]:
    if not paths or hospital.recording_root is None:
        return {}
    found = checked(hospital.recording_root, paths, scratch, settings.num_workers)
    num_absent = sum(signal is Signal.ABSENT for signal in found.values())
    _require_files("recordings", hospital.recording_root, num_absent, len(paths), settings)
    return {path: f"have {signal.value}" for path, signal in found.items() if signal is not Signal.GOOD}


def _require_files(what: str, root: Path, num_absent: int, num: int, settings: LinkSettings) -> None:
    if num_absent > settings.max_absent_fraction * num:
        raise DataError(
            f"{root} lacks {num_absent:,} of {num:,} {what} that are wanted, more than the "
            f"{settings.max_absent_fraction:.2%} allowed; fetch them, or allow more with --max-absent-fraction"
        )
