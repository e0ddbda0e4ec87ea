"""Symile-MIMIC 1.0.0 for simulated patients: films, ECGs and laboratory values of one admission each, row by row.

The arrays keep the conventions of the official ones: films float32, normalised with ImageNet's statistics, 320 pixels,
cropped at random for training and centrally elsewhere; ECGs (N, 1, 5000, 12) in MIMIC's lead order, each record scaled
to [-1, 1]; laboratory percentiles by ascending item id, with the training mean where nobody measured; a "missingness"
that is 1 where somebody did. The tables name the tests in another order. Test and val_retrieval hold each query with
nine other admissions of its split (repeated where the split has fewer), the queries first. The model, the code and the
checksums of the release are left out. Subjects are those of the other MIMIC twins. The recordings themselves may lie
beside it as in MIMIC-IV-ECG, where ``ecg_path`` leads, in millivolts and in any format.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pacx.core.artifacts import write_json
from pacx.core.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from pacx.core.randomness import sample_keys, uniform
from pacx.core.vocabulary import ECG_LEADS, LAB_ITEM_IDS, MIMIC_ECG_LEADS
from pacx.simulation.cohort import patients_of
from pacx.simulation.mimic import MimicFilm, admission_id, admitted, chexpert_findings, patient_id, save_csv, subject_id
from pacx.simulation.patients.physiology import Physiology
from pacx.simulation.patients.population import draw_nuisance
from pacx.simulation.recruitment import filmed, stretched
from pacx.simulation.signals.ecg import NUM_SAMPLES, SAMPLE_RATE_HZ, simulate_ecg
from pacx.simulation.signals.ecg_files.writer import EcgWriter, Tracing, ecg_writers
from pacx.simulation.signals.labs import simulate_labs
from pacx.simulation.twin import Twin, TwinConfig
from pacx.simulation.written_counts import Census

_LABELS = ("Atelectasis", "Cardiomegaly", "Edema", "Lung Opacity", "No Finding", "Pleural Effusion")
_SIDE_PX, _LONG_SIDE_PX = 320, 384
_CANDIDATES = 10
_PATIENTS_AT_ONCE = 64
# Place of each test in the tables, in the order of the tensors.
_TABLE_PLACES = (
    39, 41, 34, 42, 37, 40, 32, 38, 35, 15, 33, 14, 36, 18, 13, 48, 2, 16, 29, 31, 17, 19, 3, 12, 11,
    47, 23, 26, 0, 4, 20, 27, 9, 6, 8, 25, 24, 1, 21, 22, 10, 7, 5, 30, 46, 44, 45, 43, 49, 28,
)  # fmt: skip
_TABLE_ORDER = np.argsort(_TABLE_PLACES)

Table = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class _Part:
    """The admissions of one split, one per subject."""

    numbers: list[int]
    physiology: Physiology
    labs: Table  # (n, 50) raw values in tensor order, NaN where not measured

    @property
    def films(self) -> list[MimicFilm]:
        return [MimicFilm(number=number) for number in self.numbers]


class _Ranks:
    """Share of the training values at or below a value, per test: what the release calls a percentile."""

    def __init__(self, training: Table) -> None:
        self._sorted = [np.sort(column[~np.isnan(column)]) for column in training.T]
        # A test that no training patient had has no mean; the middle stands in.
        self.means = np.array([np.nanmean(p) if (~np.isnan(p)).any() else 0.5 for p in self.of(training).T])

    def of(self, values: Table) -> Table:
        ranks = np.full(values.shape, np.nan)
        for column, known in enumerate(self._sorted):
            is_measured = ~np.isnan(values[:, column])
            below = np.searchsorted(known, values[is_measured, column], side="right")
            ranks[is_measured, column] = below / len(known) if len(known) else 0.5
        return ranks


class SymileMimicTwin(Twin):
    """Writes the tables and ``data_npy``; where asked, the recordings."""

    name = "symile-mimic"
    has_ecgs = True

    def write(self, root: Path, config: TwinConfig) -> Mapping[str, int]:
        """Fill ``root/symile-mimic/1.0.0``; an eighth of the patients are test queries, four at least."""
        writer = ecg_writers().called(config.ecg_format, "ECG format") if config.ecg_format else None
        tree = root / "symile-mimic" / "1.0.0"
        tree.mkdir(parents=True)
        (tree / "LICENSE.txt").write_text("Simulated patients; the official files are under PhysioNet's licence.\n")
        parts = _parts(config)
        ranks = _Ranks(parts["train"].labs)
        means = {f"{LAB_ITEM_IDS[test]}_percentile": float(ranks.means[test]) for test in _TABLE_ORDER}
        write_json(tree / "labs_means.json", means)
        census, tables = Census(_LABELS), []
        for split, part in parts.items():
            table = _table(part, ranks, config.seed)
            alone = np.arange(len(table))
            if split != "test":
                _save_split(tree, split, _Rows(alone, None if split == "train" else alone), part, table, ranks, config)
            if split != "train":
                name = "test" if split == "test" else "val_retrieval"
                _save_split(tree, name, _candidates(len(table), split, config.seed), part, table, ranks, config)
            tables.append(_admissions(part, table, config))
            for _, row in tables[-1].iterrows():
                labels = {name: row[name] if row[name] in (0, 1) else np.nan for name in _LABELS}
                census.add(str(row["subject_id"]), split=split, view=row["cxr_ViewPosition"], labels=labels)
        save_csv(pd.concat(tables, ignore_index=True), tree / "symile_mimic_data.csv")
        if writer:
            _save_recordings(root / "mimic-iv-ecg" / "1.0", parts, writer, config.seed)
        return census.counts()


TWIN = SymileMimicTwin()


@dataclass(frozen=True)
class _Rows:
    """Which admissions of a part the rows of a split hold: their place in the part, and that of the query of each."""

    places: NDArray[np.int64]
    queries: NDArray[np.int64] | None


def _parts(config: TwinConfig) -> dict[str, _Part]:
    """Test first, so that subjects with small numbers are nobody's training data."""
    num_test, num_val = max(config.num_patients // 8, 4), max(config.num_patients // 16, 3)
    num_train = max(config.num_patients - num_test - num_val, 8)
    parts, start = {}, 0
    for split, count in (("test", num_test), ("val", num_val), ("train", num_train)):
        numbers = list(range(start, start + count))
        ids = [patient_id(number) for number in numbers]
        drawn = patients_of(ids, config)
        labs = simulate_labs(drawn, ids, seed=config.seed)
        parts[split] = _Part(numbers=numbers, physiology=drawn, labs=labs)
        start += count
    return parts


def _candidates(count: int, split: str, seed: int) -> _Rows:
    """The queries, then nine others of the split for each of them in turn."""
    places, queries = [np.arange(count)], [np.arange(count)]
    for query in range(count):
        others = np.delete(np.arange(count), query)
        chance = uniform(seed, "symile-negatives", 0, sample_keys([f"{split}-{query}-{other}" for other in others]), 1)
        places.append(np.resize(others[np.argsort(chance[:, 0])], _CANDIDATES - 1))
        queries.append(np.full(_CANDIDATES - 1, query))
    return _Rows(np.concatenate(places), np.concatenate(queries))


def _ecg_path(number: int) -> str:
    """Of the subject's recording in MIMIC-IV-ECG, without an ending."""
    study = _ecg_study_id(number)
    return f"files/p{subject_id(number) // 10_000}/p{subject_id(number)}/s{study}/{study}"


def _ecg_study_id(number: int) -> int:
    return 41_000_000 + number


def _table(part: _Part, ranks: _Ranks, seed: int) -> pd.DataFrame:
    """The columns of train.csv."""
    films = part.films
    findings = chexpert_findings(part.physiology, tuple(film.film_id for film in films), seed=seed)
    who = {
        "subject_id": [subject_id(number) for number in part.numbers],
        "hadm_id": [admission_id(number) for number in part.numbers],
        "cxr_path": [film.path for film in films],
        **{name: findings[name] for name in _LABELS},
        "ecg_path": list(map(_ecg_path, part.numbers)),
    }
    percentiles = ranks.of(part.labs)
    raw = {str(LAB_ITEM_IDS[test]): part.labs[:, test] for test in _TABLE_ORDER}
    ranked = {f"{LAB_ITEM_IDS[test]}_percentile": percentiles[:, test] for test in _TABLE_ORDER}
    return pd.DataFrame({**who, **raw, **ranked})


def _admissions(part: _Part, table: pd.DataFrame, config: TwinConfig) -> pd.DataFrame:
    """The part's rows of symile_mimic_data.csv, which knows more of each admission."""
    films = part.films
    nuisance = draw_nuisance([film.film_id for film in films], part.physiology, seed=config.seed, site=config.site)
    findings = chexpert_findings(part.physiology, tuple(film.film_id for film in films), seed=config.seed)
    more: dict[str, Any] = {
        "admittime": [str(admitted(number)) for number in part.numbers],
        "age": np.floor(part.physiology.age_years).astype(int),
        "gender": np.where(part.physiology.is_female == 1, "F", "M"),
        "cxr_dicom_id": [film.dicom_id for film in films],
        "cxr_study_id": [film.study_id for film in films],
        "cxr_ViewPosition": np.where(nuisance.is_ap == 1, "AP", "PA"),
        "cxr_StudyDateTime": [str(film.taken) for film in films],
        "Pneumonia": findings["Pneumonia"],
        "labs_all_nan": 0,
    }
    return table.assign(**more)


def _save_split(
    tree: Path, name: str, rows: _Rows, part: _Part, table: pd.DataFrame, ranks: _Ranks, config: TwinConfig
) -> None:
    """A table and its folder of arrays, row by row the same admissions; the first rows are the part's, in order."""
    folder = tree / "data_npy" / name
    folder.mkdir(parents=True)
    admissions = table["hadm_id"].to_numpy()
    percentiles = ranks.of(part.labs)
    is_measured = ~np.isnan(part.labs)
    arrays = {
        "hadm_id": admissions,
        "labs_percentiles": np.where(is_measured, percentiles, ranks.means).astype(np.float32),
        "labs_missingness": is_measured.astype(np.int64),
    }
    for array, values in arrays.items():
        np.save(folder / f"{array}_{name}.npy", values[rows.places])
    filled = table.iloc[rows.places]
    if rows.queries is not None:
        queries, labels = admissions[rows.queries], (rows.places == rows.queries).astype(np.int64)
        filled = filled.assign(label_hadm_id=queries, label=labels)
        if name != "val":
            np.save(folder / f"label_hadm_id_{name}.npy", queries)
            np.save(folder / f"label_{name}.npy", labels)
    save_csv(filled, tree / f"{name}.csv")
    _save_films(folder / f"cxr_{name}.npy", rows.places, part, config, is_random_crop=name == "train")
    _save_ecgs(folder / f"ecg_{name}.npy", rows.places, part, config)


def _save_films(
    path: Path, places: NDArray[np.int64], part: _Part, config: TwinConfig, *, is_random_crop: bool
) -> None:
    shape = (len(places), 3, _SIDE_PX, _SIDE_PX)
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    film_ids = [film.film_id for film in part.films]
    room = _LONG_SIDE_PX - _SIDE_PX
    chance = uniform(config.seed, "symile-crop", 0, sample_keys(film_ids), 1)[:, 0]
    tops = np.floor(chance * (room + 1)).astype(int) if is_random_crop else np.full(len(film_ids), room // 2)
    mean = np.asarray(IMAGENET_MEAN, np.float32)[:, None, None]
    std = np.asarray(IMAGENET_STD, np.float32)[:, None, None]
    row = 0
    for chunk in filmed(part.physiology, film_ids, np.arange(len(film_ids)), config, f"simulate {path.stem}"):
        for film in chunk.films.images:
            whole = stretched(film, _SIDE_PX, _LONG_SIDE_PX)  # a film is higher than wide
            cropped = whole[tops[row] : tops[row] + _SIDE_PX].astype(np.float32) / np.float32(255)
            out[row] = (cropped - mean) / std
            row += 1
    _repeat(out, places, row)


def _save_ecgs(path: Path, places: NDArray[np.int64], part: _Part, config: TwinConfig) -> None:
    shape = (len(places), 1, NUM_SAMPLES, len(MIMIC_ECG_LEADS))
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    leads = [ECG_LEADS.index(lead) for lead in MIMIC_ECG_LEADS]
    for row, drawn in enumerate(_ecgs(part, config.seed)):
        millivolt = drawn[leads].astype(np.float64)
        lowest, highest = millivolt.min(), millivolt.max()
        out[row, 0] = (2.0 * (millivolt - lowest) / (highest - lowest) - 1.0).T
    _repeat(out, places, len(part.numbers))


def _ecgs(part: _Part, seed: int) -> Iterator[NDArray[np.float32]]:
    """Each subject's recording, (12, T) in mV in the order of ``ECG_LEADS``."""
    ids = [patient_id(number) for number in part.numbers]
    for start in range(0, len(ids), _PATIENTS_AT_ONCE):
        these = np.arange(start, min(start + _PATIENTS_AT_ONCE, len(ids)))
        yield from simulate_ecg(part.physiology.take(these), [ids[row] for row in these], seed=seed)


def _save_recordings(folder: Path, parts: Mapping[str, _Part], writer: EcgWriter, seed: int) -> None:
    """What MIMIC-IV-ECG has of these admissions: files and their list, which names WFDB records without an ending."""
    numbers = [number for part in parts.values() for number in part.numbers]
    chance = uniform(seed, "mimic-ecg-time", 0, sample_keys(list(map(patient_id, numbers))), 1)[:, 0]
    hours = dict(zip(numbers, 1.0 + 22.0 * chance, strict=True))
    started = {number: admitted(number) + timedelta(seconds=round(3600 * hours[number])) for number in numbers}
    drawn = (each for part in parts.values() for each in zip(part.numbers, _ecgs(part, seed), strict=True))
    tracings = (
        (
            _ecg_path(number),
            Tracing(
                patient_id=str(subject_id(number)),
                millivolts=signals,
                rate_hz=SAMPLE_RATE_HZ,
                started=started[number],
            ),
        )
        for number, signals in drawn
    )
    folder.mkdir(parents=True)
    paths = writer.write(folder, tracings)
    records = {
        "subject_id": list(map(subject_id, numbers)),
        "study_id": list(map(_ecg_study_id, numbers)),
        "file_name": list(map(_ecg_study_id, numbers)),
        "ecg_time": [str(started[number]) for number in numbers],
        "path": [paths[_ecg_path(number)].removesuffix(".hea") for number in numbers],
    }
    save_csv(pd.DataFrame(records), folder / "record_list.csv")


def _repeat(out: "np.memmap[Any, np.dtype[np.float32]]", places: NDArray[np.int64], num_written: int) -> None:
    """Fill the rows that hold an admission again."""
    for row in range(num_written, len(places)):
        out[row] = out[places[row]]
    out.flush()
