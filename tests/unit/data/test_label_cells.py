"""Labels and findings: a cell means present, absent or unknown, and a word for "nothing" becomes no disease."""

import math

import pytest

from pacx.core.errors import DataError, UsageError
from pacx.data.own_films.label_cells import findings_of, label_value, label_values, one_hot


@pytest.mark.parametrize(
    ("cells", "value"),
    [
        (("1", "1.0", "1,0", "01", "yes", "Y", "TRUE", "Positive", "present", " 1 "), 1.0),
        (("0", "0.0", "0,0", "no", "False", "NEGATIVE", "absent"), 0.0),
        (("", "NA", "nan", "None", "-1", "-1.0", "uncertain", "."), math.nan),
        (("2", "0.5", "10", "mild", "1/0", "-2"), None),
    ],
)
def test_a_cell_of_a_label_means_one_thing(cells: tuple[str, ...], value: float | None) -> None:
    for cell in cells:
        found = label_value(cell)
        assert found == value or (value is not None and found is not None and math.isnan(value) and math.isnan(found))


def test_minus_one_without_a_zero_or_a_blank_is_told() -> None:
    values, notes = label_values("Edema", ["1", "-1"], "t.csv")
    assert values[0] == 1.0
    assert math.isnan(values[1])
    assert notes == ("label 'Edema' holds -1 and no 0: -1 counts as unknown; write 0 if it means absent.",)
    assert label_values("Edema", ["1", "-1", "0"], "t.csv")[1] == ()
    assert label_values("Edema", ["1", "-1", ""], "t.csv")[1] == ()


def read(*cells: str, separator: str = "|", negative: str | None = None) -> dict[str, list[float]]:
    found, names, _ = findings_of("found", cells, "t.csv", separator=separator, negative=negative)
    return one_hot(found, names)


def same(found: dict[str, list[float]], expected: dict[str, list[float]]) -> bool:
    return repr(found) == repr(expected)


UNKNOWN = math.nan


def test_lists_in_cells_are_lists_whatever_the_separator() -> None:
    cells = (
        "['normal']",
        "['mass', 'edema']",
        '["edema"]',
        "[]",
        "['']",
        "",
        "['edema ', 'edema']",
        "['nodule, left']",
    )
    for separator in (",", "|", ";"):
        assert same(
            read(*cells, separator=separator, negative="normal"),
            {
                "edema": [0.0, 1.0, 1.0, UNKNOWN, UNKNOWN, UNKNOWN, 1.0, 0.0],
                "mass": [0.0, 1.0, 0.0, UNKNOWN, UNKNOWN, UNKNOWN, 0.0, 0.0],
                "nodule, left": [0.0, 0.0, 0.0, UNKNOWN, UNKNOWN, UNKNOWN, 0.0, 1.0],
            },
        )


@pytest.mark.parametrize(
    "cell", ["['mass' 'edema']", "[mass, edema]", "['mass', ", "[1, 2]", "{'mass': 0}", "['mass'] x"]
)
def test_a_list_that_cannot_be_read_is_refused(cell: str) -> None:
    with pytest.raises(DataError, match=r"1 cells of column 'found' .* begin a list"):
        read("Edema", cell)


@pytest.mark.parametrize("spelling", ["No finding", "NO FINDING", "no_finding", "No-Finding", "NoFinding"])
def test_no_finding_in_another_spelling_is_no_label(spelling: str) -> None:
    assert same(read("Edema", spelling, " "), {"Edema": [1.0, 0.0, UNKNOWN]})
    assert f"'{spelling}' counts as 'No Finding'" in findings_of(
        "f", ["Edema", spelling], "t", separator="|", negative=None
    )[2][0]  # fmt: skip


@pytest.mark.parametrize("word", ["Normal", "healthy", "No findings", "Unremarkable", "negative"])
def test_another_word_for_nothing_is_asked_about(word: str) -> None:
    with pytest.raises(UsageError, match=f"holds no 'No Finding' but '{word}'; say with negative_value"):
        read("Edema", word)
    assert same(read("Edema", word, negative=word), {"Edema": [1.0, 0.0]})
    assert "Edema" in read("Edema", word, negative="")  # somebody who wants it as a label says so
    assert word in read("Edema", word, negative="")


def test_a_negative_finding_that_no_film_has_is_told() -> None:
    assert "no film has the finding 'nromal'" in findings_of("f", ["a"], "t", separator="|", negative="nromal")[2][0]


def test_findings_joined_by_another_sign_are_no_labels() -> None:
    for sign in (";", ",", " , ", "; "):
        with pytest.raises(UsageError, match="joins findings by"):
            read("Edema", "Mass", f"Edema{sign}Mass")
    assert list(read("Edema", "Edema; Mass", separator="; ")) == ["Edema", "Mass"]
    assert list(read("Edema", "Opacity, left lung")) == ["Edema", "Opacity, left lung"]


def test_a_finding_in_two_spellings_is_refused() -> None:
    with pytest.raises(DataError, match="differ in nothing but spelling: 'Edema', 'edema'"):
        read("Edema", "edema|Mass")


def test_words_for_unknown_in_a_column_of_findings_are_told() -> None:
    found, _, notes = findings_of("f", ["Edema", "None", "NA", ""], "t", separator="|", negative=None)
    assert found == [["Edema"], None, None, None]
    assert notes == ("2 cells of column 'f' say None, NA or the like, and count as unknown.",)
