"""Runs one task in a process of its own, so that a crash, a hang or a memory blow-up fails that task and no other."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import psutil

import kernelwright
from kernelwright.bench._partial import Settings
from kernelwright.bench._suite import SuiteTask
from kernelwright.report import Record, failed_record

WORKER = (sys.executable, "-m", "kernelwright.bench._worker")
POLL = 0.25  # seconds between looks at the process


@dataclass(frozen=True)
class Limits:
    """What one task may use: seconds of wall clock and bytes of its whole process tree."""

    seconds: float
    memory: int


def limits_for(settings: Settings, memory: int) -> Limits:
    """Generous: the search keeps to its budget by itself, so only what hangs meets this limit."""
    return Limits(3 * settings.budget + 300, int(0.9 * memory))


def run_isolated(
    task: SuiteTask,
    settings: Settings,
    limits: Limits,
    on_event: Callable[[dict[str, Any]], None] = lambda event: None,
    command: Sequence[str] = WORKER,
) -> Record:
    """Run one task with ``command`` (the worker) and return its record, whatever happens to the process.

    ``on_event`` gets the search's events as dictionaries. An interruption ends the process and is raised again.
    """
    start = time.monotonic()
    with tempfile.TemporaryFile("w+") as log, _worker(task, settings, command, log) as (process, family, messages):
        reason, found = _follow(process, family, messages, limits, start, on_event)
        seconds = time.monotonic() - start
        if found is not None:
            return replace(found, seconds=found.seconds or seconds)
        return failed_record(task.name, reason or _death(process, log), seconds)


@contextlib.contextmanager
def _worker(
    task: SuiteTask, settings: Settings, command: Sequence[str], log: IO[str]
) -> Iterator[tuple[subprocess.Popen[str], set[psutil.Process], queue.Queue[dict[str, Any] | None]]]:
    """A running worker, its family and the queue of its messages (None: it closed its end).

    Whoever is put into the family is ended with the worker, also when it left the worker's group and lost its parent.
    """
    read, write = os.pipe()
    path = os.pathsep.join([str(Path(kernelwright.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        pass_fds=(write,),
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,
        text=True,
    )
    os.close(write)
    order = {
        "name": task.name,
        "path": str(task.path),
        "answer": write,
        "target": settings.target,
        "scale": settings.scale,
        "budget": settings.budget,
        "effort": settings.effort,
    }
    messages: queue.Queue[dict[str, Any] | None] = queue.Queue()
    family: set[psutil.Process] = set()
    reader = threading.Thread(target=_read, args=(read, messages), daemon=True)
    reader.start()
    try:
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
        yield process, family, messages
    finally:
        _end(process, family)
        reader.join(timeout=5)


def _follow(
    process: subprocess.Popen[str],
    family: set[psutil.Process],
    messages: queue.Queue[dict[str, Any] | None],
    limits: Limits,
    start: float,
    on_event: Callable[[dict[str, Any]], None],
) -> tuple[str, Record | None]:
    """Read messages until the record or the end; the reason is set when a limit was the end."""
    while True:
        try:
            message = messages.get(timeout=POLL)
        except queue.Empty:
            if process.poll() is not None:  # a child that outlived it may still hold the pipe open
                return "", None
            message = {}
        if message is None:
            process.wait(timeout=30)
            return "", None
        if "record" in message:
            return "", Record.from_dict(message["record"])
        if "event" in message:
            on_event(message["event"])
        if time.monotonic() - start > limits.seconds:
            return f"The task ran longer than its limit of {limits.seconds:.0f} s.", None
        family.update(_tree(process.pid))
        if _memory(family) > limits.memory:
            return f"The task used more memory than its limit of {limits.memory / 2**30:.1f} GiB.", None


def _read(descriptor: int, messages: queue.Queue[dict[str, Any] | None]) -> None:
    """Turn the worker's lines into messages; a line torn by its death is dropped."""
    with os.fdopen(descriptor, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            with contextlib.suppress(ValueError):
                messages.put(json.loads(line))
    messages.put(None)


def _memory(family: Iterable[psutil.Process]) -> int:
    """Resident bytes of some processes, as far as they still exist."""
    total = 0
    for process in family:
        with contextlib.suppress(psutil.Error):
            total += process.memory_info().rss
    return total


def _tree(pid: int) -> list[psutil.Process]:
    """A process and all below it, as far as they still exist."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.Error:
        return []


def _end(process: subprocess.Popen[str], family: set[psutil.Process]) -> None:
    """Kill the worker and everything it is known to have started."""
    for member in {*family, *_tree(process.pid)}:
        with contextlib.suppress(psutil.Error):
            member.kill()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()


def _death(process: subprocess.Popen[str], log: IO[str]) -> str:
    """A sentence on how a worker ended that answered nothing."""
    code = process.returncode if process.returncode is not None else 0
    if code < 0:  # what a dying process prints is a stack of addresses
        return f"The task's process was ended by {signal.Signals(-code).name}."
    log.seek(0)
    lines = [line.strip() for line in log.read()[-4000:].splitlines() if line.strip()]
    last = f" (its last words: {lines[-1][:200]})" if lines else ""
    return f"The task's process ended with exit code {code} before it answered{last}."
