"""Rules as queries: staged tables in, pairs and what was lost out.

Every choice among rows is ``arg_min`` over one number made of time and position, so that the answer is the same for
any number of threads and any order of work. Candidates are narrowed before anything is looked at on the disk: only
films and recordings within a window are.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pacx.linking.flow import Loss, Step
from pacx.linking.kinds import Table
from pacx.linking.rules import FilmRule, LabChoice, SymileRule
from pacx.linking.source import Hospital
from pacx.linking.staging import NUM_ROWS_NAMED

if TYPE_CHECKING:
    import duckdb

_FILM = "dicom_id, study_id, film_time, film_path, split"
_RECORDING = "ecg_study_id, ecg_time, ecg_path"
_FRONTAL = "view IN ('AP', 'PA')"


@dataclass(frozen=True)
class Looks:
    """What is looked up on the disk: what is wrong with what lies at paths; nothing is said of those that are good.

    Args:
        film_faults: of films.
        signal_faults: of recordings.
    """

    film_faults: Callable[[Sequence[str]], Mapping[str, str]]
    signal_faults: Callable[[Sequence[str]], Mapping[str, str]]


class Pairing:
    """One run of a rule over staged tables.

    Args:
        connection: with views ``admissions``, ``films``, ``recordings``, ``measurements`` and ``labelled`` (studies).
        hospital: whose they are.
        looks: what is looked up on the disk.
        apart: patients by the reason for which no film of theirs may be taken.
        measured: waits until view ``measurements`` is there.
    """

    def __init__(
        self,
        connection: "duckdb.DuckDBPyConnection",
        hospital: Hospital,
        looks: Looks,
        apart: Mapping[str, Collection[str]],
        measured: Callable[[], object],
    ) -> None:
        self._connection, self._hospital, self._looks, self._apart = connection, hospital, looks, apart
        self._measured = measured
        self.steps: list[Step] = []

    def symile(self, rule: SymileRule) -> None:
        """``pairs``: one row per admission that has all three; see ``SymileRule``."""
        self._usable_films(frontal_only=True)
        self._run(
            "near_films",
            f"SELECT hadm_id, f.* FROM usable f JOIN admissions a USING (subject_id) WHERE "
            f"f.film_time > a.admitted + {_hours(rule.film_after_h)} "
            f"AND f.film_time <= a.admitted + {_hours(rule.film_until_h)}",
        )
        self._say("films", "in the window after an admission", "near_films", "usable", "are outside the window")
        self._look("films", "with a file", "near_films", "film_path", self._looks.film_faults)
        self._choose("first_films", "near_films_good", "hadm_id", _FILM, _first("film_time"))
        self._say_admissions("with such a film", "first_films", "admissions", "have no such film")
        has_labels = Table.LABELLED in self._hospital.tables
        labelled = "WHERE study_id IN (SELECT study_id FROM labelled)" if has_labels else ""
        self._run("chosen_films", f"SELECT * FROM first_films {labelled}")
        if has_labels:
            self._say_admissions(
                "whose first such film is of a labelled study", "chosen_films", "first_films", "have no labels"
            )
        self._run(
            "near_recordings",
            "SELECT hadm_id, r.* FROM recordings r JOIN admissions a USING (subject_id) SEMI JOIN chosen_films "
            f"USING (hadm_id) WHERE {_within('r.ecg_time', 'a.admitted', rule.ecg_window_h)}",
        )
        self._say("recordings", "near such an admission", "near_recordings", "recordings", "are outside the window")
        self._look("recordings", "with a signal", "near_recordings", "ecg_path", self._looks.signal_faults)
        self._choose("chosen_recordings", "near_recordings_good", "hadm_id", _RECORDING, _first("ecg_time"))
        self._run("with_both", "SELECT * FROM chosen_films JOIN chosen_recordings USING (hadm_id)")
        self._say_admissions("with an ECG", "with_both", "chosen_films", "have no ECG")
        self._measured()
        self._run(
            "near_measurements",
            "SELECT hadm_id, m.* FROM measurements m JOIN admissions a USING (subject_id) SEMI JOIN with_both "
            f"USING (hadm_id) WHERE {_within('m.taken', 'a.admitted', rule.lab_window_h)}",
        )
        self._say(
            "measurements", "near such an admission", "near_measurements", "measurements", "are outside the window"
        )
        self._choose_values("hadm_id", _first("taken"))
        self._run(
            "complete",
            f"SELECT a.subject_id, b.*, v.* EXCLUDE (hadm_id) FROM with_both b JOIN ({self._wide('hadm_id')}) v "
            "USING (hadm_id) JOIN admissions a USING (hadm_id)",
        )
        self._say_admissions("with a measurement", "complete", "with_both", "have no measurement")
        self._run("of_same_patients", "SELECT f.* FROM usable f SEMI JOIN complete USING (subject_id)")
        self._keep("of_same_patients", "film_path", self._looks.film_faults)
        self._pairs("complete", "*", "of_same_patients_good", "try_cast(hadm_id AS HUGEINT), hadm_id")

    def film(self, rule: FilmRule) -> None:
        """``pairs``: one row per film that has an ECG or a measurement; see ``FilmRule``."""
        self._usable_films(frontal_only=rule.frontal_only)
        self._look("films", "with a file", "usable", "film_path", self._looks.film_faults)
        until = "AND {time} <= f.film_time" if rule.no_future else ""
        self._run(
            "near_recordings",
            "SELECT f.position AS film, f.film_time, r.* FROM recordings r JOIN usable_good f USING (subject_id) "
            f"WHERE {_within('r.ecg_time', 'f.film_time', rule.ecg_window_h)} {until.format(time='r.ecg_time')}",
        )
        self._say("recordings", "near a film", "near_recordings", "recordings", "are outside the window")
        self._look("recordings", "with a signal", "near_recordings", "ecg_path", self._looks.signal_faults)
        self._choose("chosen_recordings", "near_recordings_good", "film", _RECORDING, _nearest("ecg_time"))
        if rule.lab_choice is LabChoice.LAST:
            until = "AND {time} <= f.film_time"
        self._measured()
        self._run(
            "near_measurements",
            "SELECT f.position AS film, f.film_time, m.* FROM measurements m JOIN usable_good f USING (subject_id) "
            f"WHERE {_within('m.taken', 'f.film_time', rule.lab_window_h)} {until.format(time='m.taken')}",
        )
        self._say("measurements", "near a film", "near_measurements", "measurements", "are outside the window")
        self._choose_values("film", _nearest("taken"))
        self._run(
            "stays",
            f"SELECT f.position AS film, arg_min(hadm_id, {_first('admitted', 'a.position')}) AS hadm_id "
            "FROM usable_good f JOIN admissions a USING (subject_id) "
            "WHERE f.film_time BETWEEN a.admitted AND a.discharged GROUP BY f.position",
        )
        self._run(
            "with_any",
            f"SELECT f.subject_id, s.hadm_id, {_FILM}, f.position, r.* EXCLUDE (film), v.* EXCLUDE (film) "
            "FROM usable_good f LEFT JOIN stays s ON s.film = f.position "
            "LEFT JOIN chosen_recordings r ON r.film = f.position "
            f"LEFT JOIN ({self._wide('film')}) v ON v.film = f.position WHERE r.film IS NOT NULL OR v.film IS NOT NULL",
        )
        self._say("films", "with an ECG or a measurement", "with_any", "usable_good", "have neither near")
        self._pairs("with_any", "* EXCLUDE (position)", "usable_good", "p.position")

    def _pairs(self, name: str, kept: str, films: str, order: str) -> None:
        """``pairs``: those of a table with the film that the patient had before, of these films, and its pairs."""
        latest = "epoch(f.film_time)::HUGEINT * 1000000000000 - f.position"
        columns = ", ".join(f"max_by(f.{each}, {latest}) AS previous_{each}" for each in ("dicom_id", "film_time"))
        self._run(
            "pairs",
            f"WITH earlier AS (SELECT p.dicom_id, {columns} FROM (SELECT DISTINCT subject_id, dicom_id, film_time "
            f"FROM {name}) p JOIN {films} f USING (subject_id) WHERE f.film_time < p.film_time GROUP BY p.dicom_id), "
            f"claimed AS (SELECT dicom_id, count(*) AS num FROM {name} GROUP BY dicom_id) "
            f"SELECT p.{kept}, previous_dicom_id, previous_film_time, coalesce(num, 0) AS previous_pairs "
            f"FROM {name} p LEFT JOIN earlier USING (dicom_id) LEFT JOIN claimed c ON c.dicom_id = previous_dicom_id "
            f"ORDER BY {order}",
        )

    def _usable_films(self, *, frontal_only: bool) -> None:
        """``usable``: films of nobody who has to be kept apart and, where views are known, frontal ones."""
        if not self._apart:
            self._run("own_films", "SELECT * FROM films")
        else:
            whose = {patient: reason for reason, patients in self._apart.items() for patient in patients}
            losses = self._without("films", "own_films", "subject_id", whose)
            count, patients = self._count("own_films")
            self.steps.append(Step("films", "of patients whom nobody else tests", count, patients, losses))
        has_views = "view" in self._hospital.tables[Table.FILMS].cells
        self._run("usable", f"SELECT * FROM own_films WHERE {_FRONTAL if frontal_only and has_views else 'true'}")
        if frontal_only and has_views:
            self._say("films", "of view AP or PA", "usable", "own_films", "are of another view, or of none")

    def _look(
        self, of: str, what: str, name: str, column: str, look: Callable[[Sequence[str]], Mapping[str, str]]
    ) -> None:
        """``name_good``: the rows of a table whose path is good; the others are counted and named by their row."""
        losses = self._keep(name, column, look)
        self.steps.append(Step(of, what, *self._count(f"{name}_good"), losses))

    def _keep(self, name: str, column: str, look: Callable[[Sequence[str]], Mapping[str, str]]) -> tuple[Loss, ...]:
        found = self._connection.execute(f"SELECT DISTINCT {column} FROM {name} ORDER BY {column}").fetchall()
        return self._without(name, f"{name}_good", column, look([path for (path,) in found]))

    def _without(self, rows: str, name: str, column: str, faults: Mapping[str, str]) -> tuple[Loss, ...]:
        """A table ``name`` of the rows whose cell has no fault, and what was lost."""
        self._connection.execute(
            "CREATE OR REPLACE TEMP TABLE faults AS "
            "SELECT unnest($1::VARCHAR[]) AS cell, unnest($2::VARCHAR[]) AS fault",
            [list(faults), list(faults.values())],
        )
        self._run(name, f"SELECT * FROM {rows} ANTI JOIN faults ON {column} = cell")
        lost = self._connection.execute(
            f"SELECT fault, count(DISTINCT position), list(DISTINCT position) FROM {rows} JOIN faults "
            f"ON {column} = cell GROUP BY fault ORDER BY fault"
        ).fetchall()
        return tuple(Loss(fault, count, tuple(sorted(rows)[:NUM_ROWS_NAMED])) for fault, count, rows in lost)

    def _choose_values(self, key: str, order: str) -> None:
        self._run(
            "chosen_values",
            f"SELECT {key}, item, arg_min(value, {order}) AS value FROM near_measurements GROUP BY {key}, item",
        )
        self._connection.execute("DROP TABLE near_measurements")  # the largest of all, and done with

    def _wide(self, key: str) -> str:
        """SQL of chosen values, one column an item."""
        columns = ", ".join(f"max(value) FILTER (item = '{item}') AS \"{item}\"" for item in self._hospital.items)
        return f"SELECT {key}, {columns} FROM chosen_values GROUP BY {key}"

    def _choose(self, name: str, rows: str, key: str, columns: str, order: str) -> None:
        """Of the rows of each key these columns of the one that comes first in an order."""
        self._run(name, f"SELECT {key}, unnest(arg_min(struct_pack({columns}), {order})) FROM {rows} GROUP BY {key}")

    def _run(self, name: str, query: str) -> None:
        self._connection.execute(f"CREATE TEMP TABLE {name} AS {query}")

    def _count(self, name: str) -> tuple[int, int]:
        """Different rows of the hospital's table, and patients."""
        found = self._connection.execute(
            f"SELECT count(DISTINCT position), count(DISTINCT subject_id) FROM {name}"
        ).fetchone()
        return found or (0, 0)

    def _num_rows(self, name: str) -> int:
        """Of a table in which each row of the hospital's stands once."""
        found: tuple[int] = self._connection.execute(f"SELECT count(*) FROM {name}").fetchone() or (0,)
        return found[0]

    def _say(self, of: str, what: str, name: str, before: str, reason: str) -> None:
        count, patients = self._count(name)
        lost = self._num_rows(before) - count
        self.steps.append(Step(of, what, count, patients, (Loss(reason, lost),) if lost else ()))

    def _say_admissions(self, what: str, name: str, before: str, reason: str) -> None:
        found = self._connection.execute(
            f"SELECT count(*), count(DISTINCT subject_id) FROM admissions SEMI JOIN {name} USING (hadm_id)"
        ).fetchone()
        count, patients = found or (0, 0)
        lost = self._num_rows(before) - count
        self.steps.append(Step("admissions", what, count, patients, (Loss(reason, lost),) if lost else ()))


def _hours(hours: float) -> str:
    return f"to_seconds({round(hours * 3600)})"


def _within(time: str, reference: str, hours: float) -> str:
    """Both ends included."""
    return f"{time} BETWEEN {reference} - {_hours(hours)} AND {reference} + {_hours(hours)}"


def _first(time: str, position: str = "position") -> str:
    """Orders by time, then by the row of the table."""
    return f"(epoch({time})::HUGEINT * 1000000000000 + {position})"


def _nearest(time: str, position: str = "position") -> str:
    """Orders by distance from the film; of two equally near the earlier counts, then the row that stands first."""
    distance = f"(epoch({time}) - epoch(film_time))"
    return f"((abs({distance})::HUGEINT * 2 + ({distance} > 0)::INT) * 1000000000000 + {position})"
