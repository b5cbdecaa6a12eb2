"""Python candidates: ``class ModelNew`` in a file of its own, made callable in the candidate's worker and nowhere else.

Their parameters are the reference's where names, shapes and dtypes agree (then they follow whatever the judge makes of
them); else those that the class draws itself after the task's seed, as in the task format.
"""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ..errors import SubmissionInvalid

CLASS = "ModelNew"
COPIED, DRAWN = "copied", "drawn"  # whence the parameters come


@dataclass(frozen=True)
class Construction:
    """How a task's class is built: its arguments, the seed before it, the dtype it is cast to (None: its own)."""

    inputs: tuple[Any, ...]
    seed: int
    dtype: torch.dtype | None = None


class PythonCandidate:
    """A ``ModelNew`` that was brought to life; ``weights`` says whence its parameters come."""

    def __init__(self, source: str, state: Mapping[str, Tensor], construction: Construction, training: bool) -> None:
        self._module = _build(_execute(source), construction)
        if self._module.training != training:
            self._module.train(training)
        self.weights = COPIED if _share(self._module, state) else DRAWN

    def __call__(self, *args: Any) -> Any:
        result = self._module(*args)
        for k, leaf in enumerate(pytree.tree_leaves(result)):
            if isinstance(leaf, Tensor) and (type(leaf) not in (Tensor, nn.Parameter) or leaf.layout != torch.strided):
                raise TypeError(f"output {k} is a {type(leaf).__name__} ({leaf.layout}) instead of a plain tensor")
        return result


def load_python(
    source: str, reference: Callable[..., Any], state: Mapping[str, Tensor], construction: Construction
) -> PythonCandidate:
    """Execute a candidate's file and build its class. It may do anything: only inside a worker."""
    training = reference.training if isinstance(reference, nn.Module) else True
    return PythonCandidate(source, state, construction, training)


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


def _share(module: nn.Module, state: Mapping[str, Tensor]) -> bool:
    """Put the reference's own parameters and buffers in the places of equal name, if all fit."""
    own = {
        **dict(module.named_parameters(remove_duplicate=False)),
        **dict(module.named_buffers(remove_duplicate=False)),
    }
    if own.keys() != state.keys() or any(
        (t.shape, t.dtype) != (state[n].shape, state[n].dtype) for n, t in own.items()
    ):
        return False
    for name in own:
        where, _, leaf = name.rpartition(".")
        holder = module.get_submodule(where)
        (holder._parameters if leaf in holder._parameters else holder._buffers)[leaf] = state[name]  # type: ignore[assignment]
    return True


def _form(state: Mapping[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in state.items()}
