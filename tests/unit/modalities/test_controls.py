import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacx.core.errors import DataError
from pacx.core.quarantine import Quarantined
from pacx.modalities.controls import age_and_sex, random_targets, with_shuffled_pairs
from pacx.modalities.targets import FrozenTargets

IDS = tuple(f"s{number}" for number in range(40))
TARGETS = FrozenTargets("ecg", IDS, np.arange(120, dtype=np.float32).reshape(40, 3), "real")


def test_shuffling_exchanges_training_pairs_and_leaves_the_others():
    fitted = IDS[:30]
    shuffled = with_shuffled_pairs(TARGETS, fitted, fitted, seed=0)
    ours, theirs = shuffled.for_samples(fitted), TARGETS.for_samples(fitted)
    np.testing.assert_array_equal(np.sort(ours, axis=0), theirs)
    assert not (ours == theirs).all(axis=1).any()
    np.testing.assert_array_equal(shuffled.for_samples(IDS[30:]), TARGETS.for_samples(IDS[30:]))
    assert shuffled.fingerprint != TARGETS.fingerprint
    again = with_shuffled_pairs(TARGETS, fitted[::-1], fitted[::-1], seed=0)
    np.testing.assert_array_equal(again.embeddings, shuffled.embeddings)
    assert (with_shuffled_pairs(TARGETS, fitted, fitted, seed=1).embeddings != shuffled.embeddings).any()


def test_shuffling_knows_a_sample_with_and_without_a_decimal_point():
    """A control that exchanged nobody would pass for one that found no physiology lost."""
    targets = FrozenTargets("ecg", [f"2{number:07d}" for number in range(40)], TARGETS.embeddings, "real")
    films = [f"{sample}.0" for sample in targets.sample_ids]
    shuffled = with_shuffled_pairs(targets, films, films, seed=0)
    np.testing.assert_array_equal(
        shuffled.embeddings, with_shuffled_pairs(targets, targets.sample_ids, films, seed=0).embeddings
    )
    assert not (shuffled.embeddings == targets.embeddings).all(axis=1).any()


def test_shuffling_within_strata_keeps_what_the_strata_tell():
    views = ["AP" if number % 3 else "PA" for number in range(40)]
    shuffled = with_shuffled_pairs(TARGETS, IDS, IDS, seed=0, strata=views)
    for view in ("AP", "PA"):
        members = [sample for sample, its in zip(IDS, views, strict=True) if its == view]
        ours, theirs = shuffled.for_samples(members), TARGETS.for_samples(members)
        np.testing.assert_array_equal(np.sort(ours, axis=0), theirs)
        assert not (ours == theirs).all(axis=1).any()
    backwards = with_shuffled_pairs(TARGETS, IDS[::-1], IDS[::-1], seed=0, strata=views[::-1])
    np.testing.assert_array_equal(backwards.embeddings, shuffled.embeddings)
    everybody = with_shuffled_pairs(TARGETS, IDS, IDS, seed=0)
    assert len({TARGETS.fingerprint, everybody.fingerprint, shuffled.fingerprint}) == 3


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 3), st.booleans())
def test_nobody_keeps_an_own_pair_however_small_the_strata(
    seed: int, patients_of_a_stratum: int, films_of_a_patient: int, is_within: bool
) -> None:
    """A plain permutation leaves one film of every stratum, on average, with its own: half of all in strata of two."""
    size = (patients_of_a_stratum + 1) * films_of_a_patient
    films = np.arange(6 * size)
    patients, strata = films // films_of_a_patient, films // size
    ids = tuple(f"s{film}" for film in films)
    targets = FrozenTargets("ecg", ids, films[:, None].astype(np.float32), "real")
    shuffled = with_shuffled_pairs(
        targets, ids, patients.tolist(), seed=seed, strata=strata.tolist() if is_within else None
    )
    given = shuffled.embeddings[:, 0].astype(int)
    assert sorted(given) == films.tolist()
    assert (patients[given] != patients).all()
    assert (strata[given] == strata).all() or not is_within


def test_whoever_could_only_keep_own_pairs_is_refused() -> None:
    """A film alone in its stratum, and a patient with more than half of a stratum's films."""
    with pytest.raises(DataError, match=r"of 1 training films .* that have 'lateral', 1 are of one patient"):
        with_shuffled_pairs(TARGETS, IDS, IDS, seed=0, strata=["lateral", *["AP"] * 39])
    of_one = ["p0"] * 21 + [f"p{number}" for number in range(1, 20)]
    with pytest.raises(DataError, match=r"of 40 training films with a target for ecg, 21 are .* more patients"):
        with_shuffled_pairs(TARGETS, IDS, of_one, seed=0)


def test_controls_say_of_which_links_and_recordings_they_are() -> None:
    """A control on targets of other links than the films' would be refused as the real targets are."""
    told = FrozenTargets(
        "ecg", IDS, TARGETS.embeddings, "real", (Quarantined(sample_id="x", reason="is flat"),), ("of links 1",)
    )
    for control in (with_shuffled_pairs(told, IDS, IDS, seed=0), random_targets(told, seed=0)):
        assert control.notes == told.notes
        assert control.quarantined == told.quarantined
        assert control.fingerprint != told.fingerprint


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
