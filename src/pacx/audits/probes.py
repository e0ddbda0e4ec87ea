"""What the audits of classification measure; ``probes_config`` holds the questions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pacx.audits.audit import AuditResult, in_words
from pacx.audits.probes_config import ClassTokenAudit, SplitsAudit, ThresholdAudit
from pacx.core.errors import DataError
from pacx.data.packs.pack import Pack
from pacx.evaluation.embeddings import embed_each, embed_pack
from pacx.evaluation.probes.classification import (
    ClassificationData,
    ClassificationScores,
    classification_rows,
    score_heads,
)
from pacx.evaluation.probes.linear_heads import LinearHeads
from pacx.evaluation.probes.linear_probe import score_probes
from pacx.evaluation.probes.low_data import train_low_data
from pacx.evaluation.results import MACRO, ResultRow, Subject, difference_metric
from pacx.evaluation.statistics.bootstrap import (
    Column,
    Float,
    MacroAverage,
    PatientDraws,
    evaluable_labels,
    macro_average,
    mean_over_seeds,
    patient_bootstrap,
    with_differences,
)
from pacx.evaluation.statistics.metrics import auroc
from pacx.models.encoders.by_name import NamedEncoder, open_encoders
from pacx.models.vit_config import Pooling

_POOLINGS = {"token": Pooling.CLASS_TOKEN, "mean": Pooling.PATCH_MEAN}
BY_FILM, BY_PATIENT = "split by film", "split by patient"
SEEN, UNSEEN = "patient: seen in training", "patient: unseen"
GAP = "patient: seen in training - unseen"


def class_token(audit: ClassTokenAudit) -> AuditResult:
    """Gain per pooling, and of the better pooling over the stronger one of the baseline."""
    pack, opened = Pack.open(audit.pack), open_encoders((audit.baseline, audit.encoder), audit.probe.seed)
    data = ClassificationData.from_pack(pack, dataset=pack.path.name)
    draws = patient_bootstrap(data.patient_ids[data.test], num_draws=audit.num_draws, seed=audit.probe.seed)
    heads, scores = {}, {}
    asked = {
        f"{encoder.name}#{part}": encoder.encoder.pooled_by(pooling)
        for encoder in opened
        for part, pooling in _POOLINGS.items()
    }
    for name, features in embed_each(asked, pack, device=audit.chosen_device):
        heads[name] = train_low_data(data, features, audit.fractions, config=audit.probe, device=audit.chosen_device)
        scores[name] = score_heads(heads[name], data, features, draws)
    rows: list[ResultRow] = []
    taken: list[str] = []
    before, after = (encoder.name for encoder in opened)
    for number, fraction in enumerate(audit.fractions):
        members = range(number * audit.probe.num_seeds, (number + 1) * audit.probe.num_seeds)
        chosen = {name: score.select(members) for name, score in scores.items()}
        for part in _POOLINGS:
            pair = {name: chosen[name] for name in (f"{before}#{part}", f"{after}#{part}")}
            rows += classification_rows(
                audit.maker(
                    data.dataset,
                    drawn_by=data.drawn_by,
                    subjects=[Subject(encoder=name, pooling=part) for name in (before, after)],
                ),
                data,
                pair,
                baseline=f"{before}#{part}",
                fraction=fraction,
            )
        better = {name: better_pooling(name, heads, members) for name in (before, after)}
        taken.append(f" ({better[after]} over {better[before]})")
        maker = audit.maker(
            data.dataset, drawn_by=data.drawn_by, more=f"by validation AUROC {' and '.join(better.values())}"
        )
        pair = {name: chosen[part] for name, part in better.items()}
        rows += classification_rows(maker, data, pair, baseline=before, fraction=fraction)
    return AuditResult(rows=rows, answer=_answer(audit, rows, before, after, taken))


def _answer(audit: ClassTokenAudit, rows: list[ResultRow], before: str, after: str, taken: list[str]) -> str:
    def gains(mark: str, remarks: Sequence[str]) -> str:
        pair = {"subject": after + mark, "contrast": before + mark}
        return "; ".join(
            f"{100 * fraction:g} % of the labels{remark} "
            + in_words(rows, **pair, metric=difference_metric("auroc"), fraction=fraction)
            for fraction, remark in zip(audit.fractions, remarks, strict=True)
        )

    plain = [""] * len(taken)
    return (
        f"Macro AUROC of {after} minus {before}, each in the pooling that validation prefers: {gains('', taken)}. "
        f"With the class token of both: {gains('#token', plain)}; with the mean of the patch tokens of both: "
        f"{gains('#mean', plain)}."
    )


def better_pooling(encoder: str, heads: dict[str, LinearHeads], members: range) -> str:
    """The pooling whose probes have the higher mean AUROC on the validation split; the class token if equal."""
    return max((f"{encoder}#{part}" for part in _POOLINGS), key=lambda name: _validation(heads[name], members))


def _validation(heads: LinearHeads, members: range) -> float:
    return float(heads.validation_auroc[list(members)].mean())


def splits(audit: SplitsAudit) -> AuditResult:
    """Test AUROC under both splits; of seen and unseen patients under the second."""
    packs = Pack.open(audit.by_patient), Pack.open(audit.by_film)
    if set(packs[0].sample_ids) != set(packs[1].sample_ids) or packs[0].label_names != packs[1].label_names:
        raise DataError(f"{packs[0].path} and {packs[1].path} differ in films or labels; pack one copy twice")
    (encoder,) = open_encoders((audit.encoder,), audit.probe.seed)
    # another seed for the other test split: equal counts would pair patients who have nothing to do with each other
    whole = _scored(audit, encoder, packs[0], BY_PATIENT, audit.probe.seed)
    leaky = _scored(audit, encoder, packs[1], BY_FILM, audit.probe.seed + 1)
    if whole.is_seen.any() or not leaky.is_seen.any() or leaky.is_seen.all():
        raise DataError(
            f"{int(whole.is_seen.sum())} of {len(whole.is_seen)} test films of {packs[0].path} and "
            f"{int(leaky.is_seen.sum())} of {len(leaky.is_seen)} of {packs[1].path} are of patients seen in "
            "training; expected none in the first and some, not all, in the second (--split-policy released-code)"
        )
    rows = [
        row
        for scored in (whole, leaky)
        for row in classification_rows(
            audit.maker(scored.data.dataset, drawn_by=scored.data.drawn_by),
            scored.data,
            {encoder.name: scored.score},
            baseline=None,
            fraction=1.0,
        )
    ]
    rows += _compare(audit, leaky, whole, encoder.name) + _compare_people(audit, leaky, encoder.name)
    return AuditResult(rows=rows, answer=_splits_answer(audit, rows, whole, leaky, encoder.name))


def _scored(audit: SplitsAudit, encoder: NamedEncoder, pack: Pack, how: str, seed: int) -> "_Scored":
    data = ClassificationData.from_pack(pack, dataset=f"{pack.path.name}, {how}")  # folders may be called alike
    draws = patient_bootstrap(data.patient_ids[data.test], num_draws=audit.num_draws, seed=seed)
    features = {encoder.name: embed_pack(encoder.encoder, pack, device=audit.chosen_device)}
    scores = score_probes(data, features, draws, config=audit.probe, device=audit.chosen_device)
    return _Scored(data=data, draws=draws, score=scores[encoder.name])


def _compare(audit: SplitsAudit, leaky: "_Scored", whole: "_Scored", name: str) -> list[ResultRow]:
    """Test AUROC by film minus by patient."""
    areas = [mean_over_seeds(scored.score.auroc, seed=audit.probe.seed) for scored in (leaky, whole)]
    first, second = _on_common_labels(areas, [leaky.truth, whole.truth], leaky.data.label_names)
    ways = [Subject(encoder=name, condition=how) for how in (BY_FILM, BY_PATIENT)]
    named = Column(str(ways[0]), difference_metric("auroc"), first.draws - second.draws, str(ways[1]))
    remark = f"{name}; unpaired, the test splits hold other films"
    maker = audit.maker(leaky.data.dataset, drawn_by=leaky.data.drawn_by, subjects=ways, more=remark)
    return [maker.row(named, named.draws, label=MACRO, n=len(leaky.truth), remark=first.remark)]


def _compare_people(audit: SplitsAudit, leaky: "_Scored", name: str) -> list[ResultRow]:
    """AUROC on test films of patients seen in training, of the others, and seen minus unseen."""
    groups = {SEEN: leaky.is_seen, UNSEEN: ~leaky.is_seen}
    # a film whose label is unknown takes part in nothing, so the others' labels are hidden
    truths = [np.where(member[:, None], leaky.truth, np.nan) for member in groups.values()]
    areas = [
        mean_over_seeds(
            np.stack([auroc(said, truth, leaky.draws) for said in leaky.score.probabilities]), seed=audit.probe.seed
        )
        for truth in truths
    ]
    seen, unseen = _on_common_labels(areas, truths, leaky.data.label_names)
    maker = audit.maker(leaky.data.dataset, drawn_by=leaky.data.drawn_by, more=leaky.people)
    rows = [
        maker.row(
            Column(name, "auroc", macro.draws),
            macro.draws,
            label=MACRO,
            n=int(member.sum()),
            remark=macro.remark,
            subgroup=group,
        )
        for (group, member), macro in zip(groups.items(), (seen, unseen), strict=True)
    ]
    gap = Column(name, difference_metric("auroc"), seen.draws - unseen.draws)
    return [*rows, maker.row(gap, gap.draws, label=MACRO, n=len(leaky.truth), remark=seen.remark, subgroup=GAP)]


def _splits_answer(audit: SplitsAudit, rows: list[ResultRow], whole: "_Scored", leaky: "_Scored", name: str) -> str:
    more = in_words(
        rows, subject=f"{name} ({BY_FILM})", contrast=f"{name} ({BY_PATIENT})", metric=difference_metric("auroc")
    )
    by_film, by_patient = (
        in_words(rows, subject=name, metric="auroc", dataset=scored.data.dataset, subgroup="")
        for scored in (leaky, whole)
    )
    seen, unseen = (in_words(rows, subject=name, metric="auroc", subgroup=group) for group in (SEEN, UNSEEN))
    gap = in_words(rows, subject=name, metric=difference_metric("auroc"), subgroup=GAP)
    return (
        f"Macro AUROC of {name} is {by_film} split by film and {by_patient} split by patient, {more} over the "
        f"labels that both test splits can score. Split by film, {leaky.people}: on their films it is {seen}, on "
        f"the others' {unseen}, {gap}."
    )


@dataclass(frozen=True, kw_only=True)
class _Scored:
    """One pack's probe, scored."""

    data: ClassificationData
    draws: PatientDraws
    score: ClassificationScores

    @property
    def truth(self) -> NDArray[np.float32]:
        """Labels of the test films, (N, L)."""
        return self.data.labels[self.data.test]

    @property
    def is_seen(self) -> NDArray[np.bool_]:
        """(N,) test films of patients who also have training films."""
        patients = self.data.patient_ids.astype(str)
        return np.isin(patients[self.data.test], patients[self.data.training])

    @property
    def people(self) -> str:
        """How many patients are shared, in words."""
        patients = self.data.patient_ids[self.data.test].astype(str)
        shared, everybody = len(np.unique(patients[self.is_seen])), len(np.unique(patients))
        return f"{shared} of {everybody} test patients have films in the training split"


