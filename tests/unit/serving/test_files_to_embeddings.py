"""Files through an encoder: killed or not, the same bytes; bad ones named, counted, and too many of them refused."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from pacx.core.errors import DataError, UsageError
from pacx.core.preprocessing import Preprocessing
from pacx.data.decoded_films import DecodedFilm
from pacx.inference import film_files
from pacx.inference.export_folder import Precision
from pacx.inference.film_files import FilmEmbedder, OpenEmbedder, embedded_files, expanded

NUM_FILMS = 10
_SPECK = np.zeros((80, 80), np.uint8)
_SPECK[0, 0] = 1
"""With it a film is not one grey alone, and its square is none the brighter."""


class Counting:
    """Embeds a film as its mean and its batch's size, and counts the films it was asked for."""

    def __init__(self, identity: str = "a", fail_at: int = -1) -> None:
        self.asked, self._fail_at = 0, fail_at
        self.embedder = FilmEmbedder(
            open=lambda: OpenEmbedder(self, identity),
            preprocessing=Preprocessing(image_size_px=16),
            precision=Precision.FP32,
        )

    def __call__(self, squares: np.ndarray) -> np.ndarray:
        if self.asked >= self._fail_at > 0:
            raise KeyboardInterrupt
        self.asked += len(squares)
        return np.array([[square.mean(), len(squares)] for square in squares], np.float32)


@pytest.fixture
def films(tmp_path: Path) -> list[Path]:
    (tmp_path / "films").mkdir()
    paths = [tmp_path / "films" / f"{number}.png" for number in range(NUM_FILMS)]
    for number, path in enumerate(paths):
        Image.fromarray(10 * number + _SPECK).save(path)
    return paths


def _run(
    films: list[Path], counting: Counting, *, allowed: float = 0.001, batch_size: int = 4, num_workers: int = 1
) -> tuple:
    out = films[0].parents[1] / "out.npz"
    with embedded_files(
        films, out, counting.embedder, batch_size=batch_size, max_bad_fraction=allowed, num_workers=num_workers
    ) as found:
        return found


def test_rows_stand_for_their_films(films: list[Path]) -> None:
    found = _run(films, Counting())
    assert found.paths == tuple(map(str, films))
    np.testing.assert_allclose(found.embeddings[:, 0], 10 * np.arange(NUM_FILMS))
    assert found.embeddings[:, 1].tolist() == [4] * 8 + [2] * 2
    assert found.bad == ()
    assert not list(films[0].parents[1].glob(".partial-*")), "nothing is left when the work is done"


def test_workers_change_no_bit_and_no_order(films: list[Path]) -> None:
    films[3].write_bytes(films[3].read_bytes()[:60])
    many = films * 8  # more than one worker is given at a time
    alone = _run(many, Counting(), allowed=0.2, batch_size=7)
    assert len(alone.bad) == 8
    with pytest.raises(KeyboardInterrupt):
        _run(many, Counting(fail_at=50), allowed=0.2, batch_size=7, num_workers=2)
    shared = _run(many, Counting(), allowed=0.2, batch_size=7, num_workers=2)
    assert (shared.paths, shared.bad) == (alone.paths, alone.bad)
    np.testing.assert_array_equal(shared.embeddings, alone.embeddings)


def test_work_that_was_interrupted_goes_on(films: list[Path]) -> None:
    with pytest.raises(KeyboardInterrupt):
        _run(films, Counting(fail_at=8))
    second = Counting()
    found = _run(films, second)
    assert second.asked == 2, "eight films were embedded before"
    np.testing.assert_array_equal(found.embeddings, _run(films, Counting()).embeddings)


