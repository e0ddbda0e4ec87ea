"""Films: pure functions of their rows, blind at visibility 0, and moved by each mechanism the way a body is."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pacx.core.errors import UsageError
from pacx.simulation.film.thorax import RenderedFilms, Scanner, render_films
from pacx.simulation.patients.physiology import Nuisance, Physiology, Visibility

HEALTHY = {
    "age_years": 40.0, "is_female": 0.0, "height_m": 1.70, "body_mass_index": 24.0, "ventricle_dilation": 0.0,
    "wall_thickness_mm": 9.0, "right_heart_load": 0.0, "aortic_widening": 0.0, "congestion": 0.0,
    "effusion_right": 0.0, "effusion_left": 0.0, "hyperinflation": 0.0, "pneumonia": 0.0, "pneumonia_side": -1.0,
    "pneumonia_height": 0.3, "infection": 0.0, "kidney_function": 100.0, "liver_failure": 0.0, "marrow_failure": 0.0,
    "iron_deficiency": 0.0, "ischemia": 0.0, "potassium_mmol_l": 4.2, "rhythm": 0.0, "conduction": 0.0,
    "heart_rate_bpm": 70.0, "has_pacemaker": 0.0, "acuity": 0.0,
}  # fmt: skip
STANDING = {
    "is_ap": 0.0, "exposure": 0.0, "rotation_deg": 0.0, "inspiration": 0.6, "tilt_deg": 0.0, "shift_x": 0.0,
    "shift_y": 0.0, "scale": 1.0, "noise": 0.2, "collimation": 0.0, "wires": 0.0,
}  # fmt: skip
ILL = {
    "age_years": 78.0, "is_female": 1.0, "height_m": 1.60, "body_mass_index": 33.0, "ventricle_dilation": 0.6,
    "wall_thickness_mm": 16.0, "right_heart_load": 0.5, "aortic_widening": 0.7, "congestion": 0.7,
    "effusion_right": 0.3, "effusion_left": 0.2, "hyperinflation": 0.4, "pneumonia": 0.6, "has_pacemaker": 1.0,
}  # fmt: skip
MECHANISMS = {
    "heart": ("ventricle_dilation", "wall_thickness_mm", "right_heart_load"),
    "aorta": ("aortic_widening",),
    "congestion": ("congestion",),
    "effusion": ("effusion_right", "effusion_left"),
    "hyperinflation": ("hyperinflation",),
    "pneumonia": ("pneumonia",),
    "pacemaker": ("has_pacemaker",),
    "body": ("body_mass_index", "height_m", "is_female"),
    "age": ("age_years",),
}


def shoot(
    *cases: dict[str, float],
    size_px: int = 96,
    seed: int = 7,
    ids: list[str] | None = None,
    visibility: Visibility | None = None,
    scanner: Scanner | None = None,
) -> RenderedFilms:
    """Films of healthy men who differ as told; all share one film id unless told otherwise."""
    rows = [HEALTHY | STANDING | case for case in cases]
    return render_films(
        Physiology(**{name: np.array([row[name] for row in rows]) for name in HEALTHY}),
        Nuisance(**{name: np.array([row[name] for row in rows]) for name in STANDING}),
        film_ids=ids or ["film"] * len(cases),
        seed=seed,
        image_size_px=size_px,
        visibility=visibility or Visibility(),
        scanner=scanner or Scanner(),
    )


def same(a: RenderedFilms, b: RenderedFilms) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("images", "lung", "heart", "opacity"))


def width(mask: np.ndarray) -> int:
    columns = np.flatnonzero(mask.any(axis=0))
    return int(columns[-1] - columns[0] + 1)


MIXED = [
    ILL | {"is_ap": 1.0, "wires": 0.9, "tilt_deg": 3.0, "collimation": 0.7},
    {"exposure": 0.6, "rotation_deg": -9.0, "scale": 0.93},
    {"effusion_left": 0.8, "congestion": 1.0},
]


@pytest.mark.parametrize("size_px", [96, 200])
def test_film_does_not_depend_on_its_batch(size_px: int) -> None:
    ids = ["a", "b", "c"]
    together = shoot(*MIXED, ids=ids, size_px=size_px)
    for row in range(3):
        alone = shoot(MIXED[row], ids=[ids[row]], size_px=size_px)
        assert np.array_equal(alone.images[0], together.images[row])
        assert np.array_equal(alone.opacity[0], together.opacity[row])
    backwards = shoot(*MIXED[::-1], ids=ids[::-1], size_px=size_px)
    assert np.array_equal(backwards.images[::-1], together.images)


@pytest.mark.parametrize("size_px", [200, 331])
def test_film_does_not_depend_on_the_number_of_threads(size_px: int) -> None:
    one = shoot(MIXED[0], size_px=size_px)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        two = shoot(MIXED[0], size_px=size_px)
    finally:
        torch.set_num_threads(before)
    assert same(one, two)


def test_one_thread_renders_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Roots of a few thousand pixels shared among threads take many times as long, most of all on a busy machine."""
    seen: list[int] = []
    root = torch.Tensor.sqrt
    monkeypatch.setattr(torch.Tensor, "sqrt", lambda values: (seen.append(torch.get_num_threads()), root(values))[1])
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        shoot({})
        assert set(seen) == {1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_film_is_a_function_of_seed_and_id() -> None:
    first = shoot({}, ids=["a"])
    assert same(first, shoot({}, ids=["a"]))
    assert not np.array_equal(first.images, shoot({}, ids=["b"]).images)
    assert not np.array_equal(first.images, shoot({}, ids=["a"], seed=8).images)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_mechanism_of_visibility_zero_leaves_no_byte(mechanism: str) -> None:
    removed = ILL | {name: HEALTHY[name] for name in MECHANISMS[mechanism]}
    blind = replace(Visibility(), **{mechanism: 0.0})
    unseen, without, seen = shoot(ILL, visibility=blind), shoot(removed), shoot(ILL)
    assert same(unseen, without)
    assert np.abs(seen.images.astype(int) - without.images).max() > 5  # or the equality above would be empty


def test_visibility_exaggerates() -> None:
    case = {"ventricle_dilation": 0.4}
    widths = [width(shoot(case, visibility=Visibility(heart=v)).heart[0]) for v in (0.0, 0.5, 1.0, 2.0)]
    assert widths == sorted(widths)
    assert widths[0] < widths[2] < widths[3]


def test_cardiothoracic_ratio_grows_with_the_ventricle() -> None:
    severities = np.linspace(0.0, 1.0, 6)
    films = shoot(*({"ventricle_dilation": float(s)} for s in severities), size_px=256)
    ratios = [width(h) / width(lung) for h, lung in zip(films.heart, films.lung, strict=True)]
    assert np.all(np.diff(ratios) > 0.0)
    assert 0.38 < ratios[0] < 0.50  # what radiologists call normal
    assert ratios[-1] > 0.58


def test_bedside_film_magnifies_the_heart() -> None:
    films = shoot({}, {"is_ap": 1.0}, size_px=192)
    assert width(films.heart[1]) > 1.05 * width(films.heart[0])


def test_effusion_rises_from_the_base_of_its_side() -> None:
    amounts = (0.0, 0.15, 0.4, 0.8)
    films = shoot(*({"effusion_right": a} for a in amounts))
    right = films.lung[0] & (np.arange(96) < 48)
    area = films.opacity.sum(axis=(1, 2))
    assert area[0] == 0
    assert np.all(np.diff(area) > 20)
    assert not (films.opacity & ~right).any()
    rows = np.flatnonzero(right.any(axis=1))
    base = right & (np.arange(96)[:, None] > rows[0] + 0.75 * len(rows))
    brightness = [film[base].mean() for film in films.images]
    assert np.all(np.diff(brightness) > 3.0)
    apex = right & (np.arange(96)[:, None] < rows[0] + 0.2 * len(rows))
    assert abs(films.images[1][apex].mean() - films.images[0][apex].mean()) < 4.0
    tops = [np.flatnonzero(mask.any(axis=1))[0] for mask in films.opacity[1:]]
    assert tops == sorted(tops, reverse=True)


def test_hyperinflated_lungs_are_long_dark_and_hold_a_narrow_heart() -> None:
    films = shoot({}, {"hyperinflation": 0.5}, {"hyperinflation": 1.0}, size_px=192)
    heights = [int(mask.any(axis=1).sum()) for mask in films.lung]
    shade = [
        film[mask & ~heart].mean() for film, mask, heart in zip(films.images, films.lung, films.heart, strict=True)
    ]
    assert heights == sorted(heights)
    assert shade == sorted(shade, reverse=True)
    assert width(films.heart[2]) < width(films.heart[0])


def test_pneumonia_lies_where_it_was_put() -> None:
    places = [{"pneumonia": 0.7, "pneumonia_side": s, "pneumonia_height": h} for s in (-1.0, 1.0) for h in (0.0, 1.0)]
    films = shoot(*places)
    centers = [np.argwhere(mask).mean(axis=0) for mask in films.opacity]  # (row, column)
    assert all(c[1] < 48 for c in centers[:2])
    assert all(c[1] > 48 for c in centers[2:])
    assert centers[0][0] > centers[1][0] + 10
    assert centers[2][0] > centers[3][0] + 10


def test_congestion_brightens_the_lungs_and_ends_in_oedema() -> None:
    films = shoot(*({"congestion": c} for c in (0.0, 0.3, 0.6, 1.0)))
    lung = films.lung[0] & ~films.heart[0]
    brightness = [film[lung].mean() for film in films.images]
    assert np.all(np.diff(brightness) > 1.0)
    assert not films.opacity[:2].any()
    assert films.opacity[3].sum() > films.opacity[2].sum()


def test_loaded_right_heart_and_unfolded_aorta_widen_their_own_borders() -> None:
    films = shoot({}, {"right_heart_load": 1.0}, {"aortic_widening": 1.0}, size_px=192)
    columns = [np.flatnonzero(mask.any(axis=0)) for mask in films.heart]
    assert columns[1][0] < columns[0][0] - 3  # the right atrium
    assert np.array_equal(films.heart[2], films.heart[0])  # the aorta is no part of the heart's mask
    knob = (slice(40, 64), slice(104, 130))
    assert films.images[2][knob].mean() > films.images[0][knob].mean() + 10.0


def test_pacemaker_is_the_brightest_thing_on_the_chest() -> None:
    films = shoot({}, {"has_pacemaker": 1.0}, size_px=192)
    added = films.images[1].astype(int) - films.images[0]
    row, column = np.unravel_index(added.argmax(), added.shape)
    assert added.max() > 60
    assert column > 96  # below the left clavicle
    assert row < 96


def test_masks_are_disjoint_and_nested_as_documented() -> None:
    films = shoot(*MIXED, ids=["a", "b", "c"])
    assert films.images.dtype == np.uint8
    for name in ("lung", "heart", "opacity"):
        assert getattr(films, name).dtype == np.bool_
    assert (films.lung.mean(axis=(1, 2)) > 0.1).all()
    assert (films.heart.mean(axis=(1, 2)) > 0.04).all()
    assert films.opacity[0].any()
    assert not (films.opacity & ~films.lung).any()
    upright = shoot({})
    assert not upright.lung[0][:, 47:49].any()  # two lungs, apart
    free = upright.lung[0] & ~upright.heart[0]
    assert free[:, :47].sum() > free[:, 49:].sum()  # the heart takes its room from the left one
    assert (upright.lung & upright.heart).any()  # lung behind the heart counts


def test_masks_are_geometry() -> None:
    looks = {"exposure": 0.9, "noise": 1.0, "collimation": 1.0, "wires": 1.0}
    plain, other = shoot(ILL), shoot(ILL | looks, scanner=Scanner(gamma=1.4, contrast=0.8, blur_px=3.0))
    assert not np.array_equal(plain.images, other.images)
    for name in ("lung", "heart", "opacity"):
        assert np.array_equal(getattr(plain, name), getattr(other, name))


def test_pose_moves_film_and_masks_together() -> None:
    films = shoot({"noise": 0.0}, {"noise": 0.0, "shift_x": 8 / 96, "shift_y": -4 / 96})
    assert np.array_equal(films.lung[1][:-4, 8:], films.lung[0][4:, :-8])


def test_scanner_has_its_look() -> None:
    neutral = shoot({}, size_px=192).images.astype(float)
    darker = shoot({}, size_px=192, scanner=Scanner(gamma=1.3)).images
    softer = shoot({}, size_px=192, scanner=Scanner(blur_px=4.0)).images.astype(float)
    noisier = shoot({"noise": 1.0}, size_px=192, scanner=Scanner(noise_gain=6.0)).images.astype(float)
    flatter = shoot({}, size_px=192, scanner=Scanner(contrast=0.6)).images
    assert darker.mean() < neutral.mean() - 3.0

    def detail(images: np.ndarray) -> float:
        return float(np.abs(np.diff(images[0], axis=1)).mean())

    assert detail(softer) < detail(neutral) < detail(noisier)
    assert flatter.std() < neutral.std()


def test_overexposure_darkens_and_collimation_blackens_the_border() -> None:
    films = shoot({"exposure": -1.0}, {}, {"exposure": 1.0})
    means = films.images.mean(axis=(1, 2))
    assert means[0] > means[1] > means[2]
    bordered = shoot({"collimation": 1.0}).images[0]
    edges = [bordered[0], bordered[-1], bordered[:, 0], bordered[:, -1]]
    assert sum(int(not edge.any()) for edge in edges) >= 2


def test_size_shows_the_same_film_finer() -> None:
    small, large = (shoot(ILL | {"noise": 0.0}, size_px=s) for s in (64, 256))
    shrunk = large.images[0].reshape(64, 4, 64, 4).mean(axis=(1, 3))
    assert np.abs(shrunk - small.images[0]).mean() < 4.0
    assert (large.lung[0][2::4, 2::4] != small.lung[0]).mean() < 0.02


def test_misaligned_rows_and_tiny_films_are_refused() -> None:
    with pytest.raises(UsageError, match="film ids"):
        shoot({}, {}, ids=["one"])
    with pytest.raises(UsageError, match="at least 32"):
        shoot({}, size_px=16)
