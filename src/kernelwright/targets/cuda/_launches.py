"""The launch table of a CUDA source: comment lines that say, in CUDA's own notation, what each entry launches.

    //@ run0(x, weight, out, workspace)
    //@   s0 = x.shape[0]
    //@   k0_kernel<<<ceil_div(s0, 8), (32, 8), 4096>>>(x, weight, workspace + 64, s0)
    //@   for t in range(s0)
    //@     k1_kernel<<<1, 256>>>(workspace, out, t)

An entry takes tensors. A tensor that is handed to a kernel is the address of its memory, ``+`` moves it by elements,
an integer arrives as an int64, a number with a point as a float and ``double(1.5)`` as a double. The third number of a
launch is dynamic shared memory in bytes. It is data: nothing but this small arithmetic is ever evaluated.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import CodeType
from typing import Any, TypeAlias

from ...errors import BuildFailed

MARK = "//@"
_HEAD = re.compile(r"(\w+)\(([\w, ]*)\)$")
_LET = re.compile(r"(\w+) = (.+)$")
_LOOP = re.compile(r"for (\w+) in (reversed\()?range\((.+?)\)\)?:?$")
_LAUNCH = re.compile(r"(\w+)<<<(.+)>>>\((.*)\)$")
_NODES = (
    ast.Expression, ast.BinOp, ast.UnaryOp, ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Mod, ast.USub, ast.Name,
    ast.Load, ast.Constant, ast.Tuple, ast.Subscript,
)  # fmt: skip


@dataclass(frozen=True)
class Pointer:
    """The memory of a tensor, as launch tables see it."""

    address: int
    itemsize: int
    shape: tuple[int, ...] = ()

    def __add__(self, elements: int) -> Pointer:
        return Pointer(self.address + elements * self.itemsize, self.itemsize)


@dataclass(frozen=True)
class Double:
    """A number that arrives as a double."""

    value: float


Argument: TypeAlias = Pointer | int | float | Double


@dataclass(frozen=True)
class Call:
    """One launch: ``grid`` and ``block`` have three numbers each, ``shared`` is in bytes."""

    kernel: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared: int
    arguments: tuple[Argument, ...]


@dataclass(frozen=True)
class _Line:
    """A line of an entry. ``kind``: "let", "launch", or "for", which ``inner`` belongs to."""

    kind: str
    name: str
    code: CodeType
    inner: tuple[_Line, ...] = ()
    backwards: bool = False


@dataclass(frozen=True)
class Entry:
    """What a step of the plan calls."""

    name: str
    tensors: tuple[str, ...]
    lines: tuple[_Line, ...]

    def calls(self, tensors: Sequence[Pointer]) -> Iterator[Call]:
        """The launches of one call, in order. Raises ``BuildFailed`` where the table makes no sense."""
        if len(tensors) != len(self.tensors):
            raise BuildFailed(
                f"The entry {self.name} takes {len(self.tensors)} tensors, its plan gives {len(tensors)}."
            )
        try:
            yield from _calls(self.lines, {**_FUNCTIONS, **dict(zip(self.tensors, tensors, strict=True))})
        except (TypeError, ValueError, NameError, ArithmeticError, LookupError, AttributeError) as error:
            raise BuildFailed(f"The launch table of {self.name} makes no sense: {error}.") from error


def kernel_names(entries: Mapping[str, Entry]) -> tuple[str, ...]:
    """Every kernel that a table launches."""
    return tuple(dict.fromkeys(name for entry in entries.values() for name in _launched(entry.lines)))


def read_launches(source: str) -> dict[str, Entry]:
    """The entries of a source by name. Raises ``BuildFailed`` for a line that is none."""
    entries: dict[str, Entry] = {}
    lines = [line[len(MARK) :].rstrip() for line in source.splitlines() if line.startswith(MARK)]
    position = 0
    while position < len(lines):
        head = _HEAD.match(lines[position].strip())
        if head is None:
            raise BuildFailed(
                f"The launch table begins an entry by {lines[position].strip()[:80]!r}; name(tensors) would."
            )
        depth = _depth(lines[position])
        body, position = _read(lines, position + 1, depth)
        tensors = tuple(name.strip() for name in head[2].split(",") if name.strip())
        entries[head[1]] = Entry(head[1], tensors, body)
    return entries


def _read(lines: Sequence[str], position: int, depth: int) -> tuple[tuple[_Line, ...], int]:
    """The lines that are deeper than ``depth``, and where they end."""
    found: list[_Line] = []
    while position < len(lines) and _depth(lines[position]) > depth:
        text = lines[position].strip()
        position += 1
        if loop := _LOOP.match(text):
            inner, position = _read(lines, position, _depth(lines[position - 1]))
            found.append(_Line("for", loop[1], _compiled(loop[3]), inner, bool(loop[2])))
        elif launch := _LAUNCH.match(text):
            found.append(
                _Line("launch", launch[1], _compiled(f"(({launch[2]},), ({launch[3]}{',' if launch[3] else ''}))"))
            )
        elif let := _LET.match(text):
            found.append(_Line("let", let[1], _compiled(let[2])))
        else:
            raise BuildFailed(f"The launch table holds {text[:80]!r}, which is neither a launch nor a size.")
    return tuple(found), position


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip())


def _compiled(text: str) -> CodeType:
    """An expression in which nothing but sizes, tensors and arithmetic can occur."""
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise BuildFailed(f"The launch table holds {text[:80]!r}, which is no expression.") from None
    for node in ast.walk(tree):
        call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS
        shape = isinstance(node, ast.Attribute) and node.attr == "shape"
        number = isinstance(node, ast.Constant) and type(node.value) not in (int, float)
        if not (call or shape or isinstance(node, _NODES)) or number:
            raise BuildFailed(f"The launch table holds {text[:80]!r}; only sizes and arithmetic may stand there.")
    return compile(tree, "<launch>", "eval")


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)


_FUNCTIONS: dict[str, Callable[..., Any]] = {"ceil_div": _ceil_div, "min": min, "max": max, "double": Double}


def _calls(lines: Sequence[_Line], scope: dict[str, Any]) -> Iterator[Call]:
    for line in lines:
        value = eval(line.code, {"__builtins__": {}}, scope)
        if line.kind == "let":
            scope[line.name] = value
        elif line.kind == "for":
            for step in reversed(range(value)) if line.backwards else range(value):
                scope[line.name] = step
                yield from _calls(line.inner, scope)
        else:
            (grid, block, *shared), arguments = value
            call = Call(line.name, _three(grid), _three(block), int(shared[0]) if shared else 0, arguments)
            if all(call.grid):  # there is nothing to do for no blocks
                yield call


def _three(size: int | tuple[int, ...]) -> tuple[int, int, int]:
    x, y, z = (*(size if isinstance(size, tuple) else (size,)), 1, 1)[:3]
    return int(x), int(y), int(z)


def _launched(lines: Sequence[_Line]) -> Iterator[str]:
    for line in lines:
        if line.kind == "launch":
            yield line.name
        yield from _launched(line.inner)
