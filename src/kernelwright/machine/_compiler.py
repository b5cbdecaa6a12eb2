"""Finds the C++ compiler: the user's choice, g++, clang++, else the clang that the ``ziglang`` package brings."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass

from kernelwright.errors import CompilerMissing

#: Names this compiler instead of those on the PATH, with leading arguments if any ("ccache g++-13").
OVERRIDE = "KERNELWRIGHT_CXX"


@dataclass(frozen=True)
class Compiler:
    """``argv`` starts its command line, ``kind`` is "gcc", "clang" or "zig", ``version`` e.g. "12.2.0".

    ``identity`` is the first line it prints for ``--version``: what a build cache must key on.
    """

    argv: tuple[str, ...]
    kind: str
    version: str
    identity: str

    @property
    def label(self) -> str:
        return f"{self.kind} {self.version}"

    def native_flags(self) -> tuple[str, ...]:
        """The flags that let it use every instruction of this machine."""
        return ("-mcpu=native",) if self.kind == "zig" else ("-march=native",)


def find_compiler() -> Compiler | None:
    """The compiler to build kernels with, or None; :class:`CompilerMissing` when KERNELWRIGHT_CXX is unusable."""
    return _find(os.environ.get(OVERRIDE, ""), os.environ.get("PATH", ""))


@functools.lru_cache(maxsize=8)
def _find(override: str, path: str) -> Compiler | None:
    if override:
        argv = tuple(shlex.split(override))
        found = _probe(argv)
        if found is None:
            raise CompilerMissing(
                f"{OVERRIDE} is {override!r}, which does not run; set it to a C++ compiler or unset it."
            )
        return found
    for name in ("g++", "clang++"):
        executable = shutil.which(name, path=path)
        found = _probe((executable,)) if executable else None
        if found is not None:
            return found
    if importlib.util.find_spec("ziglang") is None:
        return None
    return _probe((sys.executable, "-m", "ziglang", "c++"))


def _probe(argv: tuple[str, ...]) -> Compiler | None:
    """Ask a compiler who it is; None when it does not answer like one."""
    try:
        run = subprocess.run([*argv, "--version"], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    identity = run.stdout.partition("\n")[0].strip()
    version = re.search(r"\d+\.\d+(\.\d+)?", re.sub(r"\(.*?\)", "", identity))
    if version is None:
        return None
    return Compiler(argv, _kind(argv, run.stdout), version.group(), identity)


def _kind(argv: tuple[str, ...], text: str) -> str:
    if "ziglang" in argv or os.path.basename(argv[0]) == "zig":
        return "zig"
    return "clang" if "clang" in text.lower() else "gcc"
