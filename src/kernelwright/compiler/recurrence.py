"""Recognises what a recurrence computes: products of states with fixed weights, and work on single elements.

One step falls into stages. A stage multiplies rows of states (as they are when it begins) with weights, then computes
new elements from the products at hand. The kernel may therefore take any rows and columns of a stage in any order, but
all of a stage before the next one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ._dataflow import nodes, reads, rewrite, root, substitute
from .program import Acc, Axis, Expr, Index, Load, Map, Op, Program, Recur, Reduce, Size, Store
from .sizes import same

ROW, UNIT, DEPTH, STEP = "row", "unit", "depth", "step"  # the names all recurrences give their axes
MOST_SLOTS = 8  # products per element: more leave no registers for rows

_SLOT = "slot"


@dataclass(frozen=True)
class Slot:
    """One product for each element of a stage: the sum over ``DEPTH`` of ``operand[ROW, DEPTH] * weight``."""

    operand: str
    weight: Load
    depth: Size


@dataclass(frozen=True)
class Stage:
    """``maps`` are over ``ROW`` and ``UNIT``; a load of :func:`slot_name` k stands for the product k."""

    units: Size
    slots: tuple[Slot, ...]
    maps: tuple[Map, ...]


@dataclass(frozen=True)
class Recurrence:
    """``carried`` tensors hold states between steps; ``held`` ones are kept in scratch; ``stored`` ones in memory."""

    recur: Recur
    rows: Size
    stages: tuple[Stage, ...]
    dtype: str
    carried: tuple[str, ...]
    held: tuple[str, ...]
    stored: tuple[str, ...]
    outside: tuple[str, ...]  # carried ones whose last value is read
    units: Mapping[str, Size] = field(default_factory=dict)  # columns of the held tensors

    @property
    def operands(self) -> tuple[str, ...]:
        """Tensors of which whole rows are multiplied."""
        return tuple(dict.fromkeys(slot.operand for stage in self.stages for slot in stage.slots))


def slot_name(number: int) -> str:
    """The name under which maps load a product of their stage."""
    return f"{_SLOT}{number}"


def recognise(program: Program, recur: Recur) -> Recurrence | None:
    """The recurrence as stages, or None where it is none that can be printed."""
    kept: frozenset[str] = frozenset()
    while True:
        try:
            return _Search(program, recur, kept).run()
        except _Keep as wish:
            kept |= {wish.tensor}
        except _Reject:
            return None


class _Reject(Exception):
    """The body is something else."""


class _Keep(Exception):
    """A result must be kept where it is made, not computed where it is read."""

    def __init__(self, tensor: str) -> None:
        self.tensor = tensor


def _require(condition: bool) -> None:
    if not condition:
        raise _Reject


@dataclass(frozen=True)
class _Pending:
    """A result that is computed where it is read: its axes, its value, where it would be stored, how old it is."""

    axes: dict[str, str]  # role -> axis
    value: Expr
    store: Store
    stage: int
    clock: int


class _Search:
    def __init__(self, program: Program, recur: Recur, kept: frozenset[str]) -> None:
        self.program, self.recur = program, recur
        self.written = tuple(dict.fromkeys(s.store.tensor for s in recur.body))
        roots = {root(program, n) for n in self.written}
        _require(len(roots) == len(self.written))
        others = [s for s in program.statements if s is not recur]
        read = {root(program, n) for s in others for n in reads(s)} | {root(program, n) for n in program.outputs}
        self.outside = {n for n in self.written if root(program, n) in read}
        self.carried = self._carried()
        for part in recur.body:
            for name in reads(part):
                _require(name in self.written or root(program, name) not in roots)
        products = [s for s in recur.body if isinstance(s, Reduce)]
        _require(bool(products))
        self.operand_of = {id(s): self._operand(s) for s in products}
        self.materialised = (
            self.outside | set(self.carried) | kept | {load.tensor for load, _ in self.operand_of.values()}
        )
        self.roles: dict[str, tuple[str | None, ...]] = {}
        self.pending: dict[str, _Pending] = {}
        self.rows: Size = 1
        self.stage = 0
        self.clock = 0
        self.changed: dict[str, int] = {}  # materialised tensor -> when it was last written in this step
        self.stage_of: dict[str, int] = {}
        self.maps: list[list[Map]] = [[]]
        self.slots: list[dict[tuple[int, Index], Slot]] = [{}]
        self.units: list[Size | None] = [None]
        self.held: dict[str, Size] = {}
        self.products = products

    def _carried(self) -> tuple[str, ...]:
        """Tensors that the body reads before it writes them."""
        done: set[str] = set()
        found: dict[str, None] = {}
        for part in self.recur.body:
            for name in reads(part):
                if name in self.written and name not in done:
                    found[name] = None
            done.add(part.store.tensor)
        return tuple(found)

    def _operand(self, product: Reduce) -> tuple[Load, Load]:
        """The load of a state and that of the weights."""
        value = product.value
        _require(product.op == "sum" and isinstance(value, Op) and value.name == "mul" and len(product.raxes) == 1)
        assert isinstance(value, Op)
        a, b = value.args
        _require(isinstance(a, Load) and isinstance(b, Load) and a.fill is None and b.fill is None)
        assert isinstance(a, Load)
        assert isinstance(b, Load)
        mine = [x for x in (a, b) if x.tensor in self.written]
        _require(len(mine) == 1)
        return (a, b) if mine[0] is a else (b, a)

    # ── the walk ──

    def run(self) -> Recurrence:
        rows = {self._row_axis(s).size for s in self.products if self._row_axis(s).name}
        _require(len(rows) <= 1)
        self.rows = next(iter(rows), 1)
        for product in self.products:
            load, _ = self.operand_of[id(product)]
            names = {self._row_axis(product).name: ROW, product.raxes[0].name: UNIT}
            self._learn(load.tensor, load.index, names)
        for part in self.recur.body:
            self.clock += 1
            if isinstance(part, Reduce):
                self._product(part)
            else:
                self._map(part)
        stages = tuple(
            Stage(units or 1, tuple(slots.values()), tuple(maps))
            for units, slots, maps in zip(self.units, self.slots, self.maps, strict=True)
        )
        _require(all(s.maps and s.slots and len(s.slots) <= MOST_SLOTS for s in stages))
        _require(all(isinstance(size, int) for s in stages for size in (s.units, *(slot.depth for slot in s.slots))))
        for name in self.carried:
            _require(name in self.held)
        dtypes = {s.value.dtype for s in self.products}
        _require(len(dtypes) == 1 and dtypes <= {"float32", "float64"})
        dtype = dtypes.pop()
        _require(all(_plain(self.program.tensors[n].dtype, dtype) for n in self.held))
        stored = tuple(n for n in self.written if n in self.outside and n not in self.carried)
        outside = tuple(n for n in self.carried if n in self.outside)
        canonical = replace(self.recur, step=Axis(STEP, self.recur.step.size))
        return Recurrence(
            canonical, self.rows, stages, dtype, self.carried, tuple(self.held), stored, outside, dict(self.held)
        )

    def _row_axis(self, product: Reduce) -> Axis:
        """The axis that only the state has; nameless where there is one row."""
        load, weight = self.operand_of[id(product)]
        mine = [a for a in product.axes if a.name in load.axes() and a.name not in weight.axes()]
        _require(len(mine) <= 1)
        return mine[0] if mine else Axis("", 1)

    def _learn(self, tensor: str, index: tuple[Index, ...], names: Mapping[str, str]) -> None:
        """Which dimension of a tensor is which; all that touch it must agree."""
        roles = tuple(next((names[a] for a in i.axes() if a in names), None) for i in index)
        _require(self.roles.setdefault(tensor, roles) == roles)

    def _product(self, part: Reduce) -> None:
        load, weight = self.operand_of[id(part)]
        row, depth = self._row_axis(part), part.raxes[0]
        if self.stage_of.get(load.tensor) == self.stage and load.tensor in self.changed:
            self._next_stage()
        free = [a for a in part.axes if a.name != row.name]
        _require(len(free) == 1 and free[0].name in weight.axes())
        unit = free[0]
        names = {row.name: ROW, unit.name: UNIT, depth.name: DEPTH, self.recur.step.name: STEP}
        bindings = {a: Index.axis(b) for a, b in names.items() if a}
        here = tuple(i.substitute(bindings) for i in load.index)
        _require(all(i in (Index(), Index.axis(ROW), Index.axis(DEPTH)) for i in here))
        _require(same(self._unit_size(load.tensor), depth.size))
        _require(all(i.is_affine for i in weight.index) and STEP not in weight.substitute(bindings).axes())
        number = next(k for k, s in enumerate(self.products) if s is part)
        marker = Load(f"{_SLOT}:{number}", (Index.axis(unit.name),), part.value.dtype)
        value = rewrite(part.epilogue, lambda n: marker if isinstance(n, Acc) else None)
        axes = {UNIT: unit.name} | ({ROW: row.name} if row.name else {})
        self._define(part.store, axes, value, {row.name: row.size, unit.name: unit.size})

    def _unit_size(self, tensor: str) -> Size:
        roles = self.roles[tensor]
        shape = self.program.tensors[tensor].shape
        return next((s for s, r in zip(shape, roles, strict=True) if r == UNIT), 1)

    def _map(self, part: Map) -> None:
        axes: dict[str, str] = {}
        names = {a.name for a in part.axes}
        for node in nodes(part.value):
            if isinstance(node, Load) and node.tensor in self.roles:
                for role, index in zip(self.roles[node.tensor], node.index, strict=True):
                    mine = [a for a in index.axes() if a in names]
                    if role and mine:
                        _require(len(mine) == 1 and axes.get(role, mine[0]) == mine[0])
                        axes[role] = mine[0]
        rest = [a.name for a in part.axes if a.name not in axes.values()]
        for role in (UNIT,) if same(self.rows, 1) else (ROW, UNIT):
            if role not in axes and rest:
                axes[role] = rest.pop(0)
        _require(not rest and len(set(axes.values())) == len(axes))
        self._define(part.store, axes, part.value, {a.name: a.size for a in part.axes})

    def _define(self, store: Store, axes: dict[str, str], value: Expr, sizes: Mapping[str, Size]) -> None:
        """A result: kept where it is made, or computed later, where it is read."""
        if not same(self.rows, 1):
            _require(ROW in axes and same(sizes[axes[ROW]], self.rows))
        name = store.tensor
        pending = _Pending(axes, value, store, self.stage, self.clock)
        if name not in self.materialised:
            self._learn(name, store.index, {a: r for r, a in axes.items()})
            self.pending[name] = pending
            self.stage_of[name] = self.stage
            return
        units = sizes[axes[UNIT]] if UNIT in axes else 1
        bindings = {a: Index.axis(r) for r, a in axes.items()} | {self.recur.step.name: Index.axis(STEP)}
        value = self._resolved(value, bindings)
        index = tuple(i.substitute(bindings) for i in store.index)
        previous = self.units[self.stage]
        _require(previous is None or same(previous, units))
        self.units[self.stage] = units
        self._learn(name, index, {ROW: ROW, UNIT: UNIT})
        read_later = any(name in reads(p) for p in self.recur.body)
        if read_later:
            _require(all(i in (Index(), Index.axis(ROW), Index.axis(UNIT)) for i in index))
            _require(same(self._unit_size(name), units) and self.held.get(name, units) == units)
            self.held[name] = units
        axes_out = tuple(Axis(r, s) for r, s in ((ROW, self.rows), (UNIT, units)))
        self.maps[self.stage].append(Map(axes_out, value, Store(name, index)))
        self.changed[name] = self.clock
        self.stage_of[name] = self.stage

    def _next_stage(self) -> None:
        self.stage += 1
        self.maps.append([])
        self.slots.append({})
        self.units.append(None)

    # ── expressions ──

    def _resolved(self, value: Expr, bindings: Mapping[str, Index], late: _Pending | None = None) -> Expr:
        """The value over the canonical axes, with pending results in place of their loads."""
        value = substitute(value, dict(bindings))

        def fn(node: Expr) -> Expr | None:
            if not isinstance(node, Load):
                return None
            if node.tensor.startswith(f"{_SLOT}:"):
                return self._slot(int(node.tensor.split(":")[1]), node, late)
            if node.tensor not in self.written:
                return None
            pending = self.pending.get(node.tensor)
            if pending is None:
                _require(node.fill is None)
                _require(all(i in (Index(), Index.axis(ROW), Index.axis(UNIT)) for i in node.index))
                if late is not None and self.changed.get(node.tensor, -1) > late.clock:
                    raise _Late
                self._learn(node.tensor, node.index, {ROW: ROW, UNIT: UNIT})
                self.held.setdefault(node.tensor, self._unit_size(node.tensor))
                return None
            return self._computed(node, pending)

        return rewrite(value, fn)

    def _computed(self, node: Load, pending: _Pending) -> Expr:
        """What a pending result is at the place of a load."""
        inner: dict[str, Index] = {self.recur.step.name: Index.axis(STEP)}
        for read, written in zip(node.index, pending.store.index, strict=True):
            if not written.terms:
                _require(read == written)
                continue
            names = [a for a in pending.axes.values() if written == Index.axis(a)]
            _require(len(names) == 1)
            inner[names[0]] = read
        try:
            value = self._resolved(pending.value, inner, pending)
        except _Late:
            raise _Keep(node.tensor) from None
        return value if value.dtype == node.dtype else Op("cast", (value,), node.dtype)

    def _slot(self, number: int, node: Load, late: _Pending | None) -> Load:
        """The product at a column: one slot for each distance from the element's own column."""
        product = self.products[number]
        load, weight = self.operand_of[id(product)]
        if late is not None and late.stage != self.stage and self.changed.get(load.tensor, -1) > late.clock:
            raise _Late
        (column,) = node.index
        _require(column.coefficient(UNIT) == 1 and column.axes() == {UNIT})
        row, depth = self._row_axis(product), product.raxes[0]
        unit = next(a.name for a in product.axes if a.name != row.name)
        key = (number, column)
        slots = self.slots[self.stage]
        if key not in slots:
            bound = weight.substitute({unit: column, depth.name: Index.axis(DEPTH)})
            assert isinstance(bound, Load)
            slots[key] = Slot(load.tensor, bound, depth.size)
        return Load(slot_name(list(slots).index(key)), (), node.dtype)


class _Late(Exception):
    """Something that a pending result reads has changed since."""


def _plain(dtype: str, computed: str) -> bool:
    return dtype == computed or (computed == "float32" and dtype in ("bfloat16", "float16"))


__all__ = ["DEPTH", "ROW", "STEP", "UNIT", "Recurrence", "Slot", "Stage", "recognise", "slot_name"]
