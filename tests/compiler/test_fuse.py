"""Fusion leaves as few statements as it should, and every rewrite keeps the value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from kernelwright.compiler import algebra
from kernelwright.compiler import fuse as fusion
from kernelwright.compiler.capture import capture
from kernelwright.compiler.fuse import fuse, is_product
from kernelwright.compiler.interpret import interpret
from kernelwright.compiler.lower import lower
from kernelwright.compiler.program import Map, Program, Reduce, Scan, condition
from kernelwright.compiler.simplify import common_statements, fold_constants

from .oracle import bound, check

nn, F = torch.nn, torch.nn.functional


def kinds(program: Program) -> list[str]:
    return [type(statement).__name__ for statement in program.statements]


def after(rewrite: Callable[[Program], Program], fn: Any, *args: Any) -> tuple[Program, Program]:
    """The lowered program and the rewritten one, which must have the same outputs."""
    captured = capture(fn, args)
    program = lower(captured)
    rewritten = rewrite(program)
    inputs = bound(captured, program, fn, args)
    before, now = interpret(program, inputs, torch.float64), interpret(rewritten, inputs, torch.float64)
    for name in program.outputs:
        torch.testing.assert_close(now[name], before[name], equal_nan=True)
    return program, rewritten


# ── single rewrites ──


def test_epilogues_join_their_reduce() -> None:
    program, fused = after(
        lambda p: fusion.fuse_epilogues(p), lambda x, y, b: torch.relu(x @ y + b) * 2, *_operands(), torch.randn(5)
    )
    assert kinds(program) == ["Reduce", "Map"]
    assert kinds(fused) == ["Reduce"]
    assert is_product(fused.statements[0])


def test_a_sum_of_slices_is_written_slice_by_slice() -> None:
    put, shape = torch.ops.aten.select_backward, [2, 3, 5]
    fused = check(lambda x, y, w: put(x @ w, shape, 0, 0) + put(y @ w, shape, 0, 1), *_rows(2), torch.randn(4, 5))
    assert kinds(fused) == ["Reduce", "Reduce"]


def test_choices_that_leave_something_to_compute_stay() -> None:
    put, shape = torch.ops.aten.select_backward, [2, 3, 4]
    fused = check(lambda x, y: put(x, shape, 0, 0) + put(y, shape, 0, 0) + put(y, shape, 0, 1), *_rows(2))
    assert kinds(fused) == ["Map"]


def test_two_copies_to_the_same_places_are_one() -> None:
    def fn(x: torch.Tensor, w: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = x @ w
        return y.t().contiguous(), y.view(3, 2, 3).permute(1, 2, 0).reshape(2, 9) @ v

    fused = check(fn, torch.randn(3, 4), torch.randn(4, 6), torch.randn(9, 2))
    assert kinds(fused) == ["Reduce", "Reduce"]


def _rows(count: int) -> list[torch.Tensor]:
    return [torch.randn(3, 4) for _ in range(count)]


def _operands() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(3, 4), torch.randn(4, 5)


def test_a_result_with_two_readers_keeps_its_memory() -> None:
    fused = check(lambda x, y: ((x @ y).relu(), (x @ y).sum(0)), *_operands())
    assert sum(is_product(s) for s in fused.statements) == 1


def test_dead_statements_go() -> None:
    def fn(x: torch.Tensor) -> torch.Tensor:
        x.exp().sum(0)
        return x.max(1)[0]

    _, fused = after(fusion.remove_dead, fn, torch.randn(3, 4))
    assert kinds(fused) == ["Reduce", "Map"]


def test_copies_into_outputs_go() -> None:
    _, fused = after(fusion.elide_copies, lambda x: x.reshape(6, 4).t() @ x.reshape(6, 4), torch.randn(2, 3, 4))
    assert kinds(fused) == ["Reduce"]


def test_constants_fold() -> None:
    _, folded = after(fold_constants, lambda x: (x * 1 + torch.tensor(2.0) * 3).to(x.dtype), torch.randn(3))
    assert fuse(folded).statements != ()
    assert not any(n == "mul" for n in _operations(folded))


def _operations(program: Program) -> list[str]:
    from kernelwright.compiler.program import Op, statement_exprs

    return [n.name for s in program.statements for e in statement_exprs(s) for n in e.walk() if isinstance(n, Op)]


def test_common_statements_are_computed_once() -> None:
    program, fused = after(common_statements, lambda x: x.sum(1).exp() + x.sum(1).sin(), torch.randn(3, 4))
    assert kinds(program).count("Reduce") == 2
    assert kinds(fused).count("Reduce") == 1


def test_a_scan_from_the_end() -> None:
    fused = check(lambda x: x.flip(1).cumsum(1).flip(1), torch.randn(3, 5))
    (scan,) = fused.statements
    assert isinstance(scan, Scan)
    assert scan.reverse


@pytest.mark.parametrize("left", [True, False])
def test_a_diagonal_matrix_scales(left: bool) -> None:
    def fn(d: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.diag(d) @ b if left else b @ torch.diag(d)

    fused = check(fn, torch.randn(4), torch.randn(4, 4))
    assert [type(s).__name__ for s in fused.statements if not condition(s)] == ["Map", "Reduce"]  # and a look at it
    for special in (float("nan"), float("inf")):
        given = torch.randn(4, 4)
        given[1, 2] = special
        captured = capture(fn, (torch.rand(4), given))
        program = lower(captured)
        inputs = bound(captured, program, fn, (torch.rand(4), given))
        got, want = (interpret(p, inputs)[program.outputs[0]] for p in (fuse(program), program))
        torch.testing.assert_close(got, want, equal_nan=True)
    after(algebra.select_instead_of_multiply, fn, torch.randn(4), torch.randn(4, 4))


def test_scalings_move_behind_the_product() -> None:
    def fn(x: torch.Tensor, y: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        return (x * s[:, None]) @ (y * 0.5)

    fused = check(fn, *_operands(), torch.randn(3))
    assert kinds(fused) == ["Reduce"]
    after(algebra.hoist_scalings, fn, *_operands(), torch.randn(3))


def test_a_scaling_along_the_sum_stays() -> None:
    fused = check(lambda x, y, s: (x * s) @ y, *_operands(), torch.randn(4))
    assert kinds(fused) == ["Map", "Reduce"]


# ── whole programs ──


def test_a_block_of_a_convnet() -> None:
    module = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1, groups=2), nn.BatchNorm2d(6), nn.ReLU()).eval()
    fused = check(module, torch.randn(2, 4, 5, 6))
    assert sum(is_product(s) for s in fused.statements) == 1
    big = [s for s in fused.statements if len(s.axes) > 1]  # type: ignore[union-attr]
    assert len(big) == 1, "normalisation and activation belong to the convolution"


def test_the_phases_of_a_transposed_convolution_take_the_epilogue() -> None:
    module = nn.Sequential(nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1, output_padding=1), nn.ReLU())
    fused = check(module, torch.randn(2, 3, 4, 5))
    assert kinds(fused) == ["Reduce"] * 4


def test_residuals_through_reshapes() -> None:
    def fn(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return torch.mm(x.reshape(6, 4), w).reshape(2, 3, 4) + x

    fused = check(fn, torch.randn(2, 3, 4), torch.randn(4, 4))
    assert kinds(fused) == ["Reduce"]


def test_attention_needs_no_pass_for_the_division() -> None:
    q = torch.randn(2, 2, 3, 4)
    fused = check(F.scaled_dot_product_attention, q, q.clone(), q.clone())
    assert kinds(fused) == ["Reduce", "Reduce", "Map", "Reduce", "Reduce"]


def test_layer_norm_is_two_sums_and_a_map() -> None:
    fused = check(nn.LayerNorm(6), torch.randn(2, 4, 6))
    assert kinds(fused) == ["Reduce", "Reduce", "Map"]


def test_pointwise_chains_are_one_map() -> None:
    fused = check(lambda x: torch.tanh((y := x.sin()) * y + y.cos()).t().contiguous(), torch.randn(3, 4))
    assert kinds(fused) == ["Map"]
    assert isinstance(fused.statements[0], Map)


def test_fusing_twice_changes_nothing() -> None:
    captured = capture(nn.TransformerEncoderLayer(8, 2, 16).eval(), (torch.randn(3, 2, 8),))
    fused = fuse(lower(captured))
    assert fuse(fused) == fused
    assert all(isinstance(s, Reduce | Map) for s in fused.statements)
