"""What a simulated MIMIC knows of its subjects besides films: admissions, laboratory rows and ECG recordings.

Each stay has a first recording and a first set of values within hours of admission, which are those of the twin of
Symile-MIMIC, and mostly again an hour before the film of its second or third day, so that some films lack one of them.
The tables keep MIMIC's habits: a third of
the laboratory rows names no admission, some have no number, and tests outside the fifty are among them. Some stays
begin with a recording that is of no use: nothing but zeros, or samples that the device marked as invalid.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pacx.core.randomness import sample_keys, uniform
from pacx.core.vocabulary import ECG_LEADS, LAB_ITEM_IDS, MIMIC_ECG_LEADS
from pacx.simulation.mimic import MimicFilm, admission_id, admitted, patient_id, save_csv, subject_id
from pacx.simulation.patients.physiology import Physiology
from pacx.simulation.signals.ecg import SAMPLE_RATE_HZ, simulate_ecg
from pacx.simulation.signals.ecg_files.wfdb import save_wfdb
from pacx.simulation.signals.labs import simulate_labs

_STAY = timedelta(days=8)
_FILM_OF_VISIT = (0, 4)
_BEFORE_FILM = timedelta(minutes=45)
_OTHER_TEST = 51463
_NO_SECOND_ECG, _NO_SECOND_LABS = (5, 1), (6, 2)
"""Of which numbers, by division with a remainder, there is nothing before the film."""
_STAYS_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True)
class Stay:
    """One admission of a subject: its first (visit 0) or the one two months later (visit 1)."""

    number: int
    visit: int

    @property
    def begins(self) -> datetime:
        """When the subject was admitted."""
        return admitted(self.number, self.visit)

    def moments(self) -> tuple[datetime, datetime]:
        """When blood is taken and an ECG recorded: soon after admission, and before the film."""
        chance = uniform(0, "mimic-first-hours", self.visit, sample_keys([patient_id(self.number)]), 1)[0, 0]
        first = self.begins + timedelta(minutes=round(20 + 200 * float(chance)))
        return first, MimicFilm(number=self.number, index=_FILM_OF_VISIT[self.visit]).taken - _BEFORE_FILM

    def key(self, time: int) -> str:
        """By which the simulation knows what was measured at moment 0 or 1."""
        return patient_id(self.number) + (f"-visit-{self.visit}-{time}" if self.visit or time else "")


def save_hosp(folder: Path, stays: Sequence[Stay], patients: Physiology, *, seed: int) -> None:
    """Write patients, admissions and labevents.

    Args:
        folder: hosp of MIMIC-IV.
        stays: of any subjects, those of one subject together.
        patients: the subject of each stay, row by row.
        seed: of the measurements.
    """
    people = {stay.number: row for row, stay in enumerate(stays)}
    ages = patients.age_years.astype(int)
    of_people = pd.DataFrame(
        {
            "subject_id": [subject_id(number) for number in people],
            "gender": ["F" if patients.is_female[row] else "M" for row in people.values()],
            "anchor_age": [int(ages[row]) for row in people.values()],
            "anchor_year": [admitted(number).year for number in people],
            "anchor_year_group": "2014 - 2016",
            "dod": "",
        }
    )
    admissions = pd.DataFrame(
        {
            "subject_id": [subject_id(stay.number) for stay in stays],
            "hadm_id": [admission_id(stay.number, stay.visit) for stay in stays],
            "admittime": [str(stay.begins) for stay in stays],
            "dischtime": [str(stay.begins + _STAY) for stay in stays],
            "deathtime": "",
            "admission_type": "EW EMER.",
        }
    )
    save_csv(of_people.sort_values("subject_id"), folder / "patients.csv.gz")
    save_csv(admissions.sort_values(["subject_id", "hadm_id"]), folder / "admissions.csv.gz")
    save_csv(_events(stays, patients, seed), folder / "labevents.csv.gz")


def _events(stays: Sequence[Stay], patients: Physiology, seed: int) -> pd.DataFrame:
    parts = []
    for time in (0, 1):
        keys = [stay.key(time) for stay in stays]
        values = simulate_labs(patients, keys, seed=seed)
        if time == 1:
            values[[_is(stay, _NO_SECOND_LABS) for stay in stays]] = np.nan
        row, test = np.nonzero(~np.isnan(values))
        taken = np.array([str(stay.moments()[time].replace(second=0)) for stay in stays])
        parts.append(
            pd.DataFrame(
                {
                    "stay": row,
                    "itemid": np.array(LAB_ITEM_IDS)[test],
                    "charttime": taken[row],
                    "valuenum": values[row, test],
                }
            )
        )
        others = pd.DataFrame({"stay": range(len(stays)), "itemid": _OTHER_TEST, "charttime": taken, "valuenum": 1.0})
        # A result that is a word, of a test that has a number on the same tube: it must not count.
        words = pd.DataFrame(
            {"stay": range(len(stays)), "itemid": LAB_ITEM_IDS[0], "charttime": taken, "valuenum": np.nan}
        )
        parts += [others, words[np.arange(len(stays)) % 5 == 0]]
    events = pd.concat(parts, ignore_index=True)
    chance = uniform(seed, "mimic-labevents", 0, sample_keys([f"event-{row}" for row in range(len(events))]), 2)
    subjects = np.array([subject_id(stay.number) for stay in stays])
    admissions = np.array([str(admission_id(stay.number, stay.visit)) for stay in stays])
    events["subject_id"] = subjects[events["stay"]]
    events["hadm_id"] = np.where(chance[:, 0] < 1 / 3, "", admissions[events["stay"]])
    events["value"] = events["valuenum"].map(lambda value: "___" if np.isnan(value) else f"{value:g}")
    events = events.iloc[np.argsort(chance[:, 1])].sort_values("subject_id", kind="stable")
    events.insert(0, "labevent_id", range(1, len(events) + 1))
    return events[["labevent_id", "subject_id", "hadm_id", "itemid", "charttime", "value", "valuenum"]]


def save_ecgs(folder: Path, stays: Sequence[Stay], patients: Physiology, *, seed: int) -> None:
    """Write record_list.csv and the recordings; arguments as ``save_hosp``, ``folder`` is MIMIC-IV-ECG's."""
    listed = []
    for start in range(0, len(stays), _STAYS_AT_ONCE):
        these = stays[start : start + _STAYS_AT_ONCE]
        whose = patients.take(np.arange(start, start + len(these)))
        for time in (0, 1):
            drawn = simulate_ecg(whose, [stay.key(time) for stay in these], seed=seed)
            for stay, signal in zip(these, drawn, strict=True):
                if time == 1 and _is(stay, _NO_SECOND_ECG):
                    continue
                listed.append(_saved(folder, stay, 1 + time, stay.moments()[time], signal))
                if time == 0 and (useless := _useless(stay, signal)) is not None:
                    listed.append(_saved(folder, stay, 0, stay.begins - timedelta(hours=1), useless))
    save_csv(pd.DataFrame(listed).sort_values(["subject_id", "study_id"]), folder / "record_list.csv")


