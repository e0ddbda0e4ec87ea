"""A table is read as it is written, or refused in a sentence; no row is shifted to fit and no cell is quoted."""

import bz2
import gzip
from pathlib import Path

import pytest

from pacx.core.errors import DataError, UsageError
from pacx.data import text_tables
from pacx.data.text_tables import open_text_table, without_blank_rows

TEXT = "a,b\n1,2\n3,4\n"
PLAIN = "file,age,note\na.png,61,x\nb.png,,y\n"
CELLS = {"file": ["a.png", "b.png"], "age": ["61", ""], "note": ["x", "y"]}


def read(path: Path, *columns: str, **how: int) -> list[list[str]]:
    return open_text_table(path, **how).all(columns or ("a", "b")).to_numpy().tolist()


def cells(path: Path) -> dict[str, list[str]]:
    return without_blank_rows(open_text_table(path).all()).to_dict(orient="list")


def written(folder: Path, content: str | bytes, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.fixture(params=[32 * 2**20, 64], ids=["whole", "in parts"])
def size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_tables, "_BYTES_AT_A_TIME", request.param)
    monkeypatch.setattr(text_tables, "_ROWS_AT_A_TIME", 1)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_whatever_divides_cells_and_lines_the_cells_are_the_same(tmp_path: Path, delimiter: str, end: str) -> None:
    rows = (("\ufeffa", " b ", '"c,;\t|"'), ("1", " 2 ", '"x,;\t|y"'), ("3", "", ""))
    text = "".join(delimiter.join(row) + end for row in rows)
    path = written(tmp_path, text)
    assert open_text_table(path).names == ("a", "b", "c,;\t|")
    assert read(path) == [["1", "2"], ["3", ""]]
    assert read(path, "c,;\t|", "a") == [["x,;\t|y", "1"], ["", "3"]]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (PLAIN, None),
        (PLAIN.replace(",", ";"), "separated by semicolons"),
        (PLAIN.replace(",", "\t"), "separated by tabs"),
        (PLAIN.replace(",", "|"), "separated by bars"),
        ("sep=;\n" + PLAIN.replace(",", ";"), "separated by semicolons"),
        ('"sep=\t"\r\n' + PLAIN.replace(",", "\t"), "separated by tabs"),
        ("sep=,\n" + PLAIN, None),
        (PLAIN.encode("utf-8-sig"), None),
        (PLAIN.encode("utf-16"), "UTF-16"),
        (gzip.compress(PLAIN.replace(",", "\t").encode("utf-16"), mtime=0), "separated by tabs"),
        (PLAIN.replace("\n", "\r\n"), None),
        (PLAIN.replace("\n", "\r"), None),
        (gzip.compress(PLAIN.encode(), mtime=0), None),
        (bz2.compress(PLAIN.encode()), None),
        (PLAIN.replace(",y\n", ",y"), None),
        (PLAIN + ",,\n , ,\n\n,,,,\n,\n", None),
        ("\n,,\n" + PLAIN, None),
        (PLAIN.replace("\n", ",\n"), None),
        (PLAIN.replace("\n", ",,,\n"), None),
        ("file,age,note\na.png,61,x,\nb.png,,y,\n", None),
        ("file,age,note\na.png,61,x,,,\nb.png,,y,,,\n", None),
        ("file,age,note,\na.png,61,x\nb.png,,y\n", None),
        ("file,age,note,,,\na.png,61,x\nb.png,,y\n", None),
        (' file , "age",note\n"a.png" ,61,x\n b.png,,y\n', None),
        ('"file" , "age" , "note"\n"a.png" , "61" , "x"\n"b.png" , "" , "y"\n', None),
        ('"",file,age,note\n"1",a.png,61,x\n"2",b.png,,y\n', None),
        ('file,age,note\n"1",a.png,61,x\n"2",b.png,,y\n', None),
        ("file,age,note\n1,a.png,61,x\n2,b.png,,y\n", None),
        ('"file"\t"age"\t"note"\n"u"\t"a.png"\t61\t"x"\n"v"\t"b.png"\t\t"y"\n', "separated by tabs"),
    ],
)
@pytest.mark.usefixtures("size")
def test_a_table_is_read_however_it_is_written(tmp_path: Path, data: str | bytes, said: str | None) -> None:
    path = written(tmp_path, data)
    assert cells(path) == CELLS
    notes = open_text_table(path).notes
    assert (said is None and not notes) or said in notes[0]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ('file, findings\na.png, "edema, ""mild"""\n', {"file": ["a.png"], "findings": ['edema, "mild"']}),
        ("Höhe, cm;EF, %\n1,5;55,2\n1,6;60\n", {"Höhe, cm": ["1,5", "1,6"], "EF, %": ["55,2", "60"]}),
        ('"two\nlines",b\n"x\r\ny",2\n', {"two\nlines": ["x\r\ny"], "b": ["2"]}),
        ('a,b\n5" tube,2\n7,"5"" tube"\n', {"a": ['5" tube', "7"], "b": ["2", '5" tube']}),
        ("only\nx\n\ny\n", {"only": ["x", "y"]}),
    ],
)
@pytest.mark.usefixtures("size")
def test_delimiters_quotes_and_lines_within_cells_stay(tmp_path: Path, data: str, expected: object) -> None:
    for encoding in ("utf-8", "utf-16"):
        assert cells(written(tmp_path, data.encode(encoding))) == expected


