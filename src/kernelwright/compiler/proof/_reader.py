"""Reads the statements of a kernel: what it accesses, for which iterations and under which conditions.

A loop becomes a counter with the range in which its condition holds, a call of a lambda or function becomes its body,
and a parallel region becomes items that are told apart. What changes from iteration to iteration in a way that is no
multiple of the counter becomes a value that nothing is known about. What is not understood raises ``Unproved``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ._numbers import (
    INFINITE,
    Number,
    Variable,
    decided,
    equal,
    less,
    number,
    variable,
)
from ._state import JUMP, State
from ._syntax import WHOLE, WIDTHS, assigned, child, declared, flat, inner, line, text, walk
from ._turns import breaking, commas, count_turns, stepped, way
from ._values import (
    OPAQUE,
    UNKNOWN,
    Axes,
    Buffer,
    Cell,
    Function,
    Pointer,
    Share,
    Structure,
    Truth,
    Unproved,
)

if TYPE_CHECKING:
    from tree_sitter import Node

MOST_TURNS = 20  # of a loop that only a break ends


class Reader(State):
    """Reads statements."""

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
                cell.value = stepped(starts[cell], Number({turn: known[cell]}))
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
                cell.value = stepped(starts[cell], turns * step)

    def _condition(self, condition: Node, steps: dict[Cell, int], turn: Variable) -> tuple[Truth, Number | None]:
        """When turn number ``turn`` happens, and how many turns there are, if that is known; moves the counters."""
        for cell, step in steps.items():
            cell.value = stepped(cell.value, Number({turn: step}))
        truth = self.truth(self.value(condition))
        turns = number(0) if decided(truth.condition) is False else count_turns(truth, turn)
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
            cell.value = stepped(before[cell], number(step))
        again = self.truth(self.value(condition))  # whether there is one more turn
        for cell, value in before.items():
            cell.value = value
        found = {}
        for cell in others:
            moved = way(marks[cell], after[cell])
            for step in (moved.low, moved.high) if moved is not None else ():
                with self.under(truth), self.under(again):
                    if moved is not None and abs(step) < INFINITE and self.holds(equal(moved, step)):
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
                ending = breaking(part)
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
        for node in commas(update):
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

    # ── values ─────

    def value(self, node: Node) -> Any:
        from ._expressions import evaluate

        return evaluate(self, node)


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


__all__ = ["Reader"]
