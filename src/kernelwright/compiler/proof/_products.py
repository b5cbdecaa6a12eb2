"""Summaries of the templates that compute products: which parts of a result they hand to the lambdas of a kernel.

Checked by ``tests/compiler/proof/test_library.py`` like those of ``_library``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ._library import Call, summary
from ._numbers import Condition, Number, Variable, divide, less, maximum, minimum, number, variable
from ._values import Axes, Buffer, Function, Pointer, Share, Structure, Template, Truth, Unproved

if TYPE_CHECKING:
    from ._reader import Reader

FIELDS = {
    "kw::gemm::Shape": ("batch", "m", "n", "k", "depth", "kc", "nc", "mc"),
    "kw::direct::Shape": ("groups", "panels", "units", "outs", "channels", "kc", "chunk"),
    "kw::gemm::Operand": ("p", "copy", "offset", "size", "batch", "free", "k"),
}


def tile_constant(tile: Template, name: str) -> Any:
    """A static constant of a tile type."""
    values = [a.value if isinstance(a, Number) else None for a in tile.arguments]
    if tile.name == "kw::gemm::Tile":
        lanes = 8 if tile.arguments[0] == "double" else 16
        rows, vectors = values[1] or 0, values[2] or 0
        paired = len(tile.arguments) > 8 and isinstance(tile.arguments[8], Truth) and tile.arguments[8] == Truth()
        known = {"MR": rows, "NV": vectors, "KC": values[3], "NC": values[4], "L": lanes, "NR": vectors * lanes,
                 "AREA": rows * vectors * lanes}  # fmt: skip
        if name == "EACH":  # two where the processor multiplies pairs: a property of the machine
            return variable("size", "elements of a step", 1, 2) if paired else number(1)
        if known.get(name) is not None:
            return number(known[name] or 0)
    if tile.name == "kw::direct::Tile":
        rows, vectors, taps, outer = values[0] or 0, values[1] or 0, values[4] or 0, values[6] or 0
        known = {"R": rows, "NR": vectors * 16, "KW": taps, "OUTER": outer, "TAPS": taps * outer,
                 "AREA": rows * vectors * 16}  # fmt: skip
        if name in known:
            return number(known[name] or 0)
    raise Unproved(f"nothing is written down of {tile.name}::{name}")


def _constant(tile: Template, name: str) -> int:
    found = tile_constant(tile, name)
    assert isinstance(found, Number)
    return found.constant


def _own(name: str, size: int, width: int) -> Pointer:
    """Memory of the template that it hands to a lambda."""
    return Pointer(Buffer(name, number(size), width, "own"), number(0), width, number(0))


def _fields(value: Any) -> dict[str, Any]:
    names = FIELDS[value.name.removeprefix("const").split("<")[0]]
    return dict(zip(names, value.parts, strict=True))


def _team(reader: Reader, threads: Any) -> tuple[Variable, Truth]:
    """A thread of as many as an argument says."""
    most = reader.whole(threads)
    thread = Variable("loop", "thread", 0, most.high - 1)
    team = most if most.value is not None else variable("size", "threads", 1, most.high)
    return thread, Truth(less(Number({thread: 1}), team))


def _coordinate(reader: Reader, axes: Any) -> tuple[Number, tuple[Variable, ...]]:
    """The offset of any coordinate of fused axes."""
    found = axes if isinstance(axes, Axes) else Axes(*(tuple(reader.whole(v).constant for v in part) for part in axes))
    total, counters = number(0), []
    for size, stride in zip(found.sizes, found.strides, strict=True):
        if size != 1:
            counters.append(Variable("loop", "coordinate", 0, size - 1))
            total = total + Number({counters[-1]: stride} if stride else {})
    return total, tuple(counters)


def _read_operand(reader: Reader, operand: Structure, thread: Variable) -> None:
    """Every element whose offsets the operand names, and (in whole vectors) any of its own memory."""
    fields = _fields(operand)
    pointer, copy = fields["p"], reader.whole(fields["copy"]).constant
    size, offset = reader.whole(fields["size"]), reader.whole(fields["offset"])
    if not isinstance(pointer, Pointer):
        raise Unproved(f"line {reader.line} multiplies something that is no known memory")
    start = pointer.moved(Number({thread: copy} if copy else {}))
    total = offset
    found: Sequence[Variable] = ()
    for part in ("batch", "free", "k"):
        at, counters = _coordinate(reader, fields[part])
        total, found = total + at, (*found, *counters)
    with reader.counting(*found):
        reader.touch(start.moved(total), False)
    if not (total.low >= 0 and total.high < size.low):
        with reader.counting(*found):
            if not (reader.holds(less(total, size)) and reader.holds(less(number(-1), total))):
                raise Unproved(f"line {reader.line} multiplies elements outside the size that it states")
    reader.touch(start, False, (size, 1))


@summary("kw::gemm::product", "kw::gemm::product_split_k")
def _product(reader: Reader, call: Call) -> Any:
    """``enter`` by every thread for every batch; ``finish`` once for every tile, tiles at the same time."""
    shape, threads, scratch = _fields(call[0]), call[1], call[2]
    split = call.name.endswith("split_k")
    enter, a, b, finish = (None, *call.arguments[3:6]) if split else call.arguments[3:7]
    tile = call.templates[0]
    sizes = {name: reader.whole(value) for name, value in shape.items()}
    thread, inside = _team(reader, threads)
    batch = Variable("loop", "batch", 0, sizes["batch"].high - 1)
    with reader.parallel():
        with reader.under(inside), reader.counting(thread, split="thread"):
            if isinstance(enter, Function):
                with reader.counting(batch), reader.under(Truth(less(Number({batch: 1}), sizes["batch"]))):
                    reader.call(enter, [Number({thread: 1}), Number({batch: 1})])
            for operand in (a, b):
                _read_operand(reader, operand, thread)
        _scratch(reader, tile, sizes, scratch, reader.whole(threads), split, not split and call.templates[1] == Truth())
        rows, columns = _constant(tile, "MR"), _constant(tile, "NR")
        _tiles(reader, sizes, batch, rows, columns, finish, _own("tile", _constant(tile, "AREA"), _width(tile)))
    return None


def _tiles(
    reader: Reader, sizes: dict[str, Number], batch: Variable, rows: int, columns: int, finish: Any, tile: Pointer
) -> None:
    down, across = divide(sizes["m"] + rows - 1, rows)[0], divide(sizes["n"] + columns - 1, columns)[0]
    row, column = Variable("loop", "row panel", 0, down.high - 1), Variable("loop", "panel", 0, across.high - 1)
    m, n = Number({row: rows}), Number({column: columns})
    bounds = (
        *less(Number({batch: 1}), sizes["batch"]),
        *less(Number({row: 1}), down),
        *less(Number({column: 1}), across),
    )
    split = f"tiles {next(reader.splits)}"
    with reader.under(Truth(bounds)), reader.counting(batch, row, column, split=split):
        height, width = minimum(number(rows), sizes["m"] - m), minimum(number(columns), sizes["n"] - n)
        reader.call(finish, [Number({batch: 1}), tile, m, height, n, width])


def _width(tile: Template) -> int:
    return 8 if tile.arguments[0] == "double" else 4


def _scratch(
    reader: Reader, tile: Template, sizes: dict[str, Number], scratch: Any, threads: Number, split: bool, shared: bool
) -> None:
    """The buffers of all threads and, where A is packed once, its panels: what kw/gemm.h calculates."""
    rows, columns = _constant(tile, "MR"), _constant(tile, "NR")
    k, kc, nc = sizes["k"], sizes["kc"], sizes["nc"]
    values = [v.value for v in (kc, nc, sizes["mc"])]
    if None in values:
        raise Unproved(f"line {reader.line} blocks a product by sizes that are not constant")
    block_k, block_n, block_m = (v or 0 for v in values)
    down, across = divide(sizes["m"] + rows - 1, rows)[0], divide(sizes["n"] + columns - 1, columns)[0]
    chunk = max(1, block_m // rows)
    panels, width = minimum(number(chunk), down).high, minimum(number(block_n // columns), across).high
    partials = down.high * across.high if split else (panels * width if k.high > block_k else 0)
    each = -(-block_k * rows // 16) * 16 + block_k * block_n + partials * _constant(tile, "AREA") + 64
    total = threads.high * each + (k.high * panels * rows if shared else 0)
    with reader.alone():
        reader.touch(scratch, True, (total * _width(tile), 1))


@summary("kw::gemm::pad")
def _pad(reader: Reader, call: Call) -> Any:
    """Rows [row0, row1) of the window are written; what lies inside the tensor is read."""
    dimensions = reader.whole(call.templates[0]).constant
    to, source = call[0], call[1]
    extent, start, size, stride = (_values(reader, call[i], dimensions) for i in range(2, 6))
    width = extent[-1].value
    if width is None or not isinstance(to, Pointer) or not isinstance(source, Pointer):
        raise Unproved(f"line {reader.line} pads rows of a length that is not constant")
    if isinstance(call[7], Share):
        row = Variable("loop", "row", 0, call[7].count.high - 1)
        inside = Truth(less(Number({row: 1}), call[7].count))
        with reader.under(inside), reader.counting(row, split=call[7].split):
            reader.touch(to.moved(Number({row: width})), True, (width, 1))
    else:
        first, last = reader.whole(call[7]), reader.whole(call[8])
        reader.touch(to.moved(first * width), True, (maximum(last - first, number(0)), width), (width, 1))
    offset = number(0)
    counters: list[Variable] = []
    facts: Condition = ()
    for d in range(dimensions):
        at = Variable("loop", "coordinate", 0, max(0, min(size[d].high, extent[d].high + start[d].high) - 1))
        counters.append(at)
        place = Number({at: 1})
        facts = (*facts, *less(place, size[d]), *less(place, extent[d] + start[d]), *less(start[d] - 1, place))
        if stride[d].value is None:
            raise Unproved(f"line {reader.line} pads with strides that are not constant")
        offset = offset + place * (stride[d].value or 0)
    with reader.under(Truth(facts, exact=False)), reader.counting(*counters):
        reader.touch(source.moved(offset), False)
    return None


def _values(reader: Reader, array: Any, count: int) -> list[Number]:
    """What an array of known integers holds."""
    held = array.buffer.contents if isinstance(array, Pointer) else None
    if not isinstance(held, list) or len(held) != count:
        raise Unproved(f"line {reader.line} hands over an array whose contents are not known")
    return [reader.whole(v) for v in held]


def _rows(reader: Reader, pointer: Any, offsets: Any, count: Number, *steps: tuple[Number | int, int]) -> None:
    """Read ``pointer[offsets[j] + ...]`` for every j < count."""
    from ._expressions import content

    reader.touch(offsets, False, (count, 1))
    j = Variable("loop", "row", 0, max(0, count.high - 1))
    with reader.under(Truth(less(Number({j: 1}), count))), reader.counting(j):
        reader.touch(pointer.moved(reader.whole(content(reader, offsets.moved(Number({j: 1}))))), False, *steps)


@summary("kw::matvec::dot")
def _dot(reader: Reader, call: Call) -> Any:
    rows = reader.whole(call.templates[0]).constant
    tile, a, b, offsets = call[0], call[2], call[4], call[5]
    width, pitch = reader.whole(call[1]).constant, reader.whole(call[3]).constant
    n, k = reader.whole(call[6]), reader.whole(call[7])
    reader.touch(tile, True, (rows, width), (n, 1))
    reader.touch(a, False, (rows, pitch), (k, 1))
    _rows(reader, b, offsets, n, (k, 1))
    return None


@summary("kw::window::Window::run")
def _window(reader: Reader, call: Call) -> Any:
    """Whole vectors of columns for every tap of every row, whether the result needs them or not."""
    tile = call.templates[0]
    height, width, down, across, apart, wide, rows, vectors = (reader.whole(v).constant for v in tile.arguments[:8])
    paired = tile.arguments[8] == Truth()
    to, source, weights, planes = call[0], call[1], call[3], call[4]
    pitch, count = reader.whole(call[2]).constant, reader.whole(call[5])
    tall = 2 * rows if paired else rows
    reader.touch(to, True, (rows * vectors * 16, 1))
    if paired:
        reader.touch(to.moved(number(rows * 16)), True, (rows, 16), (8, 1))
    reader.touch(weights, False, (count, height * width), (height * width, 1))
    lanes = {1: 8 if paired else 16, 2: 16 if paired else 31}.get(across, 15 * across + 1)
    taps = ((height, apart * pitch), (width, wide), (vectors, 16 * across), (lanes, 1))
    _rows(reader, source, planes, count, (tall, down * pitch), *taps)
    return None
