"""Which statements become one kernel."""

from __future__ import annotations

import torch

from kernelwright.compiler import prepare
from kernelwright.compiler.group import group
from kernelwright.compiler.program import Acc, Axis, Extern, Index, Map, Program, Reduce, Statement, Tensor, contiguous

from .cpp.harness import at, const, load, op, program, tensor
from .cpp.test_loops import layer_norm, softmax

N, M = 512, 700


def maps(*shapes: tuple[str, tuple[int, ...], str]) -> list[Tensor]:
    return [tensor(name, shape, role) for name, shape, role in shapes]


def sizes(built: Program, contraction: object = None) -> list[int]:
    found = group(built, contraction) if contraction else group(built)  # type: ignore[arg-type]
    return [len(g.statements) for g in found]


def test_rows_of_softmax_and_layer_norm_are_one_kernel() -> None:
    for built in (softmax(N, M, 1), softmax(N, M, 0), layer_norm(N, M, "float32")):
        (found,) = group(built)
        assert len(found.statements) == 3
        assert len(found.outer) == 1
        assert len(found.local) == 2


def test_a_product_with_a_vector_rides_along_and_many_rows_stay_rows() -> None:
    """The gradient of a layer norm: two sums and a map over rows in one pass; sums over all rows in another kernel."""

    def fn(*args: torch.Tensor) -> tuple[torch.Tensor, ...]:
        to_input, *rest = torch.ops.aten.native_layer_norm_backward(args[0], args[1], [128], *args[2:], [True] * 3)
        return to_input, to_input.sum(0), *rest

    rows = torch.randn(400, 128)
    args = (torch.randn(400, 128), rows, rows.mean(1, keepdim=True), rows.std(1, keepdim=True), *torch.randn(2, 128))
    found = [k.group for k in prepare(fn, args).kernels if not isinstance(k, Extern)]
    whole = next(g for g in found if len(g.statements) == 3)
    assert [a.size for a in whole.outer] == [400]
    assert all(isinstance(s, Reduce) and s.raxes[0].size == 400 for g in found if g is not whole for s in g.statements)


def test_shared_axes_get_one_name() -> None:
    (found,) = group(softmax(N, M, 1))
    names = {a.name for s in found.statements for a in (*s.axes, *getattr(s, "raxes", ()))}  # type: ignore[union-attr]
    assert names == {"i0", "j0"}


def test_channels_are_the_outer_axis_of_batch_norm() -> None:
    shape = (8, 32, 400)
    total = Reduce(
        (Axis("c0", 32),),
        (Axis("n0", 8), Axis("s0", 400)),
        "sum",
        load("x", "n0", "c0", "s0"),
        at("t", "c0"),
        Acc("float32"),
    )
    value = op("sub", load("x", "n1", "c1", "s1"), load("t", "c1"))
    centred = Map((Axis("n1", 8), Axis("c1", 32), Axis("s1", 400)), value, at("y", "n1", "c1", "s1"))
    built = program(maps(("x", shape, "input"), ("t", (32,), "temp"), ("y", shape, "output")), [total, centred])
    (found,) = group(built)
    assert [a.name for a in found.outer] == ["c0"]
    assert found.local == ("t",)


def test_a_reshape_between_statements_does_not_part_them() -> None:
    """Group norm: statistics over (groups, rest) of memory that the map reads as (channels, space)."""
    tensors = [
        Tensor("x", (8, 32, 100), "float32", contiguous((8, 32, 100)), "input"),
        Tensor("u", (8, 32, 100), "float32", contiguous((8, 32, 100)), "temp"),
        Tensor("v", (8, 3200), "float32", (3200, 1), "temp", alias="u"),
        Tensor("t", (8,), "float32", (1,), "output"),
    ]
    axes = (Axis("n0", 8), Axis("c0", 32), Axis("s0", 100))
    first = Map(axes, op("exp", load("x", "n0", "c0", "s0")), at("u", "n0", "c0", "s0"))
    second = Reduce((Axis("n1", 8),), (Axis("k1", 3200),), "sum", load("v", "n1", "k1"), at("t", "n1"), Acc("float32"))
    (found,) = group(program(tensors, [first, second]))
    assert [a.name for a in found.outer] == ["n0"]


