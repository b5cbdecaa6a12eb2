"""This machine: what it is (cores, caches, lanes, compiler) and how fast it is at best."""

from kernelwright.machine._compiler import Compiler, find_compiler
from kernelwright.machine._describe import Machine, describe, fingerprint, versions
from kernelwright.machine._peaks import Peaks, peaks

__all__ = ["Compiler", "Machine", "Peaks", "describe", "find_compiler", "fingerprint", "peaks", "versions"]
