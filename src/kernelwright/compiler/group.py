"""Which statements become one kernel: those that share outer axes, so that what passes between them stays in the row.

A group runs its statements one after the other for each point of its outer axes. A softmax is one group (maximum, sum,
quotient per row), and so are normalisations, chains of maps, and losses over rows. Tensors that only the group uses
become scratch of one row and never reach memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from .cpp._indices import flatten, static
from .program import (
    Axis,
    Extern,
    Index,
    Map,
    Program,
    Recur,
    Reduce,
    Scan,
    Statement,
    Store,
    condition,
)

SMALL = 1 << 15  # elements: below this one serial kernel beats several, however little parallelism is left
FEW_ROWS = 4  # fewer rows than this are not worth giving up parallelism inside the row
MANY_ROWS = 64  # rows enough for all threads: each keeps to its own, and what passes on inside a row to a near cache

Access = tuple[str, tuple[Index, ...]]


@dataclass(frozen=True)
class Group:
    """Statements of one kernel, in order, with shared axes renamed alike.

    ``outer`` are the axes that every statement has and that carry every dependence between them unchanged; ``local``
    names the temporaries that nothing outside the group reads.
    """

    statements: tuple[Statement, ...]
    outer: tuple[Axis, ...] = ()
    local: tuple[str, ...] = ()


@dataclass
class _Open:
    """A group that may still grow."""

    statements: list[Statement]
    outer: tuple[Axis, ...]
    closed: bool = False
    written: set[str] = field(default_factory=set)
    read: set[str] = field(default_factory=set)


def group(program: Program, is_contraction: Callable[[Statement], bool] = lambda _: False) -> list[Group]:
    """Partition the statements into kernels, in an order that respects every dependence.

    Contractions, ATen calls and what happens only on a condition stay alone. Each other statement joins the latest
    group it can. So does a product with a vector, if what it reads is walked by others anyway.
    """
    open_groups: list[_Open] = []
    for statement in program.statements:
        alone = isinstance(statement, Extern | Recur) or bool(condition(statement))
        alone = alone or (is_contraction(statement) and not _rides_along(program, statement))
        if alone or not _join(program, open_groups, statement):
            opened = _Open([statement], _axes(statement), closed=alone)
            _note(program, opened, statement)
            open_groups.append(opened)
    return _finish(program, open_groups)


def root(program: Program, name: str) -> str:
    """The tensor whose memory a tensor shares."""
    alias = program.tensors[name].alias
    return name if alias is None else root(program, alias)


def reads(program: Program, statement: Statement) -> set[str]:
    """Names of the memory a statement reads."""
    if isinstance(statement, Extern):
        return {root(program, n) for n in _names([*statement.args, *(v for _, v in statement.kwargs)])}
    names = {root(program, load.tensor) for load in program.loads(statement)}
    return names | {condition(statement)} if condition(statement) else names


def writes(program: Program, statement: Statement) -> set[str]:
    """Names of the memory a statement writes."""
    if isinstance(statement, Extern):
        return {root(program, n) for n in statement.outputs if n in program.tensors}
    if isinstance(statement, Recur):
        return {root(program, part.store.tensor) for part in statement.body}
    return {root(program, statement.store.tensor)}


def inner_axes(statement: Statement) -> tuple[Axis, ...]:
    """The axes a statement loops over besides those that place its result."""
    if isinstance(statement, Reduce):
        return statement.raxes
    return (statement.scan,) if isinstance(statement, Scan) else ()


def all_axes(statement: Statement) -> tuple[Axis, ...]:
    """Every axis of a statement."""
    return (*_axes(statement), *inner_axes(statement))


def rename(statement: Statement, names: Mapping[str, str]) -> Statement:
    """The statement with axes renamed."""
    if isinstance(statement, Extern | Recur) or not names:
        return statement
    bindings = {old: Index.axis(new) for old, new in names.items()}

    def axes(found: tuple[Axis, ...]) -> tuple[Axis, ...]:
        return tuple(replace(a, name=names.get(a.name, a.name)) for a in found)

    store = Store(statement.store.tensor, tuple(i.substitute(bindings) for i in statement.store.index))
    value = statement.value.substitute(bindings)
    if isinstance(statement, Map):
        return replace(statement, axes=axes(statement.axes), value=value, store=store)
    if isinstance(statement, Scan):
        (scan,) = axes((statement.scan,))
        return replace(statement, axes=axes(statement.axes), scan=scan, value=value, store=store)
    epilogue = statement.epilogue.substitute(bindings)
    return replace(
        statement,
        axes=axes(statement.axes),
        raxes=axes(statement.raxes),
        value=value,
        store=store,
        epilogue=epilogue,
    )


def _rides_along(program: Program, statement: Statement) -> bool:
    """Is a product with a vector a pass over what an ordinary statement passes over as well?"""
    if not isinstance(statement, Reduce):
        return False
    every = {a.name for a in all_axes(statement) if a.size != 1}
    large = [load for load in program.loads(statement) if load.axes() >= every]
    small = [load for load in program.loads(statement) if not load.axes() & {a.name for a in statement.axes}]
    if len(large) != 1 or len(small) != 1:
        return False
    memory = root(program, large[0].tensor)
    return any(
        not isinstance(other, Extern | Recur)
        and other is not statement
        and _points(all_axes(other)) == _points(all_axes(statement))
        and memory in reads(program, other)
        for other in program.statements
    )


# ── joining ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _join(program: Program, groups: list[_Open], statement: Statement) -> bool:
    """Add the statement to the latest group that takes it, walking back only past groups it is independent of."""
    for found in reversed(groups):
        if not found.closed and _try(program, found, statement):
            return True
        if _depends(program, found, statement):
            return False
    return False


def _depends(program: Program, found: _Open, statement: Statement) -> bool:
    r, w = reads(program, statement), writes(program, statement)
    return bool(r & found.written or w & found.written or w & found.read)


def _try(program: Program, found: _Open, statement: Statement) -> bool:
    if writes(program, statement) & found.read:
        return False
    feeds = bool(reads(program, statement) & found.written)
    pairs = _required_pairs(program, found, statement) if feeds else _shared_pairs(program, found, statement)
    if pairs is None:
        return False
    outer = tuple(a for a in found.outer if a.name in pairs)
    if not _worth(found, statement, outer, feeds):
        return False
    names = {pairs[a.name]: a.name for a in outer}
    renamed = _align_inner(program, found, statement, names)
    found.statements.append(renamed)
    found.outer = outer
    _note(program, found, renamed)
    return True


def _note(program: Program, found: _Open, statement: Statement) -> None:
    found.read |= reads(program, statement)
    found.written |= writes(program, statement)


def _worth(found: _Open, statement: Statement, outer: tuple[Axis, ...], feeds: bool) -> bool:
    """Is one kernel over these outer axes better than two?"""
    work = max(_points(all_axes(s)) for s in (*found.statements, statement))
    if work <= SMALL:
        return feeds or bool(outer)
    if not outer:
        return feeds and _same_points(found, statement) and _points(found.outer) < MANY_ROWS
    if not feeds:
        return {a.name for a in outer} == {a.name for a in found.outer} and len(outer) == len(_axes(statement))
    whole = all(len(outer) == len(_axes(s)) and not inner_axes(s) for s in (*found.statements, statement))
    return whole or _points(outer) >= FEW_ROWS or _same_points(found, statement)


def _same_points(found: _Open, statement: Statement) -> bool:
    """Do all statements walk the same points? Then threads can share the few rows there are, nest by nest."""
    statements = (*found.statements, statement)
    if not all(isinstance(s, Map | Reduce) and all(static(a.size) for a in all_axes(s)) for s in statements):
        return False
    return len({_points(all_axes(s)) for s in statements}) == 1


def _axes(statement: Statement) -> tuple[Axis, ...]:
    return () if isinstance(statement, Extern | Recur) else statement.axes


def _points(axes: tuple[Axis, ...]) -> int:
    """Points of an index space; a symbolic size counts as large."""
    total = 1
    for axis in axes:
        size = static(axis.size)
        total *= 1 << 12 if size is None else size
    return total


def _accesses(program: Program, statement: Statement) -> list[Access]:
    return [(load.tensor, load.index) for load in program.loads(statement)]


def _required_pairs(program: Program, found: _Open, statement: Statement) -> dict[str, str] | None:
    """Group axis -> statement axis, as every dependence through memory demands."""
    result: dict[str, str] | None = None
    for earlier in found.statements:
        assert not isinstance(earlier, Extern | Recur)
        for tensor, index in _accesses(program, statement):
            if root(program, tensor) not in writes(program, earlier):
                continue
            sizes = _sizes(earlier, statement)
            pairs = _pairs(program, (earlier.store.tensor, earlier.store.index), (tensor, index), sizes)
            result = pairs if result is None else {a: b for a, b in result.items() if pairs.get(a) == b}
    return _usable(result or {}, found, statement)


def _shared_pairs(program: Program, found: _Open, statement: Statement) -> dict[str, str] | None:
    """Pairs that make two independent statements read the same memory at the same time."""
    first = found.statements[0]
    for earlier in _accesses(program, first):
        for access in _accesses(program, statement):
            if root(program, earlier[0]) != root(program, access[0]):
                continue
            pairs = _pairs(program, earlier, access, _sizes(first, statement))
            inner_first, inner = inner_axes(first), inner_axes(statement)
            if len(inner_first) == len(inner) and all(
                pairs.get(a.name) == b.name for a, b in zip(inner_first, inner, strict=True)
            ):
                return _usable(pairs, found, statement)
    return None


def _usable(pairs: dict[str, str], found: _Open, statement: Statement) -> dict[str, str]:
    """Keep pairs of an outer axis of the group with a placing axis of the statement, one to one."""
    outer, own = {a.name for a in found.outer}, {a.name for a in _axes(statement)}
    kept: dict[str, str] = {}
    for a, b in pairs.items():
        if a in outer and b in own and b not in kept.values():
            kept[a] = b
    return kept


def _sizes(*statements: Statement) -> dict[str, object]:
    return {a.name: a.size for s in statements for a in all_axes(s)}


def _pairs(program: Program, first: Access, second: Access, sizes: Mapping[str, object]) -> dict[str, str]:
    """Axes at which two accesses to the same memory run in step: equal points touch equal memory, others do not."""
    if first[0] == second[0]:
        return {
            a: b
            for i, j in zip(first[1], second[1], strict=True)
            if (a := _pure(i)) and (b := _pure(j)) and a in sizes and sizes[a] == sizes.get(b)
        }
    return _flat_pairs(program, first, second, sizes)


def _pure(index: Index) -> str | None:
    """The axis an index is, if it is nothing else."""
    if index.offset == 0 and len(index.terms) == 1:
        term, coefficient = index.terms[0]
        if isinstance(term, str) and coefficient == 1:
            return term
    return None


def _flat_pairs(program: Program, first: Access, second: Access, sizes: Mapping[str, object]) -> dict[str, str]:
    """The same through different shapes of one memory: leading axes with equal strides, above all that is left."""
    flats = [flatten(program.tensors[name], index) for name, index in (first, second)]
    if not all(f.is_affine and static(f.offset) is not None for f in flats):
        return {}
    terms = [sorted(((static(c), str(t)) for t, c in f.terms if static(c) is not None), reverse=True) for f in flats]
    if any(len(t) != len(f.terms) for t, f in zip(terms, flats, strict=True)):
        return {}
    pairs: dict[str, str] = {}
    for depth, ((c, a), (d, b)) in enumerate(zip(*terms, strict=False)):
        if c != d or a not in sizes or sizes[a] != sizes.get(b) or c is None or c <= 0:
            break
        spans = [_span(t[depth + 1 :], f, sizes) for t, f in zip(terms, flats, strict=True)]
        if any(s is None or s[0] < 0 or s[1] >= c for s in spans):
            continue
        pairs = {t[1]: u[1] for t, u in zip(terms[0][: depth + 1], terms[1][: depth + 1], strict=True)}
    return pairs


def _span(terms: list[tuple[int | None, str]], flat: Index, sizes: Mapping[str, object]) -> tuple[int, int] | None:
    """Bounds of what the remaining terms and the offset add up to."""
    low = high = static(flat.offset)
    for coefficient, axis in terms:
        size = static(sizes[axis]) if axis in sizes else None  # the step of a loop around has no size here
        if size is None or coefficient is None or low is None or high is None:
            return None
        end = coefficient * (size - 1)
        low, high = low + min(0, end), high + max(0, end)
    return None if low is None or high is None else (low, high)


def _align_inner(program: Program, found: _Open, statement: Statement, names: dict[str, str]) -> Statement:
    """Rename the inner axes too where they walk memory in step with an earlier statement, so that loops can fuse."""
    outer = set(names.values())
    for earlier in reversed(found.statements):
        assert not isinstance(earlier, Extern | Recur)
        taken = set(names.values())
        sizes = _sizes(earlier, statement)
        before = [(earlier.store.tensor, earlier.store.index), *_accesses(program, earlier)]
        for first in before:
            for second in _accesses(program, statement):
                if root(program, first[0]) != root(program, second[0]):
                    continue
                for a, b in _pairs(program, first, second, sizes).items():
                    free = b not in names and a not in taken and a not in outer
                    if free and b in {x.name for x in all_axes(statement)}:
                        names[b] = a
                        taken.add(a)
    return rename(statement, {old: new for old, new in names.items() if old != new})


# ── finishing ────────────────────────────────────────────────────────────────────────────────────────────────────


def _finish(program: Program, groups: list[_Open]) -> list[Group]:
    readers: dict[str, set[int]] = {}
    for number, found in enumerate(groups):
        for name in found.read:
            readers.setdefault(name, set()).add(number)
    kept = {root(program, n) for n in program.outputs}
    result = []
    for number, found in enumerate(groups):
        names = {
            n
            for n in found.written
            if program.tensors[n].role == "temp" and n not in kept and readers.get(n, {number}) == {number}
        }
        local = () if found.closed else tuple(n for n in program.tensors if n in names)
        result.append(Group(tuple(found.statements), found.outer, local))
    return result


def _names(value: object) -> list[str]:
    if isinstance(value, dict):
        return [str(value["tensor"])] if "tensor" in value else []
    if isinstance(value, list | tuple):
        return [name for item in value for name in _names(item)]
    return []


__all__ = ["Group", "all_axes", "group", "inner_axes", "reads", "rename", "root", "writes"]