def test_whole_sums_and_maps_of_the_same_points_are_one_kernel() -> None:
    """Its threads share the points, nest by nest; a map of other points stays apart."""
    total = Reduce((), (Axis("i0", N), Axis("j0", M)), "sum", load("x", "i0", "j0"), at("t"), Acc("float32"))
    scaled = Map((Axis("i1", N), Axis("j1", M)), op("div", load("x", "i1", "j1"), load("t")), at("y", "i1", "j1"))
    tensors = maps(("x", (N, M), "input"), ("t", (), "temp"), ("y", (N, M), "output"))
    assert sizes(program(tensors, [total, scaled])) == [2]
    wider = Map((Axis("i1", N), Axis("j1", 3 * M)), op("div", load("x", "i1", "j1"), load("t")), at("y", "i1", "j1"))
    tensors = maps(("x", (N, M), "input"), ("t", (), "temp"), ("y", (N, 3 * M), "output"))
    assert sizes(program(tensors, [total, wider])) == [1, 1]


def test_small_work_is_one_serial_kernel() -> None:
    total = Reduce((), (Axis("i0", 8), Axis("j0", 9)), "sum", load("x", "i0", "j0"), at("t"), Acc("float32"))
    scaled = Map((Axis("i1", 8), Axis("j1", 9)), op("div", load("x", "i1", "j1"), load("t")), at("y", "i1", "j1"))
    tensors = maps(("x", (8, 9), "input"), ("t", (), "temp"), ("y", (8, 9), "output"))
    assert sizes(program(tensors, [total, scaled])) == [2]


def test_independent_maps_of_one_tensor_share_its_loads() -> None:
    statements: list[Statement] = []
    for k, name in enumerate(("exp", "sin")):
        axes = (Axis(f"i{k}", N), Axis(f"j{k}", M))
        statements.append(Map(axes, op(name, load("x", f"i{k}", f"j{k}")), at(f"y{k}", f"i{k}", f"j{k}")))
    tensors = maps(("x", (N, M), "input"), ("y0", (N, M), "output"), ("y1", (N, M), "output"))
    assert sizes(program(tensors, statements)) == [2]


def test_neighbours_that_read_shifted_rows_stay_apart() -> None:
    first = Map((Axis("i0", N), Axis("j0", M)), op("exp", load("x", "i0", "j0")), at("t", "i0", "j0"))
    shifted = load("t", Index.const(N - 1) - Index.axis("i1"), "j1")
    second = Map((Axis("i1", N), Axis("j1", M)), shifted, at("y", "i1", "j1"))
    tensors = maps(("x", (N, M), "input"), ("t", (N, M), "temp"), ("y", (N, M), "output"))
    (found,) = group(program(tensors, [first, second]))
    assert [a.name for a in found.outer] == ["j0"]


def test_contractions_and_calls_stand_alone_and_order_is_kept() -> None:
    axes = (Axis("i0", N), Axis("j0", M))
    first = Map(axes, op("exp", load("x", "i0", "j0")), at("t", "i0", "j0"))
    call = Extern("aten::sort", ({"tensor": "t"},), (), ("u",))
    last = Map((Axis("i1", N), Axis("j1", M)), op("add", load("u", "i1", "j1"), const(1.0)), at("y", "i1", "j1"))
    other = Map((Axis("i2", N), Axis("j2", M)), op("sin", load("x", "i2", "j2")), at("z", "i2", "j2"))
    shape = (N, M)
    tensors = maps(("x", shape, "input"), ("t", shape, "temp"), ("u", shape, "temp"), ("y", shape, "output"))
    built = program([*tensors, tensor("z", shape, "output")], [first, call, last, other])
    assert sizes(built) == [2, 1, 1]
    assert sizes(built, lambda s: s is first) == [1, 1, 1, 1]
