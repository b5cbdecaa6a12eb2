"""Where strangers' code is built and called: a process behind the judge's walls, a new one for every suggestion."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ...errors import BuildFailed, WallsMissing
from ...judge import Worker, WorkerFault, WorkerLost, dismiss, explain, start_early
from ...targets.cpu import build_cached, known_compiler, run_compiler
from ._cpp import WRAPPED, adapter
from ._models import Model
from ._problem import Array

SECONDS = 10.0  # for one call, and for loading
MOST_SECONDS = 60.0  # for all calls of a suggestion
_BUILD_SECONDS = 60.0
_MEMORY = 1 << 30
# Not optimised: a shared variable that should be private then lies in memory, where two threads meet.
_COMMON = ("-O0", "-fPIC", "-w", "-pthread")
_LINK = tuple(f"-Wl,--wrap={name}" for name in WRAPPED)
_MODEL_FLAGS = {"OpenMP": ("-fopenmp",), "OpenACC": ("-fopenacc", "-fopenmp")}


_CUDA = ("-x", "cu", "-std=c++17", "-ptx", "-w")


class Failed(Exception):
    """A suggestion cannot be built, loaded or called; the text goes on after "it "."""


@dataclass(frozen=True)
class Program:
    """What is loaded into the process: a library, or a Python module and the name of its function."""

    form: str
    path: str = ""
    source: str = ""
    name: str = ""
    runtime: str = ""  # what must be there before a Python module is loaded: numba or triton
    first: int = 0  # how many of a Python function's arguments are given by their place


@dataclass(frozen=True)
class Argument:
    """A parameter's value: bytes of an array in the order in which it lies in memory (shape (): a number)."""

    name: str
    data: Array
    shape: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        data = base64.b64encode(self.data.tobytes(order="K")).decode()
        return {"name": self.name, "dtype": self.data.dtype.name, "shape": list(self.shape), "data": data}


@dataclass(frozen=True)
class Answer:
    """What a call left in its arguments (as they lie in memory) and returned, and the threads that it started."""

    after: tuple[Array, ...]
    returned: tuple[Array, ...]
    threads: int


