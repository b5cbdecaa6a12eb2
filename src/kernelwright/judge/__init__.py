"""The judge: trusts nobody, says right or wrong with the one reason, and measures against what the user would run.

Names are resolved when they are first used: a command starts the workers before it imports torch itself.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._early import dismiss, start_early
    from ._session import Session, judge
    from ._verdict import Check, Measurement, OutOfTime, Ratio, Rejected, Verdict

_HOME = {
    **dict.fromkeys(("dismiss", "start_early"), "_early"),
    **dict.fromkeys(("Session", "judge"), "_session"),
    **dict.fromkeys(("Check", "Measurement", "OutOfTime", "Ratio", "Rejected", "Verdict"), "_verdict"),
}

__all__ = [
    "Check",
    "Measurement",
    "OutOfTime",
    "Ratio",
    "Rejected",
    "Session",
    "Verdict",
    "dismiss",
    "judge",
    "start_early",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
