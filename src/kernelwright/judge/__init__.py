"""The judge: trusts nobody, says right or wrong with the one reason, and measures against what the user would run.

Names are resolved when they are first used: a command starts the workers before it imports torch itself.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._alone import Judge, judge
    from ._early import dismiss, start_early
    from ._rules import read_labels
    from ._session import Session
    from ._submission import as_submission, read_submission
    from ._verdict import Check, Label, Measurement, OutOfTime, Ratio, Rejected, Verdict

_HOME = {
    **dict.fromkeys(("dismiss", "start_early"), "_early"),
    **dict.fromkeys(("Judge", "judge"), "_alone"),
    **dict.fromkeys(("as_submission", "read_submission"), "_submission"),
    "read_labels": "_rules",
    "Session": "_session",
    **dict.fromkeys(("Check", "Label", "Measurement", "OutOfTime", "Ratio", "Rejected", "Verdict"), "_verdict"),
}

__all__ = [
    "Check",
    "Judge",
    "Label",
    "Measurement",
    "OutOfTime",
    "Ratio",
    "Rejected",
    "Session",
    "Verdict",
    "as_submission",
    "dismiss",
    "judge",
    "read_labels",
    "read_submission",
    "start_early",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
