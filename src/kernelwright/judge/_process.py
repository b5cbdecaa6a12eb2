"""A worker process as its parent sees it: forked lazily, watched while it works, killed with all its children.

Nothing survives: the worker leads a session of its own that is killed as a group, orphans of its children come back to
it (subreaper) and are killed too, and a pipe that only the parent holds open tells the kernel when the parent is gone.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import IO

import psutil

from . import _zygote
from ._protocol import Channel, ChannelClosed, ChannelGarbage, ChannelTimeout, Message
from ._walls import THREADS, Walls, environment, readable

_START_SECONDS = 60.0
_POLL_SECONDS = 0.02


class WorkerLost(Exception):
    """The worker ended or was killed; ``category`` is crash, timeout, memory or walls, ``reason`` lacks its subject."""

    def __init__(self, category: str, reason: str) -> None:
        super().__init__(reason)
        self.category, self.reason = category, reason


class Disturbed(Exception):
    """The worker was killed, and not by its parent: that says nothing about whoever ran in it."""


class WorkerFault(Exception):
    """The worker answered with an exception: its class name and text."""

    def __init__(self, kind: str, text: str, data: Message) -> None:
        super().__init__(text)
        self.kind, self.text, self.data = kind, text, data


class Worker:
    """One worker process of the given role ("oracle" or "candidate"). Not safe for concurrent requests.

    With ``walls`` it raises those of :mod:`._walls` round itself; which stand is in ``standing`` once it has answered.
    """

    def __init__(self, role: str, memory_limit: int, *, walls: bool = False, readable: Sequence[str] = ()) -> None:
        self.role, self.memory_limit = role, memory_limit
        self.walls, self.readable = walls, tuple(readable)
        self.standing: Walls | None = None
        self.forgiving = False  # is SIGKILL from nobody knows where a disturbance, or the fault of what runs there?
        self.starts = 0  # how often a process was started: state that lived in an earlier one is gone
        self.start_seconds = 0.0  # what the newest process took until it could answer
        self._wanted = False  # there is a zygote for it, which may still have to import torch
        self._process: _zygote.Child | None = None
        self._channel: Channel | None = None
        self._ready = False
        self._serial = 0
        self._baseline = 0
        self._whole = 0
        self._lifeline = -1
        self._log: IO[bytes] | None = None
        self._scratch = ""
        self._frozen = False

    @property
    def alive(self) -> bool:
        return self._wanted and (self._process is None or self._process.poll() is None)

    def spawn(self) -> None:
        """Begin to start the process; the first request waits until it is there.

        Raises ``Disturbed`` when the one before was killed while it waited for a request.
        """
        if self.alive:
            return
        self.forgive()
        self.kill()
        _zygote.hold()
        self._wanted = True
        self.starts += 1

    def _fork(self, deadline: float) -> None:
        start = time.monotonic()
        ours, theirs = socket.socketpair()
        read_end, self._lifeline = os.pipe()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by kill()
        self._scratch = tempfile.mkdtemp(prefix="kernelwright-") if self.walls else ""
        order: Message = {"role": self.role, "memory": self.memory_limit, "scratch": self._scratch}
        try:
            self._process = _zygote.fork(order, [theirs.fileno(), read_end, self._log.fileno()], deadline)
        finally:
            theirs.close()
            os.close(read_end)
        self._channel = Channel(ours)
        self._ready = False
        # Walls: it keeps what the zygote knows of the environment. Else it is the user's, to compute as the user does.
        known = environment({}) if self.walls else dict(os.environ)
        hello: Message = {"sys_path": sys.path, "environment": known, "began": start}
        if self.walls:
            hello["walls"] = {"scratch": self._scratch, "readable": readable(self.readable)}
        self._channel.send(hello)

    def request(
        self, message: Message, descriptors: Sequence[int] = (), *, seconds: float, deadline: float = math.inf
    ) -> tuple[Message, list[int]]:
        """Ask and wait, ``seconds`` from when it is ready, until ``deadline`` (``time.monotonic``) in any case.

        Raises ``WorkerLost`` (the process is dead then) or ``WorkerFault`` (it lives on).
        """
        self._start(deadline)
        assert self._channel is not None
        self._serial += 1
        self.resume()
        try:
            self._channel.send({**message, "serial": self._serial}, descriptors)
            reply, received = self._wait(min(time.monotonic() + seconds, deadline), seconds)
        except ChannelClosed:
            reason = self._death()
            if self.walls and reason.endswith("SIGSYS"):
                raise self._lost("walls", "was ended for a system call that the walls forbid") from None
            raise self._lost("crash", reason) from None
        except (ChannelGarbage, KeyError):
            raise self._lost("crash", "wrote garbage where its answer belongs") from None
        except BaseException:  # Ctrl-C: an answer nobody waits for would be taken for the next one's
            self.kill()
            raise
        if reply.get("serial") != self._serial:
            _close_all(received)
            raise self._lost("crash", "answered a question that was not asked")
        if "fault" in reply:
            _close_all(received)
            raise WorkerFault(str(reply["fault"]), str(reply.get("text", "")), reply)
        return reply, received

    def wait(self) -> None:
        """Until it is ready, which says which of its walls stand. Raises ``WorkerLost``."""
        self._start(math.inf)

    @property
    def process(self) -> int:
        """The operating system's number of the process, which must have been started."""
        assert self._process is not None
        return self._process.pid

    def freeze(self) -> None:
        """Stop all its threads where they are; its next request lets them go on. Raises ``WorkerLost``."""
        os.kill(self.process, signal.SIGSTOP)
        self._frozen = True
        os.waitid(os.P_PID, self.process, os.WSTOPPED | os.WEXITED | os.WNOWAIT)  # until no thread runs any more
        if not self.alive:
            raise self._lost("crash", self._death())

    def resume(self) -> None:
        """Undo :meth:`freeze`."""
        if self._frozen:
            os.kill(self.process, signal.SIGCONT)
            self._frozen = False

    def kill(self) -> None:
        """End the process and everything it started. Safe to call at any time."""
        self._frozen = False
        process, self._process = self._process, None
        if process is not None:
            _kill_tree(process)
        if self._wanted:
            self._wanted = False
            _zygote.drop()
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
        if self._log is not None:
            self._log.close()
            self._log = None
        if self._scratch:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = ""

    def _start(self, deadline: float) -> None:
        """The process is there and ready. Raises ``WorkerLost``."""
        self.spawn()
        try:
            if self._process is None:
                self._fork(deadline)
            if not self._ready:
                self._await_ready(deadline)
        except (ChannelClosed, ChannelGarbage, KeyError, OSError) as error:
            raise self._lost("crash", f"did not start: {self._log_tail()}") from error
        except (_zygote.ZygoteLate, ChannelTimeout) as error:
            raise self._lost("timeout", f"did not start: {self._log_tail()}") from error
        except _zygote.ZygoteLost as error:
            raise self._lost("crash", f"did not start: {error}") from error

    def _await_ready(self, deadline: float) -> None:
        assert self._channel is not None
        message, _ = self._channel.receive(min(time.monotonic() + _START_SECONDS, deadline))
        self._baseline, self.start_seconds = int(message["ready"]), float(message["seconds"])
        self.standing = Walls.from_json(message["walls"])
        self._whole = self._resident()
        self._ready = True

    def _wait(self, deadline: float, seconds: float) -> tuple[Message, list[int]]:
        assert self._channel is not None
        used = 0
        while not select.select([self._channel.socket], [], [], _POLL_SECONDS)[0]:
            used = max(used, self._memory())
            if self.walls and self._threads() > THREADS:
                raise self._lost("walls", f"started more than {THREADS} threads")
            if used > self.memory_limit:
                raise self._lost("memory", f"used more than {self.memory_limit >> 20} MiB of memory")
            if time.monotonic() > deadline:
                raise self._lost("timeout", f"did not finish within {seconds:.0f} s")
        try:
            return self._channel.receive(deadline + 1.0)
        except ChannelTimeout:
            raise self._lost("timeout", f"did not finish within {seconds:.0f} s") from None
        except ChannelClosed:
            if used > self.memory_limit * 0.7:
                raise self._lost("memory", f"died while using {used >> 20} MiB of memory") from None
            raise

    def _memory(self) -> int:
        """Bytes of its own memory, beyond what the interpreter and its libraries take."""
        try:
            assert self._process is not None
            info = psutil.Process(self._process.pid).memory_info()
        except (psutil.Error, AssertionError):
            return 0
        private = int(info.rss - getattr(info, "shared", 0) - self._baseline)
        # Behind walls memory can be taken as shared too, of which the inputs and outputs are part.
        return max(private, int(info.rss) - self._whole - self.memory_limit) if self.walls else private

    def _resident(self) -> int:
        try:
            return int(psutil.Process(self.process).memory_info().rss)
        except psutil.Error:
            return 0

    def _threads(self) -> int:
        try:
            return int(psutil.Process(self.process).num_threads())
        except psutil.Error:
            return 0

    def _death(self) -> str:
        assert self._process is not None
        try:
            code = self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            return "closed its connection to the judge"
        if code < 0:
            with contextlib.suppress(ValueError):
                return f"died of {signal.Signals(-code).name}"
        return f"ended its process with exit code {code}"

    def forgive(self) -> None:
        """Before it is blamed: raise ``Disturbed`` where the process is gone because somebody killed it."""
        if not self.forgiving or self._process is None:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            if self._process.wait(1.0) != -signal.SIGKILL:
                return
            self.kill()
            raise Disturbed(f"The process of the {self.role} was killed.")

    def _lost(self, category: str, reason: str) -> WorkerLost:
        if category == "crash":
            self.forgive()
        self.kill()
        return WorkerLost(category, reason)

    def _log_tail(self) -> str:
        if self._log is None:
            return "no message"
        self._log.seek(0)
        lines = self._log.read()[-4000:].decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "no message"


def _kill_tree(process: _zygote.Child) -> None:
    family = []
    with contextlib.suppress(psutil.Error):
        family = psutil.Process(process.pid).children(recursive=True)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    for child in family:
        with contextlib.suppress(psutil.Error):
            child.kill()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
    process.wait()


def _close_all(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
