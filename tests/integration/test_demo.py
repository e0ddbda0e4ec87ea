"""The whole method in one call, as small as it gets: what is written, and that other settings are refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from PIL import Image

import pacx
from pacx.cli.main import main
from pacx.core.errors import UsageError
from pacx.demo.demo import DemoConfig, run_demo
from pacx.evaluation.results import read_rows
from pacx.models.encoders.origin import read_origin

PROTOCOLS = {"reconstruction", "linear-probe", "low-data", "ablation", "alignment", "segmentation", "attention"}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> DemoConfig:
    config = DemoConfig(
        out=tmp_path_factory.mktemp("demo") / "demo",
        num_pretraining_patients=90,
        num_triplet_patients=100,
        num_downstream_patients=110,
        film_epochs=1,
        ecg_epochs=1,
        lab_epochs=2,
        distillation_epochs=1,
        num_draws=50,
    )
    run_demo(config)
    return config


@pytest.mark.slow
def test_every_protocol_every_picture_and_a_page(config: DemoConfig) -> None:
    rows = read_rows(config.out / "results.json")
    assert {row.protocol for row in rows} == PROTOCOLS
    assert {"random", "mae", "pacx"} <= {row.name for row in rows}
    page = (config.out / "report.html").read_text()
    for word in ("Table 1", "Table 2", "Table 3", "Label efficiency", "not a medical device", "random ViT"):
        assert word in page
    assert [path.name for path in (config.out / "runs").iterdir() if not (path / "summary.json").exists()] == []
    assert {path.name for path in (config.out / "figures").iterdir()} >= {"films.png", "ecg.png", "reconstructions.png"}
    about = json.loads((config.out / "demo.json").read_text())
    assert about["provenance"]["seed"] == 0
    assert about["provenance"]["versions"]["torch"]
    measured = read_origin(config.out / "encoder").results
    assert {row["encoder"] for row in measured} == {"pacx"}
    assert len(measured) == len([row for row in rows if row.encoder == "pacx"])


@pytest.mark.slow
def test_timm_opens_the_encoder_and_gives_the_same_embeddings(config: DemoConfig) -> None:
    folder = config.out / "encoder"
    films = sorted((config.out / "hospital" / "downstream" / "films").iterdir())[:5]
    ours = pacx.load_encoder(folder).embed(films)
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    prepare = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
    batch = torch.stack([prepare(Image.open(film).convert("RGB")) for film in films])
    with torch.no_grad():
        theirs = model(batch).numpy()
    assert np.linalg.norm(ours - theirs) <= 1e-5 * np.linalg.norm(theirs)


@pytest.mark.slow
def test_a_finished_demo_is_left_alone_and_another_is_refused(config: DemoConfig) -> None:
    before = {path: path.stat().st_mtime_ns for path in (config.out / "runs").rglob("model.safetensors")}
    assert len(before) == 8  # film encoder, five distillations, and the autoencoders of ECGs and labs
    with pytest.raises(UsageError, match="another configuration"):
        run_demo(replace(config, seed=1))
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("protocol", "cohort", "options"),
    [
        ("low-data", "downstream", ["--probe.epochs", "2", "--fractions", "0.5", "1.0"]),
        ("segmentation", "segmentation", ["--decoder.epochs", "1", "--decoder.warmup-epochs", "0"]),
        ("alignment", "triplets", ["--targets", "{out}/runs/ecg/targets", "{out}/runs/labs/targets"]),
        ("readout", "triplets", ["--values", "{out}/hospital/triplets/labs.csv", "--save"]),
        ("attention", "segmentation", []),
        ("deletion", "downstream", ["--label", "pacemaker", "--deletion.num-films", "20", "--deletion.steps", "2"]),
    ],
)
def test_every_protocol_has_a_command_of_its_own(
    config: DemoConfig, protocol: str, cohort: str, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = config.out
    results = out / f"{protocol}.json"
    words = ["evaluate", protocol, "--pack", str(out / "packs" / f"{cohort}-64"), "--out", str(results)]
    words += ["--encoders", f"mae={out}/runs/mae/encoder", f"pacx={out}/runs/pacx/encoder", "--baseline", "mae"]
    words += ["--num-draws", "20", *(option.format(out=out) for option in options)]
    main(words)
    said = capsys.readouterr().out
    assert "pacx - mae" in said
    assert f"result rows written to {results}" in said
    assert {row.name for row in read_rows(results)} >= {"mae", "pacx", "pacx - mae"}
