"""Sums of products in their cheapest order: the value stays, the work goes, and what is not finite stays so."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from kernelwright.compiler.capture import capture
from kernelwright.compiler.fuse import fuse
from kernelwright.compiler.interpret import interpret
from kernelwright.compiler.lower import lower
from kernelwright.compiler.program import Program, Reduce, condition, statement_exprs

from .oracle import bound, check

nn, F = torch.nn, torch.nn.functional
r = torch.randn

CHEAPER: dict[str, tuple[Any, tuple[torch.Tensor, ...]]] = {
    "a sum over features": (lambda x, w, b: F.linear(x, w, b).sum(-1), (r(24, 40), r(64, 40), r(64))),
    "a mean, then what is not linear": (
        lambda x, w, b: torch.relu(F.linear(x, w, b).mean(1, keepdim=True)) + x,
        (r(24, 40), r(64, 40), r(64)),
    ),
    "a sum over rows": (lambda x, w: (x @ w).sum(0), (r(64, 40), r(40, 64))),
    "scalings in between": (
        lambda x, w, b, s: ((F.linear(x, w, b) / 2 - s) * 1.5).sum(2),
        (r(6, 8, 40), r(64, 40), r(64), r(6, 8, 1)),
    ),
    "weights along the sum": (lambda x, w, s: (F.linear(x, w) * s / (1 + s * s)).sum(1), (r(24, 40), r(64, 40), r(64))),
    "an average over positions": (
        lambda x, w, b: F.adaptive_avg_pool2d(F.conv2d(x, w, b, padding=1, stride=2), 1).flatten(1),
        (r(2, 8, 12, 12), r(12, 8, 3, 3), r(12)),
    ),
    "a product with a vector at last": (lambda a, b, v: (a @ b) @ v, (r(64, 32), r(32, 64), r(64))),
    "three products": (lambda a, b, c, v: ((a @ b) @ c) @ v, (r(40, 40), r(40, 40), r(40, 40), r(40, 1))),
    "products of many letters": (
        lambda a, b, c: torch.einsum("bij,bjk,bkl->bil", a, b, c),
        (r(2, 48, 24), r(2, 24, 48), r(2, 48, 2)),
    ),
    "attention without a softmax": (
        lambda q, k, v: (q @ k.mT / 4) @ v,
        (r(2, 96, 8), r(2, 96, 8), r(2, 96, 8)),
    ),
    "dropout that drops nothing": (
        lambda x, w: F.dropout(x @ w, 0.5, training=False).sum(1),
        (r(64, 40), r(40, 64)),
    ),
}  # fmt: skip


def points(program: Program, *, rare: bool) -> int:
    """The points of all statements, of those that always happen or of all."""
    total = 0
    for statement in program.statements:
        if rare or not condition(statement):
            sizes = [int(a.size) for a in (*getattr(statement, "axes", ()), *getattr(statement, "raxes", ()))]
            total += int(torch.tensor(sizes).prod())
    return total


@pytest.mark.parametrize("name", CHEAPER)
def test_the_cheapest_order_is_taken(name: str) -> None:
    fn, args = CHEAPER[name]
    fused = check(fn, *args)
    always, written = points(fused, rare=False), points(lower(capture(fn, args)), rare=True)
    assert always < 0.5 * written


@pytest.mark.parametrize("name", CHEAPER)
@pytest.mark.parametrize("special", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_stays_as_written(name: str, special: float) -> None:
    fn, given = CHEAPER[name]
    for position in range(len(given)):
        args = tuple(a.clone() for a in given)
        args[position].view(-1)[args[position].numel() // 2] = special
        captured = capture(fn, args)
        program = lower(captured)
        got = interpret(fuse(program), bound(captured, program, fn, args))[program.outputs[0]]
        torch.testing.assert_close(got, fn(*args), equal_nan=True, rtol=1e-3, atol=1e-3)


def test_what_others_read_is_computed_as_written() -> None:
    fused = check(lambda x, w: (x @ w, (x @ w).sum(1)), r(64, 40), r(40, 64))
    assert not any(condition(s) for s in fused.statements)


def test_nothing_moves_through_what_is_not_linear() -> None:
    fused = check(lambda x, w: torch.relu(x @ w).sum(1), r(64, 40), r(40, 64))
    assert not any(condition(s) for s in fused.statements)


def test_a_good_order_stays() -> None:
    fused = check(lambda x, a, b: (x @ a) @ b, r(64, 64), r(64, 4), r(4, 64))
    assert not any(condition(s) for s in fused.statements)
    assert sum(isinstance(s, Reduce) for s in fused.statements) == 2


def test_the_same_sum_of_weights_is_taken_once() -> None:
    fused = check(lambda x, y, w: (F.linear(x, w).sum(1), F.linear(y, w).sum(1)), r(64, 40), r(80, 40), r(64, 40))
    always = [s for s in fused.statements if not condition(s)]
    assert sum("arg2" in {n.tensor for e in statement_exprs(s) for n in e.walk() if hasattr(n, "tensor")}
               for s in always) == 1  # fmt: skip
