"""InfoNCE against a loop over pairs and closed forms, its heads, its refusals."""

import math

import numpy as np
import pytest
import torch

from pacx.core.errors import TrainingError, UsageError
from pacx.objectives.contrastive import ContrastiveConfig, ContrastiveObjective, info_nce
from pacx.objectives.objective import FilmFeatures, complete

START = torch.tensor(math.log(1 / 0.07), dtype=torch.float64)


def film(embedding: torch.Tensor) -> FilmFeatures:
    return FilmFeatures(embedding, embedding[:, None])


def draw(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow_info_nce(image: np.ndarray, target: np.ndarray, scale: float, smoothing: float) -> float:
    batch, total = len(image), 0.0
    for queries, keys in ((image, target), (target, image)):
        for i in range(batch):
            cosines = [
                float(queries[i] @ keys[j]) / math.sqrt(float(queries[i] @ queries[i]) * float(keys[j] @ keys[j]))
                for j in range(batch)
            ]
            log_sum = math.log(sum(math.exp(scale * cosine) for cosine in cosines))
            for j in range(batch):
                wanted = (1 - smoothing) * (i == j) + smoothing / batch
                total -= wanted * (scale * cosines[j] - log_sum)
    return total / (2 * batch)


@pytest.mark.parametrize("smoothing", [0.0, 0.02, 0.3])
def test_equals_a_loop_over_pairs(smoothing: float):
    image, target = draw(7, 5, seed=0), draw(7, 5, seed=1)
    ours = info_nce(image, target, START, label_smoothing=smoothing)
    assert ours.item() == pytest.approx(slow_info_nce(image.numpy(), target.numpy(), 1 / 0.07, smoothing), rel=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.02])
def test_identical_embeddings_cost_the_logarithm_of_the_batch(smoothing: float):
    same = draw(1, 5, seed=0).expand(9, 5)
    assert info_nce(same, same, START, label_smoothing=smoothing).item() == pytest.approx(math.log(9), rel=1e-12)


def test_perfect_alignment_leaves_only_what_the_scale_allows():
    axes, scale = torch.eye(6, dtype=torch.float64), 20.0
    log_scale = torch.tensor(math.log(scale), dtype=torch.float64)
    floor = math.log1p(5 * math.exp(-scale))
    assert info_nce(axes, axes, log_scale, label_smoothing=0.0).item() == pytest.approx(floor, rel=1e-6)
    smoothed = floor + 0.02 * scale * 5 / 6
    assert info_nce(axes, axes, log_scale, label_smoothing=0.02).item() == pytest.approx(smoothed, rel=1e-12)


def test_lengths_do_not_matter_and_the_loss_is_symmetric():
    image, target = draw(6, 4, seed=2), draw(6, 4, seed=3)
    lengths = torch.arange(1.0, 7.0, dtype=torch.float64)[:, None]
    loss = info_nce(image, target, START, label_smoothing=0.02)
    torch.testing.assert_close(info_nce(image * lengths, target / lengths, START, label_smoothing=0.02), loss)
    torch.testing.assert_close(info_nce(target, image, START, label_smoothing=0.02), loss)


@pytest.mark.parametrize(("log_scale", "bound"), [(-3.0, 1.0), (9.0, 100.0)])
def test_scale_is_clamped(log_scale: float, bound: float):
    image, target = draw(5, 4, seed=4), draw(5, 4, seed=5)
    outside = torch.tensor(log_scale, dtype=torch.float64, requires_grad=True)
    loss = info_nce(image, target, outside, label_smoothing=0.0)
    assert loss.item() == pytest.approx(slow_info_nce(image.numpy(), target.numpy(), bound, 0.0), rel=1e-12)
    loss.backward()
    assert outside.grad == 0


def test_gradient_is_the_derivative():
    image, target = draw(4, 3, seed=6).requires_grad_(), draw(4, 3, seed=7).requires_grad_()
    log_scale = START.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda *x: info_nce(*x, label_smoothing=0.02), (image, target, log_scale))


def test_half_precision_inputs_are_scored_in_float32():
    image, target = draw(8, 16, seed=8).bfloat16(), draw(8, 16, seed=9).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = info_nce(image, target, START, label_smoothing=0.02)
    exact = info_nce(image.double(), target.double(), START, label_smoothing=0.02)
    assert mixed.item() == pytest.approx(exact.item(), rel=1e-5)


WIDTHS = {"ecg": 12, "labs": 6}


def objective(**options: float) -> ContrastiveObjective:
    return ContrastiveObjective(ContrastiveConfig(shared_dim=8, **options), 10, WIDTHS, seed=1).double()


def batch(rows: slice = slice(None)) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    targets = {name: draw(8, width, seed=20 + width)[rows] for name, width in WIDTHS.items()}
    return draw(8, 10, seed=10)[rows], targets


def test_objective_averages_over_modalities_and_owns_linear_heads():
    module, (embedding, targets) = objective(), batch()
    output = module(film(embedding), complete(targets))
    pairs = [output.metrics[f"contrastive_{name}"] for name in WIDTHS]
    torch.testing.assert_close(output.loss, torch.stack(pairs).mean())
    expected = info_nce(
        module.image_projection(embedding),
        module.target_projections["labs"](targets["labs"]),
        module.log_scale,
        label_smoothing=0.02,
    )
    torch.testing.assert_close(pairs[1], expected.detach())
    assert output.metrics["temperature"].item() == pytest.approx(0.07, rel=1e-6)
    assert sum(parameter.numel() for parameter in module.parameters()) == 8 * (10 + 12 + 6 + 3) + 1
    paper = ContrastiveObjective(ContrastiveConfig(), 768, {"ecg": 1024, "labs": 256})
    assert sum(parameter.numel() for parameter in paper.parameters()) == 256 * (768 + 1024 + 256 + 3) + 1


def test_objective_is_seeded_and_private():
    state = torch.get_rng_state()
    first, again = objective().state_dict(), objective().state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[key], again[key]) for key in first)


def test_released_heads_have_dropout_and_norm():
    module = ContrastiveObjective(ContrastiveConfig(head_dropout=0.2, use_head_layer_norm=True), 10, WIDTHS)
    kinds = [type(layer).__name__ for layer in module.image_projection.children()]
    assert kinds == ["Dropout", "Linear", "LayerNorm"]


def test_missing_target_and_no_modality_are_refused():
    embedding, targets = batch()
    del targets["ecg"]
    with pytest.raises(TrainingError, match="ecg"):
        objective()(film(embedding), complete(targets))
    with pytest.raises(UsageError, match="modality"):
        ContrastiveObjective(ContrastiveConfig(), 10, {})
