"""Landlock: which files a process may read and write, set by itself and never to be lifted again, without root."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # the same on every architecture
_VERSION = 1
_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE = 1, 1 << 1, 1 << 2, 1 << 3, 1 << 14
READ = _READ_FILE | _READ_DIR
_FILES_ONLY = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | 1 << 15
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # how many rights of the file system a version of the interface knows
_TCP = 3  # bind and connect, from version 4
_SCOPES = 3  # abstract sockets and signals to outside, from version 6


def version() -> int:
    """Of the kernel's interface; 0 when there is none."""
    libc = ctypes.CDLL(None, use_errno=True)
    return max(int(libc.syscall(_CREATE, None, ctypes.c_size_t(0), _VERSION)), 0)


def restrict(read: Iterable[str], write: Iterable[str]) -> str:
    """Nothing but what lies beneath these paths, for this thread and those it starts. Returns why not, or "".

    Call it before there are other threads: they would stay outside.
    """
    known = version()
    if not known:
        return "this kernel has no landlock, or it is switched off"
    libc = ctypes.CDLL(None, use_errno=True)
    handled = (1 << _RIGHTS[min(known, 5)]) - 1
    attributes = struct.pack("=QQQ", handled, _TCP if known >= 4 else 0, _SCOPES if known >= 6 else 0)
    size = 24 if known >= 6 else 16 if known >= 4 else 8
    rules = libc.syscall(_CREATE, attributes, ctypes.c_size_t(size), 0)
    if rules < 0:
        return os.strerror(ctypes.get_errno())
    try:
        device = 1 << 15  # ioctl on devices: nobody's
        for paths, rights in ((read, READ), (write, handled & ~_EXECUTE & ~device)):
            for path in paths:
                _allow(libc, rules, path, rights & handled)
        if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.syscall(_RESTRICT, rules, 0):
            return os.strerror(ctypes.get_errno())
    finally:
        os.close(rules)
    return ""


def _allow(libc: ctypes.CDLL, rules: int, path: str, rights: int) -> None:
    """A path that is not there needs no rule."""
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not os.path.isdir(path):
            rights &= _FILES_ONLY
        libc.syscall(_ADD, rules, _PATH_BENEATH, struct.pack("=Qi", rights, descriptor), 0)
    finally:
        os.close(descriptor)
