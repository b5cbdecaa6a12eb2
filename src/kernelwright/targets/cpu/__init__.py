"""The CPU: C++ with vector extensions and torch's own threads."""

from ._build import INCLUDE, Built, build, toolchain
from ._launch import Launcher
from ._memory import Allocate, allocate
from ._parts import ENTRIES_MARK, KERNEL_MARK

__all__ = [
    "ENTRIES_MARK",
    "INCLUDE",
    "KERNEL_MARK",
    "Allocate",
    "Built",
    "Launcher",
    "allocate",
    "build",
    "toolchain",
]
