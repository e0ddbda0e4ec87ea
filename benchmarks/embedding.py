"""``pacx embed`` against the plain route: timm's model, torch's DataLoader with its workers, Pillow.

    python benchmarks/embedding.py --source FOLDER_OF_RADIOGRAPHS --rounds 3

Films are copies of radiographs (of smooth made-up shapes without ``--source``) of 1 to 8 megapixels, as grey JPEG,
8-bit PNG and 16-bit DICOM in turn; both routes have the same weights, a random ViT-B/16. Each route is a process of its
own, imports and opening the encoder included, and they take turns within each round. Exit code 1 when the bar is
missed, or when the routes differ on films that both read alike (JPEG and PNG).
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

BAR = 1.5
MOST_DIFFERENCE = 1e-4
SIZE_PX, BATCH_SIZE = 224, 64
SUFFIXES = (".jpg", ".png", ".dcm")


def radiographs(source: Path | None, random: np.random.Generator) -> list[Image.Image]:
    """Grey pictures to make copies of."""
    if source is None:
        coarse = random.integers(0, 256, (20, 24, 24), np.uint8)
        return [Image.fromarray(each).resize((1024, 1024), Image.Resampling.BICUBIC) for each in coarse]
    found = sorted(path for path in source.rglob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg"))
    return [Image.open(path).convert("L") for path in found[:40]]


def write_films(folder: Path, num: int, source: Path | None, seed: int) -> None:
    """Films of 1 to 8 megapixels with a detector's noise; what is there already is kept."""
    random = np.random.default_rng(seed)
    sources = radiographs(source, random)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(num):
        path = folder / f"{number:04d}{SUFFIXES[number % len(SUFFIXES)]}"
        picture, side = sources[number % len(sources)], np.sqrt(random.uniform(1e6, 8e6))
        aspect = np.sqrt(random.uniform(0.8, 1.25))
        if path.exists():
            continue
        large = picture.resize((round(side * aspect), round(side / aspect)), Image.Resampling.BICUBIC)
        noisy = np.asarray(large, np.float32) + random.normal(0, 2, (large.height, large.width)).astype(np.float32)
        if path.suffix == ".dcm":
            write_dicom(path, (noisy * 16).clip(0, 4095).astype(np.uint16))
        else:
            options = {"quality": 90} if path.suffix == ".jpg" else {"compress_level": 3}
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path, **options)


def write_dicom(path: Path, samples: NDArray[np.uint16]) -> None:
    """An uncompressed film of 12 bits, dark is low."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPInstanceUID = ExplicitVRLittleEndian, generate_uid()
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    film = FileDataset(path, {}, file_meta=meta, preamble=bytes(128))
    film.SOPClassUID, film.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    film.Modality, film.PhotometricInterpretation, film.SamplesPerPixel = "DX", "MONOCHROME2", 1
    film.PresentationIntentType, film.PixelRepresentation = "FOR PRESENTATION", 0
    film.Rows, film.Columns = samples.shape
    film.BitsAllocated, film.BitsStored, film.HighBit = 16, 12, 11
    film.PixelData = samples.tobytes()
    film.save_as(path, enforce_file_format=True)


def write_encoder(folder: Path) -> None:
    """A random ViT-B/16 with its contract."""
    from pacx.core.preprocessing import Preprocessing
    from pacx.models.encoders.folder import save_encoder
    from pacx.models.vit import Pooling, ViTConfig, random_vit

    contract = Preprocessing(image_size_px=SIZE_PX)
    vit = random_vit(ViTConfig(), seed=0)
    save_encoder(vit, folder, preprocessing=contract, pooling=Pooling.CLASS_TOKEN, card="# Random", provenance={})


def plain_route(films: Path, encoder: Path, out: Path, num_workers: int) -> None:
    """What anybody would write."""
    import timm
    import torch
    from torch.utils.data import DataLoader, Dataset

    mean, std = (torch.tensor(values)[:, None, None] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))

    class Films(Dataset):
        def __init__(self) -> None:
            self.paths = sorted(films.iterdir())

        def __len__(self) -> int:
            return len(self.paths)

        def __getitem__(self, row: int) -> torch.Tensor:
            path = self.paths[row]
            if path.suffix == ".dcm":
                film = pydicom.dcmread(path)
                image = Image.fromarray((film.pixel_array >> (film.BitsStored - 8)).astype(np.uint8))
            else:
                image = Image.open(path)
            square = image.convert("RGB").resize((SIZE_PX, SIZE_PX), Image.Resampling.BILINEAR)
            return (torch.from_numpy(np.array(square)).permute(2, 0, 1) / 255 - mean) / std

    model = timm.create_model(f"local-dir:{encoder}", pretrained=True).eval()
    with torch.inference_mode():
        batches = DataLoader(Films(), batch_size=BATCH_SIZE, num_workers=num_workers)
        embeddings = torch.cat([model(batch) for batch in batches])
    np.save(out, embeddings.numpy())


def seconds_of(*words: str) -> tuple[float, float]:
    """Of a command in a process of its own: by the clock, and of processors."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    of_processors = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - began, of_processors


def compare(films: Path, folder: Path, num: int, rounds: int, num_workers: int) -> bool:
    """Both routes in turns; whether the bar is met."""
    encoder, ours, plain = folder / "encoder", folder / "ours.npz", folder / "plain.npy"
    write_encoder(encoder)
    embed = ["-m", "pacx", "embed", str(encoder), str(films), "--out", str(ours), "--device", "cpu"]
    embed += ["--num-workers", str(num_workers), "--batch-size", str(BATCH_SIZE)]
    alone = [__file__, "--plain", str(films), str(encoder), str(plain), "--workers", str(num_workers)]
    spent: dict[str, list[tuple[float, float]]] = {"plain route": [], "pacx embed": []}
    for number in range(rounds):
        turns = [("plain route", alone), ("pacx embed", embed)]
        for name, words in turns if number % 2 == 0 else reversed(turns):
            spent[name].append(seconds_of(*words))
    rates = {name: num / np.array(values) for name, values in spent.items()}  # (rounds, 2)
    rates["ratio"] = rates["pacx embed"] / rates["plain route"]
    for name, values in rates.items():
        clock, processor = (f"{np.median(each):6.2f}  ({min(each):.2f} to {max(each):.2f})" for each in values.T)
        print(f"{name:<12} {clock}    of a processor {processor}")
    with np.load(ours) as found:
        alike = np.array([not str(path).endswith(".dcm") for path in found["paths"]])
        difference = float(np.abs(found["embeddings"] - np.load(plain))[alike].max())
    print(f"largest difference on JPEG and PNG: {difference:.1e}")
    return float(np.median(rates["ratio"][:, 0])) >= BAR and difference <= MOST_DIFFERENCE


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--source", type=Path)
    parser.add_argument("--folder", type=Path, help="where films lie or are written; kept")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plain", nargs=3, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.plain:
        plain_route(*arguments.plain, arguments.workers)
        return
    with tempfile.TemporaryDirectory() as name:
        films = arguments.folder or Path(name) / "films"
        write_films(films, arguments.films, arguments.source, arguments.seed)
        megabytes = sum(path.stat().st_size for path in films.iterdir()) / 1e6
        print(f"{arguments.films} films, {megabytes:.0f} MB; {os.cpu_count()} processors; films per second:")
        is_met = compare(films, Path(name), arguments.films, arguments.rounds, arguments.workers)
    print("the bar is met" if is_met else f"missed: the bar is {BAR} times the plain route")
    sys.exit(not is_met)


if __name__ == "__main__":
    main()
