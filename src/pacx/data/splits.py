"""Which films train, which choose, which judge: always whole patients, stratified as well as whole patients allow.

``assign_splits`` and ``low_data_subset`` are pure: the same patients and labels get the same answer from the same seed,
in whatever order the rows come. Neither ever divides a patient, which is what most published splits of these datasets
get wrong; ``image_level_splits`` divides patients as those do, so that the difference can be measured.
"""

from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pacx.core.errors import DataError, UsageError
from pacx.core.randomness import order, sample_keys, uniform
from pacx.data.records import SPLITS

if TYPE_CHECKING:
    import pandas as pd


class SplitPolicy(Enum):
    """Who decides which films train and which judge, where a dataset's makers leave it open."""

    PATIENT = "patient"
    """We do, by whole patients."""

    RELEASED_CODE = "released-code"
    """The authors' released code does, by image: patients may be on both sides, and scores come out too high."""


def assign_splits(
    table: "pd.DataFrame",
    label_names: Sequence[str],
    *,
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2),
    seed: int,
) -> "pd.Series[str]":
    """Divide the patients of a table of records into train, val and test.

    Iterative stratification with patients as the unit: the rarest kind of evidence (a label's positives, or its
    negatives) is dealt out first, patient by patient in an order fixed by the seed, each to the split that lacks most
    of it; then the next rarest. Films without any known label are dealt out last, by number.

    Args:
        table: records; columns patient_id and the labels (1, 0, NaN unknown) are read.
        label_names: the labels to stratify by; may be empty.
        fractions: shares of train, val and test by number of films; they add up to 1, and a share may be 0.
        seed: which of the many equally good divisions.

    Returns:
        "train", "val" or "test" for each row, with the table's index. A split with a share has a patient at least.

    Raises:
        UsageError: the fractions are not shares of a whole.
        DataError: there are fewer patients than splits.

    Source: Sechidis, Tsoumakas and Vlahavas 2011, "On the stratification of multi-label data", algorithm 1, with
    patients in the place of samples.

    Example:
        >>> import pandas as pd
        >>> from pacx.data import assign_splits
        >>> table = pd.DataFrame({"patient_id": [f"p{number // 2}" for number in range(40)]})  # two films each
        >>> sorted(assign_splits(table, (), seed=0).value_counts().items())
        [('test', 8), ('train', 28), ('val', 4)]
    """
    import pandas as pd

    shares = np.asarray(fractions, float)
    if shares.shape != (len(SPLITS),) or (shares < 0).any() or abs(shares.sum() - 1) > 1e-9:
        raise UsageError(f"fractions are {fractions}, expected three shares (train, val, test) that add up to 1")
    patients, patient_of_row = _patients_in_order(table["patient_id"].to_numpy(object), seed)
    if len(patients) < (shares > 0).sum():
        raise DataError(f"{len(patients)} patients cannot be divided into {int((shares > 0).sum())} splits")
    labels = table[list(label_names)].to_numpy(float)
    evidence = np.concatenate([labels == 1, labels == 0, np.ones((len(table), 1))], axis=1)  # (N, 2 L + 1)
    counts = np.zeros((len(patients), evidence.shape[1]))
    np.add.at(counts, patient_of_row, evidence)
    split_of_patient = _deal_out(counts, shares)
    _fill_empty(split_of_patient, shares)
    return pd.Series(np.array(SPLITS, object)[split_of_patient[patient_of_row]], index=table.index, dtype=str)


_RELEASED_CODE_SEED = 42


def image_level_splits(
    official: "pd.Series[str]", *, val_share: float, test_share: float = 0.0, strata: "pd.Series | None" = None
) -> "pd.Series[str]":
    """Divide films without regard to patients, as the authors' released code does: to measure what that does.

    Films whose official split is "test" stay there; all others are one pool, in the order of the rows, which matters.

    Args:
        official: "train", "val", "test" or "" of each film.
        val_share: share held out for validation of what remains of the pool after ``test_share``, in (0, 1).
        test_share: share of the pool held out for testing first, in [0, 1); 0 where the test films are official.
        strata: a class of each film to keep in proportion; None draws plainly.

    Returns:
        "train", "val" or "test" for each row, with the index of ``official``.

    Raises:
        DataError: there are too few films to divide.

    Source: specification of the datasets, section 12.2 (scikit-learn's train_test_split with seed 42).
    """
    from sklearn.model_selection import train_test_split

    split = official.where(official == "test", "train")
    pool = np.flatnonzero(split == "train")
    for name, share in (("test", test_share), ("val", val_share)):
        if share == 0:
            continue
        stratify = None if strata is None else strata.to_numpy()[pool]
        try:
            pool, drawn = train_test_split(pool, test_size=share, random_state=_RELEASED_CODE_SEED, stratify=stratify)
        except ValueError as error:
            raise DataError(
                f"{len(pool)} films cannot be divided by image as the released code does: {error}"
            ) from error
        split.iloc[drawn] = name
    return split


def patients_in_two_splits(table: "pd.DataFrame") -> list[str]:
    """The patients with films in more than one of train, val and test, in the order of their ids."""
    known = table[table["split"] != ""]
    num_splits = known.groupby("patient_id")["split"].nunique()
    return num_splits.index[num_splits > 1].tolist()


