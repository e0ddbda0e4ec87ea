"""Does an exported graph say what torch says? Measured on simulated films that are made anew, the same ones each time.

`simulated films -> torch, graph -> largest difference, smallest cosine, change of a probe's AUROC`. In single precision
a graph has to agree number by number. With 8-bit weights it cannot, so what counts there is that embeddings point where
they did, and that a linear probe that was fitted to the full ones still ranks other patients as it did.
"""

import platform
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pacx.core.errors import ModelError
from pacx.core.host import instruction_sets, processor_name
from pacx.core.progress import progress
from pacx.core.randomness import sample_keys
from pacx.core.typed_json import plain
from pacx.data.augment import to_input
from pacx.evaluation.probes.linear_heads import LabelledFeatures
from pacx.evaluation.probes.logistic import fit_logistic
from pacx.evaluation.statistics.bootstrap import interval, patient_bootstrap
from pacx.evaluation.statistics.metrics import auroc
from pacx.inference.checks import MIN_COSINE, Checks, cosines
from pacx.inference.export_folder import ExportFolder, GraphOutput, Precision
from pacx.inference.onnx_encoder import OnnxEncoder
from pacx.models.device import in_full_precision
from pacx.models.encoders.directions_encoder import DirectionsEncoder
from pacx.models.encoders.folder import LoadedEncoder
from pacx.models.rollout import rollout_grid
from pacx.models.segmenter import Segmenter, load_segmenter
from pacx.simulation.cohort import film_chunks, patients_of
from pacx.simulation.patients.labels import downstream_labels
from pacx.simulation.patients.sites import CohortConfig

