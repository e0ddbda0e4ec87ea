"""Targets that hold no physiology, or none but age and sex: what a distillation has to beat to have taught any.

`frozen targets -> frozen targets`. Training the class token towards anything at all may help a probe, because masked
autoencoding never supervises it; these controls say by how much. Their fingerprints name them, so that a run towards
one is never taken for a run towards the real thing.
"""

from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pacx.core.errors import DataError
from pacx.core.randomness import generator, order, sample_keys
from pacx.core.tables.ids import whole_number_id
from pacx.modalities.targets import FrozenTargets

_AGE, _SEX = "age", "sex"
_SEX_VALUES = {"F": 1.0, "M": -1.0}


def with_shuffled_pairs(
    targets: FrozenTargets,
    sample_ids: Sequence[str],
    patient_ids: Sequence[Hashable],
    *,
    seed: int,
    strata: Sequence[Hashable] | None = None,
) -> FrozenTargets:
    """Give the targets of some samples (the training films) to other patients among them; all others keep their own.

    The distribution of the targets stays what it is; only whose they are is lost, of every sample.

    Args:
        targets: what is exchanged.
        sample_ids: N samples among which; those without a target are passed over.
        patient_ids: N, whose sample each is; nobody is given a target of his own, of whichever sample.
        seed: fixes who gets what.
        strata: N values, one per sample, such as the film's view; only samples of equal value exchange, so that what
            the value tells of a patient stays right. None = everybody with everybody.

    Raises:
        DataError: of a stratum's samples with a target more than half are one patient's, who could only keep his own.
    """
    values = [None] * len(sample_ids) if strata is None else strata
    known = dict(zip(map(whole_number_id, sample_ids), zip(values, patient_ids, strict=True), strict=True))
    members: dict[Hashable, list[int]] = {}
    for row, sample in enumerate(map(whole_number_id, targets.sample_ids)):
        if sample in known:
            members.setdefault(known[sample][0], []).append(row)
    embeddings = np.array(targets.embeddings)
    for value, rows in members.items():
        ids = [targets.sample_ids[row] for row in rows]
        patients = np.unique([str(known[whole_number_id(each)][1]) for each in ids], return_inverse=True)[1]
        most = int(np.bincount(patients).max())
        if 2 * most > len(rows):
            place, remedy = (
                ("", "give films of more patients")
                if strata is None
                else (f" that have {value!r}", "exchange within fewer or coarser columns")
            )
            raise DataError(
                f"of {len(rows)} training films with a target for {targets.modality}{place}, {most} are of one "
                f"patient, who would keep own pairs; {remedy}"
            )
        stream = "shuffled-pairs" if strata is None else f"shuffled-pairs/{value!r}"
        drawn = order(seed, stream, 0, sample_keys(ids))
        embeddings[rows] = embeddings[np.array(rows)[_to_others(drawn, patients)]]
    kind = "shuffled" if strata is None else f"shuffled-within-{len(members)}"
    return replace(targets, embeddings=embeddings, fingerprint=f"{kind}-{seed}-{targets.fingerprint}")


def _to_others(drawn: NDArray[np.int64], patients: NDArray[np.int64]) -> NDArray[np.int64]:
    """Change a permutation (N,) of films, where it gives a patient his own, so that it gives everybody another's.

    Such a film changes places with the first that neither is this patient's nor was given this patient's. There is one:
    the two kinds are at most half of the films each, and this film is of both.
    """
    given = drawn.copy()
    for film in np.flatnonzero(patients[given] == patients).tolist():
        if patients[given[film]] != patients[film]:
            continue  # an earlier one has changed places with it
        is_free = (patients != patients[film]) & (patients[given] != patients[film])
        other = int(np.argmax(is_free))
        given[[film, other]] = given[[other, film]]
    return given


def random_targets(targets: FrozenTargets, *, seed: int) -> FrozenTargets:
    """Normal numbers in the place of every target: each film has a target of its own that means nothing."""
    noise = generator(seed, "random-targets", targets.modality).standard_normal(targets.embeddings.shape)
    return replace(targets, embeddings=noise.astype(np.float32), fingerprint=f"random-{seed}")


def age_and_sex(table: pd.DataFrame, sample_ids: Sequence[str]) -> FrozenTargets:
    """Age and sex as a target of two numbers: what a film shows of them is no news to anybody.

    Args:
        table: records with the columns sample_id, age (years) and sex (F or M); rows without them are left out.
        sample_ids: over whose ages age is standardized (the training films).

    Raises:
        DataError: the table has no such columns, or no row has both.
    """
    missing = [name for name in (_AGE, _SEX) if name not in table.columns]
    if missing:
        raise DataError(f"the pack's records have no column {' and '.join(missing)}; pack a table that has them")
    age = pd.to_numeric(table[_AGE], errors="coerce").to_numpy(float)
    sex = table[_SEX].map(_SEX_VALUES).to_numpy(float)
    known = np.isfinite(age) & np.isfinite(sex)
    fitted = known & table["sample_id"].isin(set(sample_ids)).to_numpy()
    if not fitted.any():
        raise DataError("no training film has an age in years and a sex of F or M; correct those columns")
    standardized = (age - age[fitted].mean()) / max(age[fitted].std(), 1e-6)
    embeddings = np.stack([standardized, sex], axis=1)[known].astype(np.float32)
    return FrozenTargets("age-and-sex", tuple(table["sample_id"][known]), embeddings, "age-and-sex")
