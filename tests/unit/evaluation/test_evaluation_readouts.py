"""Read-outs: the conformal radius by its definition, coverage on a known distribution, abstention, another hospital."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pacx.core.errors import DataError, UsageError
from pacx.core.preprocessing import Preprocessing
from pacx.data.packs.pack import Pack
from pacx.data.packs.packing import pack_records
from pacx.data.records import Records
from pacx.evaluation.comparison import Comparison
from pacx.evaluation.probes.readouts import (
    COVERAGE,
    EVERYTHING,
    R2,
    WIDTH,
    MeasuredValues,
    ReadoutConfig,
    conformal_radius,
    fit_readouts,
    read_measured_values,
    readout_rows,
)
from pacx.evaluation.statistics.bootstrap import RowMaker

CONFIG = ReadoutConfig()
MAKER = RowMaker(protocol="readout", dataset="made up", seed=0, provenance="")


@pytest.mark.parametrize("num_residuals", [5, 9, 10, 19, 99, 100])
@pytest.mark.parametrize("level", [0.5, 0.9])
def test_radius_is_the_kth_smallest_residual(num_residuals: int, level: float) -> None:
    residuals = np.random.default_rng(num_residuals).normal(size=num_residuals)
    k = math.ceil((num_residuals + 1) * level)
    expected = sorted(abs(residuals))[k - 1] if k <= num_residuals else math.inf
    assert conformal_radius(np.append(residuals, np.nan), level) == expected


def test_radius_covers_the_next_patient_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    hits = [abs(row[-1]) <= conformal_radius(row[:-1], 0.9) for row in random.standard_cauchy((4000, 30))]
    # with n = 29 the exact probability is ceil(27.0) / 30
    assert np.mean(hits) == pytest.approx(27 / 30, abs=0.02)


def made_up(num_films: int, seed: int, shift: float = 0.0) -> tuple[np.ndarray, MeasuredValues]:
    """Skewed values: one the embedding knows, one it knows nothing of, one hardly ever measured."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(num_films, 6)).astype(np.float32)
    known = np.exp(features[:, 0] + 0.3 * random.normal(size=num_films) + shift)
    unknown = np.exp(random.normal(size=num_films))
    rare = np.where(np.arange(num_films) < 5, 1.0, np.nan)
    known[random.random(num_films) < 0.3] = np.nan
    patients = np.array([f"p{seed}-{film // 2}" for film in range(num_films)], object)
    return features, MeasuredValues(("known", "unknown", "rare"), np.stack([known, unknown, rare], 1), patients)


TRAINING, CALIBRATION, TEST = np.arange(600), np.arange(600, 1400), np.arange(1400, 3000)


@pytest.fixture(scope="module")
def rows() -> dict[tuple[str, str, str], float]:
    features, measured = made_up(3000, seed=1)
    blind = np.random.default_rng(9).normal(size=features.shape).astype(np.float32)
    every = {"sees": features, "blind": blind}
    fitted = {
        name: fit_readouts(array, measured, training=TRAINING, calibration=CALIBRATION, config=CONFIG)
        for name, array in every.items()
    }
    made = readout_rows(
        fitted, every, measured, TEST, Comparison(dataset=MAKER.dataset, baseline="blind", num_draws=200), config=CONFIG
    )
    return {(row.name, row.label, row.metric): row for row in made}


def test_intervals_cover_as_they_promise_whatever_the_encoder_is_worth(rows) -> None:
    for encoder in ("sees", "blind"):
        for label in ("known", "unknown", EVERYTHING):
            row = rows[encoder, label, COVERAGE]
            assert row.value == pytest.approx(0.9, abs=0.04)
            assert row.ci_low <= row.value <= row.ci_high


def test_what_the_film_knows_shows_in_the_width_and_the_rest_abstains(rows) -> None:
    assert rows["sees", "known", WIDTH].value < 0.5
    assert rows["sees", "known", R2].value > 0.8
    assert rows["sees", "unknown", R2].value < 0.1
    assert "abstains" not in rows["sees", "known", WIDTH].provenance
    assert "abstains" in rows["sees", "unknown", WIDTH].provenance
    assert "1 of 2 read-outs abstain" in rows["sees", EVERYTHING, WIDTH].provenance
    assert "2 of 2 read-outs abstain" in rows["blind", EVERYTHING, WIDTH].provenance
    assert rows["sees - blind", "known", f"{WIDTH}_difference"].value < -0.4
    assert not any(label == "rare" for _, label, _ in rows), "nobody can be read from five patients"


def test_one_film_per_patient_is_judged(rows) -> None:
    assert rows["sees", "unknown", COVERAGE].n == len(TEST) // 2
    assert rows["sees", "known", COVERAGE].n < len(TEST) // 2


