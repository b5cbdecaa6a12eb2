"""Whole functions through the compiler to CUDA: chains over rows, windows, recurrences, sizes that vary, the text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from kernelwright.compiler import prepare
from kernelwright.compiler.cuda import cuda_kernels, emit_cuda
from kernelwright.compiler.program import Extern
from kernelwright.targets import Candidate, load
from kernelwright.task import DynamicSize

Reference = Callable[..., Any]


def emitted(fn: Reference, *args: torch.Tensor, choice: dict[int, int] | None = None) -> Candidate:
    return emit_cuda(prepare(fn, args), choice)


def check(fn: Reference, *args: torch.Tensor, tolerance: float = 2e-6, others: int = 0) -> str:
    """Emulated, a function returns what it returns in float64, by its first schedules; the first one's source."""
    prepared = prepare(fn, args)
    kernels = {n: k for n, k in enumerate(cuda_kernels(prepared)) if not isinstance(k, Extern)}
    choices = [{}, *({n: p} for n, k in kernels.items() for p in range(1, len(k.schedules)))][: 1 + others]
    candidates = [emit_cuda(prepared, choice) for choice in choices]
    with torch.no_grad():
        wanted = fn(*(a.double() if a.is_floating_point() else a for a in args))
    for made in candidates:
        got = load(made, fn, {}, interpreted=True)(*args)
        torch.testing.assert_close(got.double(), wanted.double(), rtol=tolerance, atol=tolerance, equal_nan=True)
    return candidates[0].source


def test_softmax_reads_its_rows_once() -> None:
    source = check(lambda x: torch.softmax(x, -1), torch.randn(37, 1000), others=2)
    assert source.count("kw::load") == 1
    check(lambda x: torch.softmax(x, -1), torch.randn(3, 5, 7))
    x = torch.randn(6, 130)
    x[1, 5], x[2, 3], x[3] = float("nan"), float("inf"), float("-inf")
    check(lambda x: torch.log_softmax(x, -1), x)


def test_norms_over_rows_and_over_columns() -> None:
    check(lambda x, w: F.layer_norm(x, (48,), w), torch.randn(37, 48), torch.randn(48), tolerance=1e-5)
    check(lambda x: F.layer_norm(x, (5000,)), torch.randn(3, 5000), tolerance=1e-5)
    check(lambda x: x / x.norm(dim=0, keepdim=True), torch.randn(70, 45), tolerance=1e-5)
    check(lambda x: (x - x.mean((0, 2, 3), keepdim=True)).square().mean((0, 2, 3)), torch.randn(4, 5, 9, 7))


def test_rows_that_registers_cannot_hold() -> None:
    check(lambda x: torch.softmax(x, -1), torch.randn(2, 40000), tolerance=1e-5)


def test_losses_scans_windows_and_gathers() -> None:
    labels = torch.randint(0, 30, (19,))
    check(lambda x: F.cross_entropy(x, labels), torch.randn(19, 30))
    check(lambda x: torch.cummax(x.cumsum(1), 1).values - x, torch.randn(9, 300), tolerance=1e-4)
    check(lambda x: F.max_pool2d(x, 3, 2, 1), torch.randn(2, 3, 11, 13))
    check(lambda x: F.pad(x, (2, 1), value=3.0)[:, labels], torch.randn(7, 40))


def test_transpositions_go_through_shared_memory() -> None:
    source = check(lambda x: x.permute(0, 2, 1).contiguous() * 2, torch.randn(2, 70, 45))
    assert "_tile[32][33]" in source
    assert "__syncthreads" in source


def test_half_types_are_summed_in_float() -> None:
    x = torch.randn(5, 4096).bfloat16()
    check(lambda x: x.float().sum(-1), x, tolerance=1e-3)
    check(lambda x: (x + 1).square(), x, tolerance=2e-2)


def test_a_few_long_rows_are_shared_among_blocks() -> None:
    source = check(lambda x: x.sum(), torch.rand(70000))
    assert source.count("__global__") == 2


def test_nothing_and_a_single_element() -> None:
    check(lambda x: x.sum(-1) + 1, torch.empty(3, 0))
    check(lambda x: torch.softmax(x, -1), torch.empty(0, 5))
    check(lambda x: x.exp().sum(), torch.randn(1))


def test_what_replaces_a_part_of_a_tensor_comes_after_it() -> None:
    check(torch.nn.CircularPad2d((1, 2, 2, 1)), torch.randn(2, 3, 6, 5))


def test_sizes_that_vary() -> None:
    def fn(x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(x, -1).sum(0) * x.shape[0]

    prepared = prepare(fn, (torch.randn(8, 40),), (DynamicSize(0, 0, 1, 300),))
    call = load(emit_cuda(prepared), fn, {}, interpreted=True)
    for size in (1, 7, 300):
        x = torch.randn(size, 40)
        torch.testing.assert_close(call(x), fn(x), rtol=2e-5, atol=2e-5)


def test_a_layout_that_vectors_do_not_fit() -> None:
    x = torch.randn(4097)[1:].view(64, 64)  # begins where no vector may
    check(lambda x: torch.softmax(x, -1), x)


def test_the_text_says_how_it_is_launched() -> None:
    made = emitted(lambda x, y: F.gelu(x) * y, torch.randn(64, 256), torch.randn(64, 256))
    lines = made.source.splitlines()
    assert "//@ run0(arg0, arg1, out0)" in lines
    assert "//@   k0_kernel<<<32, 256>>>(arg0, arg1, out0)" in lines
    assert "#include <kw/cuda.h>" in lines
    assert all(len(line) <= 120 for line in lines)
