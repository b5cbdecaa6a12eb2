"""SQLite's errors as sentences: what happened to the archive, what was kept, what to do."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from kernelwright.errors import ArchiveBusy, ArchiveError, ArchiveFull, CacheUnusable, KernelwrightError

_UNWRITABLE = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}


def _code(fault: sqlite3.Error) -> int:
    # Extended codes keep the primary one in the low byte; errors raised by the Python layer have none.
    return int(getattr(fault, "sqlite_errorcode", -1)) & 0xFF


def is_busy(fault: sqlite3.Error) -> bool:
    """Another process holds the lock: worth another try."""
    return _code(fault) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


class Damaged(sqlite3.DatabaseError):
    """A row's text does not match its checksum: damage that SQLite itself cannot see."""


def is_damage(fault: sqlite3.Error) -> bool:
    """The file's content is broken: it must be recovered before anything else can work."""
    return isinstance(fault, Damaged) or _code(fault) in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def sentence(fault: sqlite3.Error, path: Path) -> KernelwrightError:
    """The error that a user sees for one of SQLite's."""
    code = _code(fault)
    if code == sqlite3.SQLITE_FULL:
        return ArchiveFull(
            f"The archive {path} cannot grow because the disk is full; what it holds is kept: {_WAY_OUT}."
        )
    if code == sqlite3.SQLITE_IOERR:
        return ArchiveFull(
            f"The archive {path} could not be written ({fault}: disk full, over quota or failing); what it holds is "
            f"kept: {_WAY_OUT}."
        )
    if code in _UNWRITABLE:
        return CacheUnusable(
            f"The archive {path} cannot be written ({fault}): make its folder writable or set {_HOME}."
        )
    if is_busy(fault):
        return ArchiveBusy(f"The archive {path} stayed locked by another process: end that process or set {_HOME}.")
    return ArchiveError(f"The archive {path} cannot be used ({fault}).")


_HOME = "KERNELWRIGHT_HOME to another folder"
_WAY_OUT = f"free some space, run `kernelwright archive gc`, or set {_HOME}"
