import numpy as np
import pandas as pd
import pytest

from pacx.core.errors import DataError
from pacx.modalities.controls import age_and_sex, random_targets, with_shuffled_pairs
from pacx.modalities.targets import FrozenTargets

IDS = tuple(f"s{number}" for number in range(40))
TARGETS = FrozenTargets("ecg", IDS, np.arange(120, dtype=np.float32).reshape(40, 3), "real")


def test_shuffling_exchanges_training_pairs_and_leaves_the_others():
    fitted = IDS[:30]
    shuffled = with_shuffled_pairs(TARGETS, fitted, seed=0)
    ours, theirs = shuffled.for_samples(fitted), TARGETS.for_samples(fitted)
    np.testing.assert_array_equal(np.sort(ours, axis=0), theirs)
    assert (ours == theirs).all(axis=1).mean() < 0.2
    np.testing.assert_array_equal(shuffled.for_samples(IDS[30:]), TARGETS.for_samples(IDS[30:]))
    assert shuffled.fingerprint != TARGETS.fingerprint
    again = with_shuffled_pairs(TARGETS, fitted[::-1], seed=0)
    np.testing.assert_array_equal(again.embeddings, shuffled.embeddings)
    assert (with_shuffled_pairs(TARGETS, fitted, seed=1).embeddings != shuffled.embeddings).any()


def test_shuffling_knows_a_sample_with_and_without_a_decimal_point():
    """A control that exchanged nobody would pass for one that found no physiology lost."""
    targets = FrozenTargets("ecg", [f"2{number:07d}" for number in range(40)], TARGETS.embeddings, "real")
    films = [f"{sample}.0" for sample in targets.sample_ids]
    shuffled = with_shuffled_pairs(targets, films, seed=0)
    np.testing.assert_array_equal(
        shuffled.embeddings, with_shuffled_pairs(targets, targets.sample_ids, seed=0).embeddings
    )
    assert (shuffled.embeddings == targets.embeddings).all(axis=1).mean() < 0.2


def test_shuffling_within_strata_keeps_what_the_strata_tell():
    views = ["AP" if number % 3 else "PA" for number in range(40)]
    shuffled = with_shuffled_pairs(TARGETS, IDS, seed=0, strata=views)
    for view in ("AP", "PA"):
        members = [sample for sample, its in zip(IDS, views, strict=True) if its == view]
        ours, theirs = shuffled.for_samples(members), TARGETS.for_samples(members)
        np.testing.assert_array_equal(np.sort(ours, axis=0), theirs)
        assert (ours == theirs).all(axis=1).mean() < 0.3
    backwards = with_shuffled_pairs(TARGETS, IDS[::-1], seed=0, strata=views[::-1])
    np.testing.assert_array_equal(backwards.embeddings, shuffled.embeddings)
    everybody = with_shuffled_pairs(TARGETS, IDS, seed=0)
    assert len({TARGETS.fingerprint, everybody.fingerprint, shuffled.fingerprint}) == 3


def test_a_film_alone_in_its_stratum_is_refused():
    with pytest.raises(DataError, match=r"only one training film.*'lateral'"):
        with_shuffled_pairs(TARGETS, IDS, seed=0, strata=["lateral", *["AP"] * 39])


def test_random_targets_have_the_shape_and_nothing_else():
    noise = random_targets(TARGETS, seed=0)
    assert noise.embeddings.shape == (40, 3)
    assert noise.sample_ids == IDS
    assert abs(np.corrcoef(noise.embeddings[:, 0], TARGETS.embeddings[:, 0])[0, 1]) < 0.5
    assert (random_targets(TARGETS, seed=0).embeddings == noise.embeddings).all()


def table() -> pd.DataFrame:
    return pd.DataFrame(
        {"sample_id": IDS, "age": ["", *map(str, range(21, 60))], "sex": ["F"] * 20 + ["M"] * 19 + ["?"]}
    )


def test_age_and_sex_are_two_numbers_of_those_who_have_them():
    made = age_and_sex(table(), IDS[:20])
    assert made.sample_ids == IDS[1:39]
    fitted = made.for_samples(IDS[1:20])
    assert fitted[:, 0].mean() == pytest.approx(0, abs=1e-6)
    assert fitted[:, 0].std() == pytest.approx(1, abs=1e-6)
    assert made.for_samples(["s1", "s30"])[:, 1].tolist() == [1, -1]


@pytest.mark.parametrize("columns", [["sample_id", "age"], ["sample_id"]])
def test_a_table_without_them_is_refused(columns: list[str]):
    with pytest.raises(DataError, match="no column"):
        age_and_sex(table()[columns], IDS)
    with pytest.raises(DataError, match="no training film"):
        age_and_sex(table().assign(sex="?"), IDS)
