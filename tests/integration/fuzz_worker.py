"""Damage copies of every kind of file and send them through doctor and pack; prints what became of them as JSON.

    python fuzz_worker.py FOLDER NUM_COPIES SEED

Run as a process of its own by test_fuzz.py, so that its memory can be measured and a hang can be ended.
"""

import io
import json
import re
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import pandas as pd
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian

from pacx.core.errors import PacxError
from pacx.core.preprocessing import Preprocessing
from pacx.data.checks.doctor import examine
from pacx.data.datasets.folder import DATASET, FolderOptions
from pacx.data.images.decode import Decoding
from pacx.data.packs.packing import pack_records

SMALL = Preprocessing(image_size_px=32)
PIXELS = (np.add.outer(np.arange(48) * 2, np.arange(64) * 2) % 256).astype(np.uint8)


def png() -> Iterator[bytes]:
    for mode in ("L", "RGB", "P", "I;16"):
        file = io.BytesIO()
        wide = (
            Image.fromarray(PIXELS.astype(np.uint16) * 16) if mode == "I;16" else Image.fromarray(PIXELS).convert(mode)
        )
        wide.save(file, "PNG")
        yield file.getvalue()


def jpeg() -> Iterator[bytes]:
    for mode, progressive in (("L", False), ("RGB", False), ("L", True), ("CMYK", False)):
        file = io.BytesIO()
        Image.fromarray(PIXELS).convert(mode).save(file, "JPEG", quality=85, progressive=progressive)
        yield file.getvalue()


def dicom() -> Iterator[bytes]:
    wide = PIXELS.astype(np.uint16) * 16
    frames = {
        ExplicitVRLittleEndian: wide.tobytes(),
        "1.2.840.10008.1.2.4.70": imagecodecs.jpeg8_encode(wide, lossless=True, bitspersample=12),
        "1.2.840.10008.1.2.4.80": imagecodecs.jpegls_encode(wide),
        "1.2.840.10008.1.2.4.90": imagecodecs.jpeg2k_encode(wide, level=0, codecformat="j2k", bitspersample=12),
    }
    for syntax, frame in frames.items():
        dataset = Dataset()
        dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.PatientName = (
            "1.2.840.10008.5.1.4.1.1.1.1",
            "1.2",
            "Doe^Jane",
        )
        dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = *wide.shape, 1
        dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME2", 0
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
        dataset.WindowCenter, dataset.WindowWidth = 2000, 3000
        dataset.PixelData = encapsulate([frame]) if UID(syntax).is_encapsulated else frame
        dataset["PixelData"].VR = "OB" if UID(syntax).is_encapsulated else "OW"
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = syntax
        file = io.BytesIO()
        dataset.save_as(file, enforce_file_format=True)
        yield file.getvalue()


def npy() -> Iterator[bytes]:
    for films in (np.stack([PIXELS, PIXELS[::-1]]), PIXELS[None]):
        file = io.BytesIO()
        np.save(file, SMALL.normalize(films))
        yield file.getvalue()


def csv() -> Iterator[bytes]:
    table = pd.DataFrame(
        {"file": [f"{row}.png" for row in range(6)], "patient_id": list("aabbcc"), "Edema": [0, 1] * 3}
    )
    yield table.to_csv(index=False).encode()
    yield table.assign(split=["train", "val", "test"] * 2, view="PA").to_csv(index=False).encode()


KINDS: dict[str, Callable[[], Iterator[bytes]]] = {"png": png, "jpg": jpeg, "dcm": dicom, "npy": npy, "csv": csv}
BARELY_TOO_LARGE = (10_001, 10_000)
"""Height and width, a little over the 100 megapixels that a film may have."""
LARGER_THAN_IT_IS = {
    "png": lambda data: data[:16] + struct.pack(">II", *BARELY_TOO_LARGE[::-1]) + data[24:],
    "jpg": lambda data: _after(data, (b"\xff\xc0", b"\xff\xc2"), 5, struct.pack(">HH", *BARELY_TOO_LARGE)),
    "dcm": lambda data: _after(data, (b"\x28\0\x10\0US\x02\0",), 8, struct.pack("<H", BARELY_TOO_LARGE[0])),
    "npy": lambda data: data.replace(b"(2, 3,", b"(9, 3,").replace(b"(1, 3,", b"(9, 3,"),
    "csv": lambda data: data + b"x" * 200_000 + b"\n",
}


def _after(data: bytes, marks: tuple[bytes, ...], gap: int, value: bytes) -> bytes:
    place = max(data.find(mark) for mark in marks) + gap
    return data[:place] + value + data[place + len(value) :]


