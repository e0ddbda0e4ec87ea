"""Subgroups: the groups a table has, AUROC within each, the worst by name, and what is too small to be scored."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from pacx.core.randomness import sample_keys
from pacx.evaluation.comparison import Comparison
from pacx.evaluation.probes.classification import ClassificationData
from pacx.evaluation.probes.linear_heads import ProbeConfig
from pacx.evaluation.probes.linear_probe import linear_probe
from pacx.evaluation.results import read_rows, write_rows
from pacx.evaluation.statistics.bootstrap import RowMaker, patient_bootstrap
from pacx.evaluation.statistics.subgroups import WORST, WORST_GAP, groupings, subgroup_rows

NUM = 600
MAKER = RowMaker(protocol="linear-probe", dataset="d", seed=0, provenance="here")


def scored(num_rare=0):
    """Scores that know less about women; label "rare" has ``num_rare`` positives among men."""
    random = np.random.default_rng(0)
    is_woman = np.arange(NUM) % 2 == 0
    labels = np.stack([np.arange(NUM) % 3 == 0, np.arange(NUM) % 5 == 0], axis=1).astype(np.float32)
    if num_rare:
        labels[~is_woman, 1] = np.arange(NUM // 2) < num_rare
    noise = np.where(is_woman, 2.5, 0.8)[:, None] * random.normal(size=(NUM, 2))
    everything = np.arange(NUM)
    data = ClassificationData(
        dataset="d",
        label_names=("often", "rare"),
        labels=labels,
        patient_ids=np.array([f"p{i // 4}-{i % 2}" for i in range(NUM)], object),
        keys=sample_keys([str(i) for i in range(NUM)]),
        training=everything,
        validation=everything,
        test=everything,
    )
    table = pd.DataFrame({"sex": np.where(is_woman, "F", "M"), "age": np.arange(NUM) % 100, "view": "PA"})
    return data, table, (labels + noise)[None]


def rows_of(data, table, scores, **more):
    draws = patient_bootstrap(data.patient_ids[data.test], num_draws=100, seed=0)
    return subgroup_rows(data, groupings(table), scores, draws, baseline=None, maker=MAKER, **more)


def find(rows, **fields):
    found = [row for row in rows if all(getattr(row, name) == value for name, value in fields.items())]
    assert len(found) == 1
    return found[0]


def test_groups_are_those_of_the_table():
    table = pd.DataFrame(
        {
            "sex": ["F", "M", "", None, "F", "M"],
            "age": [0, 17, 18, 79.5, 80, np.nan],
            "view": ["PA"] * 6,
            "site": ["b", "a", "a", "", "b", "b"],
        }
    )
    found = {grouping.attribute: grouping for grouping in groupings(table)}
    assert set(found) == {"sex", "age", "site"}  # a single view divides nothing
    assert found["sex"].groups == ("F", "M")
    np.testing.assert_array_equal(found["sex"].member, [0, 1, -1, -1, 0, 1])
    assert found["age"].groups == ("under 18", "18 to 39", "60 to 79", "80 and over")
    np.testing.assert_array_equal(found["age"].member, [0, 0, 1, 2, 3, -1])
    np.testing.assert_array_equal(found["site"].member, [1, 0, 0, -1, 1, 1])
    assert groupings(table[["view"]]) == ()


def test_every_group_is_scored_on_its_own_films_and_the_worst_is_named():
    data, table, scores = scored()
    rows = rows_of(data, table, {"mae": scores})
    assert {row.protocol for row in rows} == {"subgroups"}
    expected = {}
    for sex in "FM":
        films = (table["sex"] == sex).to_numpy()
        for k, label in enumerate(data.label_names):
            row = find(rows, subgroup=f"sex: {sex}", label=label, metric="auroc")
            expected[sex, label] = roc_auc_score(data.labels[films, k], scores[0, films, k])
            assert row.value == pytest.approx(expected[sex, label], abs=1e-9)
            assert row.ci_low < row.value < row.ci_high
            assert row.n == 300
    worst = next(row for row in rows if row.metric == WORST and row.subgroup.startswith("sex"))
    assert worst.subgroup == "sex: F"
    assert worst.value == pytest.approx((expected["F", "often"] + expected["F", "rare"]) / 2)
    assert "lowest of 2 groups" in worst.provenance
    gap = find(rows, metric=WORST_GAP, subgroup="sex: F")
    overall = roc_auc_score(data.labels, scores[0])
    assert gap.value == pytest.approx(overall - worst.value)
    assert gap.ci_low > 0


def test_what_is_too_small_is_named_and_not_scored():
    data, table, scores = scored(num_rare=9)
    rows = rows_of(data, table, {"mae": scores})
    row = find(rows, subgroup="sex: M", label="rare", metric="auroc")
    assert np.isnan(row.value)
    assert "9 positives and 291 negatives, 10 of each are needed" in row.provenance
    for sex in "FM":  # the two are compared on what both can score
        macro = find(rows, subgroup=f"sex: {sex}", label="macro", metric="auroc")
        assert macro.value == find(rows, subgroup=f"sex: {sex}", label="often", metric="auroc").value
        assert "macro over the 1 labels" in macro.provenance
        assert "without rare" in macro.provenance
    gap = next(row for row in rows if row.metric == WORST_GAP and row.subgroup.startswith("sex"))
    worst = next(row for row in rows if row.metric == WORST and row.subgroup == gap.subgroup)
    assert gap.value == pytest.approx(roc_auc_score(data.labels[:, 0], scores[0, :, 0]) - worst.value)
    few = table.assign(sex=np.where(np.arange(NUM) < 20, "F", "M"))
    rows = rows_of(data, few, {"mae": scores})
    macro = find(rows, subgroup="sex: F", label="macro", metric="auroc")
    assert np.isnan(macro.value)
    assert "not scored" in macro.provenance
    assert not [row for row in rows if row.metric == WORST and row.subgroup.startswith("sex")]


def test_rows_come_with_the_probe_and_survive_the_file(tmp_path):
    data, table, scores = scored()
    features = {"mae": scores[0].astype(np.float32), "pacx": (scores[0] + data.labels).astype(np.float32)}
    config = ProbeConfig(epochs=2, num_seeds=2, learning_rates=(0.1,))
    comparison = Comparison(dataset=data.dataset, baseline="mae", provenance="here", num_draws=50)
    rows = linear_probe(data, features, comparison, config=config, grouped=groupings(table))
    write_rows(tmp_path / "results.json", rows)
    again = read_rows(tmp_path / "results.json")
    assert [row.subgroup for row in again] == [row.subgroup for row in rows]
    probe = [row for row in rows if row.protocol == "linear-probe"]
    assert {row.subgroup for row in probe} == {""}
    plain = linear_probe(data, features, comparison, config=config)
    assert [replace(row, value=0, ci_low=0, ci_high=0) for row in probe] == [
        replace(row, value=0, ci_low=0, ci_high=0) for row in plain
    ]
    difference = find(rows, name="pacx - mae", subgroup="sex: F", label="macro")
    parts = [find(rows, name=name, subgroup="sex: F", label="macro", metric="auroc").value for name in ("pacx", "mae")]
    assert difference.metric == "auroc_difference"
    assert difference.value == pytest.approx(parts[0] - parts[1])
