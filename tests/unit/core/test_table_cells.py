"""Cells and ids of tables: what is not known, which number stands there, and ids of one admission that meet."""

import sys
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacx.core.errors import DataError
from pacx.core.tables.cells import BLANKS, bare, is_unknown, known
from pacx.core.tables.ids import how_they_would_meet, persons, whole_ids, whole_number_id
from pacx.core.tables.numbers import NumberCells

finite = st.floats(allow_nan=False, allow_infinity=False)
two_decimals = st.integers(-99_999_999, 99_999_999).map(lambda cents: cents / 100)


def german(number: float) -> str:
    return f"{number:,.2f}".translate(str.maketrans(",.", ".,"))


@pytest.mark.parametrize(
    "word", ["", "  ", "NA", "N/A", "n/a", "#N/A", "nan", "NaN", "None", "NULL", "null", ".", "-", "?"]
)
def test_every_word_for_not_known_is_known(word):
    assert is_unknown(word)
    assert is_unknown(f" {word}\t")
    assert known(word) == ""
    values, is_bad = NumberCells().read([word])
    assert np.isnan(values).all()
    assert not is_bad.any()


@pytest.mark.parametrize("word", ["0", "F", "Nana", "007", "no", "normal", "-1", "n", "NAN1", "none found"])
def test_what_is_known_stays_as_it_is(word):
    assert known(f" {word} ") == word


def test_every_white_space_and_what_nobody_sees_is_a_blank():
    white = "".join(chr(code) for code in range(sys.maxunicode + 1) if chr(code).isspace())
    assert set(BLANKS) == set(white) | set("\u200b\u200c\u200d\u200e\u200f\u2060\ufeff")
    for blank in BLANKS:
        assert bare(f"{blank}P 1{blank}") == "P 1"
        assert known(f"N/A{blank}") == ""
        assert whole_number_id(f"{blank}20000001.0{blank}") == "20000001"
        assert NumberCells().read([f"{blank}5.6"])[0].tolist() == [5.6]


@given(st.lists(finite, max_size=20))
def test_numbers_as_computers_write_them_are_read_to_the_bit(numbers):
    for spell in (repr, "{:.17e}".format):
        values, is_bad = NumberCells().read([spell(number) for number in numbers])
        np.testing.assert_array_equal(values, numbers)
        assert not is_bad.any()


@given(st.lists(two_decimals, min_size=1, max_size=20))
def test_one_column_is_the_same_with_decimal_commas_and_points_with_and_without_thousands(numbers):
    for spell in (german, "{:,.2f}".format, lambda number: f"{number:.2f}".replace(".", ",")):
        values, is_bad = NumberCells().read([spell(number) for number in numbers])
        np.testing.assert_allclose(values, numbers, rtol=0, atol=1e-9)
        assert not is_bad.any()


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1,250", "4,2"], [1.25, 4.2]),  # commas are decimal elsewhere
        (["1,250", "4.2"], [1250, 4.2]),  # points are
        (["1,250", "138"], [np.nan, 138]),  # nobody can say
        (["1,250", "4.2", "4,2"], [np.nan, 4.2, 4.2]),
        (["1.250", "138"], [1.25, 138]),
        (["1.250", "4,2"], [np.nan, 4.2]),
        (["1.250", "1.250,5"], [1250, 1250.5]),
        (["-1.250", "+1.250"], [-1.25, 1.25]),
        (["1,250,000", "1,250"], [1_250_000, 1250]),
        (["12 500", "12'500", "1\u00a0250,5"], [12_500, 12_500, 1250.5]),
    ],
)
def test_a_comma_is_read_as_the_table_writes_it_or_is_bad(cells, values):
    read, is_bad = NumberCells().read(cells)
    np.testing.assert_array_equal(read, values)
    np.testing.assert_array_equal(is_bad, np.isnan(values))


def test_limits_and_flags_are_the_number_with_a_note():
    cells = NumberCells()
    values, is_bad = cells.read(["<0.90", "> 600", "≤5", ">=1e3", "5.6*", "5.6 H", "4.1 (L)", "+3", "<0.90"])
    assert values.tolist() == [0.9, 600, 5, 1000, 5.6, 5.6, 4.1, 3, 0.9]
    assert not is_bad.any()
    assert cells.notes() == (
        "5 values are written as above or below a limit and count as that limit",
        "3 values carry a flag behind the number, which is passed over",
    )


