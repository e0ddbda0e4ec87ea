"""timm, ONNX Runtime and ``pacx embed`` agree on the same films; a killed prediction ends in the same bytes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid
from timm.data import create_transform, resolve_model_data_config

import pacx
from pacx.cli.main import main
from pacx.core.preprocessing import Preprocessing
from pacx.exporting.export import ExportConfig, export_encoder
from pacx.models.encoders.folder import save_encoder
from pacx.models.heads.classifier import Classifier, save_classifier
from pacx.models.vit import Pooling, ViTConfig, random_vit

TOLERANCE = 1e-4
_WITHOUT_TORCH = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "timm", "pandas", "scipy", "sklearn"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An encoder folder with a classifier, and its export."""
    root = tmp_path_factory.mktemp("agreement")
    vit = random_vit(ViTConfig(img_size=64, patch_size=8, embed_dim=64, depth=3, num_heads=4), seed=0)
    contract = Preprocessing(image_size_px=64)
    save_encoder(vit, root / "encoder", preprocessing=contract, pooling=Pooling.CLASS_TOKEN, card="# A", provenance={})
    rng = np.random.default_rng(1)
    weight, bias = rng.standard_normal((5, 64, 2)).astype(np.float32), np.zeros((5, 2), np.float32)
    labels = ("Edema", "Effusion")
    save_classifier(
        root / "encoder",
        Classifier(labels=labels, weight=weight, bias=bias, is_multiclass=False, level=0.95, fitted_on=""),
    )
    export_encoder(root / "encoder", root / "export", ExportConfig(int8=False, rollout=False, num_parity_films=8))
    return root / "encoder", root / "export"


def _write_dicom(path: Path, grey: np.ndarray, *, is_inverted: bool) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID = generate_uid(), ExplicitVRLittleEndian
    film = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    film.SOPClassUID, film.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    film.Modality, film.Rows, film.Columns = "DX", *grey.shape
    film.SamplesPerPixel, film.BitsAllocated, film.BitsStored, film.HighBit = 1, 8, 8, 7
    film.PixelRepresentation = 0
    film.PhotometricInterpretation = "MONOCHROME1" if is_inverted else "MONOCHROME2"
    film.PixelData = (255 - grey if is_inverted else grey).tobytes()
    film.save_as(path, enforce_file_format=True)


@pytest.fixture
def films(tmp_path: Path) -> list[Path]:
    """One film as PNG and as DICOM both ways round, and another as JPEG."""
    rng = np.random.default_rng(2)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 11), dtype=np.uint8))
    picture = coarse.resize((132, 108), Image.Resampling.BICUBIC)
    grey = np.asarray(picture).copy()
    grey[0, 0], grey[0, 1] = 0, 255
    root = tmp_path / "films"
    root.mkdir()
    Image.fromarray(grey).save(root / "a.png")
    _write_dicom(root / "b.dcm", grey, is_inverted=False)
    _write_dicom(root / "c.dcm", grey, is_inverted=True)
    Image.fromarray(grey[::-1].copy()).save(root / "d.jpg", quality=90)
    return sorted(root.iterdir())


def _embedded(folder: Path, films: list[Path], out: Path) -> np.ndarray:
    main(["embed", str(folder), *map(str, films), "--out", str(out)])
    with np.load(out) as found:
        assert found["paths"].tolist() == [str(film) for film in films]
        return found["embeddings"]


def _by_timm(folder: Path, film: Path) -> np.ndarray:
    """As a user of timm does it who has never heard of us."""
    model = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0).eval()
    prepare = create_transform(**resolve_model_data_config(model), is_training=False)
    with torch.inference_mode():
        return model(prepare(Image.open(film).convert("RGB"))[None]).numpy()[0]


def test_every_way_gives_the_same_embedding(folders: tuple[Path, Path], films: list[Path], tmp_path: Path) -> None:
    encoder, export = folders
    by_torch = _embedded(encoder, films, tmp_path / "torch.npz")
    by_onnx = _embedded(export, films, tmp_path / "onnx.npz")
    assert np.abs(by_torch - by_torch[:1]).max() > 0.01, "another film is another embedding"
    np.testing.assert_allclose(by_onnx, by_torch, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(pacx.load_encoder(encoder).embed(films), by_torch, rtol=0, atol=TOLERANCE)
    for number in (1, 2):
        np.testing.assert_allclose(by_torch[number], by_torch[0], rtol=0, atol=TOLERANCE)
    for folder in (encoder, export):
        np.testing.assert_allclose(_by_timm(folder, films[0]), by_torch[0], rtol=0, atol=TOLERANCE)


def test_real_films_agree(folders: tuple[Path, Path], shared: Path, tmp_path: Path) -> None:
    encoder, export = folders
    films = sorted((shared / "data" / "cxr" / "images").glob("*.jpg"))[::500]
    by_torch, by_onnx = (_embedded(each, films, tmp_path / f"{each.name}.npz") for each in (encoder, export))
    np.testing.assert_allclose(by_onnx, by_torch, rtol=0, atol=TOLERANCE)
    for number, film in enumerate(films[:3]):
        np.testing.assert_allclose(_by_timm(encoder, film), by_torch[number], rtol=0, atol=TOLERANCE)


def test_predicting_from_an_export_needs_no_torch(
    folders: tuple[Path, Path], films: list[Path], tmp_path: Path
) -> None:
    encoder, export = folders
    main(["predict", str(encoder), *map(str, films), "--out", str(tmp_path / "torch.csv")])
    words = ["predict", str(export), *map(str, films), "--out", str(tmp_path / "onnx.csv")]
    code = f"{_WITHOUT_TORCH}\nfrom pacx.cli.main import main\nmain({words!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, second = ((tmp_path / f"{name}.csv").read_text().splitlines() for name in ("torch", "onnx"))
    assert first[0] == second[0] == "path,precision,Edema,Edema:low,Edema:high,Effusion,Effusion:low,Effusion:high"
    for one, other in zip(first[1:], second[1:], strict=True):
        assert one.split(",")[1] == other.split(",")[1] == "fp32"
        numbers = [np.array(row.split(",")[2:], float) for row in (one, other)]
        np.testing.assert_allclose(*numbers, rtol=0, atol=TOLERANCE)


def test_a_killed_prediction_ends_in_the_same_bytes(folders: tuple[Path, Path], tmp_path: Path) -> None:
    _, export = folders
    root = tmp_path / "films"
    root.mkdir()
    rng = np.random.default_rng(3)
    for number in range(120):
        Image.fromarray(rng.integers(0, 256, (300, 300), dtype=np.uint8)).save(root / f"{number:03d}.png")
    words = [sys.executable, "-m", "pacx.cli.main", "predict", str(export), str(root), "--batch-size", "2"]
    words += ["--num-threads", "1"]
    subprocess.run([*words, "--out", str(tmp_path / "whole.csv")], check=True, capture_output=True)
    out = tmp_path / "killed.csv"
    work = tmp_path / ".partial-killed.csv.work"
    process = subprocess.Popen([*words, "--out", str(out)], stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while len(list(work.glob("0*.npz"))) < 5:
        assert process.poll() is None, "it was over before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = {path.name: path.stat().st_mtime_ns for path in work.glob("0*.npz")}
    assert 5 <= len(kept) < 60
    assert not out.exists()
    done = subprocess.run([*words, "--out", str(out)], check=True, capture_output=True, text=True)
    assert "120 films" in done.stdout
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert not work.exists()
