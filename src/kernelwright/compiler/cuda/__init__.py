"""The CUDA code generator: the same tensor programs as readable CUDA C++ for what moves memory."""

from ._code import CudaCode
from ._module import CudaKernel, cuda_kernels, emit_cuda

__all__ = ["CudaCode", "CudaKernel", "cuda_kernels", "emit_cuda"]
