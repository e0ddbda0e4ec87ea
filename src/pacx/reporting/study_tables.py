"""Result rows of the study on a simulated hospital as tables: what was asked of it, gains, controls, doses, masks.

Every function takes rows and says "not measured" where there is none; none knows how the rows were made.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pacx.evaluation.results import ResultRow, difference_metric, difference_name
from pacx.reporting.tables import Cell, Rows, Table, format_interval, is_distinguishable

STUDY, SHARE = "study", "share_of_gain"
DENSE, ANATOMICAL = "simulated hospital, physiology-dense", "simulated hospital, anatomical"
AWAY = " at the other site"
UNSEEN, BLIND = " (visibility 0)", " (visibility 0, film taken blindly)"
FRACTIONS = (0.01, 0.1, 1.0)
NOT_MEASURED = Cell(text="not measured", is_quiet=True)
_GAIN = difference_metric("auroc")
_DATASETS = {DENSE: "physiology-dense", ANATOMICAL: "anatomical"}

SHOWN = {
    "pacx": "own ECG and labs (PaCX)",
    "ecg-only": "ECG only",
    "labs-only": "labs only",
    "contrastive-only": "contrastive term only",
    "regression-only": "regression term only",
    "tokens": "read from the patches too (token-level)",
    "half-missing": "half of each modality missing (partial pairs)",
    "random-targets": "control: random vectors",
    "shuffled-pairs": "control: another patient's (shuffled)",
    "age-and-sex": "control: age and sex",
}
"""What each Stage 2 is taught, in words; also the order of a table."""
WORLDS = {
    "pacx": "as in life",
    "pacx (visibility 0.5)": "films show half of every mechanism",
    "pacx (visibility 0)": "films show none; bedside films and wires still follow acuity",
    "pacx (visibility 0, film taken blindly)": "films show none, and are taken alike of everybody",
    "pacx (no wires)": "no wires on any film",
    "pacx, read without wires": "taught with wires, probed on films without",
}
"""The full method where films show less or are taken otherwise."""


def study_row(rows: Rows, dataset: str, encoder: str, fraction: float, metric: str = _GAIN) -> ResultRow | None:
    """One row of the study."""
    return rows.find(protocol=STUDY, dataset=dataset, encoder=encoder, metric=metric, fraction=fraction, label="macro")


def points(row: ResultRow | None) -> Cell:
    """A difference in points; quiet and named where it cannot be told from 0."""
    if row is None or math.isnan(row.value):
        return NOT_MEASURED
    text, small = f"{100 * row.value:+.1f}", format_interval(row, digits=1, scale=100)
    if is_distinguishable(row):
        return Cell(text=text, small=small)
    return Cell(text=text, small=f"{small} n. d.", is_quiet=True)


def baseline_of(encoder: str, base: str = "mae") -> str:
    """The encoder that a condition of some world is compared with."""
    if encoder == "pacx, read without wires":
        return f"{base} (no wires)"
    name, bracket, world = encoder.partition(" (")
    return f"{base}{bracket}{world}" if name else base


def num_seeds(row: ResultRow | None) -> str:
    """How many Stage 2 trainings a row rests on, as it says itself."""
    found = re.search(r"(\d+) Stage 2 seed", row.provenance if row is not None else "")
    return found.group(1) if found else ""


def gain_table(rows: Rows, names: dict[str, str], *, suffix: str = "", base: str = "mae") -> Table:
    """Gain over the MAE in AUROC points at each share of the labels, both groups of labels.

    Args:
        rows: the study's.
        names: encoders and what to call them, in order.
        suffix: of the dataset, ``AWAY`` for the other site.
        base: the pooling of the MAE.
    """
    body = []
    for encoder, called in names.items():
        name = difference_name(encoder, baseline_of(encoder, base))
        found = [[study_row(rows, dataset + suffix, name, part) for part in FRACTIONS] for dataset in _DATASETS]
        if not any(row for group in found for row in group):
            continue
        seeds = Cell(text=num_seeds(next(row for group in found for row in group if row)))
        body.append((Cell(text=called), *[points(row) for group in found for row in group], seeds))
    heads = [f"{short}, {100 * part:g} %" for short in _DATASETS.values() for part in FRACTIONS]
    n = _num_films(rows, suffix)
    return Table(
        caption=f"Gain over the {'MAE' if base == 'mae' else 'MAE, mean of patches,'} in points of macro AUROC at each "
        f"share of the labels, n = {n} test films. n. d.: not distinguishable from 0.",
        header=("Stage 2", *heads, "seeds"),
        rows=tuple(body),
    )


def _num_films(rows: Rows, suffix: str = "") -> str:
    return "/".join(rows.values_of("n", protocol=STUDY, dataset=DENSE + suffix))


def score_table(rows: Rows, names: dict[str, str], suffix: str = "") -> Table:
    """Macro AUROC itself."""
    body = []
    for encoder, called in names.items():
        found = [
            study_row(rows, dataset + suffix, encoder, part, "auroc") for dataset in _DATASETS for part in FRACTIONS
        ]
        if any(found):
            cells = [
                NOT_MEASURED if row is None else Cell(text=f"{row.value:.3f}", small=format_interval(row))
                for row in found
            ]
            body.append((Cell(text=called), *cells))
    heads = [f"{short}, {100 * part:g} %" for short in _DATASETS.values() for part in FRACTIONS]
    caption = f"Macro AUROC at each share of the labels, n = {_num_films(rows, suffix)} test films."
    return Table(caption=caption, header=("encoder", *heads), rows=tuple(body))


def share_table(rows: Rows) -> Table:
    """How much of the full method's gain a control or an ablation keeps, on physiology-dense labels."""
    body = []
    for name, called in SHOWN.items():
        for suffix, how in (("", ""), (", standardized", ", standardized features")):
            asked = f"{name}{suffix} / pacx{suffix}"
            found = [study_row(rows, DENSE, asked, part, SHARE) for part in FRACTIONS]
            if any(found):
                cells = [NOT_MEASURED if row is None else _share(row) for row in found]
                body.append((Cell(text=f"{called}{how}"), *cells))
    heads = [f"at {100 * part:g} %" for part in FRACTIONS]
    return Table(
        caption=f"Share of PaCX's gain over the MAE on physiology-dense labels, n = {_num_films(rows)} test films.",
        header=("Stage 2", *heads),
        rows=tuple(body),
    )


