"""The process behind the walls that runs what a model in training has written: each program in a fork of its own.

Raising walls and importing Triton takes longer than most programs run. So both happen once: a server is forked before
the filter of system calls stands, and forks a child for every program, which raises the filter round itself and runs
the program. Nothing that a program does to its own process is seen by the next one.
"""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import json
import math
import os
import resource
import select
import shutil
import signal
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Message = dict[str, Any]
_LENGTH = struct.Struct("!Q")
_MOST = 32 << 20  # bytes of an answer
_MEMORY = 1 << 30  # bytes that a program may use
_FIRST = """\
import torch
import triton
import triton.language as tl


@triton.jit
def kernel(x_ptr, out_ptr, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(out_ptr + at, tl.load(x_ptr + at))


def run(x):
    out = torch.empty_like(x)
    kernel[(1,)](x, out, BLOCK=4)
    return out
"""  # the interpreter imports a good part of Triton when the first kernel is launched
_WALL = 20  # seconds that may pass for each second of computing that is allowed: the machine may be busy


def serve() -> Callable[[Message, Sequence[int]], tuple[Message, list[int]]]:
    """The role of :class:`kernelwright.judge.Worker` that runs programs; Triton interprets their kernels."""
    import torch

    from ...targets.triton import become_interpreter

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=True)  # what nobody wrote is NaN, not what lay there before
    become_interpreter()
    _run({"source": _FIRST, "entry": "run", "calls": [[_coded(torch.zeros(4))]]})  # else every fork imports it again
    del sys.modules["program"]
    ours, theirs = socket.socketpair()
    with open("/proc/self/status") as status:  # which a child may not read
        used = next((int(line.split()[1]) << 10 for line in status if line.startswith("VmData")), 0)
    if os.fork() == 0:
        try:
            ours.close()
            _serve_forks(theirs, used + _MEMORY)
        finally:
            os._exit(0)
    theirs.close()

    def answer(message: Message, descriptors: Sequence[int]) -> tuple[Message, list[int]]:
        _write(ours, message)
        return _read(ours), []

    return answer


def _serve_forks(connection: socket.socket, memory: int) -> None:
    """Fork a child for every request until the worker is gone."""
    mine = connection.fileno()
    os.closerange(3, mine)  # the worker's channel and lifeline are no child's business
    os.closerange(mine + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    with contextlib.suppress(EOFError, OSError):
        while True:
            _write(connection, _in_a_fork(_read(connection), connection, memory))


def _in_a_fork(message: Message, connection: socket.socket, memory: int) -> Message:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            connection.close()
            resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
            seconds = math.ceil(message["seconds"])
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
            _become(message, writer)
        finally:
            os._exit(1)
    os.close(writer)
    try:
        reply = _await(reader, _WALL * message["seconds"])
    finally:
        os.close(reader)
        os.kill(child, signal.SIGKILL)
        _, _, used = os.wait4(child, 0)
        spoilt = not _emptied(message["walled"])
    spent = used.ru_utime + used.ru_stime
    if spent >= message["seconds"]:
        reply = {"failed": f"computed for {spent:.1f} s; it may for {message['seconds']:g} s"}
    return reply | {"spoilt": spoilt}


def _emptied(walled: bool) -> bool:
    """Nothing that a program left in the folder for scratch files, which is small, is there for the next one.

    Without walls that folder is everybody's, and each fork removes its own part of it.
    """
    if not walled:
        return True
    folder = tempfile.gettempdir()
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, ignore_errors=True)
        else:
            os.unlink(entry.path)
    return not os.listdir(folder)


def _await(reader: int, seconds: float) -> Message:
    """The child's answer: it closes its end, or its time is over."""
    end, parts, size = time.monotonic() + seconds, [], 0
    while True:
        ready, _, _ = select.select([reader], [], [], max(end - time.monotonic(), 0))
        if not ready:
            return {"failed": f"did not answer within {seconds:g} s"}
        part = os.read(reader, 1 << 20)
        if not part:
            break
        parts.append(part)
        size += len(part)
        if size > _MOST:
            return {"failed": "returned too much"}
    try:
        found = json.loads(b"".join(parts))
        return found if isinstance(found, dict) else {"failed": "returned garbage"}
    except (ValueError, RecursionError):
        return {"failed": "ended its process"}


def _become(message: Message, writer: int) -> None:
    """In the child: raise the last walls, run the program, say what it returned."""
    from ...judge import seal

    seal(-1)
    for number in (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL):
        signal.signal(number, signal.SIG_DFL)
    try:
        reply = _run(message)
    except BaseException as error:  # a process border: whatever the program raises is an answer
        reply = {"failed": f"raises {type(error).__name__}: {' '.join(str(error).split())[:300]}"}
    with open(writer, "wb") as file:
        file.write(json.dumps(reply).encode())


def _run(message: Message) -> Message:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder, "program.py")  # a file: Triton reads the text of a kernel back from it
        path.write_text(message["source"], encoding="utf-8")
        spec = importlib.util.spec_from_file_location("program", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["program"] = module
        spec.loader.exec_module(module)
        entry = getattr(module, message["entry"])
        results, seconds = [], []
        for call in message["calls"]:
            arguments = [_tensor(given) for given in call]
            start = time.perf_counter()
            found = entry(*arguments)
            seconds.append(time.perf_counter() - start)
            results.append([_coded(t) for t in (found if isinstance(found, tuple | list) else (found,))])
    return {"results": results, "seconds": seconds}


def _tensor(given: Message) -> Any:
    import torch

    flat = torch.frombuffer(bytearray(base64.b64decode(given["data"])), dtype=getattr(torch, given["dtype"]))
    return flat.reshape(given["shape"])


def _coded(value: Any) -> Message:
    import torch

    if type(value) is not torch.Tensor:
        raise TypeError(f"it returned {type(value).__name__} where a tensor belongs")
    raw = value.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b""
    data = base64.b64encode(raw).decode()
    return {"dtype": str(value.dtype).removeprefix("torch."), "shape": list(value.shape), "data": data}


def _write(connection: socket.socket, message: Message) -> None:
    body = json.dumps(message).encode()
    connection.sendall(_LENGTH.pack(len(body)) + body)


def _read(connection: socket.socket) -> Message:
    (size,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
    found: Message = json.loads(_exactly(connection, size))
    return found


def _exactly(connection: socket.socket, size: int) -> bytes:
    parts = []
    while size:
        part = connection.recv(min(size, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


__all__ = ["serve"]
