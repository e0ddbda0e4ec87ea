"""A small pack whose label is easy."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pacx.core.preprocessing import Preprocessing
from pacx.data.packs.pack import Pack
from pacx.data.packs.packing import pack_records
from pacx.data.records import Records


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """Sixty noisy films, half of them bright."""
    root = tmp_path_factory.mktemp("labelled")
    random = np.random.default_rng(0)
    rows = []
    for number in range(60):
        bright = number // 3 % 2
        film = random.normal(90 + 40 * bright, 20, size=(32, 32)).clip(0, 255).astype(np.uint8)
        Image.fromarray(film).save(root / f"{number}.png")
        row = {"sample_id": f"s{number}", "image_path": f"{number}.png", "patient_id": f"p{number}", "study_id": ""}
        rows.append({**row, "view": "PA", "split": ("train", "val", "test")[number % 3], "bright": float(bright)})
    records = Records(pd.DataFrame(rows), label_names=("bright",), mask_names=(), root=root)
    return pack_records(records, root / "pack", preprocessing=Preprocessing(image_size_px=32), num_workers=1)
