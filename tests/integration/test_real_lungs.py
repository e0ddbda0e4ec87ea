"""Real lung masks through segmentation and attention: the numbers are those of the masks themselves."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from pacx.core.preprocessing import Preprocessing
from pacx.data.datasets.folder import DATASET, FolderOptions
from pacx.data.packs.pack import Pack
from pacx.data.packs.packing import pack_records
from pacx.evaluation.comparison import Comparison
from pacx.evaluation.evidence.alterations import MaskHidden
from pacx.evaluation.evidence.attention import UNIFORM, attention
from pacx.evaluation.masks.segmentation import SegmentationConfig, segmentation
from pacx.models.encoders.folder import LoadedEncoder
from pacx.models.vit import Pooling, ViTConfig, random_vit

CONTRACT = Preprocessing(image_size_px=64)


@pytest.fixture(scope="module")
def lungs(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """Eighty films with lung masks, some with pixels that nobody has judged, split as their makers did."""
    out = tmp_path_factory.mktemp("lungs")
    table = pd.read_csv(shared / "data" / "seg" / "index.csv", dtype=str, keep_default_na=False)
    ignored = table[(table["split"] == "test") & (table["has_ignore"] == "1")]
    parts = [table[table["split"] == split].head(count) for split, count in (("train", 48), ("val", 12), ("test", 20))]
    pd.concat([*parts, ignored]).drop_duplicates("name").to_csv(out / "some.csv", index=False)
    options = FolderOptions(
        csv=out / "some.csv", sample_id_column="name", image_column="image", mask_columns=("lung=mask",)
    )
    records = DATASET.read(shared / "data" / "seg", options)
    return pack_records(records, out / "pack", preprocessing=CONTRACT, num_workers=1)


@pytest.fixture(scope="module")
def encoders() -> dict[str, LoadedEncoder]:
    config = ViTConfig(img_size=64, patch_size=8, embed_dim=48, depth=2, num_heads=2)
    return {"random": LoadedEncoder(random_vit(config, 0), CONTRACT, Pooling.CLASS_TOKEN)}


def test_uniform_attention_has_the_area_of_the_lungs(lungs: Pack, encoders: dict[str, LoadedEncoder]) -> None:
    rows = attention(lungs, encoders, Comparison(dataset="lungs", num_draws=50))
    assert lungs.masks is not None
    masks = lungs.masks[lungs.rows("test"), 0]
    areas = [(mask == 1).sum() / (mask != 255).sum() for mask in masks]
    table = {row.name: row for row in rows}
    assert table[UNIFORM].value == pytest.approx(np.mean(areas), abs=1e-9)
    assert 0.1 < table[UNIFORM].value < 0.5
    assert table["random"].ci_low < table["random"].value < table["random"].ci_high


def test_even_random_tokens_outline_real_lungs(lungs: Pack, encoders: dict[str, LoadedEncoder]) -> None:
    # one decoder: of a mean over several the two scores are no function of each other
    config = SegmentationConfig(epochs=15, batch_size=16, learning_rate=3e-3, warmup_epochs=1, num_seeds=1)
    rows = segmentation(lungs, encoders, Comparison(dataset="lungs", num_draws=50), config=config)  # fmt: skip
    table = {row.metric: row for row in rows}
    assert table["dice"].value > 0.6
    assert table["iou_pooled"].value == pytest.approx(
        table["dice_pooled"].value / (2 - table["dice_pooled"].value), abs=1e-9
    )


def test_hidden_lungs_are_hidden(lungs: Pack) -> None:
    rows = lungs.rows("test")
    hidden = MaskHidden(lungs, "lung", 0.5)(torch.from_numpy(lungs.images[rows]), rows).numpy()
    assert lungs.masks is not None
    inside = lungs.masks[rows, 0] == 1
    assert (hidden[inside] == 0.5).all()
    np.testing.assert_array_equal(hidden[~inside], lungs.images[rows][~inside] / np.float32(255))