def _on_common_labels(
    areas: Sequence[Float], truths: Sequence[NDArray[np.floating]], label_names: Sequence[str]
) -> list[MacroAverage]:
    """Macro averages of several groups, areas (R, L) and truths (N, L) each, over the labels that all can score."""
    usable = np.logical_and.reduce([evaluable_labels(truth) for truth in truths])
    if not usable.any():
        raise DataError(f"none of the labels {', '.join(label_names)} has both classes on both sides of the comparison")
    return [
        macro_average(area, np.where(usable, truth, np.nan), label_names)
        for area, truth in zip(areas, truths, strict=True)
    ]


def thresholds(audit: ThresholdAudit) -> AuditResult:
    """F1 at both, and the paired difference, per encoder."""
    pack, opened = Pack.open(audit.pack), open_encoders(audit.encoders, audit.probe.seed)
    data = ClassificationData.from_pack(pack, dataset=pack.path.name)
    draws = patient_bootstrap(data.patient_ids[data.test], num_draws=audit.num_draws, seed=audit.probe.seed)
    device = audit.chosen_device
    features = {encoder.name: embed_pack(encoder.encoder, pack, device=device) for encoder in opened}
    scores = score_probes(data, features, draws, config=audit.probe, device=device)
    truth = data.labels[data.test]
    usual = "by the most probable class" if data.is_multiclass else "at 0.5"
    rows, answers = [], []
    for name, score in scores.items():
        ways = [Subject(encoder=name, condition=how) for how in (usual, "at the validation threshold")]
        maker, (fixed, tuned) = audit.maker(data.dataset, drawn_by=data.drawn_by, subjects=ways), map(str, ways)
        values = {fixed: score.f1, tuned: score.f1_tuned}
        pooled = {each: mean_over_seeds(value, seed=audit.probe.seed) for each, value in values.items()}
        for column in with_differences(pooled, "f1", fixed):
            macro = macro_average(column.draws, truth, data.label_names)
            rows.append(maker.row(column, macro.draws, label=MACRO, n=len(truth), remark=macro.remark))
            for k, label in enumerate(data.label_names):
                known = int((~np.isnan(truth[:, k])).sum())
                rows.append(maker.row(column, column.draws[:, k], label=label, n=known))
        before, after = (in_words(rows, subject=each, metric="f1") for each in (fixed, tuned))
        gain = in_words(rows, subject=tuned, contrast=fixed, metric=difference_metric("f1"))
        answers.append(f"{name} {before} {usual} and {after} at the threshold tuned on validation, {gain}")
    return AuditResult(rows=rows, answer=f"Macro F1: {'; '.join(answers)}.")
