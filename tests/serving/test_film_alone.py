"""A film's answer is its own: alone, in a batch, beside films that are unlike any, and by whichever door it came in."""

import csv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from film_bytes import png
from numpy.typing import NDArray
from PIL import Image
from running_server import serving

from pacx.cli.main import main
from pacx.inference.export_folder import Precision, load_export
from pacx.inference.heads import load_heads
from pacx.inference.host_choice import smooth_films
from pacx.inference.onnx_encoder import OnnxEncoder

FILMS = smooth_films(8, 64)
WHITE = np.full_like(FILMS, 255)
WHITE[:, 0, 0] = 0  # a film of one grey is refused at every door
NUM_CLIENTS = 32
TOLERANCE = {Precision.FP32: 1e-5, Precision.INT8: 0.0}
each_precision = pytest.mark.parametrize("precision", list(Precision), ids=lambda each: each.value)


def beside_white(film: NDArray[np.uint8], place: int) -> NDArray[np.uint8]:
    films = WHITE.copy()
    films[place] = film
    return films


@each_precision
def test_neighbours_and_threads_change_nothing(export_with_8_bits: Path, precision: Precision) -> None:
    export = load_export(export_with_8_bits)
    one, four = (OnnxEncoder(export, export.embedding_graph(precision), num_threads=threads) for threads in (1, 4))
    alone = np.concatenate([one(film[None]) for film in FILMS])
    assert np.abs(alone[1:] - alone[:-1]).max() > 0.01, "films that are told apart"
    batches = [one(FILMS), one(FILMS[::-1])[::-1], four(FILMS)]
    batches.append(np.stack([one(beside_white(film, row))[row] for row, film in enumerate(FILMS)]))
    for batch in batches:
        assert np.abs(batch - alone).max() <= TOLERANCE[precision]


def test_heads_say_the_same_of_a_film_in_any_batch(export_with_8_bits: Path) -> None:
    heads = load_heads(export_with_8_bits)
    embeddings = np.random.default_rng(0).normal(size=(64, 32)).astype(np.float32)
    for ask in (heads.findings, heads.readings, heads.familiarity):
        assert ask(embeddings) == [ask(embeddings[row : row + 1])[0] for row in range(64)]
        assert ask(embeddings[:0]) == []


@each_precision
def test_every_door_gives_the_same_answer(export_with_8_bits: Path, tmp_path: Path, precision: Precision) -> None:
    films = tmp_path / "films"
    films.mkdir()
    pictures = [*FILMS, *WHITE[:7]]
    for row, film in enumerate(pictures):
        Image.fromarray(film).save(films / f"{row:02d}.png")
    word, folder = precision.value, str(export_with_8_bits)
    for batch_size in (1, 8):
        shared = [folder, str(films), "--precision", precision.name, "--batch-size", str(batch_size)]
        main(["embed", *shared, "--out", str(tmp_path / f"{batch_size}.npz")])
        main(["predict", *shared, "--out", str(tmp_path / f"{batch_size}.csv")])
    with np.load(tmp_path / "1.npz") as alone, np.load(tmp_path / "8.npz") as batch:
        embeddings = alone["embeddings"]
        assert str(batch["precision"]) == word
        assert np.abs(batch["embeddings"] - embeddings).max() <= TOLERANCE[precision]
    with (tmp_path / "8.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["precision"] for row in rows} == {word}
    if precision is Precision.INT8:
        assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "8.csv").read_bytes()

    bodies = [png(picture) for picture in pictures]
    order = np.random.default_rng(1).permutation(np.tile(np.arange(len(bodies)), 8))
    with serving([f"both={folder}", "--precision", word], tmp_path) as server:
        with ThreadPoolExecutor(NUM_CLIENTS) as clients:
            answers = list(clients.map(lambda row: server.post(bodies[row]).json()["models"]["both"], order))
        with server.client() as client:
            assert client.get("/v1/models").json()["models"][0]["precision"] == word
    for row, answer in zip(order, answers, strict=True):
        assert answer["precision"] == word
        assert np.abs(np.array(answer["embedding"], np.float32) - embeddings[row]).max() <= TOLERANCE[precision]
        said = {each["label"]: each["probability"] for each in answer["findings"]}
        said |= {name: answer["out_of_distribution"][name] for name in ("distance", "percentile")}
        said["Sodium"] = answer["readouts"][0]["value"]
        for name, value in said.items():
            assert abs(value - float(rows[row][name])) <= 100 * TOLERANCE[precision] * max(1, abs(value)), name
