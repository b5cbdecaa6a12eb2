"""A worker whose search does what the task file's name says: every way in which a real one could end."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))

import made

from kernelwright.bench._worker import serve
from kernelwright.errors import ReferenceFailed
from kernelwright.search import Event


def search(task: Any, *, on_event: Any, budget: float, **options: Any) -> Any:
    """Behave as the name says."""
    on_event(Event("stage", "capture", 0.1, budget, {"options": sorted(options)}))
    name = Path(task.path).stem.split("_", 1)[1]
    counter = os.environ.get("FAKE_COUNTER")
    if counter:
        with open(counter, "a") as file:
            file.write(name + "\n")
    if name == "crash":
        print("about to crash", flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)
    if name == "hang":
        time.sleep(600)
    if name == "memory":
        hog = bytearray(1 << 30)
        hog[::4096] = b"x" * len(hog[::4096])
        time.sleep(600)
    if name == "child":
        if os.fork() == 0:
            os.setsid()  # leaves the group and keeps the answer pipe
            Path(os.environ["FAKE_CHILD"]).write_text(str(os.getpid()))
            time.sleep(600)
        time.sleep(0.5)
        os._exit(7)
    if name == "refuses":
        raise ReferenceFailed("The reference raised ValueError: no.")
    if name == "bug":
        raise ZeroDivisionError("one\ntwo")
    if name == "prints":
        print('{"record": "not the answer"}', flush=True)
    if name == "unscored":
        return made.unscored()
    return made.won(seconds=2.9e-4 if name != "slow" else 1.6e-3)


serve(search)
