"""Copies are found however they were saved, strangers are not, patients are counted, and a crowd takes no longer."""

import io
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from pacx.cli.verbs.data_actions import shared_films as data_overlap
from pacx.core.errors import UsageError
from pacx.core.preprocessing import Preprocessing
from pacx.data.checks.film_hash import NUM_FREQUENCIES, alike, low_frequencies, thumbnails
from pacx.data.checks.shared_films import overlap
from pacx.data.packs.pack import Pack
from pacx.data.packs.packing import pack_records
from pacx.data.records import Records

SIDE_PX = 96


def pictures(num: int, seed: int) -> np.ndarray:
    """Smooth pictures that share what all films share (a body in the middle) and differ in the rest."""
    noise = np.random.default_rng(seed).standard_normal((num, SIDE_PX, SIDE_PX))
    smooth = gaussian_filter(noise, (0, 6, 6))
    smooth /= smooth.std(axis=(1, 2), keepdims=True)
    y, x = np.mgrid[-1 : 1 : SIDE_PX * 1j, -1 : 1 : SIDE_PX * 1j]
    body = 2 * np.exp(-2 * (x**2 + y**2))
    return np.clip(70 + 40 * (body + smooth), 0, 255).astype(np.uint8)


def saved_again(film: np.ndarray) -> np.ndarray:
    """Another size, JPEG at low quality, less contrast, brighter."""
    file = io.BytesIO()
    Image.fromarray(film).resize((77, 83), Image.Resampling.BICUBIC).save(file, "JPEG", quality=45)
    back = np.asarray(Image.open(file).resize((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR), float)
    return np.clip(0.8 * back + 25, 0, 255).astype(np.uint8)


def packed(
    films: Sequence[np.ndarray],
    out: Path,
    *,
    patients: Sequence[str],
    splits: Sequence[str],
    size_px: int,
    has_unknown_patients: bool = False,
) -> Pack:
    root = out.with_name(f"{out.name}-films")
    root.mkdir()
    names = [f"{row}.png" for row in range(len(films))]
    for name, film in zip(names, films, strict=True):
        Image.fromarray(film).save(root / name)
    table = pd.DataFrame({"sample_id": names, "image_path": names, "patient_id": patients, "study_id": "", "view": ""})
    records = Records(table.assign(split=splits), (), (), root, has_unknown_patients=has_unknown_patients)
    return pack_records(records, out, preprocessing=Preprocessing(image_size_px=size_px))


@pytest.fixture
def packs(tmp_path: Path) -> dict[str, Pack]:
    """Ten films of which the last is the first's exact copy; and five others with two of the ten among them."""
    films = pictures(14, 0)
    ours = [*films[:9], films[0]]
    theirs = [*films[9:12], saved_again(films[3]), films[4]]
    people = [f"p{row}" for row in range(10)]
    first = packed(ours, tmp_path / "a", patients=people, splits=["train"] * 9 + ["test"], size_px=96)
    second = packed(theirs, tmp_path / "b", patients=["p3", *"vwxy"], splits=["train"] * 5, size_px=64)
    return {"a": first, "b": second}


def test_exact_and_near_copies_and_patients_are_counted(packs: dict[str, Pack]) -> None:
    found = overlap(packs)
    groups = [(group.is_exact, [(film.pack, film.sample_id) for film in group.films]) for group in found.copies]
    assert groups == [
        (True, [("a", "0.png"), ("a", "9.png")]),
        (False, [("a", "3.png"), ("b", "3.png")]),
        (False, [("a", "4.png"), ("b", "4.png")]),  # packed at another size, so equal only as a picture
    ]
    assert [group.is_across_splits for group in found.copies] == [True, False, False]
    assert found.copies[0].correlation == 1
    assert 0.99 < found.copies[1].correlation < found.copies[2].correlation < 1
    shared = {(row.first, row.second): row for row in found.shared}
    within, between, other = shared["a", "a"], shared["a", "b"], shared["b", "b"]
    assert (within.exact, within.near, within.across_splits, within.patients) == (2, 0, 2, 0)
    assert (between.exact, between.near, between.across_splits, between.patients) == (0, 2, 0, 1)
    assert (other.exact, other.near, other.patients) == (0, 0, 0)


def test_films_that_stand_for_unknown_patients_are_no_patients_in_common(
    packs: dict[str, Pack], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    films, names = pictures(8, 3), [f"{row}.png" for row in range(4)]
    for name, patients, some in (
        ("none", names, films[:4]),
        ("some", ["p3", "0.png", *names[2:]], films[4:]),  # a patient that is called as another pack's film
    ):
        splits = ["train", "train", "test", "test"]
        packs[name] = packed(
            some, tmp_path / name, patients=patients, splits=splits, size_px=96, has_unknown_patients=True
        )
    found = overlap(packs)
    shared = {(row.first, row.second): row.patients for row in found.shared}
    assert [shared[pair] for pair in (("a", "none"), ("none", "none"), ("none", "some"))] == [None, None, None]
    assert (shared["a", "some"], shared["b", "some"], shared["some", "some"], shared["a", "b"]) == (1, 1, 0, 1)
    assert found.drawn_by == {
        "a": "patient",
        "b": "patient",
        "none": "film, patients unknown",
        "some": "patient, 2 of 4 films alone, patients unknown",
    }
    data_overlap.main([str(tmp_path / "a"), str(tmp_path / "none")])
    out = capsys.readouterr().out
    assert f"{tmp_path / 'none'}: by film, patients unknown" in out
    assert f"{tmp_path / 'a'}: by" not in out
    assert out.count("unknown") == 3  # twice in the table


def test_a_pack_alone_is_compared_with_itself(packs: dict[str, Pack]) -> None:
    assert [len(group.films) for group in overlap({"b": packs["b"]}).copies] == []
    assert [group.is_exact for group in overlap(packs, min_correlation=1).copies] == [True]  # alike is not enough
    for correlation in (0, 1.1):
        with pytest.raises(UsageError, match="min_correlation"):
            overlap(packs, min_correlation=correlation)
    with pytest.raises(UsageError, match="no pack is given"):
        overlap({})


def test_even_films_are_copies_of_each_other_only_when_equal(tmp_path: Path) -> None:
    even = [np.full((4 * SIDE_PX, 4 * SIDE_PX), grey, np.uint8) for grey in (0, 200, 200)]
    for film in even:
        film[0, 0] += 1  # one grey alone would be refused; in the square there is no more of it
    pack = packed(even, tmp_path / "even", patients=list("abc"), splits=[""] * 3, size_px=96)
    assert [[film.sample_id for film in group.films] for group in overlap({"e": pack}).copies] == [["1.png", "2.png"]]


def test_low_frequencies_are_those_of_the_cosine_transform() -> None:
    side, film = 32, pictures(1, 5)[0][:32, :32]
    values = (film - film.mean()) / np.linalg.norm(film - film.mean())
    place = (2 * np.arange(side) + 1) * np.pi / (2 * side)
    slow = np.array(
        [[(values * np.outer(np.cos(u * place), np.cos(v * place))).sum() for v in range(16)] for u in range(16)]
    )
    scale = np.where(np.arange(16) == 0, np.sqrt(1 / side), np.sqrt(2 / side))
    slow *= np.outer(scale, scale)
    order = [(u, total - u) for total in range(1, 16) for u in range(total + 1)][:NUM_FREQUENCIES]
    expected = np.array([slow[u, v] for u, v in order])
    assert np.allclose(low_frequencies(film[None])[0], expected / np.linalg.norm(expected), atol=1e-5)


def test_among_many_no_copy_is_lost_and_no_stranger_found() -> None:
    films = pictures(2500, 1)
    copies = np.stack([saved_again(film) for film in films[::50]])
    frequencies = low_frequencies(np.concatenate([films, copies]))
    cosines = frequencies @ frequencies.T
    expected = np.argwhere(np.triu(cosines, 1) >= 0.97)
    assert len(expected) >= 50
    assert np.array_equal(alike(frequencies, 0.97), expected)
    small = thumbnails(np.concatenate([films[::50], copies]), 64).reshape(100, -1)
    correlation = small @ small.T
    assert np.diag(correlation, 50).min() > 0.99
    assert (np.triu(correlation, 1) > 0.99).sum() == 50


def test_a_flood_of_copies_takes_no_longer_than_a_crowd() -> None:
    random = np.random.default_rng(0)
    one = random.standard_normal(NUM_FREQUENCIES).astype(np.float32)
    flood = one + 0.01 * random.standard_normal((20_000, NUM_FREQUENCIES)).astype(np.float32)
    flood /= np.linalg.norm(flood, axis=1, keepdims=True)
    flood[:5000] = flood[0]
    began = time.process_time()
    pairs = alike(flood, 0.97)
    assert len(pairs) < 20_000 * 8 * 64
    assert time.process_time() - began < 30


def test_the_command_prints_a_table_and_writes_json(
    packs: dict[str, Pack], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    data_overlap.main([str(tmp_path / "a"), str(tmp_path / "b"), "--json", str(tmp_path / "overlap.json")])
    out = capsys.readouterr().out
    assert "1 groups of exact copies, 2 groups with near ones; written to" in out
    assert f"exact: {tmp_path / 'a'}: 0.png [train], {tmp_path / 'a'}: 9.png [test]" in out
    saved = json.loads((tmp_path / "overlap.json").read_text())
    assert saved["shared"][1]["near"] == 2
    assert saved["copies"][0]["films"][0]["patient_id"] == "p0"
    with pytest.raises(UsageError, match="given twice"):
        data_overlap.main([str(tmp_path / "a"), str(tmp_path / "a")])
