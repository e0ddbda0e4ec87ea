"""Tables that ask whether to believe the others: other classifiers, subgroups, shortcuts, deletion, shared patients."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pacx.core.artifacts import read_json
from pacx.data.packs.pack import BY_FILM
from pacx.evaluation.evidence.deletion import PROTOCOL as DELETION
from pacx.evaluation.evidence.embedding_view import PROTOCOL as VIEW
from pacx.evaluation.evidence.shortcuts import AGE_AND_SEX
from pacx.evaluation.evidence.shortcuts import PROTOCOL as SHORTCUT
from pacx.evaluation.probes.logistic import PROTOCOL as LOGISTIC
from pacx.evaluation.probes.neighbours import PROTOCOL as NEIGHBOURS
from pacx.evaluation.protocol import Protocol, protocols
from pacx.evaluation.results import MACRO, difference_metric
from pacx.evaluation.statistics.delong import P_VALUE_HOLM
from pacx.evaluation.statistics.subgroups import PROTOCOL as SUBGROUPS
from pacx.evaluation.statistics.subgroups import WORST, WORST_GAP
from pacx.reporting.result_rows import Rows
from pacx.reporting.tables import Cell, Table, difference_cell, pair_headings, score_row, shown, value_cell

_CALIBRATION = {
    "brier": "Brier score",
    "ece": "calibration error",
    "sensitivity_at_90_specificity": "sensitivity at 90 % specificity",
}
_CLASSIFIERS = {"linear-probe": "linear probe", LOGISTIC: "logistic regression", NEIGHBOURS: "nearest neighbours"}


def classifier_table(rows: Rows, encoders: Sequence[str]) -> Table:
    """Whether the order of the encoders depends on the classifier behind them."""
    body: list[tuple[Cell, ...]] = []
    for dataset in rows.values_of("dataset", protocol=NEIGHBOURS):
        for protocol, name in _CLASSIFIERS.items():
            query: dict[str, object] = {"protocol": protocol, "dataset": dataset, "label": MACRO, "fraction": 1.0}
            first = Cell(text=dataset if protocol == "linear-probe" else "")
            body.append(score_row(rows, encoders, first, f"AUROC, {name}", query, "auroc"))
    return Table(
        caption="The paper's probe, the same linear model fitted to its optimum, and votes of similar films.",
        header=("dataset", "classifier", *shown(encoders), *pair_headings(rows)),
        rows=tuple(body),
    )


def calibration_table(rows: Rows, encoders: Sequence[str]) -> Table:
    """What a ranking does not show: probabilities and one operating point, under the linear probe."""
    body: list[tuple[Cell, ...]] = []
    for dataset in rows.values_of("dataset", protocol="linear-probe", metric="ece"):
        for metric, name in _CALIBRATION.items():
            query: dict[str, object] = {"protocol": "linear-probe", "dataset": dataset, "label": MACRO, "fraction": 1.0}
            first = Cell(text=dataset if metric == "brier" else "")
            is_error = metric in ("brier", "ece")
            body.append(score_row(rows, encoders, first, name, query, metric, is_lower_better=is_error))
    return Table(
        caption="Mean over labels. Brier score and calibration error: lower is better.",
        header=("dataset", "metric", *shown(encoders), *pair_headings(rows)),
        rows=tuple(body),
    )


def significance_table(rows: Rows) -> Table:
    """Labels whose AUROC differs between two encoders, after Holm's correction over the dataset's labels."""
    body: list[tuple[Cell, ...]] = []
    for pair in rows.pairs:
        compared: dict[str, object] = {"protocol": "linear-probe", "subject": pair[0], "contrast": pair[1]}
        for dataset in rows.values_of("dataset", **compared, metric=P_VALUE_HOLM):
            query = {**compared, "dataset": dataset}
            found = {
                label: rows.find(**query, label=label, metric=P_VALUE_HOLM, fraction=1.0)
                for label in rows.values_of("label", **query, metric=P_VALUE_HOLM)
            }
            tested = {label: row.value for label, row in found.items() if row is not None and row.value == row.value}
            passed = {label: value for label, value in tested.items() if value < 0.05}
            named = ", ".join(f"{label.replace('_', ' ')} ({_in_words(value)})" for label, value in passed.items())
            body.append(
                (
                    Cell(text=dataset),
                    Cell(text=" - ".join(shown(pair))),
                    Cell(text=str(len(tested))),
                    Cell(text=named or "none", is_quiet=not named),
                )
            )
    return Table(
        caption="Paired test of two AUROCs on the same films (DeLong 1988; patients as clusters, Obuchowski 1997), "
        "two-sided, Holm over the labels tested; mean probability over the probe seeds.",
        header=("dataset", "encoders", "labels tested", "labels that differ at 0.05 after Holm"),
        rows=tuple(body),
    )


def _in_words(p_value: float) -> str:
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


def subgroup_table(rows: Rows, encoders: Sequence[str]) -> Table:
    """Macro AUROC by sex, age, view and site, and the group that fares worst."""
    body: list[tuple[Cell, ...]] = []
    for dataset in rows.values_of("dataset", protocol=SUBGROUPS):
        body.append((Cell(text=dataset),))
        query: dict[str, object] = {"protocol": SUBGROUPS, "dataset": dataset, "label": MACRO}
        for group in rows.values_of("subgroup", **query, metric="auroc"):
            cells = score_row(rows, encoders, Cell(text=group), "AUROC", {**query, "subgroup": group}, "auroc")
            body.append(cells)
        for metric, name in ((WORST, "worst group"), (WORST_GAP, "everybody minus worst group")):
            for group in rows.values_of("subgroup", **query, metric=metric):
                row = [rows.find(**query, subject=encoder, metric=metric, subgroup=group) for encoder in encoders]
                cells = tuple(value_cell(each) if each else Cell(text="") for each in row)
                body.append(
                    (Cell(text=f"{name}: {group}"), Cell(text="AUROC"), *cells, *[Cell(text="")] * len(rows.pairs))
                )
    return Table(
        caption="Groups of one attribute are compared on the labels that all of them can score (ten positives and ten "
        "negatives each); where there is no such label the cell is undefined.",
        header=("group", "metric", *shown(encoders), *pair_headings(rows)),
        rows=tuple(body),
    )


def shortcut_table(rows: Rows, encoders: Sequence[str]) -> Table:
    """The probe trained on plain films, on test films whose anatomy is hidden; difference to plain below."""
    body: list[tuple[Cell, ...]] = []
    for dataset in rows.values_of("dataset", protocol=SHORTCUT):
        body.append((Cell(text=dataset),))
        query: dict[str, object] = {"protocol": SHORTCUT, "dataset": dataset, "label": MACRO, "fraction": 1.0}
        names = rows.values_of("encoder", **query, metric="auroc")
        first = next((encoder for encoder in encoders if encoder in names), "")
        kinds = [kind for kind in rows.values_of("condition", **query, encoder=first, metric="auroc") if kind]
        plain = [value_cell(rows.find(**query, encoder=encoder, metric="auroc")) for encoder in encoders]
        body.append((Cell(text="plain films"), *plain))
        for kind in kinds:
            cells = []
            for encoder in encoders:
                altered = {**query, "encoder": encoder, "condition": kind}
                score = rows.find(**altered, metric="auroc")
                change = rows.find(**altered, contrast=encoder, metric=difference_metric("auroc"))
                moved = difference_cell(change)
                small = f"{moved.text} points {moved.small}" if change else ""
                cells.append(Cell(text=value_cell(score).text, small=small, is_quiet=moved.is_quiet))
            body.append((Cell(text=kind), *cells))
        alone = rows.find(**query, encoder=AGE_AND_SEX, metric="auroc")
        if alone is not None:
            body.append(
                (Cell(text="age and sex alone, no film"), value_cell(alone), *[Cell(text="")] * (len(encoders) - 1))
            )
    return Table(
        caption="Macro AUROC; small: paired change against plain films. What stays when anatomy is hidden was not read "
        "from it. Grey: not distinguishable from plain films.",
        header=("test films", *shown(encoders)),
        rows=tuple(body),
    )


def deletion_table(rows: Rows, encoders: Sequence[str]) -> Table:
    """Whether the attention rollout points at what the embedding rests on."""
    names = {"deletion_gain": "deletion gain", "insertion_gain": "insertion gain"}
    body = []
    for dataset in rows.values_of("dataset", protocol=DELETION):
        for label in rows.values_of("label", protocol=DELETION, dataset=dataset):
            for metric, name in names.items():
                query: dict[str, object] = {"protocol": DELETION, "dataset": dataset, "label": label}
                first = Cell(text=f"{dataset}: {label.replace('_', ' ')}" if metric == "deletion_gain" else "")
                body.append(score_row(rows, encoders, first, name, query, metric))
    return Table(
        caption="Area between the curves of attention order and random order while patches are removed; above 0 the "
        "rollout knows more than chance.",
        header=("answer that is watched", "measure", *shown(encoders), *pair_headings(rows)),
        rows=tuple(body),
    )


def shared_table(certificate: Path) -> Table:
    """What test sets share with films that were learnt from, as the certificate says it."""
    body = []
    said = read_json(certificate) if certificate.is_file() else {"shared": (), "packs": ()}
    strangers = {pack["path"] for pack in said["packs"] if pack.get("drawn_by") == BY_FILM}
    for shared in said["shared"]:
        is_itself = shared["test"] == shared["learnt"]
        is_clean = shared["films"] == shared["patients"] == 0
        body.append(
            (
                Cell(text=Path(shared["test"]).name),
                Cell(text="its own train and val splits" if is_itself else Path(shared["learnt"]).name),
                Cell(text=str(shared["films"]), is_quiet=is_clean, is_best=shared["films"] > 0),
                Cell(text="not known", is_quiet=True)
                if strangers & {shared["test"], shared["learnt"]}
                else Cell(text=str(shared["patients"]), is_quiet=is_clean, is_best=shared["patients"] > 0),
            )
        )
    return Table(
        caption="Films: exact and near copies (64 x 64 pixels, r at least 0.99; no mirror images, no crops). "
        "Patient ids mean something only where both packs come from one archive.",
        header=("test split of", "learnt from", "test films also there", "test patients also there"),
        rows=tuple(body),
    )


_AUDIT = "audit: "
_AUDITED = ("auroc", "f1", "iou")


def audit_table(rows: Rows) -> Table:
    """What the audits measured, each row as it stands: scores, then paired differences in points."""
    body: list[tuple[Cell, ...]] = []
    told = (*_AUDITED, *map(difference_metric, _AUDITED))
    for protocol in dict.fromkeys(row.protocol for row in rows.rows if row.protocol.startswith(_AUDIT)):
        body.append((Cell(text=protocol.removeprefix(_AUDIT)),))
        for row in rows.rows:
            is_whole = row.label == MACRO or row.metric.startswith("iou")
            if row.protocol != protocol or row.metric not in told or not is_whole:
                continue
            is_difference = row.metric not in _AUDITED
            cell = difference_cell(row) if is_difference else value_cell(row)
            part = f"{100 * row.fraction:g} % of the labels" if row.fraction < 1 else row.subgroup
            what = " ".join(row.metric.removesuffix("_difference").split("_"))
            body.append((Cell(text=row.dataset), Cell(text=row.name), Cell(text=what), Cell(text=part), cell))
    return Table(
        caption="Differences are paired and in points, unless two test sets are compared.",
        header=("dataset", "encoder", "metric", "of", "value"),
        rows=tuple(body),
    )


_SHOWN_ELSEWHERE = (
    *("linear-probe", "low-data", "segmentation", "alignment", "attention"),
    *(NEIGHBOURS, LOGISTIC, SHORTCUT, DELETION, VIEW),
)


def other_tables(rows: Rows) -> tuple[Table, ...]:
    """The headline metric of every protocol that no other table or picture shows."""
    return tuple(
        _headline_table(rows, protocol)
        for name, protocol in protocols().items()
        if name not in _SHOWN_ELSEWHERE and rows.values_of("dataset", protocol=name)
    )


def _headline_table(rows: Rows, protocol: Protocol[Any]) -> Table:
    query: dict[str, object] = {"protocol": protocol.name}
    encoders = rows.values_of("subject", **query, contrast="")
    what = protocol.headline.replace("_", " ")
    body = []
    for dataset in rows.values_of("dataset", **query):
        for label in rows.values_of("label", **query, dataset=dataset):
            first, where = Cell(text=f"{dataset}: {label}"), {**query, "dataset": dataset, "label": label}
            body.append(score_row(rows, encoders, first, what, where, protocol.headline, has_best=False))
    return Table(
        caption=f"{protocol.name}: {protocol.summary}.",
        header=("of", "metric", *shown(encoders), *pair_headings(rows)),
        rows=tuple(body),
    )
