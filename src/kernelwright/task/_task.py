"""A task: what must be computed, as data that another process can rebuild."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from kernelwright.task._gradients import WithGradients


@dataclass(frozen=True)
class DynamicSize:
    """Dimension ``dim`` of tensor argument ``arg`` (position among the tensor leaves) may be any size in [lo, hi]."""

    arg: int
    dim: int
    lo: int
    hi: int


@dataclass(frozen=True)
class Task:
    """What must be computed.

    ``kind``: "kernelbench" (a file with Model/get_inputs/get_init_inputs), "function" (an attribute of a file or
    module) or "pickled" (a callable handed over in Python, with its example arguments, by cloudpickle in ``payload``).
    ``module`` names the importable module a "function" or class comes from, when it is not a file of its own.
    ``shrunk`` lists (tensor argument, dim, old size, new size) of sizes that ``--scale cpu`` made smaller, and
    ``patches`` the (integer constant of the source, new value) pairs by which the source itself draws them smaller.
    ``dtype`` other than "float32" casts parameters and floating inputs; "float32" leaves the task's own dtypes alone.
    ``key`` names the content where the payload cannot (example values that differ from run to run); ``structures``
    are the only ones that the reference is defined for (empty: all). ``gradients``: those in all floating inputs (or in
    the ones that require them) and in the parameters are part of what must be computed.
    """

    name: str
    kind: str
    text: str = ""
    path: str = ""
    attribute: str = ""
    payload: bytes = b""
    shrunk: tuple[tuple[int, int, int, int], ...] = ()
    dynamic: tuple[DynamicSize, ...] = ()
    dtype: str = "float32"
    module: str = ""
    patches: tuple[tuple[str, int], ...] = ()
    key: str = ""
    structures: tuple[str, ...] = ()
    gradients: bool = False

    @property
    def digest(self) -> str:
        """sha256 of the content: equal tasks have equal digests wherever their file lies."""
        content = asdict(self)
        content["payload"] = self.key or hashlib.sha256(self.payload).hexdigest()
        del content["path"], content["name"], content["key"]
        for name in ("structures", "gradients"):
            if not content[name]:
                del content[name]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass
class Reference:
    """A task brought to life in this process: the callable, its state and how to draw inputs.

    ``call`` is what the user would run (an ``nn.Module`` in the mode the task leaves it in, or a function).
    ``draw(seed, structure)`` returns the positional arguments; ``structure`` is one of ``task.STRUCTURES``.
    ``gradients``: where the task asks for them, the callable itself, whose last argument are the cotangents.
    """

    call: Callable[..., Any]
    draw: Callable[[int, str], tuple[Any, ...]]
    state: Mapping[str, torch.Tensor]
    gradients: WithGradients | None = None


@dataclass(frozen=True)
class Cost:
    """Work of one call: floating point operations, and the bytes that must at least be read and written."""

    flops: float
    bytes: float
