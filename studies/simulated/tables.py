"""Result rows of the study on a simulated hospital as tables: gains, controls, doses, labels, masks.

Every function takes rows and says "not measured" where there is none; none knows how the rows were made.
"""

from collections.abc import Mapping

from pacx.evaluation.results import ResultRow, Subject, difference_metric
from pacx.models.encoders.names import CONTRASTIVE_ONLY, ECG_ONLY, LABS_ONLY, MAE, PACX, RANDOM, REGRESSION_ONLY
from pacx.reporting.result_rows import Rows
from pacx.reporting.tables import Cell, Table, format_interval
from pacx.simulation.patients.labels import LABEL_GROUPS
from studies.simulated import names
from studies.simulated.names import HOSPITAL, SHARE, STANDARDIZED, STUDY
from studies.stepwise.cells import NOT_MEASURED, points, share

AWAY = " at the other site"
FRACTIONS = (0.01, 0.1, 1.0)
_GAIN = difference_metric("auroc")
_DATASETS = {f"{HOSPITAL}, {group}": group for group in LABEL_GROUPS}
DENSE, ANATOMICAL = _DATASETS
_HEADS = tuple(f"{short}, {100 * part:g} %" for short in _DATASETS.values() for part in FRACTIONS)

SHOWN: Mapping[str, str] = {
    PACX: "own ECG and labs (PaCX)",
    ECG_ONLY: "ECG only",
    LABS_ONLY: "labs only",
    CONTRASTIVE_ONLY: "contrastive term only",
    REGRESSION_ONLY: "regression term only",
    names.TOKENS: "read from the patches too (token-level)",
    names.HALF_MISSING: "half of each modality missing (partial pairs)",
    names.SPARSE: "a quarter of each film's patches a step (sparse)",
    names.RANDOM_TARGETS: "control: random vectors",
    names.SHUFFLED: "control: another patient's (shuffled)",
    names.WITHIN_VIEW: "control: another patient's of the same view",
    names.WITHIN_ACUITY: "control: an equally ill patient's",
    names.AGE_AND_SEX: "control: age and sex",
}
"""What each Stage 2 is taught, in words; also the order of a table."""
WORLDS: Mapping[str, str] = {
    "": "as in life",
    names.HALF_VISIBLE: "films show half of every mechanism",
    names.NOT_VISIBLE: "films show none; bedside films and wires still follow acuity",
    names.BLIND: "films show none, and are taken alike of everybody",
    names.WITHOUT_WIRES: "taught with wires, probed on films without",
}
"""The full method where films show less or are taken otherwise, by the condition of its rows."""
TAUGHT = {Subject(name): called for name, called in SHOWN.items()}
IN_WORLDS = {Subject(PACX, condition=world): called for world, called in WORLDS.items()}


def study_row(
    rows: Rows,
    dataset: str,
    subject: Subject,
    contrast: Subject | None,
    fraction: float,
    *,
    metric: str = _GAIN,
    label: str = "macro",
) -> ResultRow | None:
    """One row of the study."""
    return rows.find(
        protocol=STUDY,
        dataset=dataset,
        subject=str(subject),
        contrast="" if contrast is None else str(contrast),
        metric=metric,
        fraction=fraction,
        label=label,
    )


def baseline_of(subject: Subject, pooling: str = "") -> Subject:
    """The MAE that a condition of some world is compared with."""
    world = names.NO_WIRES if subject.condition == names.WITHOUT_WIRES else subject.condition
    return Subject(MAE, pooling, world)


def gain_table(rows: Rows, called_by: Mapping[Subject, str], *, suffix: str = "", pooling: str = "") -> Table:
    """Gain over the MAE in AUROC points at each share of the labels, both groups of labels.

    Args:
        rows: the study's.
        called_by: encoders and what to call them, in order.
        suffix: of the dataset, ``AWAY`` for the other site.
        pooling: of the MAE; "" = its own.
    """
    body = []
    for subject, called in called_by.items():
        base = baseline_of(subject, pooling)
        found = [study_row(rows, dataset + suffix, subject, base, part) for dataset in _DATASETS for part in FRACTIONS]
        measured = [row for row in found if row]
        if measured:
            seeds = Cell(text=str(measured[0].num_trainings or ""))
            body.append((Cell(text=called), *map(points, found), seeds))
    n = _num_films(rows, suffix)
    return Table(
        caption=f"Gain over the {'MAE, mean of patches,' if pooling else 'MAE'} in points of macro AUROC at each "
        f"share of the labels, n = {n} test films. n. d.: not distinguishable from 0.",
        header=("Stage 2", *_HEADS, "seeds"),
        rows=tuple(body),
    )


