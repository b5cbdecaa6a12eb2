"""What the program says is zero is neither read nor multiplied, and infinity times zero stays NaN."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from kernelwright.compiler import emit, prepare
from kernelwright.compiler.contraction import classify, is_contraction
from kernelwright.compiler.program import Index, Reduce
from kernelwright.compiler.zeros import Zeros, known_zeros
from kernelwright.targets import load

tril, triu, r = torch.tril, torch.triu, torch.randn


def zeros_of(fn: Any, *args: torch.Tensor) -> tuple[Zeros, Reduce]:
    program = prepare(fn, args).program
    found = [s for s in program.statements if isinstance(s, Reduce) and is_contraction(program, s)]
    assert len(found) == 1
    return known_zeros(program, found[0], classify(program, found[0])), found[0]


def test_a_triangular_factor_bounds_the_sum() -> None:
    zeros, product = zeros_of(lambda a, b: tril(a, 2) @ b, r(40, 40), r(40, 40))
    row = Index.axis(product.axes[0].name)
    assert zeros == Zeros(k_highs=(row + 3,), finite=frozenset("b"))


def test_a_band_bounds_it_on_both_sides() -> None:
    zeros, product = zeros_of(lambda a, b: a @ triu(tril(b, 3), -2), r(40, 40), r(40, 40))
    column = Index.axis(product.axes[1].name)
    assert zeros == Zeros((column - 3,), (column + 3,), finite=frozenset("a"))


def test_a_mask_of_the_result_says_where_it_is_needed() -> None:
    zeros, product = zeros_of(lambda a, b: tril(a @ b) * 2, r(40, 30), r(30, 40))
    assert zeros == Zeros(n_highs=(Index.axis(product.axes[0].name) + 1,))


def test_a_product_with_a_mask_needs_finite_factors() -> None:
    zeros, _ = zeros_of(lambda a, b: (a * tril(torch.ones(40, 40))) @ b, r(40, 40), r(40, 40))
    assert zeros.k_highs
    assert zeros.finite == frozenset("ab")


@pytest.mark.parametrize(
    "fn",
    [
        lambda a, b: a @ b,
        lambda a, b: torch.where(a > 0, a, 0.0) @ b,  # values are not structure
        lambda a, b: torch.sigmoid(tril(a)) @ b,  # zero no more
        lambda a, b: torch.where(torch.ones(40, 40).tril() > 0, a @ b, (a @ b) * 2),
    ],
)
def test_nothing_else_is_taken_for_zero(fn: Any) -> None:
    program = prepare(fn, (r(40, 40), r(40, 40))).program
    for statement in program.statements:
        if isinstance(statement, Reduce) and is_contraction(program, statement):
            zeros = known_zeros(program, statement, classify(program, statement))
            assert not zeros


def structures(
    a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, d: torch.Tensor, e: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """Every kind of bound, sizes that fill no tile, several blocks of steps, batches and masks of results."""
    return (
        tril(a) @ b,
        a @ triu(b),
        tril(a @ b, -3).relu(),
        tril(tril(a) @ tril(b)),
        triu(a) @ triu(b) + 1,
        triu(tril(a, 20), -30) @ b,
        a @ tril(b, -211),
        tril(c) @ d,  # a batch
        tril(d[0]) @ c,  # one triangle for a batch
        (tril(a.double()) @ b.double()).float(),
        c @ (d * tril(torch.ones(d.shape[-1], d.shape[-1]))),
        tril(e) @ e.mT,  # a rectangle, and longer than a block
    )


ARGS = (r(250, 250), r(250, 250), r(3, 70, 70), r(3, 70, 70), r(130, 1300))


def test_generated_products_skip_what_is_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERNELWRIGHT_HOME", str(tmp_path))
    candidate = emit(prepare(structures, ARGS))
    assert candidate.source.count("steps_of_ = ") >= 10
    kernel = load(candidate, structures, {})
    for got, want in zip(kernel(*ARGS), structures(*(a.double() for a in ARGS)), strict=True):
        torch.testing.assert_close(got.double(), want.double(), rtol=1e-4, atol=2e-3)
    for special in (float("nan"), float("inf")):
        for position in range(len(ARGS)):
            args = [a.clone() for a in ARGS]
            args[position].view(-1)[args[position].numel() * 3 // 5] = special
            for got, want in zip(kernel(*args), structures(*args), strict=True):
                assert torch.equal(got.isnan(), want.isnan())
                assert torch.equal(got.isinf(), want.isinf())
