"""Builds CUDA C++ into machine code for a named architecture: by NVRTC or nvcc, whichever is there, without a GPU."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ...errors import CudaMissing
from ...machine import H200
from ..cpu import Built, build_cached
from ..cpu._compile import run_compiler

INCLUDE = Path(__file__).parent / "include"
_NVRTC = Path(__file__).parent / "_nvrtc.py"
_FLAGS = ("-std=c++17",)
_ROOTS = ("/usr/local/cuda", "/opt/cuda")


@dataclass(frozen=True)
class CudaCompiler:
    """``kind`` is "nvrtc" (``path`` is its library) or "nvcc"; ``identity`` is what decides the machine code."""

    kind: str
    path: Path
    identity: str

    def command(self, source: str, cubin: str, architecture: str) -> list[str]:
        """How it compiles a file."""
        flags = [*_FLAGS, f"-I{INCLUDE}", *(f"-I{folder}" for folder in vendor_headers())]
        if self.kind == "nvcc":
            return [str(self.path), f"-arch={architecture}", "-cubin", *flags, source, "-o", cubin]
        options = [f"--gpu-architecture={architecture}", *flags]
        return [sys.executable, "-I", str(_NVRTC), str(self.path), source, cubin, *options]


def build_cuda(source: str, architecture: str = H200.architecture, *, timeout: float = 120.0) -> Built:
    """Compile a source to a cubin, which lies in the cache then.

    Raises ``CudaMissing`` without a compiler, ``CacheUnusable``, and ``BuildFailed`` with the compiler's first error.
    """
    compiler = known_compiler()
    key = hashlib.sha256("\0".join((source, compiler.identity, architecture, headers_digest())).encode()).hexdigest()

    def compile_in(folder: Path, end: float) -> None:
        (folder / "kernel.cu").write_text(source)
        run_compiler(compiler.command("kernel.cu", "kernel.cubin", architecture), folder, end)

    return build_cached(key, compile_in, timeout, source="kernel.cu", made="kernel.cubin")


def known_compiler() -> CudaCompiler:
    """This machine's. Raises ``CudaMissing``."""
    compiler = find_cuda_compiler()
    if compiler is None:
        raise CudaMissing(
            "The target cuda needs NVRTC or nvcc: pip install 'kernelwright[cuda]', or put nvcc on the PATH."
        )
    return compiler


@functools.cache
def find_cuda_compiler() -> CudaCompiler | None:
    """NVRTC from a wheel or a toolkit, else nvcc, else None."""
    for library in _libraries():
        return CudaCompiler("nvrtc", library, f"nvrtc {_nvrtc_version(library)}")
    for folder in [*(root / "bin" for root in _toolkits()), None]:
        found = shutil.which("nvcc", path=str(folder) if folder else None)
        if found:
            return CudaCompiler("nvcc", Path(found), f"nvcc {_nvcc_version(found)}")
    return None


def toolchain() -> str:
    """What decides the machine code of a source here; "" without a compiler."""
    compiler = find_cuda_compiler()
    return f"{compiler.identity}, {H200.architecture}, headers {headers_digest()[:12]}" if compiler else ""


@functools.cache
def headers_digest() -> str:
    """Of our headers: what they say decides what a source becomes."""
    digest = hashlib.sha256()
    for header in sorted((INCLUDE / "kw").glob("*.h")):
        digest.update(header.name.encode() + header.read_bytes())
    return digest.hexdigest()


@functools.cache
def vendor_headers() -> tuple[Path, ...]:
    """Folders with the vendor's headers (cuda_fp16.h and others), for sources that include them; ours do not."""
    wheels = [Path(root) / "include" for root in _wheels()]
    return tuple(f for f in (*wheels, *(r / "include" for r in _toolkits())) if (f / "cuda_fp16.h").exists())


def _libraries() -> Iterator[Path]:
    for folder in (*(root / "lib" for root in _wheels()), *(root / "lib64" for root in _toolkits())):
        yield from sorted(folder.glob("libnvrtc.so.*"), reverse=True)


def _wheels() -> Iterator[Path]:
    """Where NVIDIA's wheels lie: one folder for each major version, or for each package."""
    spec = importlib.util.find_spec("nvidia")
    for root in (spec.submodule_search_locations or ()) if spec is not None else ():
        yield from sorted((p for p in Path(root).glob("*") if p.is_dir()), reverse=True)


def _toolkits() -> list[Path]:
    named = [os.environ[name] for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
    return [Path(root) for root in (*named, *_ROOTS) if Path(root).is_dir()]


def _nvrtc_version(library: Path) -> str:
    if "site-packages" in library.parts or "dist-packages" in library.parts:
        for package in ("nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc-cu12"):
            try:
                return version(package)
            except PackageNotFoundError:
                continue
    return library.resolve().name.removeprefix("libnvrtc.so.")


def _nvcc_version(path: str) -> str:
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30).stdout
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    found = re.search(r"V(\d+(\.\d+)+)", said)
    return found[1] if found else "unknown"
