"""Level 1: tensor programs. *What* is computed, over index spaces, with no order of execution.

A :class:`Program` is a list of statements in topological order. Each statement writes one tensor:

``Map``     out[f(axes)] = value(axes)
``Reduce``  out[f(axes)] = epilogue(axes, combine over raxes of value(axes, raxes))
``Scan``    out[f(axes, scan)] = combine over all scan' <= scan of value(axes, scan')
``Recur``   for each step in order: the statements of a body, which read what earlier steps wrote
``Extern``  an ATen call that the compiler leaves alone

Values are scalar expressions (:data:`Expr`) whose leaves read tensors at affine indices. A matrix product and a
convolution are both a ``Reduce`` with ``op="sum"`` over a product of two loads: what they are is visible in the
indices, and every layout, transposition, stride, padding or dilation is only another index.

Sizes are Python ints, or sympy expressions over the program's symbols when the program serves a box of shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import sympy

Size: TypeAlias = int | sympy.Expr

# Names of dtypes are torch's without the prefix.
DTYPES = ("float32", "float64", "bfloat16", "float16", "int64", "int32", "int16", "int8", "uint8", "bool")
FLOATS = ("float32", "float64", "bfloat16", "float16")


# ── indices ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class FloorDiv:
    """``index // divisor`` (rounds down), a non-affine atom of an index."""

    index: Index
    divisor: Size


@dataclass(frozen=True)
class Mod:
    """``index % modulus`` (never negative), a non-affine atom of an index."""

    index: Index
    modulus: Size


@dataclass(frozen=True)
class Value:
    """An integer expression used as an index: a gather."""

    expr: Expr


Atom = FloorDiv | Mod | Value


@dataclass(frozen=True)
class Index:
    """``offset + sum(coefficient * term)``; a term is the name of an axis or a non-affine atom.

    Terms are kept sorted, without zero coefficients, so equal indices compare equal.
    """

    terms: tuple[tuple[str | Atom, Size], ...] = ()
    offset: Size = 0

    @staticmethod
    def axis(name: str) -> Index:
        return Index(((name, 1),))

    @staticmethod
    def const(value: Size) -> Index:
        return Index((), value)

    @staticmethod
    def of(atom: Atom) -> Index:
        return Index(((atom, 1),))

    def __add__(self, other: Index | Size) -> Index:
        if not isinstance(other, Index):
            return Index(self.terms, self.offset + other)
        sums: dict[str | Atom, Size] = dict(self.terms)
        for term, coefficient in other.terms:
            sums[term] = sums.get(term, 0) + coefficient
        return Index(_normal(sums), self.offset + other.offset)

    def __mul__(self, factor: Size) -> Index:
        return Index(_normal({t: c * factor for t, c in self.terms}), self.offset * factor)

    def __sub__(self, other: Index | Size) -> Index:
        return self + (other * -1 if isinstance(other, Index) else -other)

    def coefficient(self, axis: str) -> Size:
        """The coefficient of an axis, 0 if it does not occur as an affine term."""
        return dict(self.terms).get(axis, 0)

    def substitute(self, bindings: Mapping[str, Index]) -> Index:
        """Replace axes by indices, also inside atoms."""
        result = Index((), self.offset)
        for term, coefficient in self.terms:
            if isinstance(term, str):
                result = result + bindings.get(term, Index.axis(term)) * coefficient
            else:
                result = result + Index.of(_substitute_atom(term, bindings)) * coefficient
        return result

    def axes(self) -> frozenset[str]:
        """Every axis that occurs, also inside atoms."""
        found: set[str] = set()
        for term, _ in self.terms:
            if isinstance(term, str):
                found.add(term)
            elif isinstance(term, Value):
                found |= term.expr.axes()
            else:
                found |= term.index.axes()
        return frozenset(found)

    @property
    def is_affine(self) -> bool:
        return all(isinstance(term, str) for term, _ in self.terms)


def _normal(sums: Mapping[str | Atom, Size]) -> tuple[tuple[str | Atom, Size], ...]:
    kept = [(t, c) for t, c in sums.items() if c != 0]
    return tuple(sorted(kept, key=lambda pair: (not isinstance(pair[0], str), repr(pair[0]))))


def _substitute_atom(atom: Atom, bindings: Mapping[str, Index]) -> Atom:
    if isinstance(atom, FloorDiv):
        return FloorDiv(atom.index.substitute(bindings), atom.divisor)
    if isinstance(atom, Mod):
        return Mod(atom.index.substitute(bindings), atom.modulus)
    return Value(atom.expr.substitute(bindings))


# ── scalar expressions ───────────────────────────────────────────────────────────────────────────────────────────


