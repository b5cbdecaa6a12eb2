"""Every operation, cast, reduction and scan against the interpreter of programs: special values, dtypes, layouts."""

from __future__ import annotations

import itertools

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

from ..cpp.harness import I, axes_like, load, op, program, reduction, scanned, tensor
from .emulated import Case, check, each_schedule

SPECIAL = [0.0, -0.0, 1.0, -1.0, float("inf"), float("-inf"), float("nan"), 0.5, -0.5, 2.5, -2.5, 1e-30, 88.0, -104.0]


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


def _float_operations(dtype: torch.dtype) -> Case:
    kind = str(dtype).removeprefix("torch.")
    pairs = torch.tensor(list(itertools.product(SPECIAL, SPECIAL)), dtype=dtype)
    values = {"a": pairs[:, 0].contiguous(), "b": pairs[:, 1].contiguous()}
    a, b = load("a", "a0", dtype=kind), load("b", "a0", dtype=kind)
    logic = ("and", "or", "xor", "not", "bitand", "bitor", "bitxor", "bitnot", "shl", "shr", "where", "cast")
    names = [n for n in OPS if n not in logic and not n.startswith("round_to")]
    compared = ("eq", "ne", "lt", "le", "gt", "ge", "isnan", "isinf")
    exprs = [op(n, *(a, b)[: OPS[n]], dtype="bool" if n in compared else kind) for n in names]
    exprs.append(op("where", op("lt", a, b, dtype="bool"), a, Const(2.0, kind), dtype=kind))
    return Case(every(values, exprs), values, 3e-6 if dtype == torch.float32 else 1e-12)


def test_float_operations() -> None:
    values = {"a": torch.linspace(0.01, 4.0, 1000)}
    exprs: list[Expr] = [op(n, load("a", "a0")) for n in FUNCTIONS]
    exprs += [op(n, op("neg", load("a", "a0"))) for n in FUNCTIONS]
    check(_float_operations(torch.float32), _float_operations(torch.float64), Case(every(values, exprs), values, 2e-6))


def _integer_operations(dtype: torch.dtype) -> Case:
    kind = str(dtype).removeprefix("torch.")
    limits = torch.iinfo(dtype)
    numbers = [0, 1, 2, 3, 7, 100, limits.max, limits.max - 1]
    numbers += [] if limits.min == 0 else [-1, -2, -7, limits.min + 1]
    pairs = list(itertools.product(numbers, numbers))
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
    exprs += [op(x, a, b, dtype="bool") for x in ("eq", "ne", "lt", "le", "gt", "ge")]
    return Case(every(values, exprs), values)


def _truths() -> Case:
    pairs = torch.tensor(list(itertools.product([False, True], repeat=2)))
    values = {"a": pairs[:, 0].contiguous(), "b": pairs[:, 1].contiguous()}
    a, b = load("a", "a0", dtype="bool"), load("b", "a0", dtype="bool")
    names = ("and", "or", "xor", "add", "mul", "maximum", "minimum", "eq", "ne", "lt", "le", "gt", "ge", "bitxor")
    exprs: list[Expr] = [op(n, a, b, dtype="bool") for n in names]
    exprs += [op("not", a, dtype="bool"), op("bitnot", a, dtype="bool"), op("cast", a, dtype="float32")]
    exprs += [op("cast", a, dtype="int64"), op("where", a, Const(1, "int32"), Const(-1, "int32"), dtype="int32")]
    return Case(every(values, exprs), values)


def test_integers_and_truths() -> None:
    integers = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
    check(_truths(), *(_integer_operations(dtype) for dtype in integers))


def test_casts_and_half_types() -> None:
    cases = []
    for source in (torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.int8, torch.bool):
        value = (torch.arange(-6, 7) * 2.5).to(source)
        kinds = ("float32", "float64", "int64", "int32", "bool", "int16")
        inside = str(source).removeprefix("torch.")
        computed = "float32" if source in (torch.bfloat16, torch.float16) else inside
        cases.append(
            Case(
                every({"x": value}, [op("cast", load("x", "a0", dtype=computed), dtype=kind) for kind in kinds]),
                {"x": value},
            )
        )
    for half in ("bfloat16", "float16"):
        x = torch.cat([torch.randn(500), torch.tensor([float("inf"), float("nan"), 1e-8, 0.0, 65519.0, 65521.0])])
        values = {"x": x.to(getattr(torch, half))}
        third = op("div", load("x", "a0"), Const(3.0, "float32"))
        axes = axes_like(values["x"])
        made = program(
            [tensor("x", values["x"]), tensor("y", (506,), "output", half), tensor("z", (506,), "output")],
            [
                Map(axes, third, Store("y", (I("a0"),))),
                Map(axes, op(f"round_to_{half}", third), Store("z", (I("a0"),))),
            ],
        )
        cases.append(Case(made, values))
    check(*cases)


# ── reductions and scans ─────────────────────────────────────────────────────────────────────────────────────────


