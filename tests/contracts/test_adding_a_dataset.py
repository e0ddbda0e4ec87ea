"""The twelfth dataset of docs/adding/dataset.md is one file: it is run here as it stands there."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pacx.core.errors import DataError, UsageError
from pacx.data.checks.doctor import examine
from pacx.data.packs.packing import pack_records
from pacx.data.packs.splitting import with_splits

PAGE = Path(__file__).resolve().parents[2] / "docs" / "adding" / "dataset.md"


@pytest.fixture
def example() -> Any:
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert code is not None
    module: dict[str, Any] = {"__name__": "example"}
    exec(compile(code[1], str(PAGE), "exec"), module)
    return module["DATASET"]


def write_tree(root: Path, num_films: int) -> None:
    (root / "images").mkdir(parents=True)
    rows = []
    for row in range(num_films):
        Image.fromarray(np.eye(20, dtype=np.uint8) + np.uint8(row)).save(root / f"images/f{row}.png")
        split = "test" if row % 4 == 3 else "train"
        rows.append(
            {"name": f"f{row}", "patient": f"p{row}", "view": "PA", "list": split, "Edema": ["1", "0", ""][row % 3]}
        )
    pd.DataFrame(rows).to_csv(root / "labels.csv", index=False)


def test_the_page_is_a_dataset_that_doctor_and_pack_accept(example: Any, tmp_path: Path) -> None:
    write_tree(tmp_path / "tree", 24)
    options = example.options_type()
    records = example.read(tmp_path / "tree", options)
    assert np.isnan(records.table["Edema"][2])
    diagnosis = examine(example, tmp_path / "tree", options, state=tmp_path / "state", num_samples=None)
    faults = [issue for issue in diagnosis.issues if issue.is_fault]
    assert {issue.check for issue in faults} == {"counts"}  # 24 films are not the 1,200 of the card
    assert any(issue.message.startswith("films is 24, but 1,200") for issue in faults)
    pack = pack_records(with_splits(records, 0, example.card.splits), tmp_path / "pack")
    assert len(pack.rows("val")) == 2
    assert len(pack.rows("test")) == 6


def test_the_page_refuses_what_is_not_it(example: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a folder"):
        example.read(tmp_path / "nowhere", example.options_type())
    with pytest.raises(DataError, match=r"labels\.csv is missing"):
        example.read(tmp_path, example.options_type())
