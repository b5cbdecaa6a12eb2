"""Tile programs as data: what one block of threads does to tiles in registers, shared and global memory.

A program says nothing of threads: who holds what is said by the layouts of its registers, and everything else follows.
The interpreter (``_interpret``) defines what programs mean, ``_emit`` writes them as CUDA C++.

Source: Tilus (arXiv 2504.12984), section 5: the instruction set, here as far as products of few-bit weights need it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

from ....errors import LowBitInvalid
from .._types import LowBitType
from ._expression import Expression
from ._layout import Layout, check_view


@dataclass(frozen=True)
class Wide:
    """A type that is computed with: ``f16``, ``bf16`` or ``f32``."""

    name: str
    bits: int


F16, BF16, F32 = Wide("f16", 16), Wide("bf16", 16), Wide("f32", 32)
Element: TypeAlias = LowBitType | Wide
Size: TypeAlias = int | str
Where: TypeAlias = tuple[Expression, ...]


@dataclass(frozen=True)
class Global:
    """A parameter of the kernel: row-major; the first size may be a name, which is a parameter, too."""

    name: str
    element: Element
    shape: tuple[Size, ...]


@dataclass(frozen=True)
class Shared:
    """Memory of the block: row-major. What it holds at first is nothing anybody may read."""

    name: str
    element: Element
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Register:
    """A tile spread over the registers of a block's threads."""

    name: str
    element: Element
    layout: Layout


Memory: TypeAlias = Global | Shared


@dataclass(frozen=True)
class Load:
    """``to = source[at ...]``: of the last axes as many as ``to`` has; beyond the end of a global tensor lie zeros."""

    to: Register
    source: Memory
    at: Where


@dataclass(frozen=True)
class Store:
    """``to[at ...] = source``; what lies beyond the end of a global tensor is dropped."""

    to: Memory
    source: Register
    at: Where


@dataclass(frozen=True)
class CopyAsync:
    """Begin to copy a tile of ``shape`` from global to shared memory; it has happened after :class:`CopyWait`."""

    to: Shared
    to_at: Where
    source: Global
    source_at: Where
    shape: tuple[int, ...]


@dataclass(frozen=True)
class CopyCommit:
    """The copies begun since the last one are a group."""


@dataclass(frozen=True)
class CopyWait:
    """Wait until only the newest ``pending`` groups are under way. Others see a copy after the next :class:`Sync`."""

    pending: int


@dataclass(frozen=True)
class Sync:
    """All threads of the block wait for each other."""


@dataclass(frozen=True)
class View:
    """``to`` is the bits of ``source`` in the same threads, read as another type and layout; it costs nothing."""

    to: Register
    source: Register


@dataclass(frozen=True)
class Cast:
    """``to = source`` in another type, rounded to nearest even. The slots may lie in another order, not the threads."""

    to: Register
    source: Register


@dataclass(frozen=True)
class Fill:
    """``to = value`` everywhere."""

    to: Register
    value: float


@dataclass(frozen=True)
class Elementwise:
    """``to = op(*sources)`` in float32, rounded once; ``op`` is "add", "mul" or "fma" (``a * b + c``).

    A source has ``to``'s layout, or the reduction of it along axes in which it has size 1: those are broadcast.
    """

    to: Register
    op: str
    sources: tuple[Register, ...]


@dataclass(frozen=True)
class Sum:
    """``to`` = the sums of ``source`` along an axis, in float32; ``to`` has ``source``'s layout reduced along it."""

    to: Register
    source: Register
    axis: int


@dataclass(frozen=True)
class Dot:
    """``to += a @ b``: products exact, summed in float32 in some order. ``a`` ``[m, k]``, ``b`` ``[k, n]``."""

    to: Register
    a: Register
    b: Register


@dataclass(frozen=True)
class Loop:
    """``body`` for every value of ``name`` from 0."""

    name: str
    count: int
    body: tuple[Instruction, ...]


Instruction: TypeAlias = (
    Load | Store | CopyAsync | CopyCommit | CopyWait | Sync | View | Cast | Fill | Elementwise | Sum | Dot | Loop
)
OPERATIONS = {"add": 2, "mul": 2, "fma": 3}


