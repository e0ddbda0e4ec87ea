"""Labs: table, percentiles, mask polarity, embeddings; and the real MIMIC-III demo values."""

import csv
import gzip

import numpy as np
import pytest

from pacx.core.errors import DataError
from pacx.core.vocabulary import LAB_ITEM_IDS
from pacx.modalities.labs import (
    LabPercentiles,
    LabTable,
    PercentileScaler,
    check_observed_polarity,
    embed_labs,
    read_wide_csv,
)
from pacx.models.labs_dae import LabsDenoisingAutoencoder


def names(count: int) -> tuple[str, ...]:
    return tuple(f"p{i}" for i in range(count))


@pytest.fixture(scope="module")
def table() -> LabTable:
    rng = np.random.default_rng(0)
    values = rng.lognormal(size=(300, 50))
    values[rng.random((300, 50)) < 0.3] = np.nan
    return LabTable(names(300), values)


@pytest.fixture(scope="module")
def labs(table) -> LabPercentiles:
    return PercentileScaler().fit(table).transform(table)


def one_column(values: list[float]) -> LabTable:
    """A table whose first test has the given values and whose second is always measured, so that no row is empty."""
    full = np.full((len(values), 50), np.nan)
    full[:, 0] = values
    full[:, 1] = 1.0
    return LabTable(names(len(values)), full)


def test_percentiles_at_the_edges():
    scaler = PercentileScaler().fit(one_column([2.0, 4.0, 4.0, 8.0, np.nan]))
    asked = [1.9, 2.0, 3.0, 4.0, 8.0, 99.0, np.nan]
    labs = scaler.transform(one_column(asked))
    assert labs.percentiles[:, 0].tolist() == [0.0, 0.25, 0.25, 0.75, 1.0, 1.0, 0.0]
    assert labs.observed[:, 0].tolist() == [1, 1, 1, 1, 1, 1, 0]


def test_percentiles_equal_counting(table, labs):
    for row, column in [(0, 3), (7, 49), (123, 0), (299, 25)]:
        value = table.values[row, column]
        if np.isnan(value):
            assert (labs.percentiles[row, column], labs.observed[row, column]) == (0, 0)
            continue
        known = [v for v in table.values[:, column] if not np.isnan(v)]
        expected = sum(v <= value for v in known) / len(known)
        assert labs.percentiles[row, column] == pytest.approx(expected)
    assert labs.percentiles.dtype == labs.observed.dtype == np.float32


def test_only_training_patients_decide(table):
    train = PercentileScaler().fit(table.select(np.arange(100)))
    later = train.transform(table.select(np.arange(100, 300)))
    everybody = PercentileScaler().fit(table).transform(table).percentiles[100:]
    assert not np.allclose(later.percentiles, everybody, atol=0.01)


def test_a_test_unknown_in_training_counts_as_missing():
    scaler = PercentileScaler().fit(one_column([np.nan, np.nan]))
    labs = scaler.transform(one_column([5.0, np.nan]))
    assert labs.observed[:, 0].tolist() == [0, 0]
    assert labs.percentiles[:, 0].tolist() == [0, 0]


def test_scaler_round_trip_and_refusals(table, labs, tmp_path):
    path = tmp_path / "scaler.npz"
    PercentileScaler().fit(table).save(path)
    assert np.array_equal(PercentileScaler.load(path).transform(table).percentiles, labs.percentiles)
    with np.load(path) as saved:
        content = dict(saved)
    np.savez(path, **{**content, "item_ids": content["item_ids"][::-1]})
    with pytest.raises(DataError, match="other tests"):
        PercentileScaler.load(path)
    path.write_bytes(b"PK nothing")
    with pytest.raises(DataError, match="not a saved lab scaler"):
        PercentileScaler.load(path)
    with pytest.raises(DataError, match="call fit"):
        PercentileScaler().transform(table)


@pytest.mark.parametrize("imputed", ["zero", "mean"])
def test_inverted_masks_are_found(labs, imputed):
    """Both kinds of placeholder: ours, and Symile's imputed training mean."""
    mean = labs.percentiles.sum(0) / labs.observed.sum(0)
    placeholder = np.zeros(50, np.float32) if imputed == "zero" else mean
    values = np.where(labs.observed == 1, labs.percentiles, placeholder)
    check_observed_polarity(values, labs.observed)
    with pytest.raises(DataError, match="inverted"):
        check_observed_polarity(values, 1 - labs.observed)
    with pytest.raises(DataError, match="does not fit the values"):
        check_observed_polarity(values, labs.observed[::-1])
    with pytest.raises(DataError, match="has values other than 0 and 1"):
        check_observed_polarity(values, 2 * labs.observed)


