"""A browser, and what notebook and page are shown: the parts of a demo's folder they need, small and untrained."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from browser import BROWSERS, OpenPage, open_page
from playwright.sync_api import Browser, sync_playwright
from running_server import Running, serving

from pacx.cli.main import main
from pacx.core.preprocessing import Preprocessing
from pacx.data.dataset import SplitPlan
from pacx.data.datasets.folder import DATASET, FolderOptions
from pacx.data.packs.packing import pack_records
from pacx.data.packs.splitting import with_splits
from pacx.demo.folders import DemoFolders
from pacx.models.encoders.folder import save_encoder
from pacx.models.encoders.names import MAE, PACX
from pacx.models.vit import Pooling, ViTConfig, random_vit
from pacx.simulation.hospital import HospitalConfig, write_hospital

SIZE_PX = 64
SPLITS = SplitPlan(fractions=(0.4, 0.45, 0.15))
"""More to validate on than usual: a reference needs 99 films there."""
MODEL = ViTConfig(img_size=SIZE_PX, patch_size=8, embed_dim=32, depth=2, num_heads=2)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> DemoFolders:
    """Simulated patients, packed; two encoders that differ in their random weights alone."""
    folders = DemoFolders(out=tmp_path_factory.mktemp("demo"))
    hospital = HospitalConfig(
        num_pretraining_patients=1, num_triplet_patients=100, num_downstream_patients=220, image_size_px=SIZE_PX
    )
    write_hospital(folders.hospital, hospital)
    for cohort in ("triplets", "downstream"):
        labels = ("*",) if cohort == "downstream" else ()
        records = replace(DATASET.read(folders.hospital / cohort, FolderOptions(label_columns=labels)), mask_names=())
        preprocessing = Preprocessing(image_size_px=SIZE_PX)
        split = with_splits(records, 0, SPLITS)
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


@pytest.fixture(scope="session")
def exports(demo: DemoFolders) -> dict[str, Path]:
    """Both encoders with heads beside them, made by the commands a user types; PaCX abstains less readily."""
    pack, values = demo.pack("triplets", SIZE_PX), demo.hospital / "triplets" / "labs.csv"
    places = {}
    for name, abstain_above in ((MAE, "0.98"), (PACX, "1.02")):
        encoder = demo.run(name) / "encoder"
        words = ["--encoders", f"{name}={encoder}", "--out", str(demo.out / f"{name}.json"), "--num-draws", "20"]
        words += ["--readout.abstain-above", abstain_above, "--save"]
        main(["evaluate", "readout", "--pack", str(pack), "--values", str(values), *words])
        places[name] = demo.out / "exports" / name
        words = ["--encoders", f"{name}={encoder}", "--out", str(demo.out / f"{name}-probe.json"), "--num-draws", "20"]
        labelled = str(demo.pack("downstream", SIZE_PX))
        main(["evaluate", "linear-probe", "--pack", labelled, *words, "--save"])
        words = ["--reference-pack", labelled, "--num-parity-films", "64", "--no-int8"]
        main(["export", str(encoder), "--out", str(places[name]), *words])
    return places


@pytest.fixture(scope="session")
def page_server(exports: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(
        [f"{name}={folder}" for name, folder in exports.items()], tmp_path_factory.mktemp("server")
    ) as running:
        yield running


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"the page is tested in an installed browser, and none of {', '.join(BROWSERS)} is here")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser, page_server: Running) -> Iterator[OpenPage]:
    """The page, opened, with its token given; what must hold of every visit is asked at its end."""
    with open_page(chromium, page_server) as opened:
        opened.give_token(page_server.token)
        yield opened
