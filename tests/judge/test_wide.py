"""A reference in 106 bits: right where float64 loses its digits, float64's own elsewhere, whatever its program does."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from torch.nn import functional as F

from kernelwright.judge import Session
from kernelwright.judge._wide import Wide
from kernelwright.targets import Candidate
from kernelwright.task import from_callable


def wide(function: Callable[..., torch.Tensor], *args: torch.Tensor) -> torch.Tensor:
    with torch.no_grad(), Wide():
        return function(*args)


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


def test_sums_that_cancel() -> None:
    x = normal(1000)
    terms = torch.cat([1e12 * x, -1e12 * x, 1e-5 * x])
    exactly = float(sum(map(Fraction, terms.tolist()), Fraction(0)))
    assert wide(torch.sum, terms).item() == pytest.approx(exactly, rel=1e-13)
    assert terms.sum().item() != pytest.approx(exactly, rel=1e-3)


@pytest.mark.parametrize(
    ("function", "honest"),
    [
        (lambda x: (x + 1e8) - 1e8, lambda x: x),
        (lambda x: (x * 1e-9).exp() - 1.0, lambda x: torch.expm1(x * 1e-9)),
        (lambda x: (1.0 + x * 1e-9).log(), lambda x: torch.log1p(x * 1e-9)),
        (lambda x: (1.0 + x * 1e-9).square() - 1.0, lambda x: x * 2e-9 + (x * 1e-9).square()),
        (lambda x: (1.0 + x * 1e-9).var(1), lambda x: (x * 1e-9).var(1)),
        (lambda x: x.clone().add_(1e10).sub_(1e10), lambda x: x),
        (lambda x: torch.cat([x, x + 1e10])[len(x) :] - 1e10, lambda x: x),
        (lambda x: F.pad(x.t() + 1e10, (1, 1), value=1e10).t()[1:-1] - 1e10, lambda x: x),
        (lambda x: (1e10 + x @ x.t()) - 1e10, lambda x: wide(torch.mm, x, x.t())),
    ],
    ids=["shift", "exp", "log", "square", "variance", "in-place", "cat", "pad", "product"],
)
def test_digits_survive(function: Callable[..., torch.Tensor], honest: Callable[..., torch.Tensor]) -> None:
    x = normal(6, 30)
    torch.testing.assert_close(wide(function, x), honest(x), rtol=1e-12, atol=0.0)
    assert not torch.allclose(function(x), honest(x), rtol=1e-10, atol=0.0)


def test_functions_without_a_rule_pass_digits_on() -> None:
    x = normal(6, 30)
    honest = math.sin(1e10) * x.cos() + math.cos(1e10) * x.sin()
    errors = [(f - honest).abs().max().item() for f in (wide(lambda t: torch.sin(t + 1e10), x), torch.sin(x + 1e10))]
    assert errors[0] < errors[1] / 100


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.layer_norm(x, (30,)),
        lambda x: F.softmax(x, -1),
        lambda x: F.gelu(x).round().floor(),
        lambda x: F.max_pool1d(x[None], 2)[0],
        lambda x: (
            F.conv1d(x[None], x[None, :2, :3].transpose(0, 1), groups=2, padding=1)
            if x.shape[0] == 4
            else F.conv1d(x[None], x[None, :, :3], padding=1)
        ),
        lambda x: x.sort().values.cumsum(-1),
        lambda x: torch.where(x > 0, x, 0.0).masked_fill(x < -1, 1),
        lambda x: x[:0].sum(0) + x[:0].mean(0).nan_to_num(),
        lambda x: (x / 0.0) @ x.t(),
        lambda x: x.float().double() + x.to(torch.int64),
        lambda x: F.scaled_dot_product_attention(x[None], x[None], x[None]),
        lambda x: torch.linalg.vector_norm(x, 1, dim=1) + x.norm(dim=1) + x.prod(1),
    ],
)
def test_everything_else_is_float64s(function: Callable[..., torch.Tensor]) -> None:
    x = normal(6, 30)
    plain, found = function(x), wide(function, x)
    torch.testing.assert_close(found, plain, rtol=1e-12, atol=1e-13, equal_nan=True)
    assert found.stride() == plain.stride()


def test_a_verdict_says_when_the_oracle_has_more_digits(home: None) -> None:
    """In float64 as in float32: a better sum than the reference's is right, and a dropped term is wrong."""

    def centred(x: torch.Tensor) -> torch.Tensor:
        return (x * x).mean(1) - x.mean(1).square()

    better = "class ModelNew(torch.nn.Module):\n    def forward(self, x):\n        return x.var(1, unbiased=False)\n"
    worse = better.replace("x.var", "x[:, 1:].var")
    task = from_callable(centred, (normal(64, 500) + 3.0,), name="centred")
    with Session(task, time_limit=20.0) as session:
        for body, status in ((better, "accepted"), (worse, "rejected")):
            verdict = session.verify(Candidate("python", "test", f"import torch\n{body}", None, label="test"))
            assert verdict.status == status, verdict.reason
            assert any("106 bits" in note for note in verdict.notes) == (status == "accepted")
    easy = from_callable(torch.relu, (normal(64, 500).float(),), name="easy")
    with Session(easy, time_limit=20.0) as session:
        assert not session.verify(Candidate("eager", "baseline", "", None, label="eager")).notes
