"""Concatenations and slices cost nothing: their one reader reads the pieces, and only what is read is computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from kernelwright.compiler import emit, prepare
from kernelwright.compiler.fuse import is_product
from kernelwright.compiler.program import Program, Reduce
from kernelwright.targets import load

from .oracle import check

F = torch.nn.functional
r = torch.randn
cat = torch.cat


def temporaries(program: Program) -> int:
    return sum(t.role == "temp" for t in program.tensors.values())


@pytest.mark.parametrize(
    ("fn", "args", "temps", "products"),
    [
        (lambda a, b, w: cat([a, b], -1) @ w, (r(8, 32), r(8, 16), r(48, 6)), 1, 2),
        (
            lambda a, b, c, w, v: F.linear(cat([a, b, c], 1), w, v).relu(),
            (r(8, 32), r(8, 1), r(8, 20), r(6, 53), r(6)),
            2,
            3,
        ),
        (lambda a, b, w: cat([a, b], 0) @ w, (r(8, 32), r(3, 32), r(32, 40)), 0, 2),
        (lambda a, b, w: w @ cat([a, b], 1), (r(8, 32), r(8, 16), r(5, 8)), 0, 2),
        (
            lambda a, b, w: F.conv2d(cat([a, b], 1), w, padding=1),
            (r(2, 5, 7, 7), r(2, 12, 7, 7), r(3, 17, 3, 3)),
            1,
            2,
        ),
        (lambda a, b: cat([a, b], -1).relu() + 1, (r(8, 32), r(8, 16)), 0, 0),
        (lambda a, b: cat([a, b], 1).amax(1), (r(8, 32), r(8, 16)), 1, 0),
        (lambda a, b: cat([a * 2, b.t()], 1).prod(1), (r(8, 5), r(4, 8)), 1, 0),
        (lambda a, b: cat([a, b], 1).sum(0), (r(8, 32), r(8, 16)), 0, 0),
        (lambda a, b: F.pad(a, (2, 3)) + b, (r(4, 5), r(4, 10)), 0, 0),
    ],
)
def test_nothing_is_put_together(fn: Any, args: tuple[torch.Tensor, ...], temps: int, products: int) -> None:
    fused = check(fn, *args)
    assert temporaries(fused) == temps
    assert sum(is_product(s) for s in fused.statements) == products


def test_a_wide_result_costs_more_than_the_copy() -> None:
    fused = check(lambda a, b, w: cat([a, b], -1) @ w, r(8, 6), r(8, 5), r(11, 40))
    assert sum(is_product(s) for s in fused.statements) == 1


def test_what_others_read_stays_whole() -> None:
    def fn(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        whole = cat([a, b], 1)
        return torch.softmax(whole, 1)

    check(fn, r(8, 32), r(8, 16))


@pytest.mark.parametrize(
    ("fn", "points"),
    [
        (lambda a, b: (a @ b)[:, :5], 8 * 5),
        (lambda a, b: (a @ b)[2:7, 3::4].relu(), 5 * 10),
        (lambda a, b: (a @ b)[:, -1], 8),
        (lambda a, b: ((a @ b) * 2 + 1)[1], 40),
        (lambda a, b: a.sum(1)[:3] + b[0, 0], 3),
    ],
)
def test_only_what_is_read_is_computed(fn: Any, points: int) -> None:
    fused = check(fn, r(8, 32), r(32, 40))
    (reduce,) = [s for s in fused.statements if isinstance(s, Reduce)]
    assert int(torch.tensor([int(a.size) for a in reduce.axes]).prod()) == points


def compiled(
    a: torch.Tensor, b: torch.Tensor, w: torch.Tensor, x: torch.Tensor, y: torch.Tensor, k: torch.Tensor
) -> Any:
    return (
        F.linear(cat([a, b], 1), w).relu(),
        cat([a, b], 1).amax(1),
        F.conv2d(cat([x, y], 1), k, padding=1, stride=2),
        (a @ w[:, :33].t())[3:, 1:4],
        cat([x, y], 2).sigmoid(),
    )


def test_generated_code_agrees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERNELWRIGHT_HOME", str(tmp_path))
    args = (r(20, 33), r(20, 40), r(9, 73), r(2, 5, 9, 9), r(2, 5, 9, 9), r(6, 10, 3, 3))
    kernel = load(emit(prepare(compiled, args)), compiled, {})
    for got, want in zip(kernel(*args), compiled(*(a.double() for a in args)), strict=True):
        torch.testing.assert_close(got.double(), want, rtol=1e-5, atol=1e-4)
