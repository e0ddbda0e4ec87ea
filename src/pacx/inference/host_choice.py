"""Which runtime, precision and threads are fastest on this very host, among those whose answers may be trusted here.

Measured once per (graphs, host, versions) with full batches, the candidates taking turns, and kept in the user's cache
folder. A candidate must give on this host, of the films that came with the export, what the fp32 graph gave where it
was exported: to 1e-4 in fp32, so that a runtime that computes in fewer bits than it is asked for is found out, and in
int8 as directions of embeddings. int8 is chosen only where it is clearly faster.
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
from pacx.core.errors import ArtifactError, DataError, ModelError, PacxError
from pacx.core.host import num_processors, processor_lines
from pacx.core.randomness import generator
from pacx.core.typed_json import TypedJson, plain
from pacx.inference.checks import Checks, load_checks
from pacx.inference.engines import Engine, Runtime, open_engine
from pacx.inference.export_folder import ExportFolder, Graph, GraphOutput, Precision

FORMAT_VERSION = 2
MIN_SPEEDUP = 1.3
"""Of int8 over fp32, below which fp32 is chosen: its answers are those of torch."""
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
        agrees: whether its embeddings may stand for those of the fp32 graph; one that does not is not timed.
    """

    plan: Plan
    films_per_s: float
    agrees: bool


def candidates(export: ExportFolder, precision: Precision | None, num_threads: int = 0) -> list[Plan]:
    """Every plan this host could follow with so many threads (0: one per processor), ONNX Runtime's in fp32 first.

    Raises:
        UsageError: the export has no graph in the precision that was asked for, or one that mixes films.
    """
    if precision is not None:
        graphs = [export.embedding_graph(precision)]
    else:
        graphs = [each for each in export.graphs if each.output is GraphOutput.EMBEDDING and not each.mixes_films]
    return [
        Plan(runtime=runtime, precision=graph.precision, num_threads=threads, num_streams=streams)
        for runtime in Runtime
        if runtime.is_installed()
        for graph in graphs
        if runtime.runs(graph.precision)
        for threads, streams in sorted(_layouts(graph, num_threads or num_processors()))
    ]


def _layouts(graph: Graph, processors: int) -> set[tuple[int, int]]:
    """Threads per run, and runs at a time."""
    layouts = {(processors, 1)}
    if processors >= 4:
        layouts.add((processors // 2, 2))
    if processors <= 4 or graph.films_per_run is not None:  # one film feeds few threads
        layouts.add((1, processors))
    return layouts


def choose(
    export: ExportFolder, precision: Precision | None, batch_size: int, cache: Path, *, num_threads: int = 0
) -> tuple[Plan, list[Measured]]:
    """The fastest plan that agrees (int8 if it is 1.3 times as fast as fp32), and what it was chosen from.

    Measured now, or read from the cache.

    Args:
        export: the encoder.
        precision: only plans of this one; None for all.
        batch_size: films per batch, as the server will run them.
        cache: a folder; one that cannot be written costs a measurement at each start.
        num_threads: that it may use in all; 0 for one per processor that this process may use.

    Raises:
        UsageError: the export has no such precision that may be served.
        ModelError: no plan agrees.
    """
    plans = candidates(export, precision, num_threads)
    kept = cache / f"{_key(export, plans, batch_size)}.json"
    measured = _read(kept)
    if measured is None:
        measured = measure(export, plans, batch_size)
        with contextlib.suppress(ArtifactError):  # no home, or a container that may not be written to
            write_json(kept, {"format_version": FORMAT_VERSION, "measured": plain(measured)})
    fastest = {each.plan.precision: each for each in sorted(measured, key=_speed) if each.agrees}
    if not fastest:
        raise ModelError(f"no graph of {export.folder} gives on this host what it gave when exported; export it again")
    full, eight = fastest.get(Precision.FP32), fastest.get(Precision.INT8)
    if full is not None and (eight is None or eight.films_per_s < MIN_SPEEDUP * full.films_per_s):
        return full.plan, measured
    assert eight is not None
    return eight.plan, measured


def _speed(measured: Measured) -> float:
    return measured.films_per_s


def measure(export: ExportFolder, plans: Sequence[Plan], batch_size: int) -> list[Measured]:
    """Hold all plans to the films that came with the export, and time them in turns on full batches.

    Raises:
        ModelError: a graph cannot be opened by ONNX Runtime.
    """
    films = smooth_films(batch_size, export.image_size_px)
    engines: dict[Plan, Engine] = {}
    for plan in plans:
        try:
            engines[plan] = _engine(export, plan)
        except ModelError:
            if plan.runtime is Runtime.ONNXRUNTIME:
                raise
    checks = load_checks(export) or _checks_of_this_host(export, films)
    agreeing = [plan for plan, engine in engines.items() if _agrees(plan, engine, checks)]
    seconds: dict[Plan, list[float]] = {plan: [] for plan in agreeing}
    for _ in range(_ROUNDS):
        for plan in agreeing:
            seconds[plan].append(_seconds(engines[plan], films, plan.num_streams))
    speed = {plan: plan.num_streams * batch_size / median(taken) for plan, taken in seconds.items()}
    return [Measured(plan=plan, films_per_s=speed.get(plan, 0.0), agrees=plan in speed) for plan in engines]


def _checks_of_this_host(export: ExportFolder, films: NDArray[np.uint8]) -> Checks:
    """For an export that came without films: its plain graph is all there is to hold others to."""
    plain_plan = Plan(
        runtime=Runtime.ONNXRUNTIME, precision=Precision.FP32, num_threads=num_processors(), num_streams=1
    )
    try:
        return Checks(films=films, embeddings=_engine(export, plain_plan)(films))
    except PacxError:
        raise
    except Exception as error:  # whatever the runtime raises
        raise ModelError(
            f"{export.folder} cannot be run on this host ({type(error).__name__}); export it again"
        ) from error


def _agrees(plan: Plan, engine: Engine, checks: Checks) -> bool:
    try:
        return checks.agree(plan.precision, engine(checks.films))
    except Exception:  # not finite, or whatever the runtime raises
        return False


def smooth_films(count: int, side_px: int) -> NDArray[np.uint8]:
    """Films (N, S, S) of large random shapes: alike enough to radiographs that int8 meets ordinary activations."""
    coarse = generator(0, "host choice").integers(0, 256, (count, _COARSE_PX, _COARSE_PX), np.uint8)
    return np.stack(
        [np.asarray(Image.fromarray(film).resize((side_px, side_px), Image.Resampling.BICUBIC)) for film in coarse]
    )


def _engine(export: ExportFolder, plan: Plan) -> Engine:
    return open_engine(plan.runtime, export, export.embedding_graph(plan.precision), plan.num_threads)


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
