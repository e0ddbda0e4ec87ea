"""Nobody is trained on and tested, or trained on and held out without a word."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pacx.core.errors import DataError
from pacx.core.preprocessing import Preprocessing
from pacx.data.packs.pack import Pack
from pacx.data.packs.packing import pack_records
from pacx.data.packs.splitting import with_splits
from pacx.data.records import Records
from pacx.data.splits import assign_splits
from pacx.recipes.rows import train_and_held_out


def pack_of(root: Path, films: list[tuple[str, str]]) -> Pack:
    """A pack of blank films, one per patient and split given."""
    Image.fromarray(np.eye(16, dtype=np.uint8)).save(root / "film.png")
    table = pd.DataFrame(films, columns=["patient_id", "split"])
    table["sample_id"] = [f"s{row}" for row in range(len(films))]
    table["image_path"] = "film.png"
    table[["study_id", "view"]] = ""
    records = with_splits(Records(table, (), (), root), 0)
    return pack_records(records, root / "pack", preprocessing=Preprocessing(image_size_px=16), num_workers=1)


def patients(pack: Pack, rows: np.ndarray) -> set[str]:
    return set(pack.patient_ids[rows])


def test_films_that_are_not_marked_beside_test_films_of_the_same_patients_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever marks one test film of a patient has not marked the patient's other films."""
    films = [(f"p{number}", "") for number in range(20)] + [(f"p{number}", "test") for number in range(8)]
    pack = pack_of(tmp_path, films)
    assert pack.manifest.notes == (
        "8 patients have films in the test split and others in none; those are never trained on",
    )
    fitting, held_out = train_and_held_out(pack, 0)
    assert sorted([*fitting, *held_out]) == list(range(8, 20))
    assert not patients(pack, fitting) & patients(pack, held_out)
    assert "8 films are not trained on, their patients are in the test split" in capsys.readouterr().err


def test_test_patients_whom_the_makers_divide_are_neither_trained_on_nor_held_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    films = [("a", "train"), ("a", "test"), ("b", "train"), ("c", "val"), ("d", "val"), ("d", "test")]
    pack = pack_of(tmp_path, films)
    fitting, held_out = train_and_held_out(pack, 0)
    assert fitting.tolist() == [2]
    assert held_out.tolist() == [3]
    assert "2 films are not trained on" in capsys.readouterr().err


def test_where_every_patient_is_tested_on_nothing_is_left_to_learn_from(tmp_path: Path) -> None:
    pack = pack_of(tmp_path, [("a", ""), ("b", ""), ("a", "test"), ("b", "test")])
    with pytest.raises(DataError, match=r"0 training and 0 validation films.*patients that are not in the test split"):
        train_and_held_out(pack, 0)


def test_patients_on_both_sides_of_train_and_val_are_counted_and_stay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack = pack_of(tmp_path, [("a", "train"), ("a", "val"), ("b", "train"), ("b", "val"), ("c", "train")])
    fitting, held_out = train_and_held_out(pack, 0)
    assert (fitting.tolist(), held_out.tolist()) == ([0, 2, 4], [1, 3])
    assert "its splits divide 2 patients between train and val" in capsys.readouterr().err


@pytest.mark.parametrize("marked", [("train", "val", "test", ""), ("train", "val", ""), ("test", ""), ("",)])
def test_whole_patients_get_the_rows_their_splits_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], marked: tuple[str, ...]
) -> None:
    pack = pack_of(tmp_path, [(f"p{number // 2}", marked[number // 2 % len(marked)]) for number in range(80)])
    fitting, held_out = train_and_held_out(pack, 3)
    if "val" in set(pack.table["split"]):
        expected = pack.rows("train"), pack.rows("val")
    else:
        usable = np.flatnonzero(pack.table["split"] != "test")
        drawn = assign_splits(pack.table.iloc[usable], (), fractions=(0.95, 0.05, 0.0), seed=3).to_numpy()
        expected = usable[drawn == "train"], usable[drawn == "val"]
    np.testing.assert_array_equal(fitting, expected[0])
    np.testing.assert_array_equal(held_out, expected[1])
    assert capsys.readouterr().err == ""
