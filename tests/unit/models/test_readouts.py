"""Read-outs beside an encoder: against scikit-learn's own arithmetic, and on disk."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer, StandardScaler

from pacx.core.artifacts import read_json, write_json
from pacx.core.errors import DataError, ModelError
from pacx.core.preprocessing import Preprocessing
from pacx.evaluation.probes.readouts import MeasuredValues, Readout, ReadoutConfig, fit_readouts
from pacx.models.encoders.folder import load_encoder, save_encoder
from pacx.models.heads.readouts import ReadoutHead, load_readouts, save_readouts
from pacx.models.vit import Pooling, ViTConfig, random_vit

MODEL = ViTConfig(img_size=32, patch_size=8, embed_dim=16, depth=1, num_heads=2)


def patients(count: int = 500) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    features = (3 + 2 * random.normal(size=(count, 16))).astype(np.float32)
    values = np.exp(0.4 * features[:, 0] + 0.2 * random.normal(size=count))
    values[::7] = np.nan
    return features, values


def encoder_folder(path: Path, seed: int = 0, pooling: Pooling = Pooling.CLASS_TOKEN) -> Path:
    save_encoder(
        random_vit(MODEL, seed), path, preprocessing=Preprocessing(image_size_px=32), pooling=pooling, card="",
        provenance={},
    )  # fmt: skip
    return path


@pytest.fixture(scope="module")
def heads() -> dict[str, ReadoutHead]:
    features, values = patients()
    table = np.stack([values, -(values**2)], axis=1)
    measured = MeasuredValues(("creatinine", "two/words, odd"), table, np.arange(500).astype(object))
    config = ReadoutConfig(level=0.8)
    fitted = fit_readouts(
        features, measured, training=np.arange(300), calibration=np.arange(300, 500), config=config
    )  # fmt: skip
    return {name: each.head for name, each in fitted.items()}


def test_values_are_those_of_the_libraries_they_were_fitted_with():
    features, values = patients()
    readout = Readout(features[:300], values[:300], ReadoutConfig(alpha=4.0))
    readout.calibrate(features[300:], values[300:])
    known = ~np.isnan(values[:300])
    scores = QuantileTransformer(output_distribution="normal", n_quantiles=int(known.sum()), subsample=None)
    wanted = scores.fit_transform(values[:300][known][:, None])[:, 0]
    ridge = make_pipeline(StandardScaler(), Ridge(alpha=4.0)).fit(features[:300][known].astype(float), wanted)
    new = patients(40)[0] * 3 - 6  # some of them beyond all training patients
    middle, head = ridge.predict(new.astype(float)), readout.head
    np.testing.assert_allclose(head.scores(new), middle, rtol=1e-9, atol=1e-9)
    predicted = head.predict(new)
    for column, shift in enumerate((-head.radius, 0.0, head.radius)):
        expected = scores.inverse_transform((middle + shift)[:, None])[:, 0]
        if column == 0:
            expected[expected <= np.nanmin(values[:300])] = -np.inf
        if column == 2:
            expected[expected >= np.nanmax(values[:300])] = np.inf
        np.testing.assert_allclose(predicted[:, column], expected, rtol=1e-9)
    assert np.isinf(predicted[:, 2]).any()
    assert np.isfinite(predicted[:, 2]).any()


def test_saved_and_loaded_they_predict_the_same_to_the_bit(heads, tmp_path):
    folder = encoder_folder(tmp_path / "encoder")
    out = save_readouts(folder, heads)
    assert out == folder / "readouts"
    again, features = load_readouts(folder), patients(30)[0]
    assert list(again) == list(heads)
    for name, head in heads.items():
        assert np.array_equal(again[name].predict(features), head.predict(features))
        assert (again[name].level, again[name].abstains, again[name].radius, again[name].relative_width) == (
            head.level, head.abstains, head.radius, head.relative_width,
        )  # fmt: skip
    load_encoder(folder)  # an encoder with read-outs beside it is the same encoder


def test_an_interval_without_a_promise_survives_the_disk(tmp_path):
    features, values = patients()
    head = Readout(features, values, ReadoutConfig()).head  # never calibrated
    folder = encoder_folder(tmp_path / "encoder")
    save_readouts(folder, {"creatinine": head})
    low, _, high = load_readouts(folder)["creatinine"].predict(features[:1])[0]
    assert (low, high, head.abstains) == (-np.inf, np.inf, True)


def test_readouts_of_another_encoder_or_pooling_are_refused(heads, tmp_path):
    first = encoder_folder(tmp_path / "first")
    save_readouts(first, heads)
    for other in (
        encoder_folder(tmp_path / "weights", seed=1),
        encoder_folder(tmp_path / "pooling", pooling=Pooling.PATCH_MEAN),
    ):
        (first / "readouts").rename(other / "readouts")
        with pytest.raises(ModelError, match="another encoder, or to another pooling"):
            load_readouts(other)
        (other / "readouts").rename(first / "readouts")
    assert load_readouts(first)


def test_altered_or_missing_files_are_refused(heads, tmp_path):
    folder = encoder_folder(tmp_path / "encoder")
    with pytest.raises(DataError, match=r"readouts\.json"):
        load_readouts(folder)
    with pytest.raises(DataError):
        save_readouts(tmp_path, heads)
    out = save_readouts(folder, heads)
    tensors = (out / "readouts.safetensors").read_bytes()
    (out / "readouts.safetensors").write_bytes(tensors[:-1] + bytes([tensors[-1] ^ 1]))
    with pytest.raises(ModelError, match="was changed since"):
        load_readouts(folder)
    (out / "readouts.safetensors").write_bytes(tensors)
    write_json(out / "readouts.json", {**read_json(out / "readouts.json"), "format_version": 2})
    with pytest.raises(ModelError, match="format version 1"):
        load_readouts(folder)


def test_predicting_needs_numpy_alone():
    heavy = ("torch", "sklearn", "scipy", "pandas")
    words = f"import sys, pacx.models.heads.readouts; sys.exit(any(name in sys.modules for name in {heavy}))"
    assert subprocess.run([sys.executable, "-c", words], check=False).returncode == 0
