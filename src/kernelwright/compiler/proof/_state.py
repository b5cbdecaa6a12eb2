"""What holds where a kernel is being read: conditions, counters, parallel items, and the accesses so far."""

from __future__ import annotations

from collections.abc import Iterator
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
    less,
    negation,
    number,
    variable,
)
from ._solver import Solver
from ._syntax import assigned, declared, functions, walk
from ._values import (
    LANE,
    OPAQUE,
    UNKNOWN,
    Access,
    Cell,
    Function,
    Pointer,
    Scope,
    Share,
    Truth,
    Unproved,
)

if TYPE_CHECKING:
    from tree_sitter import Node

MOST_ACCESSES = 4000  # of one kernel
JUMP = "jump"


class State:
    """What holds where a kernel is being read, and what it accessed so far."""

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
                raise Unproved(f"line {self.line} lets threads change {name}, which they share")

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

    def forget(self, cell: Cell) -> None:
        """Nothing is known of a variable any more."""
        value = cell.value
        if isinstance(value, Number):
            cell.value = variable("data", "changed")
        elif isinstance(value, Pointer):
            cell.value = Pointer(value.buffer, value.base, value.width, variable("data", "changed"), value.whole)
        elif isinstance(value, Truth):
            cell.value = UNKNOWN

    # ── values ───────────────────────────────────────────────────────────────────────────────────────────────────

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
