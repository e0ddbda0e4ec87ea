"""Result rows of the study of illness as tables; "not measured" where there is none; none knows how rows were made."""

from collections.abc import Callable, Mapping, Sequence

from pacx.evaluation.masks.segmentation import PROTOCOL as SEGMENTATION
from pacx.evaluation.results import ResultRow, Subject, difference_metric
from pacx.models.encoders.names import MAE
from pacx.reporting.result_rows import Rows
from pacx.reporting.tables import Cell, Table, format_interval
from pacx.simulation.patients.labels import LABEL_GROUPS
from studies.illness import names
from studies.illness.names import AGAINST, EQUALLY_ILL, OWN, RANDOM_VECTORS, more_beyond, subject
from studies.stepwise.cells import NOT_MEASURED, points, share

FRACTIONS = (0.01, 0.1, 1.0)
GROUPS = tuple(LABEL_GROUPS)

_MOST_STAGE_1 = 10

SHOWN: Mapping[str, str] = {
    names.READ_ACUITY: "closed form towards acuity alone",
    names.CLOSED_FORM: "closed form",
    names.OF_MEASURES: "closed form, ECG measures for the ECG's embedding",
    names.OF_ECG_AND_MEASURES: "closed form, ECG measures too",
    names.PAPER: "Stage 2 as in the paper",
    names.CONDITIONED: "Stage 2, conditioned",
    names.AFTER: "Stage 2, then closed form",
    names.OF_MEASURES_AFTER: "Stage 2, then closed form with ECG measures for the ECG's embedding",
    names.ORACLE: "oracle: closed form towards the true physiology",
}
"""Methods in words; also the order of a table."""
_CONTROLS: Mapping[str, str] = {
    EQUALLY_ILL: "pairs of equally ill patients",
    RANDOM_VECTORS: "random vectors",
}


def illness_row(
    rows: Rows,
    metric: str,
    first: Subject,
    second: Subject | None,
    *,
    group: str = GROUPS[0],
    fraction: float = 1.0,
    label: str = "macro",
    is_blind: bool = False,
) -> ResultRow | None:
    """One row of the study, of films as they are or of those that show nothing."""
    return rows.find(
        protocol=names.ILLNESS,
        dataset=names.dataset_of(group, is_blind=is_blind),
        subject=str(first),
        contrast="" if second is None else str(second),
        metric=metric,
        fraction=fraction,
        label=label,
    )


def measured_pairs(rows: Rows, method: str) -> list[int]:
    """By how many pairs a method was taught, ascending."""
    conditions = rows.values_of("condition", protocol=names.ILLNESS, encoder=method)  # each begins with its pairs
    return sorted({int(each.partition(" pairs")[0].replace(",", "")) for each in conditions})


def _line(
    rows: Rows,
    metric: str,
    first: Subject,
    second: Subject | None,
    called: str,
    cell: Callable[[ResultRow | None], Cell],
    groups: Sequence[str] = GROUPS,
) -> list[tuple[Cell, ...]]:
    """A line of a table with a cell for each group and share of the labels; none where nothing was measured."""
    found = [
        illness_row(rows, metric, first, second, group=group, fraction=part) for group in groups for part in FRACTIONS
    ]
    known = [row for row in found if row is not None]
    if not known:
        return []
    return [(Cell(text=called), *map(cell, found), Cell(text=str(known[0].num_trainings or "")))]


def _score(row: ResultRow | None) -> Cell:
    return NOT_MEASURED if row is None else Cell(text=f"{row.value:.3f}", small=format_interval(row))


def _share(row: ResultRow | None) -> Cell:
    return Cell(text="", is_quiet=True) if row is None else share(row)


def _taught(rows: Rows) -> list[tuple[str, int, str]]:
    """Every method with every number of pairs, and what to call them."""
    return [
        (method, number, f"{called}, {number:,} pairs")
        for method, called in SHOWN.items()
        for number in measured_pairs(rows, method)
    ]


