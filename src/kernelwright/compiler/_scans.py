"""Scans that write where, and in which order, what copied their result would have put it."""

from __future__ import annotations

from dataclasses import replace

from ._dataflow import (
    Flow,
    axes_of,
    repeat,
    replace_at,
    same_index,
    substitute,
    temp_read_once,
)
from .program import Index, Load, Map, Program, Scan, Store
from .sizes import same


@repeat
def fuse_scan_copies(program: Program) -> Program | None:
    """A Map that only moves a Scan's result, perhaps back to front, is the Scan's store, perhaps reversed."""
    flow = Flow.of(program)
    for name, writers in flow.writers.items():
        reader = temp_read_once(program, flow, name)
        if reader is None or len(writers) != 1 or writers[0] >= reader:
            continue
        scan, copy = program.statements[writers[0]], program.statements[reader]
        if not isinstance(scan, Scan) or not isinstance(copy, Map) or not isinstance(copy.value, Load):
            continue
        fused = _moved_scan(program, scan, copy)
        if fused is not None:
            return replace_at(program, {reader: [fused], writers[0]: []})
    return None


def _moved_scan(program: Program, scan: Scan, copy: Map) -> Scan | None:
    load = copy.value
    if not isinstance(load, Load) or load.tensor != scan.store.tensor or load.fill is not None:
        return None
    sizes = {a.name: a.size for a in copy.axes}
    bindings: dict[str, Index] = {}
    turned = False
    for read, written in zip(load.index, scan.store.index, strict=True):
        if not read.terms and not written.terms:
            continue
        if len(read.terms) != 1 or len(written.terms) != 1:
            return None
        axis, ours = str(read.terms[0][0]), Index.axis(str(written.terms[0][0]))
        backwards = Index.axis(axis) * -1 + (sizes.get(axis, 0) - 1)
        if axis not in sizes or axis in bindings or written != ours or not _axis_size(scan, ours, sizes[axis]):
            return None
        if same_index(read, backwards) and ours == Index.axis(scan.scan.name):
            turned = True
            bindings[axis] = ours
        elif read == Index.axis(axis):
            bindings[axis] = ours
        else:
            return None
    if len(bindings) != len(copy.axes):
        return None
    value, name = scan.value, scan.scan.name
    if turned:
        value = substitute(value, {name: Index.axis(name) * -1 + (scan.scan.size - 1)})
    store = Store(copy.store.tensor, tuple(i.substitute(bindings) for i in copy.store.index))
    return replace(scan, value=value, store=store, reverse=scan.reverse != turned)


def _axis_size(scan: Scan, index: Index, size: object) -> bool:
    return any(Index.axis(a.name) == index and same(a.size, size) for a in axes_of(scan))


__all__ = ["fuse_scan_copies"]
