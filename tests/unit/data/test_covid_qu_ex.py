"""COVID-QU-Ex: two trees nested once or twice, masks by the same name, infection masks that may be empty."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from twin_journey import counts_of, doctor, kind_of, packed, read, segment, tree_bytes, twin_of

from pacx.core.errors import DataError
from pacx.core.findings import COVID_QU_EX_CLASSES
from pacx.data.checks.record_counts import tally
from pacx.data.datasets.covid_qu_ex import DATASET, CovidQuExOptions, CovidQuExTree

LUNG, INFECTION = CovidQuExTree.LUNG.value, CovidQuExTree.INFECTION.value


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return twin_of("covid-qu-ex", tmp_path_factory.mktemp("official") / "covid", 60)


@pytest.fixture
def copy(twin: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(twin, tmp_path / "copy"))


def test_what_was_written_is_what_is_read(twin: Path) -> None:
    records = read("covid-qu-ex", twin)
    assert tally(records) == counts_of(twin)
    assert records.label_names == COVID_QU_EX_CLASSES
    assert (records.table[list(COVID_QU_EX_CLASSES)].sum(axis=1) == 1).all()
    for column in ("image_path", "mask:lung"):
        assert records.table[column].map(lambda path: (twin / path).is_file()).all()


def test_masks_have_the_names_of_their_films(twin: Path) -> None:
    for tree, masks in ((CovidQuExTree.LUNG, ("lung",)), (CovidQuExTree.INFECTION, ("lung", "infection"))):
        records = read("covid-qu-ex", twin, tree=tree)
        assert records.mask_names == masks
        for mask in masks:
            for film, path in zip(records.table["image_path"], records.table[f"mask:{mask}"], strict=True):
                assert path == film.replace("/images/", f"/{mask} masks/")
                assert (twin / path).is_file()


def test_the_infection_tree_is_another_set_of_films(twin: Path) -> None:
    every, some = (read("covid-qu-ex", twin, tree=tree) for tree in CovidQuExTree)
    assert 0 < len(some) < len(every)
    assert set(some.table["sample_id"]) < set(every.table["sample_id"])
    assert set(some.table["split"]) == {"train", "val", "test"}
    assert some.table["image_path"].str.startswith(f"{INFECTION}/{INFECTION}/").all()


@pytest.mark.parametrize("tree", list(CovidQuExTree))
def test_a_tree_nested_once_reads_the_same(copy: Path, tree: CovidQuExTree) -> None:
    twice = read("covid-qu-ex", copy, tree=tree)
    (copy / tree.value).rename(copy / "outer")
    (copy / "outer" / tree.value).rename(copy / tree.value)
    (copy / "outer").rmdir()
    once = read("covid-qu-ex", copy, tree=tree)
    assert once.table["sample_id"].tolist() == twice.table["sample_id"].tolist()
    assert once.table["image_path"].map(lambda path: (copy / path).is_file()).all()


def test_empty_infection_masks_are_packed_as_background(twin: Path, tmp_path: Path) -> None:
    pack = packed("covid-qu-ex", read("covid-qu-ex", twin, tree=CovidQuExTree.INFECTION), tmp_path / "pack")
    assert pack.mask_names == ("lung", "infection")
    infected = (pack.masks[:, 1] == 1).any(axis=(1, 2))
    is_covid = pack.table["COVID-19"].to_numpy() == 1
    assert infected[is_covid].all()
    assert not infected[~is_covid].any()
    assert not (pack.masks == 255).any()  # empty is known to be empty, not unknown
    assert (pack.masks[:, 0] == 1).any(axis=(1, 2)).all()


def test_films_in_three_channels_are_the_films(twin: Path) -> None:
    modes = {name: {kind_of(path)[0] for path in twin.rglob(f"{name}/images/*.png")} for name in COVID_QU_EX_CLASSES}
    assert modes == {"Normal": {"L"}, "COVID-19": {"L"}, "Non-COVID": {"RGB"}}
    for path in twin.rglob("*masks/*.png"):
        mask = np.asarray(Image.open(path))
        assert mask.shape == (256, 256)
        assert set(np.unique(mask)) <= {0, 255}


def test_a_tree_that_is_not_whole_is_refused(copy: Path) -> None:
    shutil.rmtree(copy / LUNG / LUNG / "Val" / "Normal" / "images")
    with pytest.raises(
        DataError, match=r"Val/Normal/images is missing; the root of covid-qu-ex is expected to hold Lung"
    ):
        read("covid-qu-ex", copy)
    (copy / LUNG / LUNG / "Val" / "Normal" / "images").mkdir()
    with pytest.raises(DataError, match="Val/Normal/images holds no film"):
        read("covid-qu-ex", copy)
    shutil.rmtree(copy / INFECTION)
    with pytest.raises(DataError, match=rf"{INFECTION}/Train is missing; .* expected to hold Lung"):
        read("covid-qu-ex", copy, tree=CovidQuExTree.INFECTION)


def test_the_doctor_misses_a_mask_and_finds_one_too_many(twin: Path, copy: Path) -> None:
    assert doctor("covid-qu-ex", twin).issues == ()
    mask = min((copy / LUNG / LUNG / "Test" / "COVID-19" / "lung masks").iterdir())
    mask.rename(mask.with_name("covid_0.png"))
    missing, surplus = (issue for issue in doctor("covid-qu-ex", copy).issues if issue.is_fault)
    assert [Path(file).name for file in missing.files] == [mask.name]
    assert [Path(file).name for file in surplus.files] == ["covid_0.png"]


def test_each_tree_has_counts_of_its_own() -> None:
    assert DATASET.expected_counts(CovidQuExOptions())["films"] == 33_920
    counts = DATASET.expected_counts(CovidQuExOptions(tree=CovidQuExTree.INFECTION))
    assert counts["films"] == counts["mask:infection"] == sum(counts[f"present:{name}"] for name in COVID_QU_EX_CLASSES)


def test_the_counts_of_the_card_add_up() -> None:
    counts = DATASET.card.counts
    assert counts["films"] == sum(counts[f"films:{split}"] for split in ("train", "val", "test"))
    assert counts["films"] == sum(counts[f"present:{name}"] for name in COVID_QU_EX_CLASSES)


def test_the_twin_is_the_same_bytes_again_and_shares_films_with_chestx6(twin: Path, tmp_path: Path) -> None:
    assert tree_bytes(twin_of("covid-qu-ex", tmp_path / "again", 60)) == tree_bytes(twin)
    chestx6 = twin_of("chestx6", tmp_path / "chestx6", 60)
    theirs = {path.stem.split("-")[1] for path in chestx6.rglob("COVID-*.jpg")}
    ours = {path.stem.split("_")[1] for path in twin.rglob("images/covid_*.png")}
    assert theirs
    assert theirs <= ours


def test_a_decoder_learns_lungs_from_the_twin(twin: Path, tmp_path: Path) -> None:
    rows = segment(packed("covid-qu-ex", read("covid-qu-ex", twin), tmp_path / "pack"))
    assert rows["lung", "dice_pooled"].value > 0.7
