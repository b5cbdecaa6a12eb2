"""Proves of a printed source that its indices are right, independently of the compiler that printed it.

The text is parsed, its loops, calls and parallel regions are read as sets of iterations, and every access as a relation
from iterations to elements; isl decides. See ``docs/trust.md``.
"""

from ._proof import SECONDS, KernelProof, Proof, prove

__all__ = ["SECONDS", "KernelProof", "Proof", "prove"]
