"""Damaged image files through the server's decoding processes: none may crash, hang or take more than its limits.

    python benchmarks/fuzz_images.py --out fuzz/ [--films FOLDER] [--cases 100000] [--seed SEED] [--processes 2]

Case number i is a function of (seed, i) and the source files alone; where no seed is given, one is drawn. Sources are
films of FOLDER (PNG, JPEG and DICOM files as they are, the small ones first, and each film again as a small PNG, JPEG
and DICOM file of every pixel coding); without a folder, smooth random shapes. Damage is blind (cut, flip, insert,
delete, splice) and along the structure (PNG chunks with their checksums made right again, JPEG segments, DICOM elements
and the numbers that sizes are made of).
OUT/state.json says how far it is; the same command goes on from there. No damaged file is written anywhere: a case that
ended its process stands in the state by its number and kind of coding, which is enough to make it again where its
decoder is mended. Exit code 1 if one crashed; one that used up its time was contained, and is counted.
"""

import argparse
import io
import itertools
import json
import secrets
import struct
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from pacx.core.artifacts import write_json
from pacx.core.progress import progress
from pacx.core.randomness import generator
from pacx.data.file_kinds import FileKind, kind_of
from pacx.data.images.decode import decode_grey, to_square
from pacx.serving.decoding.film_format import ANY_BYTES, SERVED
from pacx.serving.decoding.pool import DecodedFilm, DecoderPool
from pacx.serving.decoding.worker import TOO_COSTLY, Question
from pacx.serving.limits import Limits
from pacx.serving.refusal import RefusedRequest

SMALL_PX = 64
LARGEST_SOURCE = 60_000
AHEAD = 16
SAVE_EVERY = 500
NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
QUESTION = Question(media_type=ANY_BYTES, sides_px=(32,), wants_picture=False, cpu_s=1.5)
DICOM_TAGS = (
    (0x0002, 0x0000), (0x0002, 0x0010), (0x0028, 0x0002), (0x0028, 0x0004), (0x0028, 0x0008), (0x0028, 0x0010),
    (0x0028, 0x0011), (0x0028, 0x0100), (0x0028, 0x0101), (0x0028, 0x0103), (0x0028, 0x1050), (0x0028, 0x1051),
    (0x0028, 0x1053), (0x0028, 0x3010), (0x0028, 0x3002), (0x0028, 0x3006), (0x7FE0, 0x0010), (0xFFFE, 0xE000),
    (0xFFFE, 0xE0DD), (0xFFFE, 0xE00D),
)  # fmt: skip
COMPRESSED = tuple(f"1.2.840.10008.1.2.4.{number}" for number in (70, 80, 90))
"""Lossless JPEG, JPEG-LS and JPEG 2000."""
Random = np.random.Generator


def as_png(pixels: NDArray[np.uint8], mode: str) -> bytes:
    """A PNG file in one of Pillow's modes."""
    file = io.BytesIO()
    wide = Image.fromarray(pixels.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(pixels).convert(mode)
    wide.save(file, "PNG")
    return file.getvalue()


def as_jpeg(pixels: NDArray[np.uint8], mode: str, *, is_progressive: bool) -> bytes:
    """A JPEG file in one of Pillow's modes."""
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, "JPEG", quality=85, progressive=is_progressive)
    return file.getvalue()


def as_dicom(pixels: NDArray[np.uint8], syntax: str, *, with_lut: bool) -> bytes:
    """A DICOM file of twelve bits, with a window or a VOI LUT."""
    wide = pixels.astype(np.uint16) * 16
    encoders: dict[str, Callable[[], bytes]] = {
        "1.2.840.10008.1.2.4.70": lambda: imagecodecs.jpeg8_encode(wide, lossless=True, bitspersample=12),
        "1.2.840.10008.1.2.4.80": lambda: imagecodecs.jpegls_encode(wide),
        "1.2.840.10008.1.2.4.90": lambda: imagecodecs.jpeg2k_encode(wide, level=0, codecformat="j2k", bitspersample=12),
    }
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.PatientName = "1.2.840.10008.5.1.4.1.1.1.1", "1.2", "Doe^Jane"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = *wide.shape, 1
    dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME1", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
    if with_lut:
        item = Dataset()
        item.add_new((0x0028, 0x3002), "US", [4096, 0, 12])
        item.add_new((0x0028, 0x3006), "OW", np.arange(4096, dtype="<u2").tobytes())
        dataset.VOILUTSequence = [item]
    else:
        dataset.WindowCenter, dataset.WindowWidth = 2000, 3000
    dataset.PixelData = encapsulate([encoders[syntax]()]) if syntax in encoders else wide.tobytes()
    dataset["PixelData"].VR = "OB" if UID(syntax).is_encapsulated else "OW"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def variants(pixels: NDArray[np.uint8]) -> list[bytes]:
    """A small film in every coding that is read."""
    syntaxes = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, *COMPRESSED)
    return [
        *(as_png(pixels, mode) for mode in ("L", "RGB", "P", "LA", "1", "I;16")),
        *(as_jpeg(pixels, mode, is_progressive=way) for mode in ("L", "RGB", "CMYK") for way in (False, True)),
        *(as_dicom(pixels, syntax, with_lut=lut) for syntax in syntaxes for lut in (False, True)),
    ]


