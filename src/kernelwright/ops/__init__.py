"""Public operations, served by winners of the search."""

from __future__ import annotations

from ._lowbit import LowBitWeight, lowbit_matmul, prepare, product_of
from ._pairwise import (
    LazyMatrix,
    Pairs,
    arccos,
    cosine,
    fidelity,
    gaussian,
    inverse_multiquadric,
    laplace,
    matern,
    pairs,
    polynomial,
)
from ._pairwise_run import watching

__all__ = [
    "LazyMatrix",
    "LowBitWeight",
    "Pairs",
    "arccos",
    "cosine",
    "fidelity",
    "gaussian",
    "inverse_multiquadric",
    "laplace",
    "lowbit_matmul",
    "matern",
    "pairs",
    "polynomial",
    "prepare",
    "product_of",
    "watching",
]
