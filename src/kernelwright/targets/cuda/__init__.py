"""NVIDIA GPUs through CUDA C++: emulated in the judge's worker, compiled ahead of time, launched on a GPU."""

from ._build import build_cuda, find_cuda_compiler, known_compiler, toolchain
from ._emulate import EmulationFailed, build_emulated
from ._module import build_for, load_cuda
from ._report import report, reports
from ._sanitize import find_sanitizer, sanitize

__all__ = [
    "EmulationFailed",
    "build_cuda",
    "build_emulated",
    "build_for",
    "find_cuda_compiler",
    "find_sanitizer",
    "known_compiler",
    "load_cuda",
    "report",
    "reports",
    "sanitize",
    "toolchain",
]
