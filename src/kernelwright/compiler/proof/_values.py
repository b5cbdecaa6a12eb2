"""What an expression of a kernel can be, as far as indices care: everything that is no index is ``OPAQUE``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ._numbers import ALWAYS, Condition, Number, Variable, divide, either, negation, number

if TYPE_CHECKING:
    from tree_sitter import Node

LANES = 16  # kw::W
LANE = Variable("loop", "lane", 0, LANES - 1)  # stands for the lane in numbers and conditions of whole vectors


class Unproved(Exception):
    """Why something cannot be proved: a clause that follows "not proved: "."""


@dataclass(eq=False)
class Buffer:
    """Memory. ``size`` counts elements of ``width`` bytes (None: unknown). Roles: ``input``, ``output`` (anything the
    plan allocates), ``scratch`` (the workspace, in bytes), ``own`` (an array of the function)."""

    name: str
    size: Number | None
    width: int
    role: str
    shape: tuple[Number, ...] = ()
    strides: tuple[Number, ...] = ()
    contents: Any = None  # what integers an array holds: a list of values, or a Filled
    phase: int | None = None  # the parallel region that it is private to
    fixed: bool = False  # its contents never change

    def forget(self) -> None:
        """Nothing is known of the contents any more."""
        if not self.fixed:
            self.contents = None


@dataclass(frozen=True)
class Pointer:
    """``base`` bytes and then ``index`` elements of ``width`` bytes into a buffer. ``whole``: elements are integers."""

    buffer: Buffer
    base: Number
    width: int
    index: Number
    whole: bool = False

    def moved(self, by: Number) -> Pointer:
        return Pointer(self.buffer, self.base, self.width, self.index + by, self.whole)


@dataclass(frozen=True)
class Access:
    """One read or write of one element, for all values of ``loops`` under ``condition``.

    ``certain``: it happens whenever the condition holds. ``items``: which parallel item this is, by the split that it
    comes from; two accesses of one ``phase`` whose items differ may happen at once.
    """

    pointer: Pointer
    write: bool
    condition: Condition
    certain: bool
    loops: tuple[Variable, ...]
    items: tuple[tuple[str, tuple[Variable, ...]], ...]
    phase: int | None
    kernel: str
    line: int


@dataclass(frozen=True)
class Truth:
    """A condition; where it is not ``exact`` it is only necessary."""

    condition: Condition = ALWAYS
    exact: bool = True

    def __and__(self, other: Truth) -> Truth:
        return Truth((*self.condition, *other.condition), self.exact and other.exact)

    def __or__(self, other: Truth) -> Truth:
        return Truth(either(self.condition, other.condition), self.exact and other.exact)

    def __invert__(self) -> Truth:
        return Truth(negation(self.condition)) if self.exact else UNKNOWN


UNKNOWN = Truth(ALWAYS, exact=False)


@dataclass(frozen=True)
class Mask:
    """A truth for each lane, over ``LANE``."""

    truth: Truth


@dataclass(frozen=True)
class Vector:
    """An integer for each lane, over ``LANE``."""

    number: Number


@dataclass(frozen=True)
class Unsigned:
    """An integer that was cast to unsigned, to be compared."""

    number: Number


@dataclass(frozen=True)
class Share:
    """Where a thread's share of ``count`` items begins, or ends."""

    count: Number
    end: bool
    split: str


@dataclass(eq=False)
class Cell:
    """A variable of the function."""

    value: Any


class Scope:
    """Names and their cells, innermost first."""

    def __init__(self, outer: Scope | None = None) -> None:
        self.cells: dict[str, Cell] = {}
        self.outer = outer

    def find(self, name: str) -> Cell | None:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.cells:
                return scope.cells[name]
            scope = scope.outer
        return None


@dataclass(frozen=True, eq=False)
class Function:
    """A lambda or a function of the file, with the scope in which it was written."""

    parameters: Node
    body: Node
    scope: Scope
    name: str = ""


@dataclass(frozen=True)
class Structure:
    """A braced value of a named type: its parts in order."""

    name: str
    parts: Sequence[Any]


@dataclass(frozen=True)
class Template:
    """A type with template arguments, as ``typedef`` names it."""

    name: str
    arguments: Sequence[Any]


@dataclass(frozen=True)
class Axes:
    """kw::gemm::Axes: sizes and strides of axes fused into one, outermost first."""

    sizes: tuple[int, ...]
    strides: tuple[int, ...]

    def offset(self, at: Number) -> Number:
        """The offset of a fused coordinate."""
        total, rest = number(0), at
        for size, stride in zip(self.sizes[:0:-1], self.strides[:0:-1], strict=True):
            rest, one = divide(rest, size)
            total = total + one * stride
        return total + rest * self.strides[0]


@dataclass(frozen=True)
class Filled:
    """An array that a table was written into: element i is the offset of coordinate ``start + i``, i < count."""

    axes: Axes
    start: Number
    count: Number


@dataclass(frozen=True)
class Argument:
    """The i-th argument of an entry."""

    position: int


@dataclass(frozen=True)
class Opaque:
    """A value that no index depends on."""

    fields: Mapping[str, Any] = field(default_factory=dict)


OPAQUE = Opaque()
