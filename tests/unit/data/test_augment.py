"""Augmentation is torchvision's in effect, and a pure function of the sample."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from pacx.core.errors import DataError, UsageError
from pacx.core.preprocessing import Preprocessing
from pacx.core.randomness import sample_keys, uniform
from pacx.data.augment import Augmentation, augment, to_input

SIDE = 48
NUM = 40
KEYS = sample_keys([f"s{index}" for index in range(NUM)])
NOISE = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (NUM, SIDE, SIDE), dtype=np.uint8))
EVERYTHING = replace(Augmentation.DISTILLATION, flip_probability=0.5, jitter_probability=0.6, blur_probability=0.5)


def augmented(
    config: Augmentation, images: torch.Tensor = NOISE, keys: np.ndarray = KEYS, epoch: int = 0
) -> torch.Tensor:
    return augment(images, keys, config, seed=5, epoch=epoch)


def draw(purpose: str, count: int) -> np.ndarray:
    return uniform(5, f"augment-{purpose}", 0, KEYS, count)


def happens(purpose: str, probability: float) -> np.ndarray:
    return draw(f"{purpose}-happens", 1)[:, 0] < probability


def test_nothing_happens_by_default() -> None:
    assert torch.equal(augmented(Augmentation()), NOISE.float() / 255)


@pytest.mark.parametrize(
    "config", [Augmentation.STAGE1, Augmentation.STAGE1_RELEASED, Augmentation.DISTILLATION, EVERYTHING]
)
def test_a_film_alone_has_the_pixels_it_has_in_a_batch(config: Augmentation) -> None:
    together = augmented(config)
    assert together.dtype == torch.float32
    assert together.min() >= 0
    assert together.max() <= 1
    for index in range(NUM):
        alone = augmented(config, NOISE[index : index + 1], KEYS[index : index + 1])
        assert torch.equal(alone[0], together[index])
    backwards = augmented(config, NOISE.flip(0), KEYS[::-1].copy())
    assert torch.equal(backwards.flip(0), together)


def test_epochs_differ_and_repeat() -> None:
    first = augmented(EVERYTHING)
    assert torch.equal(augmented(EVERYTHING), first)
    assert not torch.equal(augmented(EVERYTHING, epoch=1), first)


def test_switching_one_thing_on_moves_no_other() -> None:
    cropped = augmented(Augmentation.STAGE1)
    with_erasing = augmented(replace(Augmentation.STAGE1, erasing_probability=1.0))
    kept = with_erasing != torch.tensor(0.449)
    assert 0.88 < kept.float().mean() < 0.99
    assert torch.equal(with_erasing[kept], cropped[kept])


def test_no_global_generator_is_touched() -> None:
    before = torch.get_rng_state()
    augmented(EVERYTHING)
    assert torch.equal(torch.get_rng_state(), before)


def crop_of(index: int, scale: tuple[float, float], ratio: tuple[float, float]) -> tuple[int, int, int, int]:
    """RandomResizedCrop's rule written as its loop, on the same numbers; left, top, width, height."""
    unit = draw("crop", 22)[index]
    for attempt in range(10):
        area = SIDE * SIDE * (scale[0] + (scale[1] - scale[0]) * unit[attempt])
        shape = np.exp(np.log(ratio[0]) + (np.log(ratio[1]) - np.log(ratio[0])) * unit[10 + attempt])
        width, height = round(np.sqrt(area * shape)), round(np.sqrt(area / shape))
        if width <= SIDE and height <= SIDE:
            return int(unit[20] * (SIDE - width + 1)), int(unit[21] * (SIDE - height + 1)), width, height
    return 0, 0, SIDE, SIDE


@pytest.mark.parametrize("scale", [(0.5, 1.0), (0.05, 0.1), (0.95, 1.0)])
def test_crops_are_torchvisions(scale: tuple[float, float]) -> None:
    found = augmented(Augmentation(crop_scale=scale))
    for index in range(NUM):
        left, top, width, height = crop_of(index, scale, (3 / 4, 4 / 3))
        expected = tv.resized_crop(NOISE[index : index + 1].float() / 255, top, left, height, width, [SIDE, SIDE])
        assert torch.allclose(found[index], expected[0], atol=2e-5)


def test_a_crop_that_never_fits_is_the_whole_film() -> None:
    found = augmented(Augmentation(crop_scale=(1.0, 1.0), crop_ratio=(1.3, 1.4)))
    assert torch.allclose(found, NOISE.float() / 255, atol=2e-5)


def test_flips_are_mirror_images_of_about_half() -> None:
    found = augmented(Augmentation(flip_probability=0.5))
    is_flipped = happens("flip", 0.5)
    assert 10 < is_flipped.sum() < 30
    plain = NOISE.float() / 255
    assert torch.allclose(found[is_flipped], plain[is_flipped].flip(-1), atol=2e-5)
    assert torch.allclose(found[~is_flipped], plain[~is_flipped], atol=2e-5)


