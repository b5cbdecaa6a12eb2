"""What lies between the two products of an attention, as values of a tile: how many walks over the keys it takes.

A reduction along the keys is known only after a walk, so whatever reads it belongs to the next one, which makes the
scores again. A softmax needs a single walk: its sums are kept relative to the largest score so far, and are scaled when
that grows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from .._visible import Mask, mask_of, vanishes
from ..attention import Attention, computed
from ..group import root
from ..program import Acc, Expr, Index, Load, Map, Op, Program, Reduce, Store, Tensor


@dataclass(frozen=True)
class Online:
    """Weights that are ``exp(exponent - peak)`` times ``factors`` (op, value), which are the same along a row.

    ``sums`` are the reductions that add up the exponentials themselves.
    """

    peak: Reduce
    exponent: Expr
    sums: tuple[Reduce, ...]
    factors: tuple[tuple[str, Expr], ...]


@dataclass(frozen=True)
class Between:
    """A match over local tensors: those with a key axis are values of a tile, those without of a column.

    ``level`` is the walk in which each local tensor is made; a reduction's result is there from the next one on.
    ``kept`` are rows that others read: local name and the store that writes it. ``mask``: keys that no row of a tile
    may see need no work, as long as their values are finite.
    """

    program: Program
    scores: Expr
    stages: tuple[Map | Reduce, ...]
    epilogue: Expr
    first: str
    weights: str
    level: Mapping[str, int]
    kept: tuple[tuple[str, Store], ...]
    online: Online | None
    mask: Mask | None

    @property
    def walks(self) -> int:
        """Walks over the keys, the last of which need not be the one that multiplies the weights."""
        needed = [self.level[s.store.tensor] - 1 for s in self.stages if isinstance(s, Reduce)]
        return 1 + max([self.level[self.weights], *needed])


def between(program: Program, match: Attention) -> Between:
    """The match with local names, and the cheapest way through it."""
    panels = {root(program, n): f"{n}_tile" for n in match.panels}
    rows = {root(program, n): f"{n}_row" for n in match.rows}
    key, row = Index.axis(match.key.name), Index.axis(match.row.name)

    def local(node: Expr) -> Expr | None:
        memory = root(program, node.tensor) if isinstance(node, Load) else ""
        if memory in panels:
            return Load(panels[memory], (key, row), node.dtype)
        return Load(rows[memory], (row,), node.dtype) if memory in rows else None

    stages: list[Map | Reduce] = []
    for stage in match.stages:
        memory = root(program, stage.store.tensor)
        store = Store(panels[memory], (key, row)) if memory in panels else Store(rows[memory], (row,))
        moved = replace(stage, value=stage.value.map(local), store=store)
        stages.append(replace(moved, epilogue=moved.epilogue.map(local)) if isinstance(moved, Reduce) else moved)
    tensors = {**program.tensors}
    for memory, name in (*panels.items(), *rows.items()):
        tensors[name] = Tensor(name, (), computed(program.tensors[memory].dtype), (), "temp")
    first, weights = (panels[root(program, n)] for n in (match.first, match.weights))
    level = _levels(first, stages)
    online = _online(stages, weights, level, match.key.name)
    made = {root(program, s.store.tensor): s.store for s in match.stages}
    return Between(
        program=replace(program, tensors=tensors),
        scores=match.scores,
        stages=tuple(stages),
        epilogue=match.result.epilogue.map(local),
        first=first,
        weights=weights,
        level=level,
        kept=tuple((rows[root(program, n)], made[root(program, n)]) for n in match.kept),
        online=online,
        mask=_mask(program, match) if online is not None else None,
    )


def _levels(first: str, stages: list[Map | Reduce]) -> dict[str, int]:
    level = {first: 0}
    for stage in stages:
        exprs = (stage.value, stage.epilogue) if isinstance(stage, Reduce) else (stage.value,)
        read = [level[n.tensor] for e in exprs for n in e.walk() if isinstance(n, Load) and n.tensor in level]
        level[stage.store.tensor] = max(read, default=0) + isinstance(stage, Reduce)
    return level


def _mask(program: Program, match: Attention) -> Mask | None:
    """What the scores say about the keys that a row sees, where an unseen key ends as a weight of zero."""
    mask = mask_of(match.scores, match.key.name)
    if mask is None or not (mask.lows or mask.highs):
        return None
    panels = {root(program, n): n for n in match.panels}
    ends = vanishes(mask.fill, match.first, match.weights, match.stages, lambda n: panels.get(root(program, n.tensor)))
    return mask if ends and mask.fill == -math.inf else None


# ── softmax in one walk ──────────────────────────────────────────────────────────────────────────────────────────


def _online(stages: list[Map | Reduce], weights: str, level: Mapping[str, int], key: str) -> Online | None:
    """The weights as exponentials relative to a maximum, if they are that and no other reduction is in between."""
    maps = {s.store.tensor: s.value for s in stages if isinstance(s, Map) and s.store.tensor.endswith("_tile")}

    def whole(expr: Expr) -> Expr:
        """The expression over scores and rows alone."""
        made = [n for n in expr.walk() if isinstance(n, Load) and n.tensor in maps]
        return expr.map(lambda n: whole(maps[n.tensor]) if isinstance(n, Load) and n in made else None)

    reduces = {s.store.tensor: s for s in stages if isinstance(s, Reduce)}
    core, factors = _split(whole(maps[weights]) if weights in maps else Acc("float32"), key)
    shifted = core.args[0] if isinstance(core, Op) and core.name == "exp" else None
    if not isinstance(shifted, Op) or shifted.name != "sub" or not isinstance(shifted.args[1], Load):
        return None
    exponent, peak = shifted.args[0], reduces.get(shifted.args[1].tensor)
    if peak is None or peak.op != "max" or whole(peak.value) != exponent or not isinstance(peak.epilogue, Acc):
        return None
    if any(isinstance(n, Load) and n.tensor in level and n.tensor.endswith("_row") for n in exponent.walk()):
        return None
    sums = [s for s in reduces.values() if s is not peak]
    if any(s.op != "sum" or whole(s.value) != core for s in sums):
        return None
    return Online(peak, exponent, tuple(sums), factors)


def _split(expr: Expr, key: str) -> tuple[Expr, tuple[tuple[str, Expr], ...]]:
    """What varies along the keys, and the factors that do not, in the order in which they apply."""
    if isinstance(expr, Op) and expr.name in ("mul", "div"):
        a, b = expr.args
        if key not in b.axes():
            core, factors = _split(a, key)
            return core, (*factors, (expr.name, b))
        if expr.name == "mul" and key not in a.axes():
            core, factors = _split(b, key)
            return core, (*factors, ("mul", a))
    return expr, ()
