"""Alterations by hand, and against scipy."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from pacx.core.errors import DataError, UsageError
from pacx.evaluation.embeddings import embed_pack
from pacx.evaluation.evidence.alterations import (
    Blurred,
    BorderOnly,
    CentreOnly,
    LowPassed,
    MaskHidden,
    usual_alterations,
)

ROWS = np.array([3, 9, 4])


@pytest.fixture
def films(pack):
    return torch.from_numpy(pack.images[ROWS])


def test_border_and_centre_share_the_film_between_them(films):
    border, centre = BorderOnly(grey=0.25)(films, ROWS), CentreOnly(grey=0.25)(films, ROWS)
    unit = films / 255
    torch.testing.assert_close(border + centre - 0.25, unit)
    assert (border[:, 3:-3, 3:-3] == 0.25).all()  # a tenth of 32 pixels, rounded
    assert torch.equal(border[:, :3], unit[:, :3])
    assert (centre[:, :, -3:] == 0.25).all()
    with pytest.raises(UsageError, match=r"a border of 0\.5 of the side"):
        BorderOnly(grey=0, share=0.5)(films, ROWS)


def test_a_hidden_heart_is_grey_and_all_else_is_as_it_was(pack, films):
    hidden = MaskHidden(pack, "heart", 0.4)(films, ROWS)
    for film, before, row in zip(hidden.numpy(), films.numpy() / np.float32(255), ROWS, strict=True):
        heart = pack.masks[row, 0] == 1
        assert (film[heart] == np.float32(0.4)).all()
        np.testing.assert_array_equal(film[~heart], before[~heart])
    assert (pack.masks[ROWS, 1] == 255).any(axis=(1, 2)).any(), "some nodule pixels are not judged"
    nodule = MaskHidden(pack, "nodule", 0.4)(films, ROWS)
    for film, before, row in zip(nodule.numpy(), films.numpy() / np.float32(255), ROWS, strict=True):
        outside = pack.masks[row, 1] != 1
        np.testing.assert_array_equal(film[outside], before[outside])


def test_a_mask_that_is_not_there_is_refused(pack):
    with pytest.raises(DataError, match=r"has no mask 'wires' \(its masks: heart, nodule\)"):
        MaskHidden(pack, "wires", 0)


def test_blur_is_scipys(films):
    blurred = Blurred(share=0.05)(films, ROWS)
    expected = [gaussian_filter(film / 255.0, 1.6, mode="mirror", radius=5) for film in films.numpy()]
    np.testing.assert_allclose(blurred.numpy(), expected, atol=1e-5)


def test_low_pass_keeps_slow_waves_and_stops_fast_ones():
    place = torch.arange(32) / 32 * 2 * torch.pi
    slow, fast = 0.5 + 0.2 * torch.sin(3 * place), 0.2 * torch.sin(7 * place)
    films = (slow + fast)[None, None, :].expand(2, 32, 32)
    torch.testing.assert_close(LowPassed(cycles=4)(films, ROWS[:2]), slow.expand(2, 32, 32), atol=1e-5, rtol=0)


def test_the_usual_ones_have_names_of_their_own_and_reach_the_encoder(pack, encoders):
    alterations = usual_alterations(pack)
    names = [alteration.name for alteration in alterations]
    assert len(set(names)) == len(names) == 6
    assert {"border only", "centre only", "heart hidden", "nodule hidden"} < set(names)
    encoder = encoders["pacx"]
    plain = embed_pack(encoder, pack, rows=ROWS)
    for alteration in alterations:
        films = alteration(torch.from_numpy(pack.images[ROWS]), ROWS).numpy()
        contract = encoder.preprocessing
        mean, std = (np.float32(values)[None, :, None, None] for values in (contract.mean, contract.std))
        with torch.no_grad():
            expected = encoder.vit(torch.from_numpy((films[:, None] - mean) / std)).numpy()
        found = embed_pack(encoder, pack, rows=ROWS, alter=alteration)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        if alteration.name != "nodule hidden":  # films without a nodule stay as they are
            assert np.abs(found - plain).max() > 1e-3
