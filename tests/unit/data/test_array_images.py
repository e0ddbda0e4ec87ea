"""Rows of an array file as films: exact, and refused by name when they are not what they should be."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pacx.core.errors import UsageError
from pacx.core.preprocessing import Preprocessing
from pacx.data.images.array_rows import ImageRef
from pacx.data.images.decode import UnreadableImage, decode_grey
from pacx.data.packs.packing import pack_records
from pacx.data.records import Records

GREY = np.random.default_rng(0).integers(0, 256, (4, 20, 24), dtype=np.uint8)


def normalised(grey: np.ndarray) -> np.ndarray:
    return Preprocessing().normalize(grey)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    np.save(tmp_path / "cxr.npy", normalised(GREY))
    return tmp_path / "cxr.npy"


def test_every_grey_value_comes_back(tmp_path: Path) -> None:
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    np.save(tmp_path / "all.npy", normalised(every))
    assert np.array_equal(decode_grey(tmp_path / "all.npy#0"), every[0])


def test_a_row_is_the_row(file: Path) -> None:
    for row, grey in enumerate(GREY):
        assert np.array_equal(decode_grey(file.with_name(f"cxr.npy#{row}")), grey)


def test_a_name_is_a_row_only_behind_an_array_file(file: Path, tmp_path: Path) -> None:
    assert ImageRef.parse("cxr.npy#12", tmp_path) == ImageRef("cxr.npy#12", file, 12)
    for name in ("a/film#3.png", "cxr.npy", "cxr.npy#x"):
        assert ImageRef.parse(name, tmp_path) == ImageRef(name, tmp_path / name, None)
    assert ImageRef.parse(file, Path("elsewhere")) == ImageRef(str(file), file, None)


def test_what_is_not_there_has_neither_stamp_nor_hash(file: Path) -> None:
    row, missing = ImageRef.parse(f"{file}#1"), ImageRef.parse(f"{file}x")
    assert row.is_there()
    assert row.stamp() == ImageRef.parse(file).stamp() != "none"
    for gone in (missing, ImageRef.parse("x" * 5000)):
        assert not gone.is_there()
        assert (gone.stamp(), gone.sha256()) == ("none", "")
    assert ImageRef.parse(f"{file}#99").sha256() == ""


def normalised_grey(unit: float) -> np.ndarray:
    """One grey as the three channels have it, (3, 1, 1)."""
    contract = Preprocessing()
    return ((unit - np.array(contract.mean)) / np.array(contract.std))[:, None, None]


def changed(change: Callable[[np.ndarray], object]) -> np.ndarray:
    values = normalised(GREY)
    result = change(values)
    return values if result is None else result


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("row 3 of the array holds NaN", lambda values: values.__setitem__((3, 1, 5, 5), np.nan)),
        ("row 3 of the array has unequal channels", lambda values: values.__setitem__((3, 2, 5, 5), 0.1)),
        ("row 3 of the array is no film normalised", lambda values: values.__setitem__(3, normalised_grey(9.0))),
        (r"does not hold float32 films of shape \(N, 3, H, W\)", lambda values: values.astype(np.float64)),
        (r"does not hold float32 films of shape \(N, 3, H, W\)", lambda values: values[:, 0]),
        ("has 3 rows, so no row 3", lambda values: values[:3]),
        ("expected at least 16 x 16", lambda values: values[..., :9]),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, reason: str, change: Callable[[np.ndarray], object]) -> None:
    values = changed(change)
    np.save(tmp_path / "cxr.npy", values)
    with pytest.raises(UnreadableImage, match=reason):
        decode_grey(tmp_path / "cxr.npy#3")


def test_damaged_and_missing_array_files_are_named(file: Path) -> None:
    with pytest.raises(UnreadableImage, match=r"cannot be opened \(No such file"):
        decode_grey(file.with_name("other.npy#0"))
    whole = file.read_bytes()
    for damaged in (whole[:-5], whole[:40], b"", whole[:6] + b"\x09" + whole[7:], whole[:20] + b"((((" + whole[24:]):
        file.write_bytes(damaged)
        with pytest.raises(UnreadableImage, match=r"the array file (is damaged|does not|cannot)"):
            decode_grey(file.with_name("cxr.npy#0"))


def test_rows_pack_beside_files_and_bad_ones_are_quarantined(file: Path, tmp_path: Path) -> None:
    np.save(file, changed(lambda values: values.__setitem__((2, 0, 0, 0), np.inf)))
    paths = [f"cxr.npy#{row}" for row in range(5)]
    table = pd.DataFrame({"sample_id": list("abcde"), "image_path": paths, "patient_id": list("abcde")})
    table[["study_id", "view", "split"]] = ""
    records = Records(table, (), (), tmp_path)
    pack = pack_records(records, tmp_path / "pack", preprocessing=Preprocessing(image_size_px=20), max_bad_fraction=0.5)
    assert [(bad.sample_id, bad.file) for bad in pack.quarantined] == [("c", "cxr.npy#2"), ("e", "cxr.npy#4")]
    assert pack.quarantined[0].sha256 == ImageRef.parse(file.with_name("cxr.npy#2")).sha256()
    assert pack.quarantined[0].sha256 != ImageRef.parse("cxr.npy#1", tmp_path).sha256()
    assert pack.quarantined[1].sha256 == ""
    np.save(file, normalised(GREY[::-1]))
    with pytest.raises(UsageError, match="made from other files"):
        pack_records(records, tmp_path / "pack", preprocessing=Preprocessing(image_size_px=20), max_bad_fraction=0.5)


def test_the_header_of_an_array_costs_no_film(tmp_path: Path) -> None:
    """Floats of either byte order, and the header that Python 2 wrote, of which numpy warns."""
    np.save(tmp_path / "big.npy", normalised(GREY).astype(">f4"))
    whole = (tmp_path / "big.npy").read_bytes()
    length = int.from_bytes(whole[8:10], "little")
    old = whole[10 : 10 + length].replace(b"(4,", b"(4L,").rstrip(b"\n ").ljust(length - 1) + b"\n"
    (tmp_path / "old.npy").write_bytes(whole[:10] + old + whole[10 + length :])
    for name in ("big", "old"):
        assert np.array_equal(decode_grey(tmp_path / f"{name}.npy#2"), GREY[2])


def test_what_is_no_array_of_films_is_not_called_damaged(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([{"film": 1}], dtype=object))
    with pytest.raises(UnreadableImage, match="does not hold float32 films"):
        decode_grey(tmp_path / "objects.npy#0")
    with (tmp_path / "archive.npy").open("wb") as file:
        np.savez(file, films=normalised(GREY))
    with pytest.raises(UnreadableImage, match="is an archive"):
        decode_grey(tmp_path / "archive.npy#0")


def test_a_row_of_one_grey_is_no_film(tmp_path: Path) -> None:
    np.save(tmp_path / "cxr.npy", normalised(np.full((1, 20, 20), 7, np.uint8)))
    with pytest.raises(UnreadableImage, match="one grey only"):
        decode_grey(tmp_path / "cxr.npy#0")
