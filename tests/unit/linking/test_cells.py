"""What most cells look like is read in a shorter way, and as the longer one reads it"""

import random
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import duckdb
import pytest
from made_hospital import make_hospital, write_hospital

from pacx.linking import staging
from pacx.linking.kinds import Column, Kind
from pacx.linking.raw_tables import Cell, trimmed

TIMES = (
    "2150-01-31 10:07:59",
    "2150-12-01T00:00:00",
    "2150-02-29 23:59:60",
    " 2150-1-01 10:00:00",
    "2150-01-01  1:00:00",
    "2150-01-01 10:00:5 ",
    "2150-1-1 1:00:00+01",
    "2150-01-01 10:00:0Z",
    "2150-01-01 10:00:00.75",
    "-150-01-01 10:00:00",
)
TEN = datetime(2150, 1, 31, 10, 7, 59)
IDS = ("10000749", "10000749.0", "007", "7.5", "-3.00", " 12 ", "x1", "")
NUMBERS = ("25.4", "1e5", "inf", "nan", "-.5", " 7 ", "")


def mutated(texts: tuple[str, ...], characters: str, count: int = 20_000) -> list[str]:
    rng = random.Random(0)
    found = list(texts)
    while len(found) < count:
        text = list(rng.choice(texts))
        for _ in range(rng.randint(1, 3)):
            place = rng.randint(0, len(text))
            text[place : place + rng.randint(0, 1)] = rng.choice(["", *characters])
        found.append("".join(text))
    return found


def as_time(text: str) -> datetime | None:
    pattern = r"(\d{4})-(\d{1,2})-(\d{1,2})[ T](\d{1,2}):(\d{2})(?::(\d{2})(?:[.,]\d*)?)?"
    parts = re.fullmatch(pattern, text.strip())
    try:
        return datetime(*(int(part or 0) for part in parts.groups())) if parts else None  # type: ignore[arg-type]  # seconds are absent, never a time zone
    except ValueError:
        return None


def as_id(text: str) -> str | None:
    text = text.strip()
    whole = re.fullmatch(r"(-?(?:0|[1-9][0-9]{0,14}))\.0*", text)
    return whole[1] if whole else text or None


def as_number(text: str) -> float | None:
    try:
        return value if abs(value := float(text)) < float("inf") else None
    except ValueError:
        return None


@pytest.mark.parametrize(
    ("kind", "texts", "characters", "says"),
    [
        (Kind.TIME, TIMES, "0123456789- :TZ+.,\t\n", as_time),
        (Kind.ID, IDS, "0123456789 .-x\t", as_id),
        (Kind.NUMBER, NUMBERS, "0123456789 .-e", as_number),
    ],
)
def test_a_cell_is_read_as_its_words_say(kind: Kind, texts: tuple[str, ...], characters: str, says: object) -> None:
    column, cells = Column("c", kind), mutated(texts, characters)
    seen = staging._seen(column, Cell.of("x"))
    query = (
        f"SELECT {staging._value(column, Cell.of('x'))} FROM (SELECT {seen} FROM (SELECT unnest($1::VARCHAR[]) AS x))"
    )
    found = [value for (value,) in duckdb.execute(query, [cells]).fetchall()]
    wrong = [(cell, value) for cell, value in zip(cells, found, strict=True) if value != says(cell)]  # type: ignore[operator]  # a function, by parametrization
    assert not [each for each in wrong if not each[0].strip().startswith("0000")]  # Python knows no year 0
    assert sum(value is not None for value in found) > 500


@pytest.mark.parametrize("blanks", ["\t", "\u00a0", "\u3000 ", "\ufeff", "\u200b", "\r\n", "\u202f\t\u2060"])
@pytest.mark.parametrize(
    ("kind", "cell", "value"),
    [
        (Kind.ID, "10000749", "10000749"), (Kind.ID, "10000749.0", "10000749"), (Kind.OWNER, "p 1", "p 1"),
        (Kind.OWNER, "NA", None), (Kind.NUMBER, "25.4", 25.4), (Kind.TIME, "2150-01-31 10:07:59", TEN),
        (Kind.SPLIT, "train", "train"), (Kind.TEXT, "PA", "PA"), (Kind.ID, "", None), (Kind.NUMBER, "", None),
    ],
)  # fmt: skip
def test_blanks_of_every_kind_around_a_cell_are_none_of_it(kind: Kind, cell: str, value: object, blanks: str) -> None:
    column = Column("c", kind)
    for text in (cell, f"{blanks}{cell}", f"{cell}{blanks}", f"{blanks}{cell}{blanks}"):
        query = (
            f"SELECT {staging._value(column, Cell.of('x'))}, {trimmed('x')} "
            f"FROM (SELECT x, {staging._seen(column, Cell.of('x'))} FROM (SELECT $1::VARCHAR AS x))"
        )
        assert duckdb.execute(query, [text]).fetchone() == (value, cell), repr(text)


def test_linking_imports_no_library_of_tables_or_figures(tmp_path: Path) -> None:
    words = ["data", "link", "mimic-iv", *write_hospital(make_hospital(5), tmp_path), "--out", str(tmp_path / "links")]
    script = "import sys; from pacx.cli.main import main; main(sys.argv[1:]); print(*sys.modules)"
    called = subprocess.run([sys.executable, "-c", script, *words], check=True, capture_output=True, text=True)
    assert {"duckdb", "PIL"} <= set(called.stdout.split())
    assert not {"pandas", "pyarrow", "matplotlib", "torch"} & set(called.stdout.split())
