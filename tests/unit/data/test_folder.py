"""Reading folders the way people have them lying about."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pacx.core.errors import DataError, UsageError
from pacx.data.datasets.folder import DATASET, FolderOptions
from pacx.data.records import Records


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Four films; reading never looks inside them."""
    root = tmp_path / "films"
    root.mkdir()
    for name in ("a.png", "b.jpg", "c.PNG", "d.tiff"):
        Image.new("L", (20, 20)).save(root / name)
    return root


def read(root: Path, table: str | None = None, **options: object) -> Records:
    if table is not None:
        (root / "index.csv").write_text(table)
    return DATASET.read(root, FolderOptions(**options))


def column(records: Records, name: str) -> list[object]:
    return records.table[name].tolist()


def same(values: list[object], expected: list[float]) -> bool:
    return np.array_equal(np.array(values, float), np.array(expected), equal_nan=True)


def test_without_a_table_every_image_is_a_film_and_a_patient(films: Path) -> None:
    (films / "notes.txt").write_text("no film")
    (films / ".hidden").mkdir()
    Image.new("L", (20, 20)).save(films / ".hidden" / "x.png")
    records = read(films)
    assert column(records, "image_path") == ["a.png", "b.jpg", "c.PNG", "d.tiff"]
    assert column(records, "patient_id") == column(records, "sample_id")
    assert "own patient" in records.notes[0]


def test_sub_folders_become_classes_when_asked(films: Path) -> None:
    for kind, name in [("sick", "a.png"), ("sick", "b.jpg"), ("well", "c.PNG")]:
        (films / kind / "deeper").mkdir(parents=True, exist_ok=True)
        (films / name).rename(films / kind / "deeper" / name)
    assert read(films).label_names == ()
    records = read(films, labels_from_subfolders=True)
    assert records.label_names == ("sick", "well")
    assert column(records, "image_path")[0] == "d.tiff"
    assert same(column(records, "sick"), [np.nan, 1, 1, 0])
    assert same(column(records, "well"), [np.nan, 0, 0, 1])


def test_split_folders_are_honoured_and_are_no_class(films: Path) -> None:
    for place, name in [
        ("train/sick", "a.png"),
        ("train/well", "b.jpg"),
        ("Valid/well", "c.PNG"),
        ("test/sick", "d.tiff"),
    ]:
        (films / place).mkdir(parents=True)
        (films / name).rename(films / place / name)
    records = read(films, labels_from_subfolders=True)
    assert records.label_names == ("sick", "well")
    assert sorted(zip(column(records, "split"), column(records, "sick"), strict=True)) == [
        ("test", 1.0), ("train", 0.0), ("train", 1.0), ("val", 0.0),
    ]  # fmt: skip


def test_conventional_columns_are_found_by_themselves(films: Path) -> None:
    records = read(
        films,
        "file,sample_id,patient_id,study_id,view,split,age,sex,edema,mask:lung\n"
        "a.png,s1,p1,t1,AP,train,61,F,1,b.jpg\n"
        "b.jpg,s2,p1,t2,PA,validation,,M,0,\n"
        "c.PNG,s3,,t3,,,47,M,,\n",
    )
    assert column(records, "sample_id") == ["s1", "s2", "s3"]
    assert column(records, "patient_id") == ["p1", "p1", "s3"]
    assert column(records, "study_id") == ["t1", "t2", "t3"]
    assert column(records, "view") == ["AP", "PA", ""]
    assert column(records, "split") == ["train", "val", ""]
    assert column(records, "mask:lung") == ["b.jpg", "", ""]
    assert records.mask_names == ("lung",)
    assert records.label_names == ()  # a label is named, never guessed
    assert same(column(records, "age"), [61, np.nan, 47])
    assert column(records, "sex") == ["F", "M", "M"]
    assert records.notes[0].startswith("1 of 3 images had no patient id")


def test_label_columns_by_name_and_all_of_them(films: Path) -> None:
    table = "file,patient_id,age,edema,effusion\na.png,p,1,1,\nb.jpg,q,60,0,-1\nc.PNG,r,50,,1.0\n"
    records = read(films, table, label_columns=("effusion", "edema"))
    assert records.label_names == ("effusion", "edema")
    assert same(column(records, "effusion"), [np.nan, np.nan, 1])
    assert same(column(records, "edema"), [1, 0, np.nan])
    assert records.notes == ()
    assert read(films, table, label_columns=("*",)).label_names == ("edema", "effusion")


def test_findings_joined_in_one_column(films: Path) -> None:
    table = "file,found\na.png,Edema|Mass\nb.jpg,No Finding\nc.PNG,\nd.tiff, Mass \n"
    records = read(films, table, finding_column="found")
    assert records.label_names == ("Edema", "Mass")
    assert same(column(records, "Edema"), [1, 0, np.nan, 0])
    assert same(column(records, "Mass"), [1, 0, np.nan, 1])


