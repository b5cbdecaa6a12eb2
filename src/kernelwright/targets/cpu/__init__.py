"""The CPU: C++ with vector extensions and torch's own threads."""

from ._build import INCLUDE, PLAIN_MARK, Built, build, build_cached, known_compiler, library_in_cache, plain, toolchain
from ._compile import run_compiler
from ._launch import Launcher
from ._memory import Allocate, allocate
from ._parts import ENTRIES_MARK, KERNEL_MARK
from ._recipe import KNOWN_FLAGS, Recipe, flatten, headers_of, recipe

__all__ = [
    "ENTRIES_MARK",
    "INCLUDE",
    "KERNEL_MARK",
    "KNOWN_FLAGS",
    "PLAIN_MARK",
    "Allocate",
    "Built",
    "Launcher",
    "Recipe",
    "allocate",
    "build",
    "build_cached",
    "flatten",
    "headers_of",
    "known_compiler",
    "library_in_cache",
    "plain",
    "recipe",
    "run_compiler",
    "toolchain",
]