class Box:
    """Builds and calls. A context manager; ``unsafe`` does without walls where they do not stand."""

    def __init__(self, *, unsafe: bool = False, seconds: float = SECONDS) -> None:
        self.unsafe, self.seconds = unsafe, seconds
        self._worker: Worker | None = None
        self._program: Program | None = None
        self._walled = True
        self._end = math.inf

    def __enter__(self) -> Box:
        start_early()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()
        dismiss()

    def clear(self) -> None:
        """End the process of the suggestion before, and give the next one its time."""
        if self._worker is not None:
            self._worker.kill()
        self._worker = self._program = None
        self._end = time.monotonic() + MOST_SECONDS

    def build_cpp(self, source: str, model: Model) -> str:
        """The shared object of a C++ harness. Raises ``Failed``."""
        compiler, header = known_compiler(), adapter()
        flags = ("-std=c++20", *_COMMON, *_MODEL_FLAGS.get(model.name, ("-fopenmp",)))
        decides = (header, *flags, *_LINK, compiler.identity)

        def read_once(folder: Path, end: float) -> None:
            """The header as the compiler keeps it: it takes longer to read than most suggestions."""
            (folder / "kernel.cpp").write_text(header)
            run_compiler([*compiler.argv, *flags, "-x", "c++-header", "kernel.cpp", "-o", "kernel.so"], folder, end)

        def compile_in(folder: Path, end: float) -> None:
            (folder / "adapt.h").write_text(header)
            (folder / "adapt.h.gch").symlink_to(read)
            (folder / "kernel.cpp").write_text(source)
            run_compiler([*compiler.argv, *flags, "-shared", *_LINK, "kernel.cpp", "-o", "kernel.so"], folder, end)

        read = self._build(decides, read_once)
        return self._build((source, *decides), compile_in)

    def build_fortran(self, source: str, model: Model) -> str:
        """The shared object of a Fortran harness. Raises ``Failed``."""
        flags = (*_COMMON, "-shared", "-ffree-form", "-ffree-line-length-none", *_MODEL_FLAGS[model.name])

        def compile_in(folder: Path, end: float) -> None:
            (folder / "kernel.cpp").write_text(source)
            command = ["gfortran", *flags, "-x", "f95", "kernel.cpp", "-o", "kernel.so"]
            run_compiler(command, folder, end)

        return self._build((source, *flags, "gfortran"), compile_in)

    def build_cuda(self, source: str) -> str:
        """What a CUDA source compiles to for a device, where nvcc is installed. Raises ``Failed``."""

        def compile_in(folder: Path, end: float) -> None:
            (folder / "kernel.cpp").write_text(source)
            run_compiler(["nvcc", *_CUDA, "kernel.cpp", "-o", "kernel.so"], folder, end)

        return self._build((source, *_CUDA, "nvcc"), compile_in)

    def call(self, program: Program, arguments: Sequence[Argument], *, threads: int, expected: int) -> Answer:
        """Call it once. Raises ``Failed``; what had gone wrong before does not matter to the next call."""
        slots = [argument.to_json() for argument in arguments]
        message = {"op": "call", "form": program.form, "threads": threads, "expected": expected, "slots": slots}
        message |= {"first": program.first, "tensors": program.runtime == "triton"}
        try:
            worker = self._loaded(program)
            reply, _ = worker.request(message, seconds=self.seconds, deadline=self._end)
            after = [_array(slot, a.data.dtype.name, (-1,)) for slot, a in zip(reply["slots"], arguments, strict=True)]
            returned = [_array(r["data"], r["dtype"], r["shape"]) for r in reply["returned"]]
            return Answer(tuple(after), tuple(returned), max(int(reply["threads"]), int(reply["started"])))
        except WorkerLost as lost:
            self._program = None
            raise Failed(lost.reason) from None
        except WorkerFault as fault:
            raise Failed(f"raises {fault.kind}: {fault.text}"[:300]) from None
        except (KeyError, TypeError, ValueError):
            self.clear()
            raise Failed("answered with something that is no result") from None

    def _loaded(self, program: Program) -> Worker:
        if self._worker is not None and self._program == program and self._worker.alive:
            return self._worker
        if self._worker is not None:
            self._worker.kill()
        role = "kernelwright.judge._calls:" + "_".join(filter(None, ("serve", program.runtime)))
        worker = self._worker = Worker(role, _MEMORY, walls=self._walled)
        worker.wait()
        if self._walled and (worker.standing is None or worker.standing.missing):
            if not self.unsafe:
                said = explain(worker.standing)
                worker.kill()
                raise WallsMissing(said)
            worker.kill()
            self._walled = False
            return self._loaded(program)
        load = {"op": "load", "form": program.form, "path": program.path, "source": program.source}
        worker.request({**load, "name": program.name}, seconds=self.seconds, deadline=self._end)
        self._program = program
        return worker

    def _build(self, decides: Sequence[str], compile_in: Callable[[Path, float], None]) -> str:
        key = hashlib.sha256("\0".join(decides).encode()).hexdigest()
        try:
            return str(build_cached(key, compile_in, _BUILD_SECONDS).library)
        except BuildFailed as failed:
            raise Failed(
                f"does not compile: {str(failed).removeprefix('The compiler rejected the source: ')}"
            ) from None


def lacking(model: Model) -> str:
    """Why nothing of a programming model can be called on this machine, "" where it can."""
    if model.name == "OpenMP offload":
        return "there is no device, and the OpenMP library of PyTorch has no fallback for teams"
    if model.language == "fortran":
        return "" if shutil.which("gfortran") else "gfortran is not installed"
    if model.language == "python" and model.name in ("numpy", "Numba", "Triton"):
        return "" if importlib.util.find_spec(model.name.lower()) else f"{model.name.lower()} is not installed"
    if model.language == "cpp" and model.name in ("OpenMP", "OpenACC", "threads"):
        return "" if known_compiler().kind == "gcc" else "the C++ compiler found is not GCC"
    if model.key == "cpp/cuda" and shutil.which("nvcc"):
        return "it is compiled, and there is no device to run it"
    return "nothing here can build and run it"


def _array(data: str, dtype: str, shape: Sequence[int]) -> Array:
    return np.frombuffer(base64.b64decode(data), dtype=dtype).reshape(shape)


__all__ = ["Answer", "Argument", "Box", "Failed", "Program", "lacking"]
