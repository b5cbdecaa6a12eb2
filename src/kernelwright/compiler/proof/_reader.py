"""Reads the statements of a kernel: what it accesses, for which iterations and under which conditions.

A loop becomes a counter with the range in which its condition holds, a call of a lambda or function becomes its body,
and a parallel region becomes items that are told apart. What changes from iteration to iteration in a way that is no
multiple of the counter becomes a value that nothing is known about. What is not understood raises ``Unproved``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

from ._numbers import (
    INFINITE,
    Condition,
    Number,
    Variable,
    at_least,
    choose,
    decided,
    divide,
    equal,
    less,
    maximum,
    minimum,
    negation,
    number,
    variable,
)
from ._solver import Solver
from ._syntax import WHOLE, WIDTHS, assigned, child, declared, flat, functions, inner, line, text, walk
from ._values import (
    LANE,
    OPAQUE,
    UNKNOWN,
    Access,
    Axes,
    Buffer,
    Cell,
    Function,
    Opaque,
    Pointer,
    Scope,
    Share,
    Structure,
    Template,
    Truth,
    Unproved,
)

if TYPE_CHECKING:
    from tree_sitter import Node

MOST_ACCESSES = 4000  # of one kernel
MOST_TURNS = 20  # of a loop that only a break ends
JUMP = "jump"


class Reader:
    """The state while a kernel is read."""

    def __init__(self, root: Node, solver: Solver) -> None:
        self.globals = Scope()
        self.functions = functions(root)
        self.scope = self.globals
        self.accesses: list[Access] = []
        self.condition: Condition = ()
        self.certain = True
        self.loops: tuple[Variable, ...] = ()
        self.items: tuple[tuple[str, tuple[Variable, ...]], ...] = ()
        self.phase: int | None = None
        self.kernel = ""
        self.line = 0
        self.depth = 0
        self.returned: Any = None
        self.team: tuple[Variable, Number] | None = None
        self.solver = solver
        self.drawn = 0
        self.turning = 0  # loops around, inside the function that is read
        self.phases = count(1)
        self.splits = count(1)

    def begin(self, kernel: str) -> None:
        """Forget what was read of another kernel."""
        self.accesses, self.kernel, self.scope = [], kernel, self.globals
        self.condition, self.certain, self.loops, self.items = (), True, (), ()
        self.phase, self.team, self.depth, self.returned, self.turning = None, None, 0, None, 0

    def product(self, a: Number, b: Number) -> Number:
        """A product of sizes; one that is not affine is only known to lie between bounds."""
        if a.value is not None or b.value is not None:
            return b * a.value if a.value is not None else a * (b.value or 0)
        return variable("data", "product", 0 if a.low >= 0 and b.low >= 0 else -INFINITE, INFINITE)

    # ── what is accessed ─────────────────────────────────────────────────────────────────────────────────────────

    def touch(self, pointer: Any, write: bool, *steps: tuple[Number | int, int]) -> None:
        """Access ``pointer`` at every sum of ``k * stride`` with 0 <= k < count, for each (count, stride)."""
        if not isinstance(pointer, Pointer):
            raise Unproved(f"line {self.line} accesses memory through something that is no known pointer")
        index, condition, loops = pointer.index, self.condition, self.loops
        for size, stride in steps:
            extent = number(size)
            if extent.value == 1:
                continue
            made = variable("loop", "element", 0, extent.high - 1)
            index = index + made * stride
            if extent.value is None:
                condition = (*condition, *less(made, extent))
            loops = (*loops, *made.terms)
        self.record(pointer.moved(index - pointer.index), write, condition, loops, self.certain)

    def touch_lanes(self, pointer: Any, write: bool, stride: int, mask: Truth) -> None:
        """Access ``stride`` apart, the lanes in which ``mask`` holds."""
        if not isinstance(pointer, Pointer):
            raise Unproved(f"line {self.line} accesses memory through something that is no known pointer")
        lane = Variable("loop", "lane", 0, LANE.high)
        condition = (*self.condition, *renamed(mask.condition, LANE, lane))
        moved = pointer.moved(Number({lane: stride}) if stride else number(0))
        self.record(moved, write, condition, (*self.loops, lane), self.certain and mask.exact)

    def record(
        self, pointer: Pointer, write: bool, condition: Condition, loops: tuple[Variable, ...], certain: bool
    ) -> None:
        if decided(condition) is False:
            return
        if len(self.accesses) >= MOST_ACCESSES:
            raise Unproved("the kernel has too many accesses")
        found = Access(pointer, write, condition, certain, loops, self.items, self.phase, self.kernel, self.line)
        self.accesses.append(found)

    # ── scopes and conditions ────────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def scoped(self, outer: Scope | None = None) -> Iterator[None]:
        before = self.scope
        self.scope = Scope(outer or before)
        try:
            yield
        finally:
            self.scope = before

    @contextmanager
    def under(self, truth: Truth) -> Iterator[None]:
        """Read what follows under a further condition."""
        before = self.condition, self.certain
        self.condition = (*self.condition, *truth.condition)
        self.certain = self.certain and truth.exact
        try:
            yield
        finally:
            self.condition, self.certain = before

    @contextmanager
    def counting(self, *found: Variable, split: str = "") -> Iterator[None]:
        """Read what follows for all values of further counters; with ``split`` they tell parallel items apart."""
        before = self.loops, self.items
        self.loops = (*self.loops, *found)
        if split:
            self.items = (*self.items, (split, found))
        try:
            yield
        finally:
            self.loops, self.items = before

    @contextmanager
    def parallel(self, body: Any = None) -> Iterator[None]:
        """Read a body that threads share."""
        if self.phase is not None:
            raise Unproved(f"line {self.line} shares work among threads inside a share")
        if isinstance(body, Function):
            self._private(body)
        self.phase = next(self.phases)
        try:
            yield
        finally:
            self.phase = None

    def _private(self, body: Function) -> None:
        """A body that threads share assigns no variable from outside."""
        own = {declared(d) for n in walk(body.body) for d in n.children_by_field_name("declarator")}
        for name, element in assigned(body.body):
            cell = body.scope.find(name)
            if cell is not None and not element and name not in own and not isinstance(cell.value, Function):
                raise Unproved(f"line {self.line} lets threads assign {name}, which they share")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Read what a template keeps apart itself, whatever its threads do."""
        before, self.phase = self.phase, None
        try:
            yield
        finally:
            self.phase = before

    @contextmanager
    def working(self, thread: Variable, team: Number) -> Iterator[None]:
        """Read what each thread of a team does."""
        self.team = (thread, team)
        try:
            yield
        finally:
            self.team = None

    def share(self, a: Number, b: Number) -> Share | None:
        """``count * thread / threads`` and the same of the next thread: where a thread's share begins and ends."""
        if self.team is None or (b - self.team[1]).value != 0:
            return None
        thread = self.team[0]
        if set(a.terms) != {thread} or a.constant not in (0, a.terms[thread]):
            return None
        count = a.terms[thread]
        return Share(number(count), a.constant != 0, f"share of {count} in {self.phase}")

    def barrier(self) -> None:
        """All threads meet: what comes after is another region."""
        if any(split != "thread" for split, _ in self.items) or len(self.loops) > 1:
            raise Unproved(f"line {self.line} lets threads meet inside a loop")
        self.phase = next(self.phases)

    def holds(self, condition: Condition) -> bool:
        """Is a condition sure to hold here?"""
        if decided(condition) is not None:
            return bool(decided(condition))
        return self.solver.impossible([self.condition, negation(condition)])

    def declare(self, name: str, value: Any) -> None:
        self.scope.cells[name] = Cell(value)

    # ── statements ───────────────────────────────────────────────────────────────────────────────────────────────

    def block(self, nodes: Sequence[Node]) -> str | None:
        """Read statements in order; a conditional jump leaves the rest to the other case."""
        for position, node in enumerate(nodes):
            signal = self.statement(node)
            if signal == JUMP:
                return JUMP
            if isinstance(signal, Truth):  # jumped where this holds
                with self.under(~signal):
                    return self.block(nodes[position + 1 :]) and JUMP
        return None

    def statement(self, node: Node) -> Any:
        self.line = line(node)
        kind = node.type
        if kind == "compound_statement":
            with self.scoped():
                return self.block(inner(node))
        if kind == "declaration":
            return self._declaration(node)
        if kind == "expression_statement":
            for expression in inner(node):
                self.value(expression)
            return None
        if kind == "if_statement":
            return self._if(node)
        if kind in ("for_statement", "while_statement"):
            return self._loop(node)
        if kind == "type_definition":
            self.declare(text(child(node, "declarator")), self.value(child(node, "type")))
            return None
        if kind == "return_statement":
            if self.turning:
                raise Unproved(f"line {self.line} returns from inside a loop")
            found = inner(node)
            value = self.value(found[0]) if found else OPAQUE
            self.returned = value if self.returned is None else _joined(self.returned, value)
            return JUMP
        if kind == "continue_statement":
            return JUMP
        if kind in ("comment", "preproc_include", "preproc_call", "static_assert_declaration"):
            return None
        raise Unproved(f"line {self.line} is a {kind.replace('_', ' ')}, which is not read")

    def _declaration(self, node: Node) -> None:
        kind = child(node, "type")
        fixed = any(text(q) in ("const", "constexpr") for q in node.children if q.type == "type_qualifier")
        for declarator in node.children_by_field_name("declarator"):
            initial = None
            if declarator.type == "init_declarator":
                initial = child(declarator, "value")
                declarator = child(declarator, "declarator")
            name = declared(declarator)
            arrays = [d for d in walk(declarator) if d.type == "array_declarator"]
            if arrays:
                self.declare(name, self._array(name, kind, arrays[0], initial, fixed))
            elif initial is None:
                self.declare(name, self._blank(kind, name))
            else:
                value = self.value(initial)
                self.declare(name, self._typed(kind, name, value, initial))

    def _blank(self, kind: Node, name: str) -> Any:
        return variable("data", name) if flat(kind) in WHOLE else (UNKNOWN if flat(kind) == "bool" else OPAQUE)

    def _typed(self, kind: Node, name: str, value: Any, initial: Node) -> Any:
        """A value as the declared type holds it."""
        word = flat(kind)
        if isinstance(value, list):
            named = flat(kind)
            made = Structure(named, value)
            return _axes(made) or made
        if isinstance(value, Pointer):
            return value
        if word in ("int", "int32_t"):
            return self.narrow(value)
        if word in WHOLE and not isinstance(value, Number | Share):
            return self.whole(value)
        return value

    def _array(self, name: str, kind: Node, declarator: Node, initial: Node | None, fixed: bool) -> Pointer:
        size = declarator.child_by_field_name("size")
        values = self.value(initial) if initial is not None else None
        if size is not None:
            extent = self.whole(self.value(size))
        elif isinstance(values, list):
            extent = number(len(values))
        else:
            raise Unproved(f"line {self.line} declares an array of unknown size")
        word = flat(kind)
        contents = values if isinstance(values, list) else None
        width = WIDTHS.get(word, 1)
        made = Buffer(name, extent, width, "own", contents=contents, phase=self.phase, fixed=fixed)
        return Pointer(made, number(0), width, number(0), word in WHOLE)

    def _if(self, node: Node) -> Any:
        condition = child(node, "condition")
        truth = self.truth(self.value(inner(condition)[-1]))
        known = decided(truth.condition) if truth.exact or decided(truth.condition) is False else None
        then, other = child(node, "consequence"), node.child_by_field_name("alternative")
        branches = [then, *([inner(other)[-1]] if other is not None else [])]
        if known is not None:
            chosen = branches[0] if known else (branches[1] if len(branches) > 1 else None)
            return self.statement(chosen) if chosen is not None else None
        return self._branches(truth, branches)

    def _branches(self, truth: Truth, branches: Sequence[Node]) -> Any:
        cells = self._cells(branches)
        before = [c.value for c in cells]
        with self.under(truth):
            jumped = self.statement(branches[0])
        after = [c.value for c in cells]
        for cell, value in zip(cells, before, strict=True):
            cell.value = value
        other = None
        if len(branches) > 1:
            with self.under(~truth):
                other = self.statement(branches[1])
        if isinstance(jumped, Truth) or isinstance(other, Truth):
            raise Unproved(f"line {self.line} jumps out of nested conditions")
        for cell, value in zip(cells, after, strict=True):
            if jumped != JUMP:
                cell.value = value if other == JUMP else self.merged(truth, value, cell.value)
        if jumped == JUMP and other == JUMP:
            return JUMP
        return truth if jumped == JUMP else (~truth if other == JUMP else None)

    def merged(self, truth: Truth, a: Any, b: Any) -> Any:
        """The value after two branches."""
        if a is b:
            return a
        if isinstance(a, Number) and isinstance(b, Number):
            if (a - b).value == 0:
                return a
            return (
                choose(truth.condition, a, b)
                if truth.exact
                else variable("data", "choice", min(a.low, b.low), max(a.high, b.high))
            )
        if isinstance(a, Pointer) and isinstance(b, Pointer) and a.buffer is b.buffer and (a.base - b.base).value == 0:
            return Pointer(a.buffer, a.base, a.width, self.merged(truth, a.index, b.index), a.whole)
        if isinstance(a, Truth) and isinstance(b, Truth):
            return UNKNOWN
        return OPAQUE

    # ── loops ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _cells(self, nodes: Sequence[Node]) -> list[Cell]:
        """The variables from outside that are assigned below; the contents of arrays that may change are forgotten."""
        found: dict[Cell, None] = {}
        for node in nodes:
            for name, element in assigned(node):
                cell = self.scope.find(name)
                if cell is None:
                    continue
                if isinstance(cell.value, Function):
                    with self.scoped(cell.value.scope):
                        found.update(dict.fromkeys(self._cells([cell.value.body])))
                elif element:
                    if isinstance(cell.value, Pointer):
                        cell.value.buffer.forget()
                else:
                    found[cell] = None
        return list(found)

    def forget(self, cell: Cell) -> None:
        """Nothing is known of a variable any more."""
        value = cell.value
        if isinstance(value, Number):
            cell.value = variable("data", "changed")
        elif isinstance(value, Pointer):
            cell.value = Pointer(value.buffer, value.base, value.width, variable("data", "changed"), value.whole)
        elif isinstance(value, Truth):
            cell.value = UNKNOWN

    @contextmanager
    def _around(self) -> Iterator[None]:
        self.turning += 1
        try:
            yield
        finally:
            self.turning -= 1

    def _loop(self, node: Node) -> None:
        with self.scoped(), self._around():
            start = node.child_by_field_name("initializer")
            if start is not None:
                self.statement(start) if start.type == "declaration" else self.value(start)
            condition, update = node.child_by_field_name("condition"), node.child_by_field_name("update")
            if condition is not None and condition.type == "condition_clause":
                condition = inner(condition)[-1]
            body = child(node, "body")
            if (share := self._shared(start, condition, update)) is not None:
                return self._share(*share, body)
            if condition is None:
                return self._unroll(body)
            steps = self._steps(update)
            changed = self._cells([body, condition])
            for cell in list(steps):
                if cell in changed:
                    del steps[cell]
            others = {*changed, *(self._cells([update]) if update is not None else [])} - set(steps)
            self._repeat(condition, body, steps, others)

    def _repeat(self, condition: Node, body: Node, steps: dict[Cell, int], others: set[Cell]) -> None:
        starts = {cell: cell.value for cell in (*steps, *others)}
        turn = Variable("loop", "turn", 0)
        truth, turns = self._condition(condition, steps, turn)
        known = self._moved(condition, body, steps, others, turn, truth) if others and turns is not None else {}
        for cell in others:
            if cell in known:
                cell.value = _stepped(starts[cell], Number({turn: known[cell]}))
            else:
                self.forget(cell)
        once = turns is not None and turns.value is not None and turns.value <= 1
        if once:
            for cell in (*steps, *known):
                cell.value = starts[cell]
        if once and turns is not None and turns.value == 1:
            self.statement(body)
        elif not once and decided(truth.condition) is not False:
            with self.under(truth), self.counting(turn):
                self.statement(body)
        for cell in others:
            if turns is None or turns.value != 0:
                cell.value = starts[cell]
                self.forget(cell)
            else:
                cell.value = starts[cell]
        for cell, step in steps.items():
            cell.value = starts[cell]
            if turns is None:
                self.forget(cell)
            else:
                cell.value = _stepped(starts[cell], turns * step)

    def _condition(self, condition: Node, steps: dict[Cell, int], turn: Variable) -> tuple[Truth, Number | None]:
        """When turn number ``turn`` happens, and how many turns there are, if that is known; moves the counters."""
        for cell, step in steps.items():
            cell.value = _stepped(cell.value, Number({turn: step}))
        truth = self.truth(self.value(condition))
        turns = number(0) if decided(truth.condition) is False else _turns(truth, turn)
        if turns is None:
            return Truth(truth.condition, exact=False), None
        turn.high = turns.high - 1
        return truth, turns

    def _moved(
        self, condition: Node, body: Node, steps: dict[Cell, int], others: set[Cell], turn: Variable, truth: Truth
    ) -> dict[Cell, int]:
        """How far each turn moves the other variables, where every turn but the last moves them equally far."""
        before = {cell: cell.value for cell in (*steps, *others)}
        seen, returned = self.accesses, self.returned
        self.accesses = []
        for cell in others:
            self.forget(cell)
        marks = {cell: cell.value for cell in others}
        with self.under(truth), self.counting(turn):
            self.statement(body)
        after = {cell: cell.value for cell in others}
        self.accesses, self.returned = seen, returned
        for cell, step in steps.items():
            cell.value = _stepped(before[cell], number(step))
        again = self.truth(self.value(condition))  # whether there is one more turn
        for cell, value in before.items():
            cell.value = value
        found = {}
        for cell in others:
            way = _way(marks[cell], after[cell])
            for step in (way.low, way.high) if way is not None else ():
                with self.under(truth), self.under(again):
                    if way is not None and abs(step) < INFINITE and self.holds(equal(way, step)):
                        found[cell] = step
        return found

    def _unroll(self, body: Node) -> None:
        """A loop that only a ``break`` ends: its turns one by one, until there cannot be another."""
        parts = inner(body) if body.type == "compound_statement" else [body]
        cells = self._cells([body])
        before = self.condition, self.certain, self.loops, self.items
        for _ in range(MOST_TURNS):
            if not self._turn(parts):
                break
        else:
            raise Unproved(f"line {self.line} is in a loop of unknown length")
        self.condition, self.certain, self.loops, self.items = before
        for cell in cells:
            self.forget(cell)

    def _turn(self, parts: Sequence[Node]) -> bool:
        """One turn; may there be another?"""
        drawn = self.drawn
        with self.scoped():
            for part in parts:
                ending = _breaking(part)
                if ending is None:
                    if self.statement(part) is not None:
                        raise Unproved(f"line {self.line} leaves a loop in a way that is not read")
                    continue
                ends = self.truth(self.value(ending))
                self.condition = (*self.condition, *(~ends).condition)
                self.certain = self.certain and ends.exact
                if self.solver.impossible([self.condition]):
                    return False
        return self.drawn == drawn

    def _steps(self, update: Node | None) -> dict[Cell, int]:
        """The variables that an update moves by a constant."""
        found: dict[Cell, int] = {}
        for node in _commas(update):
            step: int | None = None
            if node.type == "update_expression":
                target, step = child(node, "argument"), 1 if "++" in text(node) else -1
            elif node.type == "assignment_expression" and text(child(node, "operator")) in ("+=", "-="):
                target = child(node, "left")
                value = self.value(child(node, "right"))
                step = value.value if isinstance(value, Number) else None
                if step is not None and text(child(node, "operator")) == "-=":
                    step = -step
            cell = self.scope.find(text(target)) if step is not None and target.type == "identifier" else None
            if cell is not None and step is not None and isinstance(cell.value, Number | Pointer):
                found[cell] = step
        return found

    def _shared(self, start: Node | None, condition: Node | None, update: Node | None) -> tuple[Cell, Share] | None:
        """Is this the loop over a thread's share of the items, one after the other?"""
        names = (
            [declared(d) for d in start.children_by_field_name("declarator")]
            if start is not None and start.type == "declaration"
            else []
        )
        cell = self.scope.find(names[0]) if names else None
        if cell is None or not isinstance(cell.value, Share):
            return None
        begin = cell.value
        ends = (
            self.value(child(condition, "right"))
            if condition is not None and condition.type == "binary_expression"
            else None
        )
        plain = (
            condition is not None
            and text(child(condition, "operator")) == "<"
            and text(child(condition, "left")) == names[0]
        )
        stepped = update is not None and flat(update) in (f"++{names[0]}", f"{names[0]}++")
        if not (plain and stepped and len(names) == 1 and isinstance(ends, Share)) or begin.end or not ends.end:
            raise Unproved(f"line {self.line} goes through a share of items in a way that is not read")
        if begin.split != ends.split:
            raise Unproved(f"line {self.line} mixes two shares")
        return cell, begin

    def _share(self, cell: Cell, share: Share, body: Node) -> None:
        for other in self._cells([body]):
            self.forget(other)
        item = Variable("loop", "item", 0, share.count.high - 1)
        cell.value = Number({item: 1})
        inside = Truth(less(cell.value, share.count))
        with self.under(inside), self.counting(item, split=share.split):
            self.statement(body)

    # ── calls ────────────────────────────────────────────────────────────────────────────────────────────────────

    def call(self, function: Function, arguments: Sequence[Any], cells: Sequence[Cell | None] = ()) -> Any:
        """Read a body in place of its call; ``cells`` are those of arguments that are plain variables."""
        parameters = [p for p in inner(function.parameters) if p.type.endswith("parameter_declaration")]
        if len(parameters) != len(arguments):
            raise Unproved(f"line {self.line} calls {function.name or 'a lambda'} with another number of arguments")
        if self.depth > 20:
            raise Unproved("calls are nested too deeply")
        returned, self.returned = self.returned, None
        turning, self.turning = self.turning, 0
        here = self.line
        self.depth += 1
        with self.scoped(function.scope):
            for position, (parameter, value) in enumerate(zip(parameters, arguments, strict=True)):
                declarator = parameter.child_by_field_name("declarator")
                name = declared(declarator) if declarator is not None else ""
                cell = cells[position] if position < len(cells) else None
                if name and cell is not None and "&" in text(parameter):
                    self.scope.cells[name] = cell
                elif name:
                    self.declare(name, value)
            self.statement(function.body)
        self.depth -= 1
        self.turning = turning
        result, self.returned = self.returned, returned
        self.line = here
        return OPAQUE if result is None else result

    # ── values ───────────────────────────────────────────────────────────────────────────────────────────────────

    def value(self, node: Node) -> Any:
        from ._expressions import evaluate

        return evaluate(self, node)

    def truth(self, value: Any) -> Truth:
        if isinstance(value, Truth):
            return value
        if isinstance(value, Number):
            if value.low >= 0:
                return Truth(at_least(value, 1))
            return Truth(((at_least(value, 1) or ((),))[0] + (less(value, 0) or ((),))[0],))
        return UNKNOWN

    def whole(self, value: Any) -> Number:
        """A value as an integer; one that nothing is known about where it is none."""
        if isinstance(value, Number):
            return value
        if isinstance(value, Share):
            raise Unproved(f"line {self.line} uses where a share of items begins in a way that is not read")
        if isinstance(value, Truth):
            return choose(value.condition, number(1), number(0)) if value.exact else variable("data", "truth", 0, 1)
        return variable("data", "value")

    def narrow(self, value: Any) -> Any:
        """A value as a 32-bit integer, known where it is known to fit."""
        found = self.whole(value)
        if found.low >= -(1 << 31) and found.high < 1 << 31:
            return found
        return variable("data", "narrowed", -(1 << 31), (1 << 31) - 1)


