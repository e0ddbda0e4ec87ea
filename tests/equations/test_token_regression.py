"""Reading targets from patches: attention in closed form, and that it finds the patch that knows."""

import torch

from pacx.objectives.objective import FilmFeatures, complete
from pacx.objectives.regression import RegressionConfig
from pacx.objectives.token_regression import TargetReader, TokenRegressionConfig


def draw(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_attention_is_a_distribution_and_the_prediction_its_mean():
    reader, patches = TargetReader(6, 4, 3).double(), draw(5, 7, 6, seed=0)
    attention = reader.attention(patches)
    torch.testing.assert_close(attention.sum(1), torch.ones(5, dtype=torch.float64))
    for film in range(5):
        scores = [(reader.key(patches[film, patch]) @ reader.query).item() / 2 for patch in range(7)]
        weights = torch.tensor(scores, dtype=torch.float64).exp()
        torch.testing.assert_close(attention[film], weights / weights.sum())
        gathered = sum(attention[film, patch] * patches[film, patch] for patch in range(7))
        torch.testing.assert_close(reader(patches)[film], reader.head(gathered))


def test_finds_the_patch_that_knows():
    """Every film's target stands in one patch, marked as such; the reader learns to look there."""
    patches = draw(64, 9, 8, seed=1)
    patches[..., 0] = 0
    place = torch.arange(64) % 9
    patches[torch.arange(64), place, 0] = 2.0
    targets = complete({"ecg": patches[torch.arange(64), place, 1:]})
    objective = TokenRegressionConfig(attention_dim=8).build(8, {"ecg": 7}, seed=0).double()
    films = FilmFeatures(patches.mean(1), patches)
    optimizer = torch.optim.Adam(objective.parameters(), lr=0.05)
    before = objective(films, targets).loss.item()
    for _ in range(150):
        loss = objective(films, targets).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    attention = objective.readers["ecg"].attention(patches)
    assert (attention.argmax(1) == place).double().mean() > 0.95
    assert loss.item() < 0.3 * before


def test_the_gradient_reaches_the_patches():
    patches = draw(4, 9, 8, seed=1).requires_grad_()
    objective = TokenRegressionConfig().build(8, {"ecg": 7}, seed=0).double()
    objective(FilmFeatures(patches.mean(1).detach(), patches), complete({"ecg": draw(4, 7, seed=2)})).loss.backward()
    assert patches.grad is not None
    assert (patches.grad.abs().sum((1, 2)) > 0).all()


def test_says_where_it_reads():
    patches = draw(3, 4, 8, seed=2)
    objective = TokenRegressionConfig().build(8, {"ecg": 7, "labs": 2}, seed=0).double()
    maps = objective.reading(FilmFeatures(patches.mean(1), patches))
    for name, reader in objective.readers.items():
        assert torch.equal(maps[name], reader.attention(patches))
    assert RegressionConfig().build(8, {"ecg": 7}, seed=0).reading(FilmFeatures(patches.mean(1), patches)) == {}