def low_data_subset(
    labels: NDArray[np.floating],
    patient_ids: NDArray[np.object_],
    keys: NDArray[np.uint64],
    *,
    fraction: float,
    seed: int,
) -> NDArray[np.bool_]:
    """Choose the films of a low-data protocol: a stratified share of the patients in which every label lives.

    The patients are put into one line, and a subset is its beginning: so 1 % lies inside 10 %, which lies inside
    everything. At the head of the line stands one patient for each label that has a positive. The others follow such
    that any beginning of the line holds its share of each stratum, a patient's stratum being the rarest label present.

    Args:
        labels: (N, L), 1 present, 0 absent, NaN unknown.
        patient_ids: (N,) text.
        keys: (N,) the samples' keys; a patient's place in the line depends on the smallest key of theirs.
        fraction: in (0, 1], the share of the films. The patient at the boundary is taken whole, so that the subset has
            at least that share; it is larger where so many labels need a positive.
        seed: which of the many subsets.

    Returns:
        bool (N,), true where the film belongs to the subset.

    Raises:
        UsageError: the fraction is not in (0, 1].

    Source: paper appendix A.2.2 (stratified subsets of the training split).
    """
    if not 0 < fraction <= 1:
        raise UsageError(f"fraction is {fraction}, expected a share above 0 and at most 1")
    _, patient_of_row = np.unique(patient_ids.astype(str), return_inverse=True)
    num_patients = int(patient_of_row.max(initial=-1)) + 1
    patient_keys = np.full(num_patients, np.iinfo(np.uint64).max)
    np.minimum.at(patient_keys, patient_of_row, keys)
    num_films = np.bincount(patient_of_row, minlength=num_patients)
    has_label = np.zeros((num_patients, labels.shape[1]), bool)
    np.logical_or.at(has_label, patient_of_row, labels == 1)
    rarest_first = np.argsort((labels == 1).sum(axis=0), kind="stable")
    line = _stratified_line(has_label[:, rarest_first], patient_keys, seed)
    line, num_at_head = _one_per_label_first(line, has_label[:, rarest_first])
    # Integers compare exactly: 10 % of 30 films is 3, not 3.0000000000000004.
    enough = int(np.searchsorted(np.cumsum(num_films[line]), np.ceil(round(fraction * len(labels), 6)))) + 1
    chosen = np.zeros(num_patients, bool)
    chosen[line[: max(enough, num_at_head)]] = True
    return chosen[patient_of_row]


def _patients_in_order(patient_ids: NDArray[np.object_], seed: int) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
    """The patients in an order fixed by the seed and their ids alone, and the place of each row's patient in it."""
    patients, patient_of_row = np.unique(patient_ids.astype(str), return_inverse=True)
    line = order(seed, "splits", 0, sample_keys(patients.tolist()))
    place = np.empty(len(line), np.int64)
    place[line] = np.arange(len(line))
    return patients[line], place[patient_of_row]


def _deal_out(counts: NDArray[np.float64], shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """Each patient's split. ``counts`` (P, E) is each patient's evidence of each kind, the last kind being the film."""
    wanted = shares[:, None] * counts.sum(axis=0)  # (3, E): what each split still lacks of each kind
    wanted[shares == 0] = -np.inf
    split_of_patient = np.full(len(counts), -1)
    for kind in _rarest_first(counts):
        for patient in np.flatnonzero((split_of_patient < 0) & (counts[:, kind] > 0)):
            lacks_most = np.flatnonzero(wanted[:, kind] == wanted[:, kind].max())
            split = lacks_most[np.argmax(wanted[lacks_most, -1])]
            split_of_patient[patient] = split
            wanted[split] -= counts[patient]
    return split_of_patient


def _rarest_first(counts: NDArray[np.float64]) -> list[int]:
    """Kinds of evidence that occur, the rarest first; films as such always come last."""
    totals = counts[:, :-1].sum(axis=0)
    return [int(kind) for kind in np.argsort(totals, kind="stable") if totals[kind] > 0] + [counts.shape[1] - 1]


def _fill_empty(split_of_patient: NDArray[np.int64], shares: NDArray[np.float64]) -> None:
    """Give a split that has a share but, among very few patients, got none, the last patient of the largest split."""
    for split in np.flatnonzero(shares > 0):
        if not (split_of_patient == split).any():
            largest = np.bincount(split_of_patient).argmax()
            split_of_patient[np.flatnonzero(split_of_patient == largest)[-1]] = split


def _stratified_line(has_label: NDArray[np.bool_], patient_keys: NDArray[np.uint64], seed: int) -> NDArray[np.int64]:
    """Patients in a line any beginning of which holds about its share of each stratum; columns are rarest first."""
    num_labels = has_label.shape[1]
    stratum = np.where(has_label.any(axis=1), has_label.argmax(axis=1) if num_labels else 0, num_labels)
    shuffled = order(seed, "low-data", 0, patient_keys)
    offset = uniform(seed, "low-data-stratum", 0, np.arange(num_labels + 1, dtype=np.uint64), 1)[:, 0]
    place = np.empty(len(shuffled))
    for index in range(num_labels + 1):
        members = shuffled[stratum[shuffled] == index]
        # Evenly spaced in [0, 1), so that a beginning of length f holds f of every stratum.
        place[members] = (np.arange(len(members)) + offset[index]) / max(len(members), 1)
    return shuffled[np.argsort(place[shuffled], kind="stable")]


def _one_per_label_first(line: NDArray[np.int64], has_label: NDArray[np.bool_]) -> tuple[NDArray[np.int64], int]:
    """Move one patient per label (rarest first; none for a label already there) to the head; also say how many."""
    head: list[int] = []
    for label in range(has_label.shape[1]):
        with_label = line[has_label[line, label]]
        if len(with_label) and not has_label[head, label].any():
            head.append(int(with_label[0]))
    rest = line[~np.isin(line, head)]
    return np.concatenate([np.array(head, np.int64), rest]), len(head)
