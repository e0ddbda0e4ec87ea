"""Partial pairs and patients with several films: against loops over pairs, and several devices against one."""

import math
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from pacx.objectives.contrastive import ContrastiveConfig, info_nce
from pacx.objectives.cosine import cosine_distance
from pacx.objectives.multilinear import MultilinearConfig
from pacx.objectives.objective import FilmFeatures, Objective, PairedTargets
from pacx.objectives.regression import RegressionConfig
from pacx.objectives.token_regression import TokenRegressionConfig

START = torch.tensor(math.log(1 / 0.07), dtype=torch.float64)
WIDTHS = {"ecg": 12, "labs": 6}
NUM_FILMS = 12
PATIENTS = torch.tensor([0, 1, 2, 0, 4, 5, 6, 2, 8, 9, 10, 0])
OBSERVED = {
    "ecg": torch.tensor([1, 1, 0, 1, 1, 0, 1, 1, 0, 0, 0, 1]).bool(),
    "labs": torch.tensor([1, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0]).bool(),
}


def film(embedding: torch.Tensor) -> FilmFeatures:
    return FilmFeatures(embedding, torch.stack([embedding, embedding.sin(), embedding.cos()], dim=1))


def draw(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow_info_nce(
    image: torch.Tensor, target: torch.Tensor, observed: list[bool], patients: list[int], smoothing: float
) -> float:
    """Every query against its own candidates, one at a time."""
    image, target = (x / x.norm(dim=1, keepdim=True) for x in (image, target))
    similarity = (image @ target.T / 0.07).tolist()
    films, losses = range(len(observed)), []
    for own in films:
        if not observed[own]:
            continue
        for direction in ("image asks", "target asks"):
            candidates = [j for j in films if j == own or patients[j] != patients[own]]
            if direction == "image asks":
                candidates = [j for j in candidates if observed[j]]
                scores = {j: similarity[own][j] for j in candidates}
            else:
                scores = {j: similarity[j][own] for j in candidates}
            log_sum = math.log(sum(math.exp(score) for score in scores.values()))
            hard = log_sum - scores[own]
            spread = sum(log_sum - score for score in scores.values()) / len(scores)
            losses.append((1 - smoothing) * hard + smoothing * spread)
    return sum(losses) / len(losses)


@pytest.mark.parametrize("smoothing", [0.0, 0.02])
@pytest.mark.parametrize("modality", WIDTHS)
def test_each_query_meets_its_own_candidates(modality: str, smoothing: float):
    image, target = draw(NUM_FILMS, 5, seed=0), draw(NUM_FILMS, 5, seed=1)
    ours = info_nce(image, target, START, label_smoothing=smoothing, observed=OBSERVED[modality], patients=PATIENTS)
    slow = slow_info_nce(image, target, OBSERVED[modality].tolist(), PATIENTS.tolist(), smoothing)
    assert ours.item() == pytest.approx(slow, rel=1e-12)


def test_what_is_not_observed_has_no_part():
    image, target = draw(NUM_FILMS, 5, seed=0), draw(NUM_FILMS, 5, seed=1).requires_grad_()
    observed = OBSERVED["ecg"]
    options = {"label_smoothing": 0.02, "observed": observed, "patients": PATIENTS}
    loss = info_nce(image, target, START, **options)
    loss.backward()
    assert target.grad is not None
    assert (target.grad[~observed] == 0).all()
    other = torch.where(observed[:, None], target.detach(), draw(NUM_FILMS, 5, seed=9))
    assert info_nce(image, other, START, **options).item() == loss.item()


def test_a_film_alone_is_still_one_of_those_a_target_has_to_choose_from():
    image, target = draw(4, 5, seed=0).requires_grad_(), draw(4, 5, seed=1)
    observed = torch.tensor([True, True, False, False])
    info_nce(image, target, START, label_smoothing=0.0, observed=observed).backward()
    assert image.grad is not None
    assert (image.grad[2:].abs().sum(1) > 0).all()


@pytest.mark.parametrize(
    ("observed", "patients"),
    [([False] * 3, [0, 1, 2]), ([True] * 3, [7, 7, 7]), ([True, False, False], [7, 7, 7])],
)
def test_nothing_to_tell_apart_costs_nothing_and_moves_nothing(observed: list[bool], patients: list[int]):
    image, target = draw(3, 5, seed=0).requires_grad_(), draw(3, 5, seed=1).requires_grad_()
    loss = info_nce(
        image, target, START, label_smoothing=0.02,
        observed=torch.tensor(observed), patients=torch.tensor(patients),
    )  # fmt: skip
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-12)
    for tensor in (image, target):
        assert tensor.grad is not None
        assert tensor.grad.abs().max() < 1e-12


