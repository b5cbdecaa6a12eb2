"""Whole functions through the compiler to Triton: chains over rows, windows, recurrences, sizes that vary, the text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils import _pytree as pytree

from kernelwright.compiler import Prepared, prepare
from kernelwright.compiler.group import group
from kernelwright.compiler.program import Axis, Const, Extern, Map, Program, Recur, Store
from kernelwright.compiler.triton import TritonKernel, emit_triton, triton_kernels
from kernelwright.compiler.triton._loops import emit_loops
from kernelwright.compiler.triton._schedule import TileSchedule
from kernelwright.targets import Candidate
from kernelwright.task import DynamicSize

from ...triton_lab import interpret, needs_triton
from ..cpp.harness import I, load, op, program, tensor
from .interpreted import PASSES, SHARED, SMALL

pytestmark = [needs_triton, pytest.mark.filterwarnings("ignore:TRITON_DEFAULT_FP_FUSION")]
SCHEDULES = pytest.mark.parametrize("schedule", [SMALL, PASSES, SHARED], ids=["registers", "passes", "shared"])


def emitted(prepared: Prepared, schedule: TileSchedule | None = None) -> Candidate:
    """The candidate; with a schedule all loops have that one."""
    kernels: list[TritonKernel | Extern] = []
    for kernel in triton_kernels(prepared):
        loops = isinstance(kernel, TritonKernel) and isinstance(kernel.schedules[0], TileSchedule)
        kernels.append(replace(kernel, schedules=(schedule,)) if loops and schedule else kernel)
    return emit_triton(prepared, kernels=kernels)


def check(
    fn: Callable[..., Any], *args: Any, schedule: TileSchedule | None = None, tolerance: float = 2e-6
) -> Candidate:
    """Interpreted, a function returns what it returns in float64."""
    state: dict[str, torch.Tensor] = {}
    if isinstance(fn, nn.Module):
        fn.eval()
        state = dict(fn.named_parameters()) | dict(fn.named_buffers())
    made = emitted(prepare(fn, args), schedule)
    got = interpret(made, *args, state={n: v.detach() for n, v in state.items()})
    compare(got, wanted(fn, args), tolerance, made)
    return made


def wanted(fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    import copy

    double = copy.deepcopy(fn).double() if isinstance(fn, nn.Module) else fn
    with torch.no_grad():
        return double(*(a.double() if a.is_floating_point() else a for a in args))


def compare(got: Any, want: Any, tolerance: float, made: Candidate) -> None:
    for g, w in zip(pytree.tree_leaves(got), pytree.tree_leaves(want), strict=True):
        w = w.to(g.dtype) if w.is_floating_point() else w
        scale = float(w.nan_to_num(0, 0, 0).abs().max()) if g.is_floating_point() and g.numel() else 0.0
        torch.testing.assert_close(
            g, w, rtol=tolerance, atol=tolerance * scale, equal_nan=True, msg=lambda text: f"{text}\n{made.source}"
        )


# ── chains over rows ─────────────────────────────────────────────────────────────────────────────────────────────


class Rms(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width))

    def forward(self, x: torch.Tensor, residual: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        total = x + residual
        return total * torch.rsqrt(total.square().mean(-1, keepdim=True) + 1e-6) * self.weight, total


@SCHEDULES
def test_chains_share_rows(schedule: TileSchedule) -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 5, 77)
    check(lambda x: torch.softmax(x * 2, -1), x, schedule=schedule)
    check(lambda x: torch.log_softmax(x, 1), x, schedule=schedule)
    check(Rms(77), x, torch.randn(3, 5, 77), schedule=schedule)
    check(nn.GroupNorm(2, 6), torch.randn(2, 6, 5, 7), schedule=schedule, tolerance=5e-6)


@SCHEDULES
def test_what_is_not_finite_stays_in_its_row(schedule: TileSchedule) -> None:
    x = torch.randn(4, 50)
    x[0, 3], x[1, 4], x[2] = float("nan"), float("inf"), float("-inf")
    x[3, 5] = float("-inf")
    check(lambda x: (torch.softmax(x, -1), x.logsumexp(-1), F.max_pool1d(x[None], 3, 2, 1)), x, schedule=schedule)


@SCHEDULES
@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_half_types(schedule: TileSchedule, kind: torch.dtype) -> None:
    x = torch.randn(6, 70).to(kind)
    check(lambda x: (torch.softmax(x, -1), (x * 2).sum(0) + 1), x, schedule=schedule, tolerance=2e-2)


@SCHEDULES
def test_few_long_rows(schedule: TileSchedule) -> None:
    x = torch.randn(2, 20000)
    large = replace(schedule, elements=2048, points=4096)
    check(lambda x: (torch.softmax(x, -1), x.abs().sum(), x / x.norm()), x, schedule=large)


@SCHEDULES
def test_windows(schedule: TileSchedule) -> None:
    def windows(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        averages = F.avg_pool2d(x, (2, 5), (1, 2), (1, 2), count_include_pad=False)
        return (
            F.max_pool2d(x, 3, 2, 1),
            averages,
            F.adaptive_avg_pool2d(x, (3, 4)),
            F.pad(x, (2, 1, 3, 0), mode="reflect"),
        )

    check(windows, torch.randn(2, 3, 11, 14), schedule=schedule)


def test_data_moves() -> None:
    x, y = torch.randn(4, 6, 40), torch.randn(4, 2, 40)
    index = torch.tensor([3, 0, 0, 2, 1])
    check(lambda x, y: torch.cat([x, y], 1), x, y)
    check(lambda x: F.pixel_shuffle(x[..., None], 1).permute(0, 2, 1, 3).contiguous(), x)
    check(lambda x, i: x[i] * 2, x, index)
    check(lambda x: x.permute(2, 0, 1).contiguous() + 1, x)
    check(lambda x: torch.where(x > 0, x, -1.0).tril(), x[0])


# ── loops, conditions, sizes ─────────────────────────────────────────────────────────────────────────────────────


class Rnn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Linear(5, 7)
        self.u = nn.Linear(7, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.zeros(x.shape[0], 7, dtype=x.dtype)
        states = []
        for step in range(x.shape[1]):
            h = torch.tanh(self.w(x[:, step]) + self.u(h))
            states.append(h)
        return torch.stack(states, 1)


@SCHEDULES
def test_what_replaces_a_part_of_a_tensor_comes_after_it(schedule: TileSchedule) -> None:
    check(nn.CircularPad1d(2), torch.randn(2, 3, 7), schedule=schedule)
    check(nn.CircularPad2d((1, 2, 2, 1)), torch.randn(2, 3, 6, 5), schedule=schedule)


def test_recurrences_are_loops_of_launches() -> None:
    made = check(Rnn(), torch.randn(3, 9, 5), tolerance=1e-5)
    assert "in range(" in made.source.split("def k", 1)[1]


class Cell(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Linear(5, 28)
        self.u = nn.Linear(7, 28)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = c = torch.zeros(x.shape[0], 7, dtype=x.dtype)
        for step in range(x.shape[1]):
            i, f, g, o = (self.w(x[:, step]) + self.u(h)).chunk(4, -1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return h


def test_statements_of_a_step_that_share_rows_are_one_kernel() -> None:
    prepared = prepare(Cell(), (torch.randn(3, 9, 5),))
    (recur,) = (s for s in prepared.program.statements if isinstance(s, Recur))
    assert len(group(replace(prepared.program, statements=recur.body))) < len(recur.body)
    check(Cell(), torch.randn(3, 9, 5), tolerance=1e-5)


@pytest.mark.parametrize("happens", [True, False])
def test_what_happens_on_a_condition(happens: bool) -> None:
    axes = (Axis("a0", 70),)
    named = (I("a0"),)
    flag = torch.tensor([happens])
    tensors = [tensor("x", torch.empty(70)), tensor("flag", flag), tensor("y", (70,), "output")]
    always = Map(axes, load("x", "a0"), Store("y", named))
    perhaps = Map(axes, op("add", load("x", "a0"), Const(1.0, "float32")), Store("y", named), when="flag")
    made: Program = program(tensors, [always, perhaps])
    from kernelwright.compiler.triton._kernel import Around
    from kernelwright.compiler.triton._module import assemble

    groups = group(made)
    assert len(groups) == 2
    steps = [emit_loops(made, g, f"k{n}", None, Around({}, ("", "flag")[n])) for n, g in enumerate(groups)]
    joined = assemble(made, steps, sources=[("arg", 0), ("arg", 1)])
    x = torch.randn(70)
    got = interpret(Candidate("triton", "compiler", joined.source, joined.plan), x, flag)
    torch.testing.assert_close(got, x + happens)


@SCHEDULES
def test_sizes_that_vary(schedule: TileSchedule) -> None:
    fns: list[tuple[Callable[..., Any], int]] = [
        (lambda x: (torch.softmax(x, -1) * x.shape[0], x.sum(0)), 0),
        (lambda x: (torch.softmax(x, -1) + x.shape[1], x.t().contiguous(), torch.cumsum(x, 1)), 1),
    ]
    for fn, dim in fns:
        example = torch.randn(8, 12)
        prepared = prepare(fn, (example,), (DynamicSize(0, dim, 2, 100),))
        made = emitted(prepared, schedule)
        for size in (2, 13, 64):
            x = torch.randn(size, 12) if dim == 0 else torch.randn(8, size)
            compare(interpret(made, x), wanted(fn, (x,)), 5e-6, made)


def test_addresses_beyond_32_bits() -> None:
    wide, narrow = (1 << 16, 1 << 16), (1 << 12, 1 << 12)
    for shape in (wide, narrow):
        axes = (Axis("a0", shape[0]), Axis("a1", shape[1]))
        body = Map(axes, load("x", "a1", "a0"), Store("y", (I("a0"), I("a1"))))
        x = replace(tensor("x", shape, "input", "int8"))
        made = program([x, tensor("y", shape, "output", "int8")], [body])
        text = emit_loops(made, group(made)[0], "k0").source
        assert (".to(tl.int64)" in text) == (shape == wide)


# ── text and build ───────────────────────────────────────────────────────────────────────────────────────────────

TEXTS: dict[str, tuple[Callable[..., Any], torch.Tensor]] = {
    "softmax": (lambda x: torch.softmax(x * 0.125, -1), torch.empty(2048, 1000)),
    "max_pool": (lambda x: F.max_pool2d(x, 3, 2, 1), torch.empty(8, 56, 104, 104)),
    "column_sums": (lambda x: x.sum(0), torch.empty(12288, 640)),
    "transpose": (lambda x: x.transpose(1, 2).contiguous() + 1, torch.empty(6, 120, 4000)),
}


@pytest.mark.parametrize("name", TEXTS)
def test_text(name: str, golden: Callable[[str, str], None]) -> None:
    fn, x = TEXTS[name]
    golden(f"{name}.py", emit_triton(prepare(fn, (x,)), title=name).source)


def test_schedules_differ_and_the_first_compiles_ahead_without_spills() -> None:
    from kernelwright.targets.triton import reports

    first: list[Candidate] = []
    for fn, x in TEXTS.values():
        prepared = prepare(fn, (x,))
        kernels = triton_kernels(prepared)
        assert isinstance(kernels[0], TritonKernel)
        made = [emit_triton(prepared, {0: n}, kernels=kernels) for n, _ in enumerate(kernels[0].schedules)]
        assert len({c.source for c in made}) == len(made)
        first.append(made[0])
    for candidate, built in zip(first, reports(first), strict=True):
        assert not built.fault, f"{built.fault}\n{candidate.source}"
        assert built.spills == 0, candidate.source
