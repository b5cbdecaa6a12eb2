"""Generated loops against the interpreter in float64: every operation, dtype, layout and ragged size."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch

from kernelwright.compiler.cpp._normal import normalise
from kernelwright.compiler.cpp.loops import LoopSchedule, emit_loops, schedules
from kernelwright.compiler.group import group
from kernelwright.compiler.interpret import interpret
from kernelwright.compiler.program import (
    Acc,
    Axis,
    Expr,
    FloorDiv,
    Index,
    Iota,
    Load,
    Map,
    Mod,
    Program,
    Reduce,
    Symbol,
    Tensor,
    Value,
    contiguous,
)

from .harness import (
    I,
    Runner,
    Schedules,
    Unit,
    at,
    computed,
    const,
    load,
    op,
    pointwise,
    program,
    reduction,
    scanned,
    tensor,
)

Case = tuple[str, Program, dict[str, torch.Tensor]]
INF = float("inf")
TOLERANCE = {torch.bfloat16: 1e-2, torch.float16: 2e-3, torch.float32: 2e-5, torch.float64: 1e-11}


def check(cases: list[Case], schedule: Schedules | None = None, tolerance: float | None = None) -> None:
    unit = Unit([p for _, p, _ in cases], schedule)
    for number, (name, built, inputs) in enumerate(cases):
        found = unit.run(number, inputs)
        wanted = interpret(built, inputs, dtype=torch.float64)
        for key, value in found.items():
            compare(name, value, wanted[key], tolerance)


def compare(name: str, found: torch.Tensor, wanted: torch.Tensor, tolerance: float | None = None) -> None:
    if not found.dtype.is_floating_point:
        assert torch.equal(found.to(torch.float64), wanted.to(torch.float64)), name
        return
    limit = tolerance or TOLERANCE[found.dtype]
    assert torch.allclose(found.double(), wanted.double(), rtol=limit, atol=limit, equal_nan=True), name


def special(*shape: int) -> torch.Tensor:
    """Ordinary numbers with some NaN and infinities among them."""
    x = torch.randn(shape)
    flat = x.view(-1)
    flat[::7], flat[3::11], flat[5::13] = float("nan"), INF, -INF
    return x


# ── maps ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16", "int64", "int32", "uint8"])
def test_maps_of_every_dtype_and_ragged_size(dtype: str) -> None:
    kind = getattr(torch, dtype)
    cases: list[Case] = []
    for n in (0, 1, 15, 16, 17, 1000):
        x = torch.randn(3, n).to(kind) if kind.is_floating_point else torch.randint(0, 9, (3, n)).to(kind)
        made = pointwise(
            x, lambda e: op("add", op("mul", e, e, dtype=e.dtype), const(3, e.dtype), dtype=e.dtype), dtype
        )
        cases.append((f"{dtype} {n}", made, {"x": x}))
    check(cases)


def test_layouts_transposed_strided_broadcast_and_reversed() -> None:
    base = torch.randn(37, 70)
    half = torch.randn(70, 37).bfloat16().t()
    views = {
        "transposed": torch.randn(70, 37).t(),
        "strided": torch.randn(37, 140)[:, ::2],
        "broadcast row": torch.randn(1, 70).expand(37, 70),
        "broadcast column": torch.randn(37, 1).expand(37, 70),
    }
    cases: list[Case] = []
    for name, view in views.items():
        axes = (Axis("i", 37), Axis("j", 70))
        value = op("sub", load("x", "i", "j"), load("z", "i", "j"))
        tensors = [tensor("x", base), tensor("z", view), tensor("y", (37, 70), "output")]
        cases.append((name, program(tensors, [Map(axes, value, at("y", "i", "j"))]), {"x": base, "z": view}))
    turned = Map((Axis("i", 37), Axis("j", 70)), load("h", "i", "j"), at("y", "i", "j"))
    cases.append(("half", program([tensor("h", half), tensor("y", (37, 70), "output")], [turned]), {"h": half}))
    backwards = load("x", Index.const(36) - I("i"), Index.const(69) - I("j"))
    flipped = Map((Axis("i", 37), Axis("j", 70)), backwards, at("y", "i", "j"))
    cases.append(("reversed", program([tensor("x", base), tensor("y", (37, 70), "output")], [flipped]), {"x": base}))
    check(cases)


def test_indices_that_are_not_affine() -> None:
    x, rows = torch.randn(12, 40), torch.randint(0, 12, (29,))
    flat = torch.arange(480).float()
    gathered = Map(
        (Axis("i", 29), Axis("j", 40)),
        load("x", Index.of(Value(load("r", "i", dtype="int64"))), "j"),
        at("y", "i", "j"),
    )
    lanes = Map(
        (Axis("j", 40), Axis("i", 29)),
        load("x", Index.of(Value(load("r", "i", dtype="int64"))), "j"),
        at("y", "i", "j"),
    )
    shuffled = load("f", Index.of(FloorDiv(I("k"), 40)) + Index.of(Mod(I("k"), 40)) * 12)
    odd = load("f", Index.of(Mod(I("k") * 7 + 3, 480)))
    made = [tensor("x", x), tensor("r", rows), tensor("y", (29, 40), "output")]
    line = [tensor("f", flat), tensor("y", (480,), "output")]
    check(
        [
            ("rows", program(made, [gathered]), {"x": x, "r": rows}),
            ("rows again", program(made, [lanes]), {"x": x, "r": rows}),
            ("quotient and remainder", program(line, [Map((Axis("k", 480),), shuffled, at("y", "k"))]), {"f": flat}),
            ("remainder alone", program(line, [Map((Axis("k", 480),), odd, at("y", "k"))]), {"f": flat}),
        ]
    )


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "int64", "uint8", "bool"])
def test_bent_indices_are_cut_into_plain_pieces(dtype: str) -> None:
    kind = getattr(torch, dtype)
    x = torch.randint(0, 2, (3, 50)).to(kind) if not kind.is_floating_point else torch.randn(3, 50).to(kind)
    j, last, zero = Iota(I("j") - 19, "int64"), const(49, "int64"), const(0, "int64")

    def int64(name: str, *args: Expr) -> Expr:
        return op(name, *args, dtype="int64")

    mirrored = int64("sub", last, int64("abs", int64("sub", last, int64("abs", j))))
    clamped = int64("minimum", int64("maximum", j, zero), last)
    wrapped = int64("where", op("lt", j, zero, dtype="bool"), int64("add", j, const(50, "int64")), j)
    cases: list[Case] = []
    for name, place, size in (("mirrored", mirrored, 88), ("clamped", clamped, 90), ("wrapped", wrapped, 69)):
        read = load("x", "i", Index.of(Value(place)), dtype=computed(kind))
        statement = Map((Axis("i", 3), Axis("j", size)), read, at("y", "i", "j"))
        made = program([tensor("x", x, dtype=dtype), tensor("y", (3, size), "output", dtype)], [statement])
        kernel = emit_loops(made, group(made)[0], "bent").source
        assert "kw::lanes" not in kernel
        assert ("_reversed" in kernel) == (name == "mirrored")
        cases.append((name, made, {"x": x}))
    check(cases)


def test_padding_casts_conditions_and_iota() -> None:
    x = torch.randn(9, 50)
    inner = load("x", I("i") - 2, I("j") - 3, fill=-1.5)
    padded = Map((Axis("i", 13), Axis("j", 57)), inner, at("y", "i", "j"))
    masked = op(
        "where",
        op("le", Iota(I("j"), "int64"), Iota(I("i") * 5, "int64"), dtype="bool"),
        load("x", "i", "j"),
        const(-INF),
    )
    triangle = Map((Axis("i", 9), Axis("j", 50)), masked, at("y", "i", "j"))
    first = op("lt", Iota(I("i"), "int64"), const(4, "int64"), dtype="bool")
    chosen = op("add", op("where", first, load("x", "i", "j"), const(2.0)), load("x", "i", "j"))
    upper = Map((Axis("i", 9), Axis("j", 50)), chosen, at("y", "i", "j"))
    rounded = op("cast", op("mul", load("x", "i", "j"), const(50.0)), dtype="int64")
    whole = Map((Axis("i", 9), Axis("j", 50)), rounded, at("y", "i", "j"))
    check(
        [
            ("padded", program([tensor("x", x), tensor("y", (13, 57), "output")], [padded]), {"x": x}),
            ("triangle", program([tensor("x", x), tensor("y", (9, 50), "output")], [triangle]), {"x": x}),
            ("upper", program([tensor("x", x), tensor("y", (9, 50), "output")], [upper]), {"x": x}),
            ("cast", program([tensor("x", x), tensor("y", (9, 50), "output", "int64")], [whole]), {"x": x}),
        ]
    )


def test_integer_division_and_shifts_follow_python() -> None:
    a, b = torch.randint(-50, 50, (200,)), torch.randint(1, 9, (200,))
    b[::2] *= -1
    tensors = [tensor("a", a), tensor("b", b), tensor("y", (200,), "output", "int64")]

    def made(name: str, *args: object) -> Program:
        value = op(name, *args, dtype="int64")  # type: ignore[arg-type]
        return program(tensors, [Map((Axis("i", 200),), value, at("y", "i"))])

    la, lb = load("a", "i", dtype="int64"), load("b", "i", dtype="int64")
    names = ("floordiv", "mod", "truncdiv", "fmod", "bitand", "bitxor", "maximum")
    cases: list[Case] = [(name, made(name, la, lb), {"a": a, "b": b}) for name in names]
    cases.append(("shl", made("shl", la, const(3, "int64")), {"a": a, "b": b}))
    check(cases)


@pytest.mark.parametrize("dtype", ["int64", "int32"])
def test_integer_division_at_the_extremes(dtype: str) -> None:
    kind = getattr(torch, dtype)
    bits = torch.iinfo(kind).bits
    edges = [0, 1, 2, 3, 7, 2**11 + 1, 2**23 - 1, 2**30 + 5, 2 ** (bits - 2), 2 ** (bits - 1) - 1, 2 ** (bits - 1) - 9]
    values = [*edges, *(-e for e in edges), -(2 ** (bits - 1)), *(e - 1 for e in edges)]
    divisors = [v for v in values if v] + [50021, -50021, 10, -3]
    a = torch.tensor([x for x in values for _ in divisors], dtype=kind)
    b = torch.tensor([d for _ in values for d in divisors], dtype=kind)
    random = torch.randint(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1, (3000,), dtype=kind)
    a, b = torch.cat((a, random)), torch.cat((b, random.roll(1) >> torch.arange(3000).to(kind) % (bits - 1)))
    b[b == 0] = 13
    y = tensor("y", tuple(a.shape), "output", dtype)
    for name in ("floordiv", "mod"):
        value = op(name, load("a", "i", dtype=dtype), load("b", "i", dtype=dtype), dtype=dtype)
        run = Runner(program([tensor("a", a), tensor("b", b), y], [Map((Axis("i", len(a)),), value, at("y", "i"))]))
        got = run({"a": a, "b": b})["y"]
        exact = [(p // q if name == "floordiv" else p % q) for p, q in zip(a.tolist(), b.tolist(), strict=True)]
        wrapped = [(e + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1) for e in exact]  # -2**63 // -1 has no place
        assert got.tolist() == wrapped, name


# ── reductions ───────────────────────────────────────────────────────────────────────────────────────────────────

SHAPES = [
    ((1000,), (0,)),
    ((17, 33), (1,)),
    ((33, 17), (0,)),
    ((5, 40, 7), (1,)),
    ((5, 40, 7), (0, 2)),
    ((70, 1, 16), (0,)),
]


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "any", "all", "argmax", "argmin"])
def test_reductions_along_any_axes(name: str) -> None:
    cases: list[Case] = []
    kinds = itertools.cycle([torch.float32, torch.bfloat16, torch.int64, torch.float32, torch.float64, torch.bool])
    for (shape, dims), kind in zip(SHAPES, kinds, strict=False):
        if kind == torch.bool and name not in ("any", "all", "max", "min"):
            kind = torch.int32  # lowering casts bool before these
        x = torch.randn(shape).to(kind) if kind.is_floating_point else torch.randint(0, 2, shape).to(kind)
        if name == "prod" and kind.is_floating_point:
            x = (1 + 0.01 * torch.randn(shape)).to(kind)
        cases.append((f"{name} {shape} {dims} {kind}", reduction(x, dims, name), {"x": x}))
    check(cases, tolerance=2e-2 if name in ("sum", "prod") else None)


def test_nan_wins_and_the_first_extreme_counts() -> None:
    x = special(6, 100)
    ties = torch.randint(0, 3, (6, 100)).float()
    hopeless = torch.full((6, 100), -INF)
    cases: list[Case] = []
    for name, dims in itertools.product(("max", "min", "argmax", "argmin"), ((1,), (0,))):
        for kind, value in (("nan", x), ("ties", ties), ("infinite", hopeless)):
            cases.append((f"{name} {dims} {kind}", reduction(value, dims, name), {"x": value}))
    unit = Unit([p for _, p, _ in cases])
    for number, (label, built, inputs) in enumerate(cases):
        name, dims = label.split()[0], len(built.tensors["y"].shape) and int(label[label.index("(") + 1])
        function = {"max": torch.amax, "min": torch.amin, "argmax": torch.argmax, "argmin": torch.argmin}[name]
        compare(label, unit.run(number, inputs)["y"], function(inputs["x"], dims))


def test_long_sums_keep_their_digits() -> None:
    """Blocked sums: the error of a million terms stays near that of a few hundred."""
    x = torch.rand(1 << 20)
    column = torch.rand(1 << 16, 5)
    unit = Unit([reduction(x, (0,), "sum"), reduction(column, (0,), "sum")])
    assert abs(unit.run(0, {"x": x})["y"].double() - x.double().sum()) < 2e-6 * x.double().sum()
    wanted = column.double().sum(0)
    assert ((unit.run(1, {"x": column})["y"].double() - wanted).abs() < 2e-6 * wanted).all()


def test_windows_with_and_without_padding_and_stride() -> None:
    x = torch.randn(2, 3, 21, 37)
    cases: list[Case] = []
    for size, stride, padding in ((3, 1, 1), (3, 2, 1), (2, 2, 0), (5, 1, 2)):
        high, wide = ((n + 2 * padding - size) // stride + 1 for n in (21, 37))
        index = (I("n"), I("c"), I("h") * stride + I("r") - padding, I("w") * stride + I("q") - padding)
        window = Load("x", index, "float32", -INF if padding else None)
        axes = (Axis("n", 2), Axis("c", 3), Axis("h", high), Axis("w", wide))
        raxes = (Axis("r", size), Axis("q", size))
        for name, dtype in (("max", "float32"), ("argmax", "int64")):
            out = tensor("y", (2, 3, high, wide), "output", dtype)
            body = Reduce(axes, raxes, name, window, at("y", "n", "c", "h", "w"), Acc(dtype))
            cases.append((f"{name} pool {size} {stride} {padding}", program([tensor("x", x), out], [body]), {"x": x}))
    kernel = torch.randn(3, 5, 5)
    value = op("mul", load("x", "n", "c", I("h") + I("r") - 2, I("w") + I("q") - 2, fill=0.0), load("k", "c", "r", "q"))
    axes = (Axis("n", 2), Axis("c", 3), Axis("h", 21), Axis("w", 37))
    body = Reduce(axes, (Axis("r", 5), Axis("q", 5)), "sum", value, at("y", "n", "c", "h", "w"), Acc("float32"))
    tensors = [tensor("x", x), tensor("k", kernel), tensor("y", (2, 3, 21, 37), "output")]
    cases.append(("depthwise", program(tensors, [body]), {"x": x, "k": kernel}))
    check(cases)


# ── scans ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "logsumexp"])
def test_scans_in_both_directions(name: str) -> None:
    cases: list[Case] = []
    for (shape, dim), reverse, exclusive in itertools.product(
        (((5, 100), 1), ((37, 20), 0)), (False, True), (False, True)
    ):
        x = torch.randn(shape) if name != "prod" else 1 + 0.05 * torch.randn(shape)
        label = f"{name} {shape} {dim} {reverse} {exclusive}"
        cases.append((label, scanned(x, dim, name, reverse, exclusive), {"x": x}))
    whole = torch.randint(1, 3, (3, 33))
    if name in ("sum", "prod"):
        cases.append((f"{name} of integers", scanned(whole, 1, name), {"x": whole}))
    check(cases, tolerance=1e-4)


# ── groups ───────────────────────────────────────────────────────────────────────────────────────────────────────


def softmax(rows: int, columns: int, dim: int) -> Program:
    """Three statements with axes of their own, as lowering makes them."""
    shape, kept = (rows, columns), (rows, columns)[1 - dim]
    tensors = [
        Tensor("x", shape, "float32", contiguous(shape), "input"),
        Tensor("m", (kept,), "float32", (1,), "temp"),
        Tensor("s", (kept,), "float32", (1,), "temp"),
        Tensor("y", shape, "float32", contiguous(shape), "output"),
    ]

    def axes(k: int) -> tuple[Axis, Axis]:
        return Axis(f"i{k}", rows), Axis(f"j{k}", columns)

    def power(k: int) -> op:  # type: ignore[valid-type]
        i, j = axes(k)
        return op("exp", op("sub", load("x", i.name, j.name), load("m", (j, i)[dim].name)))

    statements: list[object] = []
    for k, (name, target) in enumerate((("max", "m"), ("sum", "s"))):
        outer, inner = axes(k)[1 - dim], axes(k)[dim]
        value = load("x", f"i{k}", f"j{k}") if name == "max" else power(k)
        statements.append(Reduce((outer,), (inner,), name, value, at(target, outer.name), Acc("float32")))
    total = load("s", axes(2)[1 - dim].name)
    statements.append(Map(axes(2), op("div", power(2), total), at("y", "i2", "j2")))
    return program(tensors, statements)


def layer_norm(rows: int, columns: int, dtype: str) -> Program:
    shape = (rows, columns)
    tensors = [
        Tensor("x", shape, dtype, contiguous(shape), "input"),
        Tensor("g", (columns,), "float32", (1,), "input"),
        *(Tensor(n, (rows,), "float32", (1,), "temp") for n in ("m", "r")),
        Tensor("y", shape, dtype, contiguous(shape), "output"),
    ]
    centred = [op("sub", load("x", f"i{k}", f"j{k}"), load("m", f"i{k}")) for k in range(3)]
    scale = const(1 / columns)
    mean = op("mul", Acc("float32"), scale)
    root = op("rsqrt", op("add", op("mul", Acc("float32"), scale), const(1e-5)))
    value = op("mul", op("mul", centred[2], load("r", "i2")), load("g", "j2"))
    return program(
        tensors,
        [
            Reduce((Axis("i0", rows),), (Axis("j0", columns),), "sum", load("x", "i0", "j0"), at("m", "i0"), mean),
            Reduce((Axis("i1", rows),), (Axis("j1", columns),), "sum", op("square", centred[1]), at("r", "i1"), root),
            Map((Axis("i2", rows), Axis("j2", columns)), value, at("y", "i2", "j2")),
        ],
    )


def transposed(rows: int, columns: int) -> Program:
    body = Map((Axis("i", rows), Axis("j", columns)), load("x", "j", "i"), at("y", "i", "j"))
    return program([tensor("x", (columns, rows)), tensor("y", (rows, columns), "output")], [body])


def every_schedule(number: int) -> Callable[[Program, object], LoopSchedule]:
    def choose(built: Program, found: object) -> LoopSchedule:
        listed = schedules(built, found)  # type: ignore[arg-type]
        return listed[number % len(listed)]

    return choose


@pytest.mark.parametrize("number", range(4))
def test_groups_under_every_schedule(number: int) -> None:
    cases: list[Case] = []
    for rows, columns, dim in ((7, 100, 1), (100, 70, 0), (40, 17, 1), (17, 1, 1)):
        built = softmax(rows, columns, dim)
        cases.append((f"softmax {rows} {columns} {dim}", built, {"x": torch.randn(rows, columns) * 3}))
    for dtype in ("float32", "bfloat16"):
        inputs = {"x": torch.randn(33, 130).to(getattr(torch, dtype)), "g": torch.randn(130)}
        cases.append((f"layer norm {dtype}", layer_norm(33, 130, dtype), inputs))
    wide = torch.randn(700, 1100)
    for name in ("sum", "max", "argmin"):
        cases.append((f"swept {name}", reduction(wide, (0,), name), {"x": wide}))
    x = torch.rand(40000, 3) - 0.25  # nothing cancels: what is compared is relative
    cases.append(("split sum", reduction(x, (0,), "sum"), {"x": x}))
    cases.append(("split max", reduction(x, (0,), "max"), {"x": x}))
    check(cases, every_schedule(number), tolerance=1e-2 if number else None)


def test_small_work_is_repeated_so_that_images_are_walked_in_order() -> None:
    x, v = torch.randn(5, 6, 700), torch.rand(6)
    tensors = [tensor("x", x), tensor("v", v), tensor("t", (6,), "temp"), tensor("y", (5, 6, 700), "output")]
    scale = Map((Axis("d", 6),), op("rsqrt", op("add", load("v", "d"), const(0.1))), at("t", "d"))
    axes = (Axis("i", 5), Axis("c", 6), Axis("k", 700))
    scaled = Map(axes, op("mul", load("x", "i", "c", "k"), load("t", "c")), at("y", "i", "c", "k"))
    built = program(tensors, [scale, scaled])
    (found,) = group(built)
    assert [a.name for a in found.outer] == ["d"]
    assert [a.name for a in normalise(built, found).outer] == ["i", "d"]
    check([("scaled", built, {"x": x, "v": v})])


def test_a_softmax_is_one_kernel_without_temporaries() -> None:
    built = softmax(64, 1000, 1)
    (found,) = group(built)
    code = emit_loops(built, found, "softmax")
    assert code.tensors == ("x", "y")
    assert code.scratch == 0


def test_sizes_may_be_symbols() -> None:
    import sympy

    n, m = sympy.symbols("n m", integer=True, positive=True)
    shape = (n, m)
    tensors = [
        Tensor("x", shape, "float32", (m, 1), "input"),
        Tensor("s", (n,), "float32", (1,), "output"),
        Tensor("y", shape, "float32", (m, 1), "output"),
    ]
    total = Reduce((Axis("i", n),), (Axis("j", m),), "sum", load("x", "i", "j"), at("s", "i"), Acc("float32"))
    body = Map((Axis("a", n), Axis("b", m)), op("div", load("x", "a", "b"), load("s", "a")), at("y", "a", "b"))
    symbols = [Symbol("n", "x", 0, 1, 1000), Symbol("m", "x", 1, 1, 5000)]
    built = program(tensors, [total, body], symbols)
    unit = Unit([built])
    for size in ((1, 1), (3, 17), (50, 999)):
        x = torch.rand(size) + 0.5
        found = unit.run(0, {"x": x})
        compare(f"symbols {size}", found["s"], x.double().sum(1), 1e-5)
        compare(f"symbols {size}", found["y"], x.double() / x.double().sum(1, keepdim=True), 1e-5)


def test_golden_sources(golden: Callable[[str, str], None]) -> None:
    for name, built in (
        ("softmax_row.cpp", softmax(64, 1000, 1)),
        ("softmax_column.cpp", softmax(64, 1000, 0)),
        ("layer_norm.cpp", layer_norm(32, 768, "bfloat16")),
        ("sum_split.cpp", reduction(torch.empty(1 << 20), (0,), "sum")),
        ("max_sweep.cpp", reduction(torch.empty(2048, 2048), (0,), "max")),
        ("transpose.cpp", transposed(1000, 700)),
        ("cumsum.cpp", scanned(torch.empty(8, 100), 1, "sum")),
    ):
        (found,) = group(built)
        golden(name, emit_loops(built, found, name.split(".")[0]).source)
