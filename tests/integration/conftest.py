"""A small pack for runs that are killed, moved and spread over processes."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pacx.core.preprocessing import Preprocessing
from pacx.data.datasets.folder import DATASET, FolderOptions
from pacx.data.packs.pack import Pack
from pacx.data.packs.packing import pack_records


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    rng = np.random.default_rng(3)
    root = tmp_path / "films"
    root.mkdir()
    for index in range(40):
        Image.fromarray(rng.integers(0, 256, (32, 32), dtype=np.uint8)).save(root / f"{index}.png")
    files = [f"{index}.png" for index in range(40)]
    splits = ["val" if index < 8 else "train" for index in range(40)]
    table = pd.DataFrame({"file": files, "sample_id": files, "patient_id": files, "split": splits})
    table.to_csv(root / "index.csv", index=False)
    records = DATASET.read(root, FolderOptions())
    return pack_records(records, tmp_path / "pack", preprocessing=Preprocessing(image_size_px=32))
