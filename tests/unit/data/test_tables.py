"""Reading the makers' csv files: columns by name, shape as law, nothing coerced."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pacx.core.errors import DataError
from pacx.data.dataset import DatasetCard, Task
from pacx.data.tables import SourceTable, read_table

CARD = DatasetCard(
    name="some", title="", task=Task.ANY, licence="", access="", citation="", layout=("t.csv", "films/NAME.png")
)


def table(folder: Path, text: str | bytes, *columns: str, optional: tuple[str, ...] = ()) -> SourceTable:
    path = folder / "t.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_table(path, columns or ("a", "b"), card=CARD, optional=optional)


def test_columns_are_found_by_name_and_only_those_asked_for_are_kept(tmp_path: Path) -> None:
    read = table(tmp_path, "c,b,a\n1, 2 ,3\n,,x\n", "a", optional=("b", "d"))
    assert read.columns.to_dict("list") == {"a": ["3", "x"], "b": ["2", ""]}
    assert "b" in read
    assert "d" not in read
    assert len(read) == 2


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1,2\n",
        "a,b,\n1,2,\n",
        "a,b\n1,2,\n",
        "a,b,\n1,2\n",
        "\ufeffa,b\r\n1,2\r\n",
        '"a"," b"\n"1",2',
        "a,b\n1,2\n\n",
    ],
)
def test_commas_at_the_end_marks_and_line_ends_change_nothing(tmp_path: Path, text: str) -> None:
    assert table(tmp_path, text).columns.to_dict("list") == {"a": ["1"], "b": ["2"]}


def test_text_with_line_ends_in_it_and_gzip(tmp_path: Path) -> None:
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b'a,b\n"two\nlines",2\n'))
    assert read_table(path, ("a", "b"), card=CARD).text("a").tolist() == ["two\nlines"]


def test_numbers_codes_and_patterns(tmp_path: Path) -> None:
    read = table(tmp_path, "a,b\n1.5,y\n,n\n-3e2,\n")
    np.testing.assert_array_equal(read.numbers("a"), [1.5, np.nan, -300])
    np.testing.assert_array_equal(read.coded("b", {"y": 1.0, "n": 0.0, "": np.nan}), [1, 0, np.nan])
    assert read.matching("b", "([yn]?)", "y or n")[0].tolist() == ["y", "n", ""]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,c\n1,2\n", r"t\.csv lacks column 'b'; it has a, c$"),
        ("a,a,b\n1,1,2\n", "has two columns 'a'"),
        ("a,b\n1,2\n1\n", "1 fields in line 3, expected 2"),
        ("a,b\n1,2,3\n", "3 fields in line 2, expected 2"),
        ("a,b\n", "has no row"),
        ("", "is empty"),
        ("a,b\n1,\xfc\n".encode("latin-1"), "UTF-8"),
        ("\xfc,a,b\n1,1,1\n".encode("latin-1"), "UTF-8"),
        (b"\x1f\x8b\x00\x00", "UTF-8"),
        ('a,b\n"1,2\n3,4\n', "1 fields in line 2"),
    ],
)
def test_what_is_no_such_table_is_refused(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        table(tmp_path, text)


def test_wrong_cells_are_named_by_line(tmp_path: Path) -> None:
    read = table(tmp_path, "a,b\n1,y\n2,maybe\ninf,no\n")
    with pytest.raises(
        DataError, match=r"column 'b' of .*t\.csv holds 'maybe' in line 3 \(2 rows .* expected y / blank"
    ):
        read.coded("b", {"y": 1.0, "": 0.0})
    with pytest.raises(DataError, match=r"holds 'inf' in line 4 .*expected a number or blank"):
        read.numbers("a")
    with pytest.raises(DataError, match="expected a digit"):
        read.matching("b", r"(\d)", "a digit")
    with pytest.raises(DataError, match=r"holds 'x{30}\.\.\.'"):
        SourceTable(tmp_path, pd.DataFrame({"a": ["x" * 99]})).numbers("a")


def test_a_missing_file_says_how_the_tree_should_look(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no\.csv is missing; the root of some is expected to hold t\.csv; films/NAME"):
        read_table(tmp_path / "no.csv", ("a",), card=CARD)
