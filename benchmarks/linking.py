"""How fast a hospital is linked, and in how much memory, against the rule written with pandas as its text says.

    python benchmarks/linking.py compare --rounds 3      # 2,000 admissions, a million laboratory rows: ours and plain
    python benchmarks/linking.py compare --before DIR    # and an earlier checkout's
    python benchmarks/linking.py grow --rows 1 3 10 30   # millions of laboratory rows: ours alone

The plain route reads the tables whole and compares every admission with every row of each; it opens all recordings,
as the makers of the rule do. Both read the same gzipped tables (parquet when growing) and have to give the same pairs;
each runs in a process of its own, in turns. ``link`` is the linking by itself, as the plain route is; ``command`` is
``pacx data link`` as it is typed, which also reads words and draws the flow. Seconds are those of the whole process,
with what it imports; processor seconds count its workers too. Memory is the most that the process and its workers held
at one time, a page that several share divided among them (PSS of Linux).
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from pacx.core.vocabulary import ECG_LEADS, LAB_ITEM_IDS

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_VERSION = "mimic-cxr-2.0.0"


def make(folder: Path, num_admissions: int, num_rows: int, ending: str, seed: int = 0) -> None:
    """A made-up MIMIC with two films, a recording and an even share of the laboratory rows per admission."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(seed)
    hosp, cxr, ecg = folder / "hosp", folder / "cxr", folder / "ecg"
    for each in (hosp, cxr, ecg):
        each.mkdir(parents=True)
    subjects = 10_000_000 + 7 * np.arange(num_admissions)
    begin = np.datetime64("2150-01-01T00:00:00") + rng.integers(0, 10**8, num_admissions).astype("timedelta64[s]")
    admissions = pd.DataFrame({"subject_id": subjects, "hadm_id": 20_000_000 + np.arange(num_admissions)})
    admissions = admissions.assign(admittime=begin, dischtime=begin + np.timedelta64(200, "h"))
    whose = np.repeat(np.arange(num_admissions), 2)
    taken = begin[whose] + rng.integers(0, 90 * 3600, len(whose)).astype("timedelta64[s]")
    films = pd.DataFrame({"dicom_id": [f"f{row}" for row in range(len(whose))], "subject_id": subjects[whose]})
    films = films.assign(
        study_id=50_000_000 + np.arange(len(whose)),
        ViewPosition=rng.choice(["AP", "PA", "LATERAL"], len(whose)),
        StudyDate=pd.Series(taken).dt.strftime("%Y%m%d"),
        StudyTime=pd.Series(taken).dt.strftime("%H%M%S").astype(int) + 0.5,
    )
    records = pd.DataFrame({"subject_id": subjects, "study_id": 40_000_000 + np.arange(num_admissions)})
    records = records.assign(
        ecg_time=begin + rng.integers(-30 * 3600, 30 * 3600, num_admissions).astype("timedelta64[s]"),
        path=[f"files/p{subject}/{subject}" for subject in subjects],
    )
    _write(admissions, hosp / f"admissions{ending}")
    _write(films, cxr / f"{_VERSION}-metadata{ending}")
    _write(films[["subject_id", "study_id"]], cxr / f"{_VERSION}-chexpert{ending}")
    _write(records, ecg / f"record_list{ending.removesuffix('.gz')}")
    for film in films.itertuples():
        place = cxr / "files" / f"p{str(film.subject_id)[:2]}" / f"p{film.subject_id}" / f"s{film.study_id}"
        place.mkdir(parents=True)
        (place / f"{film.dicom_id}.jpg").touch()
    for path in records["path"]:
        _record(ecg / str(path), rng)
    _write_rows(hosp / f"labevents{ending}", num_rows, subjects, begin, rng)


def _write_rows(
    path: Path, num_rows: int, subjects: "np.ndarray", begin: "np.ndarray", rng: "np.random.Generator"
) -> None:
    """Laboratory rows with the sixteen columns of MIMIC-IV, a million at a time."""
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as parquet

    writer = None
    for start in range(0, num_rows, 10**6):
        size = min(10**6, num_rows - start)
        whose = rng.integers(0, len(subjects), size)
        number = rng.gamma(4, 5, size).round(1)
        is_text = rng.random(size) < 0.04
        taken = begin[whose] + rng.integers(-40 * 60, 160 * 60, size).astype("timedelta64[m]")
        table = pd.DataFrame({"labevent_id": start + np.arange(size), "subject_id": subjects[whose]})
        table = table.assign(
            hadm_id=pd.array(np.where(rng.random(size) < 0.5, 20_000_000 + whose, 0), "Int64"),
            specimen_id=rng.integers(10**7, 10**8, size),
            itemid=rng.choice([*LAB_ITEM_IDS, 51082, 50811, 51463], size),
            order_provider_id=np.where(rng.random(size) < 0.3, "P1234X", None),
            charttime=taken,
            storetime=taken + np.timedelta64(65, "m"),
            value=np.where(is_text, "___", number.astype(str)),
            valuenum=np.where(is_text, np.nan, number),
            valueuom="mg/dL",
            ref_range_lower=10.0,
            ref_range_upper=30.0,
            flag=np.where(number > 30, "abnormal", None),
            priority=rng.choice(["STAT", "ROUTINE"], size),
            comments=np.where(is_text, "___", None),
        )
        table["hadm_id"] = table["hadm_id"].where(table["hadm_id"] > 0)
        if path.suffix != ".parquet":
            table.to_csv(
                path, index=False, mode="a", header=not start, compression={"method": "gzip", "compresslevel": 1}
            )
            continue
        arrow = pa.Table.from_pandas(table, preserve_index=False)
        writer = writer or parquet.ParquetWriter(path, arrow.schema)
        writer.write_table(arrow)
    if writer:
        writer.close()


