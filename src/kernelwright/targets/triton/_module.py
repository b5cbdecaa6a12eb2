"""From a candidate's source to its launchers: a module of its own in a file that stays where it is.

Triton reads the text of a kernel back from its file, and tracebacks show it, so the source is written into the cache
under its digest and imported from there. Whether kernels are interpreted or compiled is decided when ``triton`` is
imported. The judge's worker interprets; torch has imported triton there already, so it is imported once more.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from ...errors import BuildFailed, CacheUnusable, GpuMissing, TritonMissing
from ...paths import cache_dir
from ..cpu import Allocate, Launcher, allocate
from ..plan import EntryCall, Plan
from ._emulate import emulate


def check_installed() -> None:
    """Raise ``TritonMissing`` where triton cannot be imported."""
    if importlib.util.find_spec("triton") is None:
        raise TritonMissing("The target triton needs the package triton: pip install 'kernelwright[triton]'.")


def load_triton(
    source: str, plan: Plan, state: Mapping[str, torch.Tensor], allocate_: Allocate = allocate, *, interpreted: bool
) -> Callable[..., Any]:
    """Make a candidate callable: ``interpreted`` on CPU tensors, else on the GPU.

    Once a process has interpreted it can do nothing else with Triton, so only the judge's worker does. Raises
    ``TritonMissing``, ``GpuMissing`` and ``BuildFailed``.
    """
    check_installed()
    if interpreted:
        become_interpreter()
        return Launcher(plan, launchers(source, plan), state, allocate_, blind=True).call
    if not torch.cuda.is_available():
        raise GpuMissing("A Triton kernel runs on a GPU, and there is none here that torch can use.")
    device = f"cuda:{torch.cuda.current_device()}"
    on_gpu = allocator(device) if allocate_ is allocate else allocate_
    return Launcher(plan, launchers(source, plan), state, on_gpu, blind=True, device=device).call


@functools.cache
def become_interpreter() -> None:
    """From now on kernels run on CPU tensors here, and nothing else: only the judge's worker may want that.

    Triton is imported anew. Its native part stays: it can be initialised once.
    """
    for name in [n for n in sys.modules if n.partition(".")[0] == "triton" and not n.startswith("triton._C")]:
        del sys.modules[name]
    before = os.environ.get("TRITON_INTERPRET")
    os.environ["TRITON_INTERPRET"] = "1"
    try:
        knobs = importlib.import_module("triton").knobs
        knobs.propagate_env, propagate = False, knobs.propagate_env
        knobs.runtime.interpret = True  # the environment is as it was: the judge looks whether candidates change it
        knobs.propagate_env = propagate
    finally:
        del os.environ["TRITON_INTERPRET"]
        if before is not None:
            os.environ["TRITON_INTERPRET"] = before
    emulate()


def _interprets() -> bool:
    return become_interpreter.cache_info().currsize > 0


def allocator(device: str) -> Allocate:
    """Where outputs lie on a device other than the CPU: torch keeps its memory itself."""

    def make(shape: tuple[int, ...], strides: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        return torch.empty_strided(shape, strides, dtype=dtype, device=device)

    return make


def launchers(source: str, plan: Plan) -> dict[str, Callable[..., Any]]:
    """The function behind every entry of the plan. Runs the module: what is not ours, only inside a worker."""
    module = _execute(source)
    names = [step.entry for step in plan.steps if isinstance(step, EntryCall)]
    found = {name: getattr(module, name, None) for name in names}
    lacking = [name for name, function in found.items() if not callable(function)]
    if lacking:
        raise BuildFailed(f"The module defines no function {', '.join(lacking)}, which its plan calls.")
    return {name: function for name, function in found.items() if callable(function)}


def _execute(source: str) -> ModuleType:
    digest = hashlib.sha256(source.encode()).hexdigest()
    name = f"kernelwright_triton_{digest[:16]}"
    known = sys.modules.get(name)
    if known is not None:
        return known
    spec = importlib.util.spec_from_file_location(name, _file(source, digest))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a generated module does wrong is its build's fault
        text = " ".join(str(error).split())[:300]
        raise BuildFailed(f"The module cannot be imported: {type(error).__name__}: {text}") from error
    sys.modules[name] = module
    return module


def _file(source: str, digest: str) -> Path:
    """The source as a file: in the cache, or, behind walls which forbid that, in the worker's own folder."""
    try:
        return _written(cache_dir() / "triton" / digest / "kernel.py", source)
    except PermissionError:
        return _written(Path(tempfile.gettempdir()) / digest / "kernel.py", source)
    except OSError as error:
        raise CacheUnusable(
            f"The cache folder {cache_dir()} cannot be written ({error.strerror or error}): "
            "free some space, fix its permissions, or point KERNELWRIGHT_HOME elsewhere."
        ) from error


def _written(path: Path, source: str) -> Path:
    """Put there in one step: another process may read it at any time."""
    if not (path.exists() and path.read_text() == source):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            file.write(source)
        os.replace(file.name, path)
    return path