def test_the_promise_breaks_elsewhere_and_that_shows() -> None:
    features, measured = made_up(1400, seed=1)
    fitted = {"sees": fit_readouts(features, measured, training=TRAINING, calibration=CALIBRATION, config=CONFIG)}
    elsewhere, theirs = made_up(800, seed=2, shift=1.0)
    (row,) = (
        row
        for row in readout_rows(
            fitted,
            {"sees": elsewhere},
            theirs,
            np.arange(800),
            Comparison(dataset=MAKER.dataset, num_draws=50),
            config=CONFIG,
        )
        if (row.label, row.metric) == ("known", COVERAGE)
    )
    assert row.ci_high < 0.5


def test_interval_is_in_the_values_own_unit_and_open_beyond_what_was_seen() -> None:
    features, measured = made_up(1400, seed=1)
    fitted = fit_readouts(features, measured, training=TRAINING, calibration=CALIBRATION, config=CONFIG)
    low, value, high = fitted["known"].head.predict(np.zeros((1, 6), np.float32))[0]
    assert low < value < high
    assert value == pytest.approx(1.0, abs=0.2)  # exp(0)
    extreme = np.zeros((1, 6), np.float32)
    extreme[0, 0] = 9
    assert fitted["known"].head.predict(extreme)[0, 2] == np.inf


def test_what_cannot_be_fitted_is_refused() -> None:
    features, measured = made_up(100, seed=1)
    with pytest.raises(DataError, match="both training and calibration"):
        fit_readouts(features, measured, training=np.arange(51), calibration=np.arange(51, 100), config=CONFIG)
    with pytest.raises(DataError, match="no quantity was measured"):
        fit_readouts(features, measured, training=np.arange(10), calibration=np.arange(10, 100), config=CONFIG)
    with pytest.raises(DataError, match="one row per film"):
        MeasuredValues(("a",), measured.values, measured.patient_ids)
    with pytest.raises(UsageError, match="level"):
        ReadoutConfig(level=1.0)


@pytest.fixture
def films(tmp_path: Path) -> Pack:
    for number, name in enumerate("ab"):
        Image.fromarray(np.arange(number, number + 256, dtype=np.uint16).astype(np.uint8).reshape(16, 16)).save(
            tmp_path / f"{name}.png"
        )
    told = {"sample_id": ["1", "Köln"], "image_path": ["a.png", "b.png"], "patient_id": list("pq")}
    records = Records(pd.DataFrame(told | dict.fromkeys(("study_id", "view", "split"), "")), (), (), tmp_path)
    return pack_records(records, tmp_path / "pack", preprocessing=Preprocessing(image_size_px=16))


@pytest.mark.parametrize("cell", ["inf", "-Infinity", "1e400", "INF", "-inf", "haemolysed"])
def test_what_is_no_number_in_a_table_of_values_is_said(films: Pack, tmp_path: Path, cell: str) -> None:
    (tmp_path / "values.csv").write_text(f"sample_id,sodium,potassium\n1,140,4\nKöln,{cell},\n")
    with pytest.raises(DataError, match=r"column sodium of .* holds something other than numbers"):
        read_measured_values(tmp_path / "values.csv", films)
    (tmp_path / "values.csv").write_text("sample_id,sodium,potassium\n1,140,4\nKöln,,\n")
    read = read_measured_values(tmp_path / "values.csv", films)
    np.testing.assert_array_equal(read.values, [[140, 4], [np.nan, np.nan]])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
@pytest.mark.parametrize(
    "text",
    [
        "sample_id,Natrium,EF\nKöln,138.5,NA\n1.0,140,<55.5\nother,1,2\n",
        "SampleID;patient_id;Natrium;EF;\r\nKöln;77;138,5;;\r\n1;78;140;55,5*;\r\n;;;;\r\n",
        "sep=;\nNatrium;study_id;EF;sample\n138,5;9;.;Köln\n140;9;55,5;1\n",
        '"sample_id"\t"Natrium"\t"EF"\n"1"\t"Köln"\t138.5\tNA\n"2"\t"1"\t140\t55.5\n',
    ],
)
def test_values_are_read_as_laboratory_tables_are(films: Pack, tmp_path: Path, text: str, encoding: str) -> None:
    (tmp_path / "values.csv").write_bytes(text.encode(encoding))
    read = read_measured_values(tmp_path / "values.csv", films)
    assert read.names == ("Natrium", "EF")
    np.testing.assert_array_equal(read.values, [[140, 55.5], [138.5, np.nan]])
    assert any("Windows-1252" in note for note in read.notes) == (encoding == "cp1252")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sample_id,a\n1,2\n1,3\n", "names each film once"),
        ("sample_id,a\n1,2\n1.0,3\n", "names each film once"),
        ("sample_id,a\n1,2\n,3\n", "names each film once"),
        ("name,a\n1,2\n", "needs a column sample_id"),
        ("sample_id,a\n2.00E+07,2\n", "rounded numbers"),
        ("sample_id,a\n001,2\n", "1 ids would meet if leading zeros are dropped"),
        ("sample_id,a\n1,4,2\n", "has 3 fields in line 2, expected 2"),
    ],
)
def test_values_of_nobody_are_refused(films: Pack, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "values.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_measured_values(tmp_path / "values.csv", films)
    with pytest.raises(UsageError, match="is not there"):
        read_measured_values(tmp_path / "none.csv", films)
