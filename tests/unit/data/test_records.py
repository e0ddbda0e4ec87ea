"""A table of records is either right or refused."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pacx.core.errors import DataError
from pacx.data.dataset import Dataset, datasets
from pacx.data.records import Records


def table(**columns: list[object]) -> pd.DataFrame:
    plain = {
        "sample_id": ["a", "b"],
        "image_path": ["a.png", "b.png"],
        "patient_id": ["p", "p"],
        "study_id": ["", ""],
        "view": ["AP", ""],
        "split": ["train", ""],
        "Edema": [1.0, np.nan],
        "mask:lung": ["a_lung.png", ""],
        "age": [61, 62],
    }
    return pd.DataFrame({**plain, **columns})


def records(frame: pd.DataFrame) -> Records:
    return Records(frame, ("Edema",), ("lung",), Path("films"))


def test_a_good_table_passes() -> None:
    assert len(records(table())) == 2


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"sample_id": ["a", "a"]}, "1 sample ids occur more than once: a"),
        ({"sample_id": ["a", ""]}, "sample_id of the records is empty in 1 rows, the first is row 1"),
        ({"patient_id": ["", "p"]}, "patient_id of the records is empty"),
        ({"patient_id": [7, 8]}, "patient_id of the records holds something other than text"),
        ({"view": ["AP", np.nan]}, "view of the records holds something other than text"),
        ({"mask:lung": ["x.png", None]}, "mask:lung of the records holds something other than text"),
        ({"split": ["train", "valid"]}, "split holds valid"),
        ({"Edema": [1.0, -1.0]}, "'Edema' holds something other than 1, 0 and NaN"),
        ({"Edema": [1, 0]}, "'Edema' holds something other than 1, 0 and NaN as floats"),
        ({"image_path": ["/a.png", "b.png"]}, "absolute paths: /a.png"),
    ],
)
def test_a_wrong_value_is_named(columns: dict[str, list[object]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        records(table(**columns))


def test_missing_columns_and_rows_are_named() -> None:
    with pytest.raises(DataError, match=r"lack columns \['view', 'Edema'\]"):
        records(table().drop(columns=["view", "Edema"]))
    with pytest.raises(DataError, match="no film at all"):
        records(table().iloc[:0])


def test_every_dataset_found_has_a_card_under_its_own_name() -> None:
    found = datasets()
    assert "folder" in found
    for name, dataset in found.items():
        assert isinstance(dataset, Dataset)
        assert dataset.card.name == name