def _share(row: ResultRow) -> Cell:
    return Cell(text=f"{row.value:.2f}", small=format_interval(row, digits=2))


def mask_table(rows: Rows) -> Table:
    """Segmentation: IoU of random, MAE and PaCX tokens, and PaCX minus MAE."""
    query: dict[str, object] = {"protocol": "segmentation", "dataset": "simulated hospital", "fraction": 1.0}
    body = []
    for label in rows.values_of("label", protocol="segmentation", dataset="simulated hospital"):
        scores = [rows.find(**query, encoder=name, label=label, metric="iou") for name in ("random", "mae", "pacx")]
        gain = rows.find(**query, encoder="pacx - mae", label=label, metric=difference_metric("iou"))
        cells = [
            NOT_MEASURED if row is None else Cell(text=f"{row.value:.3f}", small=format_interval(row)) for row in scores
        ]
        known = next((row.n for row in scores if row is not None), "")
        body.append((Cell(text=label), *cells, points(gain), Cell(text=str(known))))
    return Table(
        caption="IoU, mean over films, of a decoder on frozen patch tokens; the difference is in points.",
        header=("mask", "random weights", "MAE", "PaCX", "PaCX - MAE", "n"),
        rows=tuple(body),
    )


@dataclass(frozen=True, kw_only=True)
class Bar:
    """Something that was asked for before it was measured.

    Args:
        asked: in words.
        row: what was measured; None = not measured.
        is_met: whether that is enough.
        shown: the number.
    """

    asked: str
    row: ResultRow | None
    is_met: bool
    shown: Cell

    @property
    def cells(self) -> tuple[Cell, ...]:
        """A line of the table of bars."""
        if self.row is None:
            return (Cell(text=self.asked), NOT_MEASURED, Cell(text="", is_quiet=True))
        return (Cell(text=self.asked), self.shown, Cell(text="met" if self.is_met else "MISSED"))


