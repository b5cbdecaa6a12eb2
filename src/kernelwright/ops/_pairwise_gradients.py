"""Gradients of reductions over pairs: reductions over pairs again, of the formula's derivatives.

With ``out_i = sum_j K_ij v_j`` and a cotangent c, every gradient is a sum of ``w_ij dK_ij`` with ``w_ij = <c_i, v_j>``:
over columns for what belongs to rows, over rows for what belongs to columns. For one right-hand side w is a product
and goes into the values that are summed; for several it is one more inner product in the formula. The log of a sum of
exponentials has ``w_ij = c_i exp(K_ij - out_i)``.

The backward passes are made of the same differentiable operations, so that second derivatives need nothing more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..kernels.pairwise import Node, Program, Reduction, apply, dense, derivative, linearise, mul, walk
from ._pairwise_run import run

Tensor = torch.Tensor
Shape = tuple[int, int]


def weighted(root: Node, shape: Shape, v: Tensor) -> Tensor:
    """``[n, r]``: the matrix of the formula times v ``[m, r]``."""
    if root.op == "const":
        return (root.value * v.sum(0)).expand(shape[0], v.shape[1])
    program, tensors = linearise(root)
    return _Weighted.apply(program, shape, v, *tensors)


def logsumexp(root: Node, shape: Shape) -> Tensor:
    """``[n]``: the log of the sum of exponentials of each row."""
    program, tensors = linearise(root)
    return _LogSumExp.apply(program, shape, *tensors)


def matrix(root: Node, shape: Shape) -> Tensor:
    """``[n, m]``: the matrix itself. With gradients it is PyTorch's own, which keeps what lies between."""
    program, tensors = linearise(root)
    if not tensors or (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)):
        return dense(root).expand(shape).contiguous()
    return run(Reduction(program, "dense"), tensors, (), shape)[0]


def transposed(root: Node) -> Node:
    """The formula with rows and columns changed."""
    names = {"row": "col", "col": "row"}
    new: dict[int, Node] = {}
    for node in walk(root):
        args = tuple(new[id(arg)] for arg in node.args)
        new[id(node)] = Node(names.get(node.op, node.op), args, node.value, node.tensors[::-1])
    return new[id(root)]


class _Weighted(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, program: Program, shape: Shape, v: Tensor, *tensors: Tensor) -> Tensor:
        ctx.program, ctx.shape = program, shape
        ctx.save_for_backward(v, *tensors)
        return run(Reduction(program, "sum"), tensors, (v,), shape)[0]

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        v, *tensors = ctx.saved_tensors
        nodes = ctx.program.bind(tuple(tensors))
        by_v = None
        if ctx.needs_input_grad[2]:
            by_v = weighted(transposed(nodes[-1]), ctx.shape[::-1], cotangents[0])
        weights = _Weights(None, ctx.shape, cotangents[0], v)
        return None, None, by_v, *_pull(ctx.program, nodes, weights, ctx.needs_input_grad[3:])


class _LogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, program: Program, shape: Shape, *tensors: Tensor) -> Tensor:
        ctx.program, ctx.shape = program, shape
        (out,) = run(Reduction(program, "logsumexp"), tensors, (), shape)
        ctx.save_for_backward(out, *tensors)
        return out

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        out, *tensors = ctx.saved_tensors
        nodes = ctx.program.bind(tuple(tensors))
        share = apply("exp", apply("sub", nodes[-1], Node("row", tensors=(out,))))
        weights = _Weights(share, ctx.shape, cotangents[0][:, None], out.new_ones(ctx.shape[1], 1))
        return None, None, *_pull(ctx.program, nodes, weights, ctx.needs_input_grad[2:])


@dataclass(frozen=True)
class _Weights:
    """w_ij = outer_ij <c_i, v_j>: what a change of the formula at (i, j) is worth. c is ``[n, r]``, v ``[m, r]``."""

    outer: Node | None
    shape: Shape
    c: Tensor
    v: Tensor

    @property
    def turned(self) -> _Weights:
        outer = None if self.outer is None else transposed(self.outer)
        return _Weights(outer, self.shape[::-1], self.v, self.c)

    def sums(self, slope: Node, values: Tensor) -> Tensor:
        """``[n, q]``: the sum over j of w_ij slope_ij values_j, for values ``[m, q]``."""
        inside = slope if self.outer is None else mul(slope, self.outer)
        if self.c.shape[1] == 1:
            return self.c * weighted(inside, self.shape, self.v * values)
        return weighted(mul(inside, Node("inner", tensors=(self.c, self.v))), self.shape, values)


def _pull(program: Program, nodes: list[Node], weights: _Weights, wanted: Sequence[bool]) -> list[Tensor | None]:
    """The gradients in the formula's tensors; None where they are not wanted."""
    found: list[Tensor | None] = [None] * program.count
    for step, leaf in zip(program.steps, nodes, strict=True):
        for side, place in enumerate(program.slots(step)):
            if wanted[place]:
                slope = derivative(nodes[-1], leaf)
                made = _of_leaf(leaf, side, slope, weights)
                known = found[place]
                found[place] = made if known is None else known + made
    return found


def _of_leaf(leaf: Node, side: int, slope: Node, weights: _Weights) -> Tensor:
    """The gradient in a leaf's tensor: of its points x (``side`` 0) or z (1), of its rows, columns or parameter."""
    if side == 1 or leaf.op == "col":
        leaf, slope, weights = transposed(leaf), transposed(slope), weights.turned
    ones = weights.v.new_ones(weights.shape[1], 1)
    if leaf.op == "param":
        return weights.sums(slope, ones).sum()
    if leaf.op == "row":
        return weights.sums(slope, ones)[:, 0]
    x, z = leaf.tensors
    if leaf.op == "inner":
        return weights.sums(slope, z)
    middle = z.detach().mean(0)  # sums of differences from it cancel less
    made = weights.sums(slope, torch.cat([z - middle, ones], 1))
    return 2 * ((x - middle) * made[:, -1:] - made[:, :-1])
