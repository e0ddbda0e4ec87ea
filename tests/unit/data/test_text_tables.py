"""Any maker's csv as text: what can be read comes out cell by cell, and what cannot is one sentence."""

import gzip
from pathlib import Path

import pytest

from pacx.core.errors import DataError
from pacx.data import text_tables
from pacx.data.text_tables import open_text_table, without_blank_rows

TEXT = "a,b\n1,2\n3,4\n"


def read(path: Path, *columns: str) -> list[list[str]]:
    return open_text_table(path).all(columns or ("a", "b")).to_numpy().tolist()


def written(folder: Path, content: str | bytes, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_whatever_divides_cells_and_lines_the_cells_are_the_same(tmp_path: Path, delimiter: str, end: str) -> None:
    rows = (("\ufeffa", " b ", '"c,;\t"'), ("1", " 2 ", '"x,;\ty"'), ("3", "", ""))
    text = "".join(delimiter.join(row) + end for row in rows)
    path = written(tmp_path, text)
    assert open_text_table(path).names == ("a", "b", "c,;")
    assert read(path) == [["1", "2"], ["3", ""]]
    assert read(path, "c,;", "a") == [["x,;\ty", "1"], ["", "3"]]


def test_packed_files_are_known_by_what_they_hold_and_rows_are_numbered_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_tables, "_BYTES_AT_A_TIME", 64)
    text = "a,b\n" + "".join(f"{row},{row * row}\n" for row in range(500))
    for name, content in (
        ("t.csv", text.encode()),
        ("t.csv.gz", gzip.compress(text.encode())),
        ("u.csv", gzip.compress(text.encode())),
    ):
        path = written(tmp_path, content, name)
        assert read(path) == [[str(row), str(row * row)] for row in range(500)]
        parts = list(open_text_table(path).chunks(("b",)))
        assert len(parts) > 10
        assert [row for part in parts for row in part.index] == list(range(500))


def test_rows_of_delimiters_alone_are_no_rows(tmp_path: Path) -> None:
    path = written(tmp_path, "a,b\n1,2\n,\n \n,,,,\n\n3,\n")
    assert without_blank_rows(open_text_table(path).all(("a", "b"))).to_numpy().tolist() == [["1", "2"], ["3", ""]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (TEXT.encode("utf-16"), "is written in UTF-16; save it as a csv in UTF-8"),
        (TEXT.encode("utf-16-le"), "holds zero bytes"),
        ("a,b\n1,µ\n".encode("cp1252"), r"is no text in UTF-8 \(Windows-1252 perhaps\)"),
        ("a,b,µ\n1,2,3\n".encode("cp1252"), r"is no text in UTF-8 \(Windows-1252 perhaps\)"),
        (b"PK\x03\x04 and so on", "is a spreadsheet or an archive"),
        (b"PAR1 and so on", "is a Parquet file"),
        ("a,b\n1,2\n3\n", "has 1 fields in line 3, expected 2"),
        ("a,b\n1,2\n3,4,5\n", "has 3 fields in line 3, expected 2"),
        ('a,b\n1,"2\n3,4\n', "ends within a quoted cell"),
        ("a,b\n1,2\x00\n", "holds zero bytes, so it is damaged"),
        ("a,a,b\n1,2,3\n", "has two columns 'a'"),
        ("a,c\n1,2\n", "has no column 'b'"),
        (gzip.compress(TEXT.encode() * 99)[:-9], "cannot be unpacked or read to its end"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(written(tmp_path, content))


def test_a_header_alone_is_a_table_without_rows(tmp_path: Path) -> None:
    assert read(written(tmp_path, "a,b\n")) == []
