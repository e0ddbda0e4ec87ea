"""Targets that hold no physiology, or none but age and sex: what a distillation has to beat to have taught any.

`frozen targets -> frozen targets`. Training the class token towards anything at all may help a probe, because masked
autoencoding never supervises it; these controls say by how much. Their fingerprints name them, so that a run towards
one is never taken for a run towards the real thing.
"""

from collections.abc import Hashable, Sequence
from itertools import repeat

import numpy as np
import pandas as pd

from pacx.core.errors import DataError
from pacx.core.randomness import generator, order, sample_keys
from pacx.core.tables.ids import whole_number_id
from pacx.modalities.targets import FrozenTargets

_AGE, _SEX = "age", "sex"
_SEX_VALUES = {"F": 1.0, "M": -1.0}


def with_shuffled_pairs(
    targets: FrozenTargets, sample_ids: Sequence[str], *, seed: int, strata: Sequence[Hashable] | None = None
) -> FrozenTargets:
    """Give the targets of some samples (the training films) to each other; all others keep their own.

    The distribution of the targets stays what it is; only whose they are is lost.

    Args:
        targets: what is exchanged.
        sample_ids: N samples among which; those without a target are passed over.
        seed: fixes who gets what.
        strata: N values, one per sample, such as the film's view; only samples of equal value exchange, so that what
            the value tells of a patient stays right. None = everybody with everybody.

    Raises:
        DataError: a stratum has a single sample with a target, which could only keep its own.
    """
    stratum = dict(zip(map(whole_number_id, sample_ids), strata if strata is not None else repeat(None), strict=False))
    members: dict[Hashable, list[int]] = {}
    for row, sample in enumerate(map(whole_number_id, targets.sample_ids)):
        if sample in stratum:
            members.setdefault(stratum[sample], []).append(row)
    embeddings = np.array(targets.embeddings)
    for value, rows in members.items():
        if strata is not None and len(rows) == 1:
            raise DataError(
                f"only one training film with a target for {targets.modality} has {value!r}, so it would keep its own "
                "pair; exchange within fewer or coarser columns"
            )
        keys = sample_keys([targets.sample_ids[row] for row in rows])
        stream = "shuffled-pairs" if strata is None else f"shuffled-pairs/{value!r}"
        embeddings[rows] = embeddings[np.array(rows)[order(seed, stream, 0, keys)]]
    kind = "shuffled" if strata is None else f"shuffled-within-{len(members)}"
    return FrozenTargets(targets.modality, targets.sample_ids, embeddings, f"{kind}-{seed}-{targets.fingerprint}")


def random_targets(targets: FrozenTargets, *, seed: int) -> FrozenTargets:
    """Normal numbers in the place of every target: each film has a target of its own that means nothing."""
    noise = generator(seed, "random-targets", targets.modality).standard_normal(targets.embeddings.shape)
    return FrozenTargets(targets.modality, targets.sample_ids, noise.astype(np.float32), f"random-{seed}")


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
