"""Kernels whose threads share rows: reductions, softmax, norms, losses, scans; in registers or in several passes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..contraction import product
from ..cpp._indices import size_text, static
from ..cpp._normal import Loop, Normal
from ..cpp._recompute import recompute
from ..cpp._stages import Stage, points, stages
from ..group import root
from ..program import Axis, Index, Map, Reduce, Scan, Size, Store, Tensor
from ..triton._parts import settled
from ._kernel import Around, Kernel, KernelText, blocks
from ._nest import Element, Held, array, at_points
from ._printer import Known, Printer
from ._reduce import Accumulator, alone, finished
from ._scan import scan_block, scan_thread
from ._schedule import COLUMNS, Form, ordered
from ._text import CHOICE

UNROLLED = 32  # turns of a loop over a window that are written out


@dataclass(frozen=True)
class Share:
    """A row that ``count`` blocks share, each ``length`` of its points; they leave ``partials``."""

    count: int
    length: int
    partials: tuple[tuple[Tensor, tuple[Index, ...]], ...]


def emit_rows(part: Normal, name: str, chosen: Form, around: Around, share: Share | None = None) -> KernelText:
    """The kernel of a part with rows."""
    if chosen.kind == "passes":
        part = recompute(part, lambda made: False)
    nests = stages(part, frozenset(a.name for a in part.outer))
    part = settled(part, _handing_on(nests, chosen))
    return _Rows(part, name, chosen, around, share).emit(nests)


def _handing_on(nests: Sequence[Stage], chosen: Form) -> list[list[Loop]]:
    """Statements that see each other's values: of one nest, or of all that walk the row alike and hold it."""
    if chosen.kind == "passes":
        return [list(nest.statements) for nest in nests]
    alike: dict[frozenset[str], list[Loop]] = {}
    for nest in nests:
        alike.setdefault(frozenset(a.name for a in nest.loops), []).extend(nest.statements)
    return list(alike.values())


