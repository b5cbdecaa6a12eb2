"""C++ extensions that a Python candidate asks of torch's ``load_inline``, built before it runs.

Behind the judge's walls no compiler runs. So the judge reads off the candidate's text what it will ask for
(``judge/_extensions``) and builds that as torch would; in the worker ``load_inline`` finds what was built, by content.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import re
import sys
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from ..errors import CompilerMissing, ExtensionRefused
from ..machine import Compiler
from .cpu import Built, build_cached, known_compiler, library_in_cache
from .cpu._compile import run_compiler

# What an author may tell the compiler and the linker. Anything else could make them run a program or read a file.
_OPTIMISES = (
    r"O([0-3sg]|fast)?|march=[\w.+-]+|mtune=[\w.+-]+|m(no-)?(avx|sse|fma|bmi|f16c|popcnt|amx|vzeroupper)[\w.-]*"
)
_MATHS = (
    r"f(no-)?(openmp|fast-math|math-errno|trapping-math|finite-math-only|associative-math|reciprocal-math|signed-zeros|"
    r"unroll-loops|tree-vectorize|tree-slp-vectorize|strict-aliasing|omit-frame-pointer|inline-functions|exceptions|rtti)"
)
_OTHERS = r"mprefer-vector-width=\d+|ffp-contract=\w+|fopenmp-simd|std=(c|gnu)\+\+\w+|pthread|g\d?|w|W[\w=-]+"
_COMPILES = re.compile(rf"-({_OPTIMISES}|{_MATHS}|{_OTHERS}|[DU]\w+(=[\w.+-]*)?)")
_LINKS = re.compile(r"-(l(gomp|m|pthread|dl)|fopenmp|pthread|O[0-3]?)")
_NAME = re.compile(r"[A-Za-z_]\w*")
_LIBRARIES = ("-lc10", "-ltorch_cpu", "-ltorch", "-ltorch_python")


@dataclass(frozen=True)
class Extension:
    """What ``load_inline`` is asked for. ``functions``: names to bind, with their docstrings; None: the text binds."""

    name: str
    sources: tuple[str, ...]
    functions: tuple[tuple[str, str], ...] | None
    flags: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    headers: bool = True
    safely: bool = True

    @property
    def text(self) -> str:
        """The translation unit that torch would write."""
        lines = ["#include <torch/extension.h>"] if self.headers else []
        lines += self.sources
        if self.functions is not None:
            lines.append("PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {")
            for name, doc in self.functions:
                bound = f"torch::wrap_pybind_function({name})" if self.safely else name
                lines.append(f"m.def({json.dumps(name)}, {bound}, {json.dumps(doc)});")
            lines.append("}")
        return "\n".join(lines) + "\n"


def extension_of(arguments: Mapping[str, Any]) -> Extension:
    """The extension of a call of ``load_inline`` with these arguments. Raises ``ExtensionRefused`` with the reason."""
    unknown = sorted(set(arguments) - _PARAMETERS.keys())
    given = {**_PARAMETERS, **arguments}
    if unknown:
        raise ExtensionRefused(f"load_inline has no argument {unknown[0]!r}")
    if given["cuda_sources"] or given["with_cuda"] or given["sycl_sources"] or given["with_sycl"]:
        raise ExtensionRefused("it holds sources for a GPU, which is not there")
    if given["extra_include_paths"] or not given["is_python_module"]:
        raise ExtensionRefused("it needs files besides its text")
    found = Extension(
        name=str(given["name"]),
        sources=_texts(given["cpp_sources"]),
        functions=_functions(given["functions"]),
        flags=tuple(flag.strip() for flag in _texts(given["extra_cflags"])),
        links=tuple(flag.strip() for flag in _texts(given["extra_ldflags"])),
        headers=not given["no_implicit_headers"],
        safely=bool(given["with_pytorch_error_handling"]),
    )
    if not _NAME.fullmatch(found.name):
        raise ExtensionRefused(f"its name is {found.name!r}, which is no identifier")
    refused = [flag for flag in found.flags if not _COMPILES.fullmatch(flag)]
    refused += [flag for flag in found.links if not _LINKS.fullmatch(flag)]
    if refused:
        raise ExtensionRefused(f"its flag {refused[0]!r} is none of those that are known to be harmless")
    return found


def build_extension(extension: Extension, *, timeout: float = 180.0) -> Built:
    """Compile it as torch does, and run nothing of it.

    Raises ``BuildFailed``, ``CompilerMissing`` or ``CacheUnusable``.
    """
    compiler = known_compiler()
    if compiler.kind == "zig":
        raise CompilerMissing("An extension of torch needs g++ or clang++: zig's C++ library is not the one torch has.")

    def compile_in(folder: Path, end: float) -> None:
        (folder / "kernel.cpp").write_text(extension.text)
        run_compiler(
            [*compiler.argv, *_command(extension), "kernel.cpp", "-o", "kernel.so", *_linked(extension)], folder, end
        )

    return build_cached(_key(extension, compiler), compile_in, timeout)


@functools.cache
def find_built_extensions() -> None:
    """From now on ``load_inline`` takes what :func:`build_extension` has built; torch builds the rest, if it can."""
    from torch.utils import cpp_extension  # here and below only: importing it takes as long as much of torch

    original: Callable[..., Any] = cpp_extension.load_inline

    def load_inline(*args: Any, **options: Any) -> Any:
        try:
            extension = extension_of({**dict(zip(_PARAMETERS, args, strict=False)), **options})
            library = library_in_cache(_key(extension, known_compiler()))
        except (ExtensionRefused, CompilerMissing):
            library = None
        return original(*args, **options) if library is None else _import(extension.name, library)

    cpp_extension.load_inline = load_inline


def _import(name: str, library: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, library)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules.setdefault(name, module)
    return module


def _command(extension: Extension) -> list[str]:
    """torch's own command: it optimises only where the author says so."""
    from torch.utils import cpp_extension

    headers = [*cpp_extension.include_paths("cpu"), sysconfig.get_path("include")]
    return [
        "-shared", "-fPIC", "-std=c++20", f"-DTORCH_EXTENSION_NAME={extension.name}", "-DTORCH_API_INCLUDE_EXTENSION_H",
        *(word for path in headers for word in ("-isystem", path)), *extension.flags,
    ]  # fmt: skip


