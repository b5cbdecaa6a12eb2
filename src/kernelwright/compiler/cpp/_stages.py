"""Which statements of a group share a loop nest, and which axis of each nest becomes the vector lanes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..group import inner_axes
from ..program import Axis, Expr, Index, Load, Map, Op, Program, Reduce, Scan, Size, statement_exprs
from ._indices import flatten, repeated, static
from ._normal import Loop, Normal
from ._pieces import pieces

W = 16
SYMBOLIC = 1024  # a guess at a size that is only known at call time

# Costs in units of one contiguous vector load.
BROADCAST, REPEATED, PAIRED, GATHER, BY_LANE, BENT, FOLD = 0.4, 2.5, 2.0, 14.0, 30.0, 2.0, 12.0
SLOW_OPS = frozenset(
    {
        "pow", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "asin", "acos", "atan",
        "atan2", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "erfc", "lgamma", "sigmoid", "fmod", "mod",
        "floordiv",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Stage:
    """Statements that run together at every point of one loop nest: maps, then reductions of the same points."""

    statements: tuple[Loop, ...]
    axes: tuple[Axis, ...]  # loops that place results, without the group's rows
    inner: tuple[Axis, ...]  # loops that are reduced or scanned away

    @property
    def reduces(self) -> tuple[Reduce, ...]:
        return tuple(s for s in self.statements if isinstance(s, Reduce))

    @property
    def scan(self) -> Scan | None:
        return next((s for s in self.statements if isinstance(s, Scan)), None)

    @property
    def loops(self) -> tuple[Axis, ...]:
        return (*self.axes, *self.inner)


def stages(normal: Normal, rows: frozenset[str]) -> list[Stage]:
    """Fuse consecutive statements into nests; ``rows`` are the axes that the nests do not loop over."""
    found: list[Stage] = []
    for statement in normal.statements:
        axes = tuple(a for a in statement.axes if a.name not in rows)
        joined = _fused(normal.program, found[-1], statement, axes) if found else None
        if joined is None:
            found.append(Stage((statement,), axes, inner_axes(statement)))
        else:
            found[-1] = joined
    return found


def _fused(program: Program, stage: Stage, statement: Loop, axes: tuple[Axis, ...]) -> Stage | None:
    """The stage with one more statement, if it can run at the same points."""
    if stage.scan or isinstance(statement, Scan) or not _forwarded(program, stage, statement):
        return None
    points = {a.name for a in stage.loops}
    own, inner = {a.name for a in axes}, {a.name for a in inner_axes(statement)}
    if isinstance(statement, Map):
        if stage.reduces or own != points:
            return None
        return Stage((*stage.statements, statement), stage.axes, ())
    if stage.reduces:
        if own != {a.name for a in stage.axes} or inner != {a.name for a in stage.inner}:
            return None
        return Stage((*stage.statements, statement), stage.axes, stage.inner)
    if own | inner != points:
        return None
    return Stage((*stage.statements, statement), axes, inner_axes(statement))


def _forwarded(program: Program, stage: Stage, statement: Loop) -> bool:
    """Does the statement read what the stage writes only where the stage has just written it?"""
    stores = {s.store.tensor: s for s in stage.statements}
    for load in program.loads(statement):
        writer = stores.get(load.tensor)
        base = program.tensors[load.tensor].alias or load.tensor
        if writer is None:
            if any(program.tensors[t].alias == base or t == base for t in stores):
                return False
        elif isinstance(writer, Reduce) or load.index != writer.store.index:
            return False
    return True


# ── lanes ────────────────────────────────────────────────────────────────────────────────────────────────────────


def extent(size: Size) -> int:
    """A size for estimates."""
    value = static(size)
    return SYMBOLIC if value is None else value


def points(axes: Sequence[Axis]) -> int:
    """Estimated number of points of an index space."""
    total = 1
    for axis in axes:
        total *= max(1, extent(axis.size))
    return total


def flat_accesses(program: Program, statement: Loop) -> Iterator[Index]:
    """Element offsets of every access of a statement, the store last."""
    for load in program.loads(statement):
        yield flatten(program.tensors[load.tensor], load.index)
    yield flatten(program.tensors[statement.store.tensor], statement.store.index)


def step_of(index: Index, axis: str) -> Size | None:
    """What one step along an axis adds to an index; None if that is not a constant."""
    if any(axis in Index.of(t).axes() for t, _ in index.terms if not isinstance(t, str)):
        return None
    return index.coefficient(axis)


def operations(statement: Loop) -> float:
    """Vector operations per point, slow functions counted at their price."""
    return _operations(statement_exprs(statement))


def _operations(exprs: Sequence[Expr]) -> float:
    seen: set[int] = set()
    total = 0.0
    for expr in exprs:
        stack = [expr]
        while stack:
            node = stack.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            if isinstance(node, Op):
                total += 12.0 if node.name in SLOW_OPS else 0.5
            stack.extend(node.children())
            if isinstance(node, Load):
                total += 0.1
    return total


def stage_cost(program: Program, stage: Stage, lane: str | None) -> float:
    """Estimated cost per point with this lane axis, in vector loads."""
    total = 0.0
    for statement in stage.statements:
        total += _exprs_cost(program, stage, lane, (statement.value,))
        once = _exprs_cost(program, stage, lane, statement_exprs(statement)[1:])  # the epilogue
        flat = flatten(program.tensors[statement.store.tensor], statement.store.index)
        once += _turn_cost(stage, lane, flat, _access_cost(flat, lane))
        total += once / (max(1, points(stage.inner)) if isinstance(statement, Reduce) else 1)
    if lane is None:
        return total * (0.5 if all(extent(a.size) <= 1 for a in stage.loops) else 1.0)
    size = next(extent(a.size) for a in stage.loops if a.name == lane)
    used = max(1, size) / (-(-max(1, size) // W) * W)
    total = total / W / used
    if lane in {a.name for a in stage.inner}:
        total += FOLD * max(1, len(stage.reduces)) / points(stage.inner)
    return total


def _exprs_cost(program: Program, stage: Stage, lane: str | None, exprs: Sequence[Expr]) -> float:
    """What is computed and loaded for one value."""
    total = _operations(exprs)
    for load in (node for expr in exprs for node in expr.walk() if isinstance(node, Load)):
        flat = flatten(program.tensors[load.tensor], load.index)
        cost = _turn_cost(stage, lane, flat, _access_cost(flat, lane))
        paired = cost == GATHER and lane is not None and _pairs(program, load, flat, lane)
        total += PAIRED if paired else cost
    return total


def _turn_cost(stage: Stage, lane: str | None, flat: Index, cost: float) -> float:
    """The cost of an access, where a nest is cut into pieces in which it runs in plain steps."""
    return BENT if cost == BY_LANE and lane is not None and _bends(stage, flat, lane) else cost


def _pairs(program: Program, load: Load, flat: Index, lane: str) -> bool:
    """Is every other element read, which takes two loads and a shuffle?"""
    step = step_of(flat, lane)
    return step is not None and static(step) == 2 and program.tensors[load.tensor].dtype in ("float32", "int32")


def _bends(stage: Stage, flat: Index, lane: str) -> bool:
    """Is the access one of plain steps in each of a few pieces of the lane axis, in a nest that is cut into them?"""
    ranges = {a.name: (0, size - 1) for a in stage.loops if (size := static(a.size)) is not None}
    return not stage.inner and bool(pieces([flat], lane, ranges))


def _access_cost(flat: Index, lane: str | None) -> float:
    if lane is None:
        return 1.0
    step = step_of(flat, lane)
    if step is None:
        return BY_LANE if repeated(flat, lane) is None else REPEATED
    value = static(step)
    if value == 0:
        return BROADCAST
    return 1.0 if value == 1 else GATHER


def best_lane(program: Program, stage: Stage) -> str | None:
    """The cheapest lane axis of a nest, None for scalar code."""
    candidates = [a.name for a in reversed(stage.loops)]
    candidates = [n for n in candidates if _writes_along(program, stage, n)]
    ranked = [(stage_cost(program, stage, lane), lane) for lane in candidates]
    scalar = stage_cost(program, stage, None)
    best = min(ranked, key=lambda pair: pair[0], default=(scalar, None))
    return best[1] if best[0] < scalar else None


def _writes_along(program: Program, stage: Stage, axis: str) -> bool:
    """Is each value of an axis that places results written to a place of its own? (Not if the tensor is empty.)"""
    if axis in {a.name for a in stage.inner} and stage.scan is None:
        return True
    flats = [flatten(program.tensors[s.store.tensor], s.store.index) for s in stage.statements]
    return all(f.coefficient(axis) != 0 or axis in f.axes() for f in flats)


def group_cost(program: Program, found: Sequence[Stage], rows: int) -> float:
    """Estimated cost of all nests for all rows, each with its best lane axis."""
    return sum(stage_cost(program, stage, best_lane(program, stage)) * points(stage.loops) * rows for stage in found)
