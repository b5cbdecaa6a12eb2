"""Reductions over pairs of points: for every x_i, over all z_j, of a formula of their inner product and distance."""

from __future__ import annotations

from ._blocked import KINDS, Reduction, blocked, cut
from ._expression import LEAVES, Node, add, apply, const, derivative, mul, walk
from ._program import Program, Step, at, dense, linearise

__all__ = [
    "KINDS",
    "LEAVES",
    "Node",
    "Program",
    "Reduction",
    "Step",
    "add",
    "apply",
    "at",
    "blocked",
    "const",
    "cut",
    "dense",
    "derivative",
    "linearise",
    "mul",
    "walk",
]