def test_a_batch_of_one_is_defined():
    image, target = draw(1, 5, seed=0), draw(1, 5, seed=1)
    assert info_nce(image, target, START, label_smoothing=0.02).item() == pytest.approx(0, abs=1e-12)


def objectives() -> list[Objective]:
    configs = (
        ContrastiveConfig(shared_dim=8),
        RegressionConfig(),
        MultilinearConfig(shared_dim=8),
        TokenRegressionConfig(attention_dim=4),
    )
    return [config.build(10, WIDTHS, seed=number).double() for number, config in enumerate(configs)]


def batch(*, is_partial: bool, rows: slice = slice(None)) -> tuple[torch.Tensor, PairedTargets]:
    values = {name: draw(NUM_FILMS, width, seed=20 + width) for name, width in WIDTHS.items()}
    everyone = torch.ones(NUM_FILMS, dtype=torch.bool)
    observed = OBSERVED if is_partial else dict.fromkeys(WIDTHS, everyone)
    patients = PATIENTS if is_partial else torch.arange(NUM_FILMS)
    values, observed = ({name: table[rows] for name, table in tables.items()} for tables in (values, observed))
    return draw(NUM_FILMS, 10, seed=10)[rows].requires_grad_(), PairedTargets(values, observed, patients[rows])


def test_regression_averages_over_the_films_that_have_the_target():
    module = objectives()[1]
    embedding, targets = batch(is_partial=True)
    expected = [
        cosine_distance(head(embedding)[OBSERVED[name]], targets.values[name][OBSERVED[name]]).mean()
        for name, head in module.heads.items()
    ]
    torch.testing.assert_close(module(film(embedding), targets).loss, torch.stack(expected).mean())


def test_a_modality_nobody_in_the_batch_has_does_not_dilute_the_others():
    embedding, targets = batch(is_partial=True, rows=slice(8, 12))  # nobody has labs
    contrastive, regression, _, token_regression = objectives()
    for module in (contrastive, regression, token_regression):
        output = module(film(embedding), targets)
        (of_ecg,) = (value for name, value in output.metrics.items() if name.endswith("_ecg"))
        torch.testing.assert_close(output.loss.detach(), of_ecg)
        output.loss.backward()
        assert all(parameter.grad is not None for parameter in module.parameters())  # DDP waits for every one


def test_nobody_has_every_modality():
    embedding, targets = batch(is_partial=True, rows=slice(8, 12))
    multilinear = objectives()[2]
    loss = multilinear(film(embedding), targets).loss
    loss.backward()
    assert loss.item() == 0
    assert all((parameter.grad == 0).all() for parameter in multilinear.parameters())


def _one_of_many(rank: int, world_size: int, out: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{out}/meet", rank=rank, world_size=world_size)
    share = NUM_FILMS // world_size
    rows = slice(share * rank, share * (rank + 1))
    for is_partial in (False, True):
        embedding, targets = batch(is_partial=is_partial, rows=rows)
        modules = objectives()
        losses = torch.stack([module(film(embedding), targets).loss for module in modules])
        losses.sum().backward()
        gradients = [parameter.grad for module in modules for parameter in module.parameters()]
        alone = [module.eval()(film(embedding), targets).loss.item() for module in modules]
        torch.save((losses.detach(), embedding.grad, gradients, alone), f"{out}/{is_partial}-{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize("world_size", [2, 3])
def test_several_devices_give_the_loss_and_gradient_of_one(world_size: int, tmp_path: Path):
    mp.get_context("forkserver").set_forkserver_preload(["pacx.objectives.multilinear"])  # imports torch once
    mp.start_processes(_one_of_many, (world_size, str(tmp_path)), world_size, start_method="forkserver")
    share = NUM_FILMS // world_size
    for is_partial in (False, True):
        results = [torch.load(tmp_path / f"{is_partial}-{rank}.pt", weights_only=True) for rank in range(world_size)]
        embedding, targets = batch(is_partial=is_partial)
        modules = objectives()
        losses = torch.stack([module(film(embedding), targets).loss for module in modules])
        losses.sum().backward()
        torch.testing.assert_close(torch.stack([result[0] for result in results]).mean(0), losses.detach())
        assert embedding.grad is not None
        for rank, (_, their_gradient, _, alone) in enumerate(results):
            rows = slice(share * rank, share * (rank + 1))
            torch.testing.assert_close(their_gradient / world_size, embedding.grad[rows])  # as DDP divides
            own = batch(is_partial=is_partial, rows=rows)
            assert alone == pytest.approx(
                [module.eval()(film(own[0]), own[1]).loss.item() for module in modules], rel=1e-12
            )
        for number, parameter in enumerate(parameter for module in modules for parameter in module.parameters()):
            averaged = sum(result[2][number] for result in results) / world_size
            torch.testing.assert_close(averaged, parameter.grad)
