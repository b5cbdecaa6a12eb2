"""Prints everything that is not a contraction: maps, reductions, scans, and the chains of them that share rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, replace

from ..contraction import product
from ..cpp._indices import flatten, static
from ..cpp._normal import Loop, Normal, normalise
from ..cpp._recompute import recompute
from ..cpp._stages import Stage, flat_accesses, stages
from ..group import Group, root
from ..program import Axis, Index, Load, Map, Program, Reduce, Scan, Size, Store, Tensor, contiguous
from ._code import TritonCode
from ._kernel import Around, Kernel, KernelText, tiles
from ._parts import parts, row_axes, settled
from ._printer import NONE, Printer, Value_
from ._reduce import Accumulator, Folding, filled, held_dtype, masked, operand, place, result, wanted_name
from ._scan import scan_rows, scan_tile
from ._schedule import Form, TileSchedule, form, parts_of_rows, schedules
from ._sizes import size_text

ALONE = Around({})
UNROLLED = 32  # turns of a loop over a window that are written out


def loop_schedules(program: Program, group: Group) -> list[TileSchedule]:
    """Schedules worth trying for a group, best guess first."""
    return schedules(parts(program, group))


def emit_loops(
    program: Program, group: Group, name: str, schedule: TileSchedule | None = None, around: Around = ALONE
) -> TritonCode:
    """Print a group: one launcher, and a kernel for each part of the group."""
    schedule = schedule or TileSchedule()
    found = parts(program, group)
    printed: list[KernelText] = []
    helpers: set[str] = set()
    tensors: dict[str, None] = {}
    scratch: list[tuple[Tensor, int]] = []
    for number, part in enumerate(found):
        own = f"{name}_kernel" if len(found) == 1 else f"{name}_kernel{number}"
        chosen = form(part, schedule)
        count, length = parts_of_rows(part, schedule, chosen)
        kernels = (
            [_kernel(part, own, chosen, around)]
            if count == 1
            else _shared_out(part, own, schedule, chosen, count, length, around, scratch)
        )
        for kernel in kernels:
            helpers |= kernel.helpers
            tensors.update(dict.fromkeys(kernel.tensors))
        printed += [kernel.text for kernel in kernels]
    if around.when:
        tensors[around.when] = None
    made = {t.name for t, _ in scratch}
    ordered = tuple(n for n in program.tensors if n in tensors and n not in made)
    symbols = tuple(s.name for s in program.symbols)
    lines = _workspace(scratch) + [kernel.launch for kernel in printed]
    parameters = ", ".join([*ordered, *symbols, *around.steps, *(["workspace"] if scratch else [])])
    launcher = "\n".join([f"def {name}({parameters}):", *(f"    {line}" for line in lines)])
    source = "\n\n\n".join([*(kernel.source for kernel in printed), launcher])
    size = sum(bytes_ for _, bytes_ in scratch)
    return TritonCode(name, source, ordered, symbols, size, frozenset(helpers), asdict(schedule))


def _workspace(scratch: Sequence[tuple[Tensor, int]]) -> list[str]:
    lines, offset = [], 0
    for tensor, size in scratch:
        lines.append(f"{tensor.name} = workspace[{offset}:{offset + size}].view(torch.{tensor.dtype})")
        offset += size
    return lines


# ── kernels ──────────────────────────────────────────────────────────────────────────────────────────────────────


class _Printed:
    """A kernel that is done."""

    def __init__(self, kernel: Kernel, text: KernelText) -> None:
        self.text, self.helpers, self.tensors = text, kernel.helpers, kernel.tensors


def _kernel(part: Normal, name: str, chosen: Form, around: Around) -> _Printed:
    if chosen.kind == "points":
        return _crossed(part, name, chosen, around) if chosen.across else _points(part, name, chosen, around)
    if chosen.kind == "rows":
        return _rows(part, name, chosen, around)
    return _passes(part, name, chosen, around)


def _points(part: Normal, name: str, chosen: Form, around: Around) -> _Printed:
    """A flat tile of points; every statement happens at each."""
    part = settled(part, [part.statements])
    kernel = Kernel(part, name, ("x",), around)
    count = _tile_of_rows(kernel, chosen.x)
    for statement in part.statements:
        _map(kernel, kernel.printer, statement)
    return _Printed(kernel, kernel.finished([tiles(count, chosen.x)], chosen.warps))


def _crossed(part: Normal, name: str, chosen: Form, around: Around) -> _Printed:
    """Two-dimensional tiles: one dimension is contiguous where memory is read, the other where it is written."""
    part = settled(part, [part.statements])
    kernel = Kernel(part, name, ("y", "x"), around)
    across = next(a for a in part.outer if a.name == chosen.across)
    along = _ordered(part, part.outer)[-1]
    rest = [a for a in _ordered(part, part.outer) if a not in (across, along)]
    body, printer = kernel.body, kernel.printer
    program = body.define(body.name("program"), kernel.program_id())
    steps = [("x", along, chosen.x), ("y", across, chosen.r)]
    for dim, axis, block in steps:
        constant = kernel.constant(f"{dim.upper()}BLOCK", block)
        count = tiles(axis.size, block).replace("triton.", "tl.")
        begin = f"{program} % {count} * {constant}"
        point = body.define(body.name(dim), f"{begin} + {kernel.lanes(dim, constant)}", tight=False)
        printer.axes[axis.name] = (point, frozenset({dim}))
        kernel.bound(printer, dim, point, axis.size, block)
        program = body.define(body.name("program"), f"{program} // {count}", tight=False)
    if rest:
        kernel.decode(printer, program, rest, NONE)
    for statement in part.statements:
        _map(kernel, printer, statement)
    counts = [tiles(along.size, chosen.x), tiles(across.size, chosen.r), *(size_text(a.size) for a in rest)]
    fixed = all(count.isdigit() for count in counts)
    grid = str(math.prod(int(count) for count in counts)) if fixed else " * ".join(counts)
    return _Printed(kernel, kernel.finished([grid], chosen.warps))


def _rows(part: Normal, name: str, chosen: Form, around: Around) -> _Printed:
    """Whole rows in registers: nothing is read twice."""
    part = settled(part, [part.statements])
    kernel = Kernel(part, name, ("x", "r") if chosen.x else ("r",), around)
    count = _tile_of_rows(kernel, chosen.x)
    known: dict[tuple[str, ...], tuple[str, str | None]] = {}
    pending: set[str] = set()
    outer = {a.name for a in part.outer}
    block = _row_block(kernel, part, chosen)
    for statement in part.statements:
        inner = _ordered(part, row_axes(statement, outer), statement)
        key = tuple(sorted(a.name for a in inner))
        if inner and key not in known:
            _row_of_points(kernel, inner, block, chosen)
            known[key] = (kernel.printer.axes[inner[-1].name][0], kernel.printer.masks.get("r"))
        if inner:
            _use_mask(kernel.printer, known[key][1])
        _sync(kernel, part, kernel.printer, [statement], pending)
        if isinstance(statement, Map):
            _map(kernel, kernel.printer, statement)
        elif isinstance(statement, Scan):
            _finish(kernel, kernel.printer, statement, scan_tile(kernel, kernel.printer, statement))
        else:
            _finish(kernel, kernel.printer, statement, _fold(kernel, kernel.printer, statement))
        pending.add(root(part.program, statement.store.tensor))
    return _Printed(kernel, kernel.finished([tiles(count, chosen.x)], chosen.warps))


def _row_block(kernel: Kernel, part: Normal, chosen: Form) -> str:
    """The constant that is the tile's length within a row."""
    if not chosen.r_text:
        return kernel.constant("RBLOCK", chosen.r)
    outer = {a.name for a in part.outer}
    sizes = {size_text(product([a.size for a in row_axes(s, outer)])) for s in part.statements}
    sizes = {s for s in sizes if s != "1"}
    longest = f"max({', '.join(sorted(sizes))})" if len(sizes) > 1 else next(iter(sizes))
    return kernel.constant("RBLOCK", f"triton.next_power_of_2(max(1, {longest}))")


