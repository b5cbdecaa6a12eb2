"""Loops that the capture unrolled become loops again: statements that repeat, step by step, are one :class:`Recur`.

A run of statements repeats where the same shapes of statements follow each other again and again, every constant in an
index grows by the same amount from one repetition to the next, and every tensor is the same in all of them, or made in
the same repetition, or made in the one before: a state. What needs no state is computed for all steps at once, before
the loop; results that others read are kept step by step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ._dataflow import Flow, extern_tensors, is_product, reads, rewrite, root, writes
from ._repeats import LEAST, Access, Keys, Run, accesses, runs
from ._steps import separated
from .program import (
    Axis,
    Expr,
    Extern,
    Index,
    Load,
    Map,
    Program,
    Recur,
    Reduce,
    Scan,
    Size,
    Statement,
    Store,
    Tensor,
    contiguous,
)
from .recurrence import recognise


def reroll(program: Program) -> Program:
    """Every run of repeating steps with a product of a state, as a loop; the program itself where there is none."""
    if sum(is_product(s) for s in program.statements) < LEAST or next(runs(program), None) is None:
        return program
    rolled, current = program, separated(program)
    while True:
        flow = Flow.of(current)
        found = next((f for run in runs(current) if (f := _rolled(current, run, flow)) is not None), None)
        if found is None:
            return rolled
        rolled = current = found


# ── what a run means ─────────────────────────────────────────────────────────────────────────────────────────────


class _Reject(Exception):
    """The run is no loop."""


def _require(condition: bool) -> None:
    if not condition:
        raise _Reject


def _rolled(program: Program, run: Run, flow: Flow) -> Program | None:
    """The program with the run as a loop; None where it is none, or none that can be printed."""
    for count in (run.count, run.count - 1):  # the last step may feed other statements than the rest
        if count < LEAST:
            return None
        try:
            rolled, recur = _Roller(program, replace(run, count=count), flow).run()
        except _Reject:
            continue
        if recognise(rolled, recur) is not None:
            return rolled
    return None


@dataclass(frozen=True)
class _Place:
    """What one access of the body is in every step: its first tensor, and how its index grows.

    ``made`` is the position in the body of the statement that makes the tensor, in this step or (``before``) the last.
    """

    tensor: str
    growth: tuple[Size, ...]
    made: int | None = None
    before: bool = False


class _Roller:
    def __init__(self, program: Program, run: Run, flow: Flow) -> None:
        self.program, self.start, self.period, self.count = program, run.start, run.period, run.count
        self.end = run.end
        self.flow, self.key = flow, Keys(program)
        self.steps: list[list[Map | Reduce]] = []
        for k in range(run.count):
            part = program.statements[run.start + k * run.period : run.start + (k + 1) * run.period]
            self.steps.append([s for s in part if isinstance(s, Map | Reduce)])
        self.axis = Axis(_fresh_axis(program), run.count)
        self.made = [[s.store.tensor for s in step] for step in self.steps]
        self.inside = {root(program, n) for names in self.made for n in names}
        self.fixed = {j for j in range(self.period) if len({names[j] for names in self.made}) == 1}
        self.position = [{n: j for j, n in enumerate(names) if j not in self.fixed} for names in self.made]
        self.places = [self._places(j) for j in range(self.period)]
        self.states = self._states()
        self.tensors = dict(program.tensors)

    # ── reading ──

    def _places(self, j: int) -> list[_Place]:
        found = [accesses(step[j]) for step in self.steps]
        _require(len({len(a) for a in found}) == 1)
        return [self._place(j, [a[m] for a in found], m == len(found[0]) - 1) for m in range(len(found[0]))]

    def _place(self, j: int, found: list[Access], stored: bool) -> _Place:
        offsets = [tuple(i.offset for i in index) for _, index in found]
        growth = tuple(b - a for a, b in zip(offsets[0], offsets[1], strict=True))
        for k, each in enumerate(offsets):
            _require(all(o == a + g * k for o, a, g in zip(each, offsets[0], growth, strict=True)))
        names = [tensor for tensor, _ in found]
        tensors = self.program.tensors
        _require(len({len(tensors[n].shape) for n in names}) == 1)
        if stored and j not in self.fixed:
            _require(len(set(names)) == len(names))
            first = tensors[names[0]]
            for name in names:
                tensor = tensors[name]
                _require(tensor.role == "temp" and tensor.alias is None and self.flow.writers[name] != ())
                _require((tensor.shape, tensor.dtype) == (first.shape, first.dtype) and not any(growth))
                _require(len(self.flow.writers[name]) == sum(name in m for m in self.made[: self.count]))
                _require(not any(t.alias == name for t in tensors.values()))
            return _Place(names[0], growth, j)
        if len(set(names)) == 1:
            _require(stored or root(self.program, names[0]) not in self.inside)
            return _Place(names[0], growth)
        _require(not any(growth))
        same_step = [self.position[k].get(n) for k, n in enumerate(names)]
        if same_step[0] is not None and len(set(same_step)) == 1:
            return _Place(names[0], growth, same_step[0])
        last_step = [self.position[k].get(n) for k, n in enumerate(names[1:])]
        _require(last_step[0] is not None and len(set(last_step)) == 1)
        made = last_step[0]
        assert made is not None
        _require(made >= j)  # else the new value has already taken the old one's place
        first, later = tensors[names[0]], tensors[names[1]]
        _require(root(self.program, names[0]) not in self.inside and first.shape == later.shape)
        return _Place(names[0], growth, made, before=True)

    def _states(self) -> dict[int, str]:
        """The statements that make states, and what each state is first."""
        states: dict[int, str] = {}
        for places in self.places:
            for place in places:
                if place.before and place.made is not None:
                    _require(states.setdefault(place.made, place.tensor) == place.tensor)
        _require(bool(states))
        return states

    # ── writing ──

    def run(self) -> tuple[Program, Recur]:
        """The program with the loop, and the loop."""
        every = self._looping()
        sunk = self._sunk(every)
        looping = every - sunk
        kept_steps: dict[int, str] = {}
        hoisted = [self._hoisted(j, looping) for j in range(self.period) if j not in every]
        body = [self._in_loop(j, looping) for j in range(self.period) if j in looping]
        after = [self._hoisted(j, looping, kept_steps) for j in sorted(sunk)]
        starts = [self._start(j) for j in self.states]
        outside, copies = self._outside(looping, kept_steps)
        recur = Recur(self.axis, (*body, *copies))
        before = self.program.statements[: self.start]
        statements = (*before, *starts, *hoisted, recur, *after, *outside)
        kept = {n for m in self.made[1:] for j, n in enumerate(m) if j not in self.fixed}
        tensors = {n: t for n, t in self.tensors.items() if n not in kept}
        return replace(self.program, statements=statements, tensors=tensors), recur

    def _looping(self) -> set[int]:
        """Statements that need a state, or write where all steps write."""
        found = {j for j in range(self.period) if j in self.fixed or j in self.states}
        while True:
            more = {
                j
                for j, places in enumerate(self.places)
                if j not in found and any(p.before or (p.made in found and p.made != j) for p in places)
            }
            if not more:
                return found
            found |= more

    def _sunk(self, looping: set[int]) -> set[int]:
        """Products that no state needs, and what they lead to: computed for all steps at once, after the loop."""
        needed = set(self.states)
        while True:
            more = {p.made for j in needed for p in self.places[j] if p.made is not None and p.made not in needed}
            if not more:
                break
            needed |= more
        sunk: set[int] = set()
        for j in range(self.period):
            made = {p.made for p in self.places[j][:-1]}
            if j not in needed and j in looping and (isinstance(self.steps[0][j], Reduce) or made & sunk):
                _require(not any(p.before for p in self.places[j]))
                sunk.add(j)
        return sunk

    def _at(self, index: tuple[Index, ...], place: _Place) -> tuple[Index, ...]:
        """An index of the first step, in every step."""
        return tuple(i + Index.axis(self.axis.name) * g for i, g in zip(index, place.growth, strict=True))

    def _moved(self, j: int, looping: set[int], kept: dict[int, str] | None = None) -> Map | Reduce:
        """The statement of the first step, with its loads as they are in every step."""
        statement = self.steps[0][j]
        places = iter(self.places[j][:-1])
        memo: dict[int, Expr] = {}

        def visit(expr: Expr) -> Expr:
            if id(expr) not in memo:
                if isinstance(expr, Load):
                    memo[id(expr)] = self._load(expr, next(places), looping, kept)
                else:
                    children = tuple(visit(c) for c in expr.children())
                    memo[id(expr)] = expr.rebuild(children) if children else expr
            return memo[id(expr)]

        if isinstance(statement, Reduce):
            value = visit(statement.value)
            return replace(statement, value=value, epilogue=visit(statement.epilogue))
        return replace(statement, value=visit(statement.value))

    def _load(self, load: Load, place: _Place, looping: set[int], kept: dict[int, str] | None) -> Load:
        if place.made is None:
            return replace(load, index=self._at(load.index, place))
        name = self.made[0][place.made]
        if place.made in looping:
            if kept is None:
                return replace(load, tensor=name)
            name = self._history(place.made, kept)
        return replace(load, tensor=name, index=(Index.axis(self.axis.name), *load.index))

    def _in_loop(self, j: int, looping: set[int]) -> Map | Reduce:
        statement = self._moved(j, looping)
        index = self._at(statement.store.index, self.places[j][-1])
        return replace(statement, store=Store(statement.store.tensor, index))

    def _hoisted(self, j: int, looping: set[int], kept: dict[int, str] | None = None) -> Map | Reduce:
        """All steps at once: one more axis, one more dimension of the result; ``kept`` where it follows the loop."""
        statement = self._moved(j, looping, kept)
        name = statement.store.tensor
        if j in self.fixed:
            store = Store(name, self._at(statement.store.index, self.places[j][-1]))
        else:
            self.tensors[name] = self._longer(self.program.tensors[name], name)
            store = Store(name, (Index.axis(self.axis.name), *statement.store.index))
        # Axes are unique in a program: the hoisted statement gets a step axis of its own.
        own = Axis(f"{self.axis.name}{j}", self.axis.size)
        return _renamed_axis(replace(statement, axes=(self.axis, *statement.axes), store=store), self.axis, own)

    def _longer(self, tensor: Tensor, name: str) -> Tensor:
        shape = (self.count, *tensor.shape)
        return replace(tensor, name=name, shape=shape, strides=contiguous(shape))

    def _start(self, j: int) -> Map:
        """A state's first value."""
        name, first = self.made[0][j], self.states[j]
        tensor = self.program.tensors[name]
        axes = tuple(Axis(f"{self.axis.name}s{j}_{k}", s) for k, s in enumerate(tensor.shape))
        index = tuple(Index() if a.size == 1 else Index.axis(a.name) for a in axes)
        kind = "float32" if tensor.dtype in ("bfloat16", "float16") else tensor.dtype
        source = self.program.tensors[first]
        _require(source.dtype == tensor.dtype)
        return Map(tuple(a for a in axes if a.size != 1), Load(first, index, kind), Store(name, index))

    # ── readers of what the steps make ──

    def _outside(self, looping: set[int], kept: dict[int, str]) -> tuple[list[Statement], list[Map]]:
        """The statements after the loop, and what the loop keeps for them."""
        where = {n: (k, j) for k, names in enumerate(self.made) for j, n in enumerate(names) if j not in self.fixed}
        _require(not any(n in where for n in self.program.outputs))
        rest = list(self.program.statements[self.end :])
        taken, copies = self._absorbed(rest, where, looping)

        def fn(node: Expr) -> Expr | None:
            if not isinstance(node, Load) or node.tensor not in where:
                return None
            k, j = where[node.tensor]
            if j not in looping:
                return replace(node, tensor=self.made[0][j], index=(Index.const(k), *node.index))
            if k == self.count - 1:
                return replace(node, tensor=self.made[0][j])
            return replace(node, tensor=self._history(j, kept), index=(Index.const(k), *node.index))

        result: list[Statement] = []
        for position, statement in enumerate(rest):
            if position in taken:
                continue
            if not where.keys() & {*reads(statement), *writes(statement)}:
                result.append(statement)
                continue
            _require(isinstance(statement, Map | Reduce | Scan))
            assert isinstance(statement, Map | Reduce | Scan)
            changed = replace(statement, value=rewrite(statement.value, fn))
            if isinstance(changed, Reduce):
                changed = replace(changed, epilogue=rewrite(changed.epilogue, fn))
            result.append(changed)
        for j, name in kept.items():
            copies.append(self._copy(j, name))
        return result, copies

    def _history(self, j: int, kept: dict[int, str]) -> str:
        """The tensor that holds a result of every step."""
        name = kept.setdefault(j, f"{self.made[0][j]}_steps")
        if name not in self.tensors:
            self.tensors[name] = self._longer(self.program.tensors[self.made[0][j]], name)
        return name

    def _copy(self, j: int, name: str) -> Map:
        made = self.made[0][j]
        tensor = self.program.tensors[made]
        axes = tuple(Axis(f"{self.axis.name}c{j}_{k}", s) for k, s in enumerate(tensor.shape))
        index = tuple(Index() if a.size == 1 else Index.axis(a.name) for a in axes)
        kind = "float32" if tensor.dtype in ("bfloat16", "float16") else tensor.dtype
        store = Store(name, (Index.axis(self.axis.name), *index))
        return Map(tuple(a for a in axes if a.size != 1), Load(made, index, kind), store)

    def _absorbed(
        self, rest: list[Statement], where: dict[str, tuple[int, int]], looping: set[int]
    ) -> tuple[set[int], list[Map]]:
        """Copies of each step's result to places that grow with the steps: the loop writes there itself."""
        families: dict[object, dict[int, int]] = {}
        for position, statement in enumerate(rest):
            if not isinstance(statement, Map) or not isinstance(statement.value, Load):
                continue
            load = statement.value
            if load.tensor in where and where[load.tensor][1] in looping:
                k, j = where[load.tensor]
                key = (self.key(statement), j, statement.store.tensor, load.index == statement.store.index)
                family = families.setdefault(key, {})
                if k in family:
                    family[-1] = position  # twice in one step: more than this pass knows
                family[k] = position
        taken: set[int] = set()
        copies: list[Map] = []
        for family in families.values():
            if set(family) != set(range(self.count)):
                continue
            found = [rest[family[k]] for k in range(self.count)]
            copy = self._absorb([s for s in found if isinstance(s, Map)], rest[: max(family.values())])
            if copy is not None:
                copies.append(copy)
                taken |= set(family.values())
        return taken, copies

    def _absorb(self, found: list[Map], earlier: list[Statement]) -> Map | None:
        target = root(self.program, found[0].store.tensor)
        touched = (*self.program.statements[: self.end], *earlier)
        if any(root(self.program, n) == target for s in touched for n in _read(s)):
            return None
        offsets = [tuple(i.offset for i in s.store.index) for s in found]
        growth = tuple(b - a for a, b in zip(offsets[0], offsets[1], strict=True))
        for k, each in enumerate(offsets):
            if not all(o == a + g * k for o, a, g in zip(each, offsets[0], growth, strict=True)):
                return None
        first = found[0]
        assert isinstance(first.value, Load)
        if any(s.value.index != _same_axes(first, s) for s in found if isinstance(s.value, Load)):
            return None
        index = self._at(first.store.index, _Place("", growth))
        value = replace(first.value, tensor=self._first_name(first.value.tensor))
        return replace(first, value=value, store=Store(first.store.tensor, index))

    def _first_name(self, tensor: str) -> str:
        j = next(j for names in self.made for j, n in enumerate(names) if n == tensor)
        return self.made[0][j]


