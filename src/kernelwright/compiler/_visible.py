"""Which keys a row of scores can see at all: the condition of a mask, and the ranges that comparisons of indices give.

A masked score is a constant; where that constant ends as a weight of zero, keys that a whole block of rows cannot see
need no work (as long as zero times the value is zero).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .program import Acc, Const, Expr, Index, Iota, Load, Map, Op, Reduce

_FLIPPED = {"lt": "ge", "ge": "lt", "le": "gt", "gt": "le"}


@dataclass(frozen=True)
class Mask:
    """``seen`` holds where the score is not ``fill``. Visible keys satisfy every ``low <= key < high`` (over the other
    axes); ``exact`` says that those are all there is to ``seen``. ``plain`` are the scores of visible keys."""

    seen: Expr
    fill: float
    lows: tuple[Index, ...]
    highs: tuple[Index, ...]
    exact: bool
    plain: Expr


def mask_of(scores: Expr, key: str) -> Mask | None:
    """The outermost mask of an epilogue."""
    if not isinstance(scores, Op) or scores.name != "where":
        return None
    condition, yes, no = scores.args
    if isinstance(no, Const):
        fill, wanted, rest = no, True, yes
    elif isinstance(yes, Const):
        fill, wanted, rest = yes, False, no
    else:
        return None
    if any(isinstance(n, Acc) for n in condition.walk()):
        return None
    seen = condition if wanted else Op("not", (condition,), "bool")
    lows, highs, exact = ranges(condition, wanted, key)
    inner = mask_of(rest, key)
    if inner is not None and inner.fill == fill.value:
        both = Op("and", (seen, inner.seen), "bool")
        return Mask(both, inner.fill, lows + inner.lows, highs + inner.highs, exact and inner.exact, inner.plain)
    return Mask(seen, float(fill.value), lows, highs, exact, rest)


def ranges(condition: Expr, wanted: bool, key: str) -> tuple[tuple[Index, ...], tuple[Index, ...], bool]:
    """Bounds that follow from the condition being ``wanted``, and whether they are all that it says."""
    nothing: tuple[Index, ...] = ()
    if not isinstance(condition, Op):
        return nothing, nothing, False
    args = condition.args
    if condition.name == "not":
        return ranges(args[0], not wanted, key)
    if condition.name == "where" and all(isinstance(a, Const) for a in args[1:]) and args[1] != args[2]:
        return ranges(args[0], wanted == bool(args[1].value), key)  # type: ignore[union-attr]
    if condition.name == ("and" if wanted else "or"):
        parts = [ranges(a, wanted, key) for a in args]
        return parts[0][0] + parts[1][0], parts[0][1] + parts[1][1], parts[0][2] and parts[1][2]
    name = condition.name if wanted else _FLIPPED.get(condition.name, "")
    left, right = (_position(a) for a in args) if len(args) == 2 else (None, None)
    if left is None or right is None or name not in _FLIPPED:
        return nothing, nothing, False
    return _bound(left - right, name, key)


def _bound(difference: Index, name: str, key: str) -> tuple[tuple[Index, ...], tuple[Index, ...], bool]:
    """``difference`` compared with zero, solved for the key."""
    if name in ("gt", "ge"):
        difference, name = difference * -1, {"gt": "lt", "ge": "le"}[name]
    step = difference.coefficient(key)
    rest = difference - Index.axis(key) * step
    if not difference.is_affine or step not in (1, -1):
        return (), (), False
    closed = 1 if name == "le" else 0
    if step == 1:  # key + rest <= 0
        return (), (rest * -1 + closed,), True
    return (rest + (1 - closed),), (), True  # rest - key <= 0


def _position(expr: Expr) -> Index | None:
    """An integer expression of axes as an index."""
    if isinstance(expr, Iota):
        return expr.index
    if isinstance(expr, Const) and isinstance(expr.value, int):
        return Index.const(expr.value)
    if isinstance(expr, Op) and expr.name in ("add", "sub") and expr.dtype in ("int64", "int32"):
        left, right = (_position(a) for a in expr.args)
        if left is not None and right is not None:
            return left + right if expr.name == "add" else left - right
    if isinstance(expr, Op) and expr.name == "cast" and expr.dtype in ("int64", "int32"):
        return _position(expr.args[0]) if isinstance(expr.args[0], Iota) else None
    return None


# ── what becomes of a masked score ───────────────────────────────────────────────────────────────────────────────


def vanishes(
    fill: float,
    first: str,
    weights: str,
    stages: Sequence[Map | Reduce],
    panel: Callable[[Load], str | None],
) -> bool:
    """Whether a score of ``fill`` adds nothing to any reduction and ends as a weight of zero.

    ``panel`` names the tensor with a key axis that a load reads, if it reads one. Assumes that a row sees some key.
    """
    known: dict[str, float | None] = {first: fill}
    for stage in stages:
        value = _value(stage.value, known, panel)
        if isinstance(stage, Map):
            known[stage.store.tensor] = value
        elif value != {"sum": 0.0, "max": -math.inf, "min": math.inf}[stage.op]:
            return False
    return known.get(weights) == 0.0


def _value(expr: Expr, known: dict[str, float | None], panel: Callable[[Load], str | None]) -> float | None:
    """The value of an expression at a masked score, None where it depends on anything else."""
    if isinstance(expr, Const):
        return float(expr.value)
    if isinstance(expr, Load):
        name = panel(expr)
        return None if name is None else known.get(name)
    if not isinstance(expr, Op):
        return None
    args = [_value(a, known, panel) for a in expr.args]
    if None not in args:
        return _exact(expr.name, [a for a in args if a is not None])
    if expr.name == "where":
        return args[1] if args[1] == args[2] else None
    if expr.name in ("add", "sub") and args[0] == -math.inf:
        return -math.inf
    if expr.name == "add" and args[1] == -math.inf:
        return -math.inf
    if (expr.name == "mul" and 0.0 in args) or (expr.name == "div" and args[0] == 0.0):
        return 0.0
    return None


_EXACT: dict[str, Callable[..., float]] = {
    "exp": lambda x: math.exp(min(x, 700.0)) if x < 700 else math.inf,
    "exp2": lambda x: 2.0**x if x < 1000 else math.inf,
    "square": lambda x: x * x,
    "abs": abs,
    "neg": lambda x: -x,
    "maximum": max,
    "minimum": min,
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "cast": float,
    "round_to_bfloat16": lambda x: x if x in (0.0, math.inf, -math.inf) else math.nan,
    "round_to_float16": lambda x: x if x in (0.0, math.inf, -math.inf) else math.nan,
}


def _exact(name: str, args: list[float]) -> float | None:
    if name == "div" and len(args) == 2 and args[1] != 0:
        return args[0] / args[1]
    if name == "where" and len(args) == 3:
        return args[1] if args[0] else args[2]
    return _EXACT[name](*args) if name in _EXACT else None


__all__ = ["Mask", "mask_of", "ranges", "vanishes"]
