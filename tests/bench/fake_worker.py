"""A worker whose search does what the task file's name says: every way in which a real one could end.

It imports no torch, so that a test can start many; with FAKE_LOADER=real the real loader reads the file.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from kernelwright.bench._worker import serve
from kernelwright.errors import ReferenceFailed


def load(path: str, *, scale: str) -> Any:
    """The task file's place in a task's clothes."""
    if os.environ.get("FAKE_LOADER") == "real":
        from kernelwright.task import from_source

        return from_source(path, scale=scale)
    return SimpleNamespace(path=path, name="from the loader", shrunk=((0, 0, 64, 8),) if scale == "cpu" else ())


def outcome(task: Any, status: str, ratio: float) -> Any:
    """What a record is made of."""
    measured = SimpleNamespace(speedup={"eager": SimpleNamespace(median=ratio, lo=ratio, hi=ratio)}, roofline=0.5)
    return SimpleNamespace(
        task=task,
        status=status,
        winner=SimpleNamespace(target="cpu", proposer="compiler") if status == "won" else None,
        unmeasured=None,
        measurement=measured if status == "won" else None,
        candidates=tuple(SimpleNamespace(candidate=SimpleNamespace(digest=str(i)), compile_seconds=0.2) for i in "abc"),
        seconds=1.5,
        first_winner_seconds=0.7 if status == "won" else None,
        reason="" if status == "won" else "Anything passes.",
    )


def search(task: Any, *, on_event: Any, budget: float, **options: Any) -> Any:
    """Behave as the name says."""
    on_event(SimpleNamespace(kind="stage", message="capture", elapsed=0.1, data={"options": sorted(options)}))
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
        time.sleep(1)
        os._exit(7)
    if name == "refuses":
        raise ReferenceFailed("The reference raised ValueError: no.")
    if name == "bug":
        raise ZeroDivisionError("one\ntwo")
    if name == "prints":
        print('{"record": "not the answer"}', flush=True)
    if name == "unscored":
        return outcome(task, "unscored", 1.0)
    return outcome(task, "won", 2.5 if name != "slow" else 0.5)


serve(load, search)