def damaged(data: bytes, kind: str, way: int, random: np.random.Generator) -> bytes:
    """One of eight ways to damage a file."""
    place = int(random.integers(len(data)))
    if way == 0:
        return data[:place]
    if way == 1:
        return LARGER_THAN_IT_IS[kind](data)
    if way == 2:
        return data[:place] + data[place + 1 + int(random.integers(64)) :]
    if way == 3:
        return data[:place] + random.bytes(int(random.integers(1, 64))) + data[place:]
    if way == 4 and kind == "csv":
        lines = [line.split(b",") for line in data.splitlines()]
        first, second = random.permutation(len(lines[0]))[:2]
        for cells in lines:
            cells[first], cells[second] = cells[second], cells[first]
        return b"\n".join(b",".join(cells) for cells in lines[1:])  # and no header
    if way == 4 and kind == "npy":
        values = np.load(io.BytesIO(data)).copy()
        values[..., place % 48, place % 64] = np.nan
        file = io.BytesIO()
        np.save(file, values if place % 2 else np.nan_to_num(values)[:, :2].astype(np.float64))
        return file.getvalue()
    flipped = bytearray(data)
    limit = len(data) if way < 7 else min(len(data), 400)  # headers are where the damage tells
    for _ in range(int(random.integers(1, 12))):
        flipped[int(random.integers(limit))] ^= 1 << int(random.integers(8))
    return bytes(flipped)


def images_of(kind: str, folder: Path, num_copies: int, seed: int) -> dict[str, object]:
    """A folder of damaged films: all of them once through doctor and once through pack."""
    random = np.random.default_rng(seed)
    sources = list(KINDS[kind]())
    folder.mkdir()
    hopeless = []
    for row in range(num_copies):
        source, way = sources[row % len(sources)], (row // len(sources)) % 8
        data = damaged(source, kind, way, random)
        (folder / f"{row:03d}.{kind}").write_bytes(data)
        if way == 1 or (way == 0 and len(data) < 0.8 * len(source)):
            hopeless.append(f"{row:03d}.{kind}")
    for row, source in enumerate(sources):
        (folder / f"good-{row}.{kind}").write_bytes(source)
    files = sorted(path.name for path in folder.iterdir())
    if kind == "npy":
        files = [f"{file}#0" for file in files]
        pd.DataFrame({"file": files}).to_csv(folder / "index.csv", index=False)
    records = DATASET.read(folder, FolderOptions())
    diagnosis = examine(DATASET, folder, FolderOptions(), state=folder.with_suffix(".state"), num_samples=None)
    named = [line.partition(": ") for issue in diagnosis.issues for line in issue.files]
    pack = pack_records(
        records,
        folder.with_suffix(".pack"),
        preprocessing=SMALL,
        max_bad_fraction=1.0,
        decoding=Decoding(scaled_jpeg=True),
    )
    left_out = [re.match(r"(\d+) DICOM files that are no chest films", note) for note in records.notes]
    return {
        "films": len(files) - sum(int(found[1]) for found in left_out if found),
        "kept": pack.sample_ids.tolist(),
        "quarantined": {bad.file: bad.reason for bad in pack.quarantined},
        "doctor": {file: reason for file, _, reason in named},
        "hopeless": [f"{file}#0" * (kind == "npy") or file for file in hopeless],
    }


def tables_of(folder: Path, num_copies: int, seed: int) -> dict[str, object]:
    """A damaged table per folder: read, examined and packed, or refused in a sentence."""
    random = np.random.default_rng(seed)
    sources = list(csv())
    outcomes: dict[str, int] = {"read": 0, "refused": 0}
    unclear = []
    folder.mkdir()
    for row in range(6):
        Image.fromarray(PIXELS).save(folder / f"{row}.png")
    for row in range(num_copies):
        (folder / "index.csv").write_bytes(damaged(sources[row % 2], "csv", (row // 2) % 8, random))
        options = FolderOptions(label_columns=("Edema",))
        try:
            diagnosis = examine(DATASET, folder, options, state=folder.with_suffix(".state"), num_samples=None)
            records = DATASET.read(folder, options)
            pack_records(
                records, folder.with_suffix(".pack"), preprocessing=SMALL, max_bad_fraction=1.0, overwrite=True
            )
        except PacxError as error:
            outcomes["refused"] += 1
            if str(folder) not in str(error) or "\n" in str(error) or len(str(error)) > 1000:
                unclear.append(str(error)[:300])
        else:
            outcomes["read"] += 1
            assert diagnosis.counts
    return {"outcomes": outcomes, "unclear": unclear}


def main() -> None:
    folder, num_copies, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    answers = {
        kind: tables_of(folder / kind, num_copies, seed)
        if kind == "csv"
        else images_of(kind, folder / kind, num_copies, seed)
        for kind in KINDS
    }
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    sys.stdout.write(json.dumps(answers | {"peak_mib": int(peak.split()[1]) / 1024}))


if __name__ == "__main__":
    main()
