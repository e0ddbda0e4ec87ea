"""Reading folders the way people have them lying about."""

from pathlib import Path

import numpy as np
import pytest
from dicom_files import SECRET, dicom
from PIL import Image

from pacx.core.errors import DataError, UsageError
from pacx.data.datasets.folder import DATASET, FolderOptions
from pacx.data.own_films.negatives import Monochrome1
from pacx.data.records import NEGATIVE_COLUMN, Records


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
        ("file,e\na.png,mild\n", {"label_columns": ("e",)}, DataError, "such as 'mild'"),
        ("file,e\na.png,x\n", {"label_columns": ("*",)}, DataError, "no column of 1, 0 and blank"),
        ("file,e\na.png,1\n", {"label_columns": ("f",)}, UsageError, "no column 'f'; it has file, e"),
        ("file,e\na.png,1\n", {"where": ("f=1",)}, UsageError, "no column 'f'; it has file, e"),
        ("file,e\na.png,1\n", {"patient_column": "f"}, UsageError, "no column 'f'; it has 'file', 'e'"),
        ("file,e\na.png,Mass|No Finding\n", {"finding_column": "e"}, DataError, "1 rows .* join 'No Finding'"),
        ("file,e\na.png,No Finding\n", {"finding_column": "e"}, DataError, "no finding besides"),
        ("file,split\na.png,external\n", {}, DataError, "holds external; expected train, val, test"),
        ("picture\na.png\n", {}, UsageError, "image_column; it has picture"),
        ("file\n", {}, DataError, "has no row"),
        ("", {}, DataError, "is empty"),
        ('file\n"a.png\n', {}, DataError, "ends within a quoted cell"),
        ("file,patient_id\n,p\n", {}, DataError, "sample_id of the records is empty in 1 rows"),
        ("file\na.png\n", {"labels_from_subfolders": True}, UsageError, "does not go with a table"),
    ],
)
def test_wrong_tables_are_refused(
    films: Path, table: str, options: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        read(films, table, **options)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
def test_a_table_of_any_spreadsheet_gives_the_same_records(films: Path, encoding: str) -> None:
    (films / "a.png").rename(films / "Röntgen.png")
    text = "file;patient_id;Befund;age\nRöntgen.png;Müller;1;61\nb.jpg;Möller;0;62\n;;;\nc.PNG;Müller;1;63\n"
    (films / "index.csv").write_bytes(text.encode(encoding))
    records = read(films, label_columns=("Befund",))
    assert column(records, "image_path") == ["Röntgen.png", "b.jpg", "c.PNG"]
    assert column(records, "patient_id") == ["Müller", "Möller", "Müller"]
    assert (column(records, "Befund"), column(records, "age")) == ([1, 0, 1], [61, 62, 63])
    notes = " ".join(records.notes)
    assert "separated by semicolons" in notes
    assert "1 blank rows" in notes
    assert ("Windows-1252" in notes, "UTF-16" in notes) == (encoding == "cp1252", encoding == "utf-16")


def test_a_damaged_table_is_refused_by_line_and_quotes_no_cell(films: Path) -> None:
    (films / "index.csv").write_bytes("file,note\na.png,Möller\nb.jpg,M".encode() + b"\xfcller\n")
    with pytest.raises(DataError, match="UTF-8, as line 3 shows") as caught:
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


PEOPLE = "a.png,{0}\nb.jpg,{0}\nc.PNG,{1}\nd.tiff,{1}\n"


@pytest.mark.parametrize("name", ["PatientID", "Patient ID", "subject_id", "patientId", "MRN", "participant", "pid"])
def test_patients_are_found_under_any_usual_name(films: Path, name: str) -> None:
    records = read(films, f"file,{name}\n" + PEOPLE.format("7.0", "8"))
    assert column(records, "patient_id") == ["7", "7", "8", "8"]
    assert records.notes == (f"{films}/index.csv: patient_id is column '{name}'",)


def test_two_columns_of_patients_are_asked_about(films: Path) -> None:
    table = "file,PatientID,subject_id\na.png,1,2\n"
    with pytest.raises(UsageError, match="'PatientID', 'subject_id'; say which with --patient-column COLUMN"):
        read(films, table)
    assert column(read(films, table, patient_column="subject_id"), "patient_id") == ["2"]


def test_a_column_that_may_name_patients_stops_until_somebody_says_so(films: Path) -> None:
    table = "file,patient_ref\n" + PEOPLE.format("x", "y")
    with pytest.raises(UsageError, match="'patient_ref'; say which with --patient-column COLUMN, or --no-patients"):
        read(films, table)
    assert column(read(films, table, patient_column="patient_ref"), "patient_id") == ["x", "x", "y", "y"]
    records = read(films, table, no_patients=True)
    assert column(records, "patient_id") == column(records, "sample_id")
    assert records.notes[0].startswith("Every image had no patient id")


def test_folders_named_like_patients_stop_until_somebody_says_so(films: Path) -> None:
    for number, name in [("01", "a.png"), ("01", "b.jpg"), ("02", "c.PNG"), ("02", "d.tiff")]:
        (films / f"patient{number}").mkdir(exist_ok=True)
        (films / name).rename(films / f"patient{number}" / name)
    table = "Path\npatient01/a.png\npatient02/c.PNG\n"
    for given in (None, table):
        with pytest.raises(UsageError, match="say --patient-folder 1, or --no-patients"):
            read(films, given)
        assert set(column(read(films, given, patient_folder=1), "patient_id")) == {"patient01", "patient02"}
        records = read(films, given, no_patients=True)
        assert column(records, "patient_id") == column(records, "sample_id")
        (films / "index.csv").unlink(missing_ok=True)


def test_words_for_unknown_are_no_patients_views_and_numbers_but_may_be_samples(films: Path) -> None:
    records = read(
        films,
        "file,sample_id,patient_id,view,age,dose,edema\na.png,NA,NA,NA,NA,1.5,NA\n"
        "b.jpg,none,p,PA,061Y,NA,1\nc.PNG,3.0,N/A,n/a,6M,.,0\nd.tiff,4,null,.,>89,2,0.0\n",
        label_columns=("edema",),
    )
    assert column(records, "sample_id") == ["NA", "none", "3", "4"]
    assert column(records, "patient_id") == ["NA", "p", "3", "4"]
    assert column(records, "view") == ["", "PA", "", ""]
    assert same(column(records, "age"), [np.nan, 61, 0.5, 89])
    assert same(column(records, "dose"), [1.5, np.nan, np.nan, 2])
    assert same(column(records, "edema"), [np.nan, 1, 0, 0])
    assert records.notes[0].startswith("3 of 4 images had no patient id")


def test_sex_and_age_have_our_names_whatever_the_table_calls_them(films: Path) -> None:
    records = read(films, "file,Patient Gender,Patient Age,ViewPosition\na.png,F,047Y,AP\nb.jpg,NA,old,PA\n")
    assert column(records, "sex") == ["F", ""]
    assert same(column(records, "age"), [47, np.nan])
    assert column(records, "view") == ["AP", "PA"]
    assert "1 cells of column 'Patient Age' are no age in years and count as unknown." in records.notes


def test_patients_that_spelling_alone_tells_apart_are_told(films: Path) -> None:
    records = read(films, "file,patient_id\na.png,P1\nb.jpg,p1\nc.PNG,007\nd.tiff,8\n")
    said = "2 patients of {}/index.csv differ in case or leading zeros alone, and count as different people."
    assert said.format(films) in records.notes
    assert column(records, "patient_id") == ["P1", "p1", "007", "8"]
    assert not any("zeros" in note for note in read(films, "file,patient_id\na.png,007\nb.jpg,007\n").notes)


def test_where_one_column_of_views_is_blank_another_may_say(films: Path) -> None:
    table = "Path,Frontal/Lateral,AP/PA\na.png,Frontal,AP\nb.jpg,Lateral,\nc.PNG,Frontal,PA\nd.tiff,Lateral,NA\n"
    records = read(films, table)
    assert column(records, "view") == ["AP", "Lateral", "PA", "Lateral"]
    assert f"{films}/index.csv: view is column 'Frontal/Lateral' in 2 rows where the other is blank." in records.notes
    assert column(records, "Frontal/Lateral") == ["Frontal", "Lateral", "Frontal", "Lateral"]
    assert column(read(films, table, view_column="AP/PA"), "view") == ["AP", "", "PA", ""]
    both = read(films, "file,view,projection\na.png,PA,x\nb.jpg,L,x\n")
    assert column(both, "view") == ["PA", "L"]


def test_splits_are_found_by_name_or_by_what_a_column_holds(films: Path) -> None:
    halves = "a.png,Training\nb.jpg,VALIDATE\nc.PNG,hold-out\nd.tiff,NA\n"
    for name in ("split", "Split", "subset", "Partition", "dataset_split", "Use"):
        records = read(films, f"file,{name}\n{halves}")
        assert column(records, "split") == ["train", "val", "test", ""]
    assert f"{films}/index.csv: split is column 'Use', by what it holds." in records.notes
    records = read(films, "file,fold\na.png,0\nb.jpg,1\n")
    assert column(records, "split") == ["", ""]
    assert f"{films}/index.csv: fold is not taken for the split; it holds no word for one." in records.notes
    assert same(column(records, "fold"), [0, 1])
    with pytest.raises(UsageError, match="2 columns that hold splits: one, two; say which with --split-column"):
        read(films, "file,one,two\na.png,train,test\nb.jpg,test,train\n")
    with pytest.raises(UsageError, match=r"column is_test of .* may say which films train"):
        read(films, "file,is_test\na.png,1\nb.jpg,0\n")
    with pytest.raises(DataError, match=r"split column 'subset' of .* holds external; expected train"):
        read(films, "file,subset\na.png,train\nb.jpg,external\n")


@pytest.mark.parametrize(
    ("places", "split"),
    [
        (("train", "train", "valid", "valid"), ["train", "train", "val", "val"]),
        (("data/Training/p1", "data/Test/p1", "data/Training/p2", "data/Test/p3"), ["train", "test", "train", "test"]),
        (("ill/train", "ill/test", "well/train", "well/val"), ["train", "test", "train", "val"]),
        (("stage_2_train_images",) * 4, [""] * 4),  # where they all are, which divides nothing
        (("eval/a", "eval/b", "eval/b", "eval/a"), [""] * 4),
        (("a", "b", "a", "b"), [""] * 4),
    ],
)
def test_the_folders_of_a_tables_films_divide_them_where_no_column_does(
    films: Path, places: tuple[str, ...], split: list[str]
) -> None:
    paths = [f"{place}/{name}" for place, name in zip(places, ("a.png", "b.jpg", "c.PNG", "d.tiff"), strict=True)]
    for path in paths:
        (films / path).parent.mkdir(parents=True, exist_ok=True)
        (films / path.rpartition("/")[2]).rename(films / path)
    records = read(films, "file,patient_id\n" + "".join(f"{path},{path}\n" for path in paths))
    assert column(records, "split") == split
    said = f"{films}/index.csv: split is by the folders of the films, which are named so."
    assert (said in records.notes) == any(split)
    asked = read(films, "file,split\n" + "".join(f"{path},test\n" for path in paths))
    assert column(asked, "split") == ["test"] * 4


def test_a_table_whose_films_are_divided_in_part_is_refused(films: Path) -> None:
    for place, name in (("train", "a.png"), ("test", "b.jpg")):
        (films / place).mkdir()
        (films / name).rename(films / place / name)
    with pytest.raises(UsageError, match=r"1 films lie elsewhere: c.PNG; .* in a column 'split' of a table"):
        read(films, "file\ntrain/a.png\ntest/b.jpg\nc.PNG\n")


def test_pictures_called_monochrome1_are_asked_about_and_turned_round(films: Path) -> None:
    pixels = np.zeros((20, 20), np.uint16)
    pixels[:5] = 4095
    (films / "e.dcm").write_bytes(dicom(pixels, bits_stored=12, PhotometricInterpretation="MONOCHROME1"))
    named = "MONOCHROME1", "monochrome1", "MONOCHROME2", "", "MONOCHROME1"
    files = "a.png", "b.jpg", "c.PNG", "d.tiff", "e.dcm"
    for name in ("PhotometricInterpretation_DICOM", "Photometric Interpretation", "dicom_photometric"):
        table = f"file,{name}\n" + "".join(f"{file},{word}\n" for file, word in zip(files, named, strict=True))
        with pytest.raises(UsageError, match=rf"calls 2 films MONOCHROME1 .* --where '{name}=MONOCHROME2'"):
            read(films, table)
        turned = read(films, table, monochrome1=Monochrome1.INVERT)
        assert column(turned, NEGATIVE_COLUMN) == [True, True, False, False, False]
        assert any(note.startswith("2 pictures that ") and note.endswith("turned round.") for note in turned.notes)
        kept = read(films, table, monochrome1=Monochrome1.KEEP)
        assert NEGATIVE_COLUMN not in kept.table
        assert any(note.endswith("are read as they are.") for note in kept.notes)
        left = read(films, table, where=(f"{name}=MONOCHROME2",))
        assert column(left, "sample_id") == ["c.PNG"]
    (films / "index.csv").unlink()
    only_dicom = read(films, "file,photometric\ne.dcm,MONOCHROME1\n")
    assert NEGATIVE_COLUMN not in only_dicom.table


def test_rounded_ids_are_refused_and_not_shown(films: Path) -> None:
    with pytest.raises(DataError, match=r"1 of 1 ids in column 'patient_id' of .* are rounded") as caught:
        read(films, "file,patient_id\na.png,2.13E+07\nb.jpg,2.13E+07\n")
    assert "2.13" not in str(caught.value)


def test_a_table_that_was_not_read_is_told(films: Path) -> None:
    (films / "Data_Entry.csv").write_text("file,patient_id\na.png,1\n")
    assert any(note.startswith("Data_Entry.csv in ") for note in read(films).notes)


def test_patients_of_dicom_films_are_those_of_their_headers(films: Path) -> None:
    pixels = np.zeros((8, 8), np.uint16)
    for name, patient in [("e.dcm", "x"), ("f.dcm", "x"), ("g.dcm", "y")]:
        (films / name).write_bytes(
            dicom(pixels, bits_stored=12, PatientID=f"{SECRET}-{patient}", StudyInstanceUID="1.2")
        )
    expected = ["a.png", "b.jpg", "c.PNG", "d.tiff", "patient-000001", "patient-000001", "patient-000002"]
    records = read(films)
    assert column(records, "patient_id") == expected
    assert column(records, "study_id") == [*[""] * 4, *["study-000001"] * 3]
    assert records.notes[0].startswith("4 of 7 images had no patient id")
    assert column(read(films, no_patients=True), "patient_id") == column(records, "sample_id")
    assert column(read(films, "file\n" + "\n".join(column(records, "sample_id"))), "patient_id") == expected


def test_contradictory_ways_to_tell_patients_are_refused() -> None:
    with pytest.raises(UsageError, match="exclude each other"):
        FolderOptions(patient_column="who", no_patients=True)
    with pytest.raises(UsageError, match="is level 1"):
        FolderOptions(patient_folder=0)
