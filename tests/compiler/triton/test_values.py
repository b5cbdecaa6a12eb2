"""Every operation, cast, reduction and scan against the interpreter of programs: special values, dtypes, layouts."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch

from kernelwright.compiler.program import (
    FUNCTIONS,
    OPS,
    Const,
    Expr,
    Index,
    Map,
    Program,
    Store,
    Tensor,
    Value,
)
from kernelwright.compiler.triton._schedule import TileSchedule

from ...triton_lab import needs_triton
from ..cpp.harness import I, axes_like, load, op, program, reduction, scanned, tensor
from .interpreted import PASSES, SHARED, SMALL, check

SPECIAL = [0.0, -0.0, 1.0, -1.0, float("inf"), float("-inf"), float("nan"), 0.5, -0.5, 2.5, -2.5, 1e-30, 88.0, -104.0]
pytestmark = needs_triton
SCHEDULES = pytest.mark.parametrize("schedule", [SMALL, PASSES, SHARED], ids=["registers", "passes", "shared"])


def every(values: dict[str, torch.Tensor], exprs: list[Expr]) -> Program:
    """``y<k> = exprs[k]`` over inputs of one length."""
    axes = axes_like(next(iter(values.values())))
    tensors = [tensor(n, v) for n, v in values.items()]
    statements = []
    for number, expr in enumerate(exprs):
        out = tensor(f"y{number}", tuple(a.size for a in axes), "output", expr.dtype)
        tensors.append(out)
        statements.append(Map(axes, expr, Store(out.name, tuple(I(a.name) for a in axes))))
    return program(tensors, statements)


# ── operations ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_float_operations(dtype: torch.dtype) -> None:
    kind = str(dtype).removeprefix("torch.")
    pairs = torch.tensor(list(itertools.product(SPECIAL, SPECIAL)), dtype=dtype)
    values = {"a": pairs[:, 0].contiguous(), "b": pairs[:, 1].contiguous()}
    a, b = load("a", "a0", dtype=kind), load("b", "a0", dtype=kind)
    logic = ("and", "or", "xor", "not", "bitand", "bitor", "bitxor", "bitnot", "shl", "shr", "where", "cast")
    names = [n for n in OPS if n not in logic and not n.startswith("round_to")]
    compared = ("eq", "ne", "lt", "le", "gt", "ge", "isnan", "isinf")
    exprs = [op(n, *(a, b)[: OPS[n]], dtype="bool" if n in compared else kind) for n in names]
    exprs.append(op("where", op("lt", a, b, dtype="bool"), a, Const(2.0, kind), dtype=kind))
    check(every(values, exprs), values, tolerance=3e-6 if dtype == torch.float32 else 1e-12)


def test_functions_of_ordinary_numbers() -> None:
    values = {"a": torch.linspace(0.01, 4.0, 1000)}
    exprs: list[Expr] = [op(n, load("a", "a0")) for n in FUNCTIONS]
    exprs += [op(n, op("neg", load("a", "a0"))) for n in FUNCTIONS]
    check(every(values, exprs), values, tolerance=2e-6)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8])
def test_integer_operations(dtype: torch.dtype) -> None:
    kind = str(dtype).removeprefix("torch.")
    limits = torch.iinfo(dtype)
    numbers = [0, 1, 2, 3, 7, 100, limits.max, limits.max - 1] + (
        [] if limits.min == 0 else [-1, -2, -7, limits.min + 1]
    )
    pairs = [(a, b) for a, b in itertools.product(numbers, numbers)]
    values = {
        "a": torch.tensor([a for a, _ in pairs], dtype=dtype),
        "b": torch.tensor([b for _, b in pairs], dtype=dtype),
    }
    values["n"] = values["b"].clamp(0, 5)
    values["d"] = torch.where(values["b"] == 0, 3, values["b"])
    a, b, n, d = (load(x, "a0", dtype=kind) for x in "abnd")
    two = ["add", "sub", "mul", "minimum", "maximum", "bitand", "bitor", "bitxor"]
    exprs = [op(x, a, b, dtype=kind) for x in two]
    exprs += [op(x, a, d, dtype=kind) for x in ("floordiv", "truncdiv", "mod", "fmod")]
    exprs += [op(x, a, n, dtype=kind) for x in ("pow", "shl", "shr")]
    exprs += [op(x, a, dtype=kind) for x in ("neg", "abs", "sign", "square", "bitnot", "floor", "round")]
    exprs += [op(x, a, b, dtype="bool") for x in ("eq", "ne", "lt", "le", "gt", "ge", "and", "or", "xor")]
    exprs += [op("where", op("gt", a, b, dtype="bool"), a, Const(3, kind), dtype=kind), op("not", a, dtype="bool")]
    check(every(values, exprs), values)


def test_operations_on_truths() -> None:
    values = {"a": torch.tensor([True, True, False, False]), "b": torch.tensor([True, False, True, False])}
    a, b = load("a", "a0", dtype="bool"), load("b", "a0", dtype="bool")
    names = ("add", "mul", "minimum", "maximum", "bitand", "bitor", "bitxor", "eq", "ne", "lt", "le", "gt", "ge")
    exprs: list[Expr] = [op(n, a, b, dtype="bool") for n in (*names, "and", "or", "xor")]
    exprs += [
        op("not", a, dtype="bool"),
        op("bitnot", a, dtype="bool"),
        op("where", a, b, op("not", b, dtype="bool"), dtype="bool"),
    ]
    exprs += [
        op("where", a, Const(True, "bool"), b, dtype="bool"),
        op("where", a, Const(1.0, "float32"), Const(0.0, "float32")),
    ]
    check(every(values, exprs), values)


def test_casts() -> None:
    kinds = ("float32", "float64", "int64", "int32", "int16", "int8", "uint8", "bool")
    for source in kinds:
        values = {"a": torch.tensor([0, 1, 2, 100, 127]).to(getattr(torch, source))}
        if source not in ("uint8", "bool"):
            values["a"] = torch.cat([values["a"], -values["a"]])
        wanted = [k for k in kinds if not (k == "uint8" and "float" in source)]  # negative floats: undefined in torch
        exprs: list[Expr] = [op("cast", load("a", "a0", dtype=source), dtype=k) for k in wanted]
        check(every(values, exprs), values)


@pytest.mark.parametrize("half", ["bfloat16", "float16"])
def test_half_types_round_as_torch_does(half: str) -> None:
    kind = getattr(torch, half)
    values = {"x": torch.cat([torch.randn(500), torch.tensor([float("inf"), float("nan"), 1e-8, 0.0])]).to(kind)}
    x = load("x", "a0")
    third = op("div", x, Const(3.0, "float32"))
    made = program(
        [tensor("x", values["x"]), tensor("y", (504,), "output", half), tensor("z", (504,), "output")],
        [
            Map(axes_like(values["x"]), third, Store("y", (I("a0"),))),
            Map(axes_like(values["x"]), op(f"round_to_{half}", third), Store("z", (I("a0"),))),
        ],
    )
    check(made, values)


# ── reductions and scans ─────────────────────────────────────────────────────────────────────────────────────────


def _drawn(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    torch.manual_seed(0)
    if dtype == torch.bool:
        return torch.rand(shape) > 0.4
    if dtype.is_floating_point:
        return torch.randn(shape, dtype=torch.float64).to(dtype)
    return torch.randint(-9, 9, shape).to(dtype)


@SCHEDULES
@pytest.mark.parametrize("shape", [(5, 37), (37, 5), (3, 130), (1, 1), (2, 3, 70)])
def test_reductions(schedule: TileSchedule, shape: tuple[int, ...]) -> None:
    for dims in ([len(shape) - 1], [0], list(range(len(shape)))):
        for name in ("sum", "max", "min", "argmax", "argmin"):
            value = _drawn(shape, torch.float32)
            check(reduction(value, dims, name), {"x": value}, schedule, 1e-5 if name == "sum" else 0.0)


@SCHEDULES
def test_reductions_of_other_dtypes(schedule: TileSchedule) -> None:
    for dtype in (torch.float64, torch.bfloat16, torch.int64, torch.int32, torch.int8):
        value = _drawn((7, 41), dtype)
        for name in ("sum", "max", "argmin"):
            tolerance = 1e-2 if dtype == torch.bfloat16 else 1e-9
            check(reduction(value, [1], name), {"x": value}, schedule, tolerance)
    truths = _drawn((6, 19), torch.bool)
    truths[2], truths[3] = True, False
    for name in ("any", "all"):
        check(reduction(truths, [1], name), {"x": truths}, schedule)
        check(reduction(truths, [0], name), {"x": truths}, schedule)
    value = _drawn((3, 21), torch.float32)
    check(reduction(value, [1], "prod"), {"x": value}, schedule, 1e-5)


@SCHEDULES
def test_reductions_of_nan_and_infinities(schedule: TileSchedule) -> None:
    value = _drawn((6, 45), torch.float32)
    value[0, 7] = value[0, 30] = float("nan")
    value[1] = float("-inf")
    value[2] = float("inf")
    value[3, 44] = float("inf")
    value[4] = float("nan")
    for name in ("max", "min", "argmax", "argmin", "sum"):
        check(reduction(value, [1], name), {"x": value}, schedule, 1e-5)


@SCHEDULES
def test_reductions_of_nothing(schedule: TileSchedule) -> None:
    for shape in ((3, 0), (0, 3), (0, 0)):
        value = torch.empty(shape)
        check(reduction(value, [1], "sum"), {"x": value}, schedule)


@SCHEDULES
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("exclusive", [False, True])
def test_scans(schedule: TileSchedule, reverse: bool, exclusive: bool) -> None:
    value = _drawn((3, 45), torch.float32)
    for name, dim in (("sum", 1), ("sum", 0), ("prod", 1)):
        check(scanned(value, dim, name, reverse, exclusive), {"x": value}, schedule, 1e-4)
    value = _drawn((2, 19), torch.float32)
    value[1, 4], value[0, :3] = float("nan"), float("-inf")
    for name in ("max", "min", "logsumexp"):
        check(scanned(value, 1, name, reverse, exclusive), {"x": value}, schedule, 1e-5)
    whole = _drawn((3, 21), torch.int32)
    check(scanned(whole, 1, "sum", reverse, exclusive), {"x": whole}, schedule)


Layout = Callable[[torch.Tensor], torch.Tensor]


@pytest.mark.parametrize(
    "layout",
    [lambda x: x, lambda x: x.t(), lambda x: x[::2, 1::3], lambda x: x[:1].expand(9, -1), lambda x: x[:, :0]],
    ids=["contiguous", "transposed", "strided", "expanded", "empty"],
)
def test_layouts(layout: Layout) -> None:
    value = layout(torch.randn(70, 90))
    axes = axes_like(value)
    out = tensor("y", tuple(value.shape), "output")
    body = Map(axes, op("mul", load("x", "a0", "a1"), Const(2.0, "float32")), Store("y", (I("a0"), I("a1"))))
    check(program([tensor("x", value), out], [body]), {"x": value})
    turned = Tensor("y", (value.shape[1], value.shape[0]), "float32", (value.shape[0], 1), "output")
    body = Map(axes, load("x", "a0", "a1"), Store("y", (I("a1"), I("a0"))))
    check(program([tensor("x", value), turned], [body]), {"x": value})


def test_padding_and_gathers() -> None:
    values = {"x": torch.randn(11, 7), "i": torch.randint(0, 11, (5,))}
    axes = axes_like(torch.empty(5, 13))
    padded = load("x", I("a0") * 3 - 2, I("a1") - 4, fill=-1.5)
    gathered = load("x", Index.of(Value(load("i", "a0", dtype="int64"))), I("a1") - 2, fill=0.0)
    made = program(
        [tensor("x", values["x"]), tensor("i", values["i"]), tensor("y", (5, 13), "output")],
        [Map(axes, op("add", padded, gathered), Store("y", (I("a0"), I("a1"))))],
    )
    check(made, values)
