"""Small folders of films for tests, written on the spot."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from pacx.data.datasets.folder import DATASET, FolderOptions
from pacx.data.records import Records


def write_films(root: Path, num_films: int, *, side_px: int = 40) -> Records:
    """Films of noise with lung masks (every third has none), two per patient, and two labels."""
    rng = np.random.default_rng(7)
    for folder in ("films", "masks"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    rows = []
    for index in range(num_films):
        pixels = rng.integers(0, 256, (side_px, side_px + 8), dtype=np.uint8)
        suffix = "jpg" if index % 2 else "png"
        Image.fromarray(pixels).save(root / f"films/{index:03d}.{suffix}")
        has_mask = index % 3 > 0
        if has_mask:
            Image.fromarray((pixels > 128).astype(np.uint8) * 255).save(root / f"masks/{index:03d}.png")
        rows.append(
            {
                "file": f"films/{index:03d}.{suffix}",
                "sample_id": f"s{index}",
                "patient_id": f"p{index // 2}",
                "split": ("train", "val", "test", "")[index % 4],
                "Edema": index % 2,
                "Mass": "" if index % 5 else 1,
                "mask:lung": f"masks/{index:03d}.png" if has_mask else "",
            }
        )
    pd.DataFrame(rows).to_csv(root / "index.csv", index=False)
    return DATASET.read(root, FolderOptions(label_columns=("Edema", "Mass")))
