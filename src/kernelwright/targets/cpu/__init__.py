"""The CPU: C++ with vector extensions and torch's own threads."""

from ._build import INCLUDE, Built, build, toolchain
from ._launch import Launcher
from ._memory import Allocate, allocate

__all__ = ["INCLUDE", "Allocate", "Built", "Launcher", "allocate", "build", "toolchain"]
