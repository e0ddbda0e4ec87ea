"""Write a whole simulated hospital to disk: films to pretrain on, film-ECG-lab triplets, films with labels and masks.

Layout (every path in an index is relative to its cohort's folder)::

    ROOT/hospital.json                     the config and its fingerprint
    ROOT/pretraining/index.csv  films/     up to two films per patient
    ROOT/triplets/index.csv  films/  ecg.npy  ecg.json  labs.csv     one film per patient, rows aligned, as Symile-MIMIC
    ROOT/triplets/vitals.csv               vital signs of the same patients
    ROOT/downstream/index.csv  films/  masks/{lung,heart,opacity}/   labels in the index, up to two films per patient

``ecg.npy`` is int16 in microvolt; in the tables a blank is a value nobody asked for; masks are 0 and 255. No patient
is in two cohorts, and none of one site is at another. Work is cut into fixed chunks of patients and every patient is a
pure function of seed, id and site, so any number of workers writes the same bytes. A cohort's folder appears whole or
not at all; cohorts of the same config are kept, a folder made with another config is never touched.
"""

import hashlib
import json
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from pacx.core.artifacts import read_json, staged_directory, write_json
from pacx.core.errors import UsageError
from pacx.core.progress import progress
from pacx.core.randomness import sample_keys, uniform
from pacx.core.vocabulary import ECG_LEADS, LAB_ITEM_IDS
from pacx.core.workers import Workers
from pacx.simulation.film.thorax import RenderedFilms, render_films
from pacx.simulation.patients.acquisition import Circumstances
from pacx.simulation.patients.labels import downstream_labels
from pacx.simulation.patients.physiology import Physiology, Visibility
from pacx.simulation.patients.population import draw_physiology
from pacx.simulation.patients.sites import UNIVERSITY_HOSPITAL, Site
from pacx.simulation.signals.ecg import NUM_SAMPLES, SAMPLE_RATE_HZ, simulate_ecg
from pacx.simulation.signals.labs import simulate_labs
from pacx.simulation.signals.vitals import simulate_vitals, write_vitals

MASK_NAMES = ("lung", "heart", "opacity")

_WORLD_VERSION = 1  # raise it when the same config gives other bytes, so that older folders are refused
_PATIENTS_PER_CHUNK = 32
_SECOND_FILM_FRACTION = 0.2
_PNG_EFFORT = 2  # of 9: films are noisy, more effort costs time and saves little


