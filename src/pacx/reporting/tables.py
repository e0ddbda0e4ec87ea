"""Result rows to tables in the shape of the paper's Tables 1, 2 and 3.

A cell shows a value and, small below it, its 95 % interval. A difference whose interval includes 0 is printed grey and
says "not distinguishable": nobody should have to do that comparison in their head.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pacx.evaluation.evidence.attention import METRIC, UNIFORM
from pacx.evaluation.evidence.attention import PROTOCOL as ATTENTION
from pacx.evaluation.probes.alignment import CHANCE, CONSTANT
from pacx.evaluation.results import ResultRow, difference_metric
from pacx.models.encoders.names import IMAGENET, MAE, PACX, RANDOM
from pacx.reporting.paper import ALIGNMENT, BENCHMARKS, Published
from pacx.reporting.released_code import counted_by_torchmetrics
from pacx.reporting.result_rows import Rows

MISSING = "not run"
SHOWN_ENCODERS = {
    RANDOM: "random ViT",
    IMAGENET: "ImageNet",
    MAE: "MAE",
    f"{MAE}#mean": "MAE, mean of patches",
    PACX: "PaCX",
    f"{PACX}#mean": "PaCX, mean of patches",
}
"""How the encoders of the paper are called in a heading; others keep their own name."""
_SHOWN_METRICS = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "f1": "F1 at 0.5",
    "f1_tuned": "F1, threshold from validation",
    "iou": "IoU",
    "dice": "Dice",
}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell: main text, small text below, and how it is set."""

    text: str
    small: str = ""
    is_quiet: bool = False
    is_best: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table; a row of a single cell is a heading between rows."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def is_distinguishable(row: ResultRow) -> bool:
    """Whether a difference's interval excludes 0; without an interval it is not."""
    return row.ci_low > 0 or row.ci_high < 0


def format_interval(row: ResultRow, digits: int = 3, scale: float = 1.0) -> str:
    """The interval in square brackets, with a word where it is not by patient; empty when there is none."""
    if math.isnan(row.ci_low):
        return ""
    ends = f"[{row.ci_low * scale:.{digits}f}, {row.ci_high * scale:.{digits}f}]"
    return f"{ends} {row.not_by_patient}" if row.not_by_patient else ends


def patients_unknown(rows: Rows) -> list[str]:
    """One sentence for each dataset on which intervals are not by patient throughout."""
    found = dict.fromkeys((row.dataset, row.drawn_by) for row in rows.rows if row.not_by_patient)
    return [
        f"Intervals on {dataset} are by {drawn_by}: films of one person may lie in training and test, so that scores "
        "come out too high and intervals too narrow."
        for dataset, drawn_by in found
    ]


def value_cell(row: ResultRow | None, *, digits: int = 3, is_best: bool = False) -> Cell:
    """A score with its interval."""
    if row is None:
        return Cell(text=MISSING, is_quiet=True)
    if math.isnan(row.value):
        return Cell(text="undefined", is_quiet=True)
    return Cell(text=f"{row.value:.{digits}f}", small=format_interval(row, digits), is_best=is_best)


def difference_cell(row: ResultRow | None) -> Cell:
    """A paired difference in points (hundredths); grey and named when it cannot be told from 0."""
    if row is None or math.isnan(row.value):
        return Cell(text="" if row is None else "undefined", is_quiet=True)
    small = format_interval(row, digits=1, scale=100)
    if is_distinguishable(row):
        return Cell(text=f"{100 * row.value:+.1f}", small=small)
    return Cell(text=f"{100 * row.value:+.1f}", small=f"{small} not distinguishable", is_quiet=True)


def shown(encoders: Sequence[str]) -> tuple[str, ...]:
    """Encoder names as a reader should see them."""
    return tuple(SHOWN_ENCODERS.get(encoder, encoder) for encoder in encoders)


def shown_target(modality: str) -> str:
    """A modality's name as a reader should see it."""
    return {"ecg": "ECG"}.get(modality, modality)


def score_row(
    rows: Rows,
    encoders: Sequence[str],
    first: Cell,
    shown_metric: str,
    query: dict[str, object],
    metric: str,
    *,
    is_lower_better: bool = False,
    has_best: bool = True,
) -> tuple[Cell, ...]:
    """One metric of every encoder, the best in bold where there is such a thing, and the paired differences."""
    scores = [rows.find(subject=encoder, metric=metric, **query) for encoder in encoders]
    defined = [row.value for row in scores if row is not None and not math.isnan(row.value)]
    best = (min if is_lower_better else max)(defined, default=math.nan)
    cells = [value_cell(row, is_best=has_best and row is not None and row.value == best) for row in scores]
    differences = [
        rows.find(subject=first, contrast=second, metric=difference_metric(metric), **query)
        for first, second in rows.pairs
    ]
    return (first, Cell(text=shown_metric), *cells, *map(difference_cell, differences))


def pair_headings(rows: Rows) -> tuple[str, ...]:
    """Headings of the columns that hold paired differences."""
    return tuple(" - ".join(shown(pair)) for pair in rows.pairs)


