"""The CPU: C++ with vector extensions and torch's own threads."""

from ._build import INCLUDE, Built, build
from ._launch import Allocate, Launcher, allocate

__all__ = ["INCLUDE", "Allocate", "Built", "Launcher", "allocate", "build"]