def _table(
    rows: Rows, body: Sequence[tuple[Cell, ...]], first: str, caption: str, groups: Sequence[str] = GROUPS
) -> Table:
    n = "/".join(rows.values_of("n", protocol=names.ILLNESS, dataset=names.dataset_of(GROUPS[0])))
    heads = (f"{group}, {100 * part:g} %" for group in groups for part in FRACTIONS)
    return Table(caption=f"{caption}, n = {n} test films.", header=(first, *heads, "trainings"), rows=tuple(body))


def _of(measure: str, *, by_papers_probe: bool) -> str:
    where = " among equally ill patients" if measure == names.WITHIN else ""
    return f"macro AUROC{where}" + ", read by the paper's probe" * by_papers_probe


def score_table(rows: Rows, measure: str, *, by_papers_probe: bool) -> Table:
    """What probes score: acuity itself, the MAE, what own pairs taught, the oracle."""

    def line(first: Subject, called: str) -> list[tuple[Cell, ...]]:
        return _line(rows, measure, first, None, called, _score)

    untaught = {
        "acuity itself, no film": names.untaught(names.ACUITY, by_papers_probe=by_papers_probe),
        "MAE": names.baseline(by_papers_probe=by_papers_probe),
        "MAE, class token beside mean of patches": names.untaught(MAE, names.BOTH, by_papers_probe=by_papers_probe),
    }
    body = [one for called, first in untaught.items() for one in line(first, called)]
    for method, number, called in _taught(rows):
        body += line(names.subject(method, number, OWN, by_papers_probe=by_papers_probe), called)
    return _table(rows, body, "features", _of(measure, by_papers_probe=by_papers_probe).capitalize())


def gain_table(rows: Rows, measure: str, *, by_papers_probe: bool) -> Table:
    """Gain of own pairs, and of controls, over the MAE."""
    base = names.baseline(by_papers_probe=by_papers_probe)
    body: list[tuple[Cell, ...]] = []
    for method, number, called in _taught(rows):
        for taught in (OWN, *_CONTROLS):
            first = names.subject(method, number, taught, by_papers_probe=by_papers_probe)
            said = called if taught == OWN else f"{called}, control: {_CONTROLS[taught]}"
            body += _line(rows, difference_metric(measure), first, base, said, points)
    said = _of(measure, by_papers_probe=by_papers_probe)
    return _table(rows, body, "taught", f"Gain over the MAE in points of {said}")


def beyond_table(rows: Rows, measure: str, *, by_papers_probe: bool) -> Table:
    """What a patient's own pair adds to an equally ill patient's: the headline."""
    body: list[tuple[Cell, ...]] = []
    for method, number, called in _taught(rows):
        own, equal = (
            names.subject(method, number, each, by_papers_probe=by_papers_probe) for each in (OWN, EQUALLY_ILL)
        )
        body += _line(rows, difference_metric(measure), own, equal, called, points)
    said = _of(measure, by_papers_probe=by_papers_probe)
    return _table(rows, body, "taught", f"Own pairs minus {_CONTROLS[EQUALLY_ILL]}, in points of {said}")


def against_table(rows: Rows, measure: str) -> Table:
    """How much more one method's own pairs add to equally ill patients' than another's, and how much more they gain."""
    body: list[tuple[Cell, ...]] = []
    for method, number, called in _taught(rows):
        for other in AGAINST.get(method, ()):
            first, second = (subject(each, number, OWN) for each in (method, other))
            for metric, what in ((more_beyond(measure), "own minus equally ill"), (difference_metric(measure), "own")):
                called_so = f"{called}, less {SHOWN[other]}: {what}"
                body += _line(rows, metric, first, second, called_so, points, [names.HEADLINE])
    said = _of(measure, by_papers_probe=False)
    return _table(rows, body, "what", f"One way of teaching less another, in points of {said}", [names.HEADLINE])


def each_table(rows: Rows, measure: str) -> Table:
    """Own minus equally ill of each Stage 1 by itself: how much another Stage 1 changes."""
    body: list[tuple[Cell, ...]] = []
    for method, number, called in _taught(rows):
        for seed in range(_MOST_STAGE_1):
            own, equal = (names.of_stage_1(names.subject(method, number, each), seed) for each in (OWN, EQUALLY_ILL))
            called_so = f"{called}, Stage 1 seed {seed}"
            body += _line(rows, difference_metric(measure), own, equal, called_so, points, [names.HEADLINE])
    said = _of(measure, by_papers_probe=False)
    caption = f"Own pairs minus pairs of equally ill patients, one Stage 1 each, in points of {said}"
    return _table(rows, body, "taught", caption, [names.HEADLINE])


