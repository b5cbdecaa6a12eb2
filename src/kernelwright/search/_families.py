"""Families of operations that ATen serves from tuned libraries: one slow kernel must not cost a network its win.

A graph of many kernels is tried with a family left to ATen as well, and with the rest of it generated: first the whole
family, then its kinds (convolutions of one point, of many, of groups), each on top of what was worth keeping so far.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import fx

from ..compiler import Kernel, Prepared
from ..compiler.capture import Captured

Keep = frozenset[str]

_CONVOLUTIONS = frozenset({"convolution"})
_PRODUCTS = frozenset({"mm", "addmm", "bmm", "baddbmm", "linear", "matmul", "mv", "addmv"})
FEW = 6  # kernels: with fewer their own schedules are the better use of the time
_MANY = 100  # products: an unrolled recurrence, which is a loop only as long as we generate it


def families(prepared: Prepared, fewest: int = FEW) -> list[tuple[str, Keep]]:
    """Names and nodes of the graph to leave to ATen together, those that cover most first.

    None for a graph of less than the ``fewest`` kernels.
    """
    if sum(isinstance(kernel, Kernel) for kernel in prepared.kernels) < fewest:
        return []
    found: dict[str, set[str]] = {}
    for node, name in _operations(prepared.captured.graph):
        for family in _families_of(node, name):
            found.setdefault(family, set()).add(f"%{node.name}")
    kinds = [family for family in found if family not in ("convolution", "product")]
    order: list[str] = [family for family in ("convolution", "product") if family in found]
    if len(kinds) > 1:  # a single kind is the family
        order += sorted(kinds, key=lambda kind: -len(found[kind]))
    return [(family, frozenset(found[family])) for family in order if family != "product" or len(found[family]) < _MANY]


def contractions(captured: Captured) -> Keep:
    """Every product and convolution of a graph, for targets that leave them all to ATen."""
    return frozenset(f"%{node.name}" for node, name in _operations(captured.graph) if _families_of(node, name))


def _operations(graph: fx.Graph) -> Iterator[tuple[fx.Node, str]]:
    for node in graph.nodes:
        if node.op == "call_function" and isinstance(node.target, torch._ops.OpOverload):
            yield node, node.target._schema.name.removeprefix("aten::")


def _families_of(node: fx.Node, name: str) -> tuple[str, ...]:
    if name in _PRODUCTS:
        return ("product",)
    if name not in _CONVOLUTIONS:
        return ()
    weight = node.args[1]
    size = weight.meta["val"].shape[2:] if isinstance(weight, fx.Node) else ()
    if node.args[8] != 1:
        return "convolution", "convolution of groups"
    point = all(extent == 1 for extent in size)
    return "convolution", "convolution of one point" if point else "convolution of many points"


__all__ = ["FEW", "Keep", "contractions", "families"]
