"""Files of films, what stands for a side view, what is read off a body, and counting while writing."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pacx.simulation.cohort import CohortConfig, film_chunks, patients_of
from pacx.simulation.film_files import as_lateral, counts_of, films_of, jpeg_bytes, png_bytes
from pacx.simulation.patients.labels import film_findings
from pacx.simulation.patients.physiology import Physiology

CONFIG = CohortConfig(image_size_px=32)


@pytest.fixture(scope="module")
def people() -> Physiology:
    return patients_of([f"p{number}" for number in range(3000)], CONFIG)


def test_films_come_one_by_one_in_order_whatever_the_chunks() -> None:
    ids = [f"film-{number}" for number in range(40)]  # more than one chunk
    rows = np.arange(40) // 2
    people = patients_of([f"p{number}" for number in range(20)], CONFIG)
    films = list(films_of(people, ids, rows, CONFIG, title="films"))
    assert [film.row for film in films] == list(range(40))
    expected = np.concatenate([chunk.films.images for chunk in film_chunks(people, ids, rows, CONFIG)])
    assert (np.stack([film.image for film in films]) == expected).all()
    bedside = np.concatenate([chunk.nuisance.is_ap for chunk in film_chunks(people, ids, rows, CONFIG)])
    assert [film.is_ap for film in films] == (bedside == 1).tolist()


def test_png_keeps_every_pixel_in_every_mode_and_jpeg_nearly() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 24), dtype=np.uint8)
    for mode, channels in (("L", ()), ("RGB", (3,)), ("RGBA", (4,))):
        data = png_bytes(image, mode=mode)
        assert data == png_bytes(image, mode=mode)
        read = np.asarray(Image.open(io.BytesIO(data)))
        assert read.shape == (20, 24, *channels)
        assert (read.reshape(20, 24, -1)[:, :, 0] == image).all()
    smooth = np.linspace(0, 255, 480).reshape(20, 24).astype(np.uint8)
    read = np.asarray(Image.open(io.BytesIO(jpeg_bytes(smooth))))
    assert np.abs(read.astype(int) - smooth).max() < 12


def test_a_side_view_is_mirrored_narrow_and_dark_beside() -> None:
    image = np.zeros((40, 40), np.uint8)
    image[:, :20] = 200
    lateral = as_lateral(image)
    assert lateral.shape == image.shape
    assert not lateral[:, :6].any()
    assert not lateral[:, 34:].any()
    assert (lateral[:, 22:34] == 200).all()
    assert not lateral[:, 6:18].any()


def test_counts_speak_the_words_of_a_tally() -> None:
    films = pd.DataFrame(
        {
            "patient": ["a", "a", "b", "c"],
            "split": ["train", "train", "test", ""],
            "view": ["PA", "", "AP", "PA"],
            "Edema": [1, 0, -1, np.nan],
        }
    )
    assert counts_of(films, ["Edema"]) == {
        "films": 4, "patients": 3, "films:test": 1, "patients:test": 1, "films:train": 2, "patients:train": 1,
        "view:AP": 1, "view:PA": 2, "present:Edema": 1, "unknown:Edema": 2,
    }  # fmt: skip


def test_a_radiologist_reads_what_the_body_has(people: Physiology) -> None:
    findings = film_findings(people)
    assert len(findings) == len(people)
    assert set(findings.dtypes) == {np.dtype(bool)}
    fluid = np.maximum(people.effusion_left, people.effusion_right)
    assert (findings["effusion"] == (fluid > 0.35)).all()
    assert (findings["cardiomegaly"] == ((people.ventricle_dilation > 0.35) | (people.wall_thickness_mm > 15))).all()
    assert not (findings["pleural_thickening"] & findings["effusion"]).any()
    for severe, mild in (("copd", "emphysema"), ("consolidation", "pneumonia"), ("pneumonia", "infiltrate")):
        assert not (findings[severe] & ~findings[mild]).any()
        assert findings[severe].sum() < findings[mild].sum()
    assert (findings["normal"] == ~findings.drop(columns="normal").any(axis=1)).all()
    assert findings.mean().between(0.02, 0.6).all()
