"""A formula in a row of steps, without tensors: what a kernel is made for, and what a reference evaluates.

Two formulas that differ in their tensors alone give the same :class:`Program`, so that one kernel serves both.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ._expression import LEAVES, Node, evaluate, walk

Tensor = torch.Tensor
_DIRECT = (
    32  # coordinates up to which distances are differences squared; beyond it inner products in float64 are quicker
)


@dataclass(frozen=True)
class Step:
    """One value: ``op`` on the values of earlier steps; ``value`` is a constant, an exponent or a leaf's slot."""

    op: str
    args: tuple[int, ...] = ()
    value: float = 0.0


@dataclass(frozen=True)
class Program:
    """Steps, and how many tensors of each kind they read.

    Tensors come in one order everywhere: the points ``x, z`` of every set, rows, columns, parameters.
    """

    steps: tuple[Step, ...]
    sets: int
    rows: int
    cols: int
    params: int

    @property
    def count(self) -> int:
        """How many tensors the formula reads."""
        return 2 * self.sets + self.rows + self.cols + self.params

    def bind(self, tensors: tuple[Tensor, ...]) -> list[Node]:
        """The formula of these tensors as a graph: a node for each step, the formula last."""
        nodes: list[Node] = []
        for step in self.steps:
            held = tuple(tensors[at] for at in self.slots(step))
            value = 0.0 if step.op in LEAVES else step.value
            nodes.append(Node(step.op, tuple(nodes[arg] for arg in step.args), value, held))
        return nodes

    def slots(self, step: Step) -> tuple[int, ...]:
        """Positions of the tensors that a leaf reads."""
        slot = int(step.value)
        if step.op in ("inner", "sqdist"):
            return (2 * slot, 2 * slot + 1)
        first = {"row": 0, "col": self.rows, "param": self.rows + self.cols}
        return (2 * self.sets + first[step.op] + slot,) if step.op in first else ()

    def shape(self, tensors: tuple[Tensor, ...]) -> tuple[int, int]:
        """Rows and columns, which a formula with points or with both rows and columns says."""
        first = 2 * self.sets
        if self.sets:
            return tensors[0].shape[0], tensors[1].shape[0]
        return tensors[first].shape[0], tensors[first + self.rows].shape[0]


def linearise(root: Node) -> tuple[Program, tuple[Tensor, ...]]:
    """The program of a graph and its tensors; equal parts become one, tensors are told apart by identity."""
    numbers: dict[tuple[str, tuple[int, ...], float], int] = {}
    where: dict[int, int] = {}
    held: dict[str, list[tuple[Tensor, ...]]] = {"points": [], "row": [], "col": [], "param": []}
    for node in walk(root):
        value = node.value
        if node.op in LEAVES:
            known = held["points" if node.op in ("inner", "sqdist") else node.op]
            value = float(_slot(known, node.tensors))
        key = (node.op, tuple(where[id(arg)] for arg in node.args), value)
        where[id(node)] = numbers.setdefault(key, len(numbers))
    sizes = [len(held[kind]) for kind in ("points", "row", "col", "param")]
    tensors = tuple(tensor for kind in held.values() for group in kind for tensor in group)
    return Program(tuple(Step(*key) for key in numbers), *sizes), tensors


def _slot(known: list[tuple[Tensor, ...]], tensors: tuple[Tensor, ...]) -> int:
    for slot, others in enumerate(known):
        if all(a is b for a, b in zip(others, tensors, strict=True)):
            return slot
    known.append(tensors)
    return len(known) - 1


def dense(root: Node) -> Tensor:
    """The matrix of all pairs ``[n, m]``, as anybody would compute it."""
    value = evaluate(root, _matrix)
    shape = torch.broadcast_shapes(*(_shape(node) for node in walk(root) if node.op in LEAVES))
    return value.expand(shape)


def at(root: Node, chosen: Tensor) -> Tensor:
    """The values ``[n, k]`` of the pairs (i, chosen[i, k])."""
    return evaluate(root, lambda leaf: _gathered(leaf, chosen)).expand(chosen.shape)


def _shape(leaf: Node) -> tuple[int, ...]:
    if leaf.op == "param":
        return (1, 1)
    if leaf.op in ("row", "col"):
        size = leaf.tensors[0].shape[0]
        return (size, 1) if leaf.op == "row" else (1, size)
    return (leaf.tensors[0].shape[0], leaf.tensors[1].shape[0])


def _matrix(leaf: Node) -> Tensor:
    if leaf.op == "inner":
        return leaf.tensors[0] @ leaf.tensors[1].mT
    if leaf.op == "sqdist":
        return sqdist(*leaf.tensors)
    return leaf.tensors[0] if leaf.op == "param" else leaf.tensors[0].reshape(_shape(leaf))


def _gathered(leaf: Node, chosen: Tensor) -> Tensor:
    if leaf.op == "param":
        return leaf.tensors[0]
    if leaf.op == "row":
        return leaf.tensors[0][:, None]
    if leaf.op == "col":
        return leaf.tensors[0][chosen]
    x, z = leaf.tensors[0][:, None], leaf.tensors[1][chosen]
    return (x * z if leaf.op == "inner" else (x - z).square()).sum(-1)


def sqdist(x: Tensor, z: Tensor) -> Tensor:
    """Squared distances ``[n, m]``, without the cancellation of ``|x|^2 + |z|^2 - 2 <x, z>`` in float32.

    Few coordinates are subtracted one by one; many go through inner products of centred points in float64 (where an
    infinite coordinate becomes NaN, which a kernel keeps infinite).
    """
    if x.shape[1] <= _DIRECT:
        total = x.new_zeros(x.shape[0], z.shape[0])
        for k in range(x.shape[1]):
            total = total + (x[:, k, None] - z[None, :, k]).square()
        return total
    middle = z.detach().double().mean(0) if len(z) else 0.0
    a, b = x.double() - middle, z.double() - middle
    norms = a.square().sum(1, keepdim=True) + b.square().sum(1)
    return torch.addmm(norms, a, b.mT, alpha=-2).clamp(min=0).to(x.dtype)