def _published_row(
    rows: Rows, encoders: Sequence[str], first: Cell, metric: str, scores: Published, extra: int = 0
) -> tuple[Cell, ...]:
    """The paper's own scores, in grey; ``extra`` empty cells stand before the differences."""
    values = [scores.of(encoder) for encoder in encoders]
    cells = [Cell(text="" if value is None else f"{value:.3f}", is_quiet=True) for value in values]
    gain = Cell(text=f"{100 * (scores.pacx - scores.mae):+.1f}", small="no interval published", is_quiet=True)
    differences = [gain if pair == (PACX, MAE) else Cell(text="") for pair in rows.pairs]
    return (first, Cell(text=f"{metric}, the paper's", is_quiet=True), *cells, *[Cell(text="")] * extra, *differences)


def _released_row(rows: Rows, encoders: Sequence[str], metric: str, query: dict[str, object]) -> list[tuple[Cell, ...]]:
    """The same scores as the released code counts them, in grey; none where no encoder has one."""
    values = [counted_by_torchmetrics(rows, encoder, metric, query) for encoder in encoders]
    if all(value is None for value in values):
        return []
    texts = ["" if value is None else "undefined" if math.isnan(value) else f"{value:.3f}" for value in values]
    cells = [Cell(text=text, is_quiet=True) for text in texts]
    name = Cell(text=f"{_SHOWN_METRICS[metric]}, as torchmetrics counts", is_quiet=True)
    return [(Cell(text=""), name, *cells, *[Cell(text="") for _ in rows.pairs])]


def benchmark_table(rows: Rows, encoders: Sequence[str], *, as_released: bool = False) -> Table:
    """The paper's Table 1: every dataset and metric, one column per encoder, PaCX minus MAE in points.

    ``as_released`` puts below each score what the authors' released code would count.
    """
    body: list[tuple[Cell, ...]] = []
    for protocol, label_of in (("linear-probe", None), ("segmentation", "every mask")):
        for dataset in rows.values_of("dataset", protocol=protocol):
            labels = ["macro"] if label_of is None else rows.values_of("label", protocol=protocol, dataset=dataset)
            for label in labels:
                known = rows.values_of("metric", protocol=protocol, dataset=dataset, label=label)
                metrics = [metric for metric in _SHOWN_METRICS if metric in known]
                for metric in metrics:
                    name = dataset if label == "macro" else f"{dataset}: {label}"
                    first = Cell(text=name if metric == metrics[0] else "")
                    query: dict[str, object] = {
                        "protocol": protocol,
                        "dataset": dataset,
                        "label": label,
                        "fraction": 1.0,
                    }
                    body.append(score_row(rows, encoders, first, _SHOWN_METRICS[metric], query, metric))
                    if as_released:
                        body += _released_row(rows, encoders, metric, query)
                    published = BENCHMARKS.get(dataset, {}).get(metric)
                    if published is not None:
                        body.append(_published_row(rows, encoders, Cell(text=""), _SHOWN_METRICS[metric], published))
    missing = _not_run(rows, encoders)
    return Table(
        caption="Test set, 95 % intervals from a bootstrap of patients, or of films where a cell says so; differences "
        "are paired and in points. "
        "The random ViT stands in for the ImageNet ViT where its weights are not at hand."
        + _COMPARISON
        * (_ran(rows) & set(BENCHMARKS) != set()),
        header=("dataset", "metric", *shown(encoders), *pair_headings(rows)),
        rows=(*body, *missing),
    )


_COMPARISON = (
    " The paper's numbers are of the complete datasets: a simulated twin or a subset does not compare with them."
)


def _ran(rows: Rows) -> set[str]:
    """Datasets that Table 1 can show."""
    return {*rows.values_of("dataset", protocol="linear-probe"), *rows.values_of("dataset", protocol="segmentation")}


def _not_run(rows: Rows, encoders: Sequence[str]) -> list[tuple[Cell, ...]]:
    """The paper's benchmarks that are missing here, where any of them is there."""
    run = _ran(rows)
    if not run & set(BENCHMARKS):
        return []
    body: list[tuple[Cell, ...]] = []
    for dataset, metrics in BENCHMARKS.items():
        if dataset not in run:
            body.append((Cell(text=f"{dataset}: {MISSING}"),))
            for metric, published in metrics.items():
                body.append(_published_row(rows, encoders, Cell(text=""), _SHOWN_METRICS[metric], published))
    return body


def label_table(rows: Rows, encoders: Sequence[str]) -> Table:
    """AUROC of every single label under the linear probe with all training labels."""
    body: list[tuple[Cell, ...]] = []
    for dataset in rows.values_of("dataset", protocol="linear-probe"):
        body.append((Cell(text=dataset),))
        for label in rows.values_of("label", protocol="linear-probe", dataset=dataset, metric="auroc"):
            query: dict[str, object] = {"protocol": "linear-probe", "dataset": dataset, "label": label, "fraction": 1.0}
            name = label.replace("_", " ")
            body.append(score_row(rows, encoders, Cell(text=name), "AUROC", query, "auroc"))
    return Table(
        caption="Every label on its own; macro is the mean over the labels that the test set can score.",
        header=("label", "metric", *shown(encoders), *pair_headings(rows)),
        rows=tuple(body),
    )


