"""Scalar expressions as Triton: values of a whole tile at a time.

Everything that generates Triton prints its values through this one class: pointwise kernels, reductions, and the
prologues and epilogues of contractions. An axis is a variable that may vary along some dimensions of the tile; what a
value varies along follows from the axes it depends on, and Triton broadcasts the rest.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..cpp._indices import Ranges, bounds, flatten, static
from ..cpp._normal import same
from ..cpp.printer import operand_dtypes
from ..group import root
from ..program import (
    FLOATS,
    Acc,
    Axis,
    Const,
    Expr,
    FloorDiv,
    Index,
    Iota,
    Load,
    Mod,
    Op,
    Program,
    Store,
    Tensor,
    Value,
)
from ._operators import cast_text, full_text, literal_text, op_text, storage_type
from ._sizes import size_text
from ._text import Body

Dims = frozenset[str]  # dimensions of the tile along which something varies
NONE: Dims = frozenset()


@dataclass(frozen=True)
class Value_:
    """A name or a literal in the kernel, its dtype in flight, and the dimensions along which it varies."""

    name: str
    dtype: str
    dims: Dims = NONE
    literal: Const | None = None


@dataclass(frozen=True)
class Mask:
    """A condition that must hold where memory is touched: its text, and the dimensions along which it varies."""

    text: str
    dims: Dims


@dataclass(frozen=True)
class Counted:
    """A variable that counts the points of several axes, outermost first."""

    name: str
    dims: Dims
    axes: tuple[Axis, ...]


class Printer:
    """Prints expressions of ``program`` into ``body``.

    ``axes`` gives the variable of each axis (its text, and the dimensions along which it varies), ``masks`` what bounds
    the tile along each dimension that may reach too far, ``ranges`` bounds of axes, so that needless checks vanish.
    ``helpers`` collects the functions that the text calls; ``counted`` holds variables that stand for several axes.
    """

    def __init__(
        self,
        program: Program,
        body: Body,
        axes: Mapping[str, tuple[str, Dims]],
        masks: Mapping[str, str],
        ranges: Ranges,
        helpers: set[str],
    ) -> None:
        self.program, self.body, self.ranges, self.helpers = program, body, ranges, helpers
        self.axes = dict(axes)
        self.masks = dict(masks)
        self.guard: tuple[Mask, ...] = ()  # further conditions on every load
        self.counted: list[Counted] = []
        self._numbers: dict[object, Value_] = {}  # value numbering: equal computations share a name
        self._stored: dict[tuple[str, tuple[Index, ...]], Value_] = {}
        self._memo: dict[int, tuple[Expr, Value_]] = {}  # keeps the expression alive, so ids stay unique
        self._acc: Value_ | None = None

    def inner(self) -> Printer:
        """A printer for the body of a loop: it knows what is known here, and what it learns ends with it."""
        found = Printer(self.program, self.body, self.axes, self.masks, self.ranges, self.helpers)
        found.guard, found.counted = self.guard, list(self.counted)
        found._numbers, found._stored = dict(self._numbers), dict(self._stored)
        return found

    # ── public ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def value(self, expr: Expr, name: str = "v") -> Value_:
        """Print an expression; a name is given to what it becomes."""
        memo = self._memo.get(id(expr))
        if memo is None:
            memo = self._memo[id(expr)] = (expr, self._print(expr, name))
        return memo[1]

    def finished(self, expr: Expr, acc: Value_, name: str) -> Value_:
        """Print an epilogue, in which the accumulator has this value."""
        self._memo, self._acc = {}, acc
        result = self.value(expr, name)
        self._memo, self._acc = {}, None
        return result

    def tensor(self, value: Value_) -> Value_:
        """The value as a tensor even if it is a literal."""
        if value.literal is None:
            return value
        return self.define(("full", value.literal), full_text(value.literal), value.dtype, NONE)

    def define(self, key: object, text: str, dtype: str, dims: Dims, *, tight: bool = True, name: str = "v") -> Value_:
        """Name an expression, or find the name it has."""
        found = self._numbers.get(key)
        if found is None:
            given = self.body.define(self.body.name(name), text, tight=tight)
            found = self._numbers[key] = Value_(given, dtype, dims)
        return found

    def converted(self, value: Value_, dtype: str) -> Value_:
        """The value as another dtype, by torch's casting rules."""
        if value.dtype == dtype:
            return value
        if value.literal is not None and dtype != "bool" and (dtype in FLOATS or value.dtype not in FLOATS):
            literal = Const(value.literal.value if value.dtype != "bool" else int(value.literal.value), dtype)
            return Value_(literal_text(literal), dtype, NONE, literal)
        value = self.tensor(value)
        text = cast_text(value.name, value.dtype, dtype)
        return self.define(("cast", value.name, dtype), text.text, dtype, value.dims, tight=text.tight)

    def keep(self, store: Store, value: Value_) -> None:
        """Let later loads of this element find the value."""
        tensor = self.program.tensors[store.tensor]
        value = self.converted(value, computed(tensor.dtype))
        if tensor.dtype in ("bfloat16", "float16") and (value.literal is None):
            text = f"{value.name}.to(tl.{tensor.dtype}).to(tl.float32)"
            value = self.define(("round", tensor.dtype, value.name), text, "float32", value.dims)
        self._stored[(store.tensor, store.index)] = value

    def knows(self, element: tuple[str, tuple[Index, ...]]) -> bool:
        """Was this element written here, so that a load finds its value?"""
        return element in self._stored

    def write(self, store: Store, value: Value_) -> None:
        """Write a value to memory, wherever the tile has points."""
        tensor = self.program.tensors[store.tensor]
        value = self.converted(value, computed(tensor.dtype))
        text, dims = self.index(flatten(tensor, store.index))
        mask = self._mask(dims, ())
        pointer = f"{self.pointer(store.tensor)} + {text}" if text != "0" else self.pointer(store.tensor)
        self.body.effect(f"tl.store({pointer}, {value.name}{mask})")

    def pointer(self, tensor: str) -> str:
        """The kernel's parameter for the memory of a tensor."""
        return f"{root(self.program, tensor)}_ptr"

    def index(self, index: Index) -> tuple[str, Dims]:
        """An index as text, and the dimensions along which it varies."""
        parts: list[str] = []
        dims = NONE
        terms = dict(index.terms)
        for counted in self.counted:
            step = _step(index, counted.axes)
            if step is not None:
                parts.append(counted.name if step == "1" else f"{counted.name} * {step}")
                dims |= counted.dims
                terms = {t: c for t, c in terms.items() if t not in {a.name for a in counted.axes}}
        for term, coefficient in terms.items():
            text, own = self.axes[term] if isinstance(term, str) else self._atom(term)
            dims |= own
            factor = size_text(coefficient)
            parts.append(text if factor == "1" else f"{text} * {factor}")
        offset = size_text(index.offset)
        if offset != "0" or not parts:
            parts.append(offset)
        return " + ".join(parts).replace("+ -", "- "), dims

    # ── expressions ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _print(self, expr: Expr, name: str) -> Value_:
        if isinstance(expr, Const):
            return Value_(literal_text(expr), expr.dtype, NONE, expr)
        if isinstance(expr, Acc):
            assert self._acc is not None, "an accumulator outside an epilogue"
            return self.converted(self._acc, expr.dtype)
        if isinstance(expr, Load):
            return self._load(expr)
        if isinstance(expr, Iota):
            return self._iota(expr)
        return self._op(expr, name)

    def _op(self, expr: Op, name: str) -> Value_:
        args = [self.value(a) for a in expr.args]
        if expr.name == "cast":
            return self.converted(args[0], expr.dtype)
        wanted = operand_dtypes(expr, [a.dtype for a in args])
        args = [self.converted(a, d) for a, d in zip(args, wanted, strict=True)]
        kind = wanted[-1]
        if all(a.literal is not None for a in args[-2:]) or (kind == "bool" and expr.name != "where"):
            args = [*args[:-2], *(self.tensor(a) for a in args[-2:])]
        args = [self.tensor(a) if n == 0 and expr.name == "where" else a for n, a in enumerate(args)]
        text = op_text(expr, kind, [_negative(a.name) for a in args])
        if text.helper:
            self.helpers.add(text.helper)
        dims = frozenset[str]().union(*(a.dims for a in args))
        if text.text in {a.name for a in args}:
            return next(a for a in args if a.name == text.text)
        key = (expr.name, *(a.name for a in args), expr.dtype)
        return self.define(key, text.text, expr.dtype, dims, tight=text.tight, name=name)

    def _iota(self, expr: Iota) -> Value_:
        text, dims = self.index(expr.index)
        if text.isdigit():
            return self._print(Const(int(text), expr.dtype), "v")
        return self.define(
            ("iota", expr.index, expr.dtype), f"tl.cast({text}, {storage_type(expr.dtype)})", expr.dtype, dims
        )

    def _atom(self, atom: FloorDiv | Mod | Value) -> tuple[str, Dims]:
        if isinstance(atom, Value):
            value = self.value(atom.expr)
            return value.name, value.dims
        text, dims = self.index(atom.index)
        by = size_text(atom.divisor if isinstance(atom, FloorDiv) else atom.modulus)
        quotient = isinstance(atom, FloorDiv)
        span = bounds(atom.index, self.ranges)
        if span is not None and span[0] >= 0:
            text = text if text.isidentifier() else f"({text})"
            found = self.define(("atom", atom), f"{text} {'//' if quotient else '%'} {by}", "index", dims, tight=False)
        else:
            helper = "floor_div" if quotient else "floor_mod"
            self.helpers.add(helper)
            found = self.define(("atom", atom), f"{helper}({text}, {by})", "index", dims)
        return found.name, dims

    # ── memory ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _load(self, expr: Load) -> Value_:
        stored = self._stored.get((expr.tensor, expr.index))
        if stored is not None and expr.fill is None:
            return self.converted(stored, expr.dtype)
        key = ("load", expr.tensor, expr.index, expr.fill, self.guard)
        found = self._numbers.get(key)
        if found is None:
            found = self._numbers[key] = self._load_new(expr, self.program.tensors[expr.tensor])
        return self.converted(found, expr.dtype)

    def _load_new(self, expr: Load, tensor: Tensor) -> Value_:
        text, dims = self.index(flatten(tensor, expr.index))
        checks = self._checks(expr, tensor)
        inside = [c for c in checks if c.dims <= dims]
        outside = [c for c in checks if not c.dims <= dims]
        other = ""
        if inside and expr.fill is not None:
            other = f", other={literal_text(Const(expr.fill, computed(tensor.dtype)))}"
        pointer = f"{self.pointer(expr.tensor)} + {text}" if text != "0" else self.pointer(expr.tensor)
        kind = computed(tensor.dtype)
        widen = ".to(tl.float32)" if kind != tensor.dtype else ""
        call = f"tl.load({pointer}{self._mask(dims, inside)}{other}){widen}"
        name = self.body.define(self.body.name(root(self.program, expr.tensor)), call, kind="load")
        found = Value_(name, kind, dims)
        if outside:
            condition = " & ".join(c.text for c in outside)
            fill = literal_text(Const(expr.fill if expr.fill is not None else 0, kind))
            dims = dims.union(*(c.dims for c in outside))
            key = ("outside", name, condition)
            found = self.define(key, f"tl.where({condition}, {name}, {fill})", kind, dims)
        return found

    def _checks(self, expr: Load, tensor: Tensor) -> list[Mask]:
        """The conditions under which a padded load reads memory."""
        found = list(self.guard)
        if expr.fill is None:
            return found
        for index, size in zip(expr.index, tensor.shape, strict=True):
            span, limit = bounds(index, self.ranges), static(size)
            text, dims = self.index(index)
            if span is None or span[0] < 0:
                found.append(Mask(f"({text} >= 0)", dims))
            if span is None or limit is None or span[1] >= limit:
                found.append(Mask(f"({text} < {size_text(size)})", dims))
        return found

    def _mask(self, dims: Dims, checks: Iterable[Mask]) -> str:
        """The ``mask=`` of an access whose address varies along these dimensions."""
        texts = [self.masks[d] for d in self.masks if d in dims] + [c.text for c in checks]
        return f", mask={' & '.join(dict.fromkeys(texts))}" if texts else ""


def _step(index: Index, axes: Sequence[Axis]) -> str | None:
    """What a variable that counts these axes adds to an index with each step, if that is always the same."""
    for outer, inner in itertools.pairwise(axes):
        if not same(index.coefficient(outer.name), index.coefficient(inner.name) * inner.size):
            return None
    last = index.coefficient(axes[-1].name)
    return None if same(last, 0) else size_text(last)


def computed(dtype: str) -> str:
    """The dtype of a value in flight: half types exist only in memory."""
    return "float32" if dtype in ("bfloat16", "float16") else dtype


def _negative(text: str) -> str:
    return f"({text})" if text.startswith("-") else text
