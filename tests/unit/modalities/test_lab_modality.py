"""Labs: table, percentiles, mask polarity, embeddings; and the real MIMIC-III demo values."""

import csv
import gzip

import numpy as np
import pytest

from pacx.core.errors import DataError, UsageError
from pacx.core.vocabulary import LAB_ITEM_IDS
from pacx.modalities.labs import read_labs
from pacx.modalities.modality import EmbeddingSettings
from pacx.modalities.panel.encoder import PanelEncoder, PanelJob
from pacx.modalities.panel.panels import (
    Missing,
    PanelPercentiles,
    PanelTable,
    PercentileScaler,
    check_observed_polarity,
)
from pacx.modalities.panel.reading import TableReading
from pacx.modalities.panel.wide_tables import read_wide_csv
from pacx.models.panel.labs import LAB_PANEL, LabsDenoisingAutoencoder


def names(count: int) -> tuple[str, ...]:
    return tuple(f"p{i}" for i in range(count))


@pytest.fixture(scope="module")
def table() -> PanelTable:
    rng = np.random.default_rng(0)
    values = rng.lognormal(size=(300, 50))
    values[rng.random((300, 50)) < 0.3] = np.nan
    return PanelTable(LAB_PANEL, names(300), values)


@pytest.fixture(scope="module")
def labs(table) -> PanelPercentiles:
    return PercentileScaler(table).transform(table)


def one_column(values: list[float]) -> PanelTable:
    """A table whose first test has the given values and whose second is always measured, so that no row is empty."""
    full = np.full((len(values), 50), np.nan)
    full[:, 0] = values
    full[:, 1] = 1.0
    return PanelTable(LAB_PANEL, names(len(values)), full)


def test_percentiles_at_the_edges():
    scaler = PercentileScaler(one_column([2.0, 4.0, 4.0, 8.0, np.nan]))
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
    train = PercentileScaler(table.select(np.arange(100)))
    later = train.transform(table.select(np.arange(100, 300)))
    everybody = PercentileScaler(table).transform(table).percentiles[100:]
    assert not np.allclose(later.percentiles, everybody, atol=0.01)


def test_a_test_unknown_in_training_counts_as_missing():
    scaler = PercentileScaler(one_column([np.nan, np.nan]))
    labs = scaler.transform(one_column([5.0, np.nan]))
    assert labs.observed[:, 0].tolist() == [0, 0]
    assert labs.percentiles[:, 0].tolist() == [0, 0]


def test_encoder_folder_carries_its_percentiles(table, labs, tmp_path):
    out = tmp_path / "labs"
    PanelEncoder(LabsDenoisingAutoencoder(seed=0), PercentileScaler(table)).save(out, provenance={})
    loaded = PanelEncoder.load(out, LAB_PANEL)
    assert np.array_equal(loaded.scaler.transform(table).percentiles, labs.percentiles)
    with np.load(out / "percentiles.npz") as saved:
        content = dict(saved)
    np.savez(out / "percentiles.npz", **{**content, "keys": content["keys"][::-1]})
    with pytest.raises(DataError, match="percentiles of other labs"):
        PanelEncoder.load(out, LAB_PANEL)
    (out / "percentiles.npz").write_bytes(b"PK nothing")
    with pytest.raises(DataError, match="does not hold a panel's training percentiles"):
        PanelEncoder.load(out, LAB_PANEL)
    (out / "percentiles.npz").unlink()
    with pytest.raises(DataError, match="cannot rank raw values"):
        PanelJob(PanelEncoder.load(out, LAB_PANEL), table)


def test_missing_values_become_zero_or_the_training_mean(table, labs):
    """The released code's placeholder: the mean percentile of the training values, a half and a bit."""
    scaler = PercentileScaler(table)
    assert (labs.percentiles[labs.observed == 0] == 0).all()
    imputed = scaler.transform(table, Missing.TRAINING_MEAN)
    by_hand = labs.percentiles.sum(0) / labs.observed.sum(0)
    np.testing.assert_allclose(scaler.mean_percentiles, by_hand, rtol=1e-5)
    rows, columns = np.nonzero(labs.observed == 0)
    assert np.array_equal(imputed.percentiles[rows, columns], scaler.mean_percentiles[columns])
    assert np.array_equal(imputed.percentiles[labs.observed == 1], labs.percentiles[labs.observed == 1])


