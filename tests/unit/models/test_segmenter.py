import math

import pytest
import torch
from torch import nn

from pacx.core.errors import ModelError
from pacx.models.segmenter import SegmentationDecoder, dice_bce_loss


def test_for_sixteen_pixel_patches_it_is_the_papers_five_layers():
    decoder = SegmentationDecoder(768, 16, seed=0)
    shapes = [
        (layer.in_channels, layer.out_channels, layer.kernel_size[0])
        for layer in decoder.modules()
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
    ]
    assert shapes == [(768, 256, 3), (256, 128, 2), (128, 64, 2), (64, 32, 2), (32, 1, 2)]


@pytest.mark.parametrize(
    ("patch_size", "widths"), [(2, [2]), (4, [128, 2]), (8, [128, 64, 2]), (32, [128, 64, 32, 16, 2])]
)
def test_other_patch_sizes_double_as_often_as_needed(patch_size: int, widths: list[int]):
    decoder = SegmentationDecoder(24, patch_size, num_masks=2)
    assert [layer.out_channels for layer in decoder.modules() if isinstance(layer, nn.ConvTranspose2d)] == widths
    assert decoder(torch.zeros(3, 9, 24)).shape == (3, 2, 3 * patch_size, 3 * patch_size)


def test_patches_of_fourteen_pixels_are_doubled_past_and_resampled():
    decoder = SegmentationDecoder(24, 14, num_masks=2, seed=0)
    assert sum(isinstance(layer, nn.ConvTranspose2d) for layer in decoder.modules()) == 4
    tokens = torch.randn(2, 9, 24, generator=torch.Generator().manual_seed(0))
    logits = decoder(tokens)
    assert logits.shape == (2, 2, 42, 42)
    doubled = SegmentationDecoder(24, 16, num_masks=2, seed=0)(tokens)
    assert logits.mean().item() == pytest.approx(doubled.mean().item(), abs=2e-3)


@pytest.mark.parametrize("patch_size", [0, 1])
def test_patch_sizes_that_need_no_doubling_are_refused(patch_size: int):
    with pytest.raises(ModelError, match="at least 2"):
        SegmentationDecoder(24, patch_size)


def test_tokens_with_the_class_token_are_refused():
    with pytest.raises(ModelError, match="leave the class token out"):
        SegmentationDecoder(24, 4)(torch.zeros(1, 10, 24))


def test_a_token_moves_the_logits_of_its_own_corner():
    decoder, tokens = SegmentationDecoder(24, 8), torch.zeros(1, 16, 24)
    moved = tokens.clone()
    moved[0, 3] = 1  # top right of four by four; the 3x3 convolution reaches one patch further
    changed = (decoder(moved) - decoder(tokens))[0, 0].abs() > 0
    assert changed[:8, 24:].all()
    assert not changed[16:].any()
    assert not changed[:, :16].any()


def test_weights_are_seeded_and_private():
    state = torch.get_rng_state()
    first, again = (SegmentationDecoder(24, 4, seed=1).state_dict() for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[key], again[key]) for key in first)


def random_case() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 2, 5, 5, generator=generator)
    masks = torch.randint(0, 3, (3, 2, 5, 5), generator=generator)
    return logits, torch.where(masks == 2, 255, masks).to(torch.uint8)


def slow_loss(logits: torch.Tensor, masks: torch.Tensor) -> float:
    """Pixel by pixel, from the definition."""
    entropies, dices = [], []
    for film_logits, film_masks in zip(logits, masks, strict=True):
        for plane_logits, plane_mask in zip(film_logits, film_masks, strict=True):
            judged = [
                (1 / (1 + math.exp(-logit)), int(value))
                for logit, value in zip(plane_logits.flatten().tolist(), plane_mask.flatten().tolist(), strict=True)
                if value != 255
            ]
            if not judged:
                continue
            entropies += [-math.log(p if inside else 1 - p) for p, inside in judged]
            overlap = sum(p * inside for p, inside in judged)
            total = sum(p + inside for p, inside in judged)
            dices.append(1 - (2 * overlap + 1) / (total + 1))
    return sum(entropies) / len(entropies) + sum(dices) / len(dices)


def test_loss_equals_a_pixel_by_pixel_sum():
    logits, masks = random_case()
    assert dice_bce_loss(logits, masks).item() == pytest.approx(slow_loss(logits, masks), rel=1e-5)
    masks[1, 0] = 255  # one mask that nobody drew
    assert dice_bce_loss(logits, masks).item() == pytest.approx(slow_loss(logits, masks), rel=1e-5)


def test_ignored_pixels_do_not_count_and_get_no_gradient():
    logits, masks = random_case()
    loss = dice_bce_loss(logits.requires_grad_(), masks)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert torch.equal(gradient != 0, masks != 255)
    elsewhere = torch.where(masks == 255, 9.0, logits.detach())
    assert dice_bce_loss(elsewhere, masks) == loss


@pytest.mark.parametrize(("value", "correct"), [(0, -40.0), (1, 40.0), (255, 40.0)])
def test_right_answers_and_unjudged_films_cost_nothing(value: int, correct: float):
    masks = torch.full((2, 1, 4, 4), value, dtype=torch.uint8)
    assert dice_bce_loss(torch.full((2, 1, 4, 4), correct), masks).item() == pytest.approx(0, abs=1e-6)


def test_shapes_must_agree():
    with pytest.raises(ModelError, match="shape"):
        dice_bce_loss(torch.zeros(2, 1, 4, 4), torch.zeros(2, 4, 4, dtype=torch.uint8))
