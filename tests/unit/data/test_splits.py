"""Splits keep patients whole, labels in proportion, and do not care about the order of rows."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from pacx.core.errors import DataError, UsageError
from pacx.core.randomness import sample_keys
from pacx.data.splits import assign_splits, image_level_splits, low_data_subset


def cohort(num_patients: int, prevalence: tuple[float, ...], *, seed: int = 0, most_films: int = 1) -> pd.DataFrame:
    """Patients with one or more films, each with its own independent labels."""
    rng = np.random.default_rng(seed)
    patients = np.repeat(np.arange(num_patients), rng.integers(1, most_films + 1, num_patients))
    table = pd.DataFrame({"patient_id": [f"p{patient}" for patient in patients]})
    table["sample_id"] = [f"s{row}" for row in range(len(table))]
    for index, share in enumerate(prevalence):
        table[f"l{index}"] = (rng.random(len(table)) < share).astype(float)
    return table


def names(table: pd.DataFrame) -> list[str]:
    return [name for name in table.columns if name.startswith("l")]


cohorts = st.builds(
    cohort,
    st.integers(3, 60),
    st.lists(st.floats(0, 1), max_size=4).map(tuple),
    seed=st.integers(0, 1000),
    most_films=st.integers(1, 4),
)


@settings(max_examples=60)
@given(cohorts, st.integers(0, 100))
def test_patients_stay_whole_and_every_split_has_some(table: pd.DataFrame, seed: int) -> None:
    splits = assign_splits(table, names(table), seed=seed)
    assert set(splits) == {"train", "val", "test"}
    assert (splits.groupby(table["patient_id"]).nunique() == 1).all()
    assert splits.index.equals(table.index)


@settings(max_examples=30)
@given(cohorts, st.integers(0, 100))
def test_the_order_of_rows_does_not_matter(table: pd.DataFrame, seed: int) -> None:
    shuffled = table.sample(frac=1, random_state=1)
    splits = assign_splits(table, names(table), seed=seed)
    assert assign_splits(shuffled, names(table), seed=seed).sort_index().equals(splits)
    chosen = subset(table, 0.3, seed)
    again = pd.Series(subset(shuffled, 0.3, seed), index=shuffled.index).sort_index()
    assert np.array_equal(again, chosen)


def test_labels_are_in_proportion_down_to_rare_ones() -> None:
    table = cohort(2000, (0.5, 0.1, 0.01))
    splits = assign_splits(table, names(table), seed=3)
    for name in names(table):
        positives = table[name].sum()
        for split, share in [("train", 0.7), ("val", 0.1), ("test", 0.2)]:
            assert abs(table.loc[splits == split, name].sum() - share * positives) <= 1.5, (name, split)
    assert splits.value_counts().to_dict() == {"train": 1400, "test": 400, "val": 200}


def test_unknown_labels_are_no_negatives() -> None:
    table = cohort(600, (0.5,))
    table.loc[table.index >= 60, "l0"] = np.nan
    known = table["l0"].notna()
    splits = assign_splits(table, ["l0"], seed=0)
    assert abs((splits[known] == "val").sum() - 6) <= 1


def test_the_seed_decides_and_is_all_that_decides() -> None:
    table = cohort(100, (0.3,))
    first = assign_splits(table, ["l0"], seed=1)
    assert assign_splits(table, ["l0"], seed=1).equals(first)
    assert not assign_splits(table, ["l0"], seed=2).equals(first)
    assert not assign_splits(table.assign(patient_id="q" + table["patient_id"]), ["l0"], seed=1).equals(first)


def test_a_share_of_nothing_stays_empty() -> None:
    splits = assign_splits(cohort(50, (0.3,)), ["l0"], fractions=(0.8, 0.0, 0.2), seed=0)
    assert set(splits) == {"train", "test"}
    assert (splits == "train").sum() == 40


def test_impossible_splits_are_refused() -> None:
    with pytest.raises(DataError, match="2 patients cannot be divided into 3 splits"):
        assign_splits(cohort(2, ()), [], seed=0)
    with pytest.raises(UsageError, match="add up to 1"):
        assign_splits(cohort(9, ()), [], fractions=(0.7, 0.2, 0.2), seed=0)


def subset(table: pd.DataFrame, fraction: float, seed: int) -> np.ndarray:
    labels = table[names(table)].to_numpy(float)
    keys = sample_keys(table["sample_id"].tolist())
    return low_data_subset(labels, table["patient_id"].to_numpy(object), keys, fraction=fraction, seed=seed)


@settings(max_examples=60)
@given(cohorts, st.integers(0, 100))
def test_subsets_are_nested_whole_and_keep_every_label(table: pd.DataFrame, seed: int) -> None:
    previous = np.zeros(len(table), bool)
    for fraction in (0.01, 0.1, 0.5, 1.0):
        chosen = subset(table, fraction, seed)
        assert not (previous & ~chosen).any()
        assert (pd.Series(chosen).groupby(table["patient_id"]).nunique() == 1).all()
        assert chosen.sum() >= fraction * len(table)
        for name in names(table):
            assert table.loc[chosen, name].any() == table[name].any()
        previous = chosen
    assert previous.all()


def test_the_subset_is_as_large_as_asked_and_in_proportion() -> None:
    table = cohort(3000, (0.5, 0.1, 0.02))
    for fraction in (0.01, 0.1):
        chosen = subset(table, fraction, 0)
        assert chosen.sum() == round(fraction * 3000)
    assert abs(table.loc[chosen, "l2"].sum() - 0.1 * table["l2"].sum()) <= 2
    assert abs(table.loc[chosen, "l1"].sum() - 0.1 * table["l1"].sum()) <= 3
    assert not np.array_equal(chosen, subset(table, 0.1, 1))


def test_one_percent_of_few_films_still_has_every_label() -> None:
    table = cohort(40, ()).assign(l0=0.0, l1=0.0, l2=1.0)
    table.loc[17, "l0"] = 1
    table.loc[30, "l1"] = 1
    chosen = subset(table, 0.01, 0)
    assert chosen[[17, 30]].all()
    assert chosen.sum() == 2


def test_a_fraction_is_a_share() -> None:
    for fraction in (0, 1.1):
        with pytest.raises(UsageError, match="expected a share"):
            subset(cohort(9, (0.5,)), fraction, 0)


def sizes(split: pd.Series) -> dict[str, int]:
    return split.value_counts().to_dict()


def test_image_level_splits_have_the_sizes_of_the_released_code() -> None:
    nih = pd.Series(["train"] * 86_524 + ["test"] * 25_596)
    assert sizes(image_level_splits(nih, val_share=0.15)) == {"train": 73_545, "val": 12_979, "test": 25_596}
    tb = pd.Series([""] * 662)
    strata = pd.Series([0] * 326 + [1] * 336)
    split = image_level_splits(tb, test_share=0.2, val_share=0.15, strata=strata)
    assert sizes(split) == {"train": 449, "val": 80, "test": 133}
    assert abs(strata[split == "val"].sum() - 336 * 80 / 662) <= 1
    chexchonet = image_level_splits(pd.Series([""] * 71_589), test_share=0.2, val_share=0.1)
    assert sizes(chexchonet) == {"train": 51_543, "val": 5_728, "test": 14_318}


def test_image_level_splits_are_the_plain_draw_of_scikit_learn() -> None:
    official = pd.Series(["test", "train", "train", "val", "train", "train"], index=list("abcdef"))
    split = image_level_splits(official, val_share=0.4)
    _, drawn = train_test_split(list("bcdef"), test_size=0.4, random_state=42)
    assert sorted(split.index[split == "val"]) == sorted(drawn)
    assert split["a"] == "test"
    with pytest.raises(DataError, match="cannot be divided by image"):
        image_level_splits(pd.Series([""]), val_share=0.5)