def _row_of_points(kernel: Kernel, inner: Sequence[Axis], block: str, chosen: Form) -> None:
    variable = kernel.body.name("r")
    kernel.body.define(variable, kernel.lanes("r", block))
    kernel.decode(kernel.printer, variable, inner, frozenset({"r"}))
    kernel.printer.masks.pop("r", None)
    length = block if chosen.r_text else chosen.r
    kernel.bound(kernel.printer, "r", variable, product([a.size for a in inner]), length)


def _use_mask(printer: Printer, mask: str | None) -> None:
    if mask is None:
        printer.masks.pop("r", None)
    else:
        printer.masks["r"] = mask


def _fold(kernel: Kernel, printer: Printer, reduce: Reduce) -> Value_:
    """A reduction of the row that is in registers."""
    value = filled(kernel, printer, operand(printer, reduce), "r")
    value = masked(printer, reduce, value, "r")
    folding = Folding(kernel, printer, "r")
    if not reduce.op.startswith("arg"):
        return result(printer, reduce, folding.fold(reduce, value.name, value.name))
    where, _ = place(printer, reduce.raxes)
    return result(printer, reduce, folding.first(reduce, value.name, where, value.name))


# ── rows too long for registers ──────────────────────────────────────────────────────────────────────────────────


def _passes(part: Normal, name: str, chosen: Form, around: Around) -> _Printed:
    """One loop over the row for each nest: tile by tile, or point by point over a window."""
    part = recompute(part, lambda made: False)
    nests = stages(part, frozenset(a.name for a in part.outer))
    part = settled(part, [nest.statements for nest in nests])
    dims = ("x",) if chosen.kind == "windows" else (("x", "r") if chosen.x else ("r",))
    kernel = Kernel(part, name, dims, around)
    count = _tile_of_rows(kernel, chosen.x)
    if chosen.kind == "passes":
        kernel.constant("RBLOCK", chosen.r)
    pending: set[str] = set()
    for nest in nests:
        _sync(kernel, part, kernel.printer, nest.statements, pending)
        _nest(kernel, part, nest, chosen)
        pending |= {root(part.program, s.store.tensor) for s in nest.statements}
    return _Printed(kernel, kernel.finished([tiles(count, chosen.x)], chosen.warps))


