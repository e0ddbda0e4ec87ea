"""Heads lie beside their encoder, come back as they were, and are refused by any other."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pacx.core.errors import DataError, ModelError
from pacx.core.preprocessing import Preprocessing
from pacx.models.encoders.folder import save_encoder
from pacx.models.heads.classifier import Classifier, load_classifier, save_classifier
from pacx.models.heads.folder import load_head, save_head
from pacx.models.heads.reference import Reference, load_reference, save_reference
from pacx.models.segmenter import SegmentationDecoder, Segmenter, load_segmenter, save_segmenter
from pacx.models.vit import Pooling, ViTConfig, random_vit


def _save_encoder(out: Path, seed: int = 0, pooling: Pooling = Pooling.CLASS_TOKEN) -> Path:
    vit = random_vit(ViTConfig(img_size=32, patch_size=8, embed_dim=8, depth=1, num_heads=2), seed=seed)
    save_encoder(vit, out, preprocessing=Preprocessing(image_size_px=32), pooling=pooling, card="# A", provenance={})
    return out


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    return _save_encoder(tmp_path / "encoder")


def _classifier() -> Classifier:
    rng = np.random.default_rng(0)
    return Classifier(
        labels=("Edema", "Effusion"),
        weight=rng.standard_normal((4, 8, 2)).astype(np.float32),
        bias=rng.standard_normal((4, 2)).astype(np.float32),
        is_multiclass=True,
        level=0.9,
        fitted_on="ten films",
    )


def test_a_classifier_comes_back_as_it_was(encoder: Path) -> None:
    save_classifier(encoder, _classifier())
    found, films = load_classifier(encoder), np.random.default_rng(1).standard_normal((3, 8)).astype(np.float32)
    assert np.array_equal(found.predict(films), _classifier().predict(films))
    assert (found.labels, found.level, found.fitted_on) == (("Edema", "Effusion"), 0.9, "ten films")


def test_a_reference_comes_back_as_it_was(encoder: Path) -> None:
    rng = np.random.default_rng(0)
    saved = Reference(
        mean=rng.standard_normal(8),
        factor=np.tril(rng.standard_normal((8, 8))),
        held_out=np.sort(rng.random(120)),
        fitted_on="pack films",
    )
    save_reference(encoder, saved)
    films = rng.standard_normal((3, 8)).astype(np.float32)
    found = load_reference(encoder)
    assert np.array_equal(found.distances(films), saved.distances(films))
    assert found.fitted_on == "pack films"


def test_a_segmenter_comes_back_as_it_was(encoder: Path) -> None:
    decoder = SegmentationDecoder(8, 8, 2, seed=3).eval()
    save_segmenter(encoder, Segmenter(decoder, ("lung", "heart")))
    found, tokens = load_segmenter(encoder), torch.randn(2, 16, 8)
    assert found.mask_names == ("lung", "heart")
    assert not found.decoder.training
    assert torch.equal(found.decoder(tokens), decoder(tokens))


def test_a_head_of_another_encoder_or_pooling_is_refused(encoder: Path, tmp_path: Path) -> None:
    save_classifier(encoder, _classifier())
    others = [
        _save_encoder(tmp_path / "other", seed=1),
        _save_encoder(tmp_path / "mean", pooling=Pooling.PATCH_MEAN),
    ]
    for other in others:
        (encoder / "classifier").rename(other / "classifier")
        with pytest.raises(ModelError, match="another encoder, or to another pooling"):
            load_classifier(other)
        (other / "classifier").rename(encoder / "classifier")
    load_classifier(encoder)


def test_a_changed_head_is_refused(encoder: Path) -> None:
    folder = save_classifier(encoder, _classifier())
    path = folder / "classifier.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ModelError, match="was changed since"):
        load_classifier(encoder)
    about = json.loads((folder / "classifier.json").read_text())
    (folder / "classifier.json").write_text(json.dumps(about | {"format_version": 2}))
    with pytest.raises(ModelError, match="format version 1"):
        load_classifier(encoder)


def test_a_head_that_is_not_there_is_named(encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"classifier\.json is missing"):
        load_classifier(encoder)
    with pytest.raises(DataError, match=r"preprocessing\.json"):
        save_head(tmp_path / "nowhere", "classifier", {}, {})


def test_applying_heads_imports_no_torch(encoder: Path) -> None:
    save_classifier(encoder, _classifier())
    code = (
        "import sys; from pathlib import Path; from pacx.models.heads.classifier import load_classifier;"
        "import pacx.models.heads.reference, pacx.models.heads.readouts, numpy as np;"
        f"load_classifier(Path({str(encoder)!r})).predict(np.zeros((2, 8)));"
        "assert not {'torch', 'timm', 'pandas', 'scipy', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_is_saved_is_read(encoder: Path) -> None:
    save_head(encoder, "thing", {"a": np.arange(6.0).reshape(2, 3).T}, {"word": "x"})
    tensors, about = load_head(encoder, "thing")
    assert np.array_equal(tensors["a"], np.arange(6.0).reshape(2, 3).T)
    assert about["word"] == "x"
