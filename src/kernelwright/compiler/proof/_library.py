"""What the functions of ``kw/*.h`` touch: a summary for each that a kernel calls.

A summary says which elements a function reads and writes as a function of its arguments, and what integer it returns.
They are believed by the proof and checked by ``tests/compiler/proof/test_library.py``, which runs the real functions on
memory whose every neighbour is watched. A function that touches memory and has no summary is not believed at all; one
that gets no pointer and no lambda cannot touch any.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._numbers import (
    INFINITE,
    Number,
    Variable,
    at_least,
    divide,
    less,
    maximum,
    minimum,
    number,
    variable,
)
from ._syntax import WHOLE, WIDTHS, child, flat, inner, line, text
from ._values import (
    LANE,
    LANES,
    OPAQUE,
    UNKNOWN,
    Argument,
    Axes,
    Cell,
    Filled,
    Function,
    Mask,
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


@dataclass(frozen=True)
class Call:
    """A call of a library function: its evaluated arguments and template arguments."""

    name: str
    arguments: Sequence[Any]
    templates: Sequence[Any]

    def __getitem__(self, position: int) -> Any:
        return self.arguments[position]

    def __len__(self) -> int:
        return len(self.arguments)


Summary = Callable[["Reader", Call], Any]
SUMMARIES: dict[str, Summary] = {}


def summary(*names: str) -> Callable[[Summary], Summary]:
    def keep(found: Summary) -> Summary:
        SUMMARIES.update(dict.fromkeys(names, found))
        return found

    return keep


def constant(reader: Reader, name: str) -> Any:
    """A qualified name that is no call."""
    if name == "kw::W":
        return number(LANES)
    scope, _, last = name.partition("::")
    found = reader.scope.find(scope)
    if found is not None and isinstance(found.value, Template):
        from ._products import tile_constant

        return tile_constant(found.value, last)
    return OPAQUE


def member(reader: Reader, value: Any, name: str) -> Any:
    """``value.name``, which is no call."""
    if isinstance(value, Structure):
        from ._products import FIELDS

        names = FIELDS.get(value.name.removeprefix("const"))
        if names is not None and name in names:
            return value.parts[names.index(name)]
    return OPAQUE


def called(reader: Reader, node: Node) -> Any:
    """A call: of a lambda, a function of the file, a cast, a member, or of the library."""
    from ._expressions import cast, evaluate, template_argument

    function = child(node, "function")
    given = inner(child(node, "arguments"))
    if function.type == "field_expression":
        return _method(reader, function, [evaluate(reader, a) for a in given])
    name, templates = text(function), []
    while function.type == "qualified_identifier":
        function = child(function, "name")
    if function.type in ("template_function", "template_type"):
        parts = inner(child(function, "arguments"))
        name = name[: name.index("<")] if function.type == "template_function" else name
        if name in ("static_cast", "reinterpret_cast", "const_cast"):
            return cast(reader, flat(parts[0]), evaluate(reader, given[0]))
        templates = [template_argument(reader, a) for a in parts]
    if "<" in name:  # a static member of a template
        name = name[: name.index("<")] + name[name.rindex(">") + 1 :]
    values = [evaluate(reader, a) for a in given]
    if (name in WIDTHS or name == "uint64_t") and len(values) == 1:
        return cast(reader, name, values[0])
    reader.line = line(node)
    cell = reader.scope.find(name)
    if cell is not None or name in reader.functions:
        found = cell.value if cell is not None else evaluate(reader, child(node, "function"))
        if not isinstance(found, Function):
            raise Unproved(f"line {reader.line} calls {name}, which is no known function")
        cells = [reader.scope.find(text(a)) if a.type == "identifier" else None for a in given]
        return reader.call(found, values, cells)
    scope, _, last = name.partition("::")
    behind = reader.scope.find(scope)
    if behind is not None and isinstance(behind.value, Template):  # ``Window::run`` of a type that was given a name
        name, templates = f"{behind.value.name}::{last}", [behind.value]
    return library(reader, Call(name, values, templates))


def library(reader: Reader, call: Call) -> Any:
    found = SUMMARIES.get(call.name)
    if found is not None:
        return found(reader, call)
    if any(isinstance(a, Pointer | Function) for a in call.arguments):
        raise Unproved(f"nothing is written down of what {call.name} touches")
    return OPAQUE


def _method(reader: Reader, function: Node, values: Sequence[Any]) -> Any:
    from ._expressions import evaluate

    target = evaluate(reader, child(function, "argument"))
    name = text(child(function, "field"))
    if isinstance(target, Axes) and name == "table":
        start, count, to = reader.whole(values[0]), reader.whole(values[1]), values[2]
        reader.touch(to, True, (count, 1))
        if isinstance(to.buffer.contents, Cell):  # the address of a variable
            to.buffer.contents.value = target.offset(start)
        else:
            to.buffer.contents = Filled(target, start, count) if to.index.value == 0 else None
        return OPAQUE
    if any(isinstance(v, Pointer | Function) for v in values) or isinstance(target, Pointer | Structure):
        raise Unproved(f"nothing is written down of what .{name} touches")
    return OPAQUE


# ── integers ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _pair(reader: Reader, call: Call) -> tuple[Number, Number] | None:
    """Two integers, or None where these are vectors or floating point."""
    if any(isinstance(a, Number) for a in call.arguments) and len(call) == 2:
        return reader.whole(call[0]), reader.whole(call[1])
    return None


@summary("kw::min", "kw::minimum")
def _minimum(reader: Reader, call: Call) -> Any:
    pair = _pair(reader, call)
    return minimum(*pair) if pair else OPAQUE


@summary("kw::max", "kw::maximum")
def _maximum(reader: Reader, call: Call) -> Any:
    pair = _pair(reader, call)
    return maximum(*pair) if pair else OPAQUE


@summary("kw::ceil_div")
def _ceil_div(reader: Reader, call: Call) -> Any:
    a, b = reader.whole(call[0]), reader.whole(call[1])
    if b.value is None or b.value <= 0 or a.low < 0:
        return variable("data", "quotient", 0 if a.low >= 0 and b.low > 0 else -INFINITE, INFINITE)
    return divide(a + (b.value - 1), b.value)[0]


@summary("kw::floor_div", "kw::floordiv")
def _floor_div(reader: Reader, call: Call) -> Any:
    pair = _pair(reader, call)
    if pair is None:
        return OPAQUE
    return divide(pair[0], pair[1].value or 1)[0] if (pair[1].value or 0) > 0 else variable("data", "quotient")


@summary("kw::floor_mod", "kw::mod")
def _floor_mod(reader: Reader, call: Call) -> Any:
    pair = _pair(reader, call)
    if pair is None:
        return OPAQUE
    if (pair[1].value or 0) > 0:
        return divide(pair[0], pair[1].value or 1)[1]
    return variable("data", "remainder")


@summary("kw::abs")
def _abs(reader: Reader, call: Call) -> Any:
    return maximum(call[0], -call[0]) if isinstance(call[0], Number) else OPAQUE


@summary("kw::neg")
def _neg(reader: Reader, call: Call) -> Any:
    return -call[0] if isinstance(call[0], Number) else OPAQUE


@summary("kw::add", "kw::sub", "kw::mul")
def _arithmetic(reader: Reader, call: Call) -> Any:
    from ._expressions import arithmetic

    sign = {"kw::add": "+", "kw::sub": "-", "kw::mul": "*"}[call.name]
    if any(isinstance(a, Number | Vector) for a in call.arguments):
        return arithmetic(reader, sign, call[0], call[1])
    return OPAQUE


@summary("kw::lt", "kw::le", "kw::gt", "kw::ge", "kw::eq", "kw::ne")
def _comparison(reader: Reader, call: Call) -> Any:
    from ._expressions import _vectors, compare

    sign = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}[call.name[4:]]
    if isinstance(call[0], Vector) or isinstance(call[1], Vector):
        return _vectors(sign, call[0], call[1])
    return compare(sign, call[0], call[1])


@summary("kw::select")
def _select(reader: Reader, call: Call) -> Any:
    if isinstance(call[1], Pointer) or not isinstance(call[0], Truth):
        return OPAQUE
    return reader.merged(call[0], call[1], call[2])


@summary("kw::to")
def _to(reader: Reader, call: Call) -> Any:
    kind = str(call.templates[0]) if call.templates else ""
    return reader.whole(call[0]) if kind in WHOLE and isinstance(call[0], Number) else OPAQUE


@summary("kw::max_threads")
def _max_threads(reader: Reader, call: Call) -> Any:
    return variable("size", "threads", 1, 1 << 20)


# ── lanes ────────────────────────────────────────────────────────────────────────────────────────────────────────


@summary("kw::iota", "kw::iota_l")
def _iota(reader: Reader, call: Call) -> Any:
    return Vector(Number({LANE: 1}))


@summary("kw::splat")
def _splat(reader: Reader, call: Call) -> Any:
    return Vector(call[0]) if isinstance(call[0], Number) else OPAQUE


@summary("kw::splat_mask")
def _splat_mask(reader: Reader, call: Call) -> Any:
    return Mask(reader.truth(call[0]))


@summary("kw::first")
def _first(reader: Reader, call: Call) -> Any:
    return Mask(Truth(less(Number({LANE: 1}), reader.whole(call[0]))))


@summary("kw::inside")
def _inside(reader: Reader, call: Call) -> Any:
    if not isinstance(call[0], Vector):
        return Mask(UNKNOWN)
    at, size = call[0].number, reader.whole(call[1])
    return Mask(Truth((*at_least(at, 0), *less(at, size))))


def _count(reader: Reader, call: Call, position: int) -> Number:
    return reader.whole(call[position]) if len(call) > position else number(LANES)


@summary("kw::load", "kw::load_bool")
def _load(reader: Reader, call: Call) -> Any:
    reader.touch(call[0], False, (_count(reader, call, 1), 1))
    return OPAQUE


@summary("kw::store", "kw::stream", "kw::store_bool")
def _store(reader: Reader, call: Call) -> Any:
    reader.touch(call[0], True, (_count(reader, call, 2), 1))
    return OPAQUE


@summary("kw::get", "kw::get_bool")
def _get(reader: Reader, call: Call) -> Any:
    from ._expressions import content

    reader.touch(call[0], False)
    return content(reader, call[0])


@summary("kw::put")
def _put(reader: Reader, call: Call) -> Any:
    reader.touch(call[0], True)
    call[0].buffer.forget()
    return OPAQUE


@summary("kw::load_reversed", "kw::load_bool_reversed")
def _load_reversed(reader: Reader, call: Call) -> Any:
    reader.touch(call[0], False, (_count(reader, call, 1), -1))
    return OPAQUE


@summary("kw::gather", "kw::gather_bool")
def _gather(reader: Reader, call: Call) -> Any:
    count, stride = _count(reader, call, 2), reader.whole(call[1]).value
    if stride is None:
        raise Unproved(f"line {reader.line} gathers with a stride that is not constant")
    if stride == 2 and call[0].width == 4:  # two whole loads, which end at the last element
        reader.touch(call[0], False, (count * 2 - 1, 1))
    else:
        reader.touch(call[0], False, (count, stride))
    return OPAQUE


@summary("kw::scatter", "kw::scatter_bool")
def _scatter(reader: Reader, call: Call) -> Any:
    stride = reader.whole(call[2]).value
    if stride is None:
        raise Unproved(f"line {reader.line} scatters with a stride that is not constant")
    reader.touch(call[0], True, (_count(reader, call, 3), stride))
    return OPAQUE


def _mask_of(value: Any) -> Truth:
    return value.truth if isinstance(value, Mask) else UNKNOWN


@summary("kw::load_mask", "kw::load_bool_mask")
def _load_mask(reader: Reader, call: Call) -> Any:
    reader.touch_lanes(call[0], False, 1, _mask_of(call[1]))
    return OPAQUE


@summary("kw::store_mask")
def _store_mask(reader: Reader, call: Call) -> Any:
    reader.touch_lanes(call[0], True, 1, _mask_of(call[2]))
    return OPAQUE


@summary("kw::gather_mask", "kw::gather_bool_mask")
def _gather_mask(reader: Reader, call: Call) -> Any:
    stride = reader.whole(call[1]).value
    if stride is None:
        raise Unproved(f"line {reader.line} gathers with a stride that is not constant")
    reader.touch_lanes(call[0], False, stride, _mask_of(call[2]))
    return OPAQUE


@summary("kw::repeat")
def _repeat(reader: Reader, call: Call) -> Any:
    times = reader.whole(call.templates[0]).value or 1
    start, count = reader.whole(call[1]), _count(reader, call, 2)
    end = divide(start + count - 1, times)[0] + 1
    if len(call) > 3:
        low, high = maximum(reader.whole(call[3]), number(0)), minimum(reader.whole(call[4]), end)
        reader.touch(call[0].moved(low), False, (maximum(high - low, number(0)), 1))
    else:
        reader.touch(call[0], False, (end, 1))
    return OPAQUE


@summary("kw::transpose")
def _transpose(reader: Reader, call: Call) -> Any:
    to, source, stride = call[0], call[1], reader.whole(call[2]).value
    if stride is None:
        raise Unproved(f"line {reader.line} transposes with a stride that is not constant")
    reader.touch(to, True, (LANES, 1))
    reader.touch(source, False, (reader.whole(call[3]), stride), (reader.whole(call[4]), 1))
    return OPAQUE


@summary("kw::lanes", "kw::lanes_mask", "kw::each_lane")
def _lanes(reader: Reader, call: Call) -> Any:
    """Calls the lambda for each lane; what it returns is a vector that nothing is known about."""
    start, count = reader.whole(call[0]), reader.whole(call[1])
    lane = Variable("loop", "lane", 0, LANES - 1)
    at = Number({lane: 1})
    given = [start + at, at][: 2 if call.name == "kw::each_lane" else 1]
    with reader.under(Truth(less(at, count))), reader.counting(lane):
        reader.call(call[2], given)
    return Mask(UNKNOWN) if call.name == "kw::lanes_mask" else OPAQUE


# ── memory and threads ───────────────────────────────────────────────────────────────────────────────────────────


@summary("__builtin_prefetch", "kw::advise_huge")
def _advice(reader: Reader, call: Call) -> Any:
    return OPAQUE


@summary("kw::lead")
def _lead(reader: Reader, call: Call) -> Any:
    made = Variable("address", "elements before an aligned address", 0, LANES - 1, within=reader.loops)
    return Number({made: 1})


@summary("kw::tensor")
def _tensor(reader: Reader, call: Call) -> Any:
    return call[0]


@summary("kw::data")
def _data(reader: Reader, call: Call) -> Any:
    found = reader.scope.find(f"argument {call[0].position}") if isinstance(call[0], Argument) else None
    if found is None:
        raise Unproved("the entry takes the memory of something that is no argument")
    return found.value


@summary("kw::parallel_items", "kw::parallel_for")
def _parallel_items(reader: Reader, call: Call) -> Any:
    count = reader.whole(call[0])
    split = f"split {next(reader.splits)}"
    with reader.parallel(call[2]):
        reader.call(call[2], [Share(count, False, split), Share(count, True, split)])
    return OPAQUE


@summary("kw::parallel")
def _parallel(reader: Reader, call: Call) -> Any:
    threads = reader.whole(call[0])
    team = threads if threads.value is not None else variable("size", "threads", 1, threads.high)
    thread = Variable("loop", "thread", 0, threads.high - 1)
    number_of = Number({thread: 1})
    inside = Truth(less(number_of, team))
    with (
        reader.parallel(call[1]),
        reader.working(thread, team),
        reader.under(inside),
        reader.counting(thread, split="thread"),
    ):
        reader.call(call[1], [number_of, team])
    return OPAQUE


@summary("kw::barrier")
def _barrier(reader: Reader, call: Call) -> Any:
    reader.barrier()
    return OPAQUE


__all__ = ["SUMMARIES", "Call", "Unsigned", "called", "constant", "library", "member"]