def _nest(kernel: Kernel, part: Normal, nest: Stage, chosen: Form) -> None:
    if not nest.loops:
        for statement in nest.statements:
            if isinstance(statement, Map):
                _map(kernel, kernel.printer, statement)
            else:
                _finish(kernel, kernel.printer, statement, _alone(kernel, statement))
        return
    loops = _ordered(part, nest.loops, nest.statements[-1])
    if nest.scan is not None:
        scan_rows(kernel, nest.scan, chosen, lambda printer, value: _finish(kernel, printer, nest.scan, value))
        return
    lanes = chosen.kind == "passes"
    accumulators = _accumulators(kernel, nest.reduces)
    inner = _open_loops(kernel, loops, chosen, None)
    for statement in nest.statements:
        if isinstance(statement, Map):
            _map(kernel, inner, statement)
    for accumulator in accumulators:
        accumulator.add(inner, "r" if lanes else None)
    _close_loops(kernel, loops, lanes)
    for accumulator in accumulators:
        total = accumulator.total(kernel.printer, "r" if lanes else None)
        _finish(kernel, kernel.printer, accumulator.reduce, result(kernel.printer, accumulator.reduce, total))


def _alone(kernel: Kernel, statement: Reduce | Scan) -> Value_:
    """A reduction of a single point."""
    assert isinstance(statement, Reduce)
    value = operand(kernel.printer, statement)
    if statement.op.startswith("arg"):
        value = kernel.printer.converted(Value_("0", "int32", NONE), "int32")
    return result(kernel.printer, statement, value)


