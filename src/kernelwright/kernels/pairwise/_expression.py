"""Formulas of a pair of points as small graphs: what they mean in PyTorch, and their derivatives.

A :class:`Node` is an operation on other nodes, or a leaf that holds tensors: an inner product or a squared distance of
two sets of points, a value for each row, for each column, or for all pairs. Derivatives are graphs again, so that
gradients are reductions like any other.

Where a derivative is infinite it is taken to be zero: ``sqrt`` at 0 (the Laplace kernel of a point with itself),
``acos`` and ``asin`` at 1 and -1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch

Tensor = torch.Tensor
LEAVES = ("inner", "sqdist", "row", "col", "param")
"""What a pair's value is made of; the first two hold points ``(x, z)``, the others one tensor."""


@dataclass(frozen=True, eq=False)
class Node:
    """One operation: ``op`` on ``args``; ``value`` is the number of "const" and the exponent of "pow"."""

    op: str
    args: tuple[Node, ...] = ()
    value: float = 0.0
    tensors: tuple[Tensor, ...] = field(default=(), repr=False)


def const(value: float) -> Node:
    """A number that belongs to the formula."""
    return Node("const", value=float(value))


def walk(root: Node) -> Iterator[Node]:
    """Every node once, arguments before those that use them."""
    seen: set[int] = set()
    stack: list[tuple[Node, bool]] = [(root, False)]
    while stack:
        node, ready = stack.pop()
        if ready:
            yield node
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack.extend((arg, False) for arg in reversed(node.args))


# ── building, with the simplifications that derivatives need ─────────────────────────────────────────────────────────
def add(a: Node, b: Node) -> Node:
    """a + b"""
    if a.op == b.op == "const":
        return const(a.value + b.value)
    return b if _is(a, 0) else a if _is(b, 0) else Node("add", (a, b))


def mul(a: Node, b: Node) -> Node:
    """a b"""
    if a.op == b.op == "const":
        return const(a.value * b.value)
    if _is(a, 0) or _is(b, 0):
        return const(0)
    return b if _is(a, 1) else a if _is(b, 1) else Node("mul", (a, b))


def apply(op: str, *args: Node, value: float = 0.0) -> Node:
    """The operation of that name."""
    if op == "add":
        return add(*args)
    if op == "mul":
        return mul(*args)
    if op == "pow" and value == 1:
        return args[0]
    return const(1) if op == "pow" and value == 0 else Node(op, args, value)


def _is(node: Node, value: float) -> bool:
    return node.op == "const" and node.value == value


# ── what operations mean ─────────────────────────────────────────────────────────────────────────────────────────────
def _root(x: Tensor) -> Tensor:
    zero = x == 0
    return torch.where(zero, 0.0, torch.where(zero, 1.0, x).sqrt())


def _inverse_root(x: Tensor) -> Tensor:
    zero = x == 0
    return torch.where(zero, 0.0, torch.where(zero, 1.0, x).rsqrt())


MEANING: dict[str, Callable[..., Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "neg": torch.neg,
    "exp": torch.exp,
    "log": torch.log,
    "sqrt": _root,
    "inverse_root": _inverse_root,
    "cos": torch.cos,
    "sin": torch.sin,
    "acos": torch.acos,
    "asin": torch.asin,
    "atan": torch.atan,
    "tanh": torch.tanh,
    "abs": torch.abs,
    "sign": torch.sign,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "at_least": lambda a, b: (a >= b).to(a.dtype),
}
"""Operations without a number of their own; "inverse_root" is 0 at 0, "at_least" 1 where a >= b and 0 elsewhere."""

_C = const
_PARTIALS: dict[str, Callable[[Node], tuple[Node, ...]]] = {
    "add": lambda n: (_C(1), _C(1)),
    "sub": lambda n: (_C(1), _C(-1)),
    "mul": lambda n: (n.args[1], n.args[0]),
    "div": lambda n: (apply("div", _C(1), n.args[1]), apply("neg", apply("div", n, n.args[1]))),
    "neg": lambda n: (_C(-1),),
    "exp": lambda n: (n,),
    "log": lambda n: (apply("div", _C(1), n.args[0]),),
    "sqrt": lambda n: (mul(_C(0.5), apply("inverse_root", n.args[0])),),
    "inverse_root": lambda n: (mul(_C(-0.5), apply("pow", n, value=3)),),
    "cos": lambda n: (apply("neg", apply("sin", n.args[0])),),
    "sin": lambda n: (apply("cos", n.args[0]),),
    "acos": lambda n: (apply("neg", _rest(n)),),
    "asin": lambda n: (_rest(n),),
    "atan": lambda n: (apply("div", _C(1), add(_C(1), apply("pow", n.args[0], value=2))),),
    "tanh": lambda n: (apply("sub", _C(1), apply("pow", n, value=2)),),
    "abs": lambda n: (apply("sign", n.args[0]),),
    "sign": lambda n: (_C(0),),
    "maximum": lambda n: _chosen(apply("at_least", *n.args)),
    "minimum": lambda n: _chosen(apply("at_least", n.args[1], n.args[0])),
    "at_least": lambda n: (_C(0), _C(0)),
    "pow": lambda n: (mul(_C(n.value), apply("pow", n.args[0], value=n.value - 1)),),
}


def _rest(n: Node) -> Node:
    """1 / sqrt(1 - u^2)"""
    return apply("inverse_root", apply("sub", _C(1), apply("pow", n.args[0], value=2)))


def _chosen(first: Node) -> tuple[Node, Node]:
    return first, apply("sub", _C(1), first)


def derivative(root: Node, leaf: Node) -> Node:
    """d root / d leaf as a graph over the same leaves (``const(0)`` where it does not depend on it)."""
    order = list(walk(root))
    slopes: dict[int, Node] = {id(root): _C(1)}
    for node in reversed(order):
        slope = slopes.get(id(node))
        if slope is None or not node.args or _is(slope, 0):
            continue
        for arg, partial in zip(node.args, _PARTIALS[node.op](node), strict=True):
            more = mul(slope, partial)
            slopes[id(arg)] = add(slopes[id(arg)], more) if id(arg) in slopes else more
    return slopes.get(id(leaf), _C(0))


def evaluate(root: Node, leaf: Callable[[Node], Tensor]) -> Tensor:
    """The value of ``root`` in PyTorch, where ``leaf`` says what leaves are."""
    values: dict[int, Tensor] = {}
    like: Tensor | None = None
    order = list(walk(root))
    for node in order:
        if node.op in LEAVES:
            values[id(node)] = like = leaf(node)
    if like is None:
        raise AssertionError("a formula has leaves")
    for node in order:
        if node.op == "const":
            values[id(node)] = torch.tensor(node.value, dtype=like.dtype, device=like.device)
        elif node.op == "pow":
            values[id(node)] = _power(values[id(node.args[0])], node.value)
        elif node.op not in LEAVES:
            values[id(node)] = MEANING[node.op](*(values[id(arg)] for arg in node.args))
    return values[id(root)]


def _power(x: Tensor, exponent: float) -> Tensor:
    return x ** (int(exponent) if exponent == math.floor(exponent) else exponent)
