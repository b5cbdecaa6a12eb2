"""What the workers need is imported before anything is known of the task, while the judge imports it for itself."""

from __future__ import annotations

import psutil

from . import _zygote

_MEMORY_SHARE = 0.7  # of what is free

_begun: list[bool] = []


def start_early() -> None:
    """A judge will be needed: begin to import what its workers need; :func:`dismiss` undoes it."""
    if not _begun:
        _zygote.hold()
        _begun.append(True)


def dismiss() -> None:
    """What :func:`start_early` began is needed no longer, except by sessions that are open."""
    while _begun:
        _begun.pop()
        _zygote.drop()


def default_memory() -> int:
    """Bytes that a worker may use where nobody says another number."""
    return int(psutil.virtual_memory().available * _MEMORY_SHARE)
