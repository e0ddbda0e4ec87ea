"""A pair knows its film's time, the patient's film before and the pairs of that one, and its patient's split"""

from pathlib import Path

import pandas as pd
import pytest
from made_hospital import VERSION, MadeHospital, make_hospital, write_hospital

from pacx.cli.main import main
from pacx.linking.links import Links


def films_before(hospital: MadeHospital, dicom_id: str) -> pd.DataFrame:
    """The patient's frontal films with a file that were taken before one, the latest last, of equal times the first."""
    films = hospital.films.set_index("dicom_id", drop=False)
    this = films.loc[dicom_id]
    frontal = films[films["ViewPosition"].isin(["AP", "PA"]) & films["is_there"]]
    before = frontal[(frontal["subject_id"] == this["subject_id"]) & (frontal["time"] < this["time"])]
    return before.iloc[::-1].sort_values("time", kind="stable")


@pytest.mark.parametrize("rule", ["film", "symile"])
@pytest.mark.parametrize("seed", range(3))
def test_a_pair_knows_the_film_before_and_its_pairs(tmp_path: Path, rule: str, seed: int) -> None:
    hospital = make_hospital(seed, 80)
    words = write_hospital(hospital, tmp_path)
    main(["data", "link", "mimic-iv", *words, "--out", str(tmp_path / "links"), "--rule", rule])
    pairs = Links.open(tmp_path / "links").pairs
    assert pairs["previous_dicom_id"].notna().sum() > 3
    assert rule == "symile" or (pairs["previous_pairs"] > 0).any()
    for pair in pairs.itertuples():
        before = films_before(hospital, pair.dicom_id)
        if before.empty:
            assert pd.isna(pair.previous_dicom_id)
            assert pair.previous_pairs == 0
        else:
            assert pair.previous_dicom_id == before.iloc[-1]["dicom_id"]
            assert pair.previous_film_time == before.iloc[-1]["time"]
            assert pair.previous_pairs == (pairs["dicom_id"] == pair.previous_dicom_id).sum()


def test_the_makers_split_is_carried_through_in_our_words(tmp_path: Path) -> None:
    hospital = make_hospital(0)
    words = write_hospital(hospital, tmp_path)
    films = hospital.films[["dicom_id", "study_id", "subject_id"]].iloc[1:]
    names = films["subject_id"].mod(3).map({0: "train", 1: "validate", 2: "test"})
    films.assign(split=names).to_csv(tmp_path / "cxr" / f"{VERSION}-split.csv.gz", index=False)
    main(["data", "link", "mimic-iv", *words, "--out", str(tmp_path / "links")])
    pairs = Links.open(tmp_path / "links").pairs
    expected = pairs["subject_id"].mod(3).map({0: "train", 1: "val", 2: "test"})
    is_named = pairs["dicom_id"].isin(films["dicom_id"])
    assert set(pairs.loc[is_named, "split"]) == {"train", "val", "test"}
    assert (pairs["split"] == expected)[is_named].all()
    assert pairs.loc[~is_named, "split"].isna().all()


def test_a_patient_in_two_splits_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hospital = make_hospital(0)
    words = write_hospital(hospital, tmp_path)
    films = hospital.films[["dicom_id", "subject_id"]]
    splits = ["train" if row % 2 else "test" for row in range(len(films))]
    films.assign(split=splits).to_csv(tmp_path / "cxr" / f"{VERSION}-split.csv", index=False)
    with pytest.raises(SystemExit) as stop:
        main(["data", "link", "mimic-iv", *words, "--out", str(tmp_path / "links")])
    assert stop.value.code == 1
    assert "patients have films in more than one split" in capsys.readouterr().err
