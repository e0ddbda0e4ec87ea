import json

import numpy as np
import pytest

from pacx.core.errors import ModelError
from pacx.core.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing


def test_normalize_is_the_closed_form() -> None:
    images = np.array([[[0, 255], [51, 102]]], np.uint8)
    out = Preprocessing(image_size_px=2).normalize(images)
    assert out.shape == (1, 3, 2, 2)
    assert out.dtype == np.float32
    for channel in range(3):
        expected = (images[0] / 255 - IMAGENET_MEAN[channel]) / IMAGENET_STD[channel]
        np.testing.assert_allclose(out[0, channel], expected, rtol=1e-6, atol=2e-7)


def test_the_contract_survives_json() -> None:
    contract = Preprocessing(image_size_px=64, num_channels=1, mean=(0.5,), std=(0.25,))
    assert Preprocessing.from_json(json.loads(json.dumps(contract.to_json()))) == contract


@pytest.mark.parametrize(
    "damage", [{"image_size_px": 64, "extra": 1}, {"mean": [0.5]}, {"resize": "crop"}], ids=["extra", "mean", "resize"]
)
def test_a_contract_that_cannot_be_honoured_is_refused(damage: dict[str, object]) -> None:
    with pytest.raises(ModelError):
        Preprocessing.from_json({**Preprocessing().to_json(), **damage})