def _drawn(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    torch.manual_seed(0)
    if dtype == torch.bool:
        return torch.rand(shape) > 0.4
    if dtype.is_floating_point:
        return torch.randn(shape, dtype=torch.float64).to(dtype)
    return torch.randint(-9, 9, shape).to(dtype)


def test_reductions() -> None:
    cases = []
    for shape in ((5, 37), (3, 136), (1, 1), (2, 3, 70), (1, 3000)):
        for dims in ([len(shape) - 1], [0], list(range(len(shape)))):
            for name in ("sum", "argmin"):
                value = _drawn(shape)
                cases.append(Case(reduction(value, dims, name), {"x": value}, 1e-4 if name == "sum" else 0.0))
    check(*each_schedule(cases))


def test_reductions_of_other_dtypes() -> None:
    cases = []
    for dtype in (torch.float64, torch.bfloat16, torch.int64, torch.int32, torch.int8):
        value = _drawn((7, 48), dtype)
        for name in ("sum", "max", "argmin"):
            tolerance = 1e-2 if dtype == torch.bfloat16 else 1e-9
            cases.append(Case(reduction(value, [1], name), {"x": value}, tolerance))
    truths = _drawn((6, 19), torch.bool)
    truths[2], truths[3] = True, False
    cases += [Case(reduction(truths, [dim], name), {"x": truths}) for name in ("any", "all") for dim in (0, 1)]
    value = _drawn((3, 21))
    check(*cases, Case(reduction(value, [1], "prod"), {"x": value}, 1e-5))


def test_reductions_of_nan_infinities_and_nothing() -> None:
    value = _drawn((6, 44))
    value[0, 7] = value[0, 30] = float("nan")
    value[1], value[2], value[4] = float("-inf"), float("inf"), float("nan")
    value[3, 43] = float("inf")
    cases = [
        Case(reduction(x, [dim], name), {"x": x}, 1e-5)
        for name in ("max", "min", "argmax", "argmin", "sum")
        for x, dim in ((value, 1), (value.t().contiguous(), 0))
    ]
    for shape in ((3, 0), (0, 3), (0, 0)):
        cases.append(Case(reduction(torch.empty(shape), [1], "sum"), {"x": torch.empty(shape)}))
    check(*each_schedule(cases))


@pytest.mark.parametrize("reverse", [False, True])
def test_scans(reverse: bool) -> None:
    cases = []
    for exclusive in (False, True):
        value = _drawn((3, 300))
        for name, dim in (("sum", 1), ("sum", 0), ("prod", 1)):
            cases.append(Case(scanned(value, dim, name, reverse, exclusive), {"x": value}, 2e-4))
        value = _drawn((2, 19))
        value[1, 4], value[0, :3] = float("nan"), float("-inf")
        for name in ("max", "min", "logsumexp"):
            cases.append(Case(scanned(value, 1, name, reverse, exclusive), {"x": value}, 1e-5))
        whole = _drawn((3, 21), torch.int32)
        cases.append(Case(scanned(whole, 1, "sum", reverse, exclusive), {"x": whole}))
    check(*cases, *each_schedule(cases[:2]))


# ── places ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_layouts() -> None:
    cases = []
    whole = torch.randn(70, 96)
    for value in (whole, whole.t(), whole[::2, 1::3], whole[:1].expand(9, -1), whole[:, :0], whole[:1, :1]):
        axes = axes_like(value)
        out = tensor("y", tuple(value.shape), "output")
        body = Map(axes, op("mul", load("x", "a0", "a1"), Const(2.0, "float32")), Store("y", (I("a0"), I("a1"))))
        cases.append(Case(program([tensor("x", value), out], [body]), {"x": value}))
        turned = Tensor("y", (value.shape[1], value.shape[0]), "float32", (value.shape[0], 1), "output")
        body = Map(axes, load("x", "a0", "a1"), Store("y", (I("a1"), I("a0"))))
        cases.append(Case(program([tensor("x", value), turned], [body]), {"x": value}))
    check(*each_schedule(cases))


def test_vectors_end_in_tails() -> None:
    cases = []
    for size in (1, 7, 1 << 18, (1 << 18) + 3):
        value = torch.randn(size)
        out = tensor("y", (size,), "output")
        cases.append(
            Case(
                program(
                    [tensor("x", value), out],
                    [Map(axes_like(value), op("exp", load("x", "a0")), Store("y", (I("a0"),)))],
                ),
                {"x": value},
                1e-6,
            )
        )
    check(*cases)


def test_padding_and_gathers() -> None:
    values = {"x": torch.randn(11, 7), "i": torch.randint(0, 11, (5,))}
    axes = axes_like(torch.empty(5, 13))
    padded = load("x", I("a0") * 3 - 2, I("a1") - 4, fill=-1.5)
    gathered = load("x", Index.of(Value(load("i", "a0", dtype="int64"))), I("a1") - 2, fill=0.0)
    made = program(
        [tensor("x", values["x"]), tensor("i", values["i"]), tensor("y", (5, 13), "output")],
        [Map(axes, op("add", padded, gathered), Store("y", (I("a0"), I("a1"))))],
    )
    check(*each_schedule([Case(made, values)]))
