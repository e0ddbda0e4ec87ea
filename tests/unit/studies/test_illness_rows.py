"""Rows of made-up draws: what is compared over which trainings, which shares are told, and how sure an interval is."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pacx.evaluation.results import ResultRow, Subject, write_rows
from pacx.evaluation.statistics.bootstrap import interval, mean_over_seeds
from pacx.reporting.exports import to_markdown
from pacx.reporting.result_rows import Rows
from pacx.simulation.patients.labels import ANATOMICAL, PHYSIOLOGY_DENSE
from studies.illness import masks as illness_masks_module
from studies.illness import rows as illness_rows_module
from studies.illness.bars import bar_table, bars
from studies.illness.design import BLIND_WORLD, IllnessFolders, sizes
from studies.illness.figure import draw_beyond
from studies.illness.names import (
    BOTH,
    CLOSED_FORM,
    EQUALLY_ILL,
    MEASURES,
    OF_MEASURES,
    ORACLE,
    OWN,
    R2,
    RANDOM_VECTORS,
    baseline,
    more_beyond,
    of_stage_1,
    subject,
)
from studies.illness.plan import all_steps
from studies.illness.rows import illness_rows
from studies.illness.steps import READERS, IllnessStudy, key
from studies.illness.tables import (
    against_table,
    beyond_table,
    illness_row,
    knowledge_table,
    label_table,
    mask_table,
    reached_table,
    score_table,
)
from studies.page import main
from studies.stepwise.step import ABOUT

LABELS = {"physiology-dense": PHYSIOLOGY_DENSE, "anatomical": ANATOMICAL}
SHARES_OF_LABELS, NUM_DRAWS = 3, 20
ROUGH = {"mae": 0.60, "acuity": 0.70, OWN: 0.68, EQUALLY_ILL: 0.66, "random vectors": 0.55}


def draws(level: float, num_labels: int, random: np.random.Generator) -> np.ndarray:
    return level + 0.01 * random.standard_normal((SHARES_OF_LABELS, NUM_DRAWS + 1, num_labels))


def leave(study: IllnessStudy, name: str, arrays: dict[str, np.ndarray]) -> None:
    path = study.folders.scores(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    about = json.dumps({"seconds": 1, "processor_seconds": 1, "commit": "abc", "chip": "a chip"})
    np.savez(path, **arrays, **{ABOUT: np.array(about)})


def made_study(out: Path, patch: pytest.MonkeyPatch) -> IllnessStudy:
    patients = np.array([f"p{number}" for number in range(77)])
    told = SimpleNamespace(rows=lambda _: np.arange(77), patient_ids=patients, mask_names=("lung", "heart"))
    for module in (illness_rows_module, illness_masks_module):
        patch.setattr(module, "Pack", SimpleNamespace(open=lambda _: told))
    folders = IllnessFolders(out=out, most_pairs=60)
    return IllnessStudy(folders=folders, sizes=sizes(is_rehearsal=True), seed=0, num_draws=NUM_DRAWS)


def probed(level: float, seed: int, names: tuple[str, ...] = ("",)) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        key(group, reader, measure, name): draws(level, len(labels), random)
        for group, labels in LABELS.items()
        for reader in READERS
        for measure in MEASURES
        for name in names
    }


def counts(inside: int) -> dict[str, np.ndarray]:
    """Of two decoders: so many of 100 pixels of two masks on every one of 77 films are found, and none too many."""
    found = np.full((2, 77, 2), inside)
    return {"intersection": found, "predicted": found, "inside": np.full_like(found, 100), "judged": found + 100}


def of(rows: list[ResultRow], metric: str, first: object, second: object, **more: object) -> ResultRow | None:
    return illness_row(Rows(rows=tuple(rows)), metric, first, second, **more)


def left(study: IllnessStudy) -> list[ResultRow]:
    """Own pairs with three Stage 1 seeds, equally ill ones with the first two and two exchanges each, and an oracle."""
    leave(study, "acuity", probed(ROUGH["acuity"], 5))
    for one in range(3):
        leave(study, f"mae {one}", probed(ROUGH["mae"], 10 + one, ("", BOTH)))
        leave(study, f"closed form 60 own mae {one} seed 0", probed(ROUGH[OWN] + 0.1 * (one == 2), 20 + one))
        leave(study, f"closed form 60 random vectors mae {one} seed 0", probed(0.61, 90 + one))
        leave(study, f"masks mae {one}", counts(90 + one))
        leave(study, f"closed form of ECG measures 60 own mae {one} seed 0", probed(0.71, 100 + one))
        leave(study, f"closed form of ECG measures 60 equally ill mae {one} seed 0", probed(0.66, 110 + one))
        leave(study, f"oracle 60 own mae {one} seed 0", probed(0.75, 50 + one))
        leave(study, f"oracle 60 equally ill mae {one} seed 0", probed(0.70, 60 + one))
        leave(study, f"knowledge films {one}", {R2: np.full((NUM_DRAWS + 1, 28), 0.1 * one), "n": np.array(60)})
    for one in range(2):
        for seed in range(2):
            level = ROUGH[EQUALLY_ILL] + 0.02 * seed
            leave(study, f"closed form 60 equally ill mae {one} seed {seed}", probed(level, 30 + 2 * one + seed))
        leave(study, f"masks Stage 2 60 own mae {one} seed {one}", counts(92 + 3 * one))
    leave(study, f"mae 0 {BLIND_WORLD}", probed(0.5, 130, ("", BOTH)))
    leave(study, f"closed form 60 own mae 0 seed 0 {BLIND_WORLD}", probed(0.52, 131))
    leave(study, f"closed form 60 equally ill mae 0 seed 0 {BLIND_WORLD}", probed(0.51, 132))
    leave(study, "closed form 40 own mae 0 seed 0", probed(0.605, 70))
    leave(study, "closed form 40 random vectors mae 0 seed 0", probed(0.6, 75))
    for seed in range(2):
        leave(study, f"closed form 40 equally ill mae 0 seed {seed}", probed(0.6, 80 + seed))
    return illness_rows(study, all_steps(study, (0, 1, 2), (0, 1)), command="python -m studies.illness")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> list[ResultRow]:
    with pytest.MonkeyPatch.context() as patch:
        return left(made_study(tmp_path_factory.mktemp("illness"), patch))


def test_a_difference_is_over_the_stage_1_seeds_that_both_sides_have(done: list[ResultRow]) -> None:
    own, equal = (subject(CLOSED_FORM, 60, taught) for taught in (OWN, EQUALLY_ILL))
    found = of(done, "auroc_difference", own, equal)
    seeds = [probed(ROUGH[OWN], 20 + one)["physiology-dense|ridge|auroc"] for one in range(2)]
    others = [
        np.mean(
            [
                probed(ROUGH[EQUALLY_ILL] + 0.02 * seed, 30 + 2 * one + seed)["physiology-dense|ridge|auroc"]
                for seed in range(2)
            ],
            axis=0,
        )
        for one in range(2)
    ]
    expected = np.mean(seeds, axis=0)[2, 0].mean() - np.mean(others, axis=0)[2, 0].mean()
    assert found is not None
    assert found.value == pytest.approx(expected, abs=1e-9)
    assert "2 Stage 1 seeds" in found.provenance
    over_mae = of(done, "auroc_difference", own, baseline())
    assert over_mae is not None
    assert over_mae.value > 0.1  # here the third Stage 1, which is better, counts
    assert over_mae.num_trainings == 3


def test_with_a_single_stage_1_its_stage_2_seeds_are_drawn(done: list[ResultRow]) -> None:
    own, equal = (subject(CLOSED_FORM, 40, taught) for taught in (OWN, EQUALLY_ILL))
    found = of(done, "auroc_difference", own, equal)
    assert found is not None
    assert "1 Stage 1 seeds" in found.provenance


def test_each_stage_1_has_a_row_of_its_own(done: list[ResultRow]) -> None:
    own, equal = (subject(CLOSED_FORM, 60, taught) for taught in (OWN, EQUALLY_ILL))
    metric = "auroc_within_tenths_difference"
    each = [of(done, metric, of_stage_1(own, one), of_stage_1(equal, one)) for one in range(3)]
    assert each[2] is None
    known = [row.value for row in each if row is not None]
    together = of(done, metric, own, equal)
    assert together is not None
    assert np.mean(known) == pytest.approx(together.value, abs=1e-9)


def test_shares_are_told_of_gains_only(done: list[ResultRow]) -> None:
    own, oracle = subject(CLOSED_FORM, 60, OWN), subject(ORACLE, 60, OWN)
    reached = of(done, "share_of_oracle", own, oracle)
    assert reached is not None
    assert reached.value == pytest.approx(0.01 / 0.05, abs=0.15)
    little = of(done, "share_of_gain", subject(CLOSED_FORM, 40, RANDOM_VECTORS), subject(CLOSED_FORM, 40, OWN))
    gain = of(done, "auroc_difference", subject(CLOSED_FORM, 40, OWN), baseline())
    assert gain is not None
    assert (little is None) == (gain.value <= 0.01)


def test_random_vectors_have_a_share_of_the_gain_too(done: list[ResultRow]) -> None:
    own, none = subject(CLOSED_FORM, 60, OWN), subject(CLOSED_FORM, 60, RANDOM_VECTORS)
    kept = of(done, "share_of_gain", none, own)
    gain, theirs = (of(done, "auroc_difference", each, baseline()) for each in (own, none))
    assert kept is not None
    assert gain is not None
    assert theirs is not None
    assert kept.value == pytest.approx(theirs.value / gain.value, abs=1e-9)


def test_how_much_more_one_method_adds_than_another_is_a_difference_of_two_differences(done: list[ResultRow]) -> None:
    ours, theirs = subject(OF_MEASURES, 60, OWN), subject(CLOSED_FORM, 60, OWN)
    more = of(done, more_beyond("auroc"), ours, theirs)
    assert more is not None
    assert "2 Stage 1 seeds" in more.provenance  # the other's control has two
    expected = sum(
        sign * np.mean([probed(level, start + one)["physiology-dense|ridge|auroc"][2, 0].mean() for one in range(2)])
        for sign, level, start in ((1, 0.71, 100), (-1, 0.66, 110), (-1, ROUGH[OWN], 20))
    )
    equal = np.mean(
        [
            probed(ROUGH[EQUALLY_ILL] + 0.02 * seed, 30 + 2 * one + seed)["physiology-dense|ridge|auroc"][2, 0].mean()
            for one in range(2)
            for seed in range(2)
        ]
    )
    assert more.value == pytest.approx(expected + equal, abs=1e-6)


def test_films_that_show_nothing_have_rows_of_their_own(done: list[ResultRow]) -> None:
    own, equal = (subject(CLOSED_FORM, 60, taught) for taught in (OWN, EQUALLY_ILL))
    blind, real = (of(done, "auroc_difference", own, equal, is_blind=is_blind) for is_blind in (True, False))
    assert blind is not None
    assert real is not None
    assert blind.value == pytest.approx(0.01, abs=0.015)
    assert blind.value != real.value
    assert of(done, "auroc", subject(ORACLE, 60, OWN), None, is_blind=True) is None


def test_outlines_are_compared_over_the_stage_1_seeds_that_all_have(done: list[ResultRow]) -> None:
    own = subject("Stage 2", 60, OWN)
    found = {row.label: row for row in done if row.subject == str(own) and row.metric == "iou_difference"}
    assert list(found) == ["lung", "heart"]
    assert found["lung"].value == pytest.approx(0.03)  # 2 points with the first Stage 1, 4 with the second
    assert found["lung"].contrast == "mae"
    assert "2 Stage 1 seeds" in found["lung"].provenance


def made(
    metric: str, value: float, low: float, high: float, first: Subject, second: Subject, **more: object
) -> ResultRow:
    fields = {
        "protocol": "illness", "dataset": "simulated hospital, physiology-dense", "label": "macro", "n": 77, "seed": 0,
        "fraction": 1.0, "provenance": "made up",
    } | more  # fmt: skip
    return ResultRow(
        metric=metric, value=value, ci_low=low, ci_high=high, encoder=first.encoder, condition=first.condition,
        contrast=str(second), **fields,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("value", "low", "high", "verdict"),
    [(0.016, 0.001, 0.03, "met"), (0.016, -0.001, 0.03, "MISSED"), (0.014, 0.01, 0.02, "MISSED")],
)
def test_a_bar_is_met_by_a_value_and_an_interval(value: float, low: float, high: float, verdict: str) -> None:
    own, equal = (subject(CLOSED_FORM, 3000, taught) for taught in (OWN, EQUALLY_ILL))
    rows = Rows(rows=(made("auroc_within_tenths_difference", value, low, high, own, equal),))
    first = bars(rows)[0]
    assert first.asked.startswith("closed form, 3,000 pairs")
    assert [each and each.value for each in first.verdicts] == [None, None, verdict]
    assert verdict in to_markdown(bar_table(rows))


def test_bars_of_shares_and_of_nothing(done: list[ResultRow]) -> None:
    closed, best = subject(CLOSED_FORM, 10000, OWN), subject(ORACLE, 10000, OWN)
    rows = [made("share_of_oracle", 0.55, 0.4, 0.7, closed, best)]
    own, equal = (subject(CLOSED_FORM, 900, taught) for taught in (OWN, EQUALLY_ILL))
    where = "simulated hospital, films of nothing, physiology-dense"
    rows.append(made("auroc_difference", 0.002, -0.003, 0.006, own, equal, dataset=where))
    found = {bar.asked: [each and each.value for each in bar.verdicts] for bar in bars(Rows(rows=tuple(rows)))}
    assert [verdicts for asked, verdicts in found.items() if "half of the oracle" in asked] == [[None, None, "open"]]
    nothing = [verdicts for asked, verdicts in found.items() if "show nothing" in asked]
    assert nothing[0] == [None, None, "met"]


def test_tables_picture_and_page_are_made_of_rows(done: list[ResultRow], tmp_path: Path) -> None:
    rows = Rows(rows=tuple(done))
    assert "closed form, 60 pairs" in to_markdown(beyond_table(rows, MEASURES[1], by_papers_probe=True))
    assert "acuity itself, no film" in to_markdown(score_table(rows, MEASURES[0], by_papers_probe=False))
    assert "closed form, 60 pairs" in to_markdown(reached_table(rows, MEASURES[0], by_papers_probe=False))
    assert "less closed form: own minus equally ill" in to_markdown(against_table(rows, MEASURES[0]))
    assert "| Stage 2 (60 pairs, own) | 0.935" in to_markdown(mask_table(rows))
    assert "| heart failure |" in to_markdown(label_table(rows))
    assert "0.10 [" in to_markdown(knowledge_table(rows))
    assert draw_beyond(rows) == draw_beyond(rows)
    write_rows(tmp_path / "rows.json", done)
    (tmp_path / "rows.md.j2").write_text(
        '{{ illness("beyond", "auroc_within_tenths") }}{{ beyond("closed form", 60, 1.0) }} {{ knowledge() }}'
    )
    picture = tmp_path / "picture.png"
    main([str(tmp_path / "rows.json"), "--out", str(tmp_path / "page.md"), "--illness-picture", str(picture)])
    assert "closed form, 60 pairs" in (tmp_path / "page.md").read_text()
    assert picture.read_bytes() == draw_beyond(rows)


def test_rows_without_steps_are_none_and_tables_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = made_study(tmp_path, monkeypatch)
    assert illness_rows(study, all_steps(study, (0,), (0,)), command="x") == []
    assert beyond_table(Rows(rows=()), MEASURES[0], by_papers_probe=False).rows == ()


def test_drawing_stage_1_alone_holds_for_what_is_nested_in_it() -> None:
    """Nominal 95 % over three Stage 1, three Stage 2 each, both of equal spread; patients have none."""
    random, held = np.random.default_rng(0), 0
    for _ in range(300):
        outer = random.standard_normal((3, 1)) + random.standard_normal((3, 3))  # (A, B) about 0
        each = np.repeat(outer.mean(axis=1)[:, None, None], 201, axis=1)
        low, high = interval(mean_over_seeds(each, seed=1)[:, 0])[1:]
        held += low <= 0 <= high
    assert held / 300 > 0.9