def _accumulators(kernel: Kernel, reduces: Sequence[Reduce]) -> list[Accumulator]:
    return [Accumulator(kernel, reduce, kernel.shape()) for reduce in reduces]


def _open_loops(kernel: Kernel, loops: Sequence[Axis], chosen: Form, share: tuple[str, int] | None) -> Printer:
    """The loops over a row; with ``share``, over the part that is the program's (its number, its length)."""
    body = kernel.body
    if chosen.kind == "windows":
        total = static(product([a.size for a in loops]))
        call = "tl.static_range" if total is not None and total <= UNROLLED else "range"
        inner = kernel.printer.inner()
        for axis in loops:
            variable = body.name(axis.name)
            body.open(f"for {variable} in {call}({size_text(axis.size)}):")
            inner.axes[axis.name] = (variable, NONE)
        return inner
    count = product([a.size for a in loops])
    start, variable = body.name("start"), body.name("r")
    if share is None:
        body.open(f"for {start} in range(0, {size_text(count)}, RBLOCK):")
    else:
        own, length = share
        body.open(f"for {start} in range({own} * {length}, {own} * {length} + {length}, RBLOCK):")
    body.define(variable, f"{start} + {kernel.lanes('r', 'RBLOCK')}", tight=False)
    inner = kernel.printer.inner()
    kernel.decode(inner, variable, loops, frozenset({"r"}))
    kernel.bound(inner, "r", variable, count, chosen.r if share is None else "RBLOCK")
    return inner


def _close_loops(kernel: Kernel, loops: Sequence[Axis], lanes: bool) -> None:
    for _ in range(1 if lanes else len(loops)):
        kernel.body.close()


# ── rows shared out ──────────────────────────────────────────────────────────────────────────────────────────────


def _shared_out(
    part: Normal,
    name: str,
    schedule: TileSchedule,
    chosen: Form,
    count: int,
    length: int,
    around: Around,
    scratch: list[tuple[Tensor, int]],
) -> list[_Printed]:
    """Two kernels: each program of the first reduces a part of a row, the second what they leave."""
    reduces = [s for s in part.statements if isinstance(s, Reduce)]
    chosen = replace(chosen, kind="passes", r=min(chosen.r, length))
    tensors = dict(part.program.tensors)
    slot = Axis("part", count)
    partials: list[tuple[Tensor, tuple[Index, ...]]] = []
    whole: list[Reduce] = []
    for number, reduce in enumerate(reduces):
        dtype = held_dtype(reduce)
        shape: tuple[Size, ...] = (count, *(a.size for a in reduce.axes))
        tensor = Tensor(f"partial{len(scratch)}", shape, dtype, contiguous(shape), "temp")
        tensors[tensor.name] = tensor
        scratch.append((tensor, _padded_bytes(tensor)))
        index = tuple(Index.axis(a.name) for a in (slot, *reduce.axes))
        partials.append((tensor, index))
        op = {"any": "max", "all": "min"}.get(reduce.op, reduce.op)
        value = Load(tensor.name, index, dtype)
        whole.append(replace(reduces[number], raxes=(slot,), op=op, value=value))
    program = replace(part.program, tensors=tensors)
    first = _part_of_rows(replace(part, program=program), f"{name}_parts", chosen, length, count, partials, around)
    rest = normalise(program, Group(tuple(whole), part.outer))
    return [first, _kernel(rest, name, form(rest, schedule), around)]


