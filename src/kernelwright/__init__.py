"""kernelwright generates fast compute kernels from PyTorch, proves them correct, measures them and serves them.

Importing this package imports neither torch nor anything else heavy; names are resolved when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .archive import Archive
    from .judge import Measurement, Verdict, judge
    from .nn import quantize
    from .search import Event, Kernel, Outcome, generate, generate_task
    from .task import DynamicSize, Task

__version__ = "0.1.0"

_HOME = {
    "Archive": "archive",
    "DynamicSize": "task",
    "Event": "search",
    "Kernel": "search",
    "Measurement": "judge",
    "Outcome": "search",
    "Task": "task",
    "Verdict": "judge",
    "generate": "search",
    "generate_task": "search",
    "judge": "judge",
    "quantize": "nn",
}

__all__ = [
    "Archive",
    "DynamicSize",
    "Event",
    "Kernel",
    "Measurement",
    "Outcome",
    "Task",
    "Verdict",
    "__version__",
    "generate",
    "generate_task",
    "judge",
    "quantize",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
