"""The CPU: C++ with vector extensions and torch's own threads."""

from ._build import INCLUDE, Built, build, toolchain
from ._fast import Allocate, allocate
from ._launch import Launcher

__all__ = ["INCLUDE", "Allocate", "Built", "Launcher", "allocate", "build", "toolchain"]
