"""The server against the simplest correct one, and a soak.

    python benchmarks/serving.py compare EXPORT [--clients 32] [--seconds 20] [--rounds 3] [--precision fp32|int8]
    python benchmarks/serving.py soak EXPORT [--requests 20000] [--clients 32] [--malformed 0.05]

`compare`: clients that send the next film as soon as the last is answered, half JPEG (1024 x 1024 and 390 x 320), half
DICOM (12 bits in 16, uncompressed, 1024 x 1024), against `pacx serve` and against a FastAPI application that decodes
and runs one film per request in fp32 with ONNX Runtime's own defaults. Both run all the time and take turns round by
round, so that whatever else the machine does meets both. The answers of both to the same films are compared first.

`soak`: requests at full speed of which a share is malformed. Fails (exit code 1) on a 5xx, on a good film without its
answer, on a malformed one with another status than 4xx, on a queue above its bound, or when memory has grown by more
than a tenth since the warm-up. Afterwards it sends more at once than the bound and expects 429.
"""

import argparse
import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import numpy as np
import psutil
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from pacx.core.progress import progress
from pacx.core.randomness import generator

TOKEN = "a-token-of-the-benchmark-012345"
ANY = "application/octet-stream"
GROWTH = 1.10
BOUND = 64


def film(seed: int, height: int, width: int) -> NDArray[np.uint8]:
    """Large random shapes under fine noise, as films are."""
    random = generator(seed, "serving benchmark")
    coarse = Image.fromarray(random.integers(30, 226, (9, 8), np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
    return (smooth + random.integers(-6, 7, smooth.shape)).clip(0, 255).astype(np.uint8)


def jpeg(pixels: NDArray[np.uint8]) -> bytes:
    """A JPEG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return file.getvalue()


def dicom(pixels: NDArray[np.uint8]) -> bytes:
    """An uncompressed DICOM file of twelve bits, MONOCHROME1."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", "1.2"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = *pixels.shape, 1
    dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME1", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.WindowCenter, dataset.WindowWidth = 2048, 4096
    dataset.PixelData = (pixels.astype(np.uint16) * 16).tobytes()
    dataset["PixelData"].VR = "OW"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def films(side_px: int) -> list[bytes]:
    """Eight files, half JPEG and half DICOM."""
    large = [film(number, side_px, side_px) for number in range(6)]
    small = [film(number, 320, 390) for number in (6, 7)]
    return [jpeg(large[0]), jpeg(large[1]), *map(jpeg, small), *map(dicom, large[2:])]


@dataclass
class Sent:
    """What a round of clients saw."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        """Films answered with what was asked for."""
        return self.statuses[200] / self.seconds

    def percentile(self, share: float) -> float:
        """Of the time from sending to the answer, milliseconds."""
        return float(np.percentile(self.latencies, share)) * 1000


async def send(
    port: int, bodies: list[bytes], *, clients: int, until: float | None = None, count: int | None = None
) -> Sent:
    """Clients that each send their next film when the last is answered, until a time or a number is reached."""
    sent, left = Sent(), iter(range(count)) if count is not None else None
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": ANY}
    base = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient(base_url=base, headers=headers, limits=limits, timeout=120) as client:

        async def one(number: int) -> None:
            turn = number
            while (until is None or time.perf_counter() < until) and (left is None or next(left, None) is not None):
                body = bodies[turn % len(bodies)]
                turn += clients
                began = time.perf_counter()
                answer = await client.post("/v1/predict", content=body)
                sent.latencies.append(time.perf_counter() - began)
                sent.statuses[answer.status_code] += 1

        began = time.perf_counter()
        await asyncio.gather(*(one(number) for number in range(clients)))
        sent.seconds = time.perf_counter() - began
    return sent


SIMPLEST = """
import sys
import numpy as np, onnxruntime, uvicorn
from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool
from pacx.data.images.decode import grey_from_bytes, to_square
from pathlib import Path
from pacx.inference.export_folder import GraphOutput, load_export

export = load_export(Path(sys.argv[1]))
graph = export.find(GraphOutput.EMBEDDING)
session = onnxruntime.InferenceSession(export.path(graph), providers=["CPUExecutionProvider"])
app = FastAPI()

def embed(data):
    square = to_square(grey_from_bytes(data), export.image_size_px)
    return session.run(None, export.feed(graph, square[None]))[0][0].tolist()

@app.get("/health/ready")
async def ready():
    return {}

@app.post("/v1/predict")
async def predict(request: Request):
    return {"embedding": await run_in_threadpool(embed, await request.body())}

uvicorn.run(app, port=int(sys.argv[2]), log_level="warning")
"""
"""What somebody would write first: right, one inference per request, nothing checked."""


@contextmanager
def running(words: list[str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A server as a process of its own, ready."""
    environment = {**os.environ, "PACX_TOKEN": TOKEN}
    environment.pop("OMP_NUM_THREADS", None)
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([sys.executable, *words], env=environment, stdout=sys.stderr, stderr=log)
        try:
            for _ in range(1200):
                try:
                    if httpx.get(f"http://127.0.0.1:{port}/health/ready").status_code == 200:
                        break
                except httpx.TransportError:
                    time.sleep(0.1)
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def embeddings(port: int, bodies: list[bytes], *, is_ours: bool) -> NDArray[np.float64]:
    """The embedding of each film, one request after the other."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": ANY}
    found = []
    for body in bodies:
        values = httpx.post(f"http://127.0.0.1:{port}/v1/predict", content=body, headers=headers, timeout=60).json()
        found.append(next(iter(values["models"].values()))["embedding"] if is_ours else values["embedding"])
    return np.array(found)


def compare(options: argparse.Namespace) -> int:
    """Both servers side by side."""
    bodies = films(options.side_px)
    ours = ["-m", "pacx.cli.main", "serve", str(options.export), "--port", str(options.port)]
    ours += ["--precision", options.precision] if options.precision else []
    simplest = ["-c", SIMPLEST, str(options.export), str(options.port + 1)]
    rounds: dict[str, list[Sent]] = {"pacx serve": [], "simplest": []}
    with running(ours, options.port), running(simplest, options.port + 1):
        first, second = (
            embeddings(options.port, bodies, is_ours=True),
            embeddings(options.port + 1, bodies, is_ours=False),
        )
        cosines = (first * second).sum(1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)
        about = httpx.get(f"http://127.0.0.1:{options.port}/v1/models", headers={"Authorization": f"Bearer {TOKEN}"})
        print(
            f"served: {about.json()['models'][0]['precision']}, {len(bodies)} films of {sum(map(len, bodies)):,} bytes"
        )
        print(f"answers: largest difference {np.abs(first - second).max():.2e}, smallest cosine {cosines.min():.6f}")
        for _ in range(options.rounds):
            for name, port in (("simplest", options.port + 1), ("pacx serve", options.port)):
                until = time.perf_counter() + options.seconds
                rounds[name].append(asyncio.run(send(port, bodies, clients=options.clients, until=until)))
    for name, seen in rounds.items():
        print(
            f"{name:<11} images/s {median(r.per_second for r in seen):7.2f} "
            f"({min(r.per_second for r in seen):.2f} to {max(r.per_second for r in seen):.2f})  "
            + "  ".join(f"p{p} {median(r.percentile(p) for r in seen):.0f} ms" for p in (50, 95, 99))
            + f"  statuses {dict(sum((r.statuses for r in seen), Counter()))}"
        )
    pairs = list(zip(rounds["pacx serve"], rounds["simplest"], strict=True))
    ratio = median(a.per_second / b.per_second for a, b in pairs)
    slower = median(a.percentile(95) / b.percentile(95) for a, b in pairs)
    print(f"throughput {ratio:.2f} times, p95 {slower:.2f} times the simplest server's (median over rounds)")
    is_clean = all(set(each.statuses) == {200} for seen in rounds.values() for each in seen)
    return 0 if ratio >= 2 and slower <= 1 and is_clean else 1


def malformed(random: np.random.Generator, bodies: list[bytes]) -> bytes:
    """A file that is cut, of another kind, or says that it is huge."""
    body = bodies[int(random.integers(len(bodies)))]
    ways = (body[: len(body) // 2], b"", b"%PDF-1.7" + body[8:], b"\x89PNG\r\n\x1a\n" + b"\xff" * 200, bytes(200))
    return ways[int(random.integers(len(ways)))]


def resident_mib(process: subprocess.Popen[bytes]) -> float:
    """Memory of a server and its decoding processes."""
    server = psutil.Process(process.pid)
    return sum(each.memory_info().rss for each in [server, *server.children(recursive=True)]) / 2**20


def metric(port: int, name: str) -> float:
    """A number from the server's metrics."""
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).text
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))