class _ExprBase:
    def children(self) -> tuple[Expr, ...]:
        return ()

    def rebuild(self, children: tuple[Expr, ...]) -> Expr:
        return self  # type: ignore[return-value]

    def map(self, fn: Callable[[Expr], Expr | None]) -> Expr:
        """Rewrite bottom-up: ``fn`` returns a replacement or None to keep the node."""
        node = self.rebuild(tuple(child.map(fn) for child in self.children()))
        return fn(node) or node

    def walk(self) -> Iterator[Expr]:
        """Every node, leaves first, including integer expressions inside gather indices."""
        for child in self.children():
            yield from child.walk()
        for index in _indices(self):
            for term, _ in index.terms:
                if isinstance(term, Value):
                    yield from term.expr.walk()
        yield self  # type: ignore[misc]

    def substitute(self, bindings: Mapping[str, Index]) -> Expr:
        """Replace axes by indices everywhere."""
        return self.map(lambda node: _substitute_node(node, bindings))

    def axes(self) -> frozenset[str]:
        found: set[str] = set()
        for index in _indices(self):
            found |= index.axes()
        for child in self.children():
            found |= child.axes()
        return frozenset(found)


@dataclass(frozen=True)
class Const(_ExprBase):
    """A literal; ``value`` may be ``inf`` or ``nan``."""

    value: float | int | bool
    dtype: str


@dataclass(frozen=True)
class Load(_ExprBase):
    """Read ``tensor[index]``; with ``fill`` any coordinate outside the tensor yields ``fill`` instead (padding).

    A load of bfloat16/float16 storage has dtype float32: half types exist only in memory.
    """

    tensor: str
    index: tuple[Index, ...]
    dtype: str
    fill: float | int | None = None


@dataclass(frozen=True)
class Iota(_ExprBase):
    """An index as a value (``arange``); also how a symbolic size becomes a value (``offset`` only)."""

    index: Index
    dtype: str


@dataclass(frozen=True)
class Op(_ExprBase):
    """An operation of :data:`OPS` on values; ``dtype`` is the result's (bool for comparisons)."""

    name: str
    args: tuple[Expr, ...]
    dtype: str

    def children(self) -> tuple[Expr, ...]:
        return self.args

    def rebuild(self, children: tuple[Expr, ...]) -> Expr:
        return replace(self, args=children)


@dataclass(frozen=True)
class Acc(_ExprBase):
    """In an epilogue: the finished accumulator of the statement."""

    dtype: str


Expr = Const | Load | Iota | Op | Acc

# name -> number of arguments. Semantics are torch's for the same name; computation is in the dtype of the node
# (float32 or float64 for floats; half storage is widened on load and rounded on store).
OPS: dict[str, int] = {
    # arithmetic; div is true division on floats, floordiv/mod round down like Python, truncdiv/fmod towards zero
    "add": 2, "sub": 2, "mul": 2, "div": 2, "floordiv": 2, "truncdiv": 2, "mod": 2, "fmod": 2, "pow": 2,
    "neg": 1, "abs": 1, "sign": 1, "reciprocal": 1, "square": 1,
    # minimum/maximum propagate NaN like torch.minimum; fmin/fmax ignore it
    "minimum": 2, "maximum": 2, "fmin": 2, "fmax": 2, "atan2": 2, "copysign": 2,
    "sqrt": 1, "rsqrt": 1, "exp": 1, "exp2": 1, "expm1": 1, "log": 1, "log2": 1, "log10": 1, "log1p": 1,
    "sin": 1, "cos": 1, "tan": 1, "asin": 1, "acos": 1, "atan": 1, "sinh": 1, "cosh": 1, "tanh": 1,
    "asinh": 1, "acosh": 1, "atanh": 1, "erf": 1, "erfc": 1, "lgamma": 1, "sigmoid": 1,
    "floor": 1, "ceil": 1, "round": 1, "trunc": 1,
    # comparisons and logic (bool results); bitwise on integers
    "eq": 2, "ne": 2, "lt": 2, "le": 2, "gt": 2, "ge": 2,
    "and": 2, "or": 2, "xor": 2, "not": 1, "bitand": 2, "bitor": 2, "bitxor": 2, "bitnot": 1, "shl": 2, "shr": 2,
    "isnan": 1, "isinf": 1,
    "where": 3,
    "cast": 1,  # to the node's dtype, torch's rules
    "round_to_bfloat16": 1, "round_to_float16": 1,  # value stays float32; rounds as a store would
}  # fmt: skip

# Those that are functions of one number, float to float, and torch's under the same name.
FUNCTIONS = (
    "neg", "abs", "sign", "reciprocal", "sqrt", "rsqrt", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin",
    "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "erfc", "lgamma",
    "sigmoid",
)  # fmt: skip

