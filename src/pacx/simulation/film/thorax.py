"""Chest films of simulated patients: a Beer-Lambert projection of an analytic phantom.

Physiology and nuisance become an ``Anatomy``; every ray's length in lung, soft tissue, bone, air and metal is known in
closed form (``organs``, ``skeleton``); attenuation times length adds up, and ``film`` develops the sum. Vessels and
devices are curves of known volume. A film is a pure function of its own row, its id, the seed, the size, the
visibility and the scanner: films are computed in small chunks of pixels, elementwise, so neither the batch nor the
number of threads can be seen in a byte.

It refuses to be a source of medical truth: a cartoon good enough to learn from, not to diagnose with.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pacx.core.errors import UsageError
from pacx.core.randomness import generator, sample_keys, uniform
from pacx.simulation.film.anatomy import FILM_WIDTH_CM, Anatomy, AnatomyTable, build_anatomy
from pacx.simulation.film.curves import Curve, gaussian_blur, splat
from pacx.simulation.film.devices import pacemaker_leads, side_marker, wires
from pacx.simulation.film.exposure import Exposure, collimate, develop
from pacx.simulation.film.projection import Projection, Thin, project
from pacx.simulation.film.vessels import LungFrame, pulmonary_tree
from pacx.simulation.patients.physiology import Nuisance, Physiology, Visibility
from pacx.simulation.patients.sites import Scanner

__all__ = ["RenderedFilms", "Scanner", "render_films"]

_PIXELS_PER_CHUNK = 32_768  # small enough for the second-level cache
_CALIBRE_SIGMAS_CM = (0.22, 0.10, 0.04)
_TEXTURE_CELLS = 6
_TEXTURE_OCTAVES = 5


@dataclass(frozen=True, kw_only=True)
class RenderedFilms:
    """N rendered films with their exact masks.

    The masks are geometry, untouched by exposure, noise, collimation and wires. ``lung``: both pleural spaces seen from
    the front, above the domes and lateral of the mediastinum, including the lung *behind the heart* and lung that is
    filled (as lungs are annotated in practice). ``heart``: chambers and pulmonary trunk, so it overlaps ``lung`` but
    not the aorta. ``opacity``: the part of ``lung`` where effusion, pneumonia or alveolar oedema add attenuation of
    more than 0.12; it is a subset of ``lung`` and may overlap ``heart``.
    """

    images: NDArray[np.uint8]  # (N, S, S), dense is bright
    lung: NDArray[np.bool_]  # (N, S, S)
    heart: NDArray[np.bool_]  # (N, S, S)
    opacity: NDArray[np.bool_]  # (N, S, S)


def render_films(
    physiology: Physiology,
    nuisance: Nuisance,
    *,
    film_ids: Sequence[str],
    seed: int,
    image_size_px: int,
    visibility: Visibility,
    scanner: Scanner,
    device: str = "cpu",
) -> RenderedFilms:
    """Chest films of N patients.

    Args:
        physiology: Row i is the patient on film i.
        nuisance: Row i is how film i was taken.
        film_ids: N unique names; with the seed they fix vessels, texture and noise.
        seed: Of the simulation.
        image_size_px: Width and height of the square films, at least 32.
        visibility: How strongly each mechanism shows; at 0 a film equals that of a patient without it.
        scanner: The machine's look.
        device: Where torch computes. Bytes are reproducible per device, not between devices.

    Raises:
        UsageError: The rows do not align or the size is too small.
    """
    num_films = len(film_ids)
    if len(physiology) != num_films or len(nuisance.is_ap) != num_films:
        raise UsageError(
            f"render_films got {len(physiology)} rows of physiology, {len(nuisance.is_ap)} of nuisance and {num_films} "
            "film ids; expected one of each per film; repeat the patient's row for every film"
        )
    if image_size_px < 32:
        raise UsageError(f"image_size_px is {image_size_px}; a chest film needs at least 32; pass a larger size")
    table = build_anatomy(physiology, nuisance, visibility, film_ids=film_ids, seed=seed)
    shape = (num_films, image_size_px, image_size_px)
    films = RenderedFilms(
        images=np.empty(shape, dtype=np.uint8),
        lung=np.empty(shape, dtype=np.bool_),
        heart=np.empty(shape, dtype=np.bool_),
        opacity=np.empty(shape, dtype=np.bool_),
    )
    place = torch.device(device)
    with _one_thread():
        for row in range(num_films):
            _render_one(films, row, table, nuisance, str(film_ids[row]), seed, scanner, place)
    return films


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch work in one thread: MKL shares roots and exponentials among threads however short they are."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)


def _render_one(
    films: RenderedFilms,
    row: int,
    table: AnatomyTable,
    nuisance: Nuisance,
    film_id: str,
    seed: int,
    scanner: Scanner,
    device: torch.device,
) -> None:
    """Write film ``row``: textures and curves, projection in strips of pixels, development."""
    size_px = films.images.shape[-1]
    anatomy = table.rows(row, row + 1, device)
    thin = _thin_things(anatomy, table, row, float(nuisance.wires[row]), film_id, seed, size_px)
    thin = Thin(**{f.name: getattr(thin, f.name).to(device) for f in fields(Thin)})
    ticks = (torch.arange(size_px, device=device, dtype=torch.float32) + 0.5) * (FILM_WIDTH_CM / size_px)
    ticks = ticks - 0.5 * FILM_WIDTH_CM
    film_x, film_y = ticks[None, None, :], ticks[None, :, None]
    strips: list[Projection] = []
    rows_per_strip = max(1, _PIXELS_PER_CHUNK // size_px)
    for top in range(0, size_px, rows_per_strip):
        part = slice(top, min(size_px, top + rows_per_strip))
        dx = (film_x - anatomy.shift_x) / anatomy.magnification
        dy = (film_y[:, part] - anatomy.shift_y) / anatomy.magnification
        x = anatomy.cos_tilt * dx + anatomy.sin_tilt * dy
        y = anatomy.cos_tilt * dy - anatomy.sin_tilt * dx
        strips.append(project(anatomy, x, y, thin.strip(part)))
    attenuation = torch.cat([s.attenuation for s in strips], dim=1)  # (1, S, S)
    for name in ("lung", "heart", "opacity"):
        getattr(films, name)[row] = torch.cat([getattr(s, name) for s in strips], dim=1)[0].cpu().numpy()

    def scalar(value: float) -> Tensor:
        return torch.full((1, 1, 1), value, dtype=torch.float32, device=device)

    noise = generator(seed, "film", film_id, "quanta").standard_normal((1, size_px, size_px), dtype=np.float32)
    how = Exposure(
        exposure=scalar(float(nuisance.exposure[row])),
        noise=scalar(float(nuisance.noise[row])),
        thickness=anatomy.fat,
    )
    bright = develop(attenuation, torch.from_numpy(noise).to(device), how, scanner)
    blades = uniform(seed, "film-collimator", 0, sample_keys([film_id]), 4)[0] * 2.6 * float(nuisance.collimation[row])
    blades = (blades - 0.5 * FILM_WIDTH_CM - 0.2) * np.array([1.0, -1.0, 1.0, -1.0])
    edges = torch.from_numpy(blades.astype(np.float32)).to(device)[:, None, None, None]
    bright = collimate(bright, film_x, film_y, edges)
    films.images[row] = (bright[0] * 255.0 + 0.5).clamp(0.0, 255.0).to(torch.uint8).cpu().numpy()


def _thin_things(
    anatomy: Anatomy, table: AnatomyTable, row: int, wires_amount: float, film_id: str, seed: int, size_px: int
) -> Thin:
    """Vessels, metal and textures of one film, each (1, S, S)."""
    s = table.signs
    frame = LungFrame(
        top=float(anatomy.lung_base - anatomy.lung_height),
        dome_right=float(anatomy.dome_r),
        dome_left=float(anatomy.dome_l),
        width=float(anatomy.lung_width_r),
        congestion=float(s.congestion[row]),
        right_load=float(s.right_load[row]),
        hyperinflation=float(s.hyperinflation[row]),
    )
    pixels_per_cm = size_px / FILM_WIDTH_CM
    tree = pulmonary_tree(frame, generator(seed, "film", film_id, "vessels"), points_per_cm=1.3 * pixels_per_cm)
    vessels = torch.zeros(1, size_px, size_px)
    for group, sigma_cm in zip(tree, _CALIBRE_SIGMAS_CM, strict=True):
        drawn = torch.from_numpy(splat([_on_film(c, anatomy) for c in group], size_px, pixels_per_cm))[None]
        vessels = vessels + gaussian_blur(drawn, sigma_cm * pixels_per_cm)
    random = generator(seed, "film", film_id, "devices")
    metal = [*side_marker(random), *wires(wires_amount, random)]
    if float(anatomy.pacemaker) > 0.0:
        leads = pacemaker_leads(float(anatomy.heart_size), float(anatomy.heart_y), random)
        strength = float(anatomy.pacemaker)
        metal += [_on_film(Curve(x=c.x, y=c.y, volume=c.volume * strength), anatomy) for c in leads]
    devices = gaussian_blur(torch.from_numpy(splat(metal, size_px, pixels_per_cm))[None], 0.035 * pixels_per_cm)
    texture = _texture(generator(seed, "film", film_id, "texture"), size_px)
    return Thin(
        vessels=vessels,
        blurred_vessels=gaussian_blur(vessels, 0.3 * pixels_per_cm),
        devices=devices,
        fine=texture[0:1],
        patchy=texture[1:2],
    )


def _on_film(curve: Curve, anatomy: Anatomy) -> Curve:
    cosine, sine = float(anatomy.cos_tilt), float(anatomy.sin_tilt)
    scale = float(anatomy.magnification)
    return Curve(
        x=scale * (cosine * curve.x - sine * curve.y) + float(anatomy.shift_x),
        y=scale * (sine * curve.x + cosine * curve.y) + float(anatomy.shift_y),
        volume=curve.volume * scale**2,
    )


def _texture(random: np.random.Generator, size_px: int) -> Tensor:
    """Two random fields of about unit variance, (2, S, S): fine-grained and patchy; a sum of doubling octaves."""
    cells = _TEXTURE_CELLS
    weights = torch.tensor([[0.25, 0.45, 0.7, 0.9, 0.9], [0.9, 1.0, 0.6, 0.35, 0.2]])
    field = torch.zeros(2, 1, cells, cells)
    for octave in range(_TEXTURE_OCTAVES):
        if octave:
            cells *= 2
            field = F.interpolate(field, size=(cells, cells), mode="bilinear", align_corners=False)
        draw = torch.from_numpy(random.standard_normal((2, 1, cells, cells), dtype=np.float32))
        field = field + draw * weights[:, octave, None, None, None]
    full = F.interpolate(field, size=(size_px, size_px), mode="bilinear", align_corners=False)[:, 0]
    return gaussian_blur(full, 0.45 * size_px / cells) * 0.9  # the grid's diamonds must not show