def _is(stay: Stay, which: tuple[int, int]) -> bool:
    return stay.number % which[0] == which[1]


def _useless(stay: Stay, signal: NDArray[np.floating]) -> NDArray[np.floating] | None:
    """What was recorded before the electrodes held: nothing, or a lead with gaps; None where all went well."""
    if stay.number % 7 == 3:
        return np.zeros_like(signal)
    if stay.number % 7 == 5:
        return np.where((np.arange(signal.shape[1]) < SAMPLE_RATE_HZ)[None], np.nan, signal)
    return None


def _saved(folder: Path, stay: Stay, time: int, taken: datetime, millivolt: NDArray[np.floating]) -> dict[str, object]:
    """Write one recording; returns its row of the list."""
    subject = subject_id(stay.number)
    study = 40_000_000 + (41 + 1_414_213 * (6 * stay.number + 3 * stay.visit + time)) % 10_000_000
    path = f"files/p{str(subject)[:4]}/p{subject}/s{study}/{study}"
    order = [ECG_LEADS.index(lead) for lead in MIMIC_ECG_LEADS]
    save_wfdb(folder / path, millivolt[order], MIMIC_ECG_LEADS, SAMPLE_RATE_HZ)
    taken = taken.replace(second=0)
    return {"subject_id": subject, "study_id": study, "file_name": study, "ecg_time": str(taken), "path": path}
