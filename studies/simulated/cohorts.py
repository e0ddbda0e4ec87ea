"""The study's patients: simulated, packed, divided; nobody is in two cohorts, which is checked and not assumed."""

from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np

from pacx.core.errors import DataError
from pacx.core.preprocessing import Preprocessing
from pacx.data.packs.pack import Pack
from pacx.data.packs.packing import pack_records
from pacx.recipes.side_by_side import in_processes
from pacx.simulation.hospital import HospitalConfig, write_hospital
from pacx.simulation.patients.sites import COMMUNITY_HOSPITAL
from studies.simulated.design import IN_LIFE, WORLDS, StudyFolders, StudySizes
from studies.stepwise.cohorts import DOWNSTREAM, MASKED, PRETRAINING, TRIPLETS, cohort_records, masked_records

ELSEWHERE = "elsewhere"


def simulate(folders: StudyFolders, sizes: StudySizes, *, seed: int, num_processes: int) -> None:
    """Write the hospital of every world, and the other site's labelled films; what is there stays."""
    home = HospitalConfig(
        num_pretraining_patients=sizes.num_pretraining_patients,
        num_triplet_patients=sizes.num_triplet_patients,
        num_downstream_patients=sizes.num_downstream_patients,
        image_size_px=sizes.image_size_px,
        seed=seed,
    )
    others = replace(home, num_pretraining_patients=1)  # Stage 1 is the same in every world
    wanted = {
        world.name: replace(
            home if world == IN_LIFE else others, visibility=world.seen, circumstances=world.circumstances
        )
        for world in WORLDS
    }
    wanted[ELSEWHERE] = replace(
        others,
        num_triplet_patients=1,
        num_downstream_patients=sizes.num_elsewhere_patients,
        site=COMMUNITY_HOSPITAL,
    )
    jobs = [_Hospital(root=folders.hospital(name), config=config) for name, config in wanted.items()]
    for _ in in_processes(_write, jobs, num_processes):
        pass


@dataclass(frozen=True, kw_only=True)
class _Hospital:
    root: Path
    config: HospitalConfig


def _write(hospital: _Hospital) -> None:
    write_hospital(hospital.root, hospital.config)


def pack_cohorts(folders: StudyFolders, sizes: StudySizes, seed: int) -> None:
    """Pack every cohort that is not packed yet."""
    wanted = [(PRETRAINING, IN_LIFE.name), (MASKED, IN_LIFE.name), (DOWNSTREAM, ELSEWHERE)]
    wanted += [(cohort, world.name) for world in WORLDS for cohort in (TRIPLETS, DOWNSTREAM)]
    for cohort, name in wanted:
        hospital = folders.hospital(name)
        if cohort == MASKED:
            records = masked_records(hospital, sizes.num_masked_patients, seed)
        else:
            records = cohort_records(hospital, cohort, seed)
        if name == ELSEWHERE:
            records = replace(records, table=records.table.assign(split="test"))
        pack_records(
            records, folders.pack(cohort, name), preprocessing=Preprocessing(image_size_px=sizes.image_size_px)
        )


def require_strangers(folders: StudyFolders) -> dict[str, int]:
    """Make sure that no patient is in two cohorts or on two sides of a split, and that worlds have the same patients.

    Returns:
        The number of patients per cohort.

    Raises:
        DataError: a patient is; the message says between which cohorts.
    """
    places = [(PRETRAINING, IN_LIFE.name), (TRIPLETS, IN_LIFE.name), (DOWNSTREAM, IN_LIFE.name)]
    packs = {f"{cohort}, {name}": Pack.open(folders.pack(cohort, name)) for cohort, name in places}
    packs[ELSEWHERE] = Pack.open(folders.pack(DOWNSTREAM, ELSEWHERE))
    patients = {name: set(pack.patient_ids) for name, pack in packs.items()}
    for first, second in combinations(patients, 2):
        if shared := patients[first] & patients[second]:
            raise DataError(f"{len(shared)} patients are in two cohorts of the study: {first} and {second}")
    for name, pack in packs.items():
        sides = pack.table.groupby("patient_id")["split"].nunique()
        if (sides > 1).any():
            raise DataError(f"{int((sides > 1).sum())} patients of {name} are in two splits")
    for world in WORLDS:
        for cohort in (TRIPLETS, DOWNSTREAM):
            here, there = (Pack.open(folders.pack(cohort, name)) for name in (IN_LIFE.name, world.name))
            is_same = np.array_equal(here.sample_ids, there.sample_ids)
            if not is_same or not (here.table["split"] == there.table["split"]).all():
                raise DataError(f"the {cohort} cohort of the world '{world.name}' has other films or splits")
    return {name: len(ids) for name, ids in patients.items()}
