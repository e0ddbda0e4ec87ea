"""Rules as queries: staged tables in, pairs and what was lost out.

Every choice among rows is ``arg_min`` over one number made of time and position, so that the answer is the same for
any number of threads and any order of work. Candidates are narrowed before anything is looked at on the disk: only
films and recordings within a window are.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pacx.linking.flow import Loss, Step
from pacx.linking.kinds import Table
from pacx.linking.rules import FilmRule, LabChoice, SymileRule
from pacx.linking.source import Hospital

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

_FILM = "dicom_id, study_id, film_time, film_path, split"
_RECORDING = "ecg_study_id, ecg_time, ecg_path"
_FRONTAL = "view IN ('AP', 'PA')"


@dataclass(frozen=True)
class Looks:
    """What is looked up on the disk, of paths.

    Args:
        has_film: whether there is a film at a path.
        signal_faults: what is wrong with recordings, by path; "" where nothing is.
    """

    has_film: Callable[[str], bool]
    signal_faults: Callable[[Sequence[str]], Mapping[str, str]]


class Pairing:
    """One run of a rule over staged tables.

    Args:
        connection: with views ``admissions``, ``films``, ``recordings``, ``measurements`` and ``labelled`` (studies).
        hospital: whose they are.
        looks: what is looked up on the disk.
    """

    def __init__(self, connection: "duckdb.DuckDBPyConnection", hospital: Hospital, looks: Looks) -> None:
        self._connection, self._hospital, self._looks = connection, hospital, looks
        self.steps: list[Step] = []

    def symile(self, rule: SymileRule) -> "pd.DataFrame":
        """One row per admission that has all three; see ``SymileRule``."""
        self._frontal_films()
        self._run(
            "near_films",
            f"SELECT hadm_id, f.* FROM frontal f JOIN admissions a USING (subject_id) WHERE "
            f"f.film_time > a.admitted + {_hours(rule.film_after_h)} "
            f"AND f.film_time <= a.admitted + {_hours(rule.film_until_h)}",
        )
        self._look_for_films("near_films")
        self._choose("first_films", "near_films_there", "hadm_id", _FILM, _first("film_time"))
        self._say_admissions("with such a film", "first_films", "admissions")
        has_labels = Table.LABELLED in self._hospital.tables
        labelled = "WHERE study_id IN (SELECT study_id FROM labelled)" if has_labels else ""
        self._run("chosen_films", f"SELECT * FROM first_films {labelled}")
        if has_labels:
            self._say_admissions("whose earliest such film is of a labelled study", "chosen_films", "first_films")
        self._run(
            "near_recordings",
            "SELECT hadm_id, r.* FROM recordings r JOIN admissions a USING (subject_id) SEMI JOIN chosen_films "
            f"USING (hadm_id) WHERE {_within('r.ecg_time', 'a.admitted', rule.ecg_window_h)}",
        )
        self._look_into_recordings("near_recordings")
        self._choose("chosen_recordings", "near_recordings_good", "hadm_id", _RECORDING, _first("ecg_time"))
        self._run("with_both", "SELECT * FROM chosen_films JOIN chosen_recordings USING (hadm_id)")
        self._say_admissions("with such a film and an ECG", "with_both", "chosen_films")
        self._run(
            "chosen_values",
            f"SELECT hadm_id, item, arg_min(value, {_first('taken', 'm.position')}) AS value FROM measurements m "
            "JOIN admissions a USING (subject_id) SEMI JOIN with_both USING (hadm_id) "
            f"WHERE {_within('m.taken', 'a.admitted', rule.lab_window_h)} GROUP BY hadm_id, item",
        )
        values = self._wide("hadm_id")
        self._run(
            "complete",
            f"SELECT a.subject_id, b.*, v.* EXCLUDE (hadm_id) FROM with_both b JOIN ({values}) v USING (hadm_id) "
            "JOIN admissions a USING (hadm_id)",
        )
        self._say_admissions("with such a film, an ECG and a measurement", "complete", "with_both")
        self._run("of_same_patients", "SELECT f.* FROM frontal f SEMI JOIN complete USING (subject_id)")
        self._keep_with_file("of_same_patients")
        return self._pairs("complete", "of_same_patients_there", "try_cast(hadm_id AS HUGEINT), hadm_id")

    def film(self, rule: FilmRule) -> "pd.DataFrame":
        """One row per film that has an ECG or a measurement; see ``FilmRule``."""
        if rule.frontal_only:
            self._frontal_films()
        else:
            self._run("frontal", "SELECT * FROM films")
        self._look_for_films("frontal")
        until = "AND {time} <= f.film_time" if rule.no_future else ""
        self._run(
            "near_recordings",
            "SELECT f.position AS film, f.film_time, r.* FROM recordings r JOIN frontal_there f USING (subject_id) "
            f"WHERE {_within('r.ecg_time', 'f.film_time', rule.ecg_window_h)} {until.format(time='r.ecg_time')}",
        )
        self._look_into_recordings("near_recordings")
        self._choose("chosen_recordings", "near_recordings_good", "film", _RECORDING, _nearest("ecg_time"))
        if rule.lab_choice is LabChoice.LAST:
            until = "AND {time} <= f.film_time"
        self._run(
            "chosen_values",
            f"SELECT f.position AS film, item, arg_min(value, {_nearest('taken', 'm.position')}) AS value "
            "FROM measurements m JOIN frontal_there f USING (subject_id) "
            f"WHERE {_within('m.taken', 'f.film_time', rule.lab_window_h)} {until.format(time='m.taken')} "
            "GROUP BY f.position, item",
        )
        self._run(
            "stays",
            f"SELECT f.position AS film, arg_min(hadm_id, {_first('admitted', 'a.position')}) AS hadm_id "
            "FROM frontal_there f JOIN admissions a USING (subject_id) "
            "WHERE f.film_time BETWEEN a.admitted AND a.discharged GROUP BY f.position",
        )
        self._run(
            "with_any",
            f"SELECT f.subject_id, s.hadm_id, {_FILM}, f.position, r.* EXCLUDE (film), v.* EXCLUDE (film) "
            "FROM frontal_there f LEFT JOIN stays s ON s.film = f.position "
            "LEFT JOIN chosen_recordings r ON r.film = f.position "
            f"LEFT JOIN ({self._wide('film')}) v ON v.film = f.position WHERE r.film IS NOT NULL OR v.film IS NOT NULL",
        )
        self._say(
            "films", "with what is near them", "with_any", "frontal_there", "have neither ECG nor measurement near"
        )
        return self._pairs("with_any", "frontal_there", "p.position").drop(columns="position")

    def _pairs(self, name: str, films: str, order: str) -> "pd.DataFrame":
        """The pairs of a table with the film that the patient had before, of these films, and how many pairs it has."""
        latest = "epoch(f.film_time)::HUGEINT * 1000000000000 - f.position"
        columns = ", ".join(f"max_by(f.{each}, {latest}) AS previous_{each}" for each in ("dicom_id", "film_time"))
        pairs = self._connection.execute(
            f"WITH earlier AS (SELECT p.dicom_id, {columns} FROM (SELECT DISTINCT subject_id, dicom_id, film_time "
            f"FROM {name}) p JOIN {films} f USING (subject_id) WHERE f.film_time < p.film_time GROUP BY p.dicom_id) "
            f"SELECT p.*, previous_dicom_id, previous_film_time FROM {name} p LEFT JOIN earlier USING (dicom_id) "
            f"ORDER BY {order}"
        ).df()
        num_pairs = pairs["previous_dicom_id"].map(pairs["dicom_id"].value_counts()).fillna(0)
        return pairs.assign(previous_pairs=num_pairs.astype("int64"))

    def _frontal_films(self) -> None:
        if "view" not in self._hospital.tables[Table.FILMS].cells:
            self._run("frontal", "SELECT * FROM films")
            return
        self._run("frontal", f"SELECT * FROM films WHERE {_FRONTAL}")
        self._say("films", "of view AP or PA", "frontal", "films", "are of another view, or of none")

    def _look_for_films(self, name: str) -> None:
        """``name_there``: the rows of a table of films whose file is there."""
        self._keep_with_file(name)
        self._say("films", "in time, with a file", f"{name}_there", name, "have no file", of="dicom_id")

    def _keep_with_file(self, name: str) -> None:
        paths = self._paths(name, "film_path")
        self._keep(name, "there", "film_path", [path for path in paths if self._looks.has_film(path)])

    def _look_into_recordings(self, name: str) -> None:
        """``name_good``: the rows of a table of recordings that hold a signal."""
        faults = self._looks.signal_faults(self._paths(name, "ecg_path"))
        self._keep(name, "good", "ecg_path", [path for path, fault in faults.items() if not fault])
        count, patients = self._count(f"{name}_good", "ecg_path")
        found = [fault for fault in faults.values() if fault]
        losses = tuple(Loss(f"have {fault}", found.count(fault)) for fault in sorted(set(found)))
        self.steps.append(Step("recordings", "in time, with a signal", count, patients, losses))

    def _wide(self, key: str) -> str:
        """SQL of chosen values, one column an item."""
        columns = ", ".join(f"max(value) FILTER (item = '{item}') AS \"{item}\"" for item in self._hospital.items)
        return f"SELECT {key}, {columns} FROM chosen_values GROUP BY {key}"

    def _choose(self, name: str, rows: str, key: str, columns: str, order: str) -> None:
        """Of the rows of each key these columns of the one that comes first in an order."""
        self._run(name, f"SELECT {key}, unnest(arg_min(struct_pack({columns}), {order})) FROM {rows} GROUP BY {key}")

    def _run(self, name: str, query: str) -> None:
        self._connection.execute(f"CREATE TEMP TABLE {name} AS {query}")

    def _paths(self, name: str, column: str) -> list[str]:
        found = self._connection.execute(f"SELECT DISTINCT {column} FROM {name} ORDER BY {column}").fetchall()
        return [path for (path,) in found]

    def _keep(self, name: str, suffix: str, column: str, kept: Sequence[str]) -> None:
        import pandas as pd

        self._connection.register("kept_paths", pd.DataFrame({column: pd.Series(kept, dtype=str)}))
        self._run(f"{name}_{suffix}", f"SELECT * FROM {name} SEMI JOIN kept_paths USING ({column})")
        self._connection.unregister("kept_paths")

    def _count(self, name: str, of: str = "*") -> tuple[int, int]:
        what = f"DISTINCT {of}" if of != "*" else "*"
        found = self._connection.execute(f"SELECT count({what}), count(DISTINCT subject_id) FROM {name}").fetchone()
        return found or (0, 0)

    def _say(self, of_what: str, what: str, name: str, before: str, reason: str, *, of: str = "*") -> None:
        count, patients = self._count(name, of)
        lost = self._count(before, of)[0] - count
        self.steps.append(Step(of_what, what, count, patients, (Loss(reason, lost),) if lost else ()))

    def _say_admissions(self, what: str, name: str, before: str) -> None:
        found = self._connection.execute(
            f"SELECT count(*), count(DISTINCT subject_id) FROM admissions SEMI JOIN {name} USING (hadm_id)"
        ).fetchone()
        count, patients = found or (0, 0)
        lost = (self._connection.execute(f"SELECT count(*) FROM {before}").fetchone() or (0,))[0] - count
        losses = (Loss("lack that", lost),) if lost else ()
        self.steps.append(Step("admissions", what, count, patients, losses))


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
