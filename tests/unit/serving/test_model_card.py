"""A card says what the run knows, limits first, and nothing that the files do not say."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from pacx.core.errors import DataError, UsageError
from pacx.core.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from pacx.exporting.export import ExportConfig, export_encoder
from pacx.exporting.model_card import _measured, read_run
from pacx.models.encoders.folder import load_encoder, save_encoder
from pacx.models.encoders.origin import FILE as ORIGIN
from pacx.models.encoders.origin import Origin, read_origin, write_origin
from pacx.models.mae.checkpoints import load_mae_encoder
from pacx.models.vit import Pooling, ViTConfig, pooled, random_vit

CONFIG = ViTConfig(img_size=32, patch_size=8, in_chans=1, embed_dim=16, depth=1, num_heads=2)
CONTRACT = Preprocessing(image_size_px=32, num_channels=1, mean=(0.4,), std=(0.2,))


FAST = ExportConfig(int8=False, rollout=False, num_parity_films=8)


def _row(**changes: object) -> dict[str, object]:
    row = {"protocol": "linear-probe", "dataset": "chexchonet", "encoder": "pacx", "label": "macro", "metric": "auroc"}
    row |= {"value": 0.8123, "ci_low": 0.7, "ci_high": None, "n": 321, "fraction": 0.01, "subgroup": ""}
    return row | {"seed": 0, "provenance": "a commit"} | changes


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("study")
    run = root / "runs" / "pacx"
    save_encoder(
        random_vit(CONFIG, seed=0),
        run / "encoder",
        preprocessing=CONTRACT,
        pooling=Pooling.CLASS_TOKEN,
        card="# A taught encoder\n\nIt agrees with ECGs.\n\n| | |\n|---|---|\n| training films | 980 |",
        provenance={"command": "train distill", "seed": 7},
    )
    (run / "config.json").write_text(json.dumps({"training": {"batch_size": 48, "seed": 7}}))
    (run / "summary.json").write_text(json.dumps({"stage": "distill", "steps": 105, "validation": {"loss": 2.5}}))
    rows = [_row(), _row(encoder="mae", value=0.1111), _row(label="Edema", value=0.2222)]
    (root / "results.json").write_text(json.dumps(rows))
    export_encoder(run / "encoder", root / "out", FAST)
    return root / "out"


def test_limits_come_before_anything_else_is_said(exported: Path) -> None:
    card = (exported / "MODEL_CARD.md").read_text()
    assert "not a medical device" in card.splitlines()[2]
    assert re.findall(r"^## (.*)", card, re.MULTILINE)[0] == "Limits"
    assert "cannot say that a film is unlike" in card


def test_the_card_says_what_the_run_knows(exported: Path) -> None:
    card = (exported / "MODEL_CARD.md").read_text()
    for fact in ("A taught encoder. It agrees with ECGs.", "| training films | 980 |", "| batch_size | 48 |"):
        assert fact in card
    assert "| validation: loss | 2.5 |" in card
    assert "| linear-probe | chexchonet | auroc | 1 % | 0.8123 | 0.7 to  | 321 |" in card
    assert "0.1111" not in card, "a row of another encoder"
    assert "0.2222" not in card, "single labels are in results.json"
    assert '"command": "train distill"' in card
    assert "| onnx/fp32.onnx | torch | 8 |" in card


def test_the_readme_is_the_card_as_the_hub_reads_it(exported: Path) -> None:
    _, front, body = (exported / "README.md").read_text().split("---\n", 2)
    assert body.strip() == (exported / "MODEL_CARD.md").read_text().strip()
    assert "library_name: timm" in front
    assert "pipeline_tag: image-feature-extraction" in front


def test_an_encoder_without_a_run_has_a_card_all_the_same(exported: Path, tmp_path: Path) -> None:
    for file in ("model.safetensors", "config.json", "preprocessing.json"):
        (tmp_path / "encoder").mkdir(exist_ok=True)
        shutil.copyfile(exported / file, tmp_path / "encoder" / file)
    run = read_run(tmp_path / "encoder")
    assert (run.card, run.origin) == ("", Origin())
    export_encoder(tmp_path / "encoder", tmp_path / "out", FAST)
    card = (tmp_path / "out" / "MODEL_CARD.md").read_text()
    assert "## Training" not in card
    assert "## Measured" not in card


def test_what_is_known_goes_where_the_export_goes(exported: Path, tmp_path: Path) -> None:
    """A folder that has left its run still says how it was trained and what was measured."""
    moved = shutil.copytree(exported, tmp_path / "elsewhere" / "encoder")
    export_encoder(moved, tmp_path / "out", FAST)
    said = [(folder / "MODEL_CARD.md").read_text() for folder in (exported, tmp_path / "out")]
    for part in ("Training", "Measured"):
        first, second = (re.search(rf"^## {part}\n.*?(?=^## )", card, re.DOTALL | re.MULTILINE)[0] for card in said)
        assert first == second
    assert read_origin(tmp_path / "out") == read_origin(exported)
    assert read_origin(exported).provenance == {"command": "train distill", "seed": 7}


def test_rows_from_anywhere_are_named_for_the_card(exported: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.json"
    rows.write_text(json.dumps([_row(encoder="ours", value=0.4321), _row(value=0.1111)]))
    export_encoder(exported, tmp_path / "out", replace(FAST, measured=(f"ours={rows}",)))
    card = (tmp_path / "out" / "MODEL_CARD.md").read_text()
    assert "0.4321" in card
    assert "0.1111" not in card
    with pytest.raises(UsageError, match="no row of the file names the encoder 'other'"):
        export_encoder(exported, tmp_path / "none", replace(FAST, measured=(f"other={rows}",)))
    assert not (tmp_path / "none").exists()


def test_a_folder_from_before_there_was_an_origin_file_has_its_facts_from_around_it(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "pacx"
    (run / "encoder").mkdir(parents=True)
    (run / "encoder" / "MODEL_CARD.md").write_text('# A\n\n## Provenance\n\n```json\n{"seed": 7}\n```\n')
    (run / "config.json").write_text('{"training": {"batch_size": 48}}')
    (run / "summary.json").write_text('{"steps": 105}')
    (tmp_path / "results.json").write_text(json.dumps([_row(), _row(encoder="mae")]))
    origin = read_run(run / "encoder").origin
    assert origin == Origin(
        provenance={"seed": 7}, training={"batch_size": 48}, summary={"steps": 105}, results=(_row(),)
    )
    write_origin(run / "encoder", origin)
    assert read_run(run / "encoder").origin == origin


@pytest.mark.parametrize("damage", ["[]", '{"format_version": 2}', '{"format_version": 1, "provenance": {}}', "{"])
def test_a_damaged_origin_is_refused(damage: str, tmp_path: Path) -> None:
    (tmp_path / ORIGIN).write_text(damage)
    with pytest.raises(DataError, match=r"origin\.json"):
        read_origin(tmp_path)


def test_a_damaged_file_of_the_run_is_named(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(DataError, match=r"config\.json is not valid JSON"):
        read_run(tmp_path / "encoder")


def test_an_export_is_an_encoder_for_us_and_for_timm(exported: Path) -> None:
    images = torch.rand(2, 1, 32, 32)
    ours = load_encoder(exported)
    model = timm.create_model(f"local-dir:{exported}", pretrained=True, num_classes=0).eval()
    with torch.inference_mode():
        torch.testing.assert_close(model(images), ours.embed_images(images))


def test_the_official_keys_hold_the_same_encoder_for_imagenet_films(exported: Path) -> None:
    encoder = load_encoder(exported)
    official = load_mae_encoder(
        exported / "official_mae.safetensors",
        ViTConfig(img_size=32, patch_size=8, in_chans=3, embed_dim=16, depth=1, num_heads=2),
    )
    squares = np.random.default_rng(0).integers(0, 256, (3, 32, 32), dtype=np.uint8)
    as_imagenet = Preprocessing(image_size_px=32, num_channels=3, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    with torch.inference_mode():
        wanted = encoder.embed_images(torch.from_numpy(CONTRACT.normalize(squares)))
        found = pooled(official, torch.from_numpy(as_imagenet.normalize(squares)), Pooling.CLASS_TOKEN)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


def test_the_card_says_which_intervals_are_not_by_patient() -> None:
    rows = [_row(drawn_by="film, patients unknown"), _row(drawn_by="patient"), _row()]
    cells = [line.split(" | ")[5] for line in _measured(rows).splitlines() if line.startswith("| linear-probe")]
    assert [cell.partition(" (")[2] for cell in cells] == ["by film, patients unknown)", "", ""]
