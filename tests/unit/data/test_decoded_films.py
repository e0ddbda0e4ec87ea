"""Films in, films or reasons out: in their order, the same on any number of workers, every fault of a film named."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pacx.core.artifacts import sha256_of
from pacx.data.decoded_films import DecodedFilm, Film, batched, decoded_films
from pacx.data.images.array_rows import ImageRef
from pacx.data.images.decode import MASK_IGNORE, decode_grey, decode_mask, to_square, to_square_mask

NUM_FILMS = 70
SIZE_PX = 20


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[Film]:
    root = tmp_path_factory.mktemp("films")
    rng = np.random.default_rng(0)
    for number in range(NUM_FILMS):
        Image.fromarray(rng.integers(0, 256, (24, 30), np.uint8)).save(root / f"{number}.png")
        Image.fromarray(rng.integers(0, 2, (24, 30 + number % 2), np.uint8)).save(root / f"mask-{number}.png")
    (root / "5.png").write_bytes(b"")
    (root / "mask-5.png").write_bytes((root / "mask-6.png").read_bytes()[:50])
    (root / "mask-8.png").unlink()
    masks = (ImageRef.parse(f"mask-{number}.png", root) if number % 3 else None for number in range(NUM_FILMS))
    images = (ImageRef.parse(f"{number}.png", root) for number in range(NUM_FILMS))
    return [Film(f"s{row}", image, (None, mask)) for row, (image, mask) in enumerate(zip(images, masks, strict=True))]


def plain(decoded: DecodedFilm) -> tuple:
    square = decoded.square.tobytes() if decoded.square is not None else None
    return decoded.film, square, decoded.masks.tobytes(), decoded.faults, decoded.misfits


def test_films_come_in_their_order_as_their_readers_give_them(films: list[Film]) -> None:
    several = list(decoded_films(films, size_px=SIZE_PX))
    assert [decoded.film for decoded in several] == films
    for number, decoded in enumerate(several):
        film = films[number]
        if number != 5:
            expected = to_square(decode_grey(film.image.file), SIZE_PX)
            np.testing.assert_array_equal(decoded.square, expected)
        assert decoded.masks.shape == (2, SIZE_PX, SIZE_PX)
        assert (decoded.masks[0] == MASK_IGNORE).all()
        if film.masks[1] and number not in (5, 8):
            expected = to_square_mask(decode_mask(film.masks[1].file), SIZE_PX)
            np.testing.assert_array_equal(decoded.masks[1], expected)
            assert decoded.misfits == ((film.masks[1].name,) if number % 2 else ())


def test_every_fault_of_a_film_is_named_and_stops_no_other(films: list[Film]) -> None:
    several = list(decoded_films(films, size_px=SIZE_PX))
    assert [number for number, decoded in enumerate(several) if decoded.faults] == [5, 8]
    image, mask = several[5].faults
    assert (image.sample_id, image.file, image.reason) == ("s5", "5.png", "the file is empty")
    assert (mask.file, mask.sha256) == ("mask-5.png", sha256_of(films[5].masks[1].file))
    assert several[5].square is None
    (missing,) = several[8].faults
    assert (missing.file, missing.sha256) == ("mask-8.png", "")
    assert (several[8].masks == MASK_IGNORE).all()
    assert several[8].square is not None


def test_workers_change_no_bit(films: list[Film]) -> None:
    alone = [plain(decoded) for decoded in decoded_films(films, size_px=SIZE_PX)]
    assert [plain(decoded) for decoded in decoded_films(iter(films), size_px=SIZE_PX, num_workers=2)] == alone


def test_without_a_size_only_what_is_wrong_comes_back(films: list[Film]) -> None:
    several = list(decoded_films(films, size_px=0))
    full = list(decoded_films(films, size_px=SIZE_PX))
    assert [(decoded.faults, decoded.misfits) for decoded in several] == [(each.faults, each.misfits) for each in full]
    assert all(decoded.masks.size == 0 for decoded in several)


def test_lists_of_so_many() -> None:
    assert list(batched(iter(range(5)), 2)) == [[0, 1], [2, 3], [4]]
    assert list(batched([], 2)) == []


def test_films_are_read_a_few_ahead_and_no_more(films: list[Film], tmp_path: Path) -> None:
    asked = []

    def slowly() -> object:
        for film in films:
            asked.append(film)
            yield film

    next(decoded_films(slowly(), size_px=SIZE_PX))
    assert len(asked) < NUM_FILMS
