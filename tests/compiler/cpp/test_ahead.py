"""Rows beyond the last cache are prefetched, and results that crowd it are written around it."""

from __future__ import annotations

import torch

from kernelwright.compiler.cpp.loops import schedules
from kernelwright.compiler.group import group
from kernelwright.compiler.program import (
    Acc,
    Axis,
    Index,
    Load,
    Map,
    Program,
    Reduce,
    Store,
    Tensor,
    contiguous,
)

from .harness import Unit


def rows(count: int, length: int) -> Program:
    shape = (count, length)
    tensors = {
        "x": Tensor("x", shape, "float32", contiguous(shape), "input"),
        "y": Tensor("y", (count,), "float32", (1,), "output"),
    }
    i, r = Axis("i", count), Axis("r", length)
    value = Load("x", (Index.axis("i"), Index.axis("r")), "float32")
    return Program(
        tensors, ("x",), ("y",), (Reduce((i,), (r,), "sum", value, Store("y", (Index.axis("i"),)), Acc("float32")),)
    )


def copy(count: int, role: str) -> Program:
    tensors = {
        "x": Tensor("x", (count,), "float32", (1,), "input"),
        "y": Tensor("y", (count,), "float32", (1,), role),
    }
    i = Index.axis("i")
    return Program(tensors, ("x",), ("y",), (Map((Axis("i", count),), Load("x", (i,), "float32"), Store("y", (i,))),))


def test_rows_of_a_large_array_are_prefetched() -> None:
    for program, wanted in (
        (rows(20000, 784), True),
        (rows(100, 784), False),
        (rows(400, 40000), True),
        (rows(200000, 64), False),
    ):
        guess, *others = schedules(program, group(program)[0])
        assert guess.ahead == wanted
        assert not wanted or any(not other.ahead for other in others)


def test_prefetched_rows_add_up() -> None:
    program = rows(20000, 500)
    unit = Unit([program], lambda p, g: schedules(p, g)[0])
    assert "__builtin_prefetch" in unit.source
    x = torch.randn(20000, 500)
    torch.testing.assert_close(unit.run(0, {"x": x})["y"].double(), x.double().sum(1), rtol=1e-5, atol=1e-3)


def test_a_result_that_crowds_the_cache_is_streamed() -> None:
    for program, wanted in (
        (copy(7 << 20, "output"), True),
        (copy(7 << 20, "temp"), False),
        (copy(1 << 20, "output"), False),
    ):
        assert schedules(program, group(program)[0])[0].stream == wanted