def test_where_keeps_matching_rows_and_reads_values_of_a_column_as_alternatives(films: Path) -> None:
    table = "file,origin,view\na.png,x,AP\nb.jpg,y,AP\nc.PNG,z,AP\nd.tiff,x,PA\n"
    assert column(read(films, table, where=("origin=x", "origin=y", "view=AP")), "sample_id") == ["a.png", "b.jpg"]
    with pytest.raises(DataError, match=r"no row of .* matches origin=w"):
        read(films, table, where=("origin=w",))


def test_columns_can_be_named_and_the_images_folder_is_looked_into(films: Path) -> None:
    (films / "images").mkdir()
    (films / "a.png").rename(films / "images" / "a.png")
    elsewhere = films.parent / "table.csv"
    elsewhere.write_text("name,picture,lungs,who,half\nn1,a.png,d.tiff,7,dev\n")
    records = read(
        films, csv=elsewhere, image_column="picture", sample_id_column="name", patient_column="who",
        split_column="half", mask_columns=("lung=lungs",),
    )  # fmt: skip
    row = records.table.iloc[0]
    assert (row["image_path"], row["sample_id"], row["patient_id"], row["split"]) == ("images/a.png", "n1", "7", "val")
    assert row["mask:lung"] == "d.tiff"


def test_absolute_paths_below_the_folder_are_made_relative(films: Path) -> None:
    assert column(read(films, f"file\n{films}/a.png\n"), "image_path") == ["a.png"]


def test_row_order_of_the_table_is_kept(films: Path) -> None:
    assert column(read(films, "file\nd.tiff\na.png\nc.PNG\n"), "image_path") == ["d.tiff", "a.png", "c.PNG"]


@pytest.mark.parametrize(
    ("table", "options", "error", "message"),
    [
        ("file\na.png\ngone.png\nlost.png\n", {}, DataError, "names 2 files that are not in .*: gone.png, lost.png"),
        ("file,mask:lung\na.png,gone.png\n", {}, DataError, "'mask:lung' .* names 1 files"),
        ("file,sample_id\na.png,s\nb.jpg,s\n", {}, DataError, "1 sample ids occur more than once: s"),
        ("file\na.png\na.png\n", {}, DataError, "one row per film"),
        ("file,e\na.png,2\n", {"label_columns": ("e",)}, DataError, "values other than 1, 0, -1 and blank"),
        ("file,e\na.png,yes\n", {"label_columns": ("e",)}, DataError, "such as 'yes'"),
        ("file,e\na.png,x\n", {"label_columns": ("*",)}, DataError, "no column of 1, 0 and blank"),
        ("file,e\na.png,1\n", {"label_columns": ("f",)}, UsageError, "no column 'f'; it has file, e"),
        ("file,e\na.png,1\n", {"where": ("f=1",)}, UsageError, "no column 'f'; it has file, e"),
        ("file,e\na.png,1\n", {"patient_column": "f"}, UsageError, "no column 'f'; it has file, e"),
        ("file,e\na.png,Mass|No Finding\n", {"finding_column": "e"}, DataError, "1 rows .* join 'No Finding'"),
        ("file,e\na.png,No Finding\n", {"finding_column": "e"}, DataError, "no finding besides"),
        ("file,split\na.png,holdout\n", {}, DataError, "holds holdout; expected train, val, test"),
        ("picture\na.png\n", {}, UsageError, "image_column; it has picture"),
        ("file\n", {}, DataError, "has no row"),
        ("", {}, DataError, "cannot be read as a comma-separated table"),
        ('file\n"a.png\n', {}, DataError, "cannot be read as a comma-separated table"),
        ("file,patient_id\n,p\n", {}, DataError, "sample_id of the records is empty in 1 rows"),
        ("file\na.png\n", {"labels_from_subfolders": True}, UsageError, "does not go with a table"),
    ],
)
def test_wrong_tables_are_refused(
    films: Path, table: str, options: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        read(films, table, **options)


def test_a_table_in_another_encoding_is_refused(films: Path) -> None:
    (films / "index.csv").write_bytes("file,note\na.png,Müller\n".encode("latin-1"))
    with pytest.raises(DataError, match="UTF-8") as caught:
        read(films)
    assert "ller" not in str(caught.value)


def test_missing_places_are_named(films: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere is not a folder"):
        read(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"other\.csv is not there"):
        read(films, csv=tmp_path / "other.csv")
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "notes.txt").write_text("")
    with pytest.raises(DataError, match=r"holds no film.*1 of other kinds \(such as 'notes\.txt'\)"):
        read(tmp_path / "bare")
    with pytest.raises(DataError, match="no sub-folder with images"):
        read(films, labels_from_subfolders=True)


def test_contradictory_options_are_refused() -> None:
    with pytest.raises(UsageError, match="both given"):
        FolderOptions(label_columns=("a",), finding_column="b")
    with pytest.raises(UsageError, match="form name=value"):
        FolderOptions(where=("origin",))
