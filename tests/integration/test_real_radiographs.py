"""The way in, from real radiographs to encoder input: read, pack, split, batch, augment."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import binary_dilation

from pacx.core.preprocessing import Preprocessing
from pacx.data.augment import Augmentation, augment, to_input
from pacx.data.batches import epoch_batches
from pacx.data.checks.shared_films import overlap
from pacx.data.datasets.folder import DATASET, FolderOptions
from pacx.data.packs.packing import pack_records
from pacx.data.splits import assign_splits, low_data_subset

NUM_FILMS = 60
NIH = FolderOptions(finding_column="label", where=("origin_dataset=NIH ChestX-ray14",))


@pytest.fixture
def some_films(shared: Path, tmp_path: Path) -> Path:
    """A folder of 60 of the NIH films, by link, with their rows of the table."""
    source = shared / "data" / "cxr"
    table = pd.read_csv(source / "index.csv", dtype=str, keep_default_na=False)
    nih = table[table["origin_dataset"] == "NIH ChestX-ray14"]
    table = pd.concat([nih[nih["split"] == split].iloc[:80:4] for split in ("train", "val", "test")])
    root = tmp_path / "films"
    (root / "images").mkdir(parents=True)
    for name in table["file"]:
        (root / "images" / name).symlink_to((source / "images" / name).resolve())
    table.to_csv(root / "index.csv", index=False)
    return root


def test_the_whole_table_reads_with_one_option(shared: Path) -> None:
    records = DATASET.read(shared / "data" / "cxr", NIH)
    table = records.table
    assert len(records) == 1454
    assert len(records.label_names) == 14
    assert {"Cardiomegaly", "Effusion", "Pneumonia"} <= set(records.label_names)
    assert set(table["split"]) == {"train", "val", "test"}
    assert (table.groupby("patient_id")["split"].nunique() == 1).all()
    assert table["width_orig"].dtype.kind in "if"
    raw = pd.read_csv(shared / "data" / "cxr" / "index.csv", keep_default_na=False)
    raw = raw[raw["origin_dataset"] == "NIH ChestX-ray14"]
    expected = raw["label"].str.split("|").map(lambda found: "Effusion" in found).to_numpy()
    assert np.array_equal(table["Effusion"] == 1, expected)
    assert np.array_equal(table[list(records.label_names)].sum(axis=1) == 0, raw["label"] == "No Finding")


def test_films_reach_the_encoders_door(some_films: Path, tmp_path: Path) -> None:
    records = DATASET.read(some_films, NIH)
    contract = Preprocessing()
    pack = pack_records(records, tmp_path / "pack", num_workers=2)
    assert len(pack) == NUM_FILMS
    assert pack.quarantined == ()
    assert pack.images.shape == (NUM_FILMS, 224, 224)
    assert 0.3 < pack.manifest.pixel_mean < 0.7
    train = pack.rows("train")
    assert len(train) == NUM_FILMS // 3
    batch = next(epoch_batches(pack, train, batch_size=8, seed=0, epoch=0, shuffle=True, drop_last=True))
    films = augment(batch.images, batch.keys, Augmentation.DISTILLATION, seed=0, epoch=0)
    tokens = to_input(films, contract)
    assert tokens.shape == (8, 3, 224, 224)
    assert np.isfinite(tokens.numpy()).all()
    assert np.array_equal(to_input(batch.images, contract), contract.normalize(pack.images[batch.rows.numpy()]))


def test_real_labels_split_by_patient_in_proportion(shared: Path) -> None:
    records = DATASET.read(shared / "data" / "cxr", NIH)
    splits = assign_splits(records.table, records.label_names, seed=0)
    assert (splits.groupby(records.table["patient_id"]).nunique() == 1).all()
    share = (splits == "test").mean()
    assert abs(share - 0.2) < 0.01
    for name in records.label_names:
        positives = records.table[name]
        assert abs(positives[splits == "test"].sum() - 0.2 * positives.sum()) < 2 + 0.05 * positives.sum()
        assert positives[splits == "val"].sum() > 0


def test_one_percent_of_real_labels_keeps_every_finding(some_films: Path, tmp_path: Path) -> None:
    pack = pack_records(DATASET.read(some_films, NIH), tmp_path / "pack", preprocessing=Preprocessing(image_size_px=32))
    chosen = low_data_subset(pack.labels, pack.patient_ids, pack.keys, fraction=0.01, seed=0)
    has_positive = (pack.labels == 1).any(axis=0)
    assert np.array_equal((pack.labels[chosen] == 1).any(axis=0), has_positive)
    assert chosen.sum() < 0.5 * len(pack)


def test_real_masks_lie_on_the_lungs(shared: Path, tmp_path: Path) -> None:
    options = FolderOptions(sample_id_column="name", image_column="image", mask_columns=("lung=mask",))
    records = DATASET.read(shared / "data" / "seg", options)
    assert len(records) == 478
    with_ignore = records.table["has_ignore"] == 1
    few = type(records)(
        pd.concat([records.table[with_ignore], records.table[~with_ignore].head(35)]).reset_index(drop=True),
        records.label_names, records.mask_names, records.root,
    )  # fmt: skip
    pack = pack_records(few, tmp_path / "pack", preprocessing=Preprocessing(image_size_px=256))
    assert pack.masks is not None
    assert set(np.unique(pack.masks)) == {0, 1, 255}
    lung_share = (pack.masks[:, 0] == 1).mean(axis=(1, 2))
    assert np.allclose(lung_share, pack.table["lung_frac"], atol=0.001)
    is_lung = pack.masks[:, 0] == 1
    rim = binary_dilation(is_lung, iterations=8, axes=(1, 2)) & ~is_lung
    is_darker = [
        film[lung].mean() < film[ring].mean() for film, lung, ring in zip(pack.images, is_lung, rim, strict=True)
    ]
    assert np.mean(is_darker) > 0.95  # air is darker than what surrounds it; 0.85 with masks upside down


def test_the_same_films_in_two_collections_are_found(shared: Path, tmp_path: Path) -> None:
    masked = pd.read_csv(shared / "data" / "seg" / "index.csv", dtype=str).iloc[::8]
    others = sorted({path.name for path in (shared / "data" / "cxr" / "images").iterdir()} - set(masked["cxr_file"]))
    packs = {}
    for name, files in (("seg", masked["image"]), ("cxr", [*masked["cxr_file"], *others[::20]])):
        root = tmp_path / name
        root.mkdir()
        source = shared / "data" / name if name == "seg" else shared / "data" / "cxr" / "images"
        for file in files:
            (root / Path(file).name).symlink_to((source / file).resolve())
        size_px = {"seg": 256, "cxr": 224}[name]
        records = DATASET.read(root, FolderOptions())
        packs[name] = pack_records(
            records, tmp_path / f"{name}-pack", preprocessing=Preprocessing(image_size_px=size_px)
        )
    groups = [{film.sample_id for film in group.films} for group in overlap(packs).copies]
    expected = [{Path(image).name, file} for image, file in zip(masked["image"], masked["cxr_file"], strict=True)]
    assert sorted(map(sorted, groups)) == sorted(map(sorted, expected))
    assert len(groups) == 60