def renamed(condition: Condition, old: Variable, new: Variable) -> Condition:
    """The condition for another variable."""

    def one(n: Number) -> Number:
        factor = n.terms.get(old, 0)
        return n + Number({new: factor}) - Number({old: factor}) if factor else n

    from ._numbers import Fact

    return tuple(tuple(tuple(Fact(one(f.left), f.equal) for f in facts) for facts in clause) for clause in condition)


def _stepped(start: Any, by: Number) -> Any:
    return start.moved(by) if isinstance(start, Pointer) else start + by


def _turns(truth: Truth, turn: Variable) -> Number | None:
    """How often a loop runs whose condition, for turn number ``turn``, is ``truth``: None if that is not known."""
    if not truth.exact:
        return None
    found: Number | None = None
    for clause in truth.condition:
        if len(clause) != 1 or len(clause[0]) != 1 or clause[0][0].equal:
            return None
        left = clause[0][0].left
        step = -left.terms.get(turn, 0)
        if step <= 0:
            return None
        rest = left + Number({turn: step})
        quotient, _ = divide(rest, step)
        turns = maximum(quotient + 1, number(0))
        found = turns if found is None else minimum(found, turns)
    return found


def _way(before: Any, after: Any) -> Number | None:
    """How far a value moved."""
    if isinstance(before, Number) and isinstance(after, Number):
        return after - before
    if isinstance(before, Pointer) and isinstance(after, Pointer) and before.buffer is after.buffer:
        return after.index - before.index if (after.base - before.base).value == 0 else None
    return None


