"""A dataset's plan is followed where its makers leave the split open, and nowhere else; the notes say what was done."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from film_folders import write_films

from pacx.core.errors import UsageError
from pacx.data.dataset import SplitPlan
from pacx.data.datasets.folder import DATASET, FolderDataset
from pacx.data.packs.pack import Pack
from pacx.data.packs.splitting import plan_for, with_released_code_splits, with_splits
from pacx.data.records import Records
from pacx.data.splits import image_level_splits


def split_records(split: list[str], *, films_per_patient: int = 2) -> Records:
    num_films = len(split)
    table = pd.DataFrame({"sample_id": [f"s{row}" for row in range(num_films)]})
    table["image_path"] = table["sample_id"] + ".png"
    table["patient_id"] = [f"p{row // films_per_patient}" for row in range(num_films)]
    table[["study_id", "view"]] = ""
    table["split"] = split
    table["Edema"] = [float(row % 5 == 0) for row in range(num_films)]
    return Records(table, ("Edema",), (), Path("root"))


def test_without_any_split_the_fractions_count_and_patients_stay_whole() -> None:
    records = with_splits(split_records([""] * 400), 0, SplitPlan(fractions=(0.5, 0.25, 0.25)))
    assert records.table["split"].value_counts().to_dict() == {"train": 200, "val": 100, "test": 100}
    assert (records.table.groupby("patient_id")["split"].nunique() == 1).all()
    assert records.notes == ("splits drawn by patient, 50/25/25, seed 0",)


def test_films_with_nothing_to_test_on_are_not_tested_on() -> None:
    bare = replace(split_records([""] * 400), label_names=())
    assert set(with_splits(bare, 0, plan_for(bare, DATASET)).table["split"]) == {"train", "val"}


def test_official_train_and_test_give_val_from_whole_training_patients() -> None:
    official = ["train"] * 300 + ["test"] * 100
    records = with_splits(split_records(official), 3, SplitPlan(val_share_of_train=0.2))
    table = records.table
    assert table["split"].value_counts().to_dict() == {"train": 240, "val": 60, "test": 100}
    assert (table["split"][300:] == "test").all()
    assert (table.groupby("patient_id")["split"].nunique() == 1).all()
    assert abs(table.loc[table["split"] == "val", "Edema"].sum() - 12) <= 1
    assert records.notes == ("val drawn by patient, 20 % of the makers' training patients, seed 3",)
    assert not with_splits(split_records(official), 4).table["split"].equals(table["split"])


@pytest.mark.parametrize("official", [["train", "val"] * 20, ["train", "train", "val", "val", "test", "test"] * 7])
def test_splits_that_have_val_stay_as_they_are(official: list[str]) -> None:
    records = split_records(official)
    assert with_splits(records, 0).table.equals(records.table)


def test_patients_whom_the_makers_divide_are_counted() -> None:
    records = with_splits(split_records(["train", "train", "train", "test", "train", "test", "test", "test"]), 0)
    assert records.notes[0] == "the makers' own splits divide patients: 2 are in two splits"


class ByImage(FolderDataset):
    """A dataset that the released code splits by image."""

    def released_code_splits(self, records: Records) -> "pd.Series[str]":
        return image_level_splits(records.table["split"], test_share=0.2, val_share=0.1)


def test_the_released_codes_splits_are_marked_loudly() -> None:
    records = with_released_code_splits(split_records([""] * 100), ByImage())
    assert records.table["split"].value_counts().to_dict() == {"train": 72, "test": 20, "val": 8}
    divided = (records.table.groupby("patient_id")["split"].nunique() > 1).sum()
    assert divided > 10
    assert records.notes[0].startswith(f"SPLITS OF THE RELEASED CODE, image-level, patients in two splits: {divided};")
    with pytest.raises(UsageError, match="draws no split of folder"):
        with_released_code_splits(split_records([""] * 9), DATASET)


def test_the_policy_is_an_option_and_reaches_the_pack(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pacx.cli.verbs.data_actions import pack as command

    write_films(tmp_path / "films", 12)
    words = ["--root", str(tmp_path / "films"), "--out", str(tmp_path / "pack"), "--image-size-px", "16"]
    command.main(ByImage(), [*words, "--split-policy", "released-code", "--num-workers", "1"])
    assert "note: SPLITS OF THE RELEASED CODE" in capsys.readouterr().out
    assert any("RELEASED CODE" in note for note in Pack.open(tmp_path / "pack").manifest.notes)
