"""A worker process from within: what the zygote has forked becomes the oracle, or a candidate's process.

Requests come over the socket, one at a time. The lifeline is a pipe that only the parent can close, by dying: the
kernel then sends SIGIO, whose default action ends the process even while a candidate spins in native code.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib import import_module
from typing import Any

from ._protocol import Channel, ChannelClosed, Message

_PR_SET_CHILD_SUBREAPER = 36
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_SLACK = 2 << 30  # bytes beyond the limit before the kernel refuses; the parent, who can say why, kills earlier


def run(role: str, channel: Channel, lifeline: int, memory: int) -> None:
    """Serve until the judge is gone, or says something that is no message."""
    _die_with_parent(lifeline)
    hello, _ = channel.receive()
    sys.path[:] = hello["sys_path"]
    _take_environment(hello["environment"])
    walls = _isolate(hello["walls"], lifeline, memory if role == "oracle" else 0) if "walls" in hello else []
    if role == "oracle":
        _rest_quietly()
    serve = _serving(role, memory)
    _limit_memory(memory)
    if walls:
        from ._walls import seal

        walls += seal(lifeline, shares=role == "oracle")
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 2)
    with contextlib.suppress(ChannelClosed):
        seconds = time.monotonic() - hello["began"]
        channel.send({"ready": _resident(), "seconds": seconds, "walls": [asdict(w) for w in walls]})
        while True:
            message, descriptors = channel.receive()
            reply, shared = _answer(serve, message, descriptors)
            channel.send({**reply, "serial": message["serial"]}, shared)
            for used in descriptors:
                os.close(used)


Serve = Callable[[Message, Sequence[int]], tuple[Message, list[int]]]


def _answer(serve: Serve, message: Message, descriptors: Sequence[int]) -> tuple[Message, list[int]]:
    try:
        return serve(message, descriptors)
    except (KeyboardInterrupt, SystemExit):
        return {"fault": "SystemExit", "text": "it called sys.exit"}, []
    except BaseException as error:  # a process border: whatever the code under judgement raises is an answer
        text = " ".join(str(error).split())[:500]
        kind = type(error).__name__
        if isinstance(error, MemoryError) or "allocate memory" in text or "bad_alloc" in text:
            kind = "MemoryError"
        return {"fault": kind, "text": text}, []


def _serving(role: str, memory: int) -> Serve:
    """What answers requests: the oracle's side, a candidate's, or what another room has, named ``module:function``."""
    module, _, name = role.partition(":")
    if name:
        made: Serve = getattr(import_module(module), name)()
        return made
    return _oracle(memory) if role == "oracle" else _candidate()


def _oracle(memory: int) -> Serve:
    from ._oracle import Oracle
    from ._rounds import Fresh

    oracle = Oracle(memory)
    fresh = Fresh(oracle)

    def serve(message: Message, descriptors: Sequence[int]) -> tuple[Message, list[int]]:
        from ._arena import Arena, Slot

        nonlocal oracle, fresh
        op = message["op"]
        if op == "open":
            oracle = Oracle(memory)  # nothing of the task before
            fresh = Fresh(oracle)
            return oracle.open(_task(message["task"], descriptors[0]), message["seed"])
        if op == "prepare":
            sets = [(int(seed), str(structure)) for seed, structure in message["sets"]]
            how = message["sequence"], message["sizes"], message["layout"], message["fresh"], message["state"]
            ahead = (int(message["ahead"][0]), str(message["ahead"][1])) if message["ahead"] else None
            return oracle.prepare(sets, *how, later=message["later"], ahead=ahead)
        if op == "screen":
            return oracle.screen(message["seed"]), []
        if op == "settle":
            return oracle.settle(), []
        if op == "reveal":
            return oracle.reveal(), []
        if op == "check":
            return oracle.check(message["reply"]), []
        if op == "timing_sets":
            return oracle.timing_sets(message["seeds"])
        if op == "refresh_timing":
            return oracle.refresh_timing(), []
        if op == "check_timed":
            slots = [Slot.from_json(s) for run in message["runs"] for s in run["slots"]]
            arena = Arena.attach(os.dup(descriptors[0]), slots)
            try:
                return oracle.check_timed(message["runs"], arena), []
            finally:
                arena.close()
        if op == "fresh_open":
            return fresh.open(message["count"], message["seed"], message["rivals"])
        if op == "fresh_write":
            return fresh.write(message["seeds"]), []
        if op == "fresh_check":
            return fresh.check(message["runs"], descriptors[0]), []
        if op == "cost":
            return oracle.cost(), []
        raise ValueError(f"unknown request {op!r}")

    return serve


def _candidate() -> Serve:
    from ._device import host_for
    from ._rounds import Rounds, environment
    from ._timing import Stopwatch

    host = host_for("cpu")
    watch, rounds = Stopwatch(host), Rounds(host)

    def serve(message: Message, descriptors: Sequence[int]) -> tuple[Message, list[int]]:
        nonlocal host, watch, rounds
        op = message["op"]
        if op == "open":
            host = host_for(message.get("device", "cpu"))  # nothing of the task before
            watch, rounds = Stopwatch(host), Rounds(host)
            task = _task(message["task"], descriptors[1])
            return host.open(task, message["state"], message["changed"], os.dup(descriptors[0])), []
        if op == "load":
            return host.load(message["candidate"]), []
        if op == "run":
            return host.run(message["case"], descriptors), []
        if op == "finish":
            return host.finish(), []
        if op == "timing_sets":
            return watch.take_sets(message["sets"], os.dup(descriptors[0])), []
        if op == "rounds_go":
            return rounds.go(message["name"], message["calls"], message["shelved"]), []
        if op == "rounds_shelf":
            return rounds.take_shelf(message["slots"], os.dup(descriptors[0])), []
        if op == "rounds_stage":
            return rounds.stage(), []
        if op == "rounds_describe":
            return rounds.describe(message["runs"]), []
        if op == "rounds_sets":
            return rounds.take_sets(message["sets"], os.dup(descriptors[0])), []
        if op == "rounds_add":
            return rounds.add(message["candidate"]), []
        if op == "own_state":
            host.bind_own_state()
            return {}, []
        if op == "environment":
            return environment(), []
        if op == "contender":
            return watch.add(message["candidate"], message["baseline"]), []
        if op == "measure":
            return watch.measure(message)
        raise ValueError(f"unknown request {op!r}")

    return serve


def task_to_json(task: Any) -> Message:
    """A task as JSON without its payload, which may be large and goes as a descriptor; :func:`_task` is the inverse."""
    return {**asdict(task), "payload": len(task.payload)}


def _task(data: Message, payload: int) -> Any:
    from ..task import DynamicSize, Task

    with open(os.dup(payload), "rb") as file:
        file.seek(0)
        fields = {**data, "payload": file.read(int(data["payload"]))}
    fields["dynamic"] = tuple(DynamicSize(**d) for d in data["dynamic"])
    for name in ("shrunk", "patches"):
        fields[name] = tuple(tuple(entry) for entry in data[name])
    fields["structures"] = tuple(data["structures"])
    return Task(**fields)


def _take_environment(known: dict[str, str]) -> None:
    for name in os.environ.keys() - known.keys():
        del os.environ[name]
    os.environ.update(known)


def _rest_quietly() -> None:
    """Nothing of the oracle may disturb what is timed beside it, nor what the user's process does meanwhile.

    GNU's OpenMP lets idle threads look for work for milliseconds, unless the process has more of them than cores: so it
    gets a second pool, which does nothing. And memory that goes back to the kernel is paged in anew, which costs more
    than its use.
    """
    import torch

    ready = threading.Event()

    def keep_pool() -> None:
        torch.zeros(1 << 20).add_(1.0)  # large enough for all threads of a pool of this thread's own
        ready.set()
        threading.Event().wait()

    threading.Thread(target=keep_pool, daemon=True).start()
    ready.wait()
    with contextlib.suppress(AttributeError):  # where the library is not GNU's
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, (2 << 30) - 1)
        mallopt(_M_TRIM_THRESHOLD, 1 << 30)


def _isolate(data: Message, lifeline: int, shares: int) -> list[Any]:
    """Walls that must stand before anything is imported that starts threads."""
    from ..machine import find_compiler
    from ._walls import isolate

    find_compiler()  # it asks a program, which is not possible later; remembered
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)  # SIGIO could be ignored
    return list(isolate(data["readable"], data["scratch"], shares=shares))


def _die_with_parent(lifeline: int) -> None:
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())  # the whole group: compilers too
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)


def _limit_memory(memory: int) -> None:
    """RLIMIT_DATA, not RLIMIT_AS: torch reserves much more address space than it uses."""
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        used = 0
        with open("/proc/self/status") as status:
            used = next((int(line.split()[1]) << 10 for line in status if line.startswith("VmData")), 0)
        resource.setrlimit(resource.RLIMIT_DATA, (used + memory + _SLACK, resource.RLIM_INFINITY))


def _resident() -> int:
    import psutil

    info = psutil.Process().memory_info()
    return int(info.rss - getattr(info, "shared", 0))
