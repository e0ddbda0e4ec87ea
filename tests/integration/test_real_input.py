"""The commands a newcomer types, on real radiographs: pack, train, embed, probe."""

import csv
from pathlib import Path

import numpy as np
import pytest

import pacx
from pacx.cli.main import main
from pacx.evaluation.results import read_rows

NUM_FILMS = 240


def command(*words: object) -> None:
    main([str(word) for word in words])


@pytest.fixture(scope="module")
def table(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first rows of each split of the NIH part, as a csv of one's own beside nothing else."""
    with (shared / "data" / "cxr" / "index.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["origin_dataset"] == "NIH ChestX-ray14"]
    chosen = [
        row for split in ("train", "val", "test") for row in [r for r in rows if r["split"] == split][: NUM_FILMS // 3]
    ]
    path = tmp_path_factory.mktemp("real") / "nih.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(chosen[0]))
        writer.writeheader()
        writer.writerows(chosen)
    return path


@pytest.fixture(scope="module")
def run(shared: Path, table: Path) -> Path:
    """A folder with the pack, a briefly trained encoder, and everything the tests look at."""
    out = table.parent
    command(
        "data", "pack", "folder", "--root", shared / "data" / "cxr", "--out", out / "pack", "--csv", table,
        "--finding-column", "label", "--image-size-px", 64, "--num-workers", 1,
    )  # fmt: skip
    command(
        "train", "mae-tiny", "--pack", out / "pack", "--out", out / "mae", "--training.epochs", 1,
        "--training.warmup-epochs", 0,
    )  # fmt: skip
    return out


@pytest.mark.usefixtures("run")
def test_embed_gives_one_row_per_film_and_agrees_with_the_library(shared: Path, run: Path) -> None:
    films = sorted((shared / "data" / "cxr" / "images").glob("nih_*.jpg"))[:5]
    command("embed", run / "mae" / "encoder", *films, "--out", run / "embeddings.npz")
    stored = np.load(run / "embeddings.npz")
    assert list(stored["paths"]) == [str(film) for film in films]
    encoder = pacx.load_encoder(run / "mae" / "encoder")
    np.testing.assert_allclose(stored["embeddings"], encoder.embed(films), rtol=1e-5, atol=1e-6)
    assert len(np.unique(stored["embeddings"].round(5), axis=0)) == 5, "five films, five embeddings"


def test_probe_gives_every_label_an_interval_or_a_reason(run: Path) -> None:
    command(
        "evaluate", "linear-probe", "--pack", run / "pack", "--encoders", f"mae={run / 'mae' / 'encoder'}", "random",
        "--baseline", "random", "--dataset", "nih-sample", "--out", run / "results.json",
        "--probe.epochs", 5, "--num-draws", 200,
    )  # fmt: skip
    rows = read_rows(run / "results.json")
    macro = [row for row in rows if row.label == "macro" and row.metric == "auroc" and not row.subgroup]
    assert {row.name for row in macro} == {"mae", "random"}
    assert all(row.ci_low <= row.value <= row.ci_high for row in macro)
    labels = {row.label for row in rows} - {"macro"}
    assert {"Effusion", "Cardiomegaly"} <= labels
    assert "No Finding" not in labels
    command("report", run / "results.json", "--out", run / "report.html")
    assert "nih-sample" in (run / "report.html").read_text()


def test_errors_are_one_sentence_and_a_code(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, code in (
        (["embed", str(run / "nothing"), str(run), "--out", str(run / "x.npz")], 1),
        (["embed", str(run / "mae" / "encoder"), str(run / "nothing.png"), "--out", str(run / "x.npz")], 2),
        (
            [
                "evaluate",
                "linear-probe",
                "--pack",
                str(run / "nothing"),
                "--encoders",
                "random",
                "--out",
                str(run / "y.json"),
            ],
            2,
        ),
        (["train", "mae-tiny", "--pack", str(run / "pack"), "--out", str(run / "mae")], 2),
    ):
        with pytest.raises(SystemExit) as stop:
            main(words)
        said = capsys.readouterr().err
        assert stop.value.code == code, said
        assert said.startswith("pacx: ")
        assert "Traceback" not in said
    assert not (run / "x.npz").exists()
    assert not (run / "y.json").exists()
