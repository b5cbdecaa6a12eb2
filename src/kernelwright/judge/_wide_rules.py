"""How operators compute with pairs of float64 (:mod:`._wide` asks by their names).

A rule gets the call's arguments with pairs in the place of float64 tensors, its keywords, and the arguments as they
were; it answers None where it does not know the form of the call. Shapes are the business of whoever asks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from . import _doubled as doubled
from ._doubled import Pair, exact
from ._rounding import summed

Rule = Callable[[Sequence[Any], Mapping[str, Any], Sequence[Any]], Pair | None]
_MOST_POWER = 16


def _pair(value: Any) -> Pair:
    """Numbers and other tensors are exact in float64."""
    if isinstance(value, Pair):
        return value
    return exact(value.double() if isinstance(value, torch.Tensor) else float(value))


def _scaled(value: Any, factor: Any) -> Pair:
    return _pair(value) if factor == 1 else _pair(value) * _pair(factor)


def _add(args: Sequence[Any], kwargs: Mapping[str, Any], plain: Sequence[Any]) -> Pair:
    return _pair(args[0]) + _scaled(args[1], kwargs.get("alpha", 1))


def _sub(args: Sequence[Any], kwargs: Mapping[str, Any], plain: Sequence[Any]) -> Pair:
    return _pair(args[0]) - _scaled(args[1], kwargs.get("alpha", 1))


def _rsub(args: Sequence[Any], kwargs: Mapping[str, Any], plain: Sequence[Any]) -> Pair:
    alpha = args[2] if len(args) > 2 else kwargs.get("alpha", 1)
    return _pair(args[1]) - _scaled(args[0], alpha)


def _mul(args: Sequence[Any], kwargs: Mapping[str, Any], plain: Sequence[Any]) -> Pair:
    return _pair(args[0]) * _pair(args[1])


def _div(args: Sequence[Any], kwargs: Mapping[str, Any], plain: Sequence[Any]) -> Pair | None:
    return None if kwargs.get("rounding_mode") else _pair(args[0]) / _pair(args[1])


def _pow(args: Sequence[Any], kwargs: Mapping[str, Any], plain: Sequence[Any]) -> Pair | None:
    base, power = args
    if not isinstance(base, Pair) or isinstance(power, Pair | torch.Tensor):
        return None
    if power == 0.5:
        return doubled.sqrt(base)
    if power != int(power) or not 0 < abs(power) <= _MOST_POWER:
        return None
    result = base
    for _ in range(int(abs(power)) - 1):
        result = result * base
    return result if power > 0 else exact(1.0) / result


def _addcmul(args: Sequence[Any], kwargs: Mapping[str, Any], plain: Sequence[Any]) -> Pair:
    return _pair(args[0]) + _scaled(_pair(args[1]) * _pair(args[2]), kwargs.get("value", 1))


def _addcdiv(args: Sequence[Any], kwargs: Mapping[str, Any], plain: Sequence[Any]) -> Pair:
    return _pair(args[0]) + _scaled(_pair(args[1]) / _pair(args[2]), kwargs.get("value", 1))


def _sum(args: Sequence[Any], kwargs: Mapping[str, Any], plain: Sequence[Any]) -> Pair:
    return doubled.total(_pair(args[0]), summed(plain, kwargs))


def _mean(args: Sequence[Any], kwargs: Mapping[str, Any], plain: Sequence[Any]) -> Pair:
    dims = summed(plain, kwargs)
    return doubled.total(_pair(args[0]), dims) / exact(float(math.prod(plain[0].shape[d] for d in dims)))


def _norm(args: Sequence[Any], kwargs: Mapping[str, Any], plain: Sequence[Any]) -> Pair | None:
    order, dims = (*args, 2, None)[1:3] if len(args) < 3 else args[1:3]
    if order != 2:
        return None
    rank = plain[0].dim()
    squares = _pair(args[0]) * _pair(args[0])
    return doubled.sqrt(doubled.total(squares, [int(d) % rank for d in dims or range(rank)]))


def _cumsum(args: Sequence[Any], kwargs: Mapping[str, Any], plain: Sequence[Any]) -> Pair | None:
    rank = plain[0].dim()
    return doubled.running(args[0], int(args[1]) % rank) if rank and isinstance(args[0], Pair) else None


def _product(args: Sequence[Any], kwargs: Mapping[str, Any], plain: Sequence[Any]) -> Pair:
    a, b = _pair(args[0]), _pair(args[1])
    dims = ([a.hi.dim() - 1], [max(b.hi.dim() - 2, 0)])
    return doubled.product(torch.matmul, a, b, dims, a.hi.shape[-1])


def _added_product(args: Sequence[Any], kwargs: Mapping[str, Any], plain: Sequence[Any]) -> Pair:
    product = _scaled(_product(args[1:], kwargs, plain[1:]), kwargs.get("alpha", 1))
    beta = kwargs.get("beta", 1)
    return product if beta == 0 else _scaled(args[0], beta) + product


def _convolution(args: Sequence[Any], kwargs: Mapping[str, Any], plain: Sequence[Any]) -> Pair:
    x, weight, transposed = _pair(args[0]), _pair(args[1]), bool(args[6])
    rank = x.hi.dim()
    dims = (range(1, rank), range(rank) if transposed else range(1, rank))
    length = weight.hi.numel() // max(weight.hi.shape[1 if transposed else 0], 1)
    result = doubled.product(
        lambda a, b: torch.ops.aten.convolution(a, b, None, *plain[3:]), x, weight, dims, max(length, 1)
    )
    if args[2] is None:
        return result
    return result + _pair(args[2]).map(lambda t: t.view(-1, *[1] * (rank - 2)))


def _of_one(function: Callable[[Pair], Pair]) -> Rule:
    return lambda args, kwargs, plain: function(_pair(args[0]))


RULES: dict[str, Rule] = {
    "add": _add, "sub": _sub, "rsub": _rsub, "mul": _mul, "div": _div, "pow": _pow, "addcmul": _addcmul,
    "addcdiv": _addcdiv, "sum": _sum, "mean": _mean, "linalg_vector_norm": _norm, "cumsum": _cumsum, "mm": _product,
    "bmm": _product, "mv": _product, "dot": _product, "addmm": _added_product, "addmv": _added_product,
    "baddbmm": _added_product, "convolution": _convolution,
    "neg": _of_one(lambda x: -x),
    "abs": _of_one(lambda x: doubled.where(x.hi < 0, -x, x)),
    "square": _of_one(lambda x: x * x),
    "reciprocal": _of_one(lambda x: exact(1.0) / x),
    "sqrt": _of_one(doubled.sqrt),
    "rsqrt": _of_one(lambda x: exact(1.0) / doubled.sqrt(x)),
    "exp": _of_one(doubled.exp),
    "log": _of_one(doubled.log),
}  # fmt: skip

__all__ = ["RULES", "Rule"]