def reached_table(rows: Rows, measure: str, *, by_papers_probe: bool) -> Table:
    """Which share of what the oracle learns beyond severity is reached."""
    body: list[tuple[Cell, ...]] = []
    for method, number, called in _taught(rows):
        own, best = (
            names.subject(each, number, OWN, by_papers_probe=by_papers_probe) for each in (method, names.ORACLE)
        )
        body += _line(rows, names.share_of_oracle(measure), own, best, called, _share)
    said = _of(measure, by_papers_probe=by_papers_probe)
    return _table(
        rows,
        body,
        "taught",
        f"Own minus equally ill as a share of the oracle's, where that is above a point, in {said}",
    )


def mask_table(rows: Rows) -> Table:
    """IoU of the MAE and of every Stage 2, and the difference in points."""
    query: dict[str, object] = {"protocol": SEGMENTATION, "dataset": names.HOSPITAL}
    subjects = rows.values_of("subject", **query)
    body = []
    for label in rows.values_of("label", **query):
        for subject_of in subjects:
            score = rows.find(**query, subject=subject_of, label=label, metric="iou")
            gain = rows.find(
                **query,
                subject=subject_of,
                contrast=str(names.baseline()),
                label=label,
                metric=difference_metric("iou"),
            )
            if score is not None:
                shown = Cell(text="", is_quiet=True) if gain is None else points(gain)
                body.append((Cell(text=label), Cell(text=subject_of), _score(score), shown))
    n = "/".join(rows.values_of("n", **query))
    return Table(
        caption=f"IoU, mean over films and decoders, on frozen patch tokens, n = {n} test films; difference in points.",
        header=("outline", "encoder", "IoU", "less the MAE's"),
        rows=tuple(body),
    )


def label_table(rows: Rows) -> Table:
    """Own minus equally ill, label by label, with most pairs and all labels."""
    methods = [name for name in names.BY_LABEL if measured_pairs(rows, name)]
    body = []
    for group in GROUPS:
        for label in rows.values_of("label", protocol=names.ILLNESS, dataset=names.dataset_of(group)):
            if label == "macro":
                continue
            cells = []
            for method in methods:
                most = measured_pairs(rows, method)[-1]
                own, equal = (names.subject(method, most, each) for each in (OWN, EQUALLY_ILL))
                for measure in names.MEASURES:
                    metric = difference_metric(measure)
                    cells.append(points(illness_row(rows, metric, own, equal, group=group, label=label)))
            body.append((Cell(text=label.replace("_", " ")), Cell(text=group), *cells))
    heads = [f"{SHOWN[method].partition(':')[0]}{where}" for method in methods for where in ("", ", among equally ill")]
    return Table(
        caption="Own pairs minus pairs of equally ill patients in points of AUROC of single labels, most pairs, all "
        "labels; intervals are not corrected for the number of labels.",
        header=("label", "kind", *heads),
        rows=tuple(body),
    )


def knowledge_table(rows: Rows) -> Table:
    """R2 beyond acuity of every variable, by what knows it."""
    sources = rows.values_of("encoder", protocol=names.KNOWLEDGE)
    body = []
    for variable in rows.values_of("label", protocol=names.KNOWLEDGE):
        found = [
            rows.find(protocol=names.KNOWLEDGE, dataset=names.HOSPITAL, subject=source, metric=names.R2, label=variable)
            for source in sources
        ]
        cells = [
            NOT_MEASURED if row is None else Cell(text=f"{row.value:.2f}", small=format_interval(row, digits=2))
            for row in found
        ]
        body.append((Cell(text=variable), *cells))
    n = "/".join(rows.values_of("n", protocol=names.KNOWLEDGE))
    return Table(
        caption=f"R2 beyond acuity for patients left out, n = {n}; 0 = no more than acuity tells.",
        header=("variable", *sources),
        rows=tuple(body),
    )
