"""The cohorts of a simulated hospital as records with splits, and how ill their patients are, which no file says."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pacx.data.dataset import SplitPlan
from pacx.data.datasets.folder import DATASET as FOLDER
from pacx.data.datasets.folder import FolderOptions
from pacx.data.packs.splitting import UNTESTED, with_splits
from pacx.data.records import Records
from pacx.simulation.patients.physiology import Physiology
from pacx.simulation.patients.population import draw_physiology
from pacx.simulation.patients.sites import UNIVERSITY_HOSPITAL

PRETRAINING, TRIPLETS, DOWNSTREAM = "pretraining", "triplets", "downstream"
MASKED = "masked"
"""The pack of some of the downstream films, with outlines."""
ACUITY_TENTH = "acuity_tenth"
"""Column of the triplets' packs: how ill a patient is, in tenths."""
NUM_TENTHS = 10
_PROBED = SplitPlan(fractions=(0.5, 0.1, 0.4))
_DECODED = SplitPlan(fractions=(0.4, 0.1, 0.5))
"""Large test splits: the question is how small a difference can be told."""


def cohort_records(hospital: Path, cohort: str, seed: int, num_patients: int | None = None) -> Records:
    """A cohort's films with splits, without masks; labels for the probes, tenths of acuity for what is exchanged.

    Args:
        hospital: the folder of a simulated one.
        cohort: one of the three.
        seed: of hospital and splits.
        num_patients: the first so many; None = all.
    """
    labels = ("*",) if cohort == DOWNSTREAM else ()
    records = replace(FOLDER.read(hospital / cohort, FolderOptions(label_columns=labels)), mask_names=())
    if num_patients is not None:
        records = first_patients(records, num_patients)
    if cohort == TRIPLETS:
        tenths = tenths_of(physiology_of(records.table["patient_id"].tolist(), seed).acuity)
        records = replace(records, table=records.table.assign(**{ACUITY_TENTH: tenths}))
    return with_splits(records, seed, _PROBED if cohort == DOWNSTREAM else UNTESTED)


def masked_records(hospital: Path, num_patients: int, seed: int) -> Records:
    """The films of the first so many labelled patients with masks and without labels, for a decoder."""
    records = FOLDER.read(hospital / DOWNSTREAM, FolderOptions())
    return with_splits(first_patients(records, num_patients), seed, _DECODED)


def first_patients(records: Records, num_patients: int) -> Records:
    """The films of the first so many patients."""
    kept = records.table["patient_id"].isin(records.table["patient_id"].unique()[:num_patients])
    return replace(records, table=records.table[kept])


def physiology_of(patient_ids: Sequence[str], seed: int) -> Physiology:
    """What the hospital knows of its patients and no file of it says."""
    return draw_physiology(patient_ids, seed=seed, site=UNIVERSITY_HOSPITAL)


def tenths_of(acuity: NDArray[np.float64]) -> NDArray[np.int64]:
    """How ill each patient is, from 0, the least ill tenth, to 9: values (N,) to int (N,)."""
    ranks = np.argsort(np.argsort(acuity, kind="stable"))
    return ranks * NUM_TENTHS // len(ranks)
