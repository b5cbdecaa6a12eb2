"""Workers are forked from one process that has imported torch, so that importing it is paid once and not by each.

The zygote is started when the first worker may be needed, and ended with the last one. It never sees a task, a seed or
a candidate, and knows of the environment what a process behind walls may know: whoever is forked from it finds nothing
in its memory that belongs to the judge. A worker is forked twice, so that it loses its parent and becomes a child of
the judge, which can then wait for it, stop it, and read its memory.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from ._protocol import Channel, ChannelClosed, ChannelGarbage, ChannelTimeout, Message
from ._walls import environment

_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from kernelwright.judge._zygote import main; main(int(sys.argv[2]), float(sys.argv[3]))"
)
_ROOT = str(Path(__file__).resolve().parents[2])
_START_SECONDS = 120.0
_FORK_SECONDS = 30.0
_PR_SET_CHILD_SUBREAPER, _PR_GET_CHILD_SUBREAPER = 36, 37


class ZygoteLost(Exception):
    """It could not be started, or is gone; why."""


class ZygoteLate(Exception):
    """It was not ready before the deadline."""


class Child:
    """A process that another one forked for us: what ``subprocess.Popen`` is for those that we start."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """The exit code (negative: the signal's number), None while it runs."""
        with self._lock:
            if self.returncode is None:
                try:
                    pid, status = os.waitpid(self.pid, os.WNOHANG)
                    self.returncode = os.waitstatus_to_exitcode(status) if pid else None
                except ChildProcessError:  # somebody else has waited for it: gone, nobody knows how
                    self.returncode = 0
            return self.returncode

    def wait(self, timeout: float = 60.0) -> int:
        """Raises ``subprocess.TimeoutExpired``."""
        end, pause = time.monotonic() + timeout, 0.0005
        while (code := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(pause)
            pause = min(2 * pause, 0.02)
        return code


class Zygote:
    """The judge's side. Threads may share it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self._channel = Channel(ours)
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by end()
        self._lock = threading.Lock()
        self.seconds = 0.0  # what it took until it could fork; 0.0 before
        path = os.environ.get("PYTHONPATH", "")
        known = environment({"PYTHONPATH": f"{_ROOT}{os.pathsep}{path}" if path else _ROOT})
        arguments = [json.dumps(sys.path), str(theirs.fileno()), repr(time.monotonic())]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _BOOT, *arguments],
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._log,
                env=known,
            )
        finally:
            theirs.close()

    def fork(self, message: Message, descriptors: Sequence[int], deadline: float) -> Child:
        """A worker, see :func:`_become`. Raises ``ZygoteLost``; ``ZygoteLate`` when it is not ready in time."""
        with self._lock:
            try:
                if not self.seconds:
                    ready, _ = self._channel.receive(min(time.monotonic() + _START_SECONDS, deadline))
                    self.seconds = float(ready["seconds"])
                with _adopting():
                    self._channel.send(message, descriptors)
                    reply, _ = self._channel.receive(time.monotonic() + _FORK_SECONDS)
                return Child(int(reply["process"]))
            except ChannelTimeout:
                if not self.seconds and time.monotonic() >= deadline:
                    raise ZygoteLate from None
                raise ZygoteLost("it does not answer") from None
            except (ChannelClosed, ChannelGarbage, KeyError):
                raise ZygoteLost(self._last_words()) from None

    def end(self) -> None:
        """End it; those it has forked live on."""
        self._process.kill()
        self._process.wait()
        self._channel.close()
        self._log.close()

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = self._log.read()[-4000:].decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "no message"


_guard = threading.Lock()
_zygote: Zygote | None = None
_users = 0


def hold() -> None:
    """There shall be a zygote, which begins to import now if there is none, until as many have called :func:`drop`."""
    global _zygote, _users
    with _guard:
        _users += 1
        _zygote = _zygote or Zygote()


def drop() -> None:
    """Undo one :func:`hold`."""
    global _zygote, _users
    with _guard:
        _users -= 1
        if _users == 0 and _zygote is not None:
            _zygote.end()
            _zygote = None


def fork(message: Message, descriptors: Sequence[int], deadline: float) -> Child:
    """From the zygote that is held; from a new one where that is gone. Raises as :meth:`Zygote.fork`."""
    zygote = _zygote
    assert zygote is not None
    try:
        return zygote.fork(message, descriptors, deadline)
    except ZygoteLost:
        return _renew(zygote).fork(message, descriptors, deadline)


def import_seconds() -> float:
    """What importing torch took here and now; 0.0 when that is not known."""
    return _zygote.seconds if _zygote is not None else 0.0


def _renew(lost: Zygote) -> Zygote:
    global _zygote
    with _guard:
        if _zygote is lost:
            lost.end()
            _zygote = Zygote()
        assert _zygote is not None
        return _zygote


@contextlib.contextmanager
def _adopting() -> Iterator[None]:
    """Descendants that lose their parent meanwhile become children of this process (not on Linux: init's)."""
    before = ctypes.c_int(0)
    try:
        prctl = ctypes.CDLL(None).prctl
    except AttributeError:
        yield
        return
    prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(before), 0, 0, 0)
    prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        prctl(_PR_SET_CHILD_SUBREAPER, before.value, 0, 0, 0)


# ── the zygote's own side ──


def main(descriptor: int, began: float) -> None:
    """Import, then fork whenever asked; when the judge is gone, remove what its workers cannot remove."""
    channel = Channel(socket.socket(fileno=descriptor))
    scratch: list[str] = []
    with contextlib.suppress(ChannelClosed):
        _import()
        channel.send({"seconds": time.monotonic() - began})
        while True:
            message, descriptors = channel.receive()
            scratch += [message["scratch"]] if message["scratch"] else []
            channel.send({"process": _fork(message, descriptors, channel)})
            for used in descriptors:
                os.close(used)
    for folder in scratch:
        shutil.rmtree(folder, ignore_errors=True)


def _import() -> None:
    """What both roles need; nothing here may start a thread that a fork would lose."""
    import torch

    from ..machine import find_compiler

    # Whether there is a GPU is a question to the driver, after which no process forked from here could use one; and
    # packages ask it while they are imported.
    asked, torch.cuda.is_available = torch.cuda.is_available, lambda: False
    try:
        from torch.utils import cpp_extension, flop_counter  # noqa: F401 - slow, and asked for by every task

        from . import _candidate, _oracle, _rounds, _timing, _worker  # noqa: F401
    finally:
        torch.cuda.is_available = asked

    find_compiler()  # it asks a program, which is not possible behind walls; remembered
    gc.freeze()  # a collection in a worker would otherwise copy every page that it shares with the others


def _fork(message: Message, descriptors: Sequence[int], channel: Channel) -> int:
    """Fork a child that forks the worker and ends; the worker says its number when it leads a session of its own."""
    reader, writer = os.pipe()
    between = os.fork()
    if between == 0:
        try:
            if os.fork():
                os._exit(0)
            os.setsid()
            os.close(reader)
            channel.close()
            os.write(writer, str(os.getpid()).encode())
            os.close(writer)
            _become(message, descriptors)
        finally:
            os._exit(1)
    os.close(writer)
    os.waitpid(between, 0)
    said = os.read(reader, 32)
    os.close(reader)
    return int(said)


def _become(message: Message, descriptors: Sequence[int]) -> None:
    """The worker of a role: its end of the connection, its lifeline, and where its last words go."""
    from ._worker import run

    connection, lifeline, log = descriptors
    os.dup2(log, 2)
    os.close(log)
    try:
        run(message["role"], Channel(socket.socket(fileno=connection)), lifeline, int(message["memory"]))
    except ChannelClosed:
        pass
    except BaseException:
        sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


__all__ = ["Child", "Zygote", "ZygoteLate", "ZygoteLost", "drop", "fork", "hold", "import_seconds", "main"]