LARGEST_DIFFERENCE = 1e-4
"""Between a graph in single precision and torch."""
LARGEST_AUROC_CHANGE = 0.002
"""Of the probe, macro over its labels, between 8-bit weights and single precision."""
NUM_COMPARED = 64
"""Films on which torch itself is run."""
NUM_CHECKS = 16
"""Films that an export takes along."""
_NUM_DRAWS = 1000
_BATCH = 16
_PROBE_STRENGTH = 0.01
_LINE = "parity"


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How far a graph is from what it stands for.

    Attributes:
        file: the graph.
        compared_with: "torch", or the graph it was made from.
        films: how many were compared.
        max_abs_difference: over all numbers of all films.
        min_cosine: over the films.
        auroc: macro AUROC of the probe on this graph's embeddings; None where it gives none, or was not asked.
        auroc_change: of that from the one on the embeddings it is compared with.
        auroc_change_low: of its interval, in which 95 % of draws of the judged patients lie.
        auroc_change_high: the other end.
        largest_label_change: the label that changed most, absolute.
    """

    file: str
    compared_with: str
    films: int
    max_abs_difference: float
    min_cosine: float
    auroc: float | None = None
    auroc_change: float | None = None
    auroc_change_low: float | None = None
    auroc_change_high: float | None = None
    largest_label_change: float | None = None


@dataclass(frozen=True, kw_only=True)
class SimulatedFilms:
    """Films of simulated patients, one each, with what the patients have.

    Attributes:
        squares: uint8 (N, S, S).
        labels: float32 (N, L), 0 or 1.
        keys: uint64 (N,) of the patients.
    """

    squares: NDArray[np.uint8]
    labels: NDArray[np.float32]
    keys: NDArray[np.uint64]


def simulated_films(count: int, size_px: int) -> SimulatedFilms:
    """Render the first ``count`` patients of a line of their own; the same bytes on every machine."""
    config = CohortConfig(seed=0, image_size_px=size_px)
    ids = [f"{_LINE}-{number}" for number in range(1, count + 1)]
    patients = patients_of(ids, config)
    squares = np.empty((count, size_px, size_px), np.uint8)
    done = 0
    with progress("simulating films", count, "films") as shown:
        for chunk in film_chunks(patients, ids, np.arange(count), config):
            squares[done : done + len(chunk.film_ids)] = chunk.films.images
            done += len(chunk.film_ids)
            shown.advance(len(chunk.film_ids))
    labels = downstream_labels(patients).to_numpy(np.float32)
    return SimulatedFilms(squares=squares, labels=labels, keys=sample_keys(ids))


def with_torch(
    encoder: LoadedEncoder | DirectionsEncoder, gives: GraphOutput, segmenter: Segmenter | None
) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """What a graph stands for, computed by torch."""

    def run(squares: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode(), in_full_precision():
            images = to_input(torch.from_numpy(squares), encoder.preprocessing)
            if gives is GraphOutput.ROLLOUT:
                return rollout_grid(encoder.vit, images).numpy()
            if segmenter is not None:
                return segmenter.decoder(encoder.patches(images)).sigmoid().numpy()
            return encoder.embed_images(images).numpy()

    return run


def outputs(
    run: Callable[[NDArray[np.uint8]], NDArray[np.float32]], squares: NDArray[np.uint8], title: str
) -> NDArray[np.float32]:
    """What ``run`` gives of N films, in batches."""
    parts = []
    with progress(title, len(squares), "films") as shown:
        for start in range(0, len(squares), _BATCH):
            parts.append(run(squares[start : start + _BATCH]))
            shown.advance(len(parts[-1]))
    return np.concatenate(parts)


def compare(file: str, compared_with: str, found: NDArray[np.float32], wanted: NDArray[np.float32]) -> Parity:
    """Differences between two arrays (N, ...), film by film."""
    first, second = (array.reshape(len(array), -1).astype(np.float64) for array in (found, wanted))
    return Parity(
        file=file,
        compared_with=compared_with,
        films=len(found),
        max_abs_difference=float(np.abs(first - second).max()),
        min_cosine=float(cosines(first, second).min()),
    )


def compare_with_torch(
    graph: OnnxEncoder, encoder: LoadedEncoder | DirectionsEncoder, segmenter: Segmenter | None, films: SimulatedFilms
) -> Parity:
    """A graph in single precision against torch."""
    squares = films.squares[:NUM_COMPARED]
    wanted = outputs(with_torch(encoder, graph.graph.output, segmenter), squares, "torch")
    return compare(graph.graph.file, "torch", outputs(graph, squares, graph.graph.file), wanted)


def compare_by_probe(
    file: str, full: tuple[str, NDArray[np.float32]], found: NDArray[np.float32], films: SimulatedFilms
) -> Parity:
    """Embeddings of a graph with 8-bit weights against those of the one it was made from.

    A logistic probe is fitted to the full embeddings of the first half of the patients; both graphs' embeddings of the
    second half are ranked by it. The interval of the change is of a bootstrap of those patients, who are the same for
    both: with few of them, the change alone says more of a few pairs that change places than of the graph.

    Args:
        file: the graph with 8-bit weights.
        full: the other graph's file and its embeddings (N, D).
        found: embeddings (N, D).
        films: the N films.
    """
    name, features = full
    half = len(films.squares) // 2
    training = LabelledFeatures(features=features[:half], labels=films.labels[:half], keys=films.keys[:half])
    weight, bias = fit_logistic(training, strength=_PROBE_STRENGTH, is_multiclass=False, max_iterations=2000)
    judged = films.labels[half:]
    draws = patient_bootstrap(films.keys[half:], num_draws=_NUM_DRAWS, seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a draw in which no label has both kinds has no mean
        before, after = (auroc(each[half:] @ weight + bias, judged, draws) for each in (features, found))  # (R, L)
        change = interval(np.nanmean(after, axis=1) - np.nanmean(before, axis=1))
        return replace(
            compare(file, name, found, features),
            auroc=float(np.nanmean(after[0])),
            auroc_change=change.value,
            auroc_change_low=change.low,
            auroc_change_high=change.high,
            largest_label_change=float(np.nanmax(np.abs(after[0] - before[0]))),
        )


def measure_parity(
    export: ExportFolder, encoder: LoadedEncoder | DirectionsEncoder, num_films: int
) -> tuple[list[Parity], Checks]:
    """Compare every graph of an export with what it stands for.

    Returns:
        What was measured, and films to hold other hosts to: those on which 8 bits are worst, if there is such a graph.

    Raises:
        ModelError: one in single precision does not agree with torch.
    """
    films = simulated_films(num_films, export.image_size_px)
    measured = []
    for graph in export.graphs:
        if graph.precision is Precision.FP32:
            segmenter = load_segmenter(export.folder) if graph.output is GraphOutput.MASKS else None
            measured.append(compare_with_torch(OnnxEncoder(export, graph), encoder, segmenter, films))
            _require_agreement(measured[-1])
    full = OnnxEncoder(export, export.embedding_graph(Precision.FP32))
    eight = export.find(GraphOutput.EMBEDDING, Precision.INT8)
    if eight is None:
        chosen = films.squares[:NUM_CHECKS]
        return measured, Checks(films=chosen, embeddings=full(chosen))
    features = outputs(full, films.squares, full.graph.file)
    found = outputs(OnnxEncoder(export, eight), films.squares, eight.file)
    measured.append(compare_by_probe(eight.file, (full.graph.file, features), found, films))
    worst = np.argsort(cosines(found, features))[:NUM_CHECKS]
    return measured, Checks(films=films.squares[worst], embeddings=features[worst])


def _require_agreement(parity: Parity) -> None:
    if not parity.max_abs_difference <= LARGEST_DIFFERENCE:  # NaN, too
        raise ModelError(
            f"{parity.file} differs from torch by {parity.max_abs_difference:.2g} on {parity.films} simulated "
            f"films, at most {LARGEST_DIFFERENCE:g} is allowed; use this encoder with torch"
        )


def refusal(parity: Parity) -> str:
    """Why a graph with 8-bit weights is refused; "" when its embeddings point and its probe ranks as before.

    The ranking counts against it where the whole interval of the change is beyond the bar.
    """
    low, high = parity.auroc_change_low, parity.auroc_change_high
    if parity.auroc_change is None or low is None or high is None:
        return ""
    is_worse = low > LARGEST_AUROC_CHANGE or high < -LARGEST_AUROC_CHANGE
    if parity.min_cosine >= MIN_COSINE and not is_worse:
        return ""
    return (
        f"{parity.file} is refused: with 8-bit weights the least cosine of an embedding with the full one is "
        f"{parity.min_cosine:.4f}, at least {MIN_COSINE} is wanted, and the AUROC of a probe changes by "
        f"{parity.auroc_change:+.4f} ({low:+.4f} to {high:+.4f}) on {parity.films} simulated films, at most "
        f"{LARGEST_AUROC_CHANGE} is allowed; single precision stays"
    )


def parity_to_json(measured: Sequence[Parity], refused: Mapping[str, str]) -> dict[str, Any]:
    """The report that lies in an export: what was measured, where, against which bars, and what was refused."""
    return {
        "films": "simulated by pacx.simulation, seed 0",
        "largest_difference_allowed": LARGEST_DIFFERENCE,
        "least_cosine_allowed": MIN_COSINE,
        "largest_auroc_change_allowed": LARGEST_AUROC_CHANGE,
        "host": {
            "machine": platform.machine(),
            "processor": processor_name(),
            "instruction_sets": instruction_sets(),
            "versions": {name: metadata.version(name) for name in ("onnxruntime", "torch")},
        },
        "graphs": plain(measured),
        "refused": dict(refused),
    }
