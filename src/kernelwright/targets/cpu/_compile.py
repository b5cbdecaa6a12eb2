"""Runs the compiler: it ends with whoever started it, and what is no fault of the source is not called one."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...errors import BuildFailed

_ATTEMPTS = 3
# What a driver says when one of its programs was ended by somebody; a fault in the compiler itself ends otherwise.
_ENDED = re.compile(r"Killed|Terminated|\bsignal (9|15)\b")
_ABOUT_SOURCE = re.compile(r"\s|\S+:\d+:|$")  # lines that a source has a say in
_WRITING = re.compile(r"fatal error: (error writing|when writing|error closing)")
_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG)


def run_compiler(command: Sequence[str], folder: Path, end: float) -> None:
    """Run it in ``folder`` until ``end`` (``time.monotonic``); then it is ended with everything it started.

    Raises ``BuildFailed`` for what the source is to blame for, ``OSError`` where the folder cannot be written.
    """
    for _ in range(_ATTEMPTS):
        code, said = _once(command, folder, end)
        if code == 0:
            return
        about_itself = _about_itself(said)
        fault = next((f for f in _FAULTS if os.strerror(f) in about_itself), _cannot_write(folder))
        if fault:
            raise OSError(fault, os.strerror(fault))
        if code > 0 and not _ENDED.search(about_itself):
            raise BuildFailed(f"The compiler rejected the source: {_first_error(said)}")
    raise BuildFailed(f"The compiler was killed {_ATTEMPTS} times while it compiled the source.")


def _once(command: Sequence[str], folder: Path, end: float) -> tuple[int, str]:
    late = BuildFailed("The compiler did not finish in the time that was left for it.")
    if time.monotonic() >= end:
        raise late
    known = {**os.environ, "TMPDIR": str(folder)}  # what it leaves behind when it is killed goes with the folder
    with (
        _lifeline() as line,
        subprocess.Popen(
            command, cwd=folder, env=known, start_new_session=True, pass_fds=(line,),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace",
        ) as process,
    ):  # fmt: skip
        try:
            _tie(line, process.pid)
            _, said = process.communicate(timeout=max(end - time.monotonic(), 0.01))
        except BaseException as fault:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # the driver's children too
            if isinstance(fault, subprocess.TimeoutExpired):
                raise late from None
            raise
    return process.returncode, said


@contextlib.contextmanager
def _lifeline() -> Iterator[int]:
    """The end for others of a pipe that closes when this process dies."""
    reader, writer = os.pipe()
    try:
        yield reader
    finally:
        os.close(reader)
        os.close(writer)


def _tie(line: int, group: int) -> None:
    """The kernel shall end a group of processes when the pipe closes (SIGIO, which no compiler handles)."""
    with contextlib.suppress(OSError, AttributeError):
        fcntl.fcntl(line, fcntl.F_SETOWN, -group)
        fcntl.fcntl(line, fcntl.F_SETFL, fcntl.fcntl(line, fcntl.F_GETFL) | os.O_ASYNC)


def _about_itself(said: str) -> str:
    """What a compiler says of its own affairs."""
    lines = said.splitlines()
    return "\n".join(line for line in lines if not _ABOUT_SOURCE.match(line) or _WRITING.search(line))


def _cannot_write(folder: Path) -> int:
    """Why not, as an error's number: not every linker says it. 0 where it can be written."""
    try:
        probe = folder / "probe"
        probe.write_bytes(bytes(1 << 16))
        probe.unlink()
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def _first_error(text: str) -> str:
    lines = text.strip().splitlines()
    return next((line for line in lines if "error" in line), lines[0] if lines else "no message")


__all__ = ["run_compiler"]