def _same_axes(first: Map, other: Map) -> tuple[Index, ...]:
    """The index that the first copy loads, in another copy's axes."""
    assert isinstance(first.value, Load)
    names = {a.name: Index.axis(b.name) for a, b in zip(first.axes, other.axes, strict=True)}
    return tuple(i.substitute(names) for i in first.value.index)


def _read(statement: Statement) -> tuple[str, ...]:
    if isinstance(statement, Extern):
        return tuple(extern_tensors([statement.args, [v for _, v in statement.kwargs]]))
    return reads(statement)


def _renamed_axis(statement: Map | Reduce, old: Axis, new: Axis) -> Map | Reduce:
    bindings = {old.name: Index.axis(new.name)}
    axes = tuple(new if a == old else a for a in statement.axes)
    store = Store(statement.store.tensor, tuple(i.substitute(bindings) for i in statement.store.index))
    value = statement.value.substitute(bindings)
    if isinstance(statement, Reduce):
        epilogue = statement.epilogue.substitute(bindings)
        return replace(statement, axes=axes, value=value, store=store, epilogue=epilogue)
    return replace(statement, axes=axes, value=value, store=store)


def _fresh_axis(program: Program) -> str:
    """A name that no axis has; the printer's conventions want a letter and a number."""
    number = 1000
    for statement in program.statements:
        if isinstance(statement, Extern):
            continue
        parts = statement.body if isinstance(statement, Recur) else (statement,)
        axes = [a for p in parts for a in (*p.axes, *(p.raxes if isinstance(p, Reduce) else ()))]
        axes += [statement.step] if isinstance(statement, Recur) else []
        for axis in axes:
            digits = axis.name.lstrip("a").split("_")[0].split("s")[0].split("c")[0]
            if digits.isdigit():
                number = max(number, int(digits) + 1000)
    return f"a{number}"


__all__ = ["reroll"]
