"""A worker process that starts before anything is known of the task: it imports torch while its parent does.

Only the oracle, which has the most to do before the first verdict: on two cores a third process that imports torch
would slow down the parent, for which both workers wait in the end.
"""

from __future__ import annotations

import psutil

from ._process import Worker

_ROLE = "oracle"
_MEMORY_SHARE = 0.7  # of what is free

_waiting: dict[str, Worker] = {}


def start_early() -> None:
    """Start the worker that this process's next session will take; :func:`dismiss` ends it if none did."""
    if _ROLE not in _waiting:
        _waiting[_ROLE] = Worker(_ROLE, default_memory())
        _waiting[_ROLE].spawn()


def dismiss() -> None:
    """End what nobody took."""
    while _waiting:
        _waiting.popitem()[1].kill()


def worker_for(role: str, memory_limit: int | None) -> Worker:
    """A worker that waits already, if it has the memory limit that is asked for; else a new one, not started yet."""
    early = _waiting.pop(role, None) if memory_limit is None else None
    return early or Worker(role, memory_limit or default_memory())


def default_memory() -> int:
    """Bytes that a worker may use where nobody says another number."""
    return int(psutil.virtual_memory().available * _MEMORY_SHARE)
