"""What the notebook and the page are shown: the parts of a demo's folder they need, small and untrained."""

from dataclasses import replace

import pytest

from pacx.core.preprocessing import Preprocessing
from pacx.data.datasets.folder import DATASET, FolderOptions
from pacx.data.packing import pack_records
from pacx.models.encoder_folder import save_encoder
from pacx.models.vit import Pooling, ViTConfig, random_vit
from pacx.recipes.demo_folders import MAE, PACX, DemoFolders
from pacx.recipes.rows import with_splits
from pacx.simulation.hospital import HospitalConfig, write_hospital

SIZE_PX = 64
MODEL = ViTConfig(img_size=SIZE_PX, patch_size=8, embed_dim=32, depth=2, num_heads=2)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> DemoFolders:
    """Simulated patients, packed; two encoders that differ in their random weights alone."""
    folders = DemoFolders(out=tmp_path_factory.mktemp("demo"))
    hospital = HospitalConfig(
        num_pretraining_patients=1, num_triplet_patients=100, num_downstream_patients=100, image_size_px=SIZE_PX
    )
    write_hospital(folders.hospital, hospital)
    for cohort in ("triplets", "downstream"):
        labels = ("*",) if cohort == "downstream" else ()
        records = replace(DATASET.read(folders.hospital / cohort, FolderOptions(label_columns=labels)), mask_names=())
        preprocessing = Preprocessing(image_size_px=SIZE_PX)
        split = with_splits(records, 0, DATASET.card.splits)
        pack_records(split, folders.pack(cohort, SIZE_PX), preprocessing=preprocessing)
    for seed, name in enumerate((MAE, PACX)):
        save_encoder(
            random_vit(MODEL, seed),
            folders.run(name) / "encoder",
            preprocessing=Preprocessing(image_size_px=SIZE_PX),
            pooling=Pooling.CLASS_TOKEN,
            card=f"# {name}, with random weights",
            provenance={},
        )
    return folders