REDUCE_OPS = ("sum", "prod", "max", "min", "any", "all", "argmax", "argmin")  # max/min propagate NaN as torch does
SCAN_OPS = ("sum", "prod", "max", "min", "logsumexp")


def _indices(node: object) -> tuple[Index, ...]:
    if isinstance(node, Load):
        return node.index
    if isinstance(node, Iota):
        return (node.index,)
    return ()


def _substitute_node(node: Expr, bindings: Mapping[str, Index]) -> Expr | None:
    if isinstance(node, Load):
        return replace(node, index=tuple(i.substitute(bindings) for i in node.index))
    if isinstance(node, Iota):
        return replace(node, index=node.index.substitute(bindings))
    return None


# ── tensors and statements ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Tensor:
    """A named array. ``strides`` are in elements; temporaries and outputs are contiguous unless they say otherwise.

    ``role``: "input" (owned by the caller, read only), "output" (owned by the caller), "temp" (workspace).
    ``alias``: a temp or input whose memory this tensor shares (a free reshape), else None.
    """

    name: str
    shape: tuple[Size, ...]
    dtype: str
    strides: tuple[Size, ...]
    role: str
    alias: str | None = None


def contiguous(shape: tuple[Size, ...]) -> tuple[Size, ...]:
    """Row-major strides of a shape."""
    strides: list[Size] = []
    step: Size = 1
    for size in reversed(shape):
        strides.append(step)
        step = step * size
    return tuple(reversed(strides))


@dataclass(frozen=True)
class Axis:
    """A loop variable ``0 <= name < size``; names are unique in a program."""

    name: str
    size: Size


@dataclass(frozen=True)
class Store:
    """Where a statement writes: ``tensor[index]``, injective over the statement's axes."""

    tensor: str
    index: tuple[Index, ...]


@dataclass(frozen=True)
class Map:
    """With ``when``, the name of a bool tensor of one element, the statement happens only where that holds."""

    axes: tuple[Axis, ...]
    value: Expr
    store: Store
    when: str = ""


@dataclass(frozen=True)
class Reduce:
    """``epilogue`` sees ``Acc`` and the axes (not the raxes). An arg reduction yields the row-major position in raxes.

    ``value`` may be of any dtype; sums and products of float32/half values accumulate in float32 or better. ``when`` as
    of :class:`Map`.
    """

    axes: tuple[Axis, ...]
    raxes: tuple[Axis, ...]
    op: str
    value: Expr
    store: Store
    epilogue: Expr
    when: str = ""


@dataclass(frozen=True)
class Scan:
    """Inclusive scan along ``scan``; ``exclusive`` shifts by one with the identity; ``reverse`` runs from the end."""

    axes: tuple[Axis, ...]
    scan: Axis
    op: str
    value: Expr
    store: Store
    reverse: bool = False
    exclusive: bool = False


@dataclass(frozen=True)
class Recur:
    """The body's statements, one after the other, for each step in order; ``reverse`` runs from the last step.

    What a statement reads before the body has written it is what the step before left there: a state. Its first value
    is written before the loop, its last one may be read after it.
    """

    step: Axis
    body: tuple[Map | Reduce, ...]
    reverse: bool = False


@dataclass(frozen=True)
class Extern:
    """An ATen call. ``args``/``kwargs`` are JSON values in which ``{"tensor": name}`` stands for a tensor."""

    op: str
    args: tuple[object, ...]
    kwargs: tuple[tuple[str, object], ...]
    outputs: tuple[str, ...]


Statement = Map | Reduce | Scan | Recur | Extern


@dataclass(frozen=True)
class Symbol:
    """A size that varies: bound at call time to ``inputs[tensor].shape[dim]``, inside ``[lo, hi]``."""

    name: str
    tensor: str
    dim: int
    lo: int
    hi: int


@dataclass(frozen=True)
class Program:
    """Tensors by name, in definition order; inputs and outputs by name, in calling order; statements in order."""

    tensors: dict[str, Tensor]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    statements: tuple[Statement, ...]
    symbols: tuple[Symbol, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def loads(self, statement: Statement) -> tuple[Load, ...]:
        """Every load of a statement, epilogue and gather indices included."""
        return tuple(node for node in statement_exprs(statement) for node in node.walk() if isinstance(node, Load))


def condition(statement: Statement) -> str:
    """The tensor that says whether the statement happens; empty where it always does."""
    return statement.when if isinstance(statement, Map | Reduce) else ""


def statement_exprs(statement: Statement) -> tuple[Expr, ...]:
    """The expressions of a statement (an Extern has none)."""
    if isinstance(statement, Reduce):
        return (statement.value, statement.epilogue)
    if isinstance(statement, Map | Scan):
        return (statement.value,)
    if isinstance(statement, Recur):
        return tuple(expr for part in statement.body for expr in statement_exprs(part))
    return ()
