"""This machine: what it is (cores, caches, lanes, compiler) and how fast it is at best."""

from kernelwright.machine._compiler import Compiler, find_compiler
from kernelwright.machine._describe import Machine, describe, fingerprint, versions

__all__ = ["Compiler", "Machine", "describe", "find_compiler", "fingerprint", "versions"]
