"""Symile's objective against a loop over candidates, the pairwise loss, and what only three modalities know."""

import math

import pytest
import torch

from pacx.core.errors import UsageError
from pacx.objectives.contrastive import info_nce
from pacx.objectives.multilinear import MultilinearConfig, multilinear_info_nce

START = torch.tensor(math.log(1 / 0.07), dtype=torch.float64)


def draw(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow(vectors: list[torch.Tensor], patients: list[int], scale: float) -> float:
    unit = [(x / x.norm(dim=1, keepdim=True)).tolist() for x in vectors]
    batch, width = len(unit[0]), len(unit[0][0])
    factor = scale * width ** ((len(unit) - 2) / 2)
    total = 0.0
    for query in range(len(unit)):
        others = [number for number in range(len(unit)) if number != query]
        for row in range(batch):

            def score(rows: list[int], query: int = query, row: int = row, others: list[int] = others) -> float:
                product = 0.0
                for axis in range(width):
                    term = unit[query][row][axis]
                    for other, where in zip(others, rows, strict=True):
                        term *= unit[other][where][axis]
                    product += term
                return factor * product

            scores = [score([row] * len(others))]
            for j in range(batch):
                rows = [(j + shift) % batch for shift in range(len(others))]
                if all(patients[where] != patients[row] for where in rows):
                    scores.append(score(rows))
            total += math.log(sum(math.exp(value) for value in scores)) - scores[0]
    return total / (batch * len(unit))


@pytest.mark.parametrize("num_modalities", [2, 3, 4])
@pytest.mark.parametrize("patients", [[0, 1, 2, 3, 4, 5, 6], [0, 1, 1, 3, 0, 5, 6]])
def test_equals_a_loop_over_candidates(num_modalities: int, patients: list[int]):
    vectors = [draw(7, 5, seed=seed) for seed in range(num_modalities)]
    ours = multilinear_info_nce(vectors, START, patients=torch.tensor(patients))
    assert ours.item() == pytest.approx(slow(vectors, patients, 1 / 0.07), rel=1e-12)


def test_two_modalities_give_the_pairwise_loss():
    vectors = [draw(6, 4, seed=0), draw(6, 4, seed=1)]
    ours = multilinear_info_nce(vectors, START, patients=torch.arange(6))
    torch.testing.assert_close(ours, info_nce(*vectors, START, label_smoothing=0.0))


def test_one_patient_alone_has_nothing_to_tell_apart():
    vectors = [draw(3, 4, seed=seed) for seed in range(3)]
    assert multilinear_info_nce(vectors, START, patients=torch.zeros(3, dtype=torch.long)).item() == 0


def test_sees_what_no_two_modalities_share():
    """Signs whose product is always one: any two are independent, the third follows from both."""
    film, ecg = draw(64, 16, seed=0).sign(), draw(64, 16, seed=1).sign()
    labs = film * ecg
    joint = multilinear_info_nce([film, ecg, labs], START, patients=torch.arange(64))
    for pair in ((film, ecg), (film, labs), (ecg, labs)):
        assert info_nce(*pair, START, label_smoothing=0.0) > math.log(64)
    assert joint < 0.05 * math.log(64)


def test_needs_two_modalities_beside_the_film():
    with pytest.raises(UsageError, match="at least two"):
        MultilinearConfig().build(10, {"ecg": 12}, seed=0)