def _write(table: "pd.DataFrame", path: Path) -> None:
    table.to_parquet(path, index=False) if path.suffix == ".parquet" else table.to_csv(path, index=False)


def _record(path: Path, rng: "np.random.Generator") -> None:
    """Ten seconds of twelve leads, format 16."""
    samples = rng.integers(-200, 200, (5000, len(ECG_LEADS))).astype("<i2")
    path.parent.mkdir(parents=True)
    lines = [f"{path.name} {len(ECG_LEADS)} 500 5000"]
    lines += [
        f"{path.name}.dat 16 200.0(0)/mV 16 0 {first} 0 0 {lead}"
        for lead, first in zip(ECG_LEADS, samples[0], strict=True)
    ]
    path.with_name(f"{path.name}.hea").write_text("\n".join(lines) + "\n")
    path.with_name(f"{path.name}.dat").write_bytes(samples.tobytes())


def plain(folder: Path) -> "pd.DataFrame":
    """Rule symile as its text says, with pandas, admission by admission."""
    import numpy as np
    import pandas as pd
    import wfdb

    hosp, cxr, ecg = folder / "hosp", folder / "cxr", folder / "ecg"
    admissions = pd.read_csv(hosp / "admissions.csv.gz", parse_dates=["admittime"])
    films = pd.read_csv(cxr / f"{_VERSION}-metadata.csv.gz")
    clock = films["StudyTime"].astype(int).astype(str).str.zfill(6)
    films["time"] = pd.to_datetime(films["StudyDate"].astype(str) + clock, format="%Y%m%d%H%M%S")
    films = films[films["ViewPosition"].isin(["AP", "PA"])]
    is_there = [
        (cxr / f"files/p{str(film.subject_id)[:2]}/p{film.subject_id}/s{film.study_id}/{film.dicom_id}.jpg").is_file()
        for film in films.itertuples()
    ]
    films = films[is_there]
    labelled = set(pd.read_csv(cxr / f"{_VERSION}-chexpert.csv.gz")["study_id"])
    records = pd.read_csv(ecg / "record_list.csv", parse_dates=["ecg_time"])
    signals = (wfdb.rdrecord(str(ecg / path)).p_signal for path in records["path"])
    records = records[[not np.isnan(signal).any() and signal.any() for signal in signals]]
    events = pd.read_csv(hosp / "labevents.csv.gz", parse_dates=["charttime"])
    is_wanted = events["itemid"].isin(LAB_ITEM_IDS) & events["valuenum"].notna()
    events = events.loc[is_wanted, ["subject_id", "itemid", "charttime", "valuenum"]]
    day = pd.Timedelta(hours=24)
    pairs = []
    for admission in admissions.itertuples():
        of_patient = films[films["subject_id"] == admission.subject_id]
        since = of_patient["time"] - admission.admittime
        near = of_patient[(since > day) & (since <= 3 * day)].sort_values("time", kind="stable")
        of_patient = records[records["subject_id"] == admission.subject_id]
        since = of_patient["ecg_time"] - admission.admittime
        recorded = of_patient[since.abs() <= day].sort_values("ecg_time", kind="stable")
        of_patient = events[events["subject_id"] == admission.subject_id]
        since = of_patient["charttime"] - admission.admittime
        measured = of_patient[since.abs() <= day].sort_values("charttime", kind="stable")
        values = measured.groupby("itemid")["valuenum"].first()
        if near.empty or near.iloc[0]["study_id"] not in labelled or recorded.empty or values.empty:
            continue
        ids = (admission.hadm_id, near.iloc[0]["dicom_id"], recorded.iloc[0]["study_id"])
        pairs.append((*ids, *(values.get(item, np.nan) for item in LAB_ITEM_IDS)))
    columns = ["hadm_id", "dicom_id", "ecg_study_id", *map(str, LAB_ITEM_IDS)]
    return pd.DataFrame(pairs, columns=columns).sort_values("hadm_id", ignore_index=True)


