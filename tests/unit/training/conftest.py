"""Small real inputs for the stages: a pack of blobs, and targets that depend on the blobs."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pacx.core.preprocessing import Preprocessing
from pacx.data.datasets.folder import DATASET, FolderOptions
from pacx.data.packs.pack import Pack
from pacx.data.packs.packing import pack_records


def write_blob_pack(root: Path, num_films: int = 60, side_px: int = 32) -> Pack:
    """Films of one bright blob each, darker or lighter as a whole; every fifth held out."""
    rng = np.random.default_rng(11)
    (root / "films").mkdir(parents=True)
    y, x = np.mgrid[0:side_px, 0:side_px]
    rows = []
    for index in range(num_films):
        row, column = rng.integers(6, side_px - 6, 2)
        film = (
            rng.uniform(20, 120) + 100 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 30) + rng.normal(0, 4, y.shape)
        )
        Image.fromarray(film.clip(0, 255).astype(np.uint8)).save(root / f"films/{index:03d}.png")
        split = "val" if index % 5 == 0 else "train"
        rows.append(
            {"file": f"films/{index:03d}.png", "sample_id": f"s{index}", "patient_id": f"p{index}", "split": split}
        )
    pd.DataFrame(rows).to_csv(root / "index.csv", index=False)
    records = DATASET.read(root, FolderOptions())
    return pack_records(records, root / "pack", preprocessing=Preprocessing(image_size_px=side_px))


@pytest.fixture(scope="session")
def blob_pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return write_blob_pack(tmp_path_factory.mktemp("blobs"))