def test_values_in_another_unit_are_refused(table):
    """Creatinine in micromol where training had milligrams: nearly everything lies above all that was seen."""
    scaler = PercentileScaler(table)
    scaler.require_known_units(table)
    column = LAB_ITEM_IDS.index(50912)
    values = table.values.copy()
    values[:, column] *= 88.42
    with pytest.raises(DataError, match=r"values of Creatinine \(median .* are in another unit"):
        scaler.require_known_units(PanelTable(LAB_PANEL, table.sample_ids, values))
    scaler.require_known_units(PanelTable(LAB_PANEL, table.sample_ids[:15], values[:15]))  # too few to judge


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
        PanelTable(LAB_PANEL, ("a", "a"), np.ones((2, 50)))
    with pytest.raises(DataError, match=r"shape \(2, 49\)"):
        PanelTable(LAB_PANEL, ("a", "b"), np.ones((2, 49)))
    infinite = np.ones((2, 50))
    infinite[1, 2] = np.inf
    with pytest.raises(DataError, match="Lactate of sample b is infinite"):
        PanelTable(LAB_PANEL, ("a", "b"), infinite)
    observed = labs.observed.copy()
    observed[5] = 0
    with pytest.raises(DataError, match=r"without a single one of the labs \(p5\)"):
        PanelPercentiles(LAB_PANEL, labs.sample_ids, labs.percentiles * observed, observed)
    with pytest.raises(DataError, match=r"\[0, 1\]"):
        PanelPercentiles(LAB_PANEL, labs.sample_ids, labs.percentiles * 2, labs.observed)


def write_csv(path, header, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def test_wide_csv_in_any_column_order(tmp_path):
    path = tmp_path / "labs.csv"
    items = LAB_ITEM_IDS[::-1]
    write_csv(
        path, ["age", *items, "sample_id"], [[40, *[item / 10 for item in items], "a"], [50, *[""] * 49, " 7", "b"]]
    )
    table = read_wide_csv(path, LAB_PANEL)
    assert table.sample_ids == ("a", "b")
    assert table.values[0].tolist() == [item / 10 for item in LAB_ITEM_IDS]
    assert table.values[1, 0] == 7
    assert np.isnan(table.values[1, 1:]).all()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
def test_a_wide_table_of_any_spreadsheet_gives_the_same_values(tmp_path, encoding):
    path = tmp_path / "labs.csv"
    header = ";".join(["sample_id", "Gerät", *map(str, LAB_ITEM_IDS), ""])
    rows = [
        ";".join([name, "µ-Lab", *[f"{item / 10}".replace(".", ",") for item in LAB_ITEM_IDS], ""]) for name in "ab"
    ]
    path.write_bytes("\r\n".join(["sep=;", header, *rows, ";" * len(header.split(";"))]).encode(encoding))
    table = read_wide_csv(path, LAB_PANEL)
    assert table.sample_ids == ("a", "b")
    assert table.values.tolist() == [[item / 10 for item in LAB_ITEM_IDS]] * 2
    assert any("separated by semicolons" in note for note in table.notes)
    assert any("Windows-1252" in note for note in table.notes) == (encoding == "cp1252")


def test_broken_csv_is_named(tmp_path):
    path = tmp_path / "labs.csv"
    with pytest.raises(UsageError, match="is not a file"):
        read_wide_csv(path, LAB_PANEL)
    write_csv(path, ["sample_id", *LAB_ITEM_IDS[1:]], [])
    with pytest.raises(DataError, match="no column 50802"):
        read_wide_csv(path, LAB_PANEL)
    write_csv(path, ["sample_id", *LAB_ITEM_IDS], [["a", *["1"] * 49, "high"]])
    with pytest.raises(DataError, match=r"\(the first in column 52172\): 1 of 50 values are no numbers"):
        read_wide_csv(path, LAB_PANEL)


def test_a_wide_table_cut_off_in_its_last_row_is_refused_packed_or_not(tmp_path):
    path = tmp_path / "labs.csv"
    write_csv(path, ["sample_id", *LAB_ITEM_IDS], [[f"s{row}", *range(1, 51)] for row in range(40)])
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.rindex(b"s39") + 9])
    with pytest.raises(DataError, match=r"has 4 fields in line 41, expected 51 as in the header; .* cut off"):
        read_labs(path, TableReading())
    packed = tmp_path / "labs.csv.gz"
    packed.write_bytes(gzip.compress(whole)[:-40])
    with pytest.raises(DataError, match="damaged or cut off"):
        read_labs(packed, TableReading())
    packed.rename(tmp_path / "plain_name.csv").write_bytes(gzip.compress(whole))
    assert len(read_labs(tmp_path / "plain_name.csv", TableReading())) == 40


