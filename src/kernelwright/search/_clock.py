"""When a command began: starting the interpreter and importing torch are seconds that the user waits for too."""

from __future__ import annotations

import time

import psutil


def process_start() -> float:
    """The start of this process on the clock of ``time.monotonic``."""
    return time.monotonic() - max(time.time() - psutil.Process().create_time(), 0.0)