def _part_of_rows(
    part: Normal,
    name: str,
    chosen: Form,
    length: int,
    count: int,
    partials: Sequence[tuple[Tensor, tuple[Index, ...]]],
    around: Around,
) -> _Printed:
    reduces = [s for s in part.statements if isinstance(s, Reduce)]
    made = tuple(t.name for t, _ in partials)
    written = {root(part.program, s.store.tensor) for s in reduces}
    memory = tuple(n for n in part.memory if n not in written)
    kernel = Kernel(replace(part, memory=memory), name, ("x", "r") if chosen.x else ("r",), around, made)
    rows = _tile_of_rows(kernel, chosen.x)
    kernel.constant("RBLOCK", chosen.r)
    own = kernel.body.define(kernel.body.name("part"), kernel.program_id(1))
    loops = _ordered(part, reduces[0].raxes, reduces[0])
    accumulators = _accumulators(kernel, reduces)
    inner = _open_loops(kernel, loops, chosen, (own, length))
    for accumulator in accumulators:
        accumulator.add(inner, "r")
    _close_loops(kernel, loops, True)
    kernel.printer.axes["part"] = (own, NONE)
    for accumulator, (tensor, index) in zip(accumulators, partials, strict=True):
        kernel.printer.write(Store(tensor.name, index), accumulator.total(kernel.printer, "r"))
    return _Printed(kernel, kernel.finished([tiles(rows, chosen.x), str(count)], chosen.warps))


def _padded_bytes(tensor: Tensor) -> int:
    count = 8 if tensor.dtype in ("int64", "float64") else 4
    for size in tensor.shape:
        count *= int(size)
    return -(-count // 64) * 64


# ── statements ───────────────────────────────────────────────────────────────────────────────────────────────────


def _tile_of_rows(kernel: Kernel, block: int) -> Size:
    """The shared axes: a tile of them along ``x``, or a single point. Returns how many points there are."""
    outer = _ordered(kernel.normal, kernel.normal.outer)
    count = product([a.size for a in outer])
    if "x" not in kernel.dims:
        if outer:
            point = kernel.body.define(kernel.body.name("x"), kernel.program_id())
            kernel.decode(kernel.printer, point, outer, NONE)
        return count
    constant = kernel.constant("XBLOCK", block)
    text = f"{kernel.program_id()} * {constant} + {kernel.lanes('x', constant)}"
    point = kernel.body.define(kernel.body.name("x"), text, tight=False)
    kernel.decode(kernel.printer, point, outer, frozenset({"x"}))
    kernel.bound(kernel.printer, "x", point, count, block)
    return count


def _map(kernel: Kernel, printer: Printer, statement: Loop) -> None:
    value = printer.value(statement.value, wanted_name(printer, statement.store.tensor))
    _finish(kernel, printer, statement, value)


def _finish(kernel: Kernel, printer: Printer, statement: Loop | None, value: Value_) -> None:
    """Hand the value on, and write it where it must be in memory."""
    assert statement is not None
    if root(printer.program, statement.store.tensor) not in kernel.normal.local:
        printer.write(statement.store, value)
    printer.keep(statement.store, value)


def _sync(kernel: Kernel, part: Normal, printer: Printer, statements: Sequence[Loop], pending: set[str]) -> None:
    """Wait for the program's own writes before other threads of it read them."""
    own = {(s.store.tensor, s.store.index) for s in statements}
    for statement in statements:
        for load in part.program.loads(statement):
            place_ = (load.tensor, load.index)
            if root(part.program, load.tensor) in pending and not printer.knows(place_) and place_ not in own:
                kernel.body.effect("tl.debug_barrier()")
                pending.clear()
                return


def _ordered(part: Normal, axes: Sequence[Axis], statement: Loop | None = None) -> tuple[Axis, ...]:
    """Axes in the order of memory, the one with the smallest step last."""
    if statement is not None and isinstance(statement, Reduce) and statement.op.startswith("arg"):
        return tuple(axes)
    last = statement or part.statements[-1]
    flats = [flatten(part.program.tensors[last.store.tensor], last.store.index), *flat_accesses(part.program, last)]
    names = {a.name for a in axes}
    flat = next((f for f in flats if names <= f.axes()), flats[0])
    steps = {a.name: abs(static(flat.coefficient(a.name)) or 0) for a in axes}
    return tuple(sorted(axes, key=lambda a: -steps[a.name]))


__all__ = ["emit_loops", "loop_schedules"]