def test_affine_maps_are_torchvisions() -> None:
    smooth = tv.gaussian_blur(NOISE.float() / 255, [9, 9]) * 255
    images = smooth.to(torch.uint8)
    found = augmented(Augmentation(affine_probability=0.6), images)
    unit, shift_px = draw("affine", 4), 0.1 * SIDE
    is_moved = happens("affine", 0.6)
    assert 15 < is_moved.sum() < 33
    for index in range(NUM):
        plain = images[index : index + 1].float() / 255
        if not is_moved[index]:
            assert torch.allclose(found[index], plain[0], atol=2e-5)
            continue
        shift = [round(-shift_px + 2 * shift_px * value) for value in unit[index, 2:]]
        expected = tv.affine(
            plain, angle=-10 + 20 * unit[index, 0], translate=shift, scale=0.9 + 0.2 * unit[index, 1],
            shear=[0.0, 0.0], interpolation=tv.InterpolationMode.BILINEAR, fill=[0.0],
        )[0]  # fmt: skip
        # The rim is ours: no pixels that are half black. So the film is compared two pixels further in.
        shown = torch.nn.functional.pad((expected > 0) & (found[index] > 0), (2, 2, 2, 2))
        inside = torch.nn.functional.max_pool2d((~shown)[None].float(), 5, 1)[0] == 0
        assert inside.float().mean() > 0.5
        assert torch.allclose(found[index][inside], expected[inside], atol=1e-4)
        outside = (expected == 0) & (found[index] == 0)
        assert (inside | outside).float().mean() > 0.7


def test_flip_crop_and_affine_are_as_if_done_one_after_the_other() -> None:
    gradient = (torch.arange(SIDE)[None, :] * 3 + torch.arange(SIDE)[:, None] * 2).to(torch.uint8).expand(NUM, -1, -1)
    moves = {"flip_probability": 0.5, "affine_probability": 1.0}
    at_once = augmented(Augmentation(crop_scale=(0.5, 1.0), **moves), gradient)
    cropped = (augmented(Augmentation(crop_scale=(0.5, 1.0)), gradient) * 255).round().to(torch.uint8)
    in_turn = augmented(Augmentation(**moves), cropped)
    assert torch.allclose(at_once, in_turn, atol=1.5 / 255)


def test_jitter_is_torchvisions_brightness_then_contrast() -> None:
    found = augmented(Augmentation(jitter_probability=0.3))
    unit, is_changed = draw("jitter", 2), happens("jitter", 0.3)
    assert 5 < is_changed.sum() < 20
    for index in range(NUM):
        expected = NOISE[index : index + 1].float() / 255
        if is_changed[index]:
            expected = tv.adjust_brightness(expected, 0.8 + 0.4 * unit[index, 0])
            expected = tv.adjust_contrast(expected, 0.8 + 0.4 * unit[index, 1])
        assert torch.allclose(found[index], expected[0], atol=2e-5)


def test_blur_is_torchvisions() -> None:
    found = augmented(Augmentation(blur_probability=0.5))
    sigma, is_blurred = 0.1 + 1.9 * draw("blur", 1)[:, 0], happens("blur", 0.5)
    assert 10 < is_blurred.sum() < 30
    for index in range(NUM):
        expected = NOISE[index : index + 1].float() / 255
        if is_blurred[index]:
            expected = tv.gaussian_blur(expected, [13, 13], [float(sigma[index])] * 2)
        assert torch.allclose(found[index], expected[0], atol=1e-5)


def test_erasing_paints_one_rectangle_of_the_size_asked_for() -> None:
    found = augmented(Augmentation(erasing_probability=0.25))
    plain = NOISE.float() / 255
    is_erased = happens("erasing", 0.25)
    assert 4 < is_erased.sum() < 18
    assert torch.equal(found[~is_erased], plain[~is_erased])
    for index in np.flatnonzero(is_erased):
        painted = found[index] == torch.tensor(0.449)
        rows, columns = painted.any(dim=1).sum(), painted.any(dim=0).sum()
        assert painted.sum() == rows * columns
        assert 0.015 < painted.float().mean() < 0.11
        assert torch.equal(found[index][~painted], plain[index][~painted])


def test_input_equals_the_contract_bit_for_bit() -> None:
    contract = Preprocessing(image_size_px=SIDE)
    expected = torch.from_numpy(contract.normalize(NOISE.numpy()))
    assert torch.equal(to_input(NOISE, contract), expected)
    assert torch.equal(to_input(NOISE.float() / 255, contract), expected)
    one = Preprocessing(image_size_px=SIDE, num_channels=1, mean=(0.5,), std=(0.25,))
    assert to_input(NOISE, one).shape == (NUM, 1, SIDE, SIDE)
    with pytest.raises(DataError, match="made for 224 x 224"):
        to_input(NOISE, Preprocessing())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flip_probability": 1.5}, "flip_probability is 1.5"),
        ({"crop_scale": (0.5, 1.5)}, "crop_scale is"),
        ({"crop_scale": (0.0, 1.0)}, "crop_scale is"),
        ({"erasing_area": (0.1, 0.5)}, "longer than the film"),
    ],
)
def test_impossible_augmentations_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Augmentation(**options)
