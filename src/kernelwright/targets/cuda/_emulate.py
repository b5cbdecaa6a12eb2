"""A CUDA source as C++ on this machine's CPU: what the kernels mean, on memory that the judge guards."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import re
from collections.abc import Callable
from pathlib import Path

from ...errors import BuildFailed, NotEmulated
from ..cpu import Built, build_cached, known_compiler
from ..cpu._compile import run_compiler
from ._build import INCLUDE, headers_digest
from ._launches import Call, Double, Pointer, kernel_names, read_launches

# Meaning comes before speed; both as on the device: NaN and infinities count, a product and a sum may be one operation.
_FLAGS = (
    "-std=c++20", "-O1", "-fPIC", "-shared", "-fno-math-errno", "-ffp-contract=fast", "-fwrapv", "-U_FORTIFY_SOURCE",
    "-fno-strict-aliasing", "-fno-stack-protector", "-w",
)  # fmt: skip
_DYNAMIC = re.compile(
    r"extern\s+__shared__\s+(?:__align__\(\d+\)\s+|alignas\(\d+\)\s+)?([\w:<>, ]+?)\s+(\w+)\s*\[\s*\]\s*;"
)


class EmulationFailed(RuntimeError):
    """A kernel did what no kernel may; the message says what."""


def build_emulated(source: str, *, timeout: float = 120.0) -> Built:
    """Compile a source for :class:`Emulator`. Raises ``NotEmulated`` where it uses what the emulator does not know."""
    compiler = known_compiler()
    text = emulated_text(source)
    flags = (*_FLAGS, *compiler.native_flags())
    parts = (text, " ".join(compiler.argv), compiler.identity, " ".join(flags), headers_digest())
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def compile_in(folder: Path, end: float) -> None:
        (folder / "kernel.cpp").write_text(text)
        run_compiler([*compiler.argv, *flags, f"-I{INCLUDE}", "kernel.cpp", "-o", "kernel.so"], folder, end)

    try:
        return build_cached(key, compile_in, timeout)
    except BuildFailed as error:
        raise NotEmulated(
            f"The CPU cannot stand in for a GPU here, so the source could not be judged: {str(error).rstrip('.')}."
        ) from error


def emulated_text(source: str) -> str:
    """The translation unit: the emulator, the source as it is, an entry for each kernel that is launched."""
    plain = _DYNAMIC.sub(r"auto* \2 = static_cast<\1*>(kw_emulated::dynamic_shared());", source)
    entries = "\n".join(f"KW_EMULATED_KERNEL({name})" for name in kernel_names(read_launches(source)))
    return f"#include <kw/emulate.h>\n#line 1\n{plain}\n{entries}\n"


class Emulator:
    """Runs launches one after the other in this process, which must not mind: no other thread may use it meanwhile."""

    def __init__(self, source: str) -> None:
        # PyDLL keeps the interpreter's lock: the emulator's state is the library's, for one launch at a time.
        self._library = ctypes.PyDLL(str(build_emulated(source).library))
        self._entry = functools.cache(self._find)

    def __call__(self, call: Call) -> None:
        """Run a launch. Raises ``EmulationFailed``."""
        given = [_cell(argument) for argument in call.arguments]
        addresses = (ctypes.c_void_p * len(given))(*(ctypes.addressof(cell) for cell in given))
        shape = (ctypes.c_uint * 6)(*call.grid, *call.block)
        fault = self._entry(call.kernel)(addresses, shape, ctypes.c_uint64(call.shared))
        if fault:
            raise EmulationFailed(f"In the kernel {call.kernel}, {fault.decode()}.")

    def _find(self, kernel: str) -> Callable[..., bytes | None]:
        entry = self._library[f"kw_launch_{kernel}"]
        entry.restype = ctypes.c_char_p
        return entry


def _cell(argument: Pointer | int | float | Double) -> ctypes._SimpleCData[object]:
    """An argument in memory, as a kernel takes it."""
    if isinstance(argument, Pointer):
        return ctypes.c_uint64(argument.address)  # type: ignore[return-value]
    if isinstance(argument, Double):
        return ctypes.c_double(argument.value)  # type: ignore[return-value]
    return ctypes.c_float(argument) if isinstance(argument, float) else ctypes.c_int64(argument)  # type: ignore[return-value]