async def soak_slice(port: int, good: list[bytes], count: int, options: argparse.Namespace, random: Any) -> Sent:  # noqa: ANN401
    """Some of the requests; each status is held against what was sent."""
    sent, left = Sent(), iter(range(count))
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": ANY}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=120) as client:

        async def one() -> None:
            for _ in left:
                is_bad = random.random() < options.malformed
                body = malformed(random, good) if is_bad else good[int(random.integers(len(good)))]
                began = time.perf_counter()
                answer = await client.post("/v1/predict", content=body)
                sent.latencies.append(time.perf_counter() - began)
                sent.statuses[answer.status_code] += 1
                is_right = 400 <= answer.status_code < 500 if is_bad else answer.status_code == 200
                if not is_right or (not is_bad and not answer.json()["models"]):
                    sent.wrong.append(f"{'malformed' if is_bad else 'good'} film: {answer.status_code}")

        began = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(options.clients)))
        sent.seconds = time.perf_counter() - began
    return sent


async def flood(port: int, body: bytes, count: int) -> Counter[int]:
    """More at once than the server lets in."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": ANY}
    limits = httpx.Limits(max_connections=count)
    async with httpx.AsyncClient(headers=headers, limits=limits, timeout=120) as client:
        sent = [client.post(f"http://127.0.0.1:{port}/v1/predict", content=body) for _ in range(count)]
        return Counter(answer.status_code for answer in await asyncio.gather(*sent))


def soak(options: argparse.Namespace) -> int:
    """Many requests and what they leave behind."""
    good, random = films(options.side_px), generator(options.seed, "soak")
    words = ["-m", "pacx.cli.main", "serve", str(options.export), "--port", str(options.port)]
    words += ["--limits.max-waiting", str(BOUND)]
    total, memory = Sent(), []
    with running(words, options.port) as process, progress("Soaking", options.requests, "requests") as bar:
        warm_up = options.requests // 20
        asyncio.run(soak_slice(options.port, good, warm_up, options, random))
        memory.append(resident_mib(process))
        for _ in range(20):
            seen = asyncio.run(soak_slice(options.port, good, options.requests // 20, options, random))
            total.seconds += seen.seconds
            total.latencies += seen.latencies
            total.statuses += seen.statuses
            total.wrong += seen.wrong
            memory.append(resident_mib(process))
            bar.advance(options.requests // 20)
        most, flooded = (
            metric(options.port, "pacx_waiting_requests_most"),
            asyncio.run(flood(options.port, good[0], 6 * BOUND)),
        )
        most_of_all = metric(options.port, "pacx_waiting_requests_most")
        held = metric(options.port, "pacx_held_bytes"), metric(options.port, "pacx_waiting_requests ")
        replaced = metric(options.port, "pacx_decode_workers_replaced_total")
    facts = {
        "requests": len(total.latencies),
        "seconds": round(total.seconds, 1),
        "per second": round(total.per_second, 1),
        "p50, p95, p99 ms": [round(total.percentile(p), 1) for p in (50, 95, 99)],
        "statuses": dict(total.statuses),
        "wrong answers": total.wrong[:5],
        "memory after warm-up, MiB": round(memory[0], 1),
        "memory at the end, MiB": round(memory[-1], 1),
        "most memory, MiB": round(max(memory), 1),
        "most waiting in the soak, in the flood": [most, most_of_all],
        "bytes and requests held at the end": held,
        "decoders replaced": replaced,
        "flood of requests at once": {"sent": 6 * BOUND, "statuses": dict(flooded)},
    }
    print(json.dumps(facts, indent=2))
    is_good = not total.wrong and max(total.statuses) < 500 and memory[-1] <= GROWTH * memory[0]
    is_bounded = most_of_all <= BOUND and set(flooded) == {200, 429} and held == (0, 0)
    return 0 if is_good and is_bounded else 1


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("compare", "soak"))
    parser.add_argument("export", type=Path)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", choices=("fp32", "int8"))
    parser.add_argument("--side-px", type=int, default=1024)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--malformed", type=float, default=0.05)
    parser.add_argument("--port", type=int, default=8600)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sys.exit(compare(options) if options.what == "compare" else soak(options))


if __name__ == "__main__":
    main()