def _linked(extension: Extension) -> list[str]:
    from torch.utils import cpp_extension

    return [*extension.links, *(f"-L{path}" for path in cpp_extension.library_paths("cpu")), *_LIBRARIES]


def _key(extension: Extension, compiler: Compiler) -> str:
    content = [asdict(extension), compiler.identity, list(compiler.argv), torch.__version__, sys.version]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _texts(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    texts = [value] if isinstance(value, str) else list(value) if isinstance(value, Sequence) else [None]
    if not all(isinstance(text, str) for text in texts):
        raise ExtensionRefused("its sources and flags are no texts")
    return tuple(str(text) for text in texts)


def _functions(value: object) -> tuple[tuple[str, str], ...] | None:
    if value is None:
        return None
    if isinstance(value, Mapping):
        return tuple((str(name), str(doc)) for name, doc in value.items())
    return tuple((name, name) for name in _texts(value))


# Arguments of ``load_inline`` in their order, with what they are where they are not given.
_PARAMETERS: dict[str, Any] = {
    "name": "", "cpp_sources": (), "cuda_sources": None, "sycl_sources": None, "functions": None, "extra_cflags": None,
    "extra_cuda_cflags": None, "extra_sycl_cflags": None, "extra_ldflags": None, "extra_include_paths": None,
    "build_directory": None, "verbose": False, "with_cuda": None, "with_sycl": None, "is_python_module": True,
    "with_pytorch_error_handling": True, "keep_intermediates": True, "use_pch": False, "no_implicit_headers": False,
}  # fmt: skip

__all__ = ["Extension", "build_extension", "extension_of", "find_built_extensions"]
