"""The interpreter on hand-written programs, whose values can be checked by eye."""

from __future__ import annotations

import pytest
import sympy
import torch

from kernelwright.compiler.interpret import interpret
from kernelwright.compiler.program import (
    Acc,
    Axis,
    Expr,
    FloorDiv,
    Index,
    Load,
    Map,
    Mod,
    Op,
    Program,
    Reduce,
    Scan,
    Statement,
    Store,
    Symbol,
    Tensor,
    Value,
    contiguous,
)
from kernelwright.errors import InputsInvalid

ROW, COL = Index.axis("i"), Index.axis("j")


def program(statement: Statement, shape: tuple[int, ...], x: tuple[int, ...] = (3, 4)) -> Program:
    tensors = {
        "x": Tensor("x", x, "float32", contiguous(x), "input"),
        "y": Tensor("y", shape, "float32", contiguous(shape), "output"),
    }
    return Program(tensors, ("x",), ("y",), (statement,))


def load(*index: Index, fill: float | None = None) -> Expr:
    return Load("x", index, "float32", fill)


X = torch.arange(12.0).reshape(3, 4)


def test_a_transposing_map() -> None:
    p = program(Map((Axis("i", 4), Axis("j", 3)), load(COL, ROW), Store("y", (ROW, COL))), (4, 3))
    assert torch.equal(interpret(p, {"x": X})["y"], X.t())


def test_a_load_beyond_the_edge_gives_the_fill() -> None:
    p = program(Map((Axis("i", 5), Axis("j", 4)), load(ROW - 1, COL, fill=7.0), Store("y", (ROW, COL))), (5, 4))
    assert torch.equal(interpret(p, {"x": X})["y"], torch.nn.functional.pad(X, (0, 0, 1, 1), value=7.0))


def test_division_and_remainder_of_an_index() -> None:
    index = (Index.of(FloorDiv(ROW, 4)), Index.of(Mod(ROW, 4)))
    p = program(Map((Axis("i", 12),), load(*index), Store("y", (ROW,))), (12,))
    assert torch.equal(interpret(p, {"x": X})["y"], X.reshape(-1))


def test_a_gather_reads_where_a_value_says() -> None:
    at = Index.of(Value(Op("cast", (load(ROW, Index()),), "int64")))
    p = program(Map((Axis("i", 2),), load(at, Index()), Store("y", (ROW,))), (2,), (2, 1))
    assert interpret(p, {"x": torch.tensor([[1.0], [0.0]])})["y"].tolist() == [0.0, 1.0]


@pytest.mark.parametrize(("op", "expected"), [("sum", X.sum(1) * 2), ("max", X.amax(1) * 2), ("prod", X.prod(1) * 2)])
def test_a_reduce_ends_with_its_epilogue(op: str, expected: torch.Tensor) -> None:
    double = Op("add", (Acc("float32"), Acc("float32")), "float32")
    p = program(Reduce((Axis("i", 3),), (Axis("j", 4),), op, load(ROW, COL), Store("y", (ROW,)), double), (3,))
    assert torch.equal(interpret(p, {"x": X})["y"], expected)


@pytest.mark.parametrize(
    ("reverse", "exclusive", "expected"),
    [
        (False, False, [1.0, 3.0, 6.0]), (True, False, [6.0, 5.0, 3.0]), (False, True, [0.0, 1.0, 3.0]),
        (True, True, [5.0, 3.0, 0.0]),
    ],
)  # fmt: skip
def test_scans(reverse: bool, exclusive: bool, expected: list[float]) -> None:
    scan = Scan((), Axis("i", 3), "sum", load(ROW), Store("y", (ROW,)), reverse, exclusive)
    assert interpret(program(scan, (3,), (3,)), {"x": torch.tensor([1.0, 2.0, 3.0])})["y"].tolist() == expected


def test_what_is_not_written_is_nan() -> None:
    p = program(Map((Axis("i", 2),), load(ROW, Index()), Store("y", (ROW * 2,))), (4,))
    assert interpret(p, {"x": X})["y"].isnan().tolist() == [False, True, False, True]


def test_symbols_come_from_shapes() -> None:
    n = sympy.Symbol("n", integer=True, positive=True)
    tensors = {
        "x": Tensor("x", (n,), "float32", (1,), "input"),
        "y": Tensor("y", (n + 1,), "float32", (1,), "output"),
    }
    body = Map((Axis("i", n + 1),), load(ROW, fill=0.0), Store("y", (ROW,)))
    p = Program(tensors, ("x",), ("y",), (body,), (Symbol("n", "x", 0, 2, 8),))
    for size in (2, 5):
        assert interpret(p, {"x": torch.ones(size)})["y"].tolist() == [1.0] * size + [0.0]
    with pytest.raises(InputsInvalid, match="should be in"):
        interpret(p, {"x": torch.ones(9)})


def test_sentences() -> None:
    p = program(Map((Axis("i", 3),), load(ROW, Index()), Store("y", (ROW,))), (3,))
    with pytest.raises(InputsInvalid, match="is missing"):
        interpret(p, {})
    with pytest.raises(InputsInvalid, match="has shape"):
        interpret(p, {"x": torch.ones(2, 2)})
