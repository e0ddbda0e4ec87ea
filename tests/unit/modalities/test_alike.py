"""Groups of patients alike, partners within them, and severity from laboratory values."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacx.modalities.alike import ALONE, alike_groups, partners
from pacx.modalities.panel.panels import PanelPercentiles, PanelTable
from pacx.modalities.panel.severity import severity_of
from pacx.models.panel.config import LAB_PANEL


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 120), st.integers(1, 3))
def test_every_partner_is_another_patient_of_the_same_group_and_each_is_given_once(
    seed: int, num_films: int, films_of_a_patient: int
) -> None:
    rng = np.random.default_rng(seed)
    patients = rng.integers(0, max(1, num_films // films_of_a_patient), num_films).astype(str)
    sex = rng.choice(["F", "M"], num_films)
    age = np.where(rng.random(num_films) < 0.1, np.nan, rng.integers(20, 90, num_films).astype(float))
    groups = alike_groups(sex.tolist(), {"age": age}, patients.tolist(), size=4)
    partner = partners(groups, patients.tolist(), seed=seed)
    alone = groups == ALONE
    assert sorted(partner) == list(range(num_films))
    assert np.array_equal(partner[alone], np.flatnonzero(alone))
    assert (groups[partner] == groups).all()
    assert (patients[partner] != patients)[~alone].all()
    assert (sex[partner] == sex).all()
    assert np.array_equal(np.isnan(age[partner]), np.isnan(age))


def test_partners_are_near_in_every_number() -> None:
    """Of 4,000 films, each group of eight to fifteen: the mean distance is a small part of strangers'."""
    rng = np.random.default_rng(0)
    numbers = {"age": rng.uniform(20, 90, 4000), "severity": rng.random(4000)}
    patients = [f"p{row}" for row in range(4000)]
    groups = alike_groups([""] * 4000, numbers, patients, size=8)
    partner = partners(groups, patients, seed=0)
    assert set(np.bincount(groups)) <= set(range(8, 16))
    for values in numbers.values():
        strangers = np.abs(values - rng.permutation(values)).mean()
        assert np.abs(values - values[partner]).mean() < 0.1 * strangers


def test_nobody_alike_is_said_and_not_paired_with_himself() -> None:
    groups = alike_groups(["F", "M", "M", "M"], {}, ["a", "b", "b", "b"], size=8)
    assert (groups == ALONE).all()
    assert np.array_equal(partners(groups, ["a", "b", "b", "b"], seed=0), np.arange(4))


def test_severity_is_the_mean_distance_from_the_median() -> None:
    values = np.full((5, len(LAB_PANEL)), np.nan)
    values[:, 0] = [1.0, 2.0, 3.0, 4.0, 5.0]
    values[0, 1], values[4, 1] = 10.0, 20.0
    found = severity_of(PanelTable(LAB_PANEL, tuple("abcde"), values))
    # from the middle of the first test 1 .5 0 .5 1, of the second 1 and 1
    assert found == pytest.approx([1.0, 0.5, 0.0, 0.5, 1.0])


@pytest.mark.parametrize("seed", range(3))
def test_severity_is_the_same_at_both_ends_and_equal_values_share_a_rank(seed: int) -> None:
    """Against pandas' mean ranks; of values that nearly everybody has, and of tests turned upside down."""
    rng = np.random.default_rng(seed)
    values = np.full((60, len(LAB_PANEL)), np.nan)
    values[:, 0] = rng.normal(size=60)
    values[:, 1] = np.where(rng.random(60) < 0.9, 0.0, 1.0)
    values[:, 2] = np.where(rng.random(60) < 0.3, np.nan, rng.integers(0, 4, 60))
    values[0, 3] = 7.0  # nobody else has it: he is everybody's median
    ids = tuple(f"s{row}" for row in range(60))
    found = severity_of(PanelTable(LAB_PANEL, ids, values))
    ranks = pd.DataFrame(values).rank()
    most = (ranks.count() - 1).clip(lower=1)
    expected = (2 * ranks - ranks.count() - 1).abs().div(most, axis=1).mean(axis=1)
    assert found == pytest.approx(expected.to_numpy())
    assert severity_of(PanelTable(LAB_PANEL, ids, -values)) == pytest.approx(found)
    common = np.full((60, len(LAB_PANEL)), np.nan)
    common[:, 1] = values[:, 1]
    alone = severity_of(PanelTable(LAB_PANEL, ids, common))
    assert alone[values[:, 1] == 0].max() < 0.3 < 0.7 < alone[values[:, 1] == 1].min()


def test_severity_of_percentiles_and_of_nobody() -> None:
    percentiles, observed = np.zeros((2, len(LAB_PANEL)), np.float32), np.zeros((2, len(LAB_PANEL)), np.float32)
    observed[:, :3] = 1
    percentiles[0, :3], percentiles[1, :3] = (0.5, 0.25, 1.0), (0.5, 0.5, 0.5)
    ranked = PanelPercentiles(LAB_PANEL, ("a", "b"), percentiles, observed)
    assert severity_of(ranked) == pytest.approx([0.5, 0.0])
    values = np.full((2, len(LAB_PANEL)), np.nan)
    values[0, 0] = 1.0
    assert np.isnan(severity_of(PanelTable(LAB_PANEL, ("a", "b"), values))).tolist() == [False, True]
