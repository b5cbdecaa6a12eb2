"""Recognises the phases of a transposed convolution, which together fill one tensor.

A stride of s writes every s-th result from its own taps: lowering makes one contraction for each residue in each
dimension. They read the same input and the same weights, so one kernel can keep the input in the nearest caches for all
of them, and write neighbouring results of different residues side by side.

Lanes of all residues are counted alike: result ``p`` belongs to lane ``x`` and slot ``j`` where
``p = x * step + begin + j``, and its taps read the input at ``x - back``.

A convolution is the case of one phase. Where its window moves by a stride, result ``x`` reads ``x * stride - back``:
the input is then laid out by the residue of its coordinates, and neighbouring lanes read neighbours there too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .contraction import is_contraction
from .cpp._indices import static
from .group import Group
from .program import Axis, Expr, Index, Iota, Load, Op, Program, Reduce, Store


@dataclass(frozen=True)
class Residue:
    """Lanes [lane, lane + size) of a slot, and for each tap (how far back it reads, which weight it is)."""

    lane: int
    size: int
    taps: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Side:
    """One direction: the slots of a lane, and what the input has there."""

    step: int
    begin: int
    slots: tuple[Residue, ...]
    extent: int
    stride: int = 1

    @property
    def lanes(self) -> int:
        return max(r.lane + r.size for r in self.slots)

    @property
    def backs(self) -> tuple[int, ...]:
        """How far back taps read, those that every slot has before the others."""
        backs = {back for r in self.slots for back, _ in r.taps}
        return tuple(sorted(backs, key=lambda b: (-self.reached(b), b)))

    @property
    def parts(self) -> tuple[int, ...]:
        """The residues of coordinates that taps read."""
        return tuple(sorted({-back % self.stride for back in self.backs}))

    def behind(self, back: int) -> int:
        """How many lanes back a tap reads its part."""
        return -(-back // self.stride)

    @property
    def pitch(self) -> int:
        """Lanes from row to row, so that a row ends with as many zeros as taps reach on, or back from the next."""
        behind = [self.behind(back) for back in self.backs]
        return max(self.lanes + max(0, -min(behind)), -(-self.extent // self.stride) + max(0, *behind))

    def reached(self, back: int) -> int:
        """How many slots, from the first on, have a tap so far back."""
        count = 0
        while count < self.step and any(b == back for b, _ in self.slots[count].taps):
            count += 1
        return count

    def weight(self, slot: int, back: int) -> int | None:
        return dict(self.slots[slot].taps).get(back)

    @property
    def even(self) -> bool:
        """Whether all slots have the same taps, but for one that the first slots have."""
        taps = sum(len(r.taps) for r in self.slots)
        reached = [self.reached(b) for b in self.backs]
        return sum(reached) == taps and reached[0] == self.step and sum(n < self.step for n in reached) <= 1


@dataclass(frozen=True)
class Phases:
    """``result`` is the first phase with its store and epilogue over whole result axes. ``image`` and ``group`` may be
    missing; ``per_in`` are the channels of a group."""

    result: Reduce
    x: Load
    w: Load
    image: Axis | None
    group: Axis | None
    outs: Axis | None
    channel: Axis | None
    places: tuple[Axis, ...]
    sides: tuple[Side, ...]
    statements: tuple[Reduce, ...]
    groups: tuple[int, ...]


@dataclass(frozen=True)
class _Line:
    """One phase in one direction: results ``step * q + residue``, whose tap t reads at q + offset - t * back."""

    place: Axis
    step: int
    residue: int
    offset: int
    back: int
    taps: tuple[int, ...]


@dataclass(frozen=True)
class _Phase:
    statement: Reduce
    x: Load
    w: Load
    image: Axis | None
    group: Axis | None
    outs: Axis | None
    channel: Axis | None
    lines: tuple[_Line, ...]


def find_phases(program: Program, groups: Sequence[Group]) -> list[Phases]:
    """Every run of groups that are the phases of one transposed convolution."""
    found = []
    first = 0
    while first < len(groups):
        last = first + 1
        tensor = _written(groups[first])
        while tensor is not None and last < len(groups) and _written(groups[last]) == tensor:
            last += 1
        if last - first > 1:
            statements = [g.statements[0] for g in groups[first:last]]
            phases = [_phase(program, s) for s in statements if isinstance(s, Reduce)]
            known = [p for p in phases if p is not None]
            if len(known) == last - first and (match := _joined(program, known)) is not None:
                found.append(replace(match, groups=tuple(range(first, last))))
        first = last
    return found


def find_convolution(program: Program, statement: Reduce) -> Phases | None:
    """A convolution as the one phase of its result, or None if the statement is something else."""
    parts = _operands(program, statement)
    out = program.tensors[statement.store.tensor]
    if parts is None or statement.when:
        return None
    x, w = parts
    axes = {a.name: a for a in (*statement.axes, *statement.raxes)}
    sizes = program.tensors[x.tensor].shape
    sides, places = [], []
    for store, read, weight, size in zip(statement.store.index[2:], x.index[2:], w.index[2:], sizes[2:], strict=True):
        found = _moving(axes, store, read, weight, static(size))
        if found is None:
            return None
        places.append(found[0])
        sides.append(found[1])
    image, group, outs, channel = _roles(statement, axes, x, w.index[0])
    down, lane = _times(group, outs), _times(outs)
    same = (
        x.index[:2] == (_times(image), _times(group, channel) + _times(channel))
        and w.index[:2] == (down + lane, _times(channel))
        and statement.store.index[:2] == (x.index[0], down + lane)
        and static(program.tensors[x.tensor].strides[-1]) == static(out.strides[-1]) == 1
        and program.tensors[x.tensor].dtype == "float32"
    )
    known = {a.name for a in (image, group, outs, channel, *places) if a is not None}
    taps = {n for index in w.index[2:] for n in index.axes()}
    if not same or any(a.size != 1 and n not in known | taps for n, a in axes.items()):
        return None
    return Phases(statement, x, w, image, group, outs, channel, tuple(places), tuple(sides), (statement,), ())


def _moving(axes: dict[str, Axis], store: Index, x: Index, w: Index, extent: int | None) -> tuple[Axis, Side] | None:
    """One direction of a convolution, in which its window moves."""
    place, tap = next(iter(store.axes()), ""), next(iter(w.axes()), "")
    stride, gap, offset = (static(n) for n in (x.coefficient(place), x.coefficient(tap), x.offset))
    moves = place and store == Index.axis(place) and w == (Index.axis(tap) if tap else Index()) and extent is not None
    if not moves or x.axes() != {n for n in (place, tap) if n} or not stride or stride < 1 or offset is None:
        return None
    count = _length(axes[tap]) if tap else 1
    taps = tuple((-(offset + t * (gap or 0)), t) for t in range(count))
    assert extent is not None
    return axes[place], Side(1, 0, (Residue(0, _length(axes[place]), taps),), extent, stride)


def _written(group: Group) -> str | None:
    first = group.statements[0]
    single = len(group.statements) == 1 and isinstance(first, Reduce) and not first.when
    return first.store.tensor if single and isinstance(first, Reduce) else None


# ── one phase ────────────────────────────────────────────────────────────────────────────────────────────────────


def _phase(program: Program, statement: Reduce) -> _Phase | None:
    parts = _operands(program, statement)
    if parts is None:
        return None
    x, w = parts
    axes = {a.name: a for a in (*statement.axes, *statement.raxes)}
    lines = [_line(axes, *found) for found in zip(statement.store.index[2:], x.index[2:], w.index[2:], strict=True)]
    known = tuple(line for line in lines if line is not None)
    image, group, outs, channel = _roles(statement, axes, x, w.index[1])
    across, lane = _times(group, channel) + _times(channel), _times(outs)
    same = (
        x.index[:2] == (_times(image), across)
        and w.index[:2] == (across, lane)
        and statement.store.index[:2] == (x.index[0], _times(group, outs) + lane)
        and len(known) == len(lines)
    )
    return _Phase(statement, x, w, image, group, outs, channel, known) if same else None


def _operands(program: Program, statement: Reduce) -> tuple[Load, Load] | None:
    """The input and the weights of what may be a convolution."""
    value = statement.value
    rank = len(statement.store.index)
    if not is_contraction(program, statement) or not isinstance(value, Op) or value.dtype != "float32" or rank < 3:
        return None
    spatial = {n for i in statement.store.index[2:] for n in i.axes()}
    loads = [a for a in value.args if isinstance(a, Load)]
    x = next((a for a in loads if a.axes() & spatial), None)
    w = next((a for a in loads if not a.axes() & spatial), None)
    if x is None or w is None or len(x.index) != rank or len(w.index) != rank or w.fill or x.fill not in (None, 0):
        return None
    indices = (*statement.store.index, *x.index, *w.index)
    known = all(static(a.size) is not None for a in (*statement.axes, *statement.raxes))
    return (x, w) if known and all(i.is_affine for i in indices) else None


def _roles(statement: Reduce, axes: dict[str, Axis], x: Load, lanes: Index) -> tuple[Axis | None, ...]:
    """The axes of images, groups, result channels of a group (which ``lanes`` counts) and channels of a group."""
    summed = {a.name for a in statement.raxes}
    channel = next((axes[n] for n in x.index[1].axes() if n in summed), None)
    group = next((axes[n] for n in x.index[1].axes() if n not in summed), None)
    outs = next((axes[n] for n in lanes.axes() if group is None or n != group.name), None)
    return _only(axes, x.index[0]), group, outs, channel


def _times(axis: Axis | None, each: Axis | None = None) -> Index:
    """``axis``, of which every step is as long as ``each``."""
    return Index() if axis is None else Index.axis(axis.name) * _length(each)


def _only(axes: dict[str, Axis], index: Index) -> Axis | None:
    return next((axes[n] for n in index.axes()), None)


def _length(axis: Axis | None) -> int:
    size = 1 if axis is None else static(axis.size)
    assert size is not None
    return size


def _line(axes: dict[str, Axis], store: Index, x: Index, w: Index) -> _Line | None:
    if len(store.terms) != 1 or len(w.terms) > 1:
        return None
    (place, step), *_ = store.terms
    tap = next(iter(w.axes()), None)
    count = 1 if tap is None else _length(axes[tap])
    every, back = (1, 0) if tap is None else (static(w.coefficient(tap)), static(x.coefficient(tap) * -1))
    numbers = [static(n) for n in (step, store.offset, x.offset, w.offset)]
    if x.axes() != {str(place), *w.axes()} or x.coefficient(str(place)) != 1 or every is None or back is None:
        return None
    if any(n is None for n in numbers) or back < 0:
        return None
    s, residue, offset, first = (int(n) for n in numbers if n is not None)
    return _Line(axes[str(place)], s, residue, offset, back, tuple(first + t * every for t in range(count)))


# ── all phases ───────────────────────────────────────────────────────────────────────────────────────────────────


def _joined(program: Program, phases: list[_Phase]) -> Phases | None:
    first = phases[0]
    names = (first.x.tensor, first.w.tensor)
    sizes = [_length(a) for a in (first.image, first.group, first.outs, first.channel)]
    for phase in phases:
        if (phase.x.tensor, phase.w.tensor) != names:
            return None
        if [_length(a) for a in (phase.image, phase.group, phase.outs, phase.channel)] != sizes:
            return None
    result = _whole(program, phases)
    if any(static(program.tensors[n].strides[-1]) != 1 for n in (names[0], first.statement.store.tensor)):
        return None  # lanes run along rows
    shape = program.tensors[first.x.tensor].shape
    extents = [static(s) for s in shape[2:]]
    sides = []
    for d, extent in enumerate(extents):
        lines = sorted({_key(p.lines[d]): p.lines[d] for p in phases}.values(), key=lambda line: line.residue)
        side = _side(lines, extent)
        if side is None:
            return None
        sides.append(side)
    count = 1
    for side in sides:
        count *= side.step
    if (
        result is None
        or not sides[-1].even
        or len(phases) != count
        or len({tuple(map(_key, p.lines)) for p in phases}) != count
    ):
        return None
    places = tuple(a for a in result.axes if a not in (first.image, first.group, first.outs))
    return Phases(
        result, first.x, first.w, first.image, first.group, first.outs, first.channel, places, tuple(sides),
        tuple(p.statement for p in phases), (),
    )  # fmt: skip


def _key(line: _Line) -> tuple[object, ...]:
    return (line.place.size, line.step, line.residue, line.offset, line.back, line.taps)


def _side(lines: list[_Line], extent: int | None) -> Side | None:
    """All residues of one direction, each once."""
    step = lines[0].step
    if extent is None or [line.residue for line in lines] != list(range(step)) or any(x.step != step for x in lines):
        return None
    begin = min(line.residue - line.offset * step for line in lines)
    slots: dict[int, Residue] = {}
    for line in lines:
        slot = (line.residue - begin) % step
        ahead = (line.residue - begin - slot) // step
        taps = tuple((ahead - line.offset + t * line.back, k) for t, k in enumerate(line.taps))
        slots[slot] = Residue(ahead, _length(line.place), taps)
    if any(slot.lane < 0 for slot in slots.values()):
        return None
    return Side(step, begin, tuple(slots[j] for j in range(step)), extent)


def _whole(program: Program, phases: list[_Phase]) -> Reduce | None:
    """The first phase as if it made the whole result; None where phases end in different ways."""
    first = phases[0]
    out = program.tensors[first.statement.store.tensor]
    places = [replace(line.place, size=out.shape[2 + d]) for d, line in enumerate(first.lines)]
    steps = {line.place.name: line.step for line in first.lines}
    if any(line.residue for line in first.lines) or not _stretched(first.statement.epilogue, steps):
        return None
    epilogue = first.statement.epilogue.map(lambda node: _shrink(node, steps))
    for phase in phases:
        pairs = zip(_named(first), _named(phase), strict=True)
        bindings = {a.name: Index.axis(b.name) for a, b in pairs if a is not None and b is not None}
        for mine, theirs in zip(first.lines, phase.lines, strict=True):
            bindings[mine.place.name] = Index.axis(theirs.place.name) * theirs.step + theirs.residue
        if epilogue.substitute(bindings) != phase.statement.epilogue:
            return None
    kept = [a for a in first.statement.axes if a.name not in steps]
    index = (*first.statement.store.index[:2], *(Index.axis(p.name) for p in places))
    store = Store(first.statement.store.tensor, index)
    return replace(first.statement, axes=(*kept, *places), store=store, epilogue=epilogue)


def _named(phase: _Phase) -> tuple[Axis | None, ...]:
    return (phase.image, phase.group, phase.outs)


def _indices(node: Expr) -> tuple[Index, ...]:
    if isinstance(node, Load):
        return node.index
    return (node.index,) if isinstance(node, Iota) else ()


def _stretched(epilogue: Expr, steps: dict[str, int]) -> bool:
    """Whether every index moves by whole steps along the result axes, so that it can be said of all results."""
    for node in epilogue.walk():
        for index in _indices(node):
            if not index.is_affine:
                return False
            for name, step in steps.items():
                coefficient = static(index.coefficient(name))
                if coefficient is None or coefficient % step:
                    return False
    return True


def _shrink(node: Expr, steps: dict[str, int]) -> Expr | None:
    def one(index: Index) -> Index:
        for name, step in steps.items():
            coefficient = static(index.coefficient(name)) or 0
            index = index + Index.axis(name) * (coefficient // step - coefficient)
        return index

    if isinstance(node, Load):
        return replace(node, index=tuple(one(i) for i in node.index))
    return replace(node, index=one(node.index)) if isinstance(node, Iota) else None
