"""When a command began: starting the interpreter and importing torch are seconds that the user waits for too."""

from __future__ import annotations

import os
import time
from pathlib import Path


def process_start() -> float:
    """The start of this process on the clock of ``time.monotonic``; now, where the system does not say it.

    Counted from the machine's start, not by the calendar, which may be set anew at any moment.
    """
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        started = int(fields[19]) / os.sysconf("SC_CLK_TCK")  # the 22nd field of all
        return time.monotonic() - max(time.clock_gettime(time.CLOCK_BOOTTIME) - started, 0.0)
    except (OSError, AttributeError, ValueError, IndexError):
        return time.monotonic()
