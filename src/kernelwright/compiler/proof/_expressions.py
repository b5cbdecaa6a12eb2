"""Reads expressions: integers, pointers and truths exactly, everything else only for the memory that it touches."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ._library import called, constant, member
from ._numbers import (
    Number,
    at_least,
    decided,
    divide,
    equal,
    less,
    maximum,
    number,
    variable,
)
from ._syntax import WHOLE, WIDTHS, child, flat, inner, line, text
from ._values import (
    LANE,
    OPAQUE,
    UNKNOWN,
    Axes,
    Buffer,
    Cell,
    Filled,
    Function,
    Mask,
    Opaque,
    Pointer,
    Share,
    Structure,
    Template,
    Truth,
    Unproved,
    Unsigned,
    Vector,
)

if TYPE_CHECKING:
    from tree_sitter import Node

    from ._reader import Reader


def evaluate(reader: Reader, node: Node) -> Any:
    """The value of an expression; what it accesses is recorded."""
    found = _READERS.get(node.type)
    if found is None:
        raise Unproved(f"line {line(node)} has a {node.type.replace('_', ' ')}, which is not read")
    return found(reader, node)


def _literal(reader: Reader, node: Node) -> Any:
    word = text(node).rstrip("uUlL") if not text(node).lower().startswith("0x") else text(node)
    try:
        return number(int(word, 0))
    except ValueError:
        return OPAQUE


def _name(reader: Reader, node: Node) -> Any:
    name = text(node)
    cell = reader.scope.find(name)
    if cell is not None:
        return cell.value
    if name in reader.functions:
        found = reader.functions[name]
        return Function(child(child(found, "declarator"), "parameters"), child(found, "body"), reader.globals, name)
    if name in ("INT64_MAX", "INT32_MAX", "INT64_MIN", "INT32_MIN"):
        return OPAQUE
    raise Unproved(f"line {line(node)} names {name}, which is not known")


def _qualified(reader: Reader, node: Node) -> Any:
    return constant(reader, text(node))


def _truth_literal(reader: Reader, node: Node) -> Any:
    return Truth() if node.type == "true" else Truth(((),))


def _inside(reader: Reader, node: Node) -> Any:
    return evaluate(reader, inner(node)[-1])


def _unary(reader: Reader, node: Node) -> Any:
    value, sign = evaluate(reader, child(node, "argument")), text(child(node, "operator"))
    if sign == "!":
        return ~reader.truth(value)
    if sign == "-" and isinstance(value, Number):
        return -value
    if sign == "+":
        return value
    if sign == "~" and isinstance(value, Mask):
        return Mask(~value.truth)
    return OPAQUE


def _binary(reader: Reader, node: Node) -> Any:
    sign = text(child(node, "operator"))
    left = evaluate(reader, child(node, "left"))
    if sign in ("&&", "||"):
        a = reader.truth(left)
        with reader.under(a if sign == "&&" else ~a):
            b = reader.truth(evaluate(reader, child(node, "right")))
        return a & b if sign == "&&" else a | b
    right = evaluate(reader, child(node, "right"))
    if sign in _COMPARISONS:
        return compare(sign, left, right)
    return arithmetic(reader, sign, left, right)


_COMPARISONS: dict[str, Callable[[Number, Number], tuple[Any, ...]]] = {
    "<": less,
    "<=": lambda a, b: at_least(b, a),
    ">": lambda a, b: less(b, a),
    ">=": at_least,
    "==": equal,
    "!=": lambda a, b: _different(a, b),
}


def _different(a: Number, b: Number) -> tuple[Any, ...]:
    return (~Truth(equal(a, b))).condition


def compare(sign: str, a: Any, b: Any) -> Truth | Opaque:
    """A comparison of integers; of anything else nothing is known."""
    if isinstance(a, Unsigned) and isinstance(b, Unsigned) and sign == "<" and b.number.low >= 0:
        return Truth((*at_least(a.number, 0), *less(a.number, b.number)))
    if isinstance(a, Number) and isinstance(b, Number):
        found = _COMPARISONS[sign](a, b)
        known = decided(found)
        return Truth(found) if known is None else (Truth() if known else Truth(((),)))
    return UNKNOWN


def arithmetic(reader: Reader, sign: str, a: Any, b: Any) -> Any:
    """The value of ``a sign b``."""
    if isinstance(a, Pointer) or isinstance(b, Pointer):
        if isinstance(b, Pointer) and sign == "+":
            a, b = b, a
        if isinstance(a, Pointer) and not isinstance(b, Pointer) and sign in "+-":
            by = reader.whole(b)
            return a.moved(by if sign == "+" else -by)
        raise Unproved(f"line {reader.line} calculates with pointers in a way that is not read")
    if isinstance(a, Mask) or isinstance(b, Mask):
        return _masks(sign, a, b)
    if isinstance(a, Vector) or isinstance(b, Vector):
        return _vectors(sign, a, b)
    if isinstance(a, Truth) and isinstance(b, Truth) and sign in "&|":
        return a & b if sign == "&" else a | b
    if isinstance(a, Share) or isinstance(b, Share):
        return arithmetic(reader, sign, reader.whole(a), b)
    if not isinstance(a, Number | Truth) or not isinstance(b, Number | Truth):
        if isinstance(a, Number) or isinstance(b, Number):
            return variable("data", "value") if sign in "+-*/%" else OPAQUE
        return OPAQUE
    return _integers(reader, sign, reader.whole(a), reader.whole(b))


def _integers(reader: Reader, sign: str, a: Number, b: Number) -> Any:
    if sign == "+":
        return a + b
    if sign == "-":
        return a - b
    if sign == "*":
        if a.value is not None or b.value is not None:
            return b * a.value if a.value is not None else a * (b.value or 0)
        return _unknown_product(a, b)
    share = reader.share(a, b) if sign == "/" else None
    if share is not None:
        return share
    if sign in "/%" and b.value is not None and b.value > 0 and a.low >= 0:
        return divide(a, b.value)[0 if sign == "/" else 1]
    if sign in "/%" and a.low >= 0 and b.low >= 1:
        return variable("data", "quotient", 0, a.high if sign == "/" else min(a.high, b.high - 1))
    return variable("data", "value")


def _unknown_product(a: Number, b: Number) -> Number:
    if a.low >= 0 and b.low >= 0:
        return variable("data", "product", a.low * b.low, a.high * b.high)
    return variable("data", "product")


def _masks(sign: str, a: Any, b: Any) -> Any:
    x = a.truth if isinstance(a, Mask) else UNKNOWN
    y = b.truth if isinstance(b, Mask) else UNKNOWN
    if sign == "&":
        return Mask(x & y)
    return Mask(x | y) if sign == "|" else OPAQUE


def _vectors(sign: str, a: Any, b: Any) -> Any:
    x = a.number if isinstance(a, Vector) else a
    y = b.number if isinstance(b, Vector) else b
    if not isinstance(x, Number) or not isinstance(y, Number):
        return OPAQUE
    if sign in _COMPARISONS:
        return Mask(Truth(_COMPARISONS[sign](x, y)))
    if sign in "+-":
        return Vector(x + y if sign == "+" else x - y)
    if sign == "*" and (x.value is not None or y.value is not None):
        return Vector(y * x.value if x.value is not None else x * (y.value or 0))
    return OPAQUE


def _conditional(reader: Reader, node: Node) -> Any:
    truth = reader.truth(evaluate(reader, child(node, "condition")))
    known = decided(truth.condition)
    if known is False or (known and truth.exact):
        return evaluate(reader, child(node, "consequence" if known else "alternative"))
    with reader.under(truth):
        a = evaluate(reader, child(node, "consequence"))
    with reader.under(~truth):
        b = evaluate(reader, child(node, "alternative"))
    return reader.merged(truth, a, b)


def _assignment(reader: Reader, node: Node) -> Any:
    left, sign = child(node, "left"), text(child(node, "operator"))
    value = evaluate(reader, child(node, "right"))
    if left.type == "identifier":
        cell = reader.scope.find(text(left))
        if cell is None:
            raise Unproved(f"line {line(node)} assigns {text(left)}, which is not known")
        if sign != "=":
            value = arithmetic(reader, sign[:-1], cell.value, value)
        if isinstance(cell.value, Number) and not isinstance(value, Number):
            value = reader.whole(value)
        cell.value = value
        return value
    if left.type == "field_expression":
        return OPAQUE
    pointer = _place(reader, left)
    if sign != "=":
        reader.touch(pointer, False)
    reader.touch(pointer, True)
    pointer.buffer.forget()
    return value


def _update(reader: Reader, node: Node) -> Any:
    target = child(node, "argument")
    cell = reader.scope.find(text(target)) if target.type == "identifier" else None
    if cell is None:
        raise Unproved(f"line {line(node)} changes something that is not read")
    before = cell.value
    step = number(1 if "++" in text(node) else -1)
    cell.value = arithmetic(reader, "+", before, step)
    return cell.value if text(node).startswith(("++", "--")) else before


def _subscript(reader: Reader, node: Node) -> Any:
    base = evaluate(reader, child(node, "argument"))
    at = evaluate(reader, inner(child(node, "indices"))[0])
    if not isinstance(base, Pointer):
        return OPAQUE if not isinstance(base, list) else base[reader.whole(at).constant]
    pointer = base.moved(reader.whole(at))
    reader.touch(pointer, False)
    return content(reader, pointer)


def content(reader: Reader, pointer: Pointer) -> Any:
    """What an element of an array holds."""
    held, index = pointer.buffer.contents, pointer.index
    if isinstance(held, list) and index.value is not None and 0 <= index.value < len(held):
        return held[index.value]
    if isinstance(held, Filled) and reader.holds(at_least(index, 0)) and reader.holds(less(index, held.count)):
        return held.axes.offset(held.start + index)
    if pointer.whole and isinstance(held, list) and all(isinstance(h, Number) for h in held):
        return variable("data", "element", min(h.low for h in held), max(h.high for h in held))
    return variable("data", "element") if pointer.whole else OPAQUE


def _place(reader: Reader, node: Node) -> Pointer:
    """The element that an expression denotes."""
    if node.type == "parenthesized_expression":
        return _place(reader, inner(node)[0])
    if node.type == "subscript_expression":
        base = evaluate(reader, child(node, "argument"))
        if isinstance(base, Pointer):
            return base.moved(reader.whole(evaluate(reader, inner(child(node, "indices"))[0])))
    if node.type == "pointer_expression" and text(node).startswith("*"):
        base = evaluate(reader, child(node, "argument"))
        if isinstance(base, Pointer):
            return base
    raise Unproved(f"line {line(node)} writes to something that is not read")


def _pointer(reader: Reader, node: Node) -> Any:
    argument = child(node, "argument")
    if text(node).startswith("&"):
        if argument.type == "identifier":
            cell = reader.scope.find(text(argument))
            if cell is not None and isinstance(cell.value, Pointer):
                return cell.value
            if cell is not None:
                reader.forget(cell)
                return _one(reader, text(argument), cell)
        return _place(reader, argument)
    place = _place(reader, node)
    reader.touch(place, False)
    return content(reader, place)


def _one(reader: Reader, name: str, cell: Cell) -> Pointer:
    """A variable whose address is taken: an array of one element."""
    whole = isinstance(cell.value, Number)
    return Pointer(Buffer(name, number(1), 8, "own", contents=cell, phase=reader.phase), number(0), 8, number(0), whole)


def _lambda(reader: Reader, node: Node) -> Any:
    declarator = child(node, "declarator")
    return Function(child(declarator, "parameters"), child(node, "body"), reader.scope)


def _comma(reader: Reader, node: Node) -> Any:
    evaluate(reader, child(node, "left"))
    return evaluate(reader, child(node, "right"))


def _cast(reader: Reader, node: Node) -> Any:
    return cast(reader, flat(child(node, "type")), evaluate(reader, child(node, "value")))


def _compound(reader: Reader, node: Node) -> Any:
    values = [evaluate(reader, part) for part in inner(child(node, "value"))]
    kind = flat(child(node, "type"))
    if kind in WIDTHS and len(values) == 1:
        return cast(reader, kind, values[0])
    return Structure(kind, values)


def cast(reader: Reader, kind: str, value: Any) -> Any:
    """A value converted to a type."""
    plain = kind.removeprefix("const")
    if plain.endswith("*const"):
        plain = plain.removesuffix("const")
    if plain.endswith("*"):
        if not isinstance(value, Pointer):
            raise Unproved(f"line {reader.line} makes a pointer of something that is no known pointer")
        inside = plain[:-1]
        if inside not in WIDTHS and not inside.startswith("kw::"):
            raise Unproved(f"line {reader.line} points to {inside}, whose size is not known")
        width = WIDTHS.get(inside, value.width)
        if width == value.width:
            return Pointer(value.buffer, value.base, width, value.index, inside in WHOLE)
        return Pointer(value.buffer, value.base + value.index * value.width, width, number(0), inside in WHOLE)
    if plain in ("uint64_t", "uint32_t"):
        return Unsigned(reader.whole(value))
    if plain == "void":
        return OPAQUE
    if plain == "bool":
        return reader.truth(value)
    if plain in ("int", "int32_t"):
        return reader.narrow(value)
    if plain == "int64_t":
        return reader.whole(value)
    return OPAQUE


def _list(reader: Reader, node: Node) -> Any:
    return [evaluate(reader, part) for part in inner(node)]


def _field(reader: Reader, node: Node) -> Any:
    return member(reader, evaluate(reader, child(node, "argument")), text(child(node, "field")))


def _call(reader: Reader, node: Node) -> Any:
    return called(reader, node)


def _type(reader: Reader, node: Node) -> Any:
    """A type that is given a name: its template and arguments."""
    if node.type == "qualified_identifier":
        prefix = text(child(node, "scope"))
        found = _type(reader, child(node, "name"))
        return Template(f"{prefix}::{found.name}", found.arguments) if isinstance(found, Template) else OPAQUE
    if node.type in ("template_type", "template_function"):
        arguments = [template_argument(reader, a) for a in inner(child(node, "arguments"))]
        return Template(text(child(node, "name")), arguments)
    return OPAQUE


def template_argument(reader: Reader, node: Node) -> Any:
    """A template argument: a constant, or the text of a type."""
    if node.type in ("number_literal", "true", "false", "binary_expression", "unary_expression"):
        return evaluate(reader, node)
    found = reader.scope.find(text(node))
    return found.value if found is not None else flat(node)


def _qualified_or_type(reader: Reader, node: Node) -> Any:
    name = node.child_by_field_name("name")
    while name is not None and name.type == "qualified_identifier":
        name = name.child_by_field_name("name")
    if name is not None and name.type == "template_type":
        return _type(reader, node)
    return _qualified(reader, node)


_READERS: dict[str, Callable[[Reader, Node], Any]] = {
    "number_literal": _literal,
    "identifier": _name,
    "qualified_identifier": _qualified_or_type,
    "template_type": _type,
    "true": _truth_literal,
    "false": _truth_literal,
    "parenthesized_expression": _inside,
    "unary_expression": _unary,
    "binary_expression": _binary,
    "conditional_expression": _conditional,
    "assignment_expression": _assignment,
    "update_expression": _update,
    "subscript_expression": _subscript,
    "pointer_expression": _pointer,
    "lambda_expression": _lambda,
    "comma_expression": _comma,
    "cast_expression": _cast,
    "compound_literal_expression": _compound,
    "initializer_list": _list,
    "field_expression": _field,
    "call_expression": _call,
    "string_literal": lambda reader, node: OPAQUE,
    "null": lambda reader, node: OPAQUE,
    "primitive_type": lambda reader, node: OPAQUE,
    "type_identifier": lambda reader, node: OPAQUE,
}

__all__ = ["LANE", "Axes", "Opaque", "cast", "evaluate", "maximum", "template_argument"]
