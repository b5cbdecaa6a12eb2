"""Scalar expressions as CUDA C++: what one thread computes at one point.

Everything that generates CUDA prints its values through this one class. An axis is a variable of the thread; what has
been loaded or stored under an index is known under that index, so nothing is read or computed twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..cpp._indices import Ranges, bounds, flatten, size_text, static
from ..cpp.printer import operand_dtypes
from ..group import root
from ..program import Acc, Const, Expr, FloorDiv, Index, Iota, Load, Mod, Op, Program, Store, Tensor, Value
from ._operators import Text, cast_text, literal_text, memory_type, op_text, value_type
from ._text import AND, ATOM, CHOICE, PRODUCT, Body

Element = tuple[str, tuple[Index, ...], float | int | None]  # what a load reads: tensor, index, filling


@dataclass(frozen=True)
class Known:
    """A name or a literal in the kernel and its dtype in flight."""

    name: str
    dtype: str
    literal: Const | None = None


class Printer:
    """Prints expressions of ``program`` into ``body``.

    ``axes`` gives the text of each axis, ``ranges`` bounds of axes, so that needless checks vanish, ``number`` is the
    C++ type of indices.
    """

    def __init__(self, program: Program, body: Body, axes: Mapping[str, str], ranges: Ranges, number: str) -> None:
        self.program, self.body, self.ranges, self.number = program, body, ranges, number
        self.axes = dict(axes)
        self._numbers: dict[object, Known] = {}  # value numbering: equal computations share a name
        self._stored: dict[tuple[str, tuple[Index, ...]], Known] = {}
        self._memo: dict[int, tuple[Expr, Known]] = {}  # keeps the expression alive, so ids stay unique
        self._acc: Known | None = None

    def inner(self) -> Printer:
        """A printer for the body of a loop: it knows what is known here, and what it learns ends with it."""
        found = Printer(self.program, self.body, self.axes, self.ranges, self.number)
        found._numbers, found._stored = dict(self._numbers), dict(self._stored)
        return found

    # ── public ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def value(self, expr: Expr, name: str = "v") -> Known:
        """Print an expression; a name is given to what it becomes."""
        memo = self._memo.get(id(expr))
        if memo is None:
            memo = self._memo[id(expr)] = (expr, self._print(expr, name))
        return memo[1]

    def finished(self, expr: Expr, acc: Known, name: str) -> Known:
        """Print an epilogue, in which the accumulator has this value."""
        self._memo, self._acc = {}, acc
        result = self.value(expr, name)
        self._memo, self._acc = {}, None
        return result

    def define(self, key: object, text: Text, dtype: str, name: str = "v", kind: str = "pure") -> Known:
        """Name an expression, or find the name it has."""
        found = self._numbers.get(key)
        if found is None:
            type_ = self.number if dtype == "index" else value_type(dtype)
            given = self.body.define(name, type_, text.text, kind=kind, binds=text.binds)
            found = self._numbers[key] = Known(given, dtype)
        return found

    def converted(self, value: Known, dtype: str) -> Known:
        """The value as another dtype, by torch's casting rules."""
        if value.dtype == dtype:
            return value
        if value.literal is not None and dtype != "bool":
            number = value.literal.value
            if computed(dtype) in ("float32", "float64") or value.dtype not in ("float32", "float64"):
                literal = Const(int(number) if value.dtype == "bool" else number, dtype)
                return Known(literal_text(literal), dtype, literal)
        return self.define(("cast", value.name, dtype), cast_text(value.name, value.dtype, dtype), dtype)

    def bind(self, load: Load, text: str) -> None:
        """A load of this element finds its memory's content in a variable of the kernel."""
        dtype = self.program.tensors[load.tensor].dtype
        widened = self._widened(Text(text), dtype)
        if widened.text == text:
            self._numbers[_element(load)] = Known(text, dtype)
        else:
            self.define(_element(load), widened, "float32", f"{self.pointer(load.tensor)}_value", "load")

    def hold(self, load: Load, text: str) -> None:
        """A load of this element finds its value, as it is in flight, in a variable of the kernel."""
        self._numbers[_element(load)] = Known(text, load.dtype)

    def keep(self, store: Store, value: Known) -> Known:
        """Let later loads of this element find the value, as they would see it."""
        tensor = self.program.tensors[store.tensor]
        value = self.converted(value, computed(tensor.dtype))
        if tensor.dtype in ("bfloat16", "float16"):
            half = memory_type(tensor.dtype).removeprefix("kw::")
            text = Text(f"kw::to_float(kw::to_{half}({value.name}))")
            value = self.define(("round", half, value.name), text, "float32")
        self._stored[(store.tensor, store.index)] = value
        return value

    def knows(self, load: Load) -> bool:
        """Is this element known without reading memory?"""
        return load.fill is None and ((load.tensor, load.index) in self._stored or _element(load) in self._numbers)

    def has_stored(self, load: Load) -> bool:
        """Was this element written here?"""
        return load.fill is None and (load.tensor, load.index) in self._stored

    def stored_text(self, store: Store, value: Known) -> str:
        """The value as it lies in memory."""
        tensor = self.program.tensors[store.tensor]
        value = self.converted(value, computed(tensor.dtype))
        if tensor.dtype in ("bfloat16", "float16"):
            return f"kw::to_{memory_type(tensor.dtype).removeprefix('kw::')}({value.name})"
        return value.name

    def write(self, store: Store, value: Known, guard: str = "") -> None:
        """Write a value to memory; ``guard`` says which thread does."""
        place = self.index(flatten(self.program.tensors[store.tensor], store.index)).text
        text = f"{self.pointer(store.tensor)}[{place}] = {self.stored_text(store, value)};"
        self.body.effect(f"if ({guard}) {text}" if guard else text)

    def pointer(self, tensor: str) -> str:
        """The kernel's parameter for the memory of a tensor."""
        return root(self.program, tensor)

    def address(self, tensor: str, index: tuple[Index, ...]) -> str:
        """Where an element lies."""
        text = self.index(flatten(self.program.tensors[tensor], index)).text
        return self.pointer(tensor) if text == "0" else f"{self.pointer(tensor)} + {text}"

    def index(self, index: Index) -> Text:
        """An index as text."""
        parts: list[Text] = []
        for term, coefficient in index.terms:
            text = Text(self.axes[term]) if isinstance(term, str) else self._atom(term)
            factor = size_text(coefficient)
            name = text.text if text.text.isidentifier() or text.binds == ATOM else f"({text.text})"
            parts.append(Text(name) if factor == "1" else Text(f"{name} * {_signed(factor)}", PRODUCT))
        offset = size_text(index.offset)
        if len(parts) == 1 and offset == "0":
            return parts[0]
        if offset != "0" or not parts:
            parts.append(Text(offset))
        joined = " + ".join(part.text for part in parts).replace("+ -", "- ")
        return Text(joined, ATOM if len(parts) == 1 else PRODUCT + 1)

    # ── expressions ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _print(self, expr: Expr, name: str) -> Known:
        if isinstance(expr, Const):
            return Known(literal_text(expr), expr.dtype, expr)
        if isinstance(expr, Acc):
            assert self._acc is not None, "an accumulator outside an epilogue"
            return self.converted(self._acc, expr.dtype)
        if isinstance(expr, Load):
            return self._load(expr)
        if isinstance(expr, Iota):
            return self._iota(expr)
        args = [self.value(a) for a in expr.args]
        if expr.name == "cast":
            return self.converted(args[0], expr.dtype)
        return self._op(expr, args, name)

    def _op(self, expr: Op, args: list[Known], name: str) -> Known:
        wanted = operand_dtypes(expr, [a.dtype for a in args])
        args = [self.converted(a, d) for a, d in zip(args, wanted, strict=True)]
        names = [_signed(a.name) for a in args]
        text = op_text(expr, computed(wanted[-1]), names)
        return self.define((expr.name, *names, expr.dtype), text, expr.dtype, name)

    def _iota(self, expr: Iota) -> Known:
        text = self.index(expr.index)
        if text.text.isdigit():
            return self._print(Const(int(text.text), expr.dtype), "v")
        return self.define(("iota", expr.index, expr.dtype), Text(f"{value_type(expr.dtype)}({text.text})"), expr.dtype)

    def _atom(self, atom: FloorDiv | Mod | Value) -> Text:
        if isinstance(atom, Value):
            return Text(self.value(atom.expr).name)
        inner = self.index(atom.index)
        quotient = isinstance(atom, FloorDiv)
        by = size_text(atom.divisor if isinstance(atom, FloorDiv) else atom.modulus)
        span = bounds(atom.index, self.ranges)
        if span is not None and span[0] >= 0:
            name = inner.text if inner.binds == ATOM else f"({inner.text})"
            text = Text(f"{name} {'/' if quotient else '%'} {by}", PRODUCT)
        else:
            text = Text(f"kw::floor_{'div' if quotient else 'mod'}<{self.number}>({inner.text}, {by})")
        return Text(self.define(("atom", atom), text, "index").name)

    # ── memory ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _load(self, expr: Load) -> Known:
        stored = self._stored.get((expr.tensor, expr.index))
        if stored is not None and expr.fill is None:
            return self.converted(stored, expr.dtype)
        found = self._numbers.get(_element(expr))
        if found is None:
            tensor = self.program.tensors[expr.tensor]
            kind = computed(tensor.dtype)
            place = self.index(flatten(tensor, expr.index)).text
            text = self._widened(Text(f"{self.pointer(expr.tensor)}[{place}]"), tensor.dtype)
            if checks := self._checks(expr, tensor):
                filling = literal_text(Const(expr.fill if expr.fill is not None else 0, kind))
                text = Text(f"{checks} ? {text.text} : {filling}", CHOICE)
            found = self.define(_element(expr), text, kind, f"{self.pointer(expr.tensor)}_value", "load")
        return self.converted(found, expr.dtype)

    def _widened(self, text: Text, dtype: str) -> Text:
        """What memory holds as a value in flight."""
        return Text(f"kw::to_float({text.text})") if dtype in ("bfloat16", "float16") else text

    def _checks(self, expr: Load, tensor: Tensor) -> str:
        """The condition under which a padded load reads memory."""
        if expr.fill is None:
            return ""
        found: list[str] = []
        for index, size in zip(expr.index, tensor.shape, strict=True):
            span, limit = bounds(index, self.ranges), static(size)
            text = self.index(index).text
            if span is None or span[0] < 0:
                found.append(f"{text} >= 0")
            if span is None or limit is None or span[1] >= limit:
                found.append(f"{text} < {size_text(size)}")
        joined = " && ".join(dict.fromkeys(found))
        return self.define(("inside", joined), Text(joined, AND), "bool", "inside").name if joined else ""


def computed(dtype: str) -> str:
    """The dtype of a value in flight: half types exist only in memory."""
    return "float32" if dtype in ("bfloat16", "float16") else dtype


def _element(load: Load) -> tuple[str, Element]:
    return "load", (load.tensor, load.index, load.fill)


def _signed(text: str) -> str:
    return f"({text})" if text.startswith("-") else text
