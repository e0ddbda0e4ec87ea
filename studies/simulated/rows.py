"""From the draws that the study's steps left to result rows: scores, paired gains, shares of a gain, masks, cost.

Stage 2 seeds are drawn anew in every draw, as probe seeds and patients were before, so that an interval holds for
another training too, as far as so few seeds can tell. A condition of which only some seeds are done has rows of those,
which say how many; one that is not done has none.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pacx.core.randomness import seed_of
from pacx.data.packs.pack import Pack
from pacx.evaluation.masks.overlap import MaskOverlap
from pacx.evaluation.masks.segmentation import PROTOCOL as SEGMENTATION
from pacx.evaluation.probes.low_data import FRACTIONS
from pacx.evaluation.results import MACRO, ResultRow, Subject, difference_metric
from pacx.evaluation.statistics.bootstrap import (
    Column,
    Float,
    RowMaker,
    mean_over_seeds,
    patient_bootstrap,
    ratio,
    with_differences,
)
from pacx.models.encoders.names import MAE, PACX, RANDOM
from pacx.models.vit_config import Pooling
from pacx.simulation.patients.labels import LABEL_GROUPS
from studies.simulated import names
from studies.simulated.cohorts import ELSEWHERE
from studies.simulated.design import BLIND, CONDITIONS, IN_LIFE, NO_WIRES, NOT_VISIBLE, World
from studies.simulated.names import (
    HOSPITAL,
    RANDOM_TARGETS,
    SHARE,
    SHUFFLED,
    STANDARDIZED,
    STUDY,
    WITHIN_ACUITY,
    WITHIN_VIEW,
)
from studies.simulated.steps import AWAY, BaselineStep, HospitalStudy, MaskStep, Stage2Step, view
from studies.stepwise.cohorts import DOWNSTREAM, MASKED
from studies.stepwise.finished import Finished, cost_rows, macro, origin
from studies.stepwise.step import StudyStep

WITHOUT_WIRES = Subject(PACX, condition=names.WITHOUT_WIRES)
_TOKEN, _MEAN = Pooling.CLASS_TOKEN, Pooling.PATCH_MEAN
_BY_LABEL = ((Subject(PACX), Subject(MAE)), (Subject(PACX), Subject(WITHIN_ACUITY)))
"""Differences that are told label by label too."""


@dataclass(frozen=True, kw_only=True)
class _Scored:
    """What one encoder's probes scored in one view of one group of labels.

    Args:
        draws: macro AUROC, (F, R).
        by_label: AUROC of each label, (F, R, L).
        num_trainings: of Stage 2 behind it; 0 for an encoder that has seen none.
        abouts: of the steps behind it.
    """

    draws: Float
    by_label: Float
    num_trainings: int
    abouts: tuple[Mapping[str, object], ...]


class _Done(Finished[HospitalStudy]):
    """The steps that are done, and the mean over some of them."""

    def scored(self, steps: Iterable[StudyStep], key: str) -> _Scored | None:
        """The mean over some steps that have this view; None if none has."""
        having = [step for step in steps if key in self.files[step.name]]
        if not having:
            return None
        each = np.stack([self.files[step.name][key].astype(np.float64) for step in having])  # (S, F, R, L)
        return _Scored(
            draws=self._over_seeds(np.stack(list(map(macro, each)))[..., None])[..., 0],
            by_label=self._over_seeds(each),
            num_trainings=sum(isinstance(step, Stage2Step) for step in having),
            abouts=tuple(map(self.about, having)),
        )

    def _over_seeds(self, values: Float) -> Float:
        """(S, F, R, K) to (F, R, K)."""
        seed = seed_of(self.study.seed, "stage 2")
        return np.stack([mean_over_seeds(values[:, part], seed=seed) for part in range(values.shape[1])])


def _columns(done: _Done, group: str) -> dict[Subject, _Scored]:
    """Every encoder in every view that there is, by what its rows call it."""
    found: dict[Subject, _Scored | None] = {}

    def add(name: str, world: World, steps: Sequence[StudyStep]) -> None:
        for pooling, part in ((_TOKEN, ""), (_MEAN, "mean")):
            found[world.subject(name, part)] = done.scored(steps, f"{group}|{view(pooling)}")
        for pooling, part in ((_TOKEN, ""), (_MEAN, "mean")) if world == IN_LIFE else ():
            key = f"{group}|{view(pooling, standardize=True)}"
            found[Subject(name, part, STANDARDIZED)] = done.scored(steps, key)

    for step in done.steps:
        if isinstance(step, BaselineStep):
            add(step.encoder, step.world, [step])
    for number, condition in enumerate(CONDITIONS):
        members = [step for step in done.steps if isinstance(step, Stage2Step) and step.condition_number == number]
        add(condition.name, condition.world, members)
        if condition.name == PACX and condition.world == IN_LIFE:
            found[WITHOUT_WIRES] = done.scored(members, f"{NO_WIRES.name}|{group}|{view(_TOKEN)}")
    return {name: scored for name, scored in found.items() if scored is not None}


def _standardized(encoder: str, pooling: str = "") -> Subject:
    return Subject(encoder, pooling, STANDARDIZED)


def _pairs(known: Collection[Subject]) -> list[tuple[Subject, Subject]]:
    """Which differences are asked for; whoever is not there is left out."""
    of_mae, of_pacx = Subject(MAE), Subject(PACX)
    pairs = [(of_mae, Subject(RANDOM)), (Subject(MAE, "mean"), of_mae)]
    pairs += [(of_pacx, Subject(name)) for name in (RANDOM_TARGETS, RANDOM)]
    for condition in CONDITIONS:
        for part in ("", "mean"):
            pairs.append((condition.subject, condition.world.subject(MAE, part)))
            if condition.is_followed:
                pairs.append((Subject(condition.name, "mean"), Subject(MAE, part)))
        if condition.is_followed:
            pairs += [(_standardized(condition.name, part), _standardized(MAE, part)) for part in ("", "mean")]
    pairs += [(of_pacx, _standardized(MAE, part)) for part in ("", "mean")]
    pairs += [(world.subject(PACX), world.subject(SHUFFLED)) for world in (NOT_VISIBLE, BLIND)]
    pairs += [(NOT_VISIBLE.subject(PACX), NOT_VISIBLE.subject(WITHIN_VIEW))]
    pairs += [(of_pacx, Subject(name)) for name in (WITHIN_VIEW, WITHIN_ACUITY, names.SPARSE)]
    pairs += [(_standardized(PACX), _standardized(RANDOM_TARGETS)), (WITHOUT_WIRES, NO_WIRES.subject(MAE))]
    return [(first, second) for first, second in dict.fromkeys(pairs) if first in known and second in known]


def _shares(known: Collection[Subject]) -> list[tuple[Subject, Subject, Subject, Subject]]:
    """(encoder, its baseline, the full method, its baseline): whose gain over whose."""
    whole, base = Subject(PACX), Subject(MAE)
    wanted = [
        (condition.subject, condition.world.subject(MAE), whole, base)
        for condition in CONDITIONS
        if condition.subject != whole
    ]
    wanted += [
        (_standardized(name), _standardized(MAE), _standardized(PACX), _standardized(MAE))
        for name in (SHUFFLED, RANDOM_TARGETS, WITHIN_ACUITY)
    ]
    wanted += [(WITHOUT_WIRES, NO_WIRES.subject(MAE), whole, base)]
    return [each for each in wanted if all(subject in known for subject in each)]


@dataclass(frozen=True, kw_only=True)
class _Writer:
    """Rows of one group of labels."""

    done: _Done
    dataset: str
    labels: Sequence[str]
    n: int
    remark: str
    columns: Mapping[Subject, _Scored]

    def rows(self) -> list[ResultRow]:
        """Scores, differences, shares, for each share of the labels."""
        columns, found = self.columns, []
        for number, fraction in enumerate(FRACTIONS):
            value = {subject: scored.draws[number] for subject, scored in columns.items()}
            for subject in columns:
                found.append(self._row("auroc", value[subject], [subject], fraction))
            for pair in _pairs(columns):
                first, second = pair
                metric = difference_metric("auroc")
                found.append(self._row(metric, value[first] - value[second], pair, fraction))
                if pair in _BY_LABEL:
                    gains = (columns[first].by_label - columns[second].by_label)[number]  # (R, L)
                    found += [
                        self._row(metric, gains[:, k], pair, fraction, label) for k, label in enumerate(self.labels)
                    ]
            for ours, base, whole, whole_base in _shares(columns):
                share = ratio(value[ours] - value[base], value[whole] - value[whole_base])
                found.append(self._row(SHARE, share, [ours, whole], fraction))
        return found

    def _row(
        self, metric: str, draws: Float, behind: Sequence[Subject], fraction: float, label: str = MACRO
    ) -> ResultRow:
        """One number of the first subject, against the second where there is one."""
        scored = [self.columns[subject] for subject in behind]
        most = max(each.num_trainings for each in scored)
        remark = f"{_stage_2(most)}, {self.done.study.sizes.num_probe_seeds[fraction]} probe seeds"
        maker = RowMaker(
            protocol=STUDY,
            dataset=self.dataset,
            seed=self.done.study.seed,
            provenance=origin(self.remark, [about for each in scored for about in each.abouts]),
            subjects={str(subject): subject for subject in behind},
            num_trainings=most,
        )
        column = Column(str(behind[0]), metric, draws, str(behind[1]) if behind[1:] else "")
        return maker.row(column, draws, label=label, n=self.n, fraction=fraction, remark=remark)


def _stage_2(num_trainings: int) -> str:
    """How many trainings a row rests on, in words."""
    return f"{num_trainings} Stage 2 seed{'s' * (num_trainings > 1)}" if num_trainings else "no Stage 2"


def _mask_rows(done: _Done, remark: str) -> list[ResultRow]:
    steps = [step for step in done.steps if isinstance(step, MaskStep)]
    if not steps:
        return []
    study = done.study
    pack = Pack.open(study.folders.pack(MASKED, IN_LIFE.name))
    test = pack.rows("test")
    draws = patient_bootstrap(pack.patient_ids[test], num_draws=study.num_draws, seed=study.seed)
    decoded = {
        encoder: {
            seed: _overlap(done.files[step.name], place)
            for step in steps
            if step.encoder == encoder
            for place, seed in enumerate(step.decoder_seeds)
        }
        for encoder in dict.fromkeys(step.encoder for step in steps)
    }
    common = sorted(set.intersection(*(set(counts) for counts in decoded.values())))
    values = {
        encoder: mean_over_seeds(
            np.stack([draws.weighted_mean(counts[seed].iou()) for seed in common]),  # (D, R, K)
            seed=seed_of(study.seed, "decoder"),
        )
        for encoder, counts in decoded.items()
    }
    maker = RowMaker(
        protocol=SEGMENTATION,
        dataset=HOSPITAL,
        seed=study.seed,
        provenance=origin(remark, [done.about(step) for step in steps]),
        num_trainings=sum(step.encoder == PACX for step in steps),
    )
    remark = f"{_stage_2(maker.num_trainings)}, {len(common)} decoder seeds"
    return [
        maker.row(column, column.draws[:, k], label=mask, n=len(test), remark=remark)
        for column in with_differences(values, "iou", MAE if MAE in values else None)
        for k, mask in enumerate(pack.mask_names)
    ]


def _overlap(arrays: Mapping[str, NDArray[np.generic]], place: int) -> MaskOverlap:
    names = ("intersection", "predicted", "inside", "judged")
    return MaskOverlap(**{name: arrays[name][place].astype(np.int64) for name in names})


def study_rows(
    study: HospitalStudy, steps: Sequence[StudyStep], *, command: str, is_rehearsal: bool
) -> list[ResultRow]:
    """Rows of everything that is done.

    Args:
        study: what the steps share.
        steps: all of them, done or not.
        command: what makes these numbers again.
        is_rehearsal: every row says that it means nothing.
    """
    done = _Done(study, steps)
    if not done.steps:
        return []
    remark = f"{'REHEARSAL, no result; ' * is_rehearsal}{command}; {study.num_draws} draws"
    home = len(Pack.open(study.folders.pack(DOWNSTREAM, IN_LIFE.name)).rows("test"))
    away = len(Pack.open(study.folders.pack(DOWNSTREAM, ELSEWHERE)))
    rows: list[ResultRow] = []
    for group, labels in LABEL_GROUPS.items():
        for name, n in ((group, home), (f"{group} {AWAY}", away)):
            rows += _Writer(
                done=done,
                dataset=f"{HOSPITAL}, {name}",
                labels=labels,
                n=n,
                remark=remark,
                columns=_columns(done, name),
            ).rows()
    return rows + _mask_rows(done, remark) + cost_rows(done, remark, HOSPITAL)
