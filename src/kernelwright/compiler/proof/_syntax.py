"""The syntax tree of a printed source, and small questions about it."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Node, Parser

from ._values import Unproved

_WORDS = (
    r"KW_RESTRICT|KW_EXPORT|KW_INLINE|KW_ONCE|\[\[maybe_unused\]\]|__attribute__\(\([a-z_, ]*\)\)|^[ \t]*#pragma.*$"
)
WIDTHS = {
    "double": 8, "float": 4, "int64_t": 8, "uint64_t": 8, "int32_t": 4, "uint32_t": 4, "int16_t": 2, "int8_t": 1,
    "uint8_t": 1, "bool": 1, "char": 1, "int": 4, "kw::bf16": 2, "kw::f16": 2, "kw::b8": 1,
}  # fmt: skip
WHOLE = frozenset(("int64_t", "uint64_t", "int32_t", "uint32_t", "int16_t", "int8_t", "uint8_t", "int", "char"))


def parse(source: str) -> Node:
    """The tree of a source; what the grammar cannot know (macros, attributes) is blanked first, in place."""
    text = re.sub(_WORDS, lambda found: " " * len(found[0]), source, flags=re.MULTILINE)
    root = _parser().parse(text.encode()).root_node
    if root.has_error:
        raise Unproved("the source is not C++ that the parser knows")
    return root


@functools.cache
def _parser() -> Parser:
    import tree_sitter_cpp
    from tree_sitter import Language, Parser

    return Parser(Language(tree_sitter_cpp.language()))


def text(node: Node) -> str:
    return (node.text or b"").decode()


def flat(node: Node) -> str:
    """The text without blanks."""
    return re.sub(r"\s+", "", text(node))


def child(node: Node, name: str) -> Node:
    found = node.child_by_field_name(name)
    if found is None:
        raise Unproved(f"line {line(node)} has no {name}")
    return found


def line(node: Node) -> int:
    return int(node.start_point[0]) + 1


def inner(node: Node) -> list[Node]:
    """The children that mean something."""
    return [c for c in node.named_children if c.type != "comment"]


def functions(root: Node) -> dict[str, Node]:
    """The functions that a file defines, by name."""
    found = {}
    for node in inner(root):
        if node.type == "linkage_specification":
            node = child(node, "body")
        if node.type == "function_definition":
            found[declared(child(node, "declarator"))] = node
    return found


def declared(node: Node) -> str:
    """The name that a declarator declares."""
    while node.type not in ("identifier", "field_identifier", "type_identifier"):
        below = node.child_by_field_name("declarator")
        if below is None:
            named = [c for c in node.named_children if "declarator" in c.type or c.type == "identifier"]
            if not named:
                return ""
            below = named[-1]
        node = below
    return text(node)


def assigned(node: Node) -> Iterator[tuple[str, bool]]:
    """Names that are assigned somewhere below, and whether it is an element of them; callees' names too."""
    for one in walk(node):
        if one.type == "assignment_expression":
            yield from _target(child(one, "left"))
        elif one.type == "update_expression":
            yield from _target(child(one, "argument"))
        elif one.type == "call_expression":
            called = child(one, "function")
            if called.type == "qualified_identifier":
                continue  # no function of the library writes into an array of integers but Axes::table
            if called.type == "identifier":
                yield text(called), False
            for argument in inner(child(one, "arguments")):
                if argument.type == "identifier":
                    yield text(argument), True  # an array that is handed on may be filled
                elif argument.type == "pointer_expression" and text(argument).startswith("&"):
                    yield from _target(child(argument, "argument"))


def _target(node: Node) -> Iterator[tuple[str, bool]]:
    if node.type == "identifier":
        yield text(node), False
    elif node.type == "subscript_expression":
        yield from ((name, True) for name, _ in _target(child(node, "argument")))
    elif node.type in ("pointer_expression", "parenthesized_expression"):
        yield from ((name, True) for part in inner(node) for name, _ in _target(part))
    elif node.type == "field_expression":
        yield from _target(child(node, "argument"))


def walk(node: Node) -> Iterator[Node]:
    yield node
    for below in node.named_children:
        yield from walk(below)
