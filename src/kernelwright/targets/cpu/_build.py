"""Builds C++ candidates into shared objects: content-addressed, atomic, concurrent, self-healing."""

from __future__ import annotations

import functools
import hashlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from tvm_ffi.libinfo import find_include_path

from ...errors import CacheUnusable, CompilerMissing
from ...machine import Compiler, find_compiler
from ...paths import cache_dir
from ...scratch import scratch_folder
from ._compile import run_compiler
from ._parts import split

INCLUDE = Path(__file__).parent / "include"
FLAGS = (
    "-std=c++20", "-O3", "-fPIC", "-fvisibility=hidden", "-fno-exceptions", "-fno-rtti",
    # Generated code is vector code already: looking for more costs a third of the compile time and finds nothing.
    "-fno-tree-vectorize",
    # NaN and inf keep their meaning; only errno, traps and unfused multiply-add are given up.
    "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-fno-semantic-interposition", "-w",
)  # fmt: skip

# A source that was not written for this compiler says so in its first line and is built as its author would build it.
PLAIN_MARK = "// kernelwright-build: plain "
_PLAIN = ("-fvisibility=default", "-ftree-vectorize", "-pthread")
_PLAIN_LANGUAGE = {"c++": ("-x", "c++", "-fexceptions", "-frtti"), "c": ("-x", "c", "-std=gnu17")}

_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
_SLOTS = threading.BoundedSemaphore(_CORES)  # parts that are compiled at once, of however many candidates


@dataclass(frozen=True)
class Built:
    """A shared object in the cache, and how long the compiler took (0.0 when it was there already)."""

    library: Path
    seconds: float


def build(source: str, *, timeout: float = 120.0) -> Built:
    """Compile a C++ translation unit that may include the ``kw/`` headers (or a plain one, see :func:`plain`).

    Raises ``CompilerMissing``, ``CacheUnusable`` or ``BuildFailed`` (with the compiler's first error).
    """
    compiler = known_compiler()
    return build_cached(_key(source, compiler), lambda folder, end: _compile(source, compiler, folder, end), timeout)


def known_compiler() -> Compiler:
    """This machine's. Raises ``CompilerMissing``."""
    compiler = find_compiler()
    if compiler is None:
        raise CompilerMissing(
            "No C++ compiler was found: install g++ or clang++, or `pip install ziglang`, or set KERNELWRIGHT_CXX."
        )
    return compiler


def build_cached(
    key: str,
    compile_in: Callable[[Path, float], None],
    timeout: float,
    *,
    source: str = "kernel.cpp",
    made: str = "kernel.so",
) -> Built:
    """The shared object of a key: from the cache, or made by ``compile_in`` (folder, end by ``time.monotonic``).

    That writes the files ``source`` and ``made`` into the folder, and may raise ``BuildFailed``.
    Raises ``CacheUnusable``.
    """
    folder = cache_dir() / "build" / key
    library = folder / made
    if _intact(library):
        return Built(library, 0.0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "lock"):
            if _intact(library):  # another process was faster
                return Built(library, 0.0)
            return Built(library, _fill(folder, compile_in, timeout, source, made))
    except OSError as error:
        raise CacheUnusable(
            f"The cache folder {cache_dir()} cannot be written ({error.strerror or error}): "
            "free some space, fix its permissions, or point KERNELWRIGHT_HOME elsewhere."
        ) from error


def library_in_cache(key: str) -> Path | None:
    """What :func:`build_cached` has made of a key, if it did."""
    library = cache_dir() / "build" / key / "kernel.so"
    return library if _intact(library) else None


def plain(text: str, language: str) -> str:
    """The source of a candidate written by somebody else, in "c" or "c++": built with an author's usual flags."""
    return f"{PLAIN_MARK}{language}\n#line 1\n{text}"


def toolchain() -> str:
    """What decides the machine code of a source here: compiler, flags, headers; "" without a compiler."""
    compiler = find_compiler()
    if compiler is None:
        return ""
    flags = hashlib.sha256(" ".join(_flags(compiler)).encode() + _headers_digest().encode()).hexdigest()
    return f"{compiler.identity}, headers and flags {flags[:12]}"


