"""Judging processes that outlive one graph: a backward graph follows its forward graph, and starting takes seconds."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ..judge import Session
from ..task import Task

_IDLE_SECONDS = 30.0  # then the processes end; they end with this process in any case


class _Bench:
    """At most one idle session."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: Session | None = None
        self._timer: threading.Timer | None = None

    def take(self, task: Task, device: str) -> Session:
        with self._lock:
            session, self._idle = self._idle, None
            if self._timer is not None:
                self._timer.cancel()
        if session is not None and session.device != device:
            session.close()
            session = None
        if session is None:
            return Session(task, device=device)
        session.turn_to(task)
        return session

    def put(self, session: Session) -> None:
        with self._lock:
            if self._idle is None:
                self._idle = session
                self._timer = threading.Timer(_IDLE_SECONDS, self._expire, (session,))
                self._timer.daemon = True
                self._timer.start()
                return
        session.close()

    def _expire(self, session: Session) -> None:
        with self._lock:
            if self._idle is not session:
                return
            self._idle = None
        session.close()


_BENCH = _Bench()


@contextmanager
def session_for(task: Task, device: str = "cpu") -> Iterator[Session]:
    """A session for a task on a device, with processes of an earlier one where there are any."""
    session = _BENCH.take(task, device)
    try:
        yield session
    except BaseException:  # whatever state it is in
        session.close()
        raise
    _BENCH.put(session)


__all__ = ["session_for"]