def test_rows_of_blanks_are_no_rows_and_a_row_without_its_id_is_refused(tmp_path):
    path = tmp_path / "labs.csv"
    rows = [["s1", *range(1, 51)], [""] * 51, ["NA", *range(1, 51)], [" "] * 51]
    write_csv(path, ["sample_id", *LAB_ITEM_IDS], rows)
    path.write_text(path.read_text() + "\n   \n,,\n")
    assert read_labs(path, TableReading()).sample_ids == ("s1", "NA"), "a sample called NA is called NA"
    write_csv(path, ["sample_id", *LAB_ITEM_IDS], [*rows, ["", *range(1, 51)]])
    with pytest.raises(DataError, match="1 rows with values and no sample_id"):
        read_labs(path, TableReading())


def test_bad_cells_of_a_wide_table_are_counted_up_to_the_share_allowed(tmp_path):
    path = tmp_path / "labs.csv"
    values = ["<0.90", "4,2", "NULL", "haemolysed", "-999", *["1"] * 45]
    write_csv(path, ["sample_id", "PatientID", *LAB_ITEM_IDS], [["1.0", "7.0", *values], ["2.0", "NA", *range(1, 51)]])
    with pytest.raises(DataError, match=r"column 50818\): 2 of 100 values are no numbers \(1 stand for none"):
        read_labs(path, TableReading())
    table = read_labs(path, TableReading(max_bad_fraction=0.02))
    assert (table.sample_ids, table.patient_ids) == (("1", "2"), ("7", "2"))
    np.testing.assert_array_equal(table.values[0, :6], [0.9, 4.2, np.nan, np.nan, np.nan, 1])
    assert table.notes[0] == "labs.csv: patient_id is column 'PatientID'"
    assert "1 values are no numbers and count as not measured" in table.notes


def test_embeddings_come_with_ids_and_a_fingerprint_of_what_made_them(table):
    encoder = PanelEncoder(LabsDenoisingAutoencoder(seed=0), PercentileScaler(table))
    targets = PanelJob(encoder, table).run(EmbeddingSettings())
    assert targets.embeddings.shape == (300, 256)
    assert targets.modality == "labs"
    assert not encoder.model.training
    again = PanelJob(encoder, table).run(EmbeddingSettings())
    assert again.fingerprint == targets.fingerprint
    assert np.array_equal(again.embeddings, targets.embeddings)
    imputed = PanelJob(encoder, table, Missing.TRAINING_MEAN).run(EmbeddingSettings())
    assert not np.allclose(imputed.embeddings, targets.embeddings, atol=1e-2)
    other = PanelJob(PanelEncoder(LabsDenoisingAutoencoder(seed=1), encoder.scaler), table)
    assert len({targets.fingerprint, imputed.fingerprint, other.fingerprint}) == 3


def test_samples_nobody_can_rank_are_left_out_by_name(table):
    encoder = PanelEncoder(LabsDenoisingAutoencoder(seed=0), PercentileScaler(table))
    values = table.values.copy()
    values[7] = np.nan
    job = PanelJob(encoder, PanelTable(LAB_PANEL, table.sample_ids, values))
    with pytest.raises(DataError, match=r"1 of 300 samples of labs cannot be used.* p7 has no value"):
        job.run(EmbeddingSettings())
    targets = job.run(EmbeddingSettings(max_bad_fraction=0.01))
    assert [entry.sample_id for entry in targets.quarantined] == ["p7"]
    assert len(targets.sample_ids) == 299
    with pytest.raises(DataError, match="p7, which has no value that can be ranked"):
        targets.for_samples(["p7"])
