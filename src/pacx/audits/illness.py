"""What ``pacx audit illness`` measures; ``illness_config`` holds the question.

`films -> both poolings; for each part of the patients left out: ridge on own pairs, ridge on pairs exchanged among
patients alike, ridge on the columns -> errors at the left-out patients' own targets -> shares of variance predicted`.
Targets are whitened, so that no direction counts for more than another.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pacx.audits.audit import AuditResult, in_words
from pacx.audits.illness_config import IllnessAudit
from pacx.core.errors import DataError, UsageError
from pacx.core.randomness import generator
from pacx.core.tables.ids import whole_number_id
from pacx.data.packs.pack import Pack, require_columns
from pacx.data.pairs.linked_films import require_same_links
from pacx.evaluation.embeddings import embed_each
from pacx.evaluation.probes.classification import ClassificationData
from pacx.evaluation.probes.given_columns import numbers_of, taken_for_words
from pacx.evaluation.probes.linear_probe import linear_probe
from pacx.evaluation.results import MACRO, ResultRow, Subject, difference_metric
from pacx.evaluation.statistics.bootstrap import patient_bootstrap, ratio, with_differences
from pacx.modalities.alike import ALONE, alike_groups, partners
from pacx.modalities.labs import read_labs
from pacx.modalities.panel.panels import joined
from pacx.modalities.panel.severity import severity_of
from pacx.modalities.targets import open_targets
from pacx.models.encoders.by_name import NamedEncoder, open_encoders
from pacx.models.linear.ridge import design, ridge
from pacx.models.linear.whitening import Whitening, principal_whitening
from pacx.models.vit_config import Pooling
from pacx.recipes.samples import told
from pacx.reporting.result_rows import Rows
from pacx.reporting.tables import is_distinguishable

OWN, EXCHANGED, COLUMNS = "own pairs", "pairs of patients alike", "columns alone"
R2 = "target_r2"
_SEVERITY = "severity by labs"
_MOST_COMPONENTS = 32
"""Of a modality's targets; further ones hold little and would count as much."""
_FEWEST = 40
"""Patients; below, a part of them tells nothing."""