def command_flags(source: str, compiler: Compiler) -> tuple[str, ...]:
    """What the compiler is given for this source, besides where headers lie and which files are meant."""
    return (*_flags(compiler), *_plain_flags(source, compiler))


def _fill(folder: Path, compile_in: Callable[[Path, float], None], timeout: float, source: str, made: str) -> float:
    start = time.monotonic()
    with scratch_folder() as scratch:
        compile_in(scratch, start + timeout)
        seconds = time.monotonic() - start
        (scratch / "kernel.sha256").write_text(_digest(scratch / made))
        for name in (source, made, "kernel.sha256"):  # the digest last: it declares the build complete
            os.replace(scratch / name, folder / name)
        return seconds


def _compile(source: str, compiler: Compiler, scratch: Path, end: float) -> None:
    (scratch / "kernel.cpp").write_text(source)
    parts = split(source)
    if len(parts) == 1:
        _run(compiler, ["-shared", *_plain_flags(source, compiler), "kernel.cpp", "-o", "kernel.so"], scratch, end)
    else:
        objects = _objects(parts, compiler, end)
        _run(compiler, ["-shared", *map(str, objects), "-o", "kernel.so"], scratch, end)


def _objects(parts: Sequence[str], compiler: Compiler, end: float) -> list[Path]:
    """The parts' object files, compiled side by side, the longest first."""
    pool = ThreadPoolExecutor(max_workers=_CORES)
    try:
        order = sorted(range(len(parts)), key=lambda k: -len(parts[k]))
        running = {k: pool.submit(_object, parts[k], compiler, end) for k in order}
        return [running[k].result() for k in range(len(parts))]
    finally:
        pool.shutdown(cancel_futures=True)


def _object(part: str, compiler: Compiler, end: float) -> Path:
    """One part's object file: from the cache, where an earlier candidate with the same part has left it."""
    folder = cache_dir() / "build" / "parts"
    made = folder / f"{_key(part, compiler)}.o"
    if _intact(made):
        return made
    folder.mkdir(parents=True, exist_ok=True)
    with scratch_folder() as scratch:
        (scratch / "part.cpp").write_text(part)
        with _SLOTS:
            _run(compiler, ["-c", "part.cpp", "-o", "part.o"], scratch, end)
        (scratch / "part.sha256").write_text(_digest(scratch / "part.o"))
        os.replace(scratch / "part.o", made)
        os.replace(scratch / "part.sha256", made.with_suffix(".sha256"))
    return made


def _run(compiler: Compiler, arguments: Sequence[str], folder: Path, end: float) -> None:
    run_compiler([*compiler.argv, *_flags(compiler), f"-I{INCLUDE}", *arguments], folder, end)


def _flags(compiler: Compiler) -> tuple[str, ...]:
    # zig turns undefined behaviour into traps unless told otherwise.
    quiet = ("-fno-sanitize=undefined",) if compiler.kind == "zig" else ()
    return (*FLAGS, *compiler.native_flags(), *quiet)


def _plain_flags(source: str, compiler: Compiler) -> tuple[str, ...]:
    """What a plain source is built with beyond the usual flags; the last of two that contradict counts."""
    if not source.startswith(PLAIN_MARK):
        return ()
    language = source[len(PLAIN_MARK) :].partition("\n")[0].strip()
    threads = ("-fopenmp",) if compiler.kind == "gcc" else ()  # clang's own runtime may not be installed
    return (*_PLAIN, *threads, *_PLAIN_LANGUAGE.get(language, ()), f"-I{find_include_path()}")


def _key(source: str, compiler: Compiler) -> str:
    parts = (source, toolchain(), " ".join(compiler.argv), _isa(), *_plain_flags(source, compiler))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@functools.cache
def _headers_digest() -> str:
    digest = hashlib.sha256()
    for header in sorted((INCLUDE / "kw").glob("*.h")):
        digest.update(header.name.encode() + header.read_bytes())
    return digest.hexdigest()


@functools.cache
def _isa() -> str:
    """What "native" means here: a cache folder shared between machines must not mix instruction sets."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def _intact(library: Path) -> bool:
    try:
        return library.with_suffix(".sha256").read_text() == _digest(library)
    except OSError:
        return False


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
