"""Reads the C entries of a printed source: which memory its arguments are, and which kernels it calls with what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...targets.plan import WORKSPACE, EntryCall, Plan
from ._numbers import Number, number, variable
from ._reader import Reader
from ._sizes import size_number
from ._syntax import child, declared, flat, inner, line, text
from ._values import UNKNOWN, Argument, Buffer, Pointer, Truth, Unproved

if TYPE_CHECKING:
    from tree_sitter import Node

WIDTH = {
    "kFloat64": 8, "kFloat32": 4, "kFloat16": 2, "kBFloat16": 2,
    "kInt64": 8, "kInt32": 4, "kInt16": 2, "kInt8": 1, "kUInt8": 1, "kBool": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Invocation:
    """A kernel that an entry calls; ``sometimes``: only where a flag in memory says so."""

    name: str
    node: Node
    sometimes: bool


class EntryReader:
    """One entry: ``invocations`` yields its kernels in order, with the reader ready to read each."""

    def __init__(
        self, reader: Reader, plan: Plan, step: EntryCall, made: dict[str, Buffer], symbols: Mapping[str, Number]
    ) -> None:
        self._reader, self._step, self._made, self._symbols = reader, step, made, symbols
        self._workspace = size_number(plan.workspace, symbols)
        self._inputs = {spec.spec.name for spec in plan.inputs}

    def invocations(self) -> Iterator[Invocation]:
        """Bind the arguments as the text does, then name the calls."""
        reader = self._reader
        found = reader.functions.get(f"__tvm_ffi_{self._step.entry}")
        if found is None:
            raise Unproved(f"the source has no entry {self._step.entry}")
        reader.declare("args", [Argument(i) for i in range(len(self._step.args))])
        if self._step.args and self._step.args[-1] == WORKSPACE:
            memory = Buffer(WORKSPACE, self._workspace, 1, "scratch")
            self._take(len(self._step.args) - 1, Pointer(memory, number(0), 1, number(0)))
        for node in inner(child(found, "body")):
            reader.line = line(node)
            if node.type == "declaration":
                self._declare(node)
            elif node.type == "if_statement":
                yield from self._check(node)
            elif node.type == "expression_statement":
                yield from self._invoke(inner(node)[0], sometimes=False)
            elif node.type != "return_statement":
                raise Unproved(f"line {reader.line} of an entry is a {node.type}, which is not read")

    def _declare(self, node: Node) -> None:
        names = [declared(d) for d in node.children_by_field_name("declarator")]
        if len(names) == 1 and names[0] in self._symbols:
            self._reader.declare(names[0], self._symbols[names[0]])
        else:
            self._reader.statement(node)

    def _check(self, node: Node) -> Iterator[Invocation]:
        """An entry refuses what does not match: what is read afterwards does."""
        condition = inner(child(node, "condition"))[-1]
        body = child(node, "consequence")
        if body.type == "return_statement":
            for call in _calls(condition, "kw::matches"):
                self._matches(call)
            return
        reader = self._reader
        with reader.under(UNKNOWN):
            reader.value(condition)
            yield from self._invoke(inner(body)[0], sometimes=True)

    def _matches(self, call: Node) -> None:
        values = [self._reader.value(a) for a in inner(child(call, "arguments"))]
        kind = text(inner(child(call, "arguments"))[1]).removeprefix("kw::")
        rank = values[2].constant
        shape, strides = (v.buffer.contents[:rank] for v in values[3:5])
        at, width = values[0].position, WIDTH[kind]
        name = self._step.args[at]
        if name not in self._made:
            size = number(1)
            for extent, stride in zip(shape, strides, strict=True):
                size = size + self._reader.product(extent - 1, stride)
            empty = any(extent.value == 0 for extent in shape)
            role = "input" if name in self._inputs else "output"
            self._made[name] = Buffer(name, number(0) if empty else size, width, role, tuple(shape), tuple(strides))
        self._take(at, Pointer(self._made[name], number(0), width, number(0)))

    def _take(self, position: int, pointer: Pointer) -> None:
        self._reader.declare(f"argument {position}", pointer)

    def _invoke(self, node: Node, sometimes: bool) -> Iterator[Invocation]:
        if node.type != "call_expression":
            raise Unproved(f"line {line(node)} of an entry is not read")
        name = flat(child(node, "function"))
        if name in self._reader.functions:
            yield Invocation(name, node, sometimes)
        else:
            self._reader.value(node)


def _calls(node: Node, name: str) -> Iterator[Node]:
    if node.type == "call_expression" and text(child(node, "function")) == name:
        yield node
    for below in inner(node):
        yield from _calls(below, name)


__all__ = ["Any", "EntryReader", "Invocation", "Truth", "variable"]