Float = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class _Pairs:
    """Films with every target, N of them.

    Args:
        features: (N, 2 D) class token and mean of the patches.
        targets: (N, T_m) of each modality, as they were embedded.
        words: N, equal among those who exchange.
        numbers: (N,) each, near among those who exchange; NaN = unknown.
        patient_ids: (N,).
    """

    features: Float
    targets: Mapping[str, Float]
    words: NDArray[np.str_]
    numbers: Mapping[str, Float]
    patient_ids: NDArray[np.str_]

    def exchanged(self, rows: NDArray[np.int64], audit: IllnessAudit) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Those of some films whose patients have others alike among them, and for each whose targets it is given."""
        numbers, patients = {name: each[rows] for name, each in self.numbers.items()}, self.patient_ids[rows].tolist()
        groups = alike_groups(self.words[rows].tolist(), numbers, patients, size=audit.group_size)
        partner = partners(groups, patients, seed=audit.chosen_seed)
        return rows[groups != ALONE], rows[partner[groups != ALONE]]

    def columns(self) -> Float:
        """(N, C): a column per word; per number it, its square, and whether it is known."""
        parts = [(self.words == word).astype(float) for word in np.unique(self.words)]
        for values in self.numbers.values():
            known = np.isfinite(values)
            centred = np.where(known, values - values[known].mean(), 0.0) if known.any() else np.zeros(len(values))
            parts += [centred, centred**2, known.astype(float)]
        return np.stack(parts, axis=1)


def illness(audit: IllnessAudit) -> AuditResult:
    """Shares of variance by what was taught, own minus exchanged, and with labels the probes' AUROC.

    Raises:
        UsageError: there is nothing to be alike in, or a setting is out of range.
        DataError: too few films have targets and patients alike.
    """
    if not (audit.alike or audit.labs):
        raise UsageError("patients have to be alike in something; give --alike with columns of the pack, or --labs")
    if min(audit.num_folds, audit.group_size) < 2:
        raise UsageError("--num-folds and --group-size are at least 2; give more")
    pack, (encoder,) = Pack.open(audit.pack), open_encoders((audit.encoder,), audit.probe.seed)
    targets = open_targets(audit.targets)
    of_targets = {f"{target.modality} targets": target.notes for target in targets}
    require_same_links({str(pack.path): pack.manifest.notes, **of_targets})
    known = np.flatnonzero(np.logical_and.reduce([each.has(pack.sample_ids.tolist()) for each in targets]))
    words, numbers = _known_of(audit, pack, known)
    pairs = _Pairs(
        features=_both_poolings(audit, encoder, pack, known),
        targets={
            each.modality: each.for_samples(pack.sample_ids[known].tolist()).astype(np.float64) for each in targets
        },
        words=words,
        numbers=numbers,
        patient_ids=pack.patient_ids[known].astype(str),
    )
    paired, partner = pairs.exchanged(np.arange(len(known)), audit)
    if len(np.unique(pairs.patient_ids[paired])) < _FEWEST:
        raise DataError(
            f"{len(paired)} of {len(pack)} films of {pack.path} have every target and a patient alike, of fewer than "
            f"{_FEWEST} patients; give fewer columns after --alike, or more pairs"
        )
    told(*(f"{target.modality}: {note}" for target in targets for note in target.notes))
    lost = f"{len(pack) - len(known)} films lack a target, {len(known) - len(paired)} have nobody alike"
    rows = _r2_rows(audit, pack, encoder.name, pairs, lost)
    if audit.labelled is not None:
        labelled = Pack.open(audit.labelled)
        tested = np.unique(labelled.patient_ids[labelled.rows("test")].astype(str))
        if num_taught := int(np.isin(tested, pairs.patient_ids[paired]).sum()):
            told(
                f"{num_taught} of {len(tested)} test patients of {labelled.path} have pairs in {pack.path}, which both "
                "teachings have seen"
            )
        rows += _probe_rows(audit, encoder, pairs, paired, partner, labelled)
    return AuditResult(rows=rows, answer=_answer(rows, encoder.name, len(known), lost))


def _known_of(audit: IllnessAudit, pack: Pack, rows: NDArray[np.int64]) -> tuple[NDArray[np.str_], dict[str, Float]]:
    """What is equal among those who exchange, (N,) words, and what is near, (N,) numbers each."""
    table = pack.table.iloc[rows]
    require_columns(table, audit.alike, pack.path, "be alike in")
    words: list[pd.Series] = []
    numbers: dict[str, Float] = {}
    told(*taken_for_words(table[list(audit.alike)]))
    for name in audit.alike:
        if (values := numbers_of(table[name])) is None:
            words.append(table[name].fillna("unknown").astype(str))
        else:
            numbers[name] = values
    if audit.labs:
        measured = joined([read_labs(each, audit.reading) for each in audit.labs])
        severity = dict(zip(map(whole_number_id, measured.sample_ids), severity_of(measured), strict=True))
        numbers[_SEVERITY] = np.array([severity.get(whole_number_id(each), np.nan) for each in pack.sample_ids[rows]])
        if not np.isfinite(numbers[_SEVERITY]).any():
            raise DataError(f"no film of {pack.path} has a laboratory value in --labs; give both the same sample ids")
    together = [", ".join(each) for each in zip(*words, strict=True)] if words else [""] * len(rows)
    return np.array(together), numbers


def _both_poolings(audit: IllnessAudit, encoder: NamedEncoder, pack: Pack, rows: NDArray[np.int64] | None) -> Float:
    poolings = {pooling.value: encoder.encoder.pooled_by(pooling) for pooling in Pooling}
    parts = [values for _, values in embed_each(poolings, pack, rows=rows, device=audit.chosen_device)]
    return np.concatenate(parts, axis=1).astype(np.float64)


def _whitened(targets: Mapping[str, Float], rows: NDArray[np.int64]) -> dict[str, Whitening]:
    return {name: principal_whitening(each[rows], _MOST_COMPONENTS) for name, each in targets.items()}


def _r2_rows(audit: IllnessAudit, pack: Pack, name: str, pairs: _Pairs, lost: str) -> list[ResultRow]:
    """How much of the own targets of patients left out is predicted after each kind of teaching."""
    num = len(pairs.patient_ids)
    errors = {how: np.zeros((num, len(pairs.targets))) for how in (OWN, EXCHANGED, COLUMNS)}
    spread = np.zeros((num, len(pairs.targets)))
    _, patient = np.unique(pairs.patient_ids, return_inverse=True)
    part = generator(audit.chosen_seed, "illness-folds").permutation(patient.max() + 1)[patient] % audit.num_folds
    columns = pairs.columns()
    for fold in range(audit.num_folds):
        held = np.flatnonzero(part == fold)
        fitted, partner = pairs.exchanged(np.flatnonzero(part != fold), audit)
        if (left := len(np.unique(pairs.patient_ids[fitted]))) < _FEWEST // 2:
            raise DataError(
                f"without part {fold + 1} of {audit.num_folds} only {left} patients of {pack.path} have a patient "
                "alike; give more --num-folds, fewer columns after --alike, or more pairs"
            )
        white = _whitened(pairs.targets, fitted)
        films = design(pairs.features[fitted], pairs.patient_ids[fitted])
        known = design(columns[fitted], pairs.patient_ids[fitted])
        for number, (modality, raw) in enumerate(pairs.targets.items()):
            told = white[modality](raw)
            said = {
                OWN: ridge(films, told[fitted]).predict(pairs.features[held]),
                EXCHANGED: ridge(films, told[partner]).predict(pairs.features[held]),
                COLUMNS: ridge(known, told[fitted]).predict(columns[held]),
            }
            spread[held, number] = (told[held] ** 2).mean(axis=1)  # about the fitted patients' mean, which is 0
            for how, predicted in said.items():
                errors[how][held, number] = ((told[held] - predicted) ** 2).mean(axis=1)
    draws = patient_bootstrap(pairs.patient_ids, num_draws=audit.num_draws, seed=audit.chosen_seed)
    total = draws.weighted_sum(spread)  # (R, M)
    by_modality = {how: 1 - ratio(draws.weighted_sum(each), total) for how, each in errors.items()}
    subjects = {how: Subject(name, condition=how) for how in errors}
    maker = audit.maker(pack.path.name, subjects=subjects.values(), more=lost, drawn_by=pack.drawn_by)
    rows = []
    for baseline in (EXCHANGED, COLUMNS):
        scores = {str(subjects[how]): each for how, each in by_modality.items()}
        for column in with_differences(scores, R2, str(subjects[baseline])):
            if column.contrast or baseline == EXCHANGED:
                rows.append(maker.row(column, column.draws.mean(axis=1), label=MACRO, n=num))
                rows += [
                    maker.row(column, column.draws[:, number], label=modality, n=num)
                    for number, modality in enumerate(pairs.targets)
                ]
    return rows


def _probe_rows(
    audit: IllnessAudit,
    encoder: NamedEncoder,
    pairs: _Pairs,
    paired: NDArray[np.int64],
    partner: NDArray[np.int64],
    pack: Pack,
) -> list[ResultRow]:
    """Probes of labelled films on both poolings of the encoder, and on what either kind of pairs lets them predict."""
    data = ClassificationData.from_pack(pack, dataset=pack.path.name)
    films = _both_poolings(audit, encoder, pack, None)
    white = _whitened(pairs.targets, paired)
    told = np.concatenate([white[modality](raw) for modality, raw in pairs.targets.items()], axis=1)
    taught = design(pairs.features[paired], pairs.patient_ids[paired])
    features = {encoder.name: films.astype(np.float32)}
    for how, given in ((OWN, paired), (EXCHANGED, partner)):
        features[str(Subject(encoder.name, condition=how))] = ridge(taught, told[given]).read(films)
    subjects = [Subject(encoder.name, condition=how) for how in (OWN, EXCHANGED)]
    rows: list[ResultRow] = []
    for baseline in (encoder.name, str(subjects[1])):
        found = linear_probe(
            data,
            features,
            replace(audit.comparison(data.dataset, subjects=subjects), baseline=baseline),
            config=audit.probe,
        )
        rows += [row for row in found if row.contrast or baseline == encoder.name]
    return [replace(row, protocol=f"audit: {audit.name}") for row in rows]


def _answer(rows: Sequence[ResultRow], name: str, num_films: int, lost: str) -> str:
    own, exchanged, columns = (str(Subject(name, condition=how)) for how in (OWN, EXCHANGED, COLUMNS))

    def share(subject: str) -> str:
        return in_words(rows, subject=subject, metric=R2)

    gap, whole, kept = (
        Rows(rows=tuple(rows)).find(subject=subject, contrast=contrast, metric=metric, label=MACRO, fraction=1.0)
        for subject, contrast, metric in (
            (own, exchanged, difference_metric(R2)),
            (own, "", R2),
            (exchanged, "", R2),
        )
    )
    assert gap is not None
    assert whole is not None
    assert kept is not None
    part = f" ({kept.value / whole.value:.2f} of it)" if whole.ci_low > 0 else ""
    more = "more than" if is_distinguishable(gap) and gap.value > 0 else "nothing that can be told from"
    said = (
        f"Own pairs teach {more} what pairs of patients alike teach: of the whitened targets of {num_films} films' "
        f"patients, each left out once, films predict {share(own)} after own pairs and {share(exchanged)} after pairs "
        f"of patients alike{part}, "
        f"{in_words(rows, subject=own, contrast=exchanged, metric=difference_metric(R2))}; the columns alone "
        f"{share(columns)}. {lost}."
    )
    probed = Rows(rows=tuple(rows)).find(
        subject=own, contrast=exchanged, metric=difference_metric("auroc"), label=MACRO
    )
    if probed is not None:
        metric = difference_metric("auroc")
        said += (
            f" On labelled films macro AUROC is {in_words(rows, subject=own, contrast=exchanged, metric=metric)} after "
            f"own pairs over pairs of patients alike, {in_words(rows, subject=own, contrast=name, metric=metric)} over "
            f"{name} itself."
        )
    return said
