"""Which runtime, precision and threads are fastest on this very host, among those whose answers may be trusted here.

Measured once per (graphs, host, versions) with full batches, the candidates taking turns, and kept in the user's cache
folder. A candidate must agree on this host with the fp32 graph in ONNX Runtime: to 1e-4 in fp32, and in int8 as
directions of embeddings, because the integer instructions of some processors saturate where a graph with weights of
eight full bits (an older export) does not elsewhere. Whether int8 is good enough at all was decided when it was
exported, by the change of AUROC.
"""

import contextlib
import hashlib
import json
import platform
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pacx.core.artifacts import read_json, write_json
from pacx.core.errors import ArtifactError, DataError, ModelError, UsageError
from pacx.core.host import num_processors, processor_lines
from pacx.core.randomness import generator
from pacx.core.typed_json import TypedJson, plain
from pacx.inference.engines import Engine, Runtime, open_engine
from pacx.inference.export_folder import ExportFolder, GraphOutput, Precision

FORMAT_VERSION = 1
MAX_DIFFERENCE = 1e-4
"""Of an fp32 embedding from ONNX Runtime's, element by element."""
MIN_COSINE = 0.998
"""Of an int8 embedding with the fp32 one: graphs of ours give 0.999 and more, graphs that saturate 0.997 and less."""
_ROUNDS = 3
_COARSE_PX = 12


@dataclass(frozen=True, kw_only=True)
class Plan(TypedJson):
    """How an encoder is run.

    Args:
        runtime: which library.
        precision: of which graph.
        num_threads: that share one batch.
        num_streams: batches at the same time.
    """

    runtime: Runtime
    precision: Precision
    num_threads: int
    num_streams: int

    def __str__(self) -> str:
        streams = f"{self.num_streams} batches at a time, " * (self.num_streams > 1)
        threads = "one thread" if self.num_threads == 1 else f"{self.num_threads} threads"
        return f"{self.precision.value} in {self.runtime.value}, {streams}{threads} each"


@dataclass(frozen=True, kw_only=True)
class Measured(TypedJson):
    """A plan on this host.

    Args:
        plan: what was run.
        films_per_s: median over rounds.
        agrees: whether its embeddings may stand for those of the fp32 graph.
    """

    plan: Plan
    films_per_s: float
    agrees: bool


