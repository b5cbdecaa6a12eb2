"""This machine: what it is (cores, caches, lanes, compiler) and how fast it is at best; and GPUs, as data."""

from kernelwright.machine._compiler import Compiler, find_compiler
from kernelwright.machine._describe import Machine, describe, fingerprint, versions
from kernelwright.machine._gpu import H200, Gpu, find_gpu
from kernelwright.machine._peaks import Peaks, peaks

__all__ = [
    "H200",
    "Compiler",
    "Gpu",
    "Machine",
    "Peaks",
    "describe",
    "find_compiler",
    "find_gpu",
    "fingerprint",
    "peaks",
    "versions",
]
