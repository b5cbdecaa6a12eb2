"""Reductions over pairs of points: for every x_i, over all z_j, of a formula of their inner product and distance."""

from __future__ import annotations

from ._blocked import KINDS, Reduction, blocked, cut
from ._candidate import MOST_BEST, MOST_DEPTH, MOST_POINTS, MOST_VALUES, candidate, has_kernel, sizes
from ._expression import LEAVES, Node, add, apply, const, derivative, mul, walk
from ._program import Program, Step, at, dense, linearise

__all__ = [
    "KINDS",
    "LEAVES",
    "MOST_BEST",
    "MOST_DEPTH",
    "MOST_POINTS",
    "MOST_VALUES",
    "Node",
    "Program",
    "Reduction",
    "Step",
    "add",
    "apply",
    "at",
    "blocked",
    "candidate",
    "const",
    "cut",
    "dense",
    "derivative",
    "has_kernel",
    "linearise",
    "mul",
    "sizes",
    "walk",
]
