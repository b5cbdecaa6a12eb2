"""Drops what nobody reads, and copies between tensors that can be one."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

from ._dataflow import (
    Flow,
    match,
    place,
    reads,
    rename,
    repeat,
    root,
    same_index,
    writes,
)
from .program import Extern, Load, Map, Program, Statement, Tensor
from .sizes import numel, same, same_shape


def remove_dead(program: Program) -> Program:
    """Drop statements whose results nobody reads, and tensors nobody names."""
    live = {root(program, name) for name in program.outputs}
    kept: list[Statement] = []
    for statement in reversed(program.statements):
        if any(root(program, name) in live for name in writes(statement)):
            kept.append(statement)
            live |= {root(program, name) for name in reads(statement)}
    kept.reverse()
    named = {*program.inputs, *program.outputs}
    for statement in kept:
        for name in (*reads(statement), *writes(statement)):
            named |= {name, root(program, name)}
    tensors = {name: t for name, t in program.tensors.items() if name in named}
    if len(kept) == len(program.statements) and len(tensors) == len(program.tensors):
        return program
    return replace(program, statements=tuple(kept), tensors=tensors)


@repeat
def elide_copies(program: Program) -> Program | None:
    """A Map that copies a whole temporary to the same places of another tensor: let the first be the second."""
    flow = Flow.of(program)
    for position, statement in enumerate(program.statements):
        if not isinstance(statement, Map) or not isinstance(statement.value, Load) or statement.value.fill is not None:
            continue
        target, source = root(program, statement.store.tensor), root(program, statement.value.tensor)
        if source != target and _is_copy(program, flow, statement, source, target, position):
            return _unite(program, position, source, target)
    return None


def _is_copy(program: Program, flow: Flow, copy: Map, source: str, target: str, position: int) -> bool:
    assert isinstance(copy.value, Load)
    a, b = program.tensors[source], program.tensors[target]
    if a.role != "temp" or b.role == "input" or a.dtype != b.dtype or flow.writers[target] != (position,):
        return False
    if any(isinstance(program.statements[w], Extern) for w in flow.writers.get(source, ())):
        return False
    if any(w > position for w in flow.writers.get(source, ())):
        return False
    whole = numel(b.shape)
    if not same(whole, numel(tuple(x.size for x in copy.axes))) or not same(whole, numel(a.shape)):
        return False
    here = place(program, copy.value.tensor, copy.value.index)
    return here.is_affine and same_index(here, place(program, copy.store.tensor, copy.store.index))


@repeat
def unite_copies(program: Program) -> Program | None:
    """Two Maps that copy a whole tensor to the same places of two others: let these be one."""
    flow = Flow.of(program)
    copies: dict[str, list[tuple[int, Map]]] = {}
    for position, statement in enumerate(program.statements):
        if isinstance(statement, Map) and isinstance(statement.value, Load) and statement.value.fill is None:
            copies.setdefault(root(program, statement.value.tensor), []).append((position, statement))
    for source, found in copies.items():
        for (first, a), (second, b) in combinations(found, 2):
            names = [root(program, copy.store.tensor) for copy in (a, b)]
            once = flow.writers[names[0]] == (first,) and flow.writers[names[1]] == (second,)
            if not once or any(first < w <= second for w in flow.writers.get(source, ())):
                continue
            later = program.tensors[names[1]].role == "temp"
            kept, gone = names if later else names[::-1]
            if _are_twins(program, a, b, kept, gone):
                return _twinned(program, first, second, a if later else b, kept, gone)
    return None


def _are_twins(program: Program, a: Map, b: Map, kept: str, gone: str) -> bool:
    here, there = program.tensors[kept], program.tensors[gone]
    if there.role != "temp" or here.role == "input" or here.dtype != there.dtype or a.when or b.when:
        return False
    assert isinstance(a.value, Load)
    assert isinstance(b.value, Load)
    counts = [numel(tuple(x.size for x in axes)) for axes in (a.axes, b.axes)]
    if not all(same(numel(t.shape), n) for t, n in zip((here, there), counts, strict=True)) or here.alias:
        return False
    found = match(
        a.axes, place(program, a.value.tensor, a.value.index), b.axes, place(program, b.value.tensor, b.value.index)
    )
    return found is not None and same_index(
        place(program, a.store.tensor, a.store.index).substitute(found.left),
        place(program, b.store.tensor, b.store.index).substitute(found.right),
    )


def _twinned(program: Program, first: int, second: int, copy: Map, kept: str, gone: str) -> Program:
    """One copy, where the first was; the tensor that is gone shares the other's memory."""
    statements = tuple(copy if p == first else s for p, s in enumerate(program.statements) if p != second)
    tensors = {n: replace(t, alias=kept) if n == gone or t.alias == gone else t for n, t in program.tensors.items()}
    return replace(program, statements=statements, tensors=_bases_first(tensors))


def _unite(program: Program, position: int, source: str, target: str) -> Program:
    """Drop the copy; the source is the target, or shares its memory where the shape differs."""
    statements = program.statements[:position] + program.statements[position + 1 :]
    old, new = program.tensors[source], program.tensors[target]
    tensors = dict(program.tensors)
    if same_shape(old.shape, new.shape) and old.strides == new.strides:
        del tensors[source]
        statements = tuple(rename(s, {source: target}) for s in statements)
    else:
        tensors[source] = replace(old, alias=target)
    tensors = {n: replace(t, alias=target) if t.alias == source else t for n, t in tensors.items()}
    return replace(program, statements=statements, tensors=_bases_first(tensors))


def _bases_first(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    bases = {n: t for n, t in tensors.items() if t.alias is None}
    return bases | {n: t for n, t in tensors.items() if n not in bases}


__all__ = ["elide_copies", "remove_dead", "unite_copies"]
