"""Kernels without rows: every point on its own, in vectors along memory; transpositions through shared memory."""

from __future__ import annotations

from ..contraction import product
from ..cpp._indices import flatten, size_text, static
from ..cpp._normal import Loop, Normal
from ..cpp._stages import step_of
from ..program import Axis, Load
from ..triton._parts import settled
from ._kernel import Around, Kernel, KernelText, blocks
from ._nest import at_points
from ._operators import value_type
from ._printer import Printer, computed
from ._schedule import MULTIPROCESSORS, Form, ordered
from ._text import PRODUCT

MOST_BLOCKS = 32 * MULTIPROCESSORS  # beyond, blocks take several turns
TILE, STRIPE = 32, 8  # a tile has so many rows and columns, of which a block's threads take a stripe at a time
MOST_TILES = 8


def emit_points(part: Normal, name: str, chosen: Form, around: Around) -> KernelText:
    """A flat range of points; every statement happens at each."""
    part = settled(part, [part.statements])
    kernel = Kernel(part, name, around)
    loops = ordered(part, part.outer, part.statements[-1])
    count, vector = product([a.size for a in loops]), chosen.vector
    size, threads, number = static(count), chosen.threads, kernel.number
    body, text = kernel.body, size_text(count)
    wide = f"{number}(blockIdx.x)" if number == "int64_t" else "blockIdx.x"
    first = f"({wide} * {threads} + threadIdx.x)" + (f" * {vector}" if vector > 1 else "")
    needed = None if size is None else -(-size // (threads * vector))
    strides = needed is None or needed > MOST_BLOCKS
    point = body.name("i")
    if not loops:
        first = "0"
        body.effect("if (threadIdx.x > 0) return;")
    elif strides:
        step = f"{number}(gridDim.x) * {threads * vector}"
        body.open(f"for ({number} {point} = {first}; {point} < {text}; {point} += {step})")
    else:
        body.effect(f"const {number} {point} = {first};")
        if needed is not None and size != needed * threads * vector:
            body.effect(f"if ({point} >= {text}) return;")
    tail = size is not None and size % vector != 0
    if tail:
        body.open(f"if ({point} + {vector} <= {text})")
    at_points(kernel, kernel.printer.inner(), loops, part.statements, point, vector, _nothing)
    if tail:
        body.close()
        body.open("else")
        rest = body.name("rest")
        body.open(f"for ({number} {rest} = {point}; {rest} < {text}; ++{rest})")
        at_points(kernel, kernel.printer.inner(), loops, part.statements, rest, 1, _nothing)
        body.close()
        body.close()
    if loops and strides:
        body.close()
    grid = blocks(count, threads * vector)
    if strides and loops:
        grid = str(min(needed, MOST_BLOCKS)) if needed is not None else f"min({grid}, {MOST_BLOCKS})"
    comment = (
        f"Every thread computes {vector} neighbouring points at a time." if vector > 1 else "A point for each thread."
    )
    return kernel.finished([comment], [grid], [threads])


def emit_crossed(part: Normal, name: str, chosen: Form, around: Around) -> KernelText:
    """A transposition: memory is read along one axis and written along another, through tiles in shared memory."""
    part = settled(part, [part.statements])
    kernel = Kernel(part, name, around)
    body, printer, number = kernel.body, kernel.printer, kernel.number
    axes = ordered(part, part.outer, part.statements[-1])
    across = next(a for a in axes if a.name == chosen.across)
    along = axes[-1]
    rest = [a for a in axes if a not in (across, along)]
    body.effect(f"{number} block = blockIdx.x;")
    begins: dict[str, str] = {}
    for axis in (along, across):
        count = f"(({size_text(axis.size)} + {TILE - 1}) / {TILE})"
        if (fixed := static(axis.size)) is not None:
            count = str(-(-fixed // TILE))
        begins[axis.name] = body.name(f"{axis.name}_begin")
        body.effect(f"const {number} {begins[axis.name]} = block % {count} * {TILE};")
        body.effect(f"block /= {count};")
    if rest:
        kernel.decode(printer, "block", rest)
    staged = _staged(part, across, along)
    tiles = {}
    for load in staged:
        kind = value_type(computed(part.program.tensors[load.tensor].dtype))
        tile = body.name(f"{printer.pointer(load.tensor)}_tile")
        kernel.shared.append(f"__shared__ {kind} {tile}[{TILE}][{TILE + 1}];  // one more: no two rows in one bank")
        tiles[load] = tile
    inner = _stripe(kernel, begins, lanes=across, stripes=along)
    for load in staged:
        body.effect(f"{tiles[load]}[{inner.stripe}][threadIdx.x] = {inner.printer.value(load).name};")
    inner.close()
    body.effect("__syncthreads();")
    inner = _stripe(kernel, begins, lanes=along, stripes=across)
    for load in staged:
        inner.printer.hold(load, f"{tiles[load]}[threadIdx.x][{inner.stripe}]")
    at_points(kernel, inner.printer, (), part.statements, "", 1, _nothing)
    inner.close()
    counts = [blocks(along.size, TILE), blocks(across.size, TILE), *(blocks(a.size, 1) for a in rest)]
    comment = f"A tile of {TILE} x {TILE} points for each block, read along one side and written along the other."
    return kernel.finished([comment], [" * ".join(counts)], [TILE, STRIPE])


class _stripe:
    """The loop of a block over the stripes of its tile."""

    def __init__(self, kernel: Kernel, begins: dict[str, str], lanes: Axis, stripes: Axis) -> None:
        self.body, number = kernel.body, kernel.number
        self.stripe = self.body.name("stripe")
        self.body.open(f"for (int {self.stripe} = threadIdx.y; {self.stripe} < {TILE}; {self.stripe} += {STRIPE})")
        self.printer: Printer = kernel.printer.inner()
        checks = []
        for axis, offset in ((lanes, "threadIdx.x"), (stripes, self.stripe)):
            point = self.body.define(
                axis.name, number, f"{begins[axis.name]} + {offset}", kind="load", binds=PRODUCT + 1
            )
            self.printer.axes[axis.name] = point
            size = static(axis.size)
            if size is None or size % TILE:
                checks.append(f"{point} < {size_text(axis.size)}")
        self.opened = bool(checks)
        if checks:
            self.body.open(f"if ({' && '.join(checks)})")

    def close(self) -> None:
        for _ in range(1 + self.opened):
            self.body.close()


def _staged(part: Normal, across: Axis, along: Axis) -> list[Load]:
    """Loads that are contiguous along the axis that stores are not: each goes through a tile."""
    found: dict[tuple[object, ...], Load] = {}
    tensors = part.program.tensors
    written = {s.store.tensor for s in part.statements}
    for load in (x for s in part.statements for x in part.program.loads(s)):
        flat = flatten(tensors[load.tensor], load.index)
        steps = (step_of(flat, across.name), step_of(flat, along.name))
        if load.tensor not in written and steps[0] == 1 and steps[1] not in (0, None):
            found.setdefault((load.tensor, load.index, load.fill), load)
    return list(found.values())[:MOST_TILES]


def _nothing(printer: Printer, statement: Loop) -> None:
    raise AssertionError("a reduction among points")
