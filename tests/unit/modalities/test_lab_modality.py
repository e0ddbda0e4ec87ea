from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pacx.core.errors import DataError
from pacx.core.randomness import generator
from pacx.core.vocabulary import LAB_ITEM_IDS, NUM_LABS
from pacx.modalities.labs import LabTable, PercentileScaler, check_observed_polarity, embed_labs, read_wide_csv
from pacx.models.labs_dae import LabsDenoisingAutoencoder


def raw_labs(num_patients: int = 40) -> np.ndarray:
    random = generator(0, "labs")
    values = random.normal(10, 2, (num_patients, NUM_LABS)).round(1)
    values[random.random(values.shape) < 0.3] = np.nan
    return values


def test_percentiles_equal_the_counting_definition() -> None:
    values = raw_labs()
    percentiles, observed = PercentileScaler().fit(values).transform(values)
    for row in range(0, 40, 7):
        for column in range(NUM_LABS):
            value = values[row, column]
            if np.isnan(value):
                assert (percentiles[row, column], observed[row, column]) == (0, 0)
            else:
                known = [v for v in values[:, column] if not np.isnan(v)]
                assert percentiles[row, column] == pytest.approx(sum(v <= value for v in known) / len(known))
                assert observed[row, column] == 1


def test_edges_ties_and_tests_nobody_had() -> None:
    train = np.full((4, NUM_LABS), np.nan)
    train[:, 0] = [1, 2, 2, 3]
    new = np.full((5, NUM_LABS), np.nan)
    new[:, 0] = [0.5, 1, 2, 3, 9]
    new[:, 1] = 7.0
    percentiles, observed = PercentileScaler().fit(train).transform(new)
    np.testing.assert_allclose(percentiles[:, 0], [0, 0.25, 0.75, 1, 1])
    assert not observed[:, 1].any(), "no training patient had this test, so its percentile means nothing"
    assert not percentiles[:, 1].any()


def test_the_scaler_survives_the_disk(tmp_path: Path) -> None:
    values = raw_labs()
    scaler = PercentileScaler().fit(values)
    scaler.save(tmp_path / "scaler.json")
    loaded = PercentileScaler.load(tmp_path / "scaler.json")
    np.testing.assert_array_equal(loaded.transform(values)[0], scaler.transform(values)[0])
    (tmp_path / "other.json").write_text('{"1": [2.0]}')
    with pytest.raises(DataError, match="other tests"):
        PercentileScaler.load(tmp_path / "other.json")
    with pytest.raises(DataError, match="never fitted"):
        PercentileScaler().transform(values)


def test_an_inverted_mask_is_caught() -> None:
    percentiles, observed = PercentileScaler().fit(raw_labs()).transform(raw_labs())
    imputed = np.where(observed == 1, percentiles, 0.51)
    check_observed_polarity(imputed, observed.astype(np.int64))
    with pytest.raises(DataError, match="inverted"):
        check_observed_polarity(imputed, 1 - observed.astype(np.int64))
    with pytest.raises(DataError, match="other than 0 and 1"):
        check_observed_polarity(imputed, observed * 2)


def test_columns_are_found_by_item_id_in_any_order(tmp_path: Path) -> None:
    values = raw_labs(5)
    table = pd.DataFrame(values, columns=[str(item) for item in LAB_ITEM_IDS])
    table.insert(7, "sample_id", [f"00{i}" for i in range(5)])
    table[table.columns[::-1]].to_csv(tmp_path / "labs.csv", index=False)
    read = read_wide_csv(tmp_path / "labs.csv")
    assert read.sample_ids == ("000", "001", "002", "003", "004")
    np.testing.assert_array_equal(read.values, values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop(columns="50912"), "lacks the columns"),
        (lambda table: table.assign(**{"50912": "high"}), "not a number"),
        (lambda table: table.assign(sample_id="same"), "twice"),
        (lambda table: table.assign(**dict.fromkeys(map(str, LAB_ITEM_IDS), np.nan)), "no lab value at all"),
        (lambda table: table.assign(**{"50912": np.inf}), "infinite"),
    ],
)
def test_bad_tables_are_one_sentence(change, message: str, tmp_path: Path) -> None:
    table = pd.DataFrame(raw_labs(3), columns=[str(item) for item in LAB_ITEM_IDS]).assign(sample_id=list("abc"))
    change(table).to_csv(tmp_path / "labs.csv", index=False)
    with pytest.raises(DataError, match=message):
        read_wide_csv(tmp_path / "labs.csv")
    with pytest.raises(DataError, match="cannot be read"):
        read_wide_csv(tmp_path / "none.csv")


def test_embeddings_ignore_what_stands_where_a_test_is_missing() -> None:
    percentiles, observed = PercentileScaler().fit(raw_labs()).transform(raw_labs())
    model = LabsDenoisingAutoencoder(seed=1).eval()
    ids = [str(i) for i in range(40)]
    clean = embed_labs(model, ids, percentiles, observed)
    imputed = np.where(observed == 1, percentiles, 0.5).astype(np.float32)
    np.testing.assert_array_equal(embed_labs(model, ids, imputed, observed).embeddings, clean.embeddings)
    released = embed_labs(model, ids, imputed, observed, released_code=True)
    assert np.abs(released.embeddings - clean.embeddings).max() > 0.01
    assert released.fingerprint != clean.fingerprint


def test_a_table_of_the_wrong_width_is_refused() -> None:
    with pytest.raises(DataError, match="expected"):
        LabTable(sample_ids=("a",), values=np.zeros((1, 3)))