@dataclass(frozen=True, kw_only=True)
class HospitalConfig:
    """How many patients a simulated hospital has, and what its films look like.

    Args:
        num_pretraining_patients: with films alone, at least 1.
        num_triplet_patients: with a film, an ECG and laboratory values, at least 1.
        num_downstream_patients: with labelled films and masks, at least 1.
        image_size_px: side of a film, at least 32 pixels.
        seed: of everything; same seed, same bytes.
        visibility: how strongly a film shows each mechanism; 0 not at all, 1 as in life.
        site: whose patients, scanner and habits.
        circumstances: what taking a film tells of the patient; 1 as in life, 0 nothing.

    Raises:
        UsageError: a cohort is empty, or films are too small.

    Example:
        >>> from pacx.simulation import HospitalConfig
        >>> config = HospitalConfig(num_triplet_patients=100, image_size_px=64, seed=1)
        >>> config.num_downstream_patients, len(config.fingerprint())
        (1500, 64)
    """

    num_pretraining_patients: int = 3000
    num_triplet_patients: int = 2000
    num_downstream_patients: int = 1500
    image_size_px: int = 224
    seed: int = 0
    visibility: Visibility = field(default_factory=Visibility)
    site: Site = UNIVERSITY_HOSPITAL
    circumstances: Circumstances = field(default_factory=Circumstances)

    def __post_init__(self) -> None:
        for name in ("num_pretraining_patients", "num_triplet_patients", "num_downstream_patients"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; a simulated hospital needs at least one of each")
        if self.image_size_px < 32:
            raise UsageError(f"image_size_px is {self.image_size_px}; a simulated film needs at least 32")

    def fingerprint(self) -> str:
        """64 hexadecimal digits that stand for every byte this config leads to.

        Circumstances as in life do not enter: folders from before there were others keep their fingerprint.
        """
        config = asdict(self)
        if self.circumstances == Circumstances():
            del config["circumstances"]
        world = json.dumps({"config": config, "world": _WORLD_VERSION}, sort_keys=True)
        return hashlib.sha256(world.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class _Cohort:
    """One folder of the hospital and what is in it."""

    name: str
    letter: str  # in the patient ids, which keeps the cohorts apart
    num_patients: int
    has_second_films: bool = False
    has_signals: bool = False
    has_labels: bool = False

    def patient_ids(self, site: Site) -> list[str]:
        return [f"{site.name}-{self.letter}{number:06d}" for number in range(self.num_patients)]


def _cohorts(config: HospitalConfig) -> tuple[_Cohort, ...]:
    return (
        _Cohort(name="pretraining", letter="p", num_patients=config.num_pretraining_patients, has_second_films=True),
        _Cohort(name="triplets", letter="t", num_patients=config.num_triplet_patients, has_signals=True),
        _Cohort(
            name="downstream",
            letter="d",
            num_patients=config.num_downstream_patients,
            has_second_films=True,
            has_labels=True,
        ),
    )


@dataclass(frozen=True, kw_only=True)
class _Task:
    """One chunk of one cohort: what a worker needs to know."""

    config: HospitalConfig
    cohort: _Cohort
    patient_ids: list[str]
    folder: Path  # of the cohort, still under its temporary name


@dataclass(frozen=True, kw_only=True)
class _Chunk:
    """What a worker hands back; the films are on disk already."""

    index: pd.DataFrame
    ecg_microvolt: NDArray[np.int16] | None  # (patients, 12, 5000)
    labs: NDArray[np.float64] | None  # (patients, 50)


def _film_rows(task: _Task) -> tuple[list[str], NDArray[np.int64]]:
    """Film ids of a chunk and the row of the patient on each: a fifth of the patients has two."""
    has_two = np.zeros(len(task.patient_ids), dtype=bool)
    if task.cohort.has_second_films:
        chance = uniform(task.config.seed, "second-film", 0, sample_keys(task.patient_ids), 1)[:, 0]
        has_two = chance < _SECOND_FILM_FRACTION
    rows = np.repeat(np.arange(len(task.patient_ids)), 1 + has_two)
    is_second = np.concatenate([[False], rows[1:] == rows[:-1]])
    return [f"{task.patient_ids[row]}-f{1 + second}" for row, second in zip(rows, is_second, strict=True)], rows


def _index(task: _Task, film_ids: list[str], is_ap: NDArray[np.float64], patients: Physiology) -> pd.DataFrame:
    """The chunk's part of index.csv, one row per film."""
    patient_ids = [film.rpartition("-")[0] for film in film_ids]
    table = pd.DataFrame(
        {
            "file": [f"films/{film}.png" for film in film_ids],
            "sample_id": film_ids,
            "patient_id": patient_ids,
            "study_id": [f"{patient}-s1" for patient in patient_ids],
            "view": np.where(is_ap == 1, "AP", "PA"),
            "age": np.floor(patients.age_years).astype(np.int64),
            "sex": np.where(patients.is_female == 1, "F", "M"),
        }
    )
    if task.cohort.has_labels:
        masks = {f"mask:{name}": [f"masks/{name}/{film}.png" for film in film_ids] for name in MASK_NAMES}
        table = pd.concat([table, downstream_labels(patients), pd.DataFrame(masks)], axis=1)
    return table


def _save_png(path: Path, grey: NDArray[np.uint8]) -> None:
    Image.fromarray(grey).save(path, format="PNG", compress_level=_PNG_EFFORT)


def _save_pictures(task: _Task, index: pd.DataFrame, films: RenderedFilms) -> None:
    for file, image in zip(index["file"], films.images, strict=True):
        _save_png(task.folder / file, image)
    if task.cohort.has_labels:
        for name in MASK_NAMES:
            for file, mask in zip(index[f"mask:{name}"], getattr(films, name), strict=True):
                _save_png(task.folder / file, mask.astype(np.uint8) * np.uint8(255))


def _make_chunk(task: _Task) -> _Chunk:
    """Draw the patients of a chunk, write their pictures, hand back their rows; a pure function of the task."""
    config, seed = task.config, task.config.seed
    physiology = draw_physiology(task.patient_ids, seed=seed, site=config.site)
    film_ids, rows = _film_rows(task)
    on_film = physiology.take(rows)
    nuisance = config.circumstances.nuisance(film_ids, on_film, seed=seed, site=config.site)
    films = render_films(
        on_film,
        nuisance,
        film_ids=film_ids,
        seed=seed,
        image_size_px=config.image_size_px,
        visibility=config.visibility,
        scanner=config.site.scanner,
    )
    index = _index(task, film_ids, nuisance.is_ap, on_film)
    _save_pictures(task, index, films)
    if not task.cohort.has_signals:
        return _Chunk(index=index, ecg_microvolt=None, labs=None)
    millivolt = simulate_ecg(physiology, task.patient_ids, seed=seed)
    microvolt = np.clip(np.rint(millivolt * 1000.0), -32768, 32767).astype(np.int16)
    labs = simulate_labs(physiology, task.patient_ids, seed=seed)
    return _Chunk(index=index, ecg_microvolt=microvolt, labs=labs)


def _write_cohort(folder: Path, cohort: _Cohort, config: HospitalConfig, workers: Workers) -> None:
    """Fill the cohort's (temporary) folder, chunk by chunk."""
    pictures = ("films", *(f"masks/{name}" for name in MASK_NAMES if cohort.has_labels))
    for name in pictures:
        (folder / name).mkdir(parents=True)
    patient_ids = cohort.patient_ids(config.site)
    tasks = [
        _Task(config=config, cohort=cohort, patient_ids=patient_ids[start : start + _PATIENTS_PER_CHUNK], folder=folder)
        for start in range(0, len(patient_ids), _PATIENTS_PER_CHUNK)
    ]
    signals: np.memmap[Any, np.dtype[np.int16]] | None = None
    if cohort.has_signals:
        shape = (len(patient_ids), len(ECG_LEADS), NUM_SAMPLES)
        signals = np.lib.format.open_memmap(folder / "ecg.npy", mode="w+", dtype=np.int16, shape=shape)
    indices: list[pd.DataFrame] = []
    labs: list[NDArray[np.float64]] = []
    with progress(f"simulate {cohort.name}", len(patient_ids), "patients") as shown:
        for task, chunk in zip(tasks, workers.in_order(_make_chunk, tasks), strict=True):
            if signals is not None and chunk.ecg_microvolt is not None and chunk.labs is not None:
                start = sum(map(len, labs))
                signals[start : start + len(task.patient_ids)] = chunk.ecg_microvolt
                labs.append(chunk.labs)
            indices.append(chunk.index)
            shown.advance(len(task.patient_ids))
    index = pd.concat(indices, ignore_index=True)
    index.to_csv(folder / "index.csv", index=False, lineterminator="\n")
    if signals is not None:
        signals.flush()
        _write_signal_tables(folder, list(index["sample_id"]), np.concatenate(labs))


def _write_signal_tables(folder: Path, sample_ids: list[str], labs: NDArray[np.float64]) -> None:
    """ecg.json, which says what ecg.npy is, and labs.csv."""
    about = {"sample_ids": sample_ids, "leads": list(ECG_LEADS), "sample_rate_hz": SAMPLE_RATE_HZ, "unit": "uV"}
    write_json(folder / "ecg.json", about)
    table = pd.DataFrame(labs, columns=[str(item) for item in LAB_ITEM_IDS])
    table.insert(0, "sample_id", sample_ids)
    table.to_csv(folder / "labs.csv", index=False, float_format="%.6g", lineterminator="\n")


def _add_vitals(folder: Path, cohort: _Cohort, config: HospitalConfig) -> None:
    """vitals.csv, beside what is there already: hospitals from before there were vital signs get them too."""
    if (folder / "vitals.csv").exists():
        return
    patient_ids = cohort.patient_ids(config.site)
    physiology = draw_physiology(patient_ids, seed=config.seed, site=config.site)
    signs = simulate_vitals(physiology, patient_ids, seed=config.seed)
    write_vitals(folder / "vitals.csv", [f"{patient}-f1" for patient in patient_ids], signs)


def _claim(root: Path, config: HospitalConfig, cohorts: tuple[_Cohort, ...]) -> None:
    """Make sure that ``root`` is this hospital's, or becomes it.

    Raises:
        UsageError: the folder holds a hospital of another config, or cohorts whose config nobody knows.
    """
    about, fingerprint = root / "hospital.json", config.fingerprint()
    if about.exists():
        found: Any = read_json(about)
        if not isinstance(found, dict) or found.get("fingerprint") != fingerprint:
            raise UsageError(
                f"{root} holds a simulated hospital of another config (see {about}); give an empty folder, or the "
                "same sizes, seed, visibility and site"
            )
        return
    strangers = [cohort.name for cohort in cohorts if (root / cohort.name).exists()]
    if strangers:
        raise UsageError(
            f"{root} has a folder '{strangers[0]}' but no hospital.json that says how it was made; give an empty folder"
        )
    write_json(about, {"fingerprint": fingerprint, "config": asdict(config), "world": _WORLD_VERSION})


def write_hospital(root: Path, config: HospitalConfig, *, num_workers: int = 1, workers: Workers | None = None) -> None:
    """Write the three cohorts of a simulated hospital under ``root``; what is there already, of the same config, stays.

    Args:
        root: folder to fill; made if missing.
        config: sizes, seed, visibility of the mechanisms and site.
        num_workers: processes to use; the bytes do not depend on it.
        workers: processes of one thread each that are there already; they stay.

    Raises:
        UsageError: ``root`` holds something else, or there is no worker.
        ArtifactError: no room or no permission; the cohort at work is removed, finished ones stay.
        WorkerError: a worker process died; as above.

    Example:
        >>> from pathlib import Path
        >>> from pacx.simulation import HospitalConfig, write_hospital
        >>> patients = {"num_pretraining_patients": 2, "num_triplet_patients": 2, "num_downstream_patients": 2}
        >>> write_hospital(Path("small-hospital"), HospitalConfig(**patients, image_size_px=32))
        >>> sorted(path.name for path in Path("small-hospital").iterdir() if path.is_dir())
        ['downstream', 'pretraining', 'triplets']
    """
    if num_workers < 1:
        raise UsageError(f"num_workers is {num_workers}; give at least 1")
    cohorts = _cohorts(config)
    _claim(root, config, cohorts)
    missing = [cohort for cohort in cohorts if not (root / cohort.name).exists()]
    if missing:
        with Workers(num_workers) if workers is None else nullcontext(workers) as at_work:
            for cohort in missing:
                with staged_directory(root / cohort.name) as folder:
                    _write_cohort(folder, cohort, config, at_work)
    for cohort in cohorts:
        if cohort.has_signals:
            _add_vitals(root / cohort.name, cohort, config)
