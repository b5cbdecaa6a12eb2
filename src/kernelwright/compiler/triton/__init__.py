"""The Triton code generator: the same tensor programs as tile programs, printed as readable Python."""

from ._code import TritonCode
from ._module import TritonKernel, emit_triton, triton_kernels

__all__ = ["TritonCode", "TritonKernel", "emit_triton", "triton_kernels"]