def _breaking(node: Node) -> Node | None:
    """The condition of ``if (...) break;``."""
    if node.type != "if_statement" or node.child_by_field_name("alternative") is not None:
        return None
    then = child(node, "consequence")
    found = inner(then) if then.type == "compound_statement" else [then]
    if len(found) != 1 or found[0].type != "break_statement":
        return None
    return inner(child(node, "condition"))[-1]


def _commas(node: Node | None) -> list[Node]:
    if node is None:
        return []
    if node.type == "comma_expression":
        return [*_commas(child(node, "left")), *_commas(child(node, "right"))]
    return [node]


def _joined(a: Any, b: Any) -> Any:
    if isinstance(a, Number) and isinstance(b, Number):
        return a if (a - b).value == 0 else variable("data", "returned", min(a.low, b.low), max(a.high, b.high))
    return OPAQUE


def _axes(made: Structure) -> Axes | None:
    """A braced value of kw::gemm::Axes with constant sizes and strides."""
    if "Axes" not in made.name or len(made.parts) != 2:
        return None
    parts = [[v.value if isinstance(v, Number) else None for v in part] for part in made.parts]
    if any(v is None for part in parts for v in part):
        return None
    return Axes(*(tuple(v for v in part if v is not None) for part in parts))


__all__ = ["INFINITE", "Opaque", "Reader", "Template", "renamed"]
