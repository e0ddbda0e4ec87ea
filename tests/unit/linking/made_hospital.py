"""A made-up MIMIC of a few patients, as tables in memory, and what its makers' rule makes of it, row by row."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pacx.core.vocabulary import ECG_LEADS, LAB_ITEM_IDS

HOUR, SECOND = pd.Timedelta(hours=1), pd.Timedelta(seconds=1)
VERSION = "mimic-cxr-2.0.0"


@dataclass
class MadeHospital:
    """The tables of one hospital, with times as pandas has them.

    Args:
        admissions: subject_id, hadm_id, admittime, dischtime.
        films: dicom_id, subject_id, study_id, ViewPosition, time, is_there.
        labelled: study ids.
        recordings: subject_id, study_id, ecg_time, path, kind (good, invalid, zero).
        events: subject_id, hadm_id, itemid, charttime, valuenum.
    """

    admissions: pd.DataFrame
    films: pd.DataFrame
    labelled: list[int]
    recordings: pd.DataFrame
    events: pd.DataFrame


def make_hospital(seed: int, num_subjects: int = 40) -> MadeHospital:
    """Draw a hospital whose times often lie on the edges of the windows and are often equal."""
    rng = np.random.default_rng(seed)
    admissions, films, recordings, events = [], [], [], []
    for subject in rng.choice(np.arange(10_000_000, 19_999_999), num_subjects, replace=False):
        begin = pd.Timestamp("2150-01-01") + HOUR * int(rng.integers(0, 8000))
        for _ in range(rng.integers(1, 3)):
            begin = begin + HOUR * int(rng.integers(10, 300))
            hadm = 20_000_000 + len(admissions)
            admissions.append((subject, hadm, begin, begin + HOUR * int(rng.integers(20, 200))))
            for _ in range(rng.integers(0, 5)):
                study = 50_000_000 + len(films)
                time = (
                    begin
                    + HOUR * int(rng.choice([24, 72, 30, 40, 60, 10]))
                    + pd.Timedelta(seconds=int(rng.integers(0, 2)))
                )
                view = str(rng.choice(["AP", "PA", "LATERAL", ""], p=[0.5, 0.3, 0.1, 0.1]))
                films.append((f"f{len(films):05d}", subject, study, view, time, rng.random() > 0.1))
            for _ in range(rng.integers(0, 4)):
                study = 40_000_000 + len(recordings)
                time = (
                    begin + HOUR * int(rng.choice([-24, 24, 0, 5, 60])) + pd.Timedelta(seconds=int(rng.integers(0, 2)))
                )
                kind = str(rng.choice(["good", "invalid", "zero"], p=[0.7, 0.15, 0.15]))
                recordings.append((subject, study, time, f"files/p{subject}/s{study}/{study}", kind))
            for _ in range(rng.integers(0, 60)):
                time = begin + HOUR * int(rng.choice([-24, 24, 25, 0, 1, 2, 50]))
                value = np.nan if rng.random() < 0.1 else round(float(rng.gamma(4, 5)), 1)
                item = int(rng.choice([*LAB_ITEM_IDS[:6], 51082]))
                events.append((subject, hadm if rng.random() > 0.3 else np.nan, item, time, value))
    order = rng.permutation(len(events))
    return MadeHospital(
        pd.DataFrame(admissions, columns=["subject_id", "hadm_id", "admittime", "dischtime"]),
        pd.DataFrame(films, columns=["dicom_id", "subject_id", "study_id", "ViewPosition", "time", "is_there"]),
        [film[2] for film in films if rng.random() > 0.1],
        pd.DataFrame(recordings, columns=["subject_id", "study_id", "ecg_time", "path", "kind"]),
        pd.DataFrame(events, columns=["subject_id", "hadm_id", "itemid", "charttime", "valuenum"]).iloc[order],
    )


def write_hospital(hospital: MadeHospital, folder: Path, *, ending: str = ".csv.gz") -> list[str]:
    """Write it as PhysioNet distributes MIMIC; returns the words of the call that name its folders."""
    hosp, cxr, ecg = folder / "hosp", folder / "cxr", folder / "ecg"
    films = hospital.films.assign(
        StudyDate=hospital.films["time"].dt.strftime("%Y%m%d"),
        StudyTime=hospital.films["time"].dt.strftime("%H%M%S").astype(int) + 0.25,
    ).drop(columns=["time", "is_there"])
    _write(hospital.admissions, hosp / f"admissions{ending}")
    _write(hospital.events, hosp / f"labevents{ending}")
    _write(films, cxr / f"{VERSION}-metadata{ending}")
    _write(pd.DataFrame({"subject_id": 1, "study_id": hospital.labelled}), cxr / f"{VERSION}-chexpert{ending}")
    _write(hospital.recordings.drop(columns="kind"), ecg / f"record_list{ending.removesuffix('.gz')}")
    for film in hospital.films[hospital.films["is_there"]].itertuples():
        place = cxr / "files" / f"p{str(film.subject_id)[:2]}" / f"p{film.subject_id}" / f"s{film.study_id}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{film.dicom_id}.jpg").touch()
    for record in hospital.recordings.itertuples():
        write_record(ecg / str(record.path), str(record.kind))
    return ["--hosp", str(hosp), "--mimic-cxr-jpg", str(cxr), "--mimic-iv-ecg", str(ecg)]


def _write(table: pd.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(path, index=False) if path.suffix == ".parquet" else table.to_csv(path, index=False)


def write_record(path: Path, kind: str) -> None:
    """A WFDB record of 20 samples, format 16."""
    samples = np.random.default_rng(0).integers(-200, 200, (20, len(ECG_LEADS))).astype("<i2")
    samples = np.zeros_like(samples) if kind == "zero" else samples
    if kind == "invalid":
        samples[3, 5] = -32768
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{path.name} {len(ECG_LEADS)} 500 20"]
    lines += [
        f"{path.name}.dat 16 200.0(0)/mV 16 0 {row[0]} 0 0 {lead}"
        for lead, row in zip(ECG_LEADS, samples.T, strict=True)
    ]
    path.with_name(f"{path.name}.hea").write_text("\n".join(lines) + "\n")
    path.with_name(f"{path.name}.dat").write_bytes(samples.tobytes())


def pairs_row_by_row(hospital: MadeHospital) -> dict[int, tuple[object, ...]]:
    """The rule of Symile-MIMIC as its text says it, admission by admission: (film, ECG, values by item)."""
    pairs = {}
    for admission in hospital.admissions.itertuples():
        film = ecg = None
        values: dict[int, tuple[pd.Timestamp, float]] = {}
        for each in hospital.films.itertuples():
            since = each.time - admission.admittime
            fits = each.subject_id == admission.subject_id and each.ViewPosition in ("AP", "PA") and each.is_there
            if fits and 24 * HOUR < since <= 72 * HOUR and (film is None or each.time < film.time):
                film = each
        for each in hospital.recordings.itertuples():
            near = abs(each.ecg_time - admission.admittime) <= 24 * HOUR
            fits = each.subject_id == admission.subject_id and each.kind == "good"
            if fits and near and (ecg is None or each.ecg_time < ecg.ecg_time):
                ecg = each
        for each in hospital.events.itertuples():
            near = abs(each.charttime - admission.admittime) <= 24 * HOUR
            fits = (
                each.subject_id == admission.subject_id
                and each.itemid in LAB_ITEM_IDS
                and each.valuenum == each.valuenum
            )
            if fits and near and (each.itemid not in values or each.charttime < values[each.itemid][0]):
                values[each.itemid] = (each.charttime, each.valuenum)
        if film is not None and film.study_id in hospital.labelled and ecg is not None and values:
            found = {item: value for item, (_, value) in values.items()}
            pairs[admission.hadm_id] = (film.dicom_id, ecg.study_id, found)
    return pairs


def pairs_film_by_film(hospital: MadeHospital, *, window_h: float, last: bool) -> dict[str, tuple[object, ...]]:
    """The rule of one pair per film, film by film: (ECG or None, values by item)."""
    pairs = {}
    for film in hospital.films[hospital.films["is_there"]].itertuples():
        if film.ViewPosition not in ("AP", "PA"):
            continue
        ecg: tuple[tuple[pd.Timedelta, bool], int] | None = None
        values: dict[int, tuple[tuple[pd.Timedelta, bool], float]] = {}
        for each in hospital.recordings.itertuples():
            after = each.ecg_time - film.time
            key = (abs(after), after > 0 * HOUR)
            fits = each.subject_id == film.subject_id and each.kind == "good" and abs(after) <= window_h * HOUR
            if fits and (ecg is None or key < ecg[0]):
                ecg = (key, each.study_id)
        for each in hospital.events.itertuples():
            after = each.charttime - film.time
            key = (abs(after), after > 0 * HOUR)
            fits = each.subject_id == film.subject_id and each.itemid in LAB_ITEM_IDS
            fits = (
                fits
                and each.valuenum == each.valuenum
                and abs(after) <= window_h * HOUR
                and not (last and after > 0 * HOUR)
            )
            if fits and (each.itemid not in values or key < values[each.itemid][0]):
                values[each.itemid] = (key, each.valuenum)
        if ecg or values:
            found = {item: value for item, (_, value) in values.items()}
            pairs[film.dicom_id] = (ecg[1] if ecg else None, found)
    return pairs