@dataclass(frozen=True)
class Program:
    """What every block does; ``grid`` counts blocks (``block_x``, ``block_y``), as text over the sizes' names."""

    name: str
    threads: int
    grid: tuple[str, str]
    parameters: tuple[Global, ...]
    body: tuple[Instruction, ...]

    @property
    def sizes(self) -> tuple[str, ...]:
        """The sizes that are known only when it is launched."""
        return tuple(
            dict.fromkeys(size for tensor in self.parameters for size in tensor.shape if isinstance(size, str))
        )

    def instructions(self) -> Iterable[Instruction]:
        """All of them, loops before their bodies."""
        return _flat(self.body)


class TileProgram:
    """Writes a :class:`Program`: every method appends one instruction, after looking whether its tiles fit.

    >>> from ._layout import spatial
    >>> program = TileProgram("double", 32, ("1", "1"))
    >>> x, y = program.parameter("x", F32, ("n",)), program.parameter("y", F32, ("n",))
    >>> tile = program.load(x, [0], spatial(32))
    >>> program.store(y, program.elementwise("add", tile, tile), [0])
    >>> [type(step).__name__ for step in program.build().body]
    ['Load', 'Elementwise', 'Store']

    Raises ``LowBitInvalid`` where they do not.
    """

    def __init__(self, name: str, threads: int, grid: tuple[str, str]) -> None:
        self._head = (name, threads, grid)
        self._parameters: list[Global] = []
        self._body: list[Instruction] = []
        self._names = 0

    def build(self) -> Program:
        """What was written so far."""
        return Program(*self._head, tuple(self._parameters), tuple(self._body))

    def parameter(self, name: str, element: Element, shape: tuple[Size, ...]) -> Global:
        """A tensor in global memory."""
        _check_bytes(name, element)
        if any(isinstance(size, str) for size in shape[1:]):
            raise LowBitInvalid(f"{name} has shape {shape}; only the first size may be a name.")
        self._parameters.append(Global(name, element, shape))
        return self._parameters[-1]

    def shared(self, element: Element, shape: tuple[int, ...]) -> Shared:
        """A tensor in shared memory."""
        made = Shared(self._name("shared"), element, shape)
        _check_bytes(made.name, element)
        return made

    def load(self, source: Memory, at: Iterable[Expression | int | str], layout: Layout) -> Register:
        """The tile at ``at``."""
        to, where = self._register(source.element, layout), _where(source, at)
        _check_rank(source, len(layout.shape))
        self._body.append(Load(to, source, where))
        return to

    def store(self, to: Memory, source: Register, at: Iterable[Expression | int | str]) -> None:
        """Write a tile at ``at``."""
        _check_same(to.element, source.element, "stored")
        _check_rank(to, len(source.layout.shape))
        self._body.append(Store(to, source, _where(to, at)))

    def copy_async(
        self,
        to: Shared,
        to_at: Iterable[Expression | int | str],
        source: Global,
        source_at: Iterable[Expression | int | str],
        shape: tuple[int, ...],
    ) -> None:
        """Begin to copy a tile."""
        _check_same(to.element, source.element, "copied")
        _check_rank(to, len(shape))
        _check_rank(source, len(shape))
        self._body.append(CopyAsync(to, _where(to, to_at), source, _where(source, source_at), shape))

    def copy_commit(self) -> None:
        """Close a group of copies."""
        self._body.append(CopyCommit())

    def copy_wait(self, pending: int) -> None:
        """Wait for all groups but the newest ``pending``."""
        self._body.append(CopyWait(pending))

    def sync(self) -> None:
        """A barrier."""
        self._body.append(Sync())

    def view(self, source: Register, element: Element, layout: Layout) -> Register:
        """The bits of a tile as another one."""
        check_view(source.layout, source.element.bits, layout, element.bits)
        return self._made(element, layout, lambda to: View(to, source))

    def cast(self, source: Register, element: Element, layout: Layout | None = None) -> Register:
        """A tile in another type; ``layout`` may order the slots anew."""
        layout = layout or source.layout
        if layout.shape != source.layout.shape or layout.spatial != source.layout.spatial:
            raise LowBitInvalid(
                f"a cast leaves elements in their threads; {source.layout.visualize()} is not {layout.visualize()}."
            )
        if not isinstance(element, Wide) or (isinstance(source.element, LowBitType) and element == F32):
            raise LowBitInvalid(f"{source.element.name} is not cast to {element.name}; few bits become f16 or bf16.")
        return self._made(element, layout, lambda to: Cast(to, source))

    def fill(self, element: Element, layout: Layout, value: float) -> Register:
        """A tile of one value."""
        return self._made(element, layout, lambda to: Fill(to, value))

    def elementwise(self, op: str, *sources: Register, to: Register | None = None) -> Register:
        """``op`` of tiles of wide types; ``to`` is a tile that is overwritten, else a new one like the first."""
        if len(sources) != OPERATIONS.get(op, -1):
            raise LowBitInvalid(f"{op!r} of {len(sources)} tiles is none of {', '.join(OPERATIONS)}.")
        goal = to or self._register(sources[0].element, sources[0].layout)
        for source in sources:
            ones = [axis for axis, size in enumerate(source.layout.shape) if size == 1]
            if source.layout not in (goal.layout, goal.layout.reduce(*ones)) or isinstance(source.element, LowBitType):
                raise LowBitInvalid(
                    f"{source.element.name} {source.layout.visualize()} does not lie as {goal.layout.visualize()}."
                )
        self._body.append(Elementwise(goal, op, sources))
        return goal

    def sum(self, source: Register, axis: int) -> Register:
        """Sums along an axis: float32."""
        if not isinstance(source.element, Wide):
            raise LowBitInvalid(f"{source.element.name} is not summed; cast it before.")
        return self._made(F32, source.layout.reduce(axis), lambda to: Sum(to, source, axis))

    def dot(self, to: Register, a: Register, b: Register) -> None:
        """``to += a @ b``."""
        (m, k), (k2, n) = a.layout.shape, b.layout.shape
        if k != k2 or to.layout.shape != (m, n) or to.element != F32 or a.element != b.element:
            raise LowBitInvalid(
                f"a product of {a.element.name} {(m, k)} and {b.element.name} {(k2, n)} is no "
                f"{to.element.name} {to.layout.shape}."
            )
        self._body.append(Dot(to, a, b))

    @contextmanager
    def loop(self, count: int):  # type: ignore[no-untyped-def]
        """Everything written inside is done ``count`` times; gives the counter."""
        outer, name = self._body, self._name("i")
        self._body = []
        yield Expression.of(name)
        outer.append(Loop(name, count, tuple(self._body)))
        self._body = outer

    def _made(self, element: Element, layout: Layout, step: Callable[[Register], Instruction]) -> Register:
        to = self._register(element, layout)
        self._body.append(step(to))
        return to

    def _register(self, element: Element, layout: Layout) -> Register:
        if layout.threads != self._head[1]:
            raise LowBitInvalid(f"a tile on {layout.threads} threads has no place in a block of {self._head[1]}.")
        return Register(self._name("r"), element, layout)

    def _name(self, what: str) -> str:
        self._names += 1
        return f"{what}{self._names}"


def _flat(body: Iterable[Instruction]) -> Iterable[Instruction]:
    for step in body:
        yield step
        if isinstance(step, Loop):
            yield from _flat(step.body)


def _where(memory: Memory, at: Iterable[Expression | int | str]) -> Where:
    where = tuple(Expression.of(part) for part in at)
    if len(where) != len(memory.shape):
        raise LowBitInvalid(f"{memory.name} has {len(memory.shape)} axes, the tile begins at {len(where)} numbers.")
    return where


def _check_rank(memory: Memory, rank: int) -> None:
    if rank > len(memory.shape) or rank == 0:
        raise LowBitInvalid(f"a tile of {rank} axes has no place in {memory.name} of shape {memory.shape}.")


def _check_same(to: Element, source: Element, what: str) -> None:
    if to != source:
        raise LowBitInvalid(f"{source.name} is {what} where {to.name} lies; cast or view it before.")


def _check_bytes(name: str, element: Element) -> None:
    if element.bits % 8:
        raise LowBitInvalid(f"{name} is {element.name}; memory holds whole bytes, and fewer bits live in registers.")
