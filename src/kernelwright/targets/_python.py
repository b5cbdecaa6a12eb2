"""Python candidates: ``class ModelNew`` in a file of its own, made callable in the candidate's worker and nowhere else.

They are built after the task's seed, and then follow the reference's parameters (``_parameters``).
"""

from __future__ import annotations

import ast
import importlib.util
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ..errors import SubmissionInvalid
from ._extension import find_built_extensions
from ._parameters import Parameters

CLASS = "ModelNew"


@dataclass(frozen=True)
class Construction:
    """How a task's class is built: its arguments, the seed before it, the dtype it is cast to (None: its own)."""

    inputs: tuple[Any, ...]
    seed: int
    dtype: torch.dtype | None = None


class NotPlain(TypeError):
    """A result that is no plain tensor: what it holds may depend on who looks."""


class PythonCandidate:
    """A ``ModelNew`` that was brought to life; ``missing``: parameters of the reference that it cannot follow."""

    def __init__(self, source: str, state: Mapping[str, Tensor], construction: Construction, training: bool) -> None:
        self._module = _build(_execute(source), construction)
        if self._module.training != training:
            self._module.train(training)
        self._parameters = Parameters(self._module, state)
        self.missing = self._parameters.missing

    def follow(self) -> None:
        """The reference's parameters are others now."""
        self._parameters.follow()

    def trained(self, names: Sequence[str]) -> tuple[list[Tensor], dict[str, Callable[[Tensor], Tensor]]]:
        """What it holds for these parameters of the reference, and how gradients in them become the reference's.

        Raises ``NoGradient`` where there is nothing that could have a gradient.
        """
        return self._parameters.trained(names)

    def __call__(self, *args: Any) -> Any:
        result = self._module(*args)
        for k, leaf in enumerate(pytree.tree_leaves(result)):
            if isinstance(leaf, Tensor) and (type(leaf) not in (Tensor, nn.Parameter) or leaf.layout != torch.strided):
                raise NotPlain(f"output {k} is a {type(leaf).__name__} ({leaf.layout}) instead of a plain tensor")
        return result


def load_python(
    source: str, reference: Callable[..., Any], state: Mapping[str, Tensor], construction: Construction
) -> PythonCandidate:
    """Execute a candidate's file and build its class. It may do anything: only inside a worker."""
    find_built_extensions()
    if _imports(source, "triton") and not torch.cuda.is_available():
        from .triton import become_interpreter  # its kernels run on the tensors that are there

        become_interpreter()
    training = reference.training if isinstance(reference, nn.Module) else True
    return PythonCandidate(source, state, construction, training)


def _imports(source: str, package: str) -> bool:
    names = [
        name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
    ]
    return any(name.partition(".")[0] == package for name in names)


def _execute(source: str) -> type[nn.Module]:
    """Run the file as a module of its own, from a folder in which its extensions are built too."""
    folder = Path(tempfile.mkdtemp(prefix="kernelwright-"))
    os.environ["TORCH_EXTENSIONS_DIR"] = str(folder / "extensions")
    os.environ.setdefault("MAX_JOBS", str(os.cpu_count() or 1))
    path = folder / "submission.py"
    path.write_text(source, encoding="utf-8")
    try:
        spec = importlib.util.spec_from_file_location("submission", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["submission"] = module
        spec.loader.exec_module(module)
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # what was loaded from it is mapped, its text is in the traceback
    found = getattr(module, CLASS, None)
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise SubmissionInvalid(f"The file defines no class {CLASS} that is a torch.nn.Module.")
    return found


def _build(kind: type[nn.Module], construction: Construction) -> nn.Module:
    random.seed(construction.seed)
    torch.manual_seed(construction.seed)
    module = kind(*construction.inputs)
    return module if construction.dtype is None else module.to(construction.dtype)
