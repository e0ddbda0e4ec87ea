"""Embedding mixup against a slow oracle, and what its draws keep to."""

import numpy as np
import pytest
import torch

from pacx.core.errors import UsageError
from pacx.core.randomness import sample_keys
from pacx.objectives.mixup import EmbeddingMixup, mix
from pacx.objectives.objective import FilmFeatures, PairedTargets

KEYS = sample_keys([f"film-{number}" for number in range(6)])


def batch(seed: int = 0) -> tuple[FilmFeatures, PairedTargets]:
    draw = torch.Generator().manual_seed(seed)
    films = FilmFeatures(torch.randn(6, 3, generator=draw), torch.randn(6, 4, 3, generator=draw))
    values = {"ecg": torch.randn(6, 5, generator=draw), "labs": torch.randn(6, 2, generator=draw)}
    observed = {"ecg": torch.tensor([1, 1, 0, 1, 0, 1]).bool(), "labs": torch.ones(6).bool()}
    return films, PairedTargets(values, observed, torch.arange(6))


def test_every_number_is_the_mixture_of_two():
    films, targets = batch()
    share, partner = torch.tensor([1.0, 0.5, 0.9, 0.75, 0.6, 1.0]), torch.tensor([3, 0, 5, 1, 2, 4])
    mixed_films, mixed_targets = mix(films, targets, share, partner)
    pairs = [*zip(films, mixed_films, strict=True)]
    pairs += [(targets.values[name], mixed_targets.values[name]) for name in targets.values]
    for before, after in pairs:
        for row in range(6):
            own, other = float(share[row]), int(partner[row])
            expected = own * before[row].double() + (1 - own) * before[other].double()
            np.testing.assert_allclose(after[row].double(), expected, rtol=1e-5, atol=1e-6)
    # rows 0 -> 3 and 5 -> 4, 3 -> 1, 1 -> 0, 2 -> 5, 4 -> 2: a target needs both
    assert mixed_targets.observed["ecg"].tolist() == [True, True, False, True, False, False]
    assert mixed_targets.observed["labs"].all()
    assert torch.equal(mixed_targets.patients, targets.patients)


def test_a_whole_share_changes_nothing():
    films, targets = batch()
    mixed_films, mixed_targets = mix(films, targets, torch.ones(6), torch.roll(torch.arange(6), 1))
    assert torch.equal(mixed_films.embedding, films.embedding)
    assert torch.equal(mixed_targets.values["ecg"], targets.values["ecg"])


def test_shares_and_partners_follow_film_seed_and_epoch():
    films, targets = batch()
    config = EmbeddingMixup(alpha=1.0)

    def shares(keys: np.ndarray, seed: int, epoch: int) -> np.ndarray:
        """Solved for: one-hot films, whose mixture shows share and partner."""
        marked = films._replace(embedding=torch.eye(6, dtype=torch.float64))
        return config.mixed(marked, targets, keys, seed=seed, epoch=epoch)[0].embedding.numpy()

    first = shares(KEYS, 0, 0)
    assert np.array_equal(first, shares(KEYS, 0, 0))
    assert not np.array_equal(first, shares(KEYS, 1, 0))
    assert not np.array_equal(first, shares(KEYS, 0, 1))
    own = first.diagonal()
    assert ((own >= 0.5) & (own < 1)).all()  # never with itself, mostly itself
    partners = (first - np.diag(own)).argmax(axis=1)
    assert sorted(partners) == list(range(6))  # everybody lends once
    back = np.arange(6)[::-1]
    assert np.allclose(shares(KEYS[back], 0, 0).diagonal(), own[back])  # the share is the film's, wherever it stands


def test_shares_have_the_distribution_asked_for():
    """Of Beta(1, 1) the larger share is uniform on [0.5, 1]: mean 0.75, variance 1 / 48."""
    keys = sample_keys([f"many-{number}" for number in range(2000)])
    films = FilmFeatures(torch.ones(2000, 1), torch.ones(2000, 1, 1))
    partnered = torch.arange(2000)
    films = films._replace(embedding=torch.nn.functional.one_hot(partnered, 2000).double())
    none = PairedTargets({}, {}, partnered)
    own = EmbeddingMixup(alpha=1.0).mixed(films, none, keys, seed=0, epoch=0)[0].embedding.diagonal().numpy()
    assert own.mean() == pytest.approx(0.75, abs=4 * np.sqrt(1 / 48 / 2000))
    assert own.var() == pytest.approx(1 / 48, rel=0.1)


def test_a_share_of_nothing_is_refused():
    with pytest.raises(UsageError, match="alpha is 0"):
        EmbeddingMixup(alpha=0)