def _at_least(asked: str, row: ResultRow | None, least: float) -> Bar:
    is_met = row is not None and row.value >= least and row.ci_low > 0
    return Bar(asked=asked, row=row, is_met=is_met, shown=points(row))


def bars(rows: Rows) -> list[Bar]:
    """What had to hold, and whether it does."""
    found = [
        _at_least(
            f"PaCX over MAE, physiology-dense, {100 * part:g} % of the labels: at least +{least:g}, interval above 0",
            study_row(rows, DENSE, "pacx - mae", part),
            least / 100,
        )
        for part, least in ((1.0, 2.5), (0.01, 5.0))
    ]
    found += [_over_stronger(rows, part) for part in FRACTIONS]
    for part in FRACTIONS:
        row = study_row(rows, DENSE, "shuffled-pairs / pacx", part, SHARE)
        asked = f"shuffled pairs keep at most a quarter of the gain, {100 * part:g} % of the labels"
        shown = NOT_MEASURED if row is None else _share(row)
        found.append(Bar(asked=asked, row=row, is_met=row is not None and row.value <= 0.25, shown=shown))
    for part in FRACTIONS:
        for world, words in ((UNSEEN, "visibility 0"), (BLIND, "visibility 0, films taken blindly")):
            row = study_row(rows, DENSE, f"pacx{world} - shuffled-pairs{world}", part)
            asked = f"{words}: nothing beyond shuffled pairs, {100 * part:g} % of the labels (interval reaches 0)"
            found.append(Bar(asked=asked, row=row, is_met=row is not None and row.ci_low <= 0, shown=points(row)))
    for label in ("lung", "heart"):
        row = rows.find(
            protocol="segmentation", dataset="simulated hospital", encoder="pacx - mae", label=label,
            metric=difference_metric("iou"), fraction=1.0,
        )  # fmt: skip
        is_met = row is not None and abs(row.value) <= 0.005
        found.append(Bar(asked=f"{label}: IoU within 0.5 points of the MAE", row=row, is_met=is_met, shown=points(row)))
    return found


def _over_stronger(rows: Rows, part: float) -> Bar:
    """The smaller of the gains over the MAE's two poolings: that over the one that scores more on the test films."""
    both = [study_row(rows, DENSE, f"pacx - {base}", part) for base in ("mae", "mae-mean")]
    known = [row for row in both if row is not None]
    row = min(known, key=lambda each: each.value) if len(known) == len(both) else None
    asked = f"PaCX over the stronger of the MAE's poolings, {100 * part:g} % of the labels: interval above 0"
    return Bar(asked=asked, row=row, is_met=row is not None and row.ci_low > 0, shown=points(row))


def bar_table(rows: Rows) -> Table:
    """What had to hold."""
    return Table(
        caption="Asked for before it was measured; differences in points with 95 % intervals.",
        header=("what had to hold", "measured", ""),
        rows=tuple(bar.cells for bar in bars(rows)),
    )


def origin_table(rows: Sequence[ResultRow]) -> Table:
    """Where the numbers come from: each distinct provenance with what was measured so."""
    groups: dict[tuple[str, str], list[ResultRow]] = {}
    for row in rows:
        groups.setdefault((row.protocol, row.provenance), []).append(row)
    body = []
    for (protocol, provenance), members in groups.items():
        ns = sorted({row.n for row in members})
        shown = f"{ns[0]}" if len(ns) == 1 else f"{ns[0]} to {ns[-1]}"
        seeds = ", ".join(map(str, sorted({row.seed for row in members})))
        body.append((protocol, str(len(members)), shown, seeds, provenance))
    return Table(
        caption="Each group of rows with how it was made.",
        header=("protocol", "rows", "n", "seed", "command, commit, chip"),
        rows=tuple(tuple(Cell(text=text) for text in line) for line in body),
    )
