"""A table is read as it is written, or refused in a sentence; no row is shifted to fit and no cell is quoted."""

import gzip
from pathlib import Path

import pytest

from pacx.core.errors import DataError, UsageError
from pacx.data.own_films.text_table import read_text_table

PLAIN = "file,age,note\na.png,61,x\nb.png,,y\n"
CELLS = {"file": ["a.png", "b.png"], "age": ["61", ""], "note": ["x", "y"]}


def cells(path: Path, data: str | bytes) -> dict[str, list[str]]:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return read_text_table(path).cells.to_dict(orient="list")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (PLAIN, None),
        (PLAIN.replace(",", ";"), "separated by semicolons"),
        (PLAIN.replace(",", "\t"), "separated by tabs"),
        (PLAIN.replace(",", "|"), "separated by bars"),
        ("sep=;\n" + PLAIN.replace(",", ";"), "separated by semicolons"),
        (PLAIN.encode("utf-8-sig"), None),
        (PLAIN.encode("utf-16"), "UTF-16"),
        (PLAIN.replace("\n", "\r\n"), None),
        (PLAIN.replace("\n", "\r"), None),
        (gzip.compress(PLAIN.encode()), None),
        (PLAIN.replace(",y\n", ",y"), None),
        (PLAIN + ",,\n , ,\n\n", "2 blank rows"),
        (PLAIN.replace("\n", ",\n"), None),
        ("file,age,note\na.png,61,x,\nb.png,,y,\n", None),
        ("file,age,note,\na.png,61,x\nb.png,,y\n", None),
        (' file , "age",note\n"a.png" ,61,x\n b.png,,y\n'.replace('"a.png" ', "a.png"), None),
    ],
)
def test_a_table_is_read_however_it_is_written(tmp_path: Path, data: str | bytes, said: str | None) -> None:
    assert cells(tmp_path / "t.csv", data) == CELLS
    notes = read_text_table(tmp_path / "t.csv").notes
    assert (said is None and not notes) or said in notes[0]


def test_names_of_rows_as_r_writes_them_shift_no_column(tmp_path: Path) -> None:
    assert cells(tmp_path / "t.csv", 'file,age\n"1",a.png,61\n"2",b.png,62\n')["file"] == ["a.png", "b.png"]
    assert cells(tmp_path / "t.csv", '"",file,age\n"1",a.png,61\n')["age"] == ["61"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("file,age\na.png,61\nb.png\n", "1 rows of .* another number of cells than the header's 2, the first is row 2"),
        ("file,age\na.png,61,5\nb.png,62\n", "1 rows of .* the first is row 1"),
        ("file,e,e\na.png,1,0\n", "more than one column 'e'"),
        ("file,e, e\na.png,1,0\n", "more than one column 'e'"),
        ("file\n", "has no row"),
        ("file,age\n,\n", "has no row"),
        ("", "cannot be read as a comma-separated table"),
        ('file\n"a.png\n', "cannot be read as a comma-separated table"),
        ("file,who\na.png,Müller\n".encode("cp1252"), "save it as CSV UTF-8"),
        (PLAIN.encode("utf-16-le"), "save it as CSV UTF-8"),
        (b"PK\x03\x04rest of a workbook", "is a workbook or an archive"),
        (gzip.compress(PLAIN.encode())[:-9], "cannot be read: EOFError"),
    ],
)
def test_what_is_no_whole_table_is_refused_in_a_sentence(tmp_path: Path, data: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        cells(tmp_path / "t.csv", data)
    assert "ller" not in str(caught.value)


def test_a_table_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not there"):
        read_text_table(tmp_path / "none.csv")
