"""Symile-MIMIC's files: which rows are samples, the mask's polarity, ids from the file beside."""

import numpy as np
import pytest

from pacx.core.errors import DataError
from pacx.modalities.labs import read_labs
from pacx.modalities.panel.reading import TableReading


@pytest.fixture
def split(tmp_path):
    """Four admissions, each with two wrong candidates behind them; missing values imputed with column means."""
    rng = np.random.default_rng(0)
    observed = (rng.random((12, 50)) < 0.7).astype(np.int64)
    values = np.where(observed == 1, rng.random((12, 50)), rng.uniform(0.5, 0.52, 50)).astype(np.float32)
    np.save(tmp_path / "labs_percentiles_test.npy", values)
    np.save(tmp_path / "labs_missingness_test.npy", observed)
    np.save(tmp_path / "hadm_id_test.npy", np.array([20, 21, 22, 23, 21, 22, 20, 23, 20, 21, 22, 20]))
    np.save(tmp_path / "label_test.npy", np.array([1] * 4 + [0] * 8))
    return tmp_path


def test_only_rows_that_are_samples_are_read(split):
    labs = read_labs(split / "labs_percentiles_test.npy", TableReading())
    assert labs.sample_ids == ("20", "21", "22", "23")
    assert np.array_equal(labs.percentiles, np.load(split / "labs_percentiles_test.npy")[:4])
    assert labs.observed.dtype == np.float32
    (split / "label_test.npy").unlink()
    with pytest.raises(DataError, match=r"more than once \(20, 21, 22, 23\)"):
        read_labs(split / "labs_percentiles_test.npy", TableReading())


def test_the_files_name_is_wrong_and_its_content_right(split):
    """``missingness`` holds 1 where measured; an array that holds what its name says is refused."""
    observed = np.load(split / "labs_missingness_test.npy")
    np.save(split / "labs_missingness_test.npy", 1 - observed)
    with pytest.raises(DataError, match="mask is inverted"):
        read_labs(split / "labs_percentiles_test.npy", TableReading())


def test_what_does_not_fit_is_refused(split):
    (split / "labs_percentiles_test.npy").rename(split / "labs.npy")
    with pytest.raises(DataError, match="not named labs_percentiles_<split>"):
        read_labs(split / "labs.npy", TableReading())
    (split / "labs.npy").rename(split / "labs_percentiles_test.npy")
    np.save(split / "labs_missingness_test.npy", np.ones((12, 49)))
    with pytest.raises(DataError, match=r"its mask \(12, 49\)"):
        read_labs(split / "labs_percentiles_test.npy", TableReading())
    (split / "hadm_id_test.npy").unlink()
    with pytest.raises(DataError, match=r"hadm_id_test\.npy is not a readable"):
        read_labs(split / "labs_percentiles_test.npy", TableReading())
