"""The CUDA driver, as far as launching a cubin on torch's current stream needs it."""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path
from typing import Any

import torch

from ...errors import BuildFailed, GpuMissing
from ._emulate import _cell
from ._launches import Call

_MOST_DYNAMIC = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
_WITHOUT_ASKING = 48 << 10  # bytes of dynamic shared memory that a kernel gets without being told before


def architecture() -> str:
    """That of the GPU that torch uses."""
    major, minor = torch.cuda.get_device_capability()
    return f"sm_{major}{minor}"


class Launches:
    """The kernels of a cubin in torch's own context; each call launches one. Raises ``BuildFailed``, ``GpuMissing``."""

    def __init__(self, cubin: Path) -> None:
        self._driver = _library()
        torch.cuda.init()
        torch.empty(1, device="cuda")  # torch's context is the current one from here on
        self._module = ctypes.c_void_p()
        self._check(self._driver.cuModuleLoadData(ctypes.byref(self._module), cubin.read_bytes()), "does not load")
        self._functions: dict[str, ctypes.c_void_p] = {}
        self._dynamic: dict[str, int] = {}

    def __call__(self, call: Call) -> None:
        """Launch on the stream that is current in torch; nothing is waited for."""
        function = self._function(call)
        given = [_cell(argument) for argument in call.arguments]
        addresses = (ctypes.c_void_p * len(given))(*(ctypes.addressof(cell) for cell in given))
        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
        code = self._driver.cuLaunchKernel(
            function, *map(ctypes.c_uint, (*call.grid, *call.block, call.shared)), stream, addresses, None
        )
        self._check(code, f"does not launch {call.kernel}")

    def _function(self, call: Call) -> ctypes.c_void_p:
        found = self._functions.get(call.kernel)
        if found is None:
            found = ctypes.c_void_p()
            code = self._driver.cuModuleGetFunction(ctypes.byref(found), self._module, call.kernel.encode())
            self._check(code, f"has no kernel {call.kernel}")
            self._functions[call.kernel] = found
        if call.shared > max(_WITHOUT_ASKING, self._dynamic.get(call.kernel, 0)):
            code = self._driver.cuFuncSetAttribute(found, _MOST_DYNAMIC, call.shared)
            self._check(code, f"cannot give {call.kernel} {call.shared} bytes of shared memory")
            self._dynamic[call.kernel] = call.shared
        return found

    def _check(self, code: int, what: str) -> None:
        if code:
            text = ctypes.c_char_p()
            self._driver.cuGetErrorString(code, ctypes.byref(text))
            raise BuildFailed(f"The compiled source {what}: {(text.value or b'no message').decode()}.")


@functools.cache
def _library() -> Any:
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError:
        raise GpuMissing("A CUDA kernel runs on a GPU, and the driver's libcuda.so.1 is not here.") from None
