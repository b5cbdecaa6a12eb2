"""This machine: what it is (cores, caches, lanes, compiler) and how fast it is at best; and GPUs, as data."""

from kernelwright.machine._compiler import Compiler, find_compiler
from kernelwright.machine._describe import Machine, describe, fingerprint, vector_registers, versions
from kernelwright.machine._gpu import H200, Device, Gpu, find_device, find_gpu
from kernelwright.machine._gpu_peaks import GpuPeaks, gpu_peaks
from kernelwright.machine._peaks import Peaks, peaks

__all__ = [
    "H200",
    "Compiler",
    "Device",
    "Gpu",
    "GpuPeaks",
    "Machine",
    "Peaks",
    "describe",
    "find_compiler",
    "find_device",
    "find_gpu",
    "fingerprint",
    "gpu_peaks",
    "peaks",
    "vector_registers",
    "versions",
]