def low_data_table(rows: Rows, encoders: Sequence[str]) -> Table:
    """The paper's Figure 3 in numbers: macro AUROC at each share of the training labels."""
    body: list[tuple[Cell, ...]] = []
    for dataset in rows.values_of("dataset", protocol="low-data"):
        fractions = sorted({row.fraction for row in rows.rows if row.protocol == "low-data" and row.dataset == dataset})
        for fraction in fractions:
            query: dict[str, object] = {
                "protocol": "low-data",
                "dataset": dataset,
                "label": "macro",
                "fraction": fraction,
            }
            first = Cell(text=dataset if fraction == fractions[0] else "")
            body.append(score_row(rows, encoders, first, f"AUROC at {100 * fraction:g} %", query, "auroc"))
    return Table(
        caption="Mean over the probe seeds; the interval covers another test set and another training subset.",
        header=("dataset", "metric", *shown(encoders), *pair_headings(rows)),
        rows=tuple(body),
    )


_ALIGNMENT = {
    "cosine": "cosine",
    "cosine_centred": "cosine, centred",
    "r2": "R²",
    "recall_at_1": "R@1",
    "recall_at_5": "R@5",
    "recall_at_10": "R@10",
}


def alignment_table(rows: Rows, encoders: Sequence[str]) -> Table:
    """The paper's Table 2: how well a ridge regression finds the patient's own ECG and lab embedding."""
    body: list[tuple[Cell, ...]] = []
    width = 2 + len(encoders)
    is_symile = "symile-mimic" in rows.values_of("dataset", protocol="alignment")
    for label in rows.values_of("label", protocol="alignment"):
        known = rows.values_of("metric", protocol="alignment", label=label)
        for metric, name in _ALIGNMENT.items():
            if metric not in known:
                continue
            query: dict[str, object] = {"protocol": "alignment", "label": label}
            cells = score_row(rows, encoders, Cell(text=shown_target(label)), name, query, metric)
            chance = rows.find(**query, metric=metric, encoder=CHANCE) or rows.find(
                **query, metric=metric, encoder=CONSTANT
            )
            body.append((*cells[:width], value_cell(chance) if chance else Cell(text=""), *cells[width:]))
            published = ALIGNMENT.get(label, {}).get(metric)
            if is_symile and published is not None:
                body.append(_published_row(rows, encoders, Cell(text=""), name, published, extra=1))
    return Table(
        caption="Ridge from the frozen image embedding to the frozen target; retrieval among unique test patients. "
        "Baseline: chance for retrieval, the training mean as constant prediction otherwise.",
        header=("target", "metric", *shown(encoders), "baseline", *pair_headings(rows)),
        rows=tuple(body),
    )


def ablation_table(rows: Rows, encoders: Sequence[str], protocol: str) -> Table:
    """The paper's Table 3: one modality or one loss at a time, beside the full recipe."""
    body: list[tuple[Cell, ...]] = []
    for dataset in rows.values_of("dataset", protocol=protocol):
        for fraction in sorted({row.fraction for row in rows.rows if row.protocol == protocol}):
            query: dict[str, object] = {
                "protocol": protocol,
                "dataset": dataset,
                "label": "macro",
                "fraction": fraction,
                "metric": "auroc",
            }
            cells = [value_cell(rows.find(subject=encoder, **query)) for encoder in encoders]
            body.append((Cell(text=dataset), Cell(text=f"AUROC at {100 * fraction:g} %"), *cells))
    return Table(
        caption="Each column is a Stage 2 of its own, equally long, from the same MAE.",
        header=("dataset", "metric", *shown(encoders)),
        rows=tuple(body),
    )


def attention_table(rows: Rows, encoders: Sequence[str]) -> Table:
    """The paper's Figure 4 as numbers: the share of attention inside each mask, beside the share of its area."""
    body: list[tuple[Cell, ...]] = []
    width = 2 + len(encoders)
    datasets = rows.values_of("dataset", protocol=ATTENTION)
    for dataset in datasets:
        for label in rows.values_of("label", protocol=ATTENTION, dataset=dataset):
            query: dict[str, object] = {"protocol": ATTENTION, "dataset": dataset, "label": label, "fraction": 1.0}
            first = Cell(text=label if len(datasets) == 1 else f"{dataset}: {label}")
            cells = score_row(rows, encoders, first, "share of attention", query, METRIC, has_best=False)
            uniform = value_cell(rows.find(**query, metric=METRIC, encoder=UNIFORM))
            body.append((*cells[:width], uniform, *cells[width:]))
    return Table(
        caption="Mean over all test films of the class token's rollout that lies inside the exact mask.",
        header=("mask", "measure", *shown(encoders), "uniform (area)", *pair_headings(rows)),
        rows=tuple(body),
    )
