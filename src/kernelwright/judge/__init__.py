"""The judge: trusts nobody, says right or wrong with the one reason, and measures against what the user would run.

Names are resolved when they are first used: a command starts the workers before it imports torch itself.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._alone import Judge, judge
    from ._early import dismiss, start_early
    from ._interface import interface
    from ._process import Worker, WorkerFault, WorkerLost
    from ._rules import read_labels
    from ._session import Session
    from ._submission import SUFFIXES, read_submission
    from ._verdict import (
        Check,
        Label,
        Measurement,
        OutOfTime,
        Ratio,
        Rejected,
        Verdict,
        measurement_from_json,
        verdict_from_json,
    )
    from ._walls import explain, seal, stand

_HOME = {
    **dict.fromkeys(("dismiss", "start_early"), "_early"),
    **dict.fromkeys(("Judge", "judge"), "_alone"),
    "interface": "_interface",
    **dict.fromkeys(("Worker", "WorkerFault", "WorkerLost"), "_process"),
    **dict.fromkeys(("explain", "seal", "stand"), "_walls"),
    **dict.fromkeys(("SUFFIXES", "read_submission"), "_submission"),
    "read_labels": "_rules",
    "Session": "_session",
    **dict.fromkeys(("Check", "Label", "Measurement", "OutOfTime", "Ratio", "Rejected", "Verdict"), "_verdict"),
    **dict.fromkeys(("measurement_from_json", "verdict_from_json"), "_verdict"),
}

__all__ = [
    "SUFFIXES",
    "Check",
    "Judge",
    "Label",
    "Measurement",
    "OutOfTime",
    "Ratio",
    "Rejected",
    "Session",
    "Verdict",
    "Worker",
    "WorkerFault",
    "WorkerLost",
    "dismiss",
    "explain",
    "interface",
    "judge",
    "measurement_from_json",
    "read_labels",
    "read_submission",
    "seal",
    "stand",
    "start_early",
    "verdict_from_json",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


class _Room(ModuleType):
    """``kernelwright.judge`` is this room and the function of its name at once: ``kernelwright.judge(task, file)``."""

    def __call__(self, *args: Any, **options: Any) -> Verdict:
        """See the function ``judge`` of this module."""
        from ._alone import judge

        return judge(*args, **options)


sys.modules[__name__].__class__ = _Room
