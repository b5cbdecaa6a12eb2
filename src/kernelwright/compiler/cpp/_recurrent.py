"""Prints a recurrence as one kernel: weights packed once, then, step after step, products and what follows from them.

Threads take rows where there are enough of them, so that nobody waits for anybody; else columns, with a barrier after
each stage. A state whose rows are multiplied has two buffers: the stage reads one and writes the other.
"""

from __future__ import annotations

from dataclasses import dataclass

from .._dataflow import nodes
from ..program import Index, Load, Program, Size, Store, Tensor
from ..recurrence import DEPTH, ROW, STEP, UNIT, Recurrence, Slot, Stage, slot_name
from ._code import KernelCode
from ._indices import flatten, size_text, static
from ._nest import Text
from ._operand import base_name
from ._schedule import Cache
from .printer import Printer, Temp, store_type, value_type

W = 16
MOST_ROWS = 14  # of a register tile
MOST_VECTORS = 4  # of a register tile that takes several columns at once
STEP_WORK = 1 << 18  # multiply-adds per step and thread that are worth a barrier
LEAST_WORK = 1 << 20  # multiply-adds in all that are worth a second thread


@dataclass(frozen=True)
class RecurrentSchedule:
    """``mr`` rows are one register tile; ``threads`` is the most that are used."""

    mr: int
    threads: int


@dataclass(frozen=True)
class _Group:
    """Products of one stage that share their operand: one register tile."""

    name: str
    slots: tuple[tuple[int, Slot], ...]  # with their numbers in the stage
    blocks: int  # of sixteen columns
    depth: int

    @property
    def lanes(self) -> int:
        return len(self.slots) * self.blocks * W