def link(folder: Path, out: Path) -> None:
    """The same by what ``pacx data link`` calls."""
    from pacx.linking.linking import link
    from pacx.linking.rules import SymileRule
    from pacx.linking.settings import LinkSettings
    from pacx.linking.sources.mimic_iv import SOURCE, MimicIvOptions

    options = MimicIvOptions(hosp=folder / "hosp", mimic_cxr_jpg=folder / "cxr", mimic_iv_ecg=folder / "ecg")
    link(SOURCE.open(options), SymileRule(), out, LinkSettings())


def _command(route: str, folder: Path, out: Path) -> list[str]:
    if route == "command":
        words = ["--hosp", folder / "hosp", "--mimic-cxr-jpg", folder / "cxr", "--mimic-iv-ecg", folder / "ecg"]
        words = ["-m", "pacx", "data", "link", "mimic-iv", *words, "--rule", "symile", "--out", out]
        return [sys.executable, *map(str, words)]
    child = "plain" if route == "plain" else "link"
    return [sys.executable, __file__, "child", "--route", child, "--folder", str(folder), "--out", str(out)]


def measured(route: str, folder: Path, out: Path, source: Path) -> dict[str, float]:
    """Run a route in a process of its own: seconds, processor seconds and the most memory of it with its workers."""
    import psutil

    shutil.rmtree(out, ignore_errors=True)
    surroundings = {**os.environ, "PYTHONPATH": str(source)}
    before, begin, peak = _processor_seconds(), time.perf_counter(), 0
    with subprocess.Popen(
        _command(route, folder, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=surroundings
    ) as process:
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            held = 0
            try:
                for each in (watched, *watched.children(recursive=True)):
                    held += each.memory_full_info().pss
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                pass  # one has just ended
            peak = max(peak, held)
            time.sleep(0.02)
    if process.returncode:
        raise SystemExit(f"route {route} failed")
    seconds = {"seconds": time.perf_counter() - begin, "processor_seconds": _processor_seconds() - before}
    return {**{name: round(count, 2) for name, count in seconds.items()}, "peak_mb": round(peak / 1e6)}


def _processor_seconds() -> float:
    """Of all processes that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Run what the first word says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["compare", "grow", "child"])
    parser.add_argument("--admissions", type=int, default=2000)
    parser.add_argument("--rows", type=float, nargs="+", default=[1.0], help="millions of laboratory rows")
    parser.add_argument("--rounds", type=int, default=1, help="every route takes its turn in each")
    parser.add_argument("--before", type=Path, help="a checkout whose linking takes part")
    parser.add_argument("--route", default="link")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--made", type=Path, help="keep what was made here, and take it from there the next time")
    call = parser.parse_args()
    if call.what == "child":
        (_plain_pairs if call.route == "plain" else link)(call.folder, call.out)
        return
    ending = ".csv.gz" if call.what == "compare" else ".parquet"
    here = Path(__file__).resolve().parents[1] / "src"
    sources = {"link": here}
    if call.what == "compare":
        before = {"before": call.before / "src"} if call.before else {}
        sources = {"link": here, "command": here, **before, "plain": here}
    for millions in call.rows:
        with tempfile.TemporaryDirectory() as scratch:
            folder = (call.made or Path(scratch)) / f"{call.admissions}-{millions}{ending}"
            if not folder.exists():
                make(folder, call.admissions, int(millions * 10**6), ending)
            found: dict[str, list[dict[str, float]]] = {route: [] for route in sources}
            for _ in range(call.rounds):
                for route, source in sources.items():
                    found[route].append(measured(route, folder, Path(scratch, route), source))
                    print(f"{millions:g} million rows, {route}: {found[route][-1]}", flush=True)
            if call.what == "compare":
                _compare(found, Path(scratch))


def _plain_pairs(folder: Path, out: Path) -> None:
    pairs = plain(folder)
    out.mkdir()
    pairs.to_parquet(out / "pairs.parquet")


def _compare(found: dict[str, list[dict[str, float]]], out: Path) -> None:
    import pandas as pd

    columns = ["hadm_id", "dicom_id", "ecg_study_id", *map(str, LAB_ITEM_IDS)]
    pairs = {route: pd.read_parquet(out / route / "pairs.parquet")[columns] for route in found}
    for route, runs in found.items():
        pd.testing.assert_frame_equal(pairs[route], pairs["plain"], check_dtype=False)
        ratios = {
            what: [run[what] / plain[what] for run, plain in zip(runs, found["plain"], strict=True)] for what in runs[0]
        }
        times, of_processor = ([1 / ratio for ratio in ratios[name]] for name in ("seconds", "processor_seconds"))
        print(
            f"{route}: {_spread(times)} times as fast as plain by the clock, {_spread(of_processor)} by processor "
            f"seconds, in {_spread(ratios['peak_mb'])} of the memory"
        )
    print(f"{len(pairs['plain'])} equal pairs")


def _spread(numbers: list[float]) -> str:
    return f"{median(numbers):.2f} ({min(numbers):.2f} to {max(numbers):.2f})"


if __name__ == "__main__":
    main()