@pytest.mark.parametrize("change", ["encoder", "films", "batch", "touched"])
def test_work_of_another_encoder_or_of_other_films_is_not_taken_over(films: list[Path], change: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        _run(films, Counting(fail_at=8))
    if change == "touched":
        Image.fromarray(np.vstack([_SPECK, _SPECK])).save(films[0])
    second = Counting(identity="b" if change == "encoder" else "a")
    chosen = films[::-1] if change == "films" else films
    found = _run(chosen, second, batch_size=5 if change == "batch" else 4)
    assert second.asked == NUM_FILMS
    assert found.paths == tuple(map(str, chosen))


def test_a_bad_file_is_named_and_left_out_when_that_is_allowed(films: list[Path]) -> None:
    films[3].write_bytes(films[3].read_bytes()[:60])
    with pytest.raises(DataError, match=r"1 of 10 films cannot be used, more than the 0.10% allowed: .*3\.png"):
        _run(films, Counting())
    second = Counting()
    found = _run(films, second, allowed=0.1)
    assert second.asked == 0, "what was embedded before the refusal is kept"
    assert [Path(path).stem for path in found.paths] == list("012456789")
    np.testing.assert_allclose(found.embeddings[:, 0], [0, 10, 20, 40, 50, 60, 70, 80, 90])
    (bad,) = found.bad
    assert bad.file == str(films[3])
    assert "damaged" in bad.reason
    assert len(bad.sha256) == 64


def test_a_chunk_without_a_single_film_is_no_end(films: list[Path]) -> None:
    for path in films[:4]:
        path.write_bytes(b"")
    assert len(_run(films, Counting(), allowed=0.5).paths) == 6
    for path in films:
        path.write_bytes(b"")
    with pytest.raises(DataError, match="none of 10 films"):
        _run(films, Counting(), allowed=1.0)


def test_two_processes_do_not_make_the_same_file(films: list[Path]) -> None:
    out = films[0].parents[1] / "out.npz"
    with (
        embedded_files(films, out, Counting().embedder, batch_size=4, max_bad_fraction=0),
        pytest.raises(UsageError, match="another process"),
    ):
        _run(films, Counting())


@pytest.mark.parametrize("num_workers", [1, 2])
def test_films_are_decoded_while_the_encoder_is_opened(
    films: list[Path], monkeypatch: pytest.MonkeyPatch, num_workers: int
) -> None:
    has_begun = threading.Event()
    decoding = film_files.decoded_films

    def seen(*given: object, **options: object) -> Iterator[DecodedFilm]:
        for film in decoding(*given, **options):
            has_begun.set()
            yield film

    monkeypatch.setattr(film_files, "decoded_films", seen)
    counting = Counting()

    def open_late() -> OpenEmbedder:
        assert has_begun.wait(60), "nothing was decoded before the encoder was there"
        return counting.embedder.open()

    late = replace(counting.embedder, open=open_late)
    out = films[0].parents[1] / "late.npz"
    with embedded_files(films * 7, out, late, batch_size=4, max_bad_fraction=0, num_workers=num_workers) as found:
        assert found.paths == tuple(map(str, films * 7))


def test_an_encoder_that_cannot_be_opened_leaves_no_process(films: list[Path]) -> None:
    def refuse() -> OpenEmbedder:
        raise UsageError("no such device")

    refused = replace(Counting().embedder, open=refuse)
    out = films[0].parents[1] / "out.npz"
    with (
        pytest.raises(UsageError, match="no such device"),
        embedded_files(films * 20, out, refused, batch_size=4, max_bad_fraction=0, num_workers=2),
    ):
        pass
    assert not [each for each in psutil.Process().children() if "spawn_main" in " ".join(each.cmdline())]


def test_files_folders_and_patterns(films: list[Path]) -> None:
    folder = films[0].parent
    (folder / "deep").mkdir()
    (folder / "deep" / "x.dcm").write_bytes(b"")
    (folder / "notes.txt").write_text("no film")
    assert expanded([folder]).files == [*films, folder / "deep" / "x.dcm"]
    assert expanded([folder]).notes == [f"passed over in {folder}: 1 of other kinds (such as 'notes.txt')"]
    both = expanded([folder / "[12].png", folder / "**" / "*.dcm"])
    assert both == ([*films[1:3], folder / "deep" / "x.dcm"], [])
    assert expanded([films[1], folder]).files == [films[1], films[0], *films[2:], folder / "deep" / "x.dcm"]
    with pytest.raises(UsageError, match="does not exist"):
        expanded([folder / "*.tif"])
    with pytest.raises(UsageError, match="does not exist"):
        expanded([folder / "none.png"])
    (folder / "empty").mkdir()
    with pytest.raises(UsageError, match="nothing to embed"):
        expanded([folder / "empty"])
    (folder / "empty" / "._a.png").write_bytes(b"")
    with pytest.raises(UsageError, match=r"nothing to embed.*1 hidden \(such as '\._a\.png'\)"):
        expanded([folder / "empty"])


def test_a_link_that_leads_nowhere_is_a_bad_file(films: list[Path]) -> None:
    films[3].unlink()
    films[3].symlink_to("nowhere")
    (bad,) = _run(expanded([films[0].parent]).files, Counting(), allowed=0.1).bad
    assert "cannot be opened" in bad.reason


def test_what_is_kept_is_of_json_and_arrays(films: list[Path]) -> None:
    with pytest.raises(KeyboardInterrupt):
        _run(films, Counting(fail_at=8))
    (work,) = films[0].parents[1].glob(".partial-*")
    assert sorted(path.name for path in work.iterdir()) == ["000000000.npz", "000000004.npz", "work.json"]
    assert json.loads((work / "work.json").read_text())["batch_size"] == 4
