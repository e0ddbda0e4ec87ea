"""Patients alike in what is known of them: groups within which pairs of film and physiology may be exchanged.

`columns and numbers per film -> groups of about eight patients -> a partner for each film`. Films equal in every
category are halved at the median of the number in which they differ most, again and again, until a group is small. What
a group's patients have in common stays right when they exchange their ECGs and labs; only whose they are is lost.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pacx.core.randomness import generator

ALONE = -1
"""The group of a film whose patient has nobody alike."""


def alike_groups(
    categories: Sequence[str], numbers: Mapping[str, NDArray[np.float64]], patient_ids: Sequence[str], *, size: int
) -> NDArray[np.int64]:
    """Group films whose patients are alike.

    Args:
        categories: N values; only films of equal value share a group.
        numbers: (N,) each, such as age; unknown ones (NaN) share groups with unknown ones only.
        patient_ids: N; a group holds at least two patients, and none more than half of its films.
        size: a group of twice as many films is divided.

    Returns:
        Group of each film (N,), from 0; ``ALONE`` where nobody is alike.
    """
    values = (
        np.stack([_ranked(each) for each in numbers.values()], axis=1) if numbers else np.zeros((len(categories), 0))
    )
    known = np.isfinite(values)
    strata = np.array([f"{category}/{row}" for category, row in zip(categories, known.tolist(), strict=True)])
    patients = np.unique(np.asarray(patient_ids).astype(str), return_inverse=True)[1]
    groups = np.full(len(strata), ALONE)
    number = 0
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        for part in _divided(members, values[:, known[members[0]]], size):
            if 2 * np.bincount(patients[part]).max() <= len(part):
                groups[part] = number
                number += 1
    return groups


def _ranked(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks in [0, 1], so that an age and a laboratory score weigh alike; NaN stays."""
    known = np.flatnonzero(np.isfinite(numbers))
    ranks = np.full(len(numbers), np.nan)
    _, place = np.unique(numbers[known], return_inverse=True)
    ranks[known] = place / max(1, place.max(initial=0))
    return ranks


def _divided(members: NDArray[np.int64], values: NDArray[np.float64], size: int) -> list[NDArray[np.int64]]:
    own = values[members]
    spread = np.ptp(own, axis=0) if own.shape[1] else np.zeros(1)
    if len(members) < 2 * size or spread.max() == 0:
        return [members]
    order = np.argsort(own[:, spread.argmax()], kind="stable")
    middle = len(members) // 2
    return [*_divided(members[order[:middle]], values, size), *_divided(members[order[middle:]], values, size)]


def partners(groups: NDArray[np.int64], patient_ids: Sequence[str], *, seed: int) -> NDArray[np.int64]:
    """Whose physiology each film is given, (N,): another patient's of its group, each film's once.

    Args:
        groups: of each film, see ``alike_groups``; a film that is ``ALONE`` keeps its own.
        patient_ids: N.
        seed: fixes who gets whose.
    """
    patients = np.unique(np.asarray(patient_ids).astype(str), return_inverse=True)[1]
    partner = np.arange(len(groups))
    for group in range(groups.max(initial=ALONE) + 1):
        members = np.flatnonzero(groups == group)
        drawn = generator(seed, "alike-pairs", group).permutation(len(members))
        members = members[drawn]
        counts = np.bincount(patients[members], minlength=patients.max() + 1)
        # films of a patient stand together, the most numerous first; a step as long as those leads to somebody else
        ring = members[np.lexsort((patients[members], -counts[patients[members]]))]
        partner[ring] = np.roll(ring, -counts.max())
    return partner