def _num_films(rows: Rows, suffix: str = "") -> str:
    return "/".join(rows.values_of("n", protocol=STUDY, dataset=DENSE + suffix))


def score_table(rows: Rows, called_by: Mapping[Subject, str], suffix: str = "") -> Table:
    """Macro AUROC of each encoder by share of the labels, not gains."""
    body = []
    for subject, called in called_by.items():
        found = [
            study_row(rows, dataset + suffix, subject, None, part, metric="auroc")
            for dataset in _DATASETS
            for part in FRACTIONS
        ]
        if any(found):
            cells = [
                NOT_MEASURED if row is None else Cell(text=f"{row.value:.3f}", small=format_interval(row))
                for row in found
            ]
            body.append((Cell(text=called), *cells))
    caption = f"Macro AUROC at each share of the labels, n = {_num_films(rows, suffix)} test films."
    return Table(caption=caption, header=("encoder", *_HEADS), rows=tuple(body))


def standardized_table(rows: Rows) -> Table:
    """Gains where probes of both encoders see standardized features, which even out how fast a probe learns."""
    body = []
    for name, called in SHOWN.items():
        pair = Subject(name, condition=STANDARDIZED), Subject(MAE, condition=STANDARDIZED)
        found = [study_row(rows, dataset, *pair, part) for dataset in _DATASETS for part in FRACTIONS]
        if any(found):
            body.append((Cell(text=called), *map(points, found)))
    return Table(
        caption=f"Gain over the MAE in points of macro AUROC, features of both standardized, n = {_num_films(rows)} "
        "test films.",
        header=("Stage 2", *_HEADS),
        rows=tuple(body),
    )


def label_table(rows: Rows) -> Table:
    """PaCX over the MAE, and over the control whose pairs are of equally ill patients, label by label."""
    bases = (Subject(MAE), Subject(names.WITHIN_ACUITY))
    parts = (FRACTIONS[0], FRACTIONS[-1])
    body = []
    for dataset in _DATASETS:
        for label in rows.values_of("label", protocol=STUDY, dataset=dataset):
            if label != "macro":
                cells = [
                    points(study_row(rows, dataset, Subject(PACX), base, part, label=label))
                    for base in bases
                    for part in parts
                ]
                body.append((Cell(text=label.replace("_", " ")), Cell(text=_DATASETS[dataset]), *cells))
    heads = [f"{called}, {100 * part:g} %" for called in ("over the MAE", "over equally ill") for part in parts]
    return Table(
        caption=f"Points of AUROC of single labels, n = {_num_films(rows)} test films; intervals are not corrected for "
        "the number of labels.",
        header=("label", "kind", *heads),
        rows=tuple(body),
    )


def share_table(rows: Rows) -> Table:
    """How much of the full method's gain a control or an ablation keeps, on physiology-dense labels."""
    body = []
    for name, called in SHOWN.items():
        for condition, how in (("", ""), (STANDARDIZED, ", standardized features")):
            kept, whole = Subject(name, condition=condition), Subject(PACX, condition=condition)
            found = [study_row(rows, DENSE, kept, whole, part, metric=SHARE) for part in FRACTIONS]
            if any(found):
                cells = [NOT_MEASURED if row is None else share(row) for row in found]
                body.append((Cell(text=f"{called}{how}"), *cells))
    heads = [f"at {100 * part:g} %" for part in FRACTIONS]
    return Table(
        caption=f"Share of PaCX's gain over the MAE on physiology-dense labels, n = {_num_films(rows)} test films.",
        header=("Stage 2", *heads),
        rows=tuple(body),
    )


def mask_table(rows: Rows) -> Table:
    """Segmentation: IoU of random, MAE and PaCX tokens, and PaCX minus MAE."""
    query: dict[str, object] = {"protocol": "segmentation", "dataset": HOSPITAL, "fraction": 1.0}
    body = []
    for label in rows.values_of("label", protocol="segmentation", dataset=HOSPITAL):
        scores = [rows.find(**query, encoder=name, label=label, metric="iou") for name in (RANDOM, MAE, PACX)]
        gains = [
            points(rows.find(**query, encoder=name, contrast=MAE, label=label, metric=difference_metric("iou")))
            for name in (PACX, RANDOM)
        ]
        cells = [
            NOT_MEASURED if row is None else Cell(text=f"{row.value:.3f}", small=format_interval(row)) for row in scores
        ]
        known = next((row.n for row in scores if row is not None), "")
        body.append((Cell(text=label), *cells, *gains, Cell(text=str(known))))
    return Table(
        caption="IoU, mean over films and decoders, on frozen patch tokens; differences are in points.",
        header=("mask", "random weights", "MAE", "PaCX", "PaCX - MAE", "random - MAE", "n"),
        rows=tuple(body),
    )