@dataclass(frozen=True)
class _Parts:
    """What the printing functions share."""

    program: Program
    found: Recurrence
    schedule: RecurrentSchedule
    groups: tuple[tuple[_Group, ...], ...]  # by stage

    @property
    def ctype(self) -> str:
        return "float" if self.found.dtype == "float32" else "double"

    def vectors(self, group: _Group) -> int:
        """Vectors of the machine in one row of a tile."""
        return group.lanes // (W if self.found.dtype == "float32" else W // 2)

    def panels(self, number: int) -> int:
        """Column panels of a stage."""
        units = static(self.found.stages[number].units) or 1
        return -(-units // (self.groups[number][0].blocks * W))

    def pitch(self, tensor: str) -> int:
        """Elements between rows of a held state; powers of two compete for the same cache sets."""
        units = static(self.found.units[tensor]) or 1
        whole = -(-units // W) * W
        return whole + W if whole % 256 == 0 else whole

    def double(self, tensor: str) -> bool:
        """Whether a stage both multiplies the state's rows and writes it."""
        return any(
            any(s.operand == tensor for s in stage.slots) and any(m.store.tensor == tensor for m in stage.maps)
            for stage in self.found.stages
        )


def schedules(program: Program, found: Recurrence) -> list[RecurrentSchedule]:
    """Schedules worth trying, best guess first."""
    workers = Cache().workers
    rows = static(found.rows)
    tiles = _tiles(found)
    if rows is None:
        return [RecurrentSchedule(mr, workers) for mr in dict.fromkeys((min(4, tiles), tiles))]
    ranked = sorted(range(1, min(tiles, rows) + 1), key=lambda mr: (_cost(rows, mr, workers), -mr))
    return [RecurrentSchedule(mr, workers) for mr in ranked[:2]]


def _cost(rows: int, mr: int, workers: int) -> int:
    """Rows computed, and what a tile costs besides."""
    panels = -(-rows // mr)
    if rows >= 4 * workers:
        panels = -(-panels // workers) * workers
    return panels * (mr + 2)


def _tiles(found: Recurrence) -> int:
    """The most rows of a register tile."""
    registers = Cache().registers
    widest = 1
    scale = 1 if found.dtype == "float32" else 2
    for number in range(len(found.stages)):
        for group in _groups(found, number):
            widest = max(widest, group.lanes // W * scale)
    return max(1, min(MOST_ROWS, (registers.count - 1) // (widest * registers.parts) - 1))


def _groups(found: Recurrence, number: int) -> tuple[_Group, ...]:
    stage = found.stages[number]
    by_operand: dict[tuple[str, Size], list[tuple[int, Slot]]] = {}
    for k, slot in enumerate(stage.slots):
        by_operand.setdefault((slot.operand, slot.depth), []).append((k, slot))
    units = static(stage.units) or 1
    blocks = max(1, min(MOST_VECTORS // max(len(s) for s in by_operand.values()), -(-units // W)))
    return tuple(
        _Group(f"{number}_{k}", tuple(slots), blocks, static(depth) or 1)
        for k, ((_, depth), slots) in enumerate(by_operand.items())
    )


def emit_recurrent(
    program: Program, found: Recurrence, name: str, schedule: RecurrentSchedule | None = None
) -> KernelCode:
    """The kernel of a recurrence."""
    groups = tuple(_groups(found, number) for number in range(len(found.stages)))
    parts = _Parts(program, found, schedule or schedules(program, found)[0], groups)
    read, written = _tensors(parts)
    tensors = tuple(n for n in program.tensors if n in read | written)
    parameters = [
        f"[[maybe_unused]] {'' if n in written else 'const '}{store_type(program.tensors[n].dtype)}* {n}"
        for n in tensors
    ]
    symbols = tuple(s.name for s in program.symbols)
    parameters += [*(f"[[maybe_unused]] const int64_t {s}" for s in symbols), "char* scratch"]
    text = Text()
    text(f"typedef {parts.ctype} T;")
    text(f"const int64_t rows = {size_text(found.rows)}, steps = {size_text(found.recur.step.size)};")
    text("T* memory = reinterpret_cast<T*>(scratch);")
    total = _scratch(parts, text)
    _split(parts, text)
    text.open("kw::parallel(threads, [&](const int thread, const int count) KW_ONCE")
    _begin(parts, text)
    _loop(parts, text)
    _end(parts, text)
    text.close("});")
    body = "\n".join(f"  {line}" for line in text.lines)
    source = f"#include <kw/recurrent.h>\nstatic void {name}({', '.join(parameters)}) {{\n{body}\n}}"
    return KernelCode(name, source, tensors, symbols, total * (4 if parts.ctype == "float" else 8) + 64)


# ── memory ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _tensors(parts: _Parts) -> tuple[set[str], set[str]]:
    """Memory that the kernel reads, and that it writes."""
    found, program = parts.found, parts.program
    own = {slot_name(k) for s in found.stages for k in range(len(s.slots))} | set(found.held)
    read = {slot.weight.tensor for s in found.stages for slot in s.slots} | set(found.carried)
    for stage in found.stages:
        for part in stage.maps:
            read |= {n.tensor for n in nodes(part.value) if isinstance(n, Load)} - own
    written = set(found.stored) | set(found.outside)
    return {base_name(program, n) for n in read}, {base_name(program, n) for n in written}


def _scratch(parts: _Parts, text: Text) -> Size:
    """Declare the packed weights and the states; returns how many elements they need."""
    total: Size = 0
    for number, groups in enumerate(parts.groups):
        for group in groups:
            size = parts.panels(number) * group.depth * group.lanes
            text(f"T* const weights{group.name} = memory; memory += {size};")
            total = total + size
    mr = parts.schedule.mr
    text(f"const int64_t row_panels = kw::ceil_div(rows, {mr}), padded = row_panels * {mr};")
    for tensor in parts.found.held:
        for suffix in ("_a", "_b") if parts.double(tensor) else ("_a",):
            text(f"T* const {tensor}{suffix} = memory; memory += padded * {parts.pitch(tensor)};")
            total = total + (parts.found.rows + mr) * parts.pitch(tensor)
    return total


def _split(parts: _Parts, text: Text) -> None:
    """Decide how many threads take part, and whether they split rows or columns."""
    units = [(stage, groups) for stage, groups in zip(parts.found.stages, parts.groups, strict=True)]
    work = sum((static(s.units) or 1) * g.depth * len(g.slots) for s, groups in units for g in groups)
    text(f"int threads = kw::min({parts.schedule.threads}, kw::max_threads());")
    text(f"if (rows * steps * {work} < {LEAST_WORK}) threads = 1;")
    text(f"if (row_panels < threads && rows * {work} < threads * int64_t({STEP_WORK})) threads = 1;")
    text("const bool by_rows = row_panels >= threads;")


def _begin(parts: _Parts, text: Text) -> None:
    """Each thread's share; the weights are packed and the states fetched by all."""
    mr = parts.schedule.mr
    text("const int64_t share0 = row_panels * thread / count, share1 = row_panels * (thread + 1) / count;")
    text("const int64_t r0 = by_rows ? share0 : 0, r1 = by_rows ? share1 : row_panels;")
    for number, groups in enumerate(parts.groups):
        panels = parts.panels(number)
        text(f"const int64_t p{number} = {panels} * int64_t(thread) / count;")
        text(f"const int64_t q{number} = {panels} * int64_t(thread + 1) / count;")
        text(f"const int64_t c{number} = by_rows ? 0 : p{number}, d{number} = by_rows ? {panels} : q{number};")
        text.loop("panel", f"p{number}", f"q{number}")
        for group in groups:
            for place, (_, slot) in enumerate(group.slots):
                for block in range(group.blocks):
                    _pack(parts, number, group, place, slot, block, text)
        text.close()
    for tensor in parts.found.held:
        pitch = parts.pitch(tensor)
        if parts.double(tensor):
            text(f"kw::recurrent::clear({tensor}_b, {pitch}, share0 * {mr}, share1 * {mr});")
        if tensor in parts.found.carried:
            where, row, unit = _place(parts, tensor)
            units = size_text(parts.found.units[tensor])
            text(
                f"kw::recurrent::enter({tensor}_a, {pitch}, {where}, {row}, {unit}, share0 * {mr}, share1 * {mr}, "
                f"rows, {units});"
            )
        else:
            text(f"kw::recurrent::clear({tensor}_a, {pitch}, share0 * {mr}, share1 * {mr});")
        text(f"T* {tensor}_now = {tensor}_a;")
        if parts.double(tensor):
            text(f"T* {tensor}_next = {tensor}_b;")
    text("kw::barrier(count);")


def _pack(parts: _Parts, number: int, group: _Group, place: int, slot: Slot, block: int, text: Text) -> None:
    tensor = parts.program.tensors[slot.weight.tensor]
    flat = flatten(tensor, slot.weight.index)
    unit, depth = flat.coefficient(UNIT), flat.coefficient(DEPTH)
    base = size_text(flat.offset)
    along = "true" if static(depth) == 1 and static(unit) != 1 else "false"
    lanes = (place * group.blocks + block) * W
    column = f"(panel * {group.blocks} + {block}) * {W}"
    to = f"weights{group.name} + panel * {group.depth * group.lanes} + {lanes}"
    text(
        f"kw::recurrent::pack_columns<{along}>({to}, {group.lanes}, {base_name(parts.program, tensor.name)} + {base}, "
        f"{base}, {size_text(_extent(tensor))}, {column}, {size_text(parts.found.stages[number].units)}, "
        f"{size_text(unit)}, {size_text(depth)}, {group.depth});"
    )


def _extent(tensor: Tensor) -> Size:
    extent: Size = 1
    for size, stride in zip(tensor.shape, tensor.strides, strict=True):
        extent = extent + (size - 1) * stride
    return extent


def _place(parts: _Parts, tensor: str) -> tuple[str, str, str]:
    """Where a state lies in memory: its first element, and the steps along rows and units."""
    index = next(m.store.index for s in parts.found.stages for m in s.maps if m.store.tensor == tensor)
    flat = flatten(parts.program.tensors[tensor], index)
    pointer = base_name(parts.program, tensor)
    row, unit = flat.coefficient(ROW), flat.coefficient(UNIT)
    return f"{pointer} + {size_text(flat.offset)}", size_text(row), size_text(unit)


# ── the loop ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _loop(parts: _Parts, text: Text) -> None:
    text.loop("turn", "0", "steps")
    text(f"[[maybe_unused]] const int64_t {STEP} = {'steps - 1 - turn' if parts.found.recur.reverse else 'turn'};")
    for number, stage in enumerate(parts.found.stages):
        _stage(parts, number, stage, text)
        for tensor in dict.fromkeys(m.store.tensor for m in stage.maps):
            if tensor in parts.found.held and parts.double(tensor):
                text(f"T* const {tensor}_old = {tensor}_now;")
                text(f"{tensor}_now = {tensor}_next, {tensor}_next = {tensor}_old;")
        text("if (!by_rows) kw::barrier(count);")
    text.close()


def _stage(parts: _Parts, number: int, stage: Stage, text: Text) -> None:
    mr = parts.schedule.mr
    groups = parts.groups[number]
    blocks, units = groups[0].blocks, static(stage.units) or 1
    text.loop("panel", f"c{number}", f"d{number}")
    text.loop("q", "r0", "r1")
    for group in groups:
        text(f"alignas(64) T tile{group.name}[{mr * group.lanes}];")
        operand, pitch = group.slots[0][1].operand, parts.pitch(group.slots[0][1].operand)
        vectors = parts.vectors(group)
        text(
            f"kw::gemm::micro<T, {mr}, {vectors}, {vectors}, false, kw::gemm::RowsA<T, {mr}>>({group.depth}, "
            f"{operand}_now + q * {mr * pitch}, {pitch}, kw::gemm::PanelB<T, {vectors}>{{weights{group.name} + "
            f"panel * {group.depth * group.lanes}}}, tile{group.name}, false);"
        )
    text(f"const int64_t last = kw::min<int64_t>(rows, (q + 1) * {mr});")
    text.loop(ROW, f"q * {mr}", "last")
    if blocks > 1:
        text.loop("block", "0", str(blocks))
        text(f"const int64_t {UNIT} = (panel * {blocks} + block) * {W};")
        if units % (blocks * W):
            text(f"if ({UNIT} >= {units}) break;")
    else:
        text(f"const int64_t {UNIT} = panel * {W};")
    if units % W:
        text(f"const int lanes = int(kw::min<int64_t>({W}, {units} - {UNIT}));")
    for line in _point(parts, number, stage):
        text(line)
    if blocks > 1:
        text.close()
    for _ in range(3):
        text.close()


def _point(parts: _Parts, number: int, stage: Stage) -> list[str]:
    """Sixteen elements of one row."""
    found, groups = parts.found, parts.groups[number]
    kind, mr = value_type(found.dtype, vector=True), parts.schedule.mr
    units, lines = static(stage.units) or 1, []
    known: dict[str, Temp] = {}
    for group in groups:
        for place, (slot, _) in enumerate(group.slots):
            where = f"({ROW} - q * {mr}) * {group.lanes} + " + (
                f"({place * group.blocks} + block) * {W}" if group.blocks > 1 else f"{place * W}"
            )
            lines.append(f"const {kind} {slot_name(slot)} = kw::load(tile{group.name} + {where});")
            known[slot_name(slot)] = Temp(slot_name(slot), found.dtype, True)
    before: dict[tuple[str, tuple[Index, ...]], Temp] = {}
    done: set[str] = set()
    for part in stage.maps:
        for node in nodes(part.value):
            if isinstance(node, Load) and node.tensor in found.held and node.tensor not in done:
                temp = Temp(f"{node.tensor}_before", found.dtype, True)
                if (node.tensor, node.index) not in before:
                    lines.append(
                        f"const {kind} {temp.name} = kw::load({node.tensor}_now + {ROW} * {parts.pitch(node.tensor)} + "
                        f"{UNIT});"
                    )
                before[(node.tensor, node.index)] = temp
        done.add(part.store.tensor)
    printer = Printer(
        parts.program,
        lane=UNIT,
        count="lanes" if units % W else None,
        ranges={UNIT: (0, units - 1)},
        known=known,
    )
    printer.lines = lines
    printer.bind(before)
    for part in stage.maps:
        printer.forget_acc()
        _keep(parts, printer, part.store, printer.widened(printer.temp(part.value)))
    return printer.lines


def _keep(parts: _Parts, printer: Printer, store: Store, temp: Temp) -> None:
    """A new element: into the state's rows, into memory, or both."""
    name = store.tensor
    if name in parts.found.stored:
        printer.store(store, temp, temp.dtype)
    else:
        printer.forward(store, temp)
    if name in parts.found.held:
        buffer = f"{name}_next" if parts.double(name) else f"{name}_now"
        value = printer.converted(temp, parts.found.dtype)
        printer.lines.append(f"kw::store({buffer} + {ROW} * {parts.pitch(name)} + {UNIT}, {value.name});")


def _end(parts: _Parts, text: Text) -> None:
    """The last values of the states that others read, row by row as they were fetched."""
    mr = parts.schedule.mr
    for tensor in parts.found.outside:
        where, row, unit = _place(parts, tensor)
        text(
            f"kw::recurrent::leave({where}, {row}, {unit}, {tensor}_now, {parts.pitch(tensor)}, share0 * {mr}, "
            f"kw::min<int64_t>(rows, share1 * {mr}), {size_text(parts.found.units[tensor])});"
        )


__all__ = ["RecurrentSchedule", "emit_recurrent", "schedules"]
