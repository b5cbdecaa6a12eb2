"""Pointwise operations: arithmetic, comparisons, casts, activations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch._prims_common import ELEMENTWISE_TYPE_PROMOTION_KIND as KIND
from torch._prims_common import elementwise_dtypes

from ..program import FUNCTIONS, Const, Expr, Op
from ._builder import require
from ._driver import Lowering, dtype_name, lowers
from ._lazy import Lazy, cast, compare, compute, const, op, pointwise, where


def promoted(*values: Any, kind: KIND = KIND.DEFAULT) -> str:
    """The dtype that torch computes an operation on these values in."""
    stand_ins = [
        torch.empty((1,) * v.rank, dtype=getattr(torch, v.dtype), device="meta") if isinstance(v, Lazy) else v
        for v in values
        if not (v is None or hasattr(v, "free_symbols"))
    ]
    return dtype_name(elementwise_dtypes(*stand_ins, type_promotion_kind=kind)[0])


def elementwise(
    low: Lowering, combine: Callable[..., Expr], *values: Any, within: str | None = None, out: str | None = None
) -> Lazy:
    """Broadcast the values, convert them to the dtype ``within`` and combine them; the result has dtype ``out``."""
    out = out or low.dtype
    kind = compute(within or out)
    shape = low.shape
    kids = [low.broadcast(low.lift(v, kind), shape) for v in values]

    def full(*exprs: Expr) -> Expr:
        return cast(combine(*(cast(e, kind) for e in exprs)), out)

    return pointwise(shape, out, full, *kids)


# ── arithmetic ──


def _scaled(other: Expr, alpha: float | int) -> Expr:
    return other if alpha == 1 else op("mul", other, const(alpha, other.dtype))


@lowers("add")
def add(low: Lowering, self: Any, other: Any, alpha: Any = 1) -> Lazy:
    if low.dtype == "bool":
        return elementwise(low, lambda a, b: op("or", a, b), self, other)
    require(isinstance(alpha, int | float), "a symbolic alpha")
    return elementwise(low, lambda a, b: op("add", a, _scaled(b, alpha)), self, other)


@lowers("sub")
def sub(low: Lowering, self: Any, other: Any, alpha: Any = 1) -> Lazy:
    return elementwise(low, lambda a, b: op("sub", a, _scaled(b, alpha)), self, other)


@lowers("rsub")
def rsub(low: Lowering, self: Any, other: Any, alpha: Any = 1) -> Lazy:
    return elementwise(low, lambda a, b: op("sub", b, _scaled(a, alpha)), self, other)


@lowers("mul")
def mul(low: Lowering, self: Any, other: Any) -> Lazy:
    name = "and" if low.dtype == "bool" else "mul"
    return elementwise(low, lambda a, b: op(name, a, b), self, other)


@lowers("div", "true_divide", "divide")
def div(low: Lowering, self: Any, other: Any, rounding_mode: str | None = None) -> Lazy:
    if rounding_mode is None:
        return elementwise(low, _divide, self, other)
    floating = low.dtype in ("float32", "float64", "bfloat16", "float16")
    if not floating:
        name = {"floor": "floordiv", "trunc": "truncdiv"}[rounding_mode]
        return elementwise(low, lambda a, b: op(name, a, b), self, other)
    if rounding_mode == "floor":
        return elementwise(low, lambda a, b: op("floordiv", a, b), self, other)
    return elementwise(low, lambda a, b: op("trunc", op("div", a, b)), self, other)


def _divide(a: Expr, b: Expr) -> Expr:
    # Division by a power of two is exactly a multiplication.
    if isinstance(b, Const) and b.value and abs(math.frexp(float(b.value))[0]) == 0.5 and math.isfinite(b.value):
        return op("mul", a, const(1.0 / b.value, a.dtype))
    return op("div", a, b)


@lowers("floor_divide")
def floor_divide(low: Lowering, self: Any, other: Any) -> Lazy:
    return elementwise(low, lambda a, b: op("floordiv", a, b), self, other)


_BINARY = {
    "remainder": "mod", "fmod": "fmod", "minimum": "minimum", "maximum": "maximum", "fmin": "fmin", "fmax": "fmax",
    "atan2": "atan2", "copysign": "copysign", "bitwise_left_shift": "shl", "bitwise_right_shift": "shr",
    "__lshift__": "shl", "__rshift__": "shr",
}  # fmt: skip
_BITWISE = {"bitwise_and": "and", "bitwise_or": "or", "bitwise_xor": "xor"}
_COMPARE = ("eq", "ne", "lt", "le", "gt", "ge")
_LOGICAL = {"logical_and": "and", "logical_or": "or", "logical_xor": "xor"}
_ROUNDING = ("floor", "ceil", "trunc")


def _binary(name: str) -> Callable[..., Lazy]:
    def lowering(low: Lowering, self: Any, other: Any) -> Lazy:
        return elementwise(low, lambda a, b: op(name, a, b), self, other)

    return lowering


def _bitwise(logical: str) -> Callable[..., Lazy]:
    def lowering(low: Lowering, self: Any, other: Any) -> Lazy:
        name = logical if low.dtype == "bool" else "bit" + logical
        return elementwise(low, lambda a, b: op(name, a, b), self, other)

    return lowering


def _comparison(name: str) -> Callable[..., Lazy]:
    def lowering(low: Lowering, self: Any, other: Any) -> Lazy:
        within = promoted(self, other)
        return elementwise(low, lambda a, b: compare(name, a, b), self, other, within=within)

    return lowering


def _logical(name: str) -> Callable[..., Lazy]:
    def lowering(low: Lowering, self: Any, other: Any) -> Lazy:
        return elementwise(low, lambda a, b: op(name, a, b), self, other, within="bool")

    return lowering


def _unary(name: str) -> Callable[..., Lazy]:
    def lowering(low: Lowering, self: Any) -> Lazy:
        return elementwise(low, lambda a: op(name, a), self)

    return lowering


def _rounding(name: str) -> Callable[..., Lazy]:
    def lowering(low: Lowering, self: Any) -> Lazy:
        if not low.dtype.startswith(("float", "bfloat")):
            return low.lift(self, low.dtype)
        return elementwise(low, lambda a: op(name, a), self)

    return lowering


for _aten, _name in _BINARY.items():
    lowers(_aten)(_binary(_name))
for _aten, _name in _BITWISE.items():
    lowers(_aten)(_bitwise(_name))
for _aten in _COMPARE:
    lowers(_aten)(_comparison(_aten))
for _aten, _name in _LOGICAL.items():
    lowers(_aten)(_logical(_name))
for _aten in FUNCTIONS:
    lowers(_aten)(_unary(_aten))
for _aten in _ROUNDING:
    lowers(_aten)(_rounding(_aten))


@lowers("round")
def round_(low: Lowering, self: Any, decimals: int = 0) -> Lazy:
    require(decimals == 0, "decimals")
    return _rounding("round")(low, self)


@lowers("pow")
def pow_(low: Lowering, self: Any, exponent: Any) -> Lazy:
    return elementwise(low, power, self, exponent)


def power(base: Expr, exponent: Expr) -> Expr:
    """Small constant exponents need no pow."""
    value = exponent.value if isinstance(exponent, Const) else None
    if value == 1:
        return base
    if value == 2:
        return op("square", base)
    if value == 3:
        return op("mul", op("square", base), base)
    if value == 4:
        return op("square", op("square", base))
    if base.dtype.startswith("float"):
        if value == 0.5:
            # pow(-inf, 0.5) is inf and pow(-0., 0.5) is 0, unlike sqrt: only the first is visible.
            return where(
                compare("eq", base, const(-math.inf, base.dtype)), const(math.inf, base.dtype), op("sqrt", base)
            )
        if value == -1:
            return op("reciprocal", base)
        if value == -2:
            return op("reciprocal", op("square", base))
    return op("pow", base, exponent)


@lowers("square")
def square(low: Lowering, self: Any) -> Lazy:
    return elementwise(low, lambda a: op("square", a), self)


@lowers("logical_not")
def logical_not(low: Lowering, self: Any) -> Lazy:
    return elementwise(low, lambda a: op("not", a), self, within="bool")


@lowers("bitwise_not")
def bitwise_not(low: Lowering, self: Any) -> Lazy:
    name = "not" if low.dtype == "bool" else "bitnot"
    return elementwise(low, lambda a: op(name, a), self)


@lowers("isnan", "isinf")
def is_special(low: Lowering, self: Lazy) -> Lazy:
    name = low.node.target._schema.name.removeprefix("aten::")  # type: ignore[union-attr]
    if not self.dtype.startswith(("float", "bfloat")):
        return elementwise(low, lambda a: const(False, "bool"), self, within="bool")
    return elementwise(low, lambda a: op(name, a, dtype="bool"), self, within=self.dtype)


@lowers("isfinite")
def isfinite(low: Lowering, self: Lazy) -> Lazy:
    require(self.dtype.startswith(("float", "bfloat")), "integers")

    def finite(a: Expr) -> Expr:
        return compare("lt", op("abs", a), const(math.inf, a.dtype))

    return elementwise(low, finite, self, within=self.dtype)


@lowers("where")
def where_(low: Lowering, condition: Lazy, self: Any, other: Any) -> Lazy:
    kind = compute(low.dtype)

    def choose(c: Expr, a: Expr, b: Expr) -> Expr:
        return where(cast(c, "bool"), cast(a, kind), cast(b, kind))

    kids = [low.broadcast(low.lift(v, kind), low.shape) for v in (condition, self, other)]
    return pointwise(low.shape, low.dtype, choose, *kids)


@lowers("masked_fill")
def masked_fill(low: Lowering, self: Lazy, mask: Lazy, value: Any) -> Lazy:
    return where_(low, mask, value, self)


@lowers("clamp", "clip")
def clamp(low: Lowering, self: Lazy, min: Any = None, max: Any = None) -> Lazy:
    if min is not None and max is not None:
        return elementwise(low, lambda a, lo, hi: op("minimum", op("maximum", a, lo), hi), self, min, max)
    name, bound = ("maximum", min) if max is None else ("minimum", max)
    return elementwise(low, lambda a, b: op(name, a, b), self, bound)


@lowers("clamp_min")
def clamp_min(low: Lowering, self: Lazy, min: Any) -> Lazy:
    return clamp(low, self, min=min)


@lowers("clamp_max")
def clamp_max(low: Lowering, self: Lazy, max: Any) -> Lazy:
    return clamp(low, self, max=max)


@lowers("lerp")
def lerp(low: Lowering, self: Lazy, end: Lazy, weight: Any) -> Lazy:
    return elementwise(low, lambda a, b, w: op("add", a, op("mul", w, op("sub", b, a))), self, end, weight)


@lowers("addcmul")
def addcmul(low: Lowering, self: Lazy, tensor1: Lazy, tensor2: Lazy, value: Any = 1) -> Lazy:
    return elementwise(low, lambda a, b, c: op("add", a, _scaled(op("mul", b, c), value)), self, tensor1, tensor2)


@lowers("addcdiv")
def addcdiv(low: Lowering, self: Lazy, tensor1: Lazy, tensor2: Lazy, value: Any = 1) -> Lazy:
    return elementwise(low, lambda a, b, c: op("add", a, _scaled(op("div", b, c), value)), self, tensor1, tensor2)


# ── copies and casts ──


@lowers("_to_copy", "to", "type_as", "convert_element_type")
def to_copy(low: Lowering, self: Lazy) -> Lazy:
    target = low.dtype
    if target == self.dtype:
        return self
    if target in ("bfloat16", "float16"):  # an explicit conversion rounds, also when the value is used again
        rounded = f"round_to_{target}"
        return elementwise(low, lambda a: op(rounded, cast(a, "float32")), self, within="float32")

    def convert(a: Expr) -> Expr:
        return Op("cast", (a,), target) if a.dtype != target else a

    return pointwise(low.shape, target, convert, self)


@lowers("clone", "alias", "detach", "lift_fresh_copy", "lift_fresh", "contiguous", "positive")
def copy_of(low: Lowering, self: Lazy) -> Lazy:
    return self


@lowers("native_dropout")
def native_dropout(low: Lowering, input: Lazy, p: float, train: bool | None) -> tuple[Lazy, Lazy]:
    from ._lazy import constant

    require(not train or p == 0, "random numbers")
    return input, constant(True, "bool", input.shape)


@lowers("copy")
def copy(low: Lowering, self: Lazy, src: Lazy) -> Lazy:
    dtype = low.dtype  # of this node: the value is read when another is lowered
    return pointwise(low.shape, dtype, lambda a: cast(a, dtype), low.broadcast(src, low.shape))
