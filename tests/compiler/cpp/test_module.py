"""Assembly of kernels and ATen calls: who lives where, and that what is assembled computes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import sympy
import torch

from kernelwright.compiler.cpp._code import KernelCode
from kernelwright.compiler.cpp.module import assemble
from kernelwright.compiler.program import Extern, Program, Size, Symbol, Tensor, contiguous
from kernelwright.targets import AtenCall, Candidate, EntryCall, load


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERNELWRIGHT_HOME", str(tmp_path))


def tensor(name: str, role: str, *shape: Size, alias: str | None = None) -> Tensor:
    return Tensor(name, shape, "float32", contiguous(shape), role, alias)


def scale(name: str, source: str, target: str, count: str, symbols: tuple[str, ...] = ()) -> KernelCode:
    parameters = "".join(f", int64_t {s}" for s in symbols)
    body = f"for (int64_t i = 0; i < {count}; ++i) {target}[i] = 2.0f * {source}[i];"
    text = f"static void {name}(const float* {source}, float* {target}{parameters}) {{ {body} }}"
    return KernelCode(name, text, (source, target), symbols)


def program(*tensors: Tensor, symbols: tuple[Symbol, ...] = ()) -> Program:
    named = {t.name: t for t in tensors}
    inputs = tuple(t.name for t in tensors if t.role == "input")
    outputs = tuple(t.name for t in tensors if t.role == "output")
    return Program(named, inputs, outputs, (), symbols)


def run(made: Program, steps: list[KernelCode | Extern], x: torch.Tensor) -> torch.Tensor:
    built = assemble(made, steps, sources=[("arg", 0)])
    result = load(Candidate("cpu", "test", built.source, built.plan), torch.neg, {})(x)
    assert isinstance(result, torch.Tensor)
    return result


def test_temporaries_of_a_segment_share_the_workspace_by_lifetime() -> None:
    made = program(
        tensor("x", "input", 64), *(tensor(f"t{i}", "temp", 64) for i in range(3)), tensor("y", "output", 64)
    )
    names = ["x", "t0", "t1", "t2", "y"]
    steps: list[KernelCode | Extern] = [scale(f"k{i}", a, b, "64") for i, (a, b) in enumerate(pairwise(names))]
    plan = assemble(made, steps, sources=[("arg", 0)]).plan
    assert plan.workspace == 2 * 256  # t0 and t2 never live at once
    x = torch.randn(64)
    assert torch.equal(run(made, steps, x), x * 16)


def test_an_alias_is_another_name_for_its_base() -> None:
    made = program(
        tensor("x", "input", 6),
        tensor("t", "temp", 6),
        tensor("v", "temp", 2, 3, alias="t"),
        tensor("y", "output", 2, 3),
    )
    x = torch.randn(6)
    assert torch.equal(run(made, [scale("k0", "x", "t", "6"), scale("k1", "v", "y", "6")], x), (x * 4).view(2, 3))


def test_an_aten_call_splits_segments_and_receives_views() -> None:
    made = program(
        tensor("x", "input", 6),
        tensor("t", "temp", 6),
        tensor("v", "temp", 2, 3, alias="t"),
        tensor("s", "temp", 2),
        tensor("y", "output", 2),
    )
    extern = Extern("aten.sum.dim_IntList", ({"tensor": "v"}, [1]), (), ("s",))
    steps: list[KernelCode | Extern] = [scale("k0", "x", "t", "6"), extern, scale("k1", "s", "y", "2")]
    plan = assemble(made, steps, sources=[("arg", 0)]).plan
    assert [type(step) for step in plan.steps] == [EntryCall, AtenCall, EntryCall]
    assert {b.name for b in plan.buffers} == {"t", "y"}
    x = torch.randn(6)
    torch.testing.assert_close(run(made, steps, x), (x * 4).view(2, 3).sum(1))


def test_only_entries_with_temporaries_take_the_workspace() -> None:
    made = program(tensor("x", "input", 6), tensor("a", "temp", 6), tensor("b", "temp", 6), tensor("y", "output", 6))
    negate = Extern("aten.neg.default", ({"tensor": "b"},), (), ("n",))
    made.tensors["n"] = tensor("n", "temp", 6)
    kernels = [scale("k0", "x", "a", "6"), scale("k1", "a", "b", "6"), scale("k2", "n", "y", "6")]
    x = torch.randn(6)
    assert torch.equal(run(made, [*kernels[:2], negate, kernels[2]], x), x * -8)


def test_symbolic_sizes_are_bound_at_the_call() -> None:
    s0 = sympy.Symbol("s0", integer=True, positive=True)
    made = program(
        tensor("x", "input", s0, 3),
        tensor("t", "temp", s0 * 3),
        tensor("y", "output", s0, 3),
        symbols=(Symbol("s0", "x", 0, 1, 50),),
    )
    steps: list[KernelCode | Extern] = [
        scale("k0", "x", "t", "s0 * 3", ("s0",)),
        scale("k1", "t", "y", "s0 * 3", ("s0",)),
    ]
    for rows in (1, 7, 50):
        x = torch.randn(rows, 3)
        assert torch.equal(run(made, steps, x), x * 4)
