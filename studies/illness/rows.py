"""From the draws that steps left to result rows: scores, paired gains, what a patient's own pair adds, shares of it.

Stage 1 seeds are drawn anew in every draw, each with the mean over its Stage 2 seeds: to draw the outermost is to draw
what is nested in it (Davison and Hinkley 1997, section 3.8). With a single Stage 1 its Stage 2 seeds are drawn instead,
and the row says so. What is compared is compared over the Stage 1 seeds that all sides have.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pacx.core.randomness import seed_of
from pacx.data.packs.pack import Pack
from pacx.evaluation.probes.low_data import FRACTIONS
from pacx.evaluation.results import MACRO, ResultRow, Subject, difference_metric
from pacx.evaluation.statistics.bootstrap import Column, Float, RowMaker, mean_over_seeds, ratio
from pacx.models.encoders.names import MAE
from pacx.simulation.patients.labels import LABEL_GROUPS
from studies.illness.design import BLIND_WORLD, METHODS, WORLD
from studies.illness.knowledge import knowledge_rows
from studies.illness.masks import mask_rows
from studies.illness.names import (
    ACUITY,
    AGAINST,
    AREA,
    BOTH,
    BY_LABEL,
    EQUALLY_ILL,
    HEADLINE,
    HOSPITAL,
    ILLNESS,
    MEASURES,
    ORACLE,
    OWN,
    PAPER,
    PAPERS_PROBE,
    RANDOM_VECTORS,
    SHARE,
    WITHIN,
    baseline,
    dataset_of,
    more_beyond,
    of_stage_1,
    share_of_oracle,
    subject,
    untaught,
)
from studies.illness.steps import READERS, RIDGE, AcuityStep, IllnessStep, IllnessStudy, ProbedStep, key
from studies.stepwise.finished import Finished, cost_rows, origin

_POINT = 0.01
"""Shares of a smaller gain say nothing."""
_CONTROLS = (EQUALLY_ILL, RANDOM_VECTORS)
Trainings = Mapping[tuple[int | None, int], Float]
"""Draws by (Stage 1 seed, Stage 2 seed)."""


@dataclass(frozen=True, kw_only=True)
class _Scored:
    """What one encoder's probes scored, training by training.

    Args:
        draws: by training, (F, R, L).
        abouts: of the steps behind it.
        num_trainings: how many.
    """

    draws: Trainings
    abouts: tuple[Mapping[str, object], ...]
    num_trainings: int

    @property
    def stage_1_seeds(self) -> frozenset[int] | None:
        """Which it has; None = it needs none, hence goes with any."""
        found = {one for one, _ in self.draws}
        return None if None in found else frozenset(one for one in found if one is not None)


def _shared(behind: Sequence[_Scored]) -> list[int]:
    """Stage 1 seeds that all have; empty where none needs one."""
    sets = [each.stage_1_seeds for each in behind if each.stage_1_seeds is not None]
    return sorted(frozenset.intersection(*sets)) if sets else []


def _over_trainings(scored: _Scored, common: Sequence[int], part: int, seed: int) -> Float:
    """Draws (R, L) of one share of the labels, trainings drawn anew."""

    def stage_2(one: int | None) -> Float:
        return np.stack([draws[part] for (first, _), draws in sorted(scored.draws.items()) if first == one])

    if scored.stage_1_seeds is None:
        return stage_2(None).mean(axis=0)
    if len(common) == 1:
        return mean_over_seeds(stage_2(common[0]).astype(np.float64), seed=seed_of(seed, "stage 2"))
    each = np.stack([stage_2(one).mean(axis=0) for one in common])  # (A, R, L)
    return mean_over_seeds(each.astype(np.float64), seed=seed_of(seed, "stage 1"))


def _macro(draws: Float) -> Float:
    """Mean over the labels that are defined, (R, L) to (R,)."""
    known = ~np.isnan(draws)
    return ratio(np.where(known, draws, 0.0).sum(axis=1), known.sum(axis=1))


class _Done(Finished[IllnessStudy]):
    """The steps that are done, by what their rows are called."""

    def probed(self, world: str) -> Mapping[Subject, list[tuple[ProbedStep | AcuityStep, str]]]:
        """Per subject its steps, and the pooling that its arrays are named by."""
        found: dict[Subject, list[tuple[ProbedStep | AcuityStep, str]]] = {}
        for step in self.steps:
            if isinstance(step, AcuityStep) and world == WORLD:
                found[untaught(ACUITY)] = [(step, "")]
            elif isinstance(step, ProbedStep) and step.world == world:
                for pooling in ("", BOTH) if step.method == MAE else ("",):
                    plain = untaught(step.method, pooling)
                    name = subject(step.method, step.num_pairs, step.taught) if step.taught else plain
                    found.setdefault(name, []).append((step, pooling))
        return found

    def scored(self, group: str, reader: str, measure: str, world: str) -> dict[Subject, _Scored]:
        """Every encoder's draws in one group of labels, by one kind of probe and one measure, on one world's films."""
        found = {}
        for name, steps in self.probed(world).items():
            arrays = {
                (step.stage_1, step.seed) if isinstance(step, ProbedStep) else (None, 0): self.files[step.name][wanted]
                for step, pooling in steps
                if (wanted := key(group, reader, measure, pooling)) in self.files[step.name]
            }
            if arrays:
                found[name] = _Scored(
                    draws={training: np.asarray(each, np.float64) for training, each in arrays.items()},
                    abouts=tuple(self.about(step) for step, _ in steps),
                    num_trainings=sum(isinstance(step, ProbedStep) for step, _ in steps),
                )
        return found


def _kept(control: Float, own: Float, base: Float) -> Float:
    return ratio(control - base, own - base)


def _more(own: Float, equal: Float, other_own: Float, other_equal: Float) -> Float:
    return (own - equal) - (other_own - other_equal)


def _reached(own: Float, equal: Float, oracle_own: Float, oracle_equal: Float) -> Float:
    return ratio(own - equal, oracle_own - oracle_equal)


@dataclass(frozen=True, kw_only=True)
class _Writer:
    """Rows of one group of labels, read by one kind of probe, by one measure."""

    done: _Done
    dataset: str
    group: str
    by_papers_probe: bool
    measure: str
    remark: str
    n: int
    scored: Mapping[Subject, _Scored]

    @property
    def is_blind(self) -> bool:
        """Whether the films show nothing."""
        return self.dataset != dataset_of(self.group)

    def rows(self) -> list[ResultRow]:
        """Scores, differences and shares, for each share of the labels.

        Controls have no scores of their own, nor has what the paper's probe reads or what films of nothing hold.
        """
        found: list[ResultRow] = []
        has_scores = not self.by_papers_probe and not self.is_blind
        scored = [name for name in self.scored if has_scores and not name.condition.endswith(_CONTROLS)]
        for part in range(len(FRACTIONS)):
            found += [self._score(name, part) for name in scored]
            for method in METHODS:
                for number in self.done.study.sizes.pairs:
                    found += self._of_pairs(method, number, part)
        return found

    def _of_pairs(self, method: str, number: int, part: int) -> list[ResultRow]:
        """What one method gains from one number of pairs; of what ridge reads off films as they are more is asked."""
        own, equal, none = (subject(method, number, each) for each in (OWN, EQUALLY_ILL, RANDOM_VECTORS))
        found = self._differences([(own, equal)], part)
        if self.is_blind:
            return found
        others = AGAINST.get(method, ()) if self.group == HEADLINE else ()
        if self.by_papers_probe:
            others = tuple(each for each in others if each == PAPER and self.measure == AREA)
        found += self._differences([(own, subject(each, number, OWN)) for each in others], part)
        if self.by_papers_probe:
            return found
        found += self._differences([(each, baseline()) for each in (own, equal, none)], part)
        found += [row for each in others for row in self._more_beyond(method, each, number, part)]
        if self.measure == WITHIN and self.group == HEADLINE and {own, equal} <= self.scored.keys():
            found += [self._of_one(own, equal, part, one) for one in _shared([self.scored[own], self.scored[equal]])]
        if {own, equal, baseline()} <= self.scored.keys():
            found += self._shares(method, number, part)
            is_last = number == self.done.study.sizes.pairs[-1] and part == len(FRACTIONS) - 1
            if method in BY_LABEL and is_last:
                found += [self._difference(own, equal, part, label) for label in LABEL_GROUPS[self.group]]
        return found

    def _more_beyond(self, method: str, other: str, number: int, part: int) -> list[ResultRow]:
        """How much more a method's own pairs add to an equally ill patient's than another's do."""
        four = [subject(each, number, taught) for each in (method, other) for taught in (OWN, EQUALLY_ILL)]
        if not set(four) <= self.scored.keys():
            return []
        gained = _more(*self._macros(four, part))
        return [self._row(more_beyond(self.measure), gained, four, part, called=[four[0], four[2]])]

    def _shares(self, method: str, number: int, part: int) -> list[ResultRow]:
        """What random vectors keep of the gain, and how much of the oracle's is reached; of gains only."""
        own, equal, none = (subject(method, number, each) for each in (OWN, EQUALLY_ILL, RANDOM_VECTORS))
        found = []
        if self.measure == AREA and self.group == HEADLINE and none in self.scored:
            gained, base, kept = self._macros([own, baseline(), none], part)
            if gained[0] - base[0] > _POINT:
                found.append(self._row(SHARE, _kept(kept, gained, base), [none, own], part))
        oracle = [subject(ORACLE, number, each) for each in (OWN, EQUALLY_ILL)]
        if own not in oracle and set(oracle) <= self.scored.keys():
            four = self._macros([own, equal, *oracle], part)
            if four[2][0] - four[3][0] > _POINT:
                found.append(self._row(share_of_oracle(self.measure), _reached(*four), [own, oracle[0]], part))
        return found

    def _differences(self, pairs: Sequence[tuple[Subject, Subject]], part: int) -> list[ResultRow]:
        return [self._difference(*pair, part) for pair in pairs if set(pair) <= self.scored.keys()]

    def _difference(self, first: Subject, second: Subject, part: int, label: str = MACRO) -> ResultRow:
        ours, theirs = self._drawn([first, second], part)
        gain = _macro(ours) - _macro(theirs)
        if label != MACRO:
            gain = (ours - theirs)[:, LABEL_GROUPS[self.group].index(label)]
        return self._row(difference_metric(self.measure), gain, [first, second], part, label)

    def _of_one(self, own: Subject, equal: Subject, part: int, stage_1: int) -> ResultRow:
        """Own minus equally ill of a single Stage 1; its interval speaks of other patients and of no other Stage 1."""
        seed = self.done.study.seed
        ours, theirs = (_over_trainings(self.scored[name], [stage_1], part, seed) for name in (own, equal))
        return self._row(
            difference_metric(self.measure),
            _macro(ours) - _macro(theirs),
            [own, equal],
            part,
            called=[of_stage_1(own, stage_1), of_stage_1(equal, stage_1)],
            num_stage_1=1,
        )

    def _score(self, name: Subject, part: int) -> ResultRow:
        return self._row(self.measure, np.clip(self._macros([name], part)[0], 0.0, 1.0), [name], part)

    def _macros(self, behind: Sequence[Subject], part: int) -> list[Float]:
        """Draws (R,) of the macro score of each."""
        return list(map(_macro, self._drawn(behind, part)))

    def _drawn(self, behind: Sequence[Subject], part: int) -> list[Float]:
        """Draws (R, L) of each, over the Stage 1 seeds that all have."""
        scored = [self.scored[name] for name in behind]
        common = _shared(scored)
        return [_over_trainings(each, common, part, self.done.study.seed) for each in scored]

    def _row(
        self,
        metric: str,
        draws: Float,
        behind: Sequence[Subject],
        part: int,
        label: str = MACRO,
        called: Sequence[Subject] = (),
        num_stage_1: int | None = None,
    ) -> ResultRow:
        """One number of the first subject, against the second where there is one."""
        scored = [self.scored[name] for name in behind]
        names = [_seen(name, by_papers_probe=self.by_papers_probe) for name in called or behind]
        maker = RowMaker(
            protocol=ILLNESS,
            dataset=self.dataset,
            seed=self.done.study.seed,
            provenance=origin(self.remark, [about for one in scored for about in one.abouts]),
            subjects={str(name): name for name in names},
            num_trainings=max(one.num_trainings for one in scored),
        )
        column = Column(str(names[0]), metric, draws, str(names[1]) if names[1:] else "")
        num_probes = self.done.study.sizes.num_probe_seeds[FRACTIONS[part]]
        said = f"{num_stage_1 or len(_shared(scored))} Stage 1 seeds, {num_probes} probe seeds"
        return maker.row(column, draws, label=label, n=self.n, fraction=FRACTIONS[part], remark=said)