class _Rows:
    """One kernel while it is written."""

    def __init__(self, part: Normal, name: str, chosen: Form, around: Around, share: Share | None) -> None:
        self.part, self.chosen, self.share = part, chosen, share
        made = tuple(t.name for t, _ in share.partials) if share else ()
        if share:
            written = {root(part.program, s.store.tensor) for s in part.statements}
            kept = tuple(n for n in part.memory if n not in written)
            part = Normal(part.program, part.statements, part.outer, part.local, kept)
        self.kernel = Kernel(part, name, around, made)
        self.body, self.printer = self.kernel.body, self.kernel.printer
        self.held = Held()
        self.pending: set[str] = set()
        self.ragged = False
        self.firsts: dict[frozenset[str], str] = {}  # variables of rows of which a thread has a single vector
        self.order: dict[frozenset[str], tuple[Axis, ...]] = {}

    def emit(self, nests: Sequence[Stage]) -> KernelText:
        count = self._row()
        for nest in nests:
            if nest.loops:
                key = frozenset(a.name for a in nest.loops)
                self.order.setdefault(key, ordered(self.part, nest.loops, nest.statements[-1]))
        if self.chosen.kind == "rows":
            self._arrays(nests)
        for nest in nests:
            self._sync(nest.statements)
            self._nest(nest)
            self.pending |= {root(self.part.program, s.store.tensor) for s in nest.statements}
        grid = [blocks(count, self.chosen.rows if self.chosen.lanes > 1 else self.chosen.threads)]
        if self.share:
            grid.append(str(self.share.count))
        return self.kernel.finished(self._comment(), grid, self._block())

    def _comment(self) -> list[str]:
        chosen = self.chosen
        how = "in registers" if chosen.kind == "rows" else "in passes"
        if chosen.lanes == 1:
            return ["Every thread has a row of its own."]
        whose = "A warp's threads have neighbouring rows" if chosen.columns else f"{chosen.lanes} threads share a row"
        lines = [f"{whose}: {chosen.lanes} threads for each, {how}." if chosen.columns else f"{whose}, {how}."]
        if self.share:
            lines.append(f"{self.share.count} blocks share it, and leave what they found to the next kernel.")
        return lines

    def _block(self) -> list[int]:
        if self.chosen.columns:
            return [COLUMNS, self.chosen.lanes]
        if self.chosen.lanes == 1:
            return [self.chosen.threads]
        return [self.chosen.lanes, self.chosen.rows] if self.chosen.rows > 1 else [self.chosen.lanes]

    # ── the row ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _row(self) -> Size:
        """Which row the thread has a part in; the number of rows."""
        outer = ordered(self.part, self.part.outer, self.part.statements[-1])
        count = product([a.size for a in outer])
        chosen, number = self.chosen, self.kernel.number
        self.owner = "" if chosen.lanes == 1 else "threadIdx.y == 0" if chosen.columns else "threadIdx.x == 0"
        self.lane = "threadIdx.y" if chosen.columns else "threadIdx.x"
        if self.share:
            self.printer.axes["part"] = "blockIdx.y"
            self.body.effect(f"const {number} begin = {number}(blockIdx.y) * {self.share.length};")
        if not outer:
            if chosen.lanes == 1:
                self.body.effect("if (threadIdx.x > 0) return;")
            elif chosen.rows > 1:
                self.ragged = True
                self.owner += f" && {'threadIdx.x' if chosen.columns else 'threadIdx.y'} == 0"
                self.body.effect(f"const bool mine = {'threadIdx.x' if chosen.columns else 'threadIdx.y'} == 0;")
            return count
        each = chosen.threads if chosen.lanes == 1 else chosen.rows
        size = static(count)
        inside = "threadIdx.x" if chosen.columns or chosen.lanes == 1 else "threadIdx.y"
        block = f"{number}(blockIdx.x)" if number == "int64_t" else "blockIdx.x"
        text = f"{block} * {each} + {inside}" if each > 1 else block
        self.body.effect(f"const {number} row = {text};")
        if each > 1 and (size is None or size % each):
            if chosen.lanes == 1:
                self.body.effect(f"if (row >= {size_text(count)}) return;")
            else:
                self.ragged = True
                self.body.effect(f"const bool mine = row < {size_text(count)};  // those beyond help the others")
                self.owner += " && mine"
        self._decode(outer, count)
        return count

    def _decode(self, outer: Sequence[Axis], count: Size) -> None:
        """The axes of the row; a thread beyond the last row looks at the last one."""
        row = "row"
        if self.ragged:
            row = self.kernel.variable("seen", f"mine ? row : {size_text(count)} - 1", CHOICE)
        self.kernel.decode(self.printer, row, outer)

    def _arrays(self, nests: Sequence[Stage]) -> None:
        """Room for what more than one nest wants of a row."""
        program = self.part.program
        written = {root(program, s.store.tensor) for s in self.part.statements}
        seen: dict[tuple[frozenset[str], Element], int] = {}
        wanted: dict[Element, frozenset[str]] = {}
        for number, nest in enumerate(nests):
            key = frozenset(a.name for a in nest.loops)
            for statement in nest.statements:
                for load in program.loads(statement):
                    element = (load.tensor, load.index)
                    varies = any(i.axes() & key for i in load.index) and load.fill is None
                    if varies and seen.get((key, element), number) < number:
                        wanted[element] = key
                    if varies and root(program, load.tensor) not in written:
                        seen.setdefault((key, element), number)
                if isinstance(statement, Map) and key:
                    seen.setdefault((key, (statement.store.tensor, statement.store.index)), number)
        for element, key in wanted.items():
            array(self.kernel, self.held, element, self._items(key) * self.chosen.vector)

    def _items(self, key: frozenset[str]) -> int:
        """How many vectors of a row a thread has."""
        return max(1, math.ceil(points(self.order[key]) / (self.chosen.lanes * self._vector(self.order[key]))))

    def _vector(self, loops: Sequence[Axis]) -> int:
        """Elements of an access in this nest: fewer where its row is none of whole vectors."""
        size = static(loops[-1].size)
        return self.chosen.vector if size is not None and size % self.chosen.vector == 0 else 1

    # ── nests ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _nest(self, nest: Stage) -> None:
        if not nest.loops:
            for statement in nest.statements:
                assert not isinstance(statement, Scan)
                if isinstance(statement, Reduce):
                    self._finish(statement, alone(self.printer, statement))
                else:
                    wanted = self.kernel.value_name(statement.store.tensor)
                    self._finish(statement, self.printer.value(statement.value, wanted))
            return
        if nest.scan is not None:
            scan = scan_thread if self.chosen.lanes == 1 else scan_block
            scan(self.kernel, self.chosen, nest.scan, self.part.local)
            return
        accumulators = {id(r): Accumulator(self.kernel, r) for r in nest.reduces}

        def act(printer: Printer, statement: Loop) -> None:
            accumulators[id(statement)].add(printer)

        loops = self.order[frozenset(a.name for a in nest.loops)]
        if self.chosen.lanes == 1:
            self._walk(loops, nest, act)
        else:
            self._stride(loops, nest, act)
        for number, reduce in enumerate(nest.reduces):
            total = accumulators[id(reduce)].total(self.printer, self.chosen)
            if self.share:
                tensor, index = self.share.partials[number]
                self.printer.write(Store(tensor.name, index), total, self.owner)
                continue
            wanted = self.kernel.value_name(reduce.store.tensor)
            self._finish(reduce, finished(self.printer, reduce, total, wanted))

    def _walk(self, loops: Sequence[Axis], nest: Stage, act: object) -> None:
        """A thread walks its whole row."""
        total = static(product([a.size for a in loops]))
        inner = self.printer.inner()
        for axis in loops:
            variable = self.body.name(axis.name)
            if total is not None and total <= UNROLLED:
                self.body.effect("#pragma unroll")
            self.body.open(
                f"for ({self.kernel.number} {variable} = 0; {variable} < {size_text(axis.size)}; ++{variable})"
            )
            inner.axes[axis.name] = variable
        at_points(self.kernel, inner, (), nest.statements, "", 1, act)  # type: ignore[arg-type]
        for _ in loops:
            self.body.close()

    def _stride(self, loops: Sequence[Axis], nest: Stage, act: object) -> None:
        """The threads of a row take turns, a vector each."""
        body, number, lanes = self.body, self.kernel.number, self.chosen.lanes
        vector = self._vector(loops)
        size = product([a.size for a in loops])
        text, whole = size_text(size), static(size)
        own = self.lane if vector == 1 else f"{self.lane} * {vector}"
        inner = self.printer.inner()
        if self.chosen.kind == "rows":
            key = frozenset(a.name for a in loops)
            items = self._items(key)
            item = body.name("k") if items > 1 else ""
            if items > 1:
                body.effect("#pragma unroll")
                body.open(f"for (int {item} = 0; {item} < {items}; ++{item})")
            turn = f"{item} * {lanes} + {self.lane}" if items > 1 else self.lane
            turn = turn if vector == 1 else f"({turn}) * {vector}" if items > 1 else f"{turn} * {vector}"
            point = self.firsts.get(key) or body.name("r")
            if key not in self.firsts:
                body.effect(f"const {number} {point} = {turn};")
            if items == 1:
                self.firsts[key] = point
            checks = [] if whole is not None and whole == items * lanes * vector else [f"{point} < {text}"]
            checks += ["mine"] if self.ragged else []
            if checks:
                body.open(f"if ({' && '.join(checks)})")
            at_points(self.kernel, inner, loops, nest.statements, point, vector, act, self.held, item)  # type: ignore[arg-type]
            for _ in range(bool(checks) + (items > 1)):
                body.close()
            return
        point, start, end = body.name("r"), own, text
        if self.share:
            end = body.define("end", number, f"kw::min<{number}>(begin + {self.share.length}, {text})")
            start = f"begin + {own}"
        if self.ragged:
            body.open("if (mine)")
        step = lanes * vector
        body.open(f"for ({number} {point} = {start}; {point} < {end}; {point} += {step})")
        at_points(self.kernel, inner, loops, nest.statements, point, vector, act)  # type: ignore[arg-type]
        body.close()
        if self.ragged:
            body.close()

    def _finish(self, statement: Loop, value: Known) -> None:
        """Hand a row's value on, and write it where it must be in memory."""
        if root(self.part.program, statement.store.tensor) not in self.part.local:
            self.printer.write(statement.store, value, self.owner)
        self.printer.keep(statement.store, value)

    def _sync(self, statements: Sequence[Loop]) -> None:
        """Wait for the block's own writes before other threads of it read them."""
        own = {(s.store.tensor, s.store.index) for s in statements}
        for statement in statements:
            for load in self.part.program.loads(statement):
                element = (load.tensor, load.index)
                known = self.printer.knows(load) or element in own or element in self.held.filled
                if root(self.part.program, load.tensor) in self.pending and not known and self.chosen.lanes > 1:
                    self.body.effect("__syncthreads();")
                    self.pending.clear()
                    return
