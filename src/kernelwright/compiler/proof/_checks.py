"""What is proved of accesses: they stay inside their buffers, threads do not meet, outputs are covered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations_with_replacement, pairwise

from ._numbers import (
    Condition,
    Fact,
    Number,
    Variable,
    divide,
    either,
    equal,
    less,
    number,
    variables,
)
from ._solver import Solver, Unanswered, box, image, relation
from ._values import Access, Buffer, Pointer, Unproved

Place = tuple[Buffer, str, int]  # a buffer, where in it a pointer was made, and of which width


def place(pointer: Pointer) -> Place:
    return pointer.buffer, str(pointer.base), pointer.width


# ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────────


def check_inside(solver: Solver, accesses: Iterable[Access]) -> None:
    """No access leaves its buffer."""
    seen = set()
    for access in accesses:
        pointer = access.pointer
        buffer = pointer.buffer
        if buffer.size is None:
            raise Unproved(f"the size of {buffer.name} is not known")
        key = (id(buffer), str(pointer.base), _text(pointer.index), access.condition)
        if key in seen:
            continue
        seen.add(key)
        if pointer.width == buffer.width and pointer.base.value == 0:
            first, last, size = pointer.index, pointer.index + 1, buffer.size
        else:
            first = pointer.base + pointer.index * pointer.width
            last, size = first + pointer.width, buffer.size * buffer.width
        if first.low >= 0 and (size - last).low >= 0:
            continue
        outside: Condition = either(less(first, 0), less(size, last))
        if not solver.impossible([access.condition, outside]):
            kind = "writes" if access.write else "reads"
            read = [v for v in variables([first], [access.condition]) if v.kind == "data"]
            why = f" (it depends on {read[0].name} that is only known at run time)" if read else ""
            raise Unproved(f"line {access.line} {kind} {buffer.name} where it may not be inside{why}")


def _text(n: Number) -> tuple[object, ...]:
    return (frozenset((v.number, c) for v, c in n.terms.items()), n.constant)


# ── places ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Places:
    """Offsets into a buffer as coordinates, where every access stays inside its dimensions.

    Two offsets are then equal just if their coordinates are: several small equations instead of a large one.
    """

    def __init__(self, solver: Solver, accesses: Iterable[Access]) -> None:
        self._solver = solver
        self._steps: dict[Place, list[int]] = {}
        for access in accesses:
            where = place(access.pointer)
            steps = self._steps.get(where)
            if steps is None:
                steps = _steps(access.pointer)
            self._steps[where] = [s for s in steps if self._fits(access, s)]

    def __call__(self, access: Access) -> tuple[Number, ...]:
        found, rest = [], access.pointer.index
        for step in self._steps[place(access.pointer)]:
            whole, rest = _cut(rest, step)
            found.append(whole)
        return (*found, rest)

    def shape(self, buffer: Buffer) -> tuple[Number, ...]:
        """How far the coordinates of an output reach."""
        assert buffer.size is not None
        steps = self._steps.get((buffer, "0", buffer.width), [])
        found, size = [], buffer.size
        for step in steps:
            found.append(divide(size + (step - 1), step)[0])
            size = number(step)
        return (*found, size)

    def _fits(self, access: Access, step: int) -> bool:
        _, rest = _cut(access.pointer.index, step)
        if rest.low >= 0 and rest.high < step:
            return True
        if not rest.terms:
            return False
        outside = either(less(rest, 0), less(number(step - 1), rest))
        return self._solver.impossible([access.condition, outside])


def _steps(pointer: Pointer) -> list[int]:
    """Strides that may cut an offset, greatest first: each divides the one before."""
    found: list[int] = []
    total = pointer.buffer.size.value if pointer.buffer.size is not None else None
    for stride in sorted({s.value or 0 for s in pointer.buffer.strides}, reverse=True):
        if stride > 1 and not any(last % stride for last in found) and total is not None and total % stride == 0:
            found.append(stride)
    return found


def _cut(index: Number, step: int) -> tuple[Number, Number]:
    whole = Number({v: c // step for v, c in index.terms.items() if c % step == 0}, index.constant // step)
    return whole, Number({v: c for v, c in index.terms.items() if c % step}, index.constant % step)


def _meeting(places: Places, one: Access, other: Access) -> Condition:
    """Two accesses are of the same element."""
    result: Condition = ()
    for a, b in zip(places(one), places(other), strict=True):
        result = (*result, *equal(a, b))
    return result


# ── threads ──────────────────────────────────────────────────────────────────────────────────────────────────────


def check_races(solver: Solver, accesses: Sequence[Access]) -> None:
    """No place is written by one parallel item and touched by another."""
    phases: dict[int, list[Access]] = {}
    for access in accesses:
        private = access.pointer.buffer.role == "own" and access.pointer.buffer.phase is not None
        if access.phase is not None and not private:
            phases.setdefault(access.phase, []).append(access)
    for found in phases.values():
        written = {a.pointer.buffer for a in found if a.write}
        shared = _distinct(a for a in found if a.pointer.buffer in written)
        places = Places(solver, shared)
        for one, other in combinations_with_replacement(shared, 2):
            if (one.write or other.write) and one.pointer.buffer is other.pointer.buffer:
                _check_pair(solver, places, one, other)


def _distinct(accesses: Iterable[Access]) -> list[Access]:
    found = {(a.pointer.buffer, str(a.pointer.base), _text(a.pointer.index), a.condition, a.write): a for a in accesses}
    return list(found.values())


def _check_pair(solver: Solver, places: Places, one: Access, other: Access) -> None:
    if place(one.pointer) != place(other.pointer):
        return  # different temporaries: check_apart sees to them
    copy = _copied(other)
    apart = _apart(one, copy)
    meeting = _meeting(places, one, copy)
    if not solver.impossible([one.condition, copy.condition, apart, meeting]):
        kind = "write" if one.write and other.write else "touch"
        lines = f"line {one.line}" if one.line == other.line else f"lines {one.line} and {other.line}"
        raise Unproved(f"two threads may {kind} the same element of {one.pointer.buffer.name} ({lines})")


def _apart(one: Access, other: Access) -> Condition:
    """The two are different parallel items, as far as they come from the same splits."""
    mine, others = dict(one.items), dict(other.items)
    result: Condition = ()
    for split in mine.keys() & others.keys():
        differ: Condition = ((),)
        for a, b in zip(mine[split], others[split], strict=True):
            x, y = Number({a: 1}), Number({b: 1})
            differ = either(differ, ((((Fact(x - y - 1)),), ((Fact(y - x - 1)),)),))
        result = (*result, *differ)
    return result


def _copied(access: Access) -> Access:
    """The same access at another moment: counters and what depends on them are other variables."""
    every = variables([access.pointer.index, *(Number({v: 1}) for v in access.loops)], [access.condition])
    fresh: dict[Variable, Variable] = {}
    for v in every:
        if v.kind != "size":
            fresh[v] = Variable(v.kind, v.name, v.low, v.high)
    for v, copy in fresh.items():
        copy.definition = _with(v.definition, fresh)
    pointer = access.pointer
    moved = Pointer(pointer.buffer, pointer.base, pointer.width, _number_with(pointer.index, fresh), pointer.whole)
    items = tuple((split, tuple(fresh.get(v, v) for v in found)) for split, found in access.items)
    return Access(
        moved, access.write, _with(access.condition, fresh), access.certain,
        tuple(fresh.get(v, v) for v in access.loops), items, access.phase, access.kernel, access.line,
    )  # fmt: skip


def _number_with(n: Number, fresh: dict[Variable, Variable]) -> Number:
    return Number({fresh.get(v, v): c for v, c in n.terms.items()}, n.constant)


def _with(condition: Condition, fresh: dict[Variable, Variable]) -> Condition:
    return tuple(
        tuple(tuple(Fact(_number_with(f.left, fresh), f.equal) for f in facts) for facts in clause)
        for clause in condition
    )


def check_apart(solver: Solver, accesses: Sequence[Access]) -> None:
    """Temporaries of one kernel that share the workspace do not overlap."""
    groups: dict[Place, list[Access]] = {}
    for access in accesses:
        if access.pointer.buffer.role == "scratch":
            groups.setdefault(place(access.pointer), []).append(access)
    spans = []
    for found in groups.values():
        pointer = found[0].pointer
        low = min(_lowest(solver, a, -1) for a in found)
        high = max(_lowest(solver, a, 1) for a in found)
        base = pointer.base.value
        if base is None:
            raise Unproved("a temporary lies at a place that is not constant")
        spans.append((base + low * pointer.width, base + (high + 1) * pointer.width, any(a.write for a in found)))
    spans.sort()
    for (_, end, one), (start, _, other) in pairwise(spans):
        if start < end and (one or other):
            raise Unproved(f"two temporaries may overlap at byte {start} of the workspace")


def _lowest(solver: Solver, access: Access, sign: int) -> int:
    """The least index of an access, or the greatest."""
    index = access.pointer.index
    bound = index.high if sign > 0 else index.low
    if abs(bound) < 1 << 40:
        exact = solver.extreme(index, access.condition, sign)
        return bound if exact is None else exact
    exact = solver.extreme(index, access.condition, sign)
    if exact is None:
        raise Unproved("how far a temporary reaches is not known")
    return exact


# ── coverage ─────────────────────────────────────────────────────────────────────────────────────────────────────


def check_covered(solver: Solver, buffer: Buffer, accesses: Sequence[Access]) -> None:
    """Every element of an output is written whatever the data."""
    written = _distinct(a for a in accesses if a.write and a.pointer.buffer is buffer and _sure(a))
    assert buffer.size is not None
    if buffer.size.high <= 0:
        return
    places = Places(solver, written)
    shape = places.shape(buffer)
    sizes = {v for v in variables([buffer.size], []) if v.kind == "size"}
    sizes |= {v for a in written for v in variables([a.pointer.index], [a.condition]) if v.kind == "size"}
    addresses = {v for a in written for v in _addresses(a)}
    aligned = tuple(clause for v in addresses for clause in equal(Number({v: 1}), 0))
    texts = [image(places(a), (*a.condition, *aligned), sizes) for a in written]
    if not texts or not solver.covers([box(shape, sizes)], texts):
        raise Unproved(f"some element of {buffer.name} may not be written")
    for address in addresses:
        _check_address(solver, places, address, [a for a in written if address in _addresses(a)], sizes)


def _addresses(access: Access) -> list[Variable]:
    return [v for v in variables([access.pointer.index], [access.condition]) if v.kind == "address"]


def _check_address(
    solver: Solver, places: Places, address: Variable, accesses: Sequence[Access], sizes: set[Variable]
) -> None:
    """Wherever memory lies, the same elements are written in each iteration as if it were aligned."""
    if any(len(_addresses(a)) > 1 for a in accesses):
        raise Unproved("what is written depends on several addresses")
    outer = [Number({v: 1}) for v in address.within]
    at, anywhere = Number({address: 1}), Number({Variable("loop", "anywhere", address.low, address.high): 1})
    aligned = [image((*outer, anywhere, *places(a)), (*a.condition, *equal(at, 0)), sizes) for a in accesses]
    found = [image((*outer, at, *places(a)), a.condition, sizes) for a in accesses]
    if not solver.covers(aligned, found):
        raise Unproved(f"what is written of {accesses[0].pointer.buffer.name} may depend on its address")


def _sure(access: Access) -> bool:
    """Does the access happen, and where is known, whatever the data?"""
    if not access.certain:
        return False
    return all(v.kind != "data" for v in variables([access.pointer.index], [access.condition]))


def rewritten(solver: Solver, buffer: Buffer, accesses: Sequence[Access]) -> bool:
    """May an element be written more than once (by one thread, one after the other)?"""
    written = _distinct(a for a in accesses if a.write and a.pointer.buffer is buffer)
    try:
        places = Places(solver, written)
        for one, other in combinations_with_replacement(written, 2):
            if one is other:
                again = not solver.injective(relation(_counters(one), places(one), one.condition))
            else:
                copy = _copied(other)
                again = not solver.impossible([one.condition, copy.condition, _meeting(places, one, copy)])
            if again:
                return True
    except Unanswered:
        return True
    return False


def _counters(access: Access) -> tuple[Variable, ...]:
    """What tells one execution of an access from another: a thread is no news where its item is known."""
    shared = any(split != "thread" for split, _ in access.items)
    threads = {v for split, found in access.items if split == "thread" and shared for v in found}
    return tuple(v for v in access.loops if v not in threads)


__all__ = ["check_apart", "check_covered", "check_inside", "check_races", "rewritten"]
