"""The process behind the walls that calls functions of libraries and modules, and is believed nothing but to be there.

Arguments come and go as bytes. It is for others than candidates with a plan, such as suggestions of the proficiency
benchmark; what is right is decided where this process cannot look.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import importlib.util
import os
import signal
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Message = dict[str, Any]
Answer = tuple[Message, list[int]]


class Slot(ctypes.Structure):
    """``kw_adapt::Slot``."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("shape", ctypes.c_int64 * 3),
        ("rank", ctypes.c_int32),
        ("whole", ctypes.c_int32),
    )


def serve() -> Callable[[Message, Sequence[int]], Answer]:
    """The role of :class:`kernelwright.judge.Worker` that runs libraries, and modules that need NumPy alone."""
    import numpy  # noqa: F401 - while it may look around

    for number in (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL):  # no report of a crash: it ends
        signal.signal(number, signal.SIG_DFL)
    loaded: dict[str, Any] = {}

    def answer(message: Message, descriptors: Sequence[int]) -> Answer:
        if message["op"] == "load":
            loaded["it"] = _load(message)
            return {}, []
        call = {"cpp": _call_cpp, "fortran": _call_fortran, "python": _call_python}[message["form"]]
        before = _threads()
        return {**call(loaded["it"], message), "threads": _threads() - before}, []

    return answer


def serve_numba() -> Callable[[Message, Sequence[int]], Answer]:
    """As :func:`serve`, for modules that need Numba: it looks for tools while it is imported."""
    os.environ["NUMBA_CACHE_DIR"] = os.getcwd()
    import numba

    with contextlib.suppress(Exception):  # a layer of threads that is not there is found out by whoever needs it
        numba.get_num_threads()
    return serve()


def serve_triton() -> Callable[[Message, Sequence[int]], Answer]:
    """As :func:`serve`, for modules whose kernels Triton interprets."""
    os.environ["TRITON_INTERPRET"] = "1"
    import triton  # noqa: F401 - it decides now whether it interprets

    from ..targets.triton._emulate import emulate

    emulate()
    return serve()


def _load(message: Message) -> Any:
    if message["form"] != "python":
        return ctypes.CDLL(message["path"])
    path = Path(tempfile.mkdtemp(), "suggestion.py")  # a file, since compilers look for one
    path.write_text(message["source"], encoding="utf-8")
    spec = importlib.util.spec_from_file_location("suggestion", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, message["name"])


def _call_cpp(library: Any, message: Message) -> Message:
    buffers = _buffers(message)
    slots = (Slot * max(len(buffers), 1))()
    for slot, given, buffer in zip(slots, message["slots"], buffers, strict=False):
        slot.data = ctypes.addressof(buffer)
        slot.shape[: len(given["shape"])] = given["shape"]
        slot.rank, slot.whole = len(given["shape"]), given["dtype"] == "int64"
    result = Slot()
    library.kw_run.restype = ctypes.c_long
    library.kw_run.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_long)
    started = library.kw_run(message["threads"], slots, ctypes.byref(result), message["expected"])
    if started < 0:
        raise RuntimeError("it threw an exception")
    returned = []
    if result.data:
        returned.append(_coded(ctypes.string_at(result.data, 8 * result.shape[0]), "float64", [result.shape[0]]))
        ctypes.CDLL(None).free(ctypes.c_void_p(result.data))
    return {"slots": _left(message, buffers), "returned": returned, "started": started}


def _call_fortran(library: Any, message: Message) -> Message:
    buffers = _buffers(message)
    pointers = (ctypes.c_void_p * max(len(buffers), 1))(*(ctypes.addressof(b) for b in buffers))
    shapes = (ctypes.c_int64 * (3 * max(len(buffers), 1)))()
    for index, given in enumerate(message["slots"]):
        for d, size in enumerate(given["shape"]):
            shapes[3 * index + d] = size
    library.kw_run.restype = None
    library.kw_run(ctypes.c_int(message["threads"]), pointers, shapes)
    return {"slots": _left(message, buffers), "returned": [], "started": 0}


def _call_python(function: Any, message: Message) -> Message:
    import numpy as np

    arguments: dict[str, Any] = {}
    for given in message["slots"]:
        flat = np.frombuffer(bytearray(base64.b64decode(given["data"])), dtype=given["dtype"])
        value = flat.reshape(given["shape"]) if given["shape"] else flat[0].item()
        arguments[given["name"]] = _tensor(value) if message["tensors"] and given["shape"] else value
    names, left = list(arguments), message["first"]
    result = function(*(arguments[name] for name in names[:left]), **{name: arguments[name] for name in names[left:]})
    parts = result if isinstance(result, tuple) else (result,)
    returned = []
    for part in parts:
        with contextlib.suppress(TypeError, ValueError):
            array = np.ascontiguousarray(np.asarray(part, dtype=np.float64))
            returned.append(_coded(array.tobytes(), "float64", list(array.shape)))
    slots = [_text(np.ascontiguousarray(arguments[g["name"]], dtype=g["dtype"]).tobytes()) for g in message["slots"]]
    return {"slots": slots, "returned": returned, "started": 0}


def _tensor(array: Any) -> Any:
    """The same memory as a tensor."""
    import torch

    return torch.from_numpy(array)


def _buffers(message: Message) -> list[Any]:
    raw = [base64.b64decode(given["data"]) for given in message["slots"]]
    return [(ctypes.c_char * max(len(data), 8)).from_buffer_copy(data.ljust(8, b"\0")) for data in raw]


def _left(message: Message, buffers: list[Any]) -> list[str]:
    """What the call has left in its arguments."""
    sizes = (len(base64.b64decode(given["data"])) for given in message["slots"])
    return [_text(bytes(buffer)[:size]) for buffer, size in zip(buffers, sizes, strict=True)]


def _coded(data: bytes, dtype: str, shape: list[int]) -> Message:
    return {"dtype": dtype, "shape": shape, "data": _text(data)}


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _threads() -> int:
    """Of this process; libraries for parallel loops keep theirs."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 0


__all__ = ["Message", "serve", "serve_numba"]
