"""Cosine regression against a loop, closed forms, and the paper's sum of halves."""

import math

import pytest
import torch

from pacx.core.errors import TrainingError, UsageError
from pacx.objectives.cosine import cosine_distance
from pacx.objectives.objective import FilmFeatures, complete
from pacx.objectives.regression import RegressionConfig, RegressionObjective

WIDTHS = {"ecg": 12, "labs": 6}


def film(embedding: torch.Tensor) -> FilmFeatures:
    return FilmFeatures(embedding, embedding[:, None])


def draw(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def batch() -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    return draw(5, 10, seed=0), {name: draw(5, width, seed=width) for name, width in WIDTHS.items()}


def slow_cosine(a: list[float], b: list[float]) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def test_equals_a_loop():
    ours, theirs = draw(6, 4, seed=1), draw(6, 4, seed=2)
    expected = sum(1 - slow_cosine(a, b) for a, b in zip(ours.tolist(), theirs.tolist(), strict=True)) / 6
    assert cosine_distance(ours, theirs).mean().item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("factor", "expected"), [(3.0, 0.0), (-0.5, 2.0)])
def test_direction_decides_and_length_does_not(factor: float, expected: float):
    target = draw(6, 4, seed=3)
    assert cosine_distance(factor * target, target).mean().item() == pytest.approx(expected, abs=1e-12)


def test_orthogonal_predictions_cost_one():
    axes = torch.eye(4, dtype=torch.float64)
    assert cosine_distance(axes, axes.roll(1, 0)).tolist() == [1] * 4


def test_no_gradient_reaches_the_target():
    prediction, target = draw(3, 4, seed=4).requires_grad_(), draw(3, 4, seed=5).requires_grad_()
    cosine_distance(prediction, target).sum().backward()
    assert target.grad is None
    assert prediction.grad is not None
    assert prediction.grad.abs().sum() > 0


def test_two_modalities_are_the_papers_sum_of_halves_and_one_is_whole():
    embedding, targets = batch()
    both = RegressionObjective(RegressionConfig(), 10, WIDTHS, seed=1).double()
    distances = {name: cosine_distance(both.heads[name](embedding), targets[name]).mean() for name in WIDTHS}
    torch.testing.assert_close(
        both(film(embedding), complete(targets)).loss, 0.5 * distances["ecg"] + 0.5 * distances["labs"]
    )
    one = RegressionObjective(RegressionConfig(), 10, {"ecg": 12}, seed=1).double()
    one.heads["ecg"].load_state_dict(both.heads["ecg"].state_dict())
    output = one(film(embedding), complete(targets))
    torch.testing.assert_close(output.loss, distances["ecg"])
    torch.testing.assert_close(output.metrics["regression_ecg"], distances["ecg"].detach())


def test_heads_are_linear_seeded_and_private():
    state = torch.get_rng_state()
    first, again = (RegressionObjective(RegressionConfig(), 768, {"ecg": 1024, "labs": 256}, seed=2) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert sum(parameter.numel() for parameter in first.parameters()) == 769 * (1024 + 256)
    assert torch.equal(first.heads["ecg"][0].weight, again.heads["ecg"][0].weight)
    released = RegressionObjective(RegressionConfig(head_dropout=0.2, use_head_layer_norm=True), 10, WIDTHS)
    assert [type(layer).__name__ for layer in released.heads["ecg"]] == ["Dropout", "Linear", "LayerNorm"]


def test_missing_target_and_no_modality_are_refused():
    embedding, targets = batch()
    del targets["labs"]
    with pytest.raises(TrainingError, match="labs"):
        RegressionObjective(RegressionConfig(), 10, WIDTHS).double()(film(embedding), complete(targets))
    with pytest.raises(UsageError, match="modality"):
        RegressionObjective(RegressionConfig(), 10, {})
