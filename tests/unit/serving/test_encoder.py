"""``pacx.load_encoder``: any door gives the same embedding, and what cannot be a film is refused with a remedy."""

import json
import shutil
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from PIL import Image

import pacx
from pacx.core.errors import DataError, ModelError, UsageError
from pacx.core.preprocessing import Preprocessing
from pacx.data.augment import to_input
from pacx.models.device import in_full_precision
from pacx.models.encoders.by_name import open_encoder
from pacx.models.encoders.folder import save_encoder
from pacx.models.vit import Pooling, ViTConfig, random_vit

FILM = np.random.default_rng(0).integers(0, 256, (40, 50), dtype=np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("encoder") / "encoder"
    vit = random_vit(ViTConfig(img_size=32, patch_size=8, embed_dim=16, depth=1, num_heads=2), seed=0)
    contract = Preprocessing(image_size_px=32)
    save_encoder(vit, out, preprocessing=contract, pooling=Pooling.CLASS_TOKEN, card="# A", provenance={})
    return out


def test_every_door_gives_the_same_embedding(folder: Path, tmp_path: Path) -> None:
    encoder = pacx.load_encoder(folder)
    picture = Image.fromarray(FILM)
    picture.save(tmp_path / "film.png")
    mixed = encoder.embed([tmp_path / "film.png", str(tmp_path / "film.png"), picture, FILM], batch_size=3)
    assert mixed.shape == (4, 16)
    assert mixed.dtype == np.float32
    np.testing.assert_allclose(mixed, np.repeat(mixed[:1], 4, axis=0), rtol=0, atol=1e-6)


def test_one_film_is_a_batch_of_one(folder: Path, tmp_path: Path) -> None:
    encoder = pacx.load_encoder(folder)
    Image.fromarray(FILM).save(tmp_path / "film.png")
    wanted = encoder.embed([FILM])
    for film in (FILM, Image.fromarray(FILM), tmp_path / "film.png", str(tmp_path / "film.png")):
        np.testing.assert_array_equal(encoder.embed(film), wanted)
    assert encoder.embed(np.stack([FILM, FILM])).shape == (2, 16)
    assert encoder.embed([]).shape == (0, 16)


@pytest.mark.parametrize(
    ("film", "remedy"),
    [
        (FILM.astype(np.uint16) << 4, "array >> 4 for 12 bits"),
        (FILM / 255, r"255 \* array"),
        (np.stack([FILM] * 3, axis=2), "give grey uint8|PIL.Image.fromarray"),
        (np.zeros((8, 40), np.uint8), "at least 16 x 16"),
        (FILM.astype(np.int32), "give grey uint8"),
        (Image.new("L", (8, 40)), "at least 16 x 16"),
        (Image.new("F", (40, 40), 9), "floating-point pixels are not from 0 to 1"),
        (Image.new("LAB", (40, 40)), "pixels of kind 'LAB' are not read"),
        (np.zeros((40, 40), np.uint8), "one grey only"),
        (Image.new("L", (40, 40), 9), "one grey only"),
        (7, "a int is not a film"),
    ],
)
def test_what_is_no_film_is_refused_with_a_remedy(folder: Path, film: object, remedy: str) -> None:
    with pytest.raises(DataError, match=remedy):
        pacx.load_encoder(folder).embed([film])


def test_prepared_squares_are_checked(folder: Path) -> None:
    encoder = pacx.load_encoder(folder)
    with pytest.raises(DataError, match=r"\(N, 32, 32\)"):
        encoder.embed_squares(np.zeros((2, 31, 32), np.uint8))


def test_a_device_that_is_not_there_is_said_in_a_sentence(folder: Path) -> None:
    with pytest.raises(UsageError, match="device cuda:7 cannot be used"):
        pacx.load_encoder(folder, device="cuda:7")


def _cached(folder: Path, cache: Path) -> None:
    """The hub client's cache of OWNER/NAME as it lays it out."""
    repository = cache / "models--hospital--pacx"
    shutil.copytree(folder, repository / "snapshots" / "0123456789abcdef0123456789abcdef01234567")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123456789abcdef0123456789abcdef01234567")


def test_a_hub_id_opens_the_cached_copy(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _cached(folder, tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    found = pacx.load_encoder("hospital/pacx").embed(FILM)
    np.testing.assert_array_equal(found, pacx.load_encoder(folder).embed(FILM))


def test_a_hub_id_that_cannot_be_had_is_said_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    template = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    with pytest.raises(ModelError, match=r"hospital/other is no folder here.*cannot fetch hospital/other"):
        pacx.load_encoder("hospital/other")
    with pytest.raises(ModelError, match=r"model\.safetensors is missing"):
        pacx.load_encoder(tmp_path / "no" / "folder" / "here")


def test_a_folder_of_ours_without_its_contract_is_no_timm_folder(folder: Path, tmp_path: Path) -> None:
    for file in ("model.safetensors", "config.json"):
        shutil.copyfile(folder / file, tmp_path / file)
    with pytest.raises(ModelError, match=r"lacks preprocessing\.json"):
        open_encoder(str(tmp_path))
    with pytest.raises(ModelError, match=r"preprocessing\.json is missing"):
        pacx.load_encoder(tmp_path)


def test_timm_folders_still_open(folder: Path, tmp_path: Path) -> None:
    shutil.copyfile(folder / "model.safetensors", tmp_path / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    del config["model_args"]["fc_norm"], config["model_args"]["mlp_ratio"]  # which timm would leave at their defaults
    (tmp_path / "config.json").write_text(json.dumps(config))
    open_encoder(str(tmp_path))


def test_32_bits_are_32_bits_whatever_was_asked_of_torch_outside(folder: Path) -> None:
    encoder, films = pacx.load_encoder(folder), np.random.default_rng(0).integers(0, 256, (4, 32, 32), np.uint8)
    expected = encoder.embed_squares(films)
    images = to_input(torch.from_numpy(films), encoder.preprocessing)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert np.abs(encoder.embed_images(images).float().detach().numpy() - expected).max() > 1e-3, "fewer bits"
        assert np.array_equal(encoder.embed_squares(films), expected)


def test_what_was_asked_of_torch_comes_back() -> None:
    backends = torch.backends
    kinds = (backends.mkldnn.matmul, backends.mkldnn.conv, backends.cuda.matmul, backends.cudnn.conv)
    before = [kind.fp32_precision for kind in kinds]
    with pytest.raises(KeyError), in_full_precision():
        assert [kind.fp32_precision for kind in kinds] == ["ieee"] * 4
        raise KeyError
    assert [kind.fp32_precision for kind in kinds] == before
    assert before[-1] == "tf32", "what cuDNN would do unasked"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_film_that_is_not_finite_is_refused(folder: Path, bad: float) -> None:
    encoder = pacx.load_encoder(folder)
    images = torch.zeros(3, 3, 32, 32)
    images[1, 2, 5, 5] = bad
    for ask in (encoder.embed_images, encoder.patches):
        with pytest.raises(DataError, match="film 1 of 3 holds NaN or infinity"):
            ask(images)


def test_an_embedding_that_is_not_finite_is_refused(folder: Path) -> None:
    encoder = pacx.load_encoder(folder)
    encoder.module.norm.bias.data[3] = torch.nan
    with pytest.raises(ModelError, match="gives NaN or infinity"):
        encoder.embed_squares(np.zeros((2, 32, 32), np.uint8))


@pytest.mark.parametrize(
    "values", [{"std": (0.2, 0.0, 0.2)}, {"mean": (0.5, float("nan"), 0.5)}, {"std": (0.2, -1, 1)}]
)
def test_a_contract_that_makes_no_finite_film_is_refused(values: dict[str, tuple[float, ...]]) -> None:
    with pytest.raises(ModelError, match="give finite ones"):
        Preprocessing(image_size_px=32, **values)