@pytest.mark.parametrize(
    "text",
    ["4.2 mmol/L", "98%", "inf", "1e999", "1_000", "0x10", "HEMOLYZED", "H", "<", "1.2.3", "1,2,3", "5,", "1 2", "٣"],
)
def test_a_text_that_is_no_number_is_bad_and_never_guessed(text):
    values, is_bad = NumberCells().read([text, "4.2"])
    assert (np.isnan(values).tolist(), is_bad.tolist()) == ([True, False], [True, False])


def test_a_table_that_changes_the_meaning_of_its_commas_half_way_is_refused():
    cells = NumberCells()
    assert cells.read(["1,250", "4,2"])[0].tolist() == [1.25, 4.2]
    cells.read(["1,5", "7"])
    with pytest.raises(DataError, match="decimal commas in one part and decimal points in another"):
        cells.read(["1,250", "4.2"])


@given(st.integers(1 - 10**14, 10**15 - 1))
def test_a_whole_number_that_went_through_a_floating_point_column_is_the_same_id(number):
    assert whole_number_id(f"{float(number):.1f}") == whole_number_id(str(number)) == str(number)


@pytest.mark.parametrize(
    "text", ["007", "007.0", "1.50", "1e7", "1.0.0", "s1.0", "123456789012345678.0", "9" * 5000 + ".0"]
)
def test_ids_that_only_look_like_whole_numbers_stay_as_they_are(text):
    assert whole_number_id(text) == text


@given(st.integers(1, 9), st.text("0123456789", max_size=6), st.integers(6, 14))
def test_the_powers_that_r_writes_for_round_ids_are_exact(first, digits, power):
    text = f"{first}{'.' if digits else ''}{digits}e+{power:02d}"
    number = str(int(Decimal(text))) if len(digits) <= power else ""
    assert whole_number_id(text) == (number if len(text) < len(number) else text), "R writes the shorter one"


def test_whoever_is_not_known_is_a_person_of_its_own():
    assert persons([1, "2.0", None, float("nan"), "NA", " p1 "], ["a", "b", "c", "d", "NA", "e"]) == (
        *("1", "2", "c", "d", "NA", "p1"),
    )
    assert persons((), ["a", "b"]) == ("a", "b")
    with pytest.raises(ValueError, match="zip"):
        persons(["1"], ["a", "b"])


@pytest.mark.parametrize("ids", [["2.00E+07"], ["2E+07", "3E+07", "1"], ["2e+07", "2.1e+07", "7"], ["2,00E+07"]])
def test_rounded_ids_are_refused(ids):
    with pytest.raises(DataError, match=r"ids in labs\.csv are rounded numbers"):
        whole_ids(ids, "labs.csv")
    with pytest.raises(DataError, match="ids in the column of patients are rounded numbers"):
        persons(ids, list("abc"[: len(ids)]))


@given(st.lists(st.integers(10**6, 10**12), min_size=2, unique=True), st.sampled_from(["{:g}", "{:.3g}", "{:.2E}"]))
def test_a_column_that_went_through_a_short_format_never_passes(numbers, form):
    with pytest.raises(DataError, match="are rounded numbers"):
        whole_ids([form.format(number) for number in numbers], "labs.csv")


@pytest.mark.parametrize("ids", [[], ["1"], ["99999", "1e+05", "100001"], ["1e7", "E+1", "2.0"]])
def test_whole_ids_pass_and_so_does_a_round_one_among_them(ids):
    assert len(whole_ids(ids, "labs.csv")) == len(ids)


@pytest.mark.parametrize(
    ("theirs", "remedy"),
    [
        (["1.0", "2.0", "3.0"], "if '.0' is dropped"),
        (["0001", "0002", "0003"], "if leading zeros are dropped"),
        (["p1", "p2", "p3"], "if what stands before the number is dropped"),
        (["1.png", "2.png", "3.png"], "if the ending is dropped"),
        (["films/1.png", "films/2.png", "films/3.png"], "if folders and endings are dropped"),
    ],
)
def test_ids_that_nearly_meet_are_told_what_keeps_them_apart(theirs, remedy):
    assert how_they_would_meet(["1", "2", "3", "4"], theirs) == f"; 3 ids would meet {remedy}"
    assert how_they_would_meet(theirs, ["1", "2", "3", "4"]) == f"; 3 ids would meet {remedy}"
    assert how_they_would_meet(["1", "2", "3"], ["a", "b"]) == ""
    assert how_they_would_meet(["1", "2"], ["1", "2"]) == "", "they do meet"
