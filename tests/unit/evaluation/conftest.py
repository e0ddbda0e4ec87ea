"""A small pack with masks and two small encoders."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pacx.core.preprocessing import Preprocessing
from pacx.data.packs.packing import pack_records
from pacx.data.records import Records
from pacx.models.encoders.folder import LoadedEncoder
from pacx.models.vit import Pooling, ViTConfig, random_vit

PREPROCESSING = Preprocessing(image_size_px=32)
NUM_FILMS = 60


@pytest.fixture(scope="session")
def pack(tmp_path_factory):
    """Noisy films with one bright disc, the heart; no heart on every tenth film; "nodule" masks are rarely judged."""
    root = tmp_path_factory.mktemp("films")
    random = np.random.default_rng(0)
    rows = []
    row, column = np.mgrid[:32, :32]
    for number in range(NUM_FILMS):
        centre, radius = random.uniform(8, 24, size=2), random.uniform(4, 8)
        heart = (row - centre[0]) ** 2 + (column - centre[1]) ** 2 < radius**2
        if number % 10 == 9:
            heart[:] = False
        film = random.normal(70, 15, size=(32, 32)) + 110 * heart
        Image.fromarray(film.clip(0, 255).astype(np.uint8)).save(root / f"film{number}.png")
        Image.fromarray(heart.astype(np.uint8) * 255).save(root / f"heart{number}.png")
        rows.append(
            {
                "sample_id": f"s{number}",
                "image_path": f"film{number}.png",
                "patient_id": f"p{number // 2}",
                "study_id": "",
                "view": "PA",
                "split": ("train", "val", "test")[number // 2 % 3],
                "big": float(radius > 6),
                "mask:heart": f"heart{number}.png",
                "mask:nodule": f"heart{number}.png" if number % 4 == 0 else "",
            }
        )
    records = Records(pd.DataFrame(rows), label_names=("big",), mask_names=("heart", "nodule"), root=root)
    return pack_records(records, tmp_path_factory.mktemp("packs") / "discs", preprocessing=PREPROCESSING)


@pytest.fixture(scope="session")
def encoders():
    """Two random encoders, by name; what they lack in training the decoder makes up for on such films."""
    config = ViTConfig(img_size=32, patch_size=4, embed_dim=32, depth=2, num_heads=2)
    return {
        name: LoadedEncoder(random_vit(config, seed), PREPROCESSING, Pooling.CLASS_TOKEN)
        for seed, name in enumerate(("mae", "pacx"))
    }
