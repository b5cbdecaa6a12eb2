"""Recognises two contractions with only row-local work between them: attention, whatever weighs its scores.

``S = f(Q K^T)``, then statements that stay within a row of S (softmax, squared ReLU, a norm), then ``O = g(P V)``.
Where nothing else reads S or P, one kernel can keep a block of their rows in the nearest caches, and they never become
memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ._dataflow import covers, match, place, root, substitute, values_in
from .contraction import is_contraction
from .group import Group, reads
from .program import (
    Axis,
    Expr,
    Index,
    Load,
    Map,
    Op,
    Program,
    Reduce,
    Store,
)
from .sizes import same

LEAST_ROWS = 8  # fewer query rows than this leave most lanes of a vector idle
LARGEST_SIDE = 256  # of the head: the blocks of Q and O must stay in the nearest cache
_COMBINED = ("sum", "max", "min")


@dataclass(frozen=True)
class Attention:
    """One match; every expression is over the axes ``outer``, ``row`` (of Q), ``key``, ``depth`` and ``width`` (of O).

    ``scores`` is S from its raw product (:class:`Acc`); ``stages`` are the statements between the contractions, in
    order; ``panels`` are the tensors with a key axis, ``rows`` those without, ``kept`` the rows that others read too.
    ``result`` is O's contraction over the same axes. ``statements`` are the originals, ``groups`` their positions.
    """

    outer: tuple[Axis, ...]
    row: Axis
    key: Axis
    depth: Axis
    width: Axis
    q: Load
    k: Load
    v: Load
    dtype: str
    scores: Expr
    stages: tuple[Map | Reduce, ...]
    panels: tuple[str, ...]
    rows: tuple[str, ...]
    kept: tuple[str, ...]
    weights: str
    result: Reduce
    statements: tuple[Map | Reduce, ...]
    groups: tuple[int, ...]

    @property
    def first(self) -> str:
        """The tensor of the scores."""
        return self.panels[0]


def find_attention(program: Program, groups: Sequence[Group]) -> list[Attention]:
    """Every match among the groups; no group is in two of them."""
    found: list[Attention] = []
    taken: set[int] = set()
    for start, group in enumerate(groups):
        if start in taken or not _may_start(program, group):
            continue
        attempts = (_Search(program, groups, start).run(side) for side in (1, 0))
        matched = next((m for m in attempts if m is not None and not taken & set(m.groups)), None)
        if matched is not None:
            found.append(matched)
            taken |= set(matched.groups)
    return found


def _may_start(program: Program, group: Group) -> bool:
    first = group.statements[0]
    return (
        len(group.statements) == 1
        and isinstance(first, Reduce)
        and is_contraction(program, first)
        and len(first.raxes) == 1
        and program.tensors[root(program, first.store.tensor)].role == "temp"
        and covers(program, first, first.store.tensor)
        and not first.when
    )


def _loads(statement: Map | Reduce) -> list[Load]:
    exprs = (statement.value, statement.epilogue) if isinstance(statement, Reduce) else (statement.value,)
    return [node for expr in exprs for node in expr.walk() if isinstance(node, Load)]


def _bound(statement: Map | Reduce, bindings: Mapping[str, Index]) -> Map | Reduce:
    """Other axes in the expressions; the lists of axes are no longer used."""
    store = Store(statement.store.tensor, tuple(i.substitute(bindings) for i in statement.store.index))
    value = substitute(statement.value, bindings)
    if isinstance(statement, Map):
        return replace(statement, value=value, store=store)
    return replace(statement, value=value, store=store, epilogue=substitute(statement.epilogue, bindings))


@dataclass
class _Search:
    """One attempt, from the contraction that makes the scores. ``common`` are the axes of all absorbed statements."""

    program: Program
    groups: Sequence[Group]
    start: int
    common: tuple[Axis, ...] = ()
    key: str = ""
    absorbed: list[Map | Reduce] = field(default_factory=list)
    original: list[Map | Reduce] = field(default_factory=list)
    used: list[int] = field(default_factory=list)
    full: dict[str, str] = field(default_factory=dict)  # memory with the key axis -> the tensor that names it
    short: dict[str, str] = field(default_factory=dict)

    def run(self, side: int) -> Attention | None:
        """Try with operand ``side`` of the first contraction as K."""
        first = self.groups[self.start].statements[0]
        assert isinstance(first, Reduce)
        assert isinstance(first.value, Op)
        q, k = first.value.args[1 - side], first.value.args[side]
        keys = [a for a in first.axes if a.name in k.axes() and a.name not in q.axes()]
        memory = root(self.program, first.store.tensor)
        for key in keys:
            self.common, self.key = first.axes, key.name
            self.absorbed, self.original, self.used = [first], [first], [self.start]
            self.full, self.short = {memory: first.store.tensor}, {}
            last = self._walk()
            if last is not None:
                return self._finish(last, side)
        return None

    def _walk(self) -> Reduce | None:
        """Absorb group after group until the contraction that reads the weights."""
        for number in range(self.start + 1, len(self.groups)):
            statements = self.groups[number].statements
            touched = {n for s in statements for n in reads(self.program, s)}
            if not touched & (set(self.full) | set(self.short)):
                continue
            head = statements[0]
            if isinstance(head, Reduce) and len(statements) == 1 and is_contraction(self.program, head):
                end = self._product(head) if touched & set(self.full) else None
                if end is not None:
                    self.used.append(number)
                    self.original.append(head)
                return end if end is not None and self._private(number) else None
            for statement in statements:
                if not isinstance(statement, Map | Reduce) or not self._absorb(statement):
                    return None
                self.original.append(statement)
            self.used.append(number)
        return None

    def _private(self, last: int) -> bool:
        """Nobody else may read a panel, and nobody before the last contraction a row."""
        outputs = {root(self.program, n) for n in self.program.outputs}
        for number, group in enumerate(self.groups):
            touched = {n for s in group.statements for n in reads(self.program, s)}
            if number not in self.used and touched & (set(self.full) | (set(self.short) if number < last else set())):
                return False
        return not outputs & set(self.full)

    # ── one statement ────────────────────────────────────────────────────────────────────────────────────────────────

    def _absorb(self, statement: Map | Reduce) -> bool:
        ours = [n for n in _loads(statement) if root(self.program, n.tensor) in (*self.full, *self.short)]
        target = root(self.program, statement.store.tensor)
        if not ours or target in (*self.full, *self.short) or any(n.fill is not None for n in ours):
            return False
        wide = [n for n in ours if root(self.program, n.tensor) in self.full]
        summed = statement.raxes if isinstance(statement, Reduce) else ()
        if isinstance(statement, Reduce) and (statement.op not in _COMBINED or not wide):
            return False
        bindings = self._line_up((*statement.axes, *summed), (wide or ours)[0], bool(wide))
        if bindings is None:
            return False
        moved = _bound(statement, bindings)
        if isinstance(statement, Reduce):
            over = [bindings.get(a.name, Index.axis(a.name)) for a in summed]
            if over != [Index.axis(self.key)]:
                return False
        long = isinstance(statement, Map) and bool(wide)
        if not self._steady(moved) or not self._writes(moved, statement, target, long):
            return False
        (self.full if long else self.short)[target] = statement.store.tensor
        self.absorbed.append(moved)
        return True

    def _line_up(self, axes: tuple[Axis, ...], load: Load, wide: bool) -> dict[str, Index] | None:
        """Bring the statement's axes and the common ones to common terms; the common ones may become finer."""
        memory = root(self.program, load.tensor)
        writer = next(s for s in self.absorbed if root(self.program, s.store.tensor) == memory)
        mine = tuple(a for a in self.common if wide or a.name != self.key)
        here = place(self.program, writer.store.tensor, writer.store.index)
        found = match(mine, here, axes, place(self.program, load.tensor, load.index))
        if found is None:
            return None
        keys = found.left.get(self.key, Index.axis(self.key))
        if len(keys.terms) != 1 or keys != Index.axis(str(keys.terms[0][0])):
            return None
        key = Axis(self.key, next(a.size for a in self.common if a.name == self.key))
        self.common = found.axes if wide else (*found.axes, key)
        self.key = str(keys.terms[0][0])
        self.absorbed = [_bound(s, found.left) for s in self.absorbed]
        return found.right

    def _steady(self, statement: Map | Reduce) -> bool:
        """Whether every load of a panel or row reads this row (and this key) alone."""
        for load in _loads(statement):
            memory = root(self.program, load.tensor)
            if memory not in self.full and memory not in self.short:
                continue
            writer = next(s for s in self.absorbed if root(self.program, s.store.tensor) == memory)
            here, there = (
                place(self.program, writer.store.tensor, writer.store.index),
                place(self.program, load.tensor, load.index),
            )
            difference = there - here
            if not all(same(c, 0) for _, c in difference.terms) or not same(difference.offset, 0):
                return False
        return True

    def _writes(self, moved: Map | Reduce, before: Map | Reduce, target: str, long: bool) -> bool:
        """Whether the statement fills a tensor of its own with one element per point; panels are never handed out."""
        tensor = self.program.tensors[target]
        if tensor.role not in (("temp",) if long else ("temp", "output")) or tensor.dtype not in (
            "float32",
            "float64",
            "bfloat16",
            "float16",
        ):
            return False
        if self.key in {n for i in moved.store.index for n in i.axes()} and not long:
            return False
        return covers(self.program, before, target)

    def _product(self, last: Reduce) -> Reduce | None:
        """The closing contraction over the common axes."""
        assert isinstance(last.value, Op)
        sides = [n for n in last.value.args if isinstance(n, Load) and root(self.program, n.tensor) in self.full]
        if len(sides) != 1 or len(last.raxes) != 1:
            return None
        used = sides[0].axes()
        axes = tuple(a for a in (*last.axes, *last.raxes) if a.name in used)
        bindings = self._line_up(axes, sides[0], True)
        if bindings is None or bindings.get(last.raxes[0].name, Index.axis(last.raxes[0].name)) != Index.axis(self.key):
            return None
        if len([a for a in last.axes if a.name not in used]) != 1:
            return None
        moved = _bound(last, bindings)
        assert isinstance(moved, Reduce)
        if not self._steady(moved) or any(self._is_panel(n) for n in moved.epilogue.walk()):
            return None
        width = next(a for a in last.axes if a.name not in used)
        return replace(moved, axes=(*(a for a in self.common if a.name != self.key), width))

    def _is_panel(self, node: Expr) -> bool:
        return isinstance(node, Load) and root(self.program, node.tensor) in self.full

    # ── the whole ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _finish(self, last: Reduce, side: int) -> Attention | None:
        first = self.absorbed[0]
        assert isinstance(first, Reduce)
        assert isinstance(first.value, Op)
        assert isinstance(last.value, Op)
        q, k = first.value.args[1 - side], first.value.args[side]
        v = next(n for n in last.value.args if not self._is_panel(n))
        p = next(n for n in last.value.args if self._is_panel(n))
        assert isinstance(q, Load)
        assert isinstance(k, Load)
        assert isinstance(v, Load)
        assert isinstance(p, Load)
        row = self._row(q, k, v)
        depth, width = first.raxes[0], last.axes[-1]
        key = next(a for a in self.common if a.name == self.key)
        dtype = first.value.dtype
        if row is None or last.value.dtype != dtype or not _fits(depth) or not _fits(width):
            return None
        if not self._regular(q, (row, depth)) or not self._regular(k, (key, depth)):
            return None
        if not self._regular(v, (key, width)) or key.name in q.axes() or not self._worth(row, k):
            return None
        if any(computed(self.program.tensors[n].dtype) != dtype for n in self.full.values()):
            return None
        if any(_hidden(i, row.name) for s in self.absorbed for n in _loads(s)[2 * (s is first) :] for i in n.index):
            return None
        later = {n for i, g in enumerate(self.groups) if i not in self.used for s in g.statements
                 for n in reads(self.program, s)}  # fmt: skip
        later |= {root(self.program, n) for n in self.program.outputs}
        return Attention(
            outer=tuple(a for a in self.common if a.name not in (row.name, key.name)),
            row=row, key=key, depth=depth, width=width, q=q, k=k, v=v, dtype=dtype, scores=first.epilogue,
            stages=tuple(self.absorbed[1:]), panels=tuple(self.full.values()), rows=tuple(self.short.values()),
            kept=tuple(name for memory, name in self.short.items() if memory in later),
            weights=self.full[root(self.program, p.tensor)], result=last, statements=tuple(self.original),
            groups=tuple(self.used),
        )  # fmt: skip

    def _worth(self, row: Axis, k: Load) -> bool:
        """Products by weights that are the same for everything are better off as two large products."""
        outer = {a.name for a in self.common} - {row.name, self.key}
        return not outer or bool(outer & k.axes())

    def _row(self, q: Load, k: Load, v: Load) -> Axis | None:
        """The lanes: the longest axis that neither K nor V knows."""
        free = [a for a in self.common if a.name != self.key and a.name not in k.axes() | v.axes()]
        free = [a for a in free if a.name in q.axes() and (not isinstance(a.size, int) or a.size >= LEAST_ROWS)]
        return max(free, key=lambda a: a.size if isinstance(a.size, int) else 1 << 20, default=None)

    def _regular(self, load: Load, axes: tuple[Axis, ...]) -> bool:
        """Whether a load walks memory by a stride along each of the axes."""
        gathered = any([*values_in(index)] for index in load.index)
        return load.fill is None and not gathered and not any(_hidden(i, a.name) for a in axes for i in load.index)


def computed(dtype: str) -> str:
    """The dtype that values of a storage dtype have in flight."""
    return "float64" if dtype == "float64" else "float32"


def _hidden(index: Index, axis: str) -> bool:
    """Whether an axis occurs inside a non-affine term."""
    rest = Index(tuple((t, c) for t, c in index.terms if not isinstance(t, str)), 0)
    return axis in rest.axes()


def _fits(axis: Axis) -> bool:
    return isinstance(axis.size, int) and axis.size <= LARGEST_SIDE


__all__ = ["Attention", "computed", "find_attention"]
