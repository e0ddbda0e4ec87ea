"""Does an exported graph say what torch says? Measured on simulated films that are made anew, the same ones each time.

`simulated films -> torch, graph -> largest difference, smallest cosine, change of a probe's AUROC`. In single precision
a graph has to agree number by number. With 8-bit weights it cannot, so what counts there is whether a linear probe that
was fitted to the full embeddings still ranks other patients as it did.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pacx.core.errors import ModelError
from pacx.core.progress import progress
from pacx.core.randomness import sample_keys
from pacx.core.typed_json import plain
from pacx.data.augment import to_input
from pacx.evaluation.probes.linear_heads import LabelledFeatures
from pacx.evaluation.probes.logistic import fit_logistic
from pacx.evaluation.statistics.metrics import auroc_points
from pacx.inference.export_folder import ExportFolder, GraphOutput, Precision
from pacx.inference.onnx_encoder import OnnxEncoder
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
        largest_label_change: the label that changed most, absolute.
    """

    file: str
    compared_with: str
    films: int
    max_abs_difference: float
    min_cosine: float
    auroc: float | None = None
    auroc_change: float | None = None
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
    encoder: LoadedEncoder, gives: GraphOutput, segmenter: Segmenter | None
) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """What a graph stands for, computed by torch."""

    def run(squares: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
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
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return Parity(
        file=file,
        compared_with=compared_with,
        films=len(found),
        max_abs_difference=float(np.abs(first - second).max()),
        min_cosine=float(((first * second).sum(axis=1) / norms).min()),
    )


def compare_with_torch(
    graph: OnnxEncoder, encoder: LoadedEncoder, segmenter: Segmenter | None, films: SimulatedFilms
) -> Parity:
    """A graph in single precision against torch."""
    squares = films.squares[:NUM_COMPARED]
    wanted = outputs(with_torch(encoder, graph.graph.output, segmenter), squares, "torch")
    return compare(graph.graph.file, "torch", outputs(graph, squares, graph.graph.file), wanted)


def compare_by_probe(graph: OnnxEncoder, full: OnnxEncoder, films: SimulatedFilms) -> Parity:
    """A graph with 8-bit weights against the one it was made from.

    A logistic probe is fitted to the full embeddings of the first half of the patients; both graphs' embeddings of the
    second half are ranked by it.
    """
    half = len(films.squares) // 2
    features = outputs(full, films.squares, full.graph.file)
    found = outputs(graph, films.squares[half:], graph.graph.file)
    training = LabelledFeatures(features=features[:half], labels=films.labels[:half], keys=films.keys[:half])
    weight, bias = fit_logistic(training, strength=_PROBE_STRENGTH, is_multiclass=False, max_iterations=2000)
    before, after = (auroc_points(each @ weight + bias, films.labels[half:]) for each in (features[half:], found))
    return replace(
        compare(graph.graph.file, full.graph.file, found, features[half:]),
        auroc=float(np.nanmean(after)),
        auroc_change=float(np.nanmean(after) - np.nanmean(before)),
        largest_label_change=float(np.nanmax(np.abs(after - before))),
    )


def measure_parity(export: ExportFolder, encoder: LoadedEncoder, num_films: int) -> list[Parity]:
    """Compare every graph of an export with what it stands for.

    Raises:
        ModelError: one in single precision does not agree with torch.
    """
    films = simulated_films(num_films, export.image_size_px)
    opened = [OnnxEncoder(export, graph) for graph in export.graphs]
    measured = []
    for graph in opened:
        if graph.graph.precision is Precision.INT8:
            full = next(each for each in opened if each.graph.output is GraphOutput.EMBEDDING)
            measured.append(compare_by_probe(graph, full, films))
            continue
        segmenter = load_segmenter(export.folder) if graph.graph.output is GraphOutput.MASKS else None
        parity = compare_with_torch(graph, encoder, segmenter, films)
        if not parity.max_abs_difference <= LARGEST_DIFFERENCE:  # NaN, too
            raise ModelError(
                f"{parity.file} differs from torch by {parity.max_abs_difference:.2g} on {parity.films} simulated "
                f"films, at most {LARGEST_DIFFERENCE:g} is allowed; use this encoder with torch"
            )
        measured.append(parity)
    return measured


def refusal(parity: Parity) -> str:
    """Why a graph with 8-bit weights is refused; "" when the probe ranks as before."""
    change = parity.auroc_change
    if change is None or abs(change) <= LARGEST_AUROC_CHANGE:
        return ""
    return (
        f"{parity.file} is refused: with 8-bit weights the AUROC of a probe changes by {change:+.4f} on {parity.films} "
        f"simulated films, at most {LARGEST_AUROC_CHANGE} is allowed; single precision stays"
    )


def parity_to_json(measured: Sequence[Parity], refused: Mapping[str, str]) -> dict[str, Any]:
    """The report that lies in an export: what was measured, against which bars, and what was refused."""
    return {
        "films": "simulated by pacx.simulation, seed 0",
        "largest_difference_allowed": LARGEST_DIFFERENCE,
        "largest_auroc_change_allowed": LARGEST_AUROC_CHANGE,
        "graphs": plain(measured),
        "refused": dict(refused),
    }