def test_packed_files_are_known_by_what_they_hold_and_rows_are_numbered_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_tables, "_BYTES_AT_A_TIME", 64)
    text = "a,b\n" + "".join(f"{row},{row * row}\n" for row in range(500))
    for name, content in (
        ("t.csv", text.encode()),
        ("t.csv.gz", gzip.compress(text.encode())),
        ("u.csv", gzip.compress(text.encode())),
        ("u.csv.gz", text.encode()),
        ("v.csv", text.encode("utf-16")),
    ):
        path = written(tmp_path, content, name)
        assert read(path) == [[str(row), str(row * row)] for row in range(500)]
        parts = list(open_text_table(path).chunks(("b",)))
        assert len(parts) > 10
        assert [row for part in parts for row in part.index] == list(range(500))


@pytest.mark.usefixtures("size")
def test_text_of_a_western_spreadsheet_is_read_and_said(tmp_path: Path) -> None:
    text = "id;Größe;Einheit\nMüller;1,8;µmol\nMöller;1,7;€\n"
    path = written(tmp_path, text.encode("cp1252"))
    assert cells(path) == {"id": ["Müller", "Möller"], "Größe": ["1,8", "1,7"], "Einheit": ["µmol", "€"]}
    assert "was read as Windows-1252" in open_text_table(path).notes[1]
    with pytest.raises(DataError, match="is no text in UTF-8, as line 1 shows; save it as CSV UTF-8"):
        open_text_table(path, only_utf8=True)


def test_bytes_that_only_look_like_windows_are_refused_by_line(tmp_path: Path) -> None:
    damaged = "a,b\r\nMüller,1\r\n".encode() + b"M\xfcller,2\r\n"
    for content, line in ((damaged, 3), (b"a,b\n1,\x81\n", 2), (b"a,b\n1,2\n\xc3\xbc,\xc3", 3)):
        with pytest.raises(DataError, match=f"is no text in UTF-8, as line {line} shows"):
            read(written(tmp_path, content))
    assert read(written(tmp_path, "a,b\n1,xµ\n"), num_bytes=8) == [["1", "xµ"]], "the look ends within the letter"
    with pytest.raises(DataError, match="is not in one encoding from start to end"):
        read(written(tmp_path, "a,b\n1,2\n3,µ\n".encode("cp1252")), num_bytes=8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (TEXT.encode("utf-16-le"), "holds zero bytes"),
        (b"\xff\xfe\x00nonsense", "is no text in UTF-16; save it as CSV UTF-8"),
        (b"PK\x03\x04 and so on", "is a spreadsheet or an archive; save it as CSV UTF-8"),
        (b"PAR1 and so on", "is Parquet"),
        ("", "is empty"),
        (b"\xef\xbb\xbf\n", "is empty"),
        (",\n", "is empty"),
        ("a,b\n1,2\n3\n", "has 1 fields in line 3, expected 2"),
        ("a,b\n1,2\n3,4,5\n", "has 3 fields in line 3, expected 2"),
        ("a,b\n1,4,2\n2,5,1\n", "has 3 fields in line 2, expected 2"),
        ("a,b,c\n1,2\n", "has 2 fields in line 2, expected 3"),
        ("a,b\n1,2,\n3,4,5\n", "has rows with more cells, expected 2"),
        ('a, b\n"1", "2"\n"3"\n', "has 1 fields in line 3, expected 2"),
        ('a,b\n1,"2\n3,4\n', "ends within a quoted cell"),
        ('a,b\n1,2\n3,"4', "ends within a quoted cell"),
        ('a,b\n1,2\n3,"', "ends within a quoted cell"),
        ('a,b\n1,2\n3,"4 ""x', "ends within a quoted cell"),
        ("a,b\n1,2\x00\n", "holds zero bytes"),
        ("a,a,b\n1,2,3\n", "has two columns 'a'"),
        ("a,c\n1,2\n", "has no column 'b'"),
        (gzip.compress(TEXT.encode() * 99, mtime=0)[:-9], "cannot be unpacked or read to its end"),
    ],
)
@pytest.mark.usefixtures("size")
def test_what_cannot_be_read_is_one_sentence(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(written(tmp_path, content))


@pytest.mark.parametrize("blanks", ["\t", "\u00a0", "\u2007 ", "\ufeff", "\u200b", "\u200e", "\u2060\u3000"])
def test_blanks_of_every_kind_around_names_and_cells_are_none_of_them(blanks: str, tmp_path: Path) -> None:
    rows = (("patient_id", "view"), ("P 1", "PA"), ("P2", ""))
    text = "".join(",".join(f'"{blanks}{cell}{blanks}"' for cell in row) + "\n" for row in rows)
    path = written(tmp_path, text)
    assert open_text_table(path).names == rows[0]
    assert read(path, *rows[0]) == [list(row) for row in rows[1:]]


def test_columns_of_one_name_are_refused_when_all_are_asked_for(tmp_path: Path) -> None:
    for header in ("file,e,e", "file,e, e"):
        with pytest.raises(DataError, match="has two columns 'e'"):
            open_text_table(written(tmp_path, f"{header}\na.png,1,0\n")).all()


def test_a_header_alone_is_a_table_without_rows(tmp_path: Path) -> None:
    assert read(written(tmp_path, "a,b\n")) == []
    assert read(written(tmp_path, "a,b")) == []


def test_a_table_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not there"):
        open_text_table(tmp_path / "none.csv")
    with pytest.raises(UsageError, match="is a folder"):
        open_text_table(tmp_path)
