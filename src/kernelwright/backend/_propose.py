"""Candidates for the core of a graph: everything generated, or some families of operations left to ATen.

One slow kernel must not cost a graph of fifty its win, so each family that ATen may do better is tried both ways.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import fx
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

from ..compiler import Prepared, emit, prepare_captured
from ..compiler.capture import Captured, capture_graph, decompositions
from ..targets import Candidate
from ._graph import Core

# Operations that ATen serves from tuned libraries, by family, the ones most likely to be worth keeping first.
_FAMILIES = (
    frozenset({"convolution_backward"}),
    frozenset({"convolution"}),
    frozenset({"mm", "addmm", "bmm", "baddbmm", "mv", "addmv", "dot"}),
)
# What these make is more than their decompositions give: the backward graph reads it.
_WHOLE = ("_scaled_dot_product_flash_attention_for_cpu", "native_dropout")


class Proposer:
    """Proposes one candidate after another; every result decides how the next one differs."""

    def __init__(self, core: Core, inputs: Sequence[torch.Tensor], title: str, target: str = "cpu") -> None:
        self._target = target
        self.captured = _capture(core, inputs)
        self._title = title
        self._present = Counter(_name(n) for n in self.captured.graph.nodes if n.op == "call_function")
        self._untried = [frozenset[str](), *(family for family in _FAMILIES if family & set(self._present))]
        self._kept: dict[str, frozenset[str]] = {}  # by a candidate's digest
        self._keep: frozenset[str] = frozenset()
        self._best = float("inf")

    @property
    def notes(self) -> Sequence[str]:
        return ()

    def propose(self, count: int) -> list[Candidate]:
        """All generated first; then each family kept, on top of what was worth keeping so far: one at a time."""
        while self._untried:
            keep = self._keep | self._untried.pop(0)
            found = self._emit(keep)
            if found is not None:
                self._kept[found.digest] = keep
                return [found]
        return []

    def feedback(self, candidate: Candidate, cost: float | None) -> None:
        """``cost``: the time of an accepted candidate, None when it was rejected."""
        if cost is not None and cost < self._best:
            self._best, self._keep = cost, self._kept.get(candidate.digest, self._keep)

    def _emit(self, keep: frozenset[str]) -> Candidate | None:
        prepared = prepare_captured(self.captured, keep)
        if not prepared.lowered:
            return None
        found = self._print(prepared)
        kept = ",".join(sorted(keep & set(self._present)))
        return replace(found, label=f"compiler/keep={kept}" if kept else "compiler")

    def _print(self, prepared: Prepared) -> Candidate:
        if self._target == "triton":
            from ..compiler.triton import emit_triton

            return emit_triton(prepared, title=self._title)
        return emit(prepared, title=self._title)


def _capture(core: Core, inputs: Sequence[torch.Tensor]) -> Captured:
    """The core in operations that can be lowered, with outputs in the layout that the core itself gives them."""
    table = {op: rule for op, rule in decompositions().items() if _name_of(op) not in _WHOLE}
    with torch.no_grad():
        graph = make_fx(core.graph, decomposition_table=table, tracing_mode="fake")(*inputs)
    _settle_layouts(graph, core)
    graph.graph.eliminate_dead_code()
    count = len(core.outputs)
    tree = pytree.tree_structure(tuple(range(count)))
    return replace(capture_graph(graph, tuple(inputs)), treespec=pytree.treespec_dumps(tree))


def _settle_layouts(module: fx.GraphModule, core: Core) -> None:
    """A decomposition may order memory otherwise: a copy then restores the order that callers rely on."""
    graph = module.graph
    end = next(n for n in graph.nodes if n.op == "output")
    settled: list[Any] = []
    for node, want in zip(end.args[0], core.outputs, strict=True):
        if node.meta["val"].stride() != want.stride():
            with graph.inserting_before(end):
                copy = graph.call_function(torch.ops.aten.clone.default, (node,))
            copy.meta["val"] = want
            settled.append(copy)
        else:
            settled.append(node)
    end.args = (tuple(settled),)


def _name(node: fx.Node) -> str:
    return _name_of(node.target)


def _name_of(target: object) -> str:
    return target._schema.name.removeprefix("aten::") if isinstance(target, torch._ops.OpOverload) else str(target)


__all__ = ["Proposer"]
