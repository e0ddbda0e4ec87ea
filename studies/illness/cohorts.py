"""The study's patients: one hospital, one pack of films for each number of pairs; what is there stays."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pacx.core.errors import DataError
from pacx.core.preprocessing import Preprocessing
from pacx.core.workers import Workers
from pacx.data.packs.pack import Pack
from pacx.data.packs.packing import pack_records
from pacx.modalities.targets import FrozenTargets
from pacx.simulation.hospital import HospitalConfig, write_hospital
from pacx.simulation.patients.physiology import (
    ATRIAL_FIBRILLATION,
    LEFT_BUNDLE_BLOCK,
    PACED,
    RIGHT_BUNDLE_BLOCK,
    Physiology,
)
from pacx.simulation.signals.labs import expected_haemoglobin_g_dl
from studies.illness.design import BLIND_WORLD, WORLD, IllnessFolders, IllnessSizes
from studies.simulated.design import BLIND
from studies.stepwise.cohorts import (
    DOWNSTREAM,
    PRETRAINING,
    TRIPLETS,
    cohort_records,
    masked_records,
    physiology_of,
    tenths_of,
)


def simulate(folders: IllnessFolders, sizes: IllnessSizes, *, seed: int, workers: Workers) -> None:
    """Write the hospital, and the same patients' films as they would be if they showed nothing."""
    config = HospitalConfig(
        num_pretraining_patients=sizes.num_pretraining_patients,
        num_triplet_patients=sizes.pairs[-1],
        num_downstream_patients=sizes.num_downstream_patients,
        image_size_px=sizes.image_size_px,
        seed=seed,
    )
    blind = replace(
        config,
        num_pretraining_patients=1,
        num_triplet_patients=sizes.num_blind_pairs,
        num_downstream_patients=sizes.num_blind_downstream_patients,
        visibility=BLIND.seen,
        circumstances=BLIND.circumstances,
    )
    for world, each in ((WORLD, config), (BLIND_WORLD, blind)):
        write_hospital(folders.hospital(world), each, workers=workers)


def pack_cohorts(folders: IllnessFolders, sizes: IllnessSizes, seed: int) -> None:
    """Pack every cohort; of the patients with pairs the first so many for each number."""
    wanted: list[tuple[str, str, Path, int | None]] = [
        (WORLD, PRETRAINING, folders.pretraining, None),
        (WORLD, DOWNSTREAM, folders.downstream(), None),
        *((WORLD, TRIPLETS, folders.pairs(number), number) for number in (sizes.num_encoder_patients, *sizes.pairs)),
        (BLIND_WORLD, DOWNSTREAM, folders.downstream(BLIND_WORLD), None),
        (BLIND_WORLD, TRIPLETS, folders.pairs(sizes.num_blind_pairs, BLIND_WORLD), None),
    ]
    for world, cohort, out, number in dict.fromkeys(wanted):
        records = cohort_records(folders.hospital(world), cohort, seed, number)
        pack_records(records, out, preprocessing=Preprocessing(image_size_px=sizes.image_size_px))
    outlined = masked_records(folders.hospital(WORLD), sizes.num_masked_patients, seed)
    pack_records(outlined, folders.masked, preprocessing=Preprocessing(image_size_px=sizes.image_size_px))


def require_strangers(folders: IllnessFolders) -> dict[str, int]:
    """Make sure that no patient is in two cohorts or on two sides of a split.

    Returns:
        The number of patients per cohort.

    Raises:
        DataError: a patient is.
    """
    places = {
        PRETRAINING: folders.pretraining,
        TRIPLETS: folders.pairs(folders.most_pairs),
        DOWNSTREAM: folders.downstream(),
    }
    packs = {name: Pack.open(path) for name, path in places.items()}
    patients = {name: set(pack.patient_ids) for name, pack in packs.items()}
    for first, second in combinations(patients, 2):
        if shared := patients[first] & patients[second]:
            raise DataError(f"{len(shared)} patients are in two cohorts of the study: {first} and {second}")
    for name, pack in packs.items():
        if (pack.table.groupby("patient_id")["split"].nunique() > 1).any():
            raise DataError(f"patients of {name} are in two splits")
    return {name: len(ids) for name, ids in patients.items()}


def tenths_of_films(patient_ids: Sequence[str], seed: int) -> NDArray[np.int64]:
    """The tenth of acuity, among all these patients, of each film's patient: (N,)."""
    patients, patient = np.unique(np.asarray(patient_ids), return_inverse=True)
    return tenths_of(physiology_of(patients.tolist(), seed).acuity)[patient]


def variables(physiology: Physiology) -> Mapping[str, NDArray[np.float64]]:
    """The state of the body as numbers, (N,) each, acuity apart: what a perfect target would tell of a patient."""
    told = physiology
    is_right = told.pneumonia_side < 0
    return {
        "congestion": told.congestion,
        "effusion, right": told.effusion_right,
        "effusion, left": told.effusion_left,
        "ventricle dilation": told.ventricle_dilation,
        "wall thickness": told.wall_thickness_mm,
        "right heart load": told.right_heart_load,
        "aortic widening": told.aortic_widening,
        "hyperinflation": told.hyperinflation,
        "pneumonia, right": told.pneumonia * is_right,
        "pneumonia, left": told.pneumonia * ~is_right,
        "infection": told.infection,
        "kidney function": told.kidney_function,
        "haemoglobin": expected_haemoglobin_g_dl(told),
        "marrow failure": told.marrow_failure,
        "iron deficiency": told.iron_deficiency,
        "liver failure": told.liver_failure,
        "potassium": told.potassium_mmol_l,
        "ischaemia": told.ischemia,
        "atrial fibrillation": (told.rhythm == ATRIAL_FIBRILLATION).astype(np.float64),
        "paced rhythm": (told.rhythm == PACED).astype(np.float64),
        "left bundle block": (told.conduction == LEFT_BUNDLE_BLOCK).astype(np.float64),
        "right bundle block": (told.conduction == RIGHT_BUNDLE_BLOCK).astype(np.float64),
        "heart rate": told.heart_rate_bpm,
        "pacemaker": told.has_pacemaker,
        "age": told.age_years,
        "sex": told.is_female,
        "height": told.height_m,
        "body mass index": told.body_mass_index,
    }


def true_physiology(pack: Pack, seed: int) -> FrozenTargets:
    """The oracle's targets: every variable and acuity, of each film's patient."""
    physiology = physiology_of(pack.patient_ids.tolist(), seed)
    values = np.stack([*variables(physiology).values(), physiology.acuity], axis=1)
    scaled = (values - values.mean(axis=0)) / np.maximum(values.std(axis=0), 1e-6)
    return _simulated_targets("physiology", pack, scaled)


def true_acuity(pack: Pack, seed: int) -> FrozenTargets:
    """How ill each film's patient is, as a target of one number."""
    acuity = physiology_of(pack.patient_ids.tolist(), seed).acuity
    return _simulated_targets("acuity", pack, acuity[:, None])


def _simulated_targets(modality: str, pack: Pack, values: NDArray[np.float64]) -> FrozenTargets:
    return FrozenTargets(modality, tuple(pack.sample_ids), values.astype(np.float32), f"simulated {modality}")
