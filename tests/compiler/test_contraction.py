"""Which statements are contractions, and which part each axis plays."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from kernelwright.compiler.contraction import classify, is_contraction, padded_dims
from kernelwright.compiler.program import Const, FloorDiv, Index, Load, Op, Reduce

from .contraction_lab import Case, convolution, einsum


def _parts(case: Case) -> dict[str, tuple[str, ...]]:
    parts = classify(case.program, case.reduce)
    return {name: tuple(x.name for x in getattr(parts, name)) for name in ("batch", "m", "n", "k")}


def test_the_vector_axis_is_the_one_the_result_is_contiguous_along() -> None:
    a, b = torch.randn(20, 30), torch.randn(30, 40)
    assert _parts(einsum("mk,kn->mn", a, b)) == {"batch": (), "m": ("xm",), "n": ("xn",), "k": ("xk",)}
    assert _parts(einsum("mk,kn->nm", a, b)) == {"batch": (), "m": ("xn",), "n": ("xm",), "k": ("xk",)}


def test_axes_of_both_operands_are_batch_axes() -> None:
    case = einsum("bmk,bkn->bmn", torch.randn(2, 20, 5), torch.randn(2, 5, 30))
    assert _parts(case)["batch"] == ("xb",)


def test_what_reads_everything_once_is_no_contraction() -> None:
    for text, shape in (("bk,bk->b", (40, 30)), ("k,k->", (900,))):
        case = einsum(text, torch.randn(shape), torch.randn(shape))
        assert not is_contraction(case.program, case.reduce)


def test_few_columns_yield_to_many_rows() -> None:
    case = einsum("mk,kn->mn", torch.randn(100, 8), torch.randn(8, 3))
    assert _parts(case)["n"] == ("xm",)


def test_pixels_are_columns_and_channels_rows() -> None:
    case = convolution(torch.randn(2, 3, 9, 9), torch.randn(8, 3, 3, 3), padding=1)
    parts = classify(case.program, case.reduce)
    assert parts.b.tensor == "x"
    assert parts.windowed
    assert [x.name for x in parts.m] == ["o"]
    assert [x.name for x in parts.k] == ["c", "t0", "t1"]


def test_padding_is_seen_only_where_an_index_leaves_the_tensor() -> None:
    padded = convolution(torch.randn(1, 3, 9, 9), torch.randn(4, 3, 3, 3), padding=1)
    parts = classify(padded.program, padded.reduce)
    sizes = {x.name: x.size for x in (*padded.reduce.axes, *padded.reduce.raxes)}
    assert padded_dims(padded.program, parts.b, sizes) == (2, 3)
    assert padded_dims(padded.program, replace(parts.b, fill=None), sizes) == ()


def _changed(reduce: Reduce, **changes: object) -> Reduce:
    return replace(reduce, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["max", "sum of one load", "integers", "gather", "no sum"])
def test_other_statements_are_left_alone(kind: str) -> None:
    case = einsum("mk,kn->mn", torch.randn(4, 5), torch.randn(5, 6))
    reduce = case.reduce
    value = reduce.value
    assert isinstance(value, Op)
    left = value.args[0]
    assert isinstance(left, Load)
    other = {
        "max": _changed(reduce, op="max"),
        "sum of one load": _changed(reduce, value=Op("mul", (left, Const(2.0, "float32")), "float32")),
        "integers": _changed(reduce, value=replace(value, dtype="int64")),
        "gather": _changed(
            reduce,
            value=replace(
                value,
                args=(replace(left, index=(Index.of(FloorDiv(Index.axis("xm"), 2)), left.index[1])), value.args[1]),
            ),
        ),
        "no sum": _changed(reduce, raxes=()),
    }[kind]
    assert is_contraction(case.program, reduce)
    assert not is_contraction(case.program, other)
