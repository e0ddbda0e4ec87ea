"""Who divides a dataset's films into train, val and test: its makers as far as they did, else we, always by patient."""

from dataclasses import replace
from typing import Any

from pacx.data.dataset import Dataset, SplitPlan
from pacx.data.records import Records
from pacx.data.splits import SplitPolicy, assign_splits, patients_in_two_splits

_DEFAULT_PLAN = SplitPlan()
UNTESTED = SplitPlan(fractions=(0.95, 0.05, 0.0))
"""For films that nothing will be tested on, such as those of a pretraining."""


def plan_for(records: Records, dataset: Dataset[Any]) -> SplitPlan:
    """The dataset's own plan; ``UNTESTED`` for films without labels and masks, which have nothing to be tested on."""
    return dataset.card.splits if records.label_names or records.mask_names else UNTESTED


def with_splits(records: Records, seed: int, plan: SplitPlan = _DEFAULT_PLAN) -> Records:
    """Records whose every film has a split: the makers' own as far as it goes, the rest by patient.

    No split anywhere: the patients are divided by the plan's fractions. Training and test films only: the plan's share
    of the training patients becomes val. Otherwise the splits stay as they are. The notes say what was done, and count
    the patients whom the makers divide and those who have films in the test split and others in none.

    Args:
        records: the films.
        seed: of the draw.
        plan: shares of patients.
    """
    table, names = records.table, records.label_names
    found = set(table["split"]) - {""}
    num_divided = len(patients_in_two_splits(table))
    notes = [f"the makers' own splits divide patients: {num_divided} are in two splits"] if num_divided else []
    split = table["split"]
    num_half_marked = len(set(table["patient_id"][split == "test"]) & set(table["patient_id"][split == ""]))
    if num_half_marked:
        notes.append(
            f"{num_half_marked} patients have films in the test split and others in none; those are never trained on"
        )
    if not found:
        split = assign_splits(table, names, fractions=plan.fractions, seed=seed)
        percent = "/".join(f"{100 * part:g}" for part in plan.fractions)
        notes.append(f"splits drawn by {_drawn_by(records)}, {percent}, seed {seed}")
    elif found == {"train", "test"}:
        share = plan.val_share_of_train
        training = table[split == "train"]
        drawn = assign_splits(training, names, fractions=(1 - share, share, 0.0), seed=seed)
        split = drawn.reindex(table.index).fillna(split)
        whom = _drawn_by(records)
        notes.append(f"val drawn by {whom}, {100 * share:g} % of the makers' training patients, seed {seed}")
    return replace(records, table=table.assign(split=split), notes=(*records.notes, *notes))


def _drawn_by(records: Records) -> str:
    """Who is divided, in words."""
    if not records.has_unknown_patients:
        return "patient"
    is_alone = records.table["patient_id"] == records.table["sample_id"]
    return "film, patients unknown" if is_alone.all() else "patient, and by film where patients are unknown"


def with_released_code_splits(records: Records, dataset: Dataset[Any]) -> Records:
    """Records split as the authors' released code splits this dataset; the notes say so loudly.

    Raises:
        UsageError: the released code draws no split of its own for this dataset.
    """
    table = records.table.assign(split=dataset.released_code_splits(records))
    num_divided = len(patients_in_two_splits(table))
    note = (
        f"SPLITS OF THE RELEASED CODE, image-level, patients in two splits: {num_divided}; "
        "scores come out too high where a patient is on both sides"
    )
    return replace(records, table=table, notes=(*records.notes, note))


def divided(records: Records, dataset: Dataset[Any], seed: int, policy: SplitPolicy = SplitPolicy.PATIENT) -> Records:
    """Records of a dataset whose every film has a split, and whose notes say how it came by it.

    Raises:
        UsageError: the policy is the released code's, which draws no split of its own for this dataset.
    """
    if policy is SplitPolicy.RELEASED_CODE:
        return with_released_code_splits(records, dataset)
    return with_splits(records, seed, plan_for(records, dataset))