def test_tables_that_make_no_sense_are_refused(labs):
    with pytest.raises(DataError, match=r"more than once \(a\)"):
        LabTable(("a", "a"), np.ones((2, 50)))
    with pytest.raises(DataError, match=r"shape \(2, 49\)"):
        LabTable(("a", "b"), np.ones((2, 49)))
    infinite = np.ones((2, 50))
    infinite[1, 2] = np.inf
    with pytest.raises(DataError, match="Lactate for sample b is infinite"):
        LabTable(("a", "b"), infinite)
    observed = labs.observed.copy()
    observed[5] = 0
    with pytest.raises(DataError, match=r"without a single lab value \(p5\)"):
        LabPercentiles(labs.sample_ids, labs.percentiles * observed, observed)
    with pytest.raises(DataError, match=r"\[0, 1\]"):
        LabPercentiles(labs.sample_ids, labs.percentiles * 2, labs.observed)


def write_csv(path, header, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def test_wide_csv_in_any_column_order(tmp_path):
    path = tmp_path / "labs.csv"
    items = LAB_ITEM_IDS[::-1]
    write_csv(
        path, ["age", *items, "sample_id"], [[40, *[item / 10 for item in items], "a"], [50, *[""] * 49, " 7", "b"]]
    )
    table = read_wide_csv(path)
    assert table.sample_ids == ("a", "b")
    assert table.values[0].tolist() == [item / 10 for item in LAB_ITEM_IDS]
    assert table.values[1, 0] == 7
    assert np.isnan(table.values[1, 1:]).all()


def test_broken_csv_is_named(tmp_path):
    path = tmp_path / "labs.csv"
    with pytest.raises(DataError, match="is not a file"):
        read_wide_csv(path)
    write_csv(path, ["sample_id", *LAB_ITEM_IDS[1:]], [])
    with pytest.raises(DataError, match="no column 50802"):
        read_wide_csv(path)
    write_csv(path, ["sample_id", *LAB_ITEM_IDS], [["a", *["1"] * 49, "high"]])
    with pytest.raises(DataError, match="item 52172 for sample a is not a number"):
        read_wide_csv(path)


def test_embeddings_come_with_ids_and_a_fingerprint_of_what_made_them(labs):
    model = LabsDenoisingAutoencoder(seed=0)
    targets = embed_labs(model, labs)
    assert targets.embeddings.shape == (300, 256)
    assert targets.modality == "labs"
    assert not model.training
    again = embed_labs(model, labs)
    assert again.fingerprint == targets.fingerprint
    assert np.array_equal(again.embeddings, targets.embeddings)
    released = embed_labs(model, labs, zero_missing=False)
    other = embed_labs(LabsDenoisingAutoencoder(seed=1), labs)
    assert len({targets.fingerprint, released.fingerprint, other.fingerprint}) == 3


def test_real_values_of_the_mimic_demo(shared):
    """First value of each test per admission: 40 of the 50 tests occur, the rest count as missing."""
    column_of = {str(item): column for column, item in enumerate(LAB_ITEM_IDS)}
    rows: dict[str, np.ndarray] = {}
    with gzip.open(shared / "data/labs/mimic3_demo/LABEVENTS.csv.gz", "rt", newline="") as file:
        for event in csv.DictReader(file):
            event = {key.lower(): value for key, value in event.items()}
            if event["itemid"] in column_of and event["valuenum"] and event["hadm_id"]:
                row = rows.setdefault(event["hadm_id"], np.full(50, np.nan))
                column = column_of[event["itemid"]]
                row[column] = float(event["valuenum"]) if np.isnan(row[column]) else row[column]
    table = LabTable(tuple(rows), np.stack(list(rows.values())))
    labs = PercentileScaler().fit(table).transform(table)
    assert len(table.sample_ids) > 100
    assert (labs.observed.sum(0) > 0).sum() >= 35
    seen = labs.percentiles[labs.observed == 1]
    assert 0.5 <= seen.mean() < 0.62, "training ranks lie in [1/n, 1]"
    targets = embed_labs(LabsDenoisingAutoencoder(seed=0), labs)
    assert np.unique(targets.embeddings.round(6), axis=0).shape[0] == len(table.sample_ids)
