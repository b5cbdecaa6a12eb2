"""AXPY, GEMV, SpMV, Jacobi and conjugate gradients as C++ with OpenMP: what the compiler cannot say well.

Sums over the rows of a matrix in CSR form, in-place updates and a loop until convergence have no tensor program, and a
product with a vector in float64 is bound by memory, for which these are written. They are proposed as text and judged
like anybody's.
"""

from ._sources import KERNELS, Schedule, schedules, source

__all__ = ["KERNELS", "Schedule", "schedules", "source"]