def candidates(export: ExportFolder, precision: Precision | None, num_threads: int = 0) -> list[Plan]:
    """Every plan this host could follow with so many threads (0: one per processor), ONNX Runtime's in fp32 first.

    Raises:
        UsageError: the export has no graph in the precision that was asked for.
    """
    precisions = [each for each in Precision if export.find(GraphOutput.EMBEDDING, each) is not None]
    if precision is not None and precision not in precisions:
        have = ", ".join(each.value for each in precisions)
        raise UsageError(f"{export.folder} has no {precision.value} graph, only {have}; export it or leave the option")
    processors = num_threads or num_processors()
    layouts = {(processors, 1)}
    if 1 < processors <= 4:
        layouts.add((1, processors))
    if processors >= 4:
        layouts.add((processors // 2, 2))
    return [
        Plan(runtime=runtime, precision=each, num_threads=threads, num_streams=streams)
        for runtime in Runtime
        if runtime.is_installed()
        for each in precisions
        if precision in (None, each)
        for threads, streams in sorted(layouts)
    ]


def choose(
    export: ExportFolder, precision: Precision | None, batch_size: int, cache: Path, *, num_threads: int = 0
) -> tuple[Plan, list[Measured]]:
    """The fastest plan that agrees, and what it was chosen from: measured now, or read from the cache.

    Args:
        export: the encoder.
        precision: only plans of this one; None for all.
        batch_size: films per batch, as the server will run them.
        cache: a folder; one that cannot be written costs a measurement at each start.
        num_threads: that it may use in all; 0 for one per processor that this process may use.

    Raises:
        UsageError: the export has no such precision.
        ModelError: no plan agrees.
    """
    plans = candidates(export, precision, num_threads)
    kept = cache / f"{_key(export, plans, batch_size)}.json"
    measured = _read(kept)
    if measured is None:
        measured = measure(export, plans, batch_size)
        with contextlib.suppress(ArtifactError):  # no home, or a container that may not be written to
            write_json(kept, {"format_version": FORMAT_VERSION, "measured": plain(measured)})
    trusted = [each for each in measured if each.agrees]
    if not trusted:
        raise ModelError(f"no graph of {export.folder} gives on this host what it gave when exported; export it again")
    return max(trusted, key=lambda each: each.films_per_s).plan, measured


def measure(export: ExportFolder, plans: Sequence[Plan], batch_size: int) -> list[Measured]:
    """Run all plans in turns on films of smooth shapes.

    Raises:
        ModelError: the fp32 graph cannot be run.
    """
    films = smooth_films(batch_size, export.image_size_px)
    try:
        reference = _engine(export, _plain_plan(export))(films)
    except ModelError:
        raise
    except Exception as error:  # whatever the runtime raises
        raise ModelError(
            f"{export.folder} cannot be run on this host ({type(error).__name__}); export it again"
        ) from error
    engines: dict[Plan, Engine] = {}
    for plan in plans:
        try:
            engines[plan] = _engine(export, plan)
        except ModelError:
            if plan.runtime is Runtime.ONNXRUNTIME:
                raise
    agreement = {plan: _agrees(plan.precision, engine(films), reference) for plan, engine in engines.items()}
    seconds: dict[Plan, list[float]] = {plan: [] for plan in engines}
    for _ in range(_ROUNDS):
        for plan, engine in engines.items():
            seconds[plan].append(_seconds(engine, films, plan.num_streams))
    return [
        Measured(plan=plan, films_per_s=plan.num_streams * batch_size / median(seconds[plan]), agrees=agreement[plan])
        for plan in engines
    ]


def smooth_films(count: int, side_px: int) -> NDArray[np.uint8]:
    """Films (N, S, S) of large random shapes: alike enough to radiographs that int8 meets ordinary activations."""
    coarse = generator(0, "host choice").integers(0, 256, (count, _COARSE_PX, _COARSE_PX), np.uint8)
    return np.stack(
        [np.asarray(Image.fromarray(film).resize((side_px, side_px), Image.Resampling.BICUBIC)) for film in coarse]
    )


def _plain_plan(export: ExportFolder) -> Plan:
    precision = Precision.FP32 if export.find(GraphOutput.EMBEDDING) is not None else Precision.INT8
    return Plan(runtime=Runtime.ONNXRUNTIME, precision=precision, num_threads=num_processors(), num_streams=1)


def _engine(export: ExportFolder, plan: Plan) -> Engine:
    graph = export.find(GraphOutput.EMBEDDING, plan.precision)
    assert graph is not None
    return open_engine(plan.runtime, export, graph, plan.num_threads)


def _agrees(precision: Precision, found: NDArray[np.float32], reference: NDArray[np.float32]) -> bool:
    if not np.isfinite(found).all():
        return False
    if precision is Precision.FP32:
        return bool(np.abs(found - reference).max() <= MAX_DIFFERENCE)
    norms = np.linalg.norm(found, axis=1) * np.linalg.norm(reference, axis=1)
    return bool(((found * reference).sum(axis=1) >= MIN_COSINE * norms).all())


def _seconds(engine: Engine, films: NDArray[np.uint8], num_streams: int) -> float:
    began = time.perf_counter()
    if num_streams == 1:
        engine(films)
    else:
        with ThreadPoolExecutor(num_streams) as threads:
            list(threads.map(engine, [films] * num_streams))
    return time.perf_counter() - began


def _key(export: ExportFolder, plans: Sequence[Plan], batch_size: int) -> str:
    about = {
        "graphs": sorted(graph.sha256 for graph in export.graphs),
        "plans": plain(plans),
        "batch_size": batch_size,
        "host": platform.node(),
        "processor": "\n".join(processor_lines("model name", "flags", "Features")) or platform.processor(),
        "versions": {
            name: metadata.version(name)
            for name in ("pacx", *(runtime.value for runtime in Runtime if runtime.is_installed()))
        },
    }
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:32]


def _read(path: Path) -> list[Measured] | None:
    """What was measured before; None where nothing was, or something that cannot be read."""
    try:
        values = read_json(path)
        if values["format_version"] != FORMAT_VERSION:
            return None
        return [Measured.from_json(each) for each in values["measured"]]
    except (DataError, OSError, KeyError, TypeError):
        return None