def _seen(name: Subject, *, by_papers_probe: bool) -> Subject:
    """A subject as rows call it, by which probe reads it."""
    return replace(name, condition=", ".join(filter(None, (name.condition, PAPERS_PROBE * by_papers_probe))))


def illness_rows(study: IllnessStudy, steps: Sequence[IllnessStep], *, command: str) -> list[ResultRow]:
    """Rows of everything that is done.

    Args:
        study: what the steps share.
        steps: all that leave draws, done or not.
        command: what makes these numbers again.
    """
    done = _Done(study, steps)
    if not done.steps:
        return []
    remark = f"{'REHEARSAL, no result; ' * study.sizes.is_rehearsal}{command}; {study.num_draws} draws"
    rows: list[ResultRow] = []
    for world in dict.fromkeys(step.world for step in done.steps if isinstance(step, ProbedStep)):
        n = len(Pack.open(study.folders.downstream(world)).rows("test"))
        blind = world == BLIND_WORLD  # of which a bar asks one thing
        rows += [
            row
            for group in ((HEADLINE,) if blind else LABEL_GROUPS)
            for reader in ((RIDGE,) if blind else READERS)
            for measure in ((AREA,) if blind else MEASURES)
            for row in _Writer(
                done=done,
                dataset=dataset_of(group, is_blind=blind),
                group=group,
                by_papers_probe=reader == PAPERS_PROBE,
                measure=measure,
                remark=remark,
                n=n,
                scored=done.scored(group, reader, measure, world),
            ).rows()
        ]
    return rows + knowledge_rows(done, remark) + mask_rows(done, remark) + cost_rows(done, remark, HOSPITAL)