def sources(folder: Path | None, count: int = 6) -> list[bytes]:
    """What is damaged: files of the folder that are small enough, and small films in every coding."""
    if folder is None:
        coarse = [Image.fromarray(generator(n, "fuzz film").integers(0, 256, (6, 6), np.uint8)) for n in range(2)]
        films = [np.asarray(each.resize((SMALL_PX, SMALL_PX), Image.Resampling.BICUBIC)) for each in coarse]
        return [data for film in films for data in variants(film)]
    files = sorted((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    whole = [path for path in files if path.stat().st_size <= LARGEST_SOURCE and kind_of(path.read_bytes()) in SERVED]
    chosen = whole[:: max(1, len(whole) // count)][:count]
    small = [to_square(decode_grey(path), SMALL_PX) for path in chosen]
    return [path.read_bytes() for path in chosen] + [data for film in small for data in variants(film)]


def damaged(data: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """One to three damages, one after the other."""
    ways = [cut, flip, flip_in_the_beginning, insert, delete, repeat, number, splice]
    along = {FileKind.PNG: chunks, FileKind.JPEG: segments, FileKind.DICOM: elements}
    for _ in range(int(random.integers(1, 4))):
        kind = kind_of(data)
        if not data:
            return data
        if kind in along and random.random() < 0.5:
            data = along[kind](data, random)
        else:
            way = ways[int(random.integers(len(ways)))]
            data = (
                splice(data, others[int(random.integers(len(others)))], random) if way is splice else way(data, random)
            )
    return data


def _place(data: bytes, random: Random) -> int:
    return int(random.integers(len(data)))


def cut(data: bytes, random: Random) -> bytes:
    """End too early."""
    return data[: _place(data, random)]


def flip(data: bytes, random: Random) -> bytes:
    """Flip a few bits anywhere."""
    changed = bytearray(data)
    for _ in range(int(random.integers(1, 12))):
        changed[_place(data, random)] ^= 1 << int(random.integers(8))
    return bytes(changed)


def flip_in_the_beginning(data: bytes, random: Random) -> bytes:
    """Flip a few bits where headers are."""
    return flip(data[:700], random) + data[700:]


def insert(data: bytes, random: Random) -> bytes:
    """Put random bytes somewhere."""
    place = _place(data, random)
    return data[:place] + random.bytes(int(random.integers(1, 64))) + data[place:]


def delete(data: bytes, random: Random) -> bytes:
    """Take bytes away."""
    place = _place(data, random)
    return data[:place] + data[place + int(random.integers(1, 64)) :]


def repeat(data: bytes, random: Random) -> bytes:
    """Repeat a piece."""
    place, length = _place(data, random), int(random.integers(1, 200))
    return data[:place] + data[place : place + length] * int(random.choice([1, 2, 8])) + data[place:]


def number(data: bytes, random: Random) -> bytes:
    """Overwrite bytes with a number that programs stumble over, in either byte order."""
    place, width = _place(data, random), int(random.choice([1, 2, 4]))
    value = NUMBERS[int(random.integers(len(NUMBERS)))] & (256**width - 1)
    order = "big" if random.random() < 0.5 else "little"
    return data[:place] + value.to_bytes(width, order) + data[place + width :]  # type: ignore[arg-type]


def splice(data: bytes, other: bytes, random: Random) -> bytes:
    """The beginning of one file and the end of another."""
    return data[: _place(data, random)] + other[_place(other, random) :]


def _rearranged(parts: list[bytes], random: Random) -> list[bytes]:
    """Drop, repeat or swap a part."""
    first, second = (int(random.integers(len(parts))) for _ in range(2))
    way = int(random.integers(3))
    if way == 0:
        return parts[:first] + parts[first + 1 :]
    if way == 1:
        return parts[:first] + [parts[first]] * int(random.choice([1, 2, 8])) + parts[first:]
    parts[first], parts[second] = parts[second], parts[first]
    return parts


def chunks(data: bytes, random: Random) -> bytes:
    """Change a PNG chunk by chunk; checksums are made right, so that decoders get to see it."""
    parts, place = [], 8
    while place + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        parts.append(data[place + 4 : place + 8 + length])
        place += 12 + length
    if not parts:
        return data
    if random.random() < 0.6:
        chosen = int(random.integers(len(parts)))
        body = parts[chosen][4:]
        parts[chosen] = parts[chosen][:4] + (number(body, random) if body else random.bytes(8))
    else:
        parts = _rearranged(parts, random)
    wrapped = (struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in parts)
    return data[:8] + b"".join(wrapped)


def segments(data: bytes, random: Random) -> bytes:
    """Change a JPEG segment by segment."""
    starts = [place for place in range(len(data) - 1) if data[place] == 0xFF and data[place + 1] >= 0xC0]
    if not starts:
        return data
    if random.random() < 0.5:
        place = starts[int(random.integers(len(starts)))] + int(random.integers(1, 12))
        value = NUMBERS[int(random.integers(len(NUMBERS)))] & 0xFFFF
        return data[:place] + value.to_bytes(2, "big") + data[place + 2 :]
    edges = [0, *starts, len(data)]
    return b"".join(_rearranged([data[a:b] for a, b in itertools.pairwise(edges)], random))


def elements(data: bytes, random: Random) -> bytes:
    """Change the value or the length of a DICOM element that matters."""
    group, element = DICOM_TAGS[int(random.integers(len(DICOM_TAGS)))]
    place = data.find(struct.pack("<HH", group, element))
    if place < 0:
        return number(data, random)
    place += int(random.choice([4, 6, 8, 8, 8, 12]))
    width = int(random.choice([2, 4]))
    value = NUMBERS[int(random.integers(len(NUMBERS)))] & (256**width - 1)
    return data[:place] + value.to_bytes(width, "little") + data[place + width :]


def peak_mib(process_ids: Sequence[int]) -> int:
    """The largest resident set any of these processes ever had; 0 where the system does not say."""
    peaks = [0]
    for process_id in process_ids:
        try:
            text = Path(f"/proc/{process_id}/status").read_text()
        except OSError:
            continue
        peaks += [int(line.split()[1]) // 1024 for line in text.splitlines() if line.startswith("VmHWM")]
    return max(peaks)


def coding_of(data: bytes) -> str:
    """What a case was decoded as: its kind of file, and for DICOM the name of its transfer syntax."""
    kind = kind_of(data)
    if kind is not FileKind.DICOM:
        return kind.name if kind else "none"
    found = (each for each in (*COMPRESSED, ExplicitVRLittleEndian, ImplicitVRLittleEndian) if each.encode() in data)
    return f"DICOM, {UID(next(found, '')).name}"


def run(out: Path, folder: Path | None, cases: int, seed: int | None, processes: int) -> dict[str, Any]:
    """Go through the cases that are left; returns the state at the end."""
    out.mkdir(parents=True, exist_ok=True)
    state_path, known = out / "state.json", sources(folder)
    drawn = secrets.randbits(32) if seed is None else seed
    begun = {"seed": drawn, "done": 0, "counts": {}, "ended": []}
    state = json.loads(state_path.read_text()) if state_path.is_file() else begun
    seed, counts, cases_ended = int(state["seed"]), Counter(state["counts"]), list(state["ended"])
    peak, slowest, replaced = (
        state.get("peak_mib", 0),
        state.get("slowest_s", 0.0),
        Counter(state.get("processes_ended", {})),
    )
    ended = Counter[str]()
    pool = DecoderPool(Limits(decode_workers=processes), lambda end: ended.update([end.value]))
    waiting: list[tuple[int, bytes, float, Future[DecodedFilm]]] = []

    def settle() -> None:
        nonlocal slowest
        index, data, began, answer = waiting.pop(0)
        try:
            answer.result()
            counts["decoded"] += 1
        except RefusedRequest as refused:
            counts[str(refused.refusal.status)] += 1
            if refused.refusal.sentence == TOO_COSTLY:
                counts["ended its process"] += 1
                cases_ended.append([index, coding_of(data)])
        slowest = max(slowest, time.monotonic() - began)

    first = int(state["done"])
    with progress("Fuzzing", max(0, cases - first), "cases") as bar:
        for index in range(first, cases):
            random = generator(seed, "fuzz", index)
            data = damaged(known[int(random.integers(len(known)))], known, random)
            waiting.append((index, data, time.monotonic(), pool.decode(QUESTION, data)))
            if len(waiting) >= AHEAD:
                settle()
            bar.advance()
            if (index + 1) % SAVE_EVERY == 0 or index + 1 == cases:
                while waiting:
                    settle()
                peak = max(peak, peak_mib(pool.process_ids))
                state = {"seed": seed, "done": index + 1, "counts": dict(counts), "ended": cases_ended}
                state |= {"peak_mib": peak, "slowest_s": round(slowest, 3), "processes_ended": dict(replaced + ended)}
                write_json(state_path, state)
    pool.close()
    return state


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--films", type=Path)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    state = run(options.out, options.films, options.cases, options.seed, options.processes)
    print(json.dumps(state, indent=2))
    sys.exit(1 if "crash" in state["processes_ended"] else 0)


if __name__ == "__main__":
    main()
