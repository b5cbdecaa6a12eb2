"""Fréchet distance and rank metrics: closed forms, invariances, ties, what has no rank."""

from __future__ import annotations

import math

import pytest
import torch

from kernelwright.errors import ZooInvalid
from kernelwright.zoo.common import frechet_distance, kendall, recall_at, spearman


def _root(m: torch.Tensor) -> torch.Tensor:
    values, vectors = torch.linalg.eigh(m)
    return vectors * values.clamp(min=0).sqrt() @ vectors.T


def test_frechet_is_the_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(50, 4, generator=generator).double()
    y = torch.randn(70, 4, generator=generator).double() @ torch.randn(4, 4, generator=generator).double() + 1
    left, right = torch.cov(x.T), torch.cov(y.T)
    cross = _root(_root(left) @ right @ _root(left))
    expected = (x.mean(0) - y.mean(0)).square().sum() + torch.trace(left + right - 2 * cross)
    assert frechet_distance(x, y) == pytest.approx(float(expected), rel=1e-9)
    assert frechet_distance(y, x) == pytest.approx(float(expected), rel=1e-9)


def test_frechet_of_shifts_and_of_fewer_rows_than_features() -> None:
    x = torch.randn(10, 40, generator=torch.Generator().manual_seed(1)).double()
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(x, x + 2) == pytest.approx(4 * 40, rel=1e-9)
    assert frechet_distance(x, 3 * x) == pytest.approx(float(4 * (torch.cov(x.T).trace() + (x.mean(0) ** 2).sum())))


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (torch.zeros(1, 2), torch.zeros(3, 2)),
        (torch.zeros(3), torch.zeros(3, 2)),
        (torch.zeros(3, 2), torch.zeros(3, 3)),
        (torch.zeros(3, 2), torch.full((3, 2), math.nan)),
    ],
)
def test_frechet_refuses(x: torch.Tensor, y: torch.Tensor) -> None:
    with pytest.raises(ZooInvalid):
        frechet_distance(x, y)


@pytest.mark.parametrize("measure", [kendall, spearman])
def test_ranks_know_order_alone(measure: object) -> None:
    assert callable(measure)
    a = torch.randn(40, generator=torch.Generator().manual_seed(0))
    assert measure(a, a.exp()) == pytest.approx(1)
    assert measure(a, -(a**3)) == pytest.approx(-1)
    assert math.isnan(measure(a, torch.ones(40)))
    for b in (torch.full((40,), math.nan), a[:3], a[:, None]):
        with pytest.raises(ZooInvalid):
            measure(a, b)


def test_kendall_and_spearman_by_hand() -> None:
    a, b = torch.tensor([1, 2, 3, 4]), torch.tensor([2, 1, 4, 3])
    assert kendall(a, b) == pytest.approx((4 - 2) / 6)
    assert spearman(a, b) == pytest.approx(1 - 6 * 4 / (4 * 15))
    tied = torch.tensor([1, 1, 2, 3])  # one of six pairs tied: tau-b divides by sqrt(6 * 5)
    assert kendall(a, tied) == pytest.approx(5 / math.sqrt(30))


def test_recall() -> None:
    scores = torch.tensor([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0]])
    relevant = torch.tensor([[False, True, False], [True, False, False]])
    assert [recall_at(scores, relevant, k) for k in (1, 2, 3)] == [0, 0.5, 1]
    for bad in ((scores[0], relevant[0], 1), (scores, relevant, 0), (scores, relevant, 4)):
        with pytest.raises(ZooInvalid):
            recall_at(*bad)
