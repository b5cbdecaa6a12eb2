"""One SQLite file behind one lock: transactions that are retried when busy, rebuilt when damaged, and never half done.

Every use runs a closure inside one transaction, so it can simply be run again: after waiting for another process,
after the file was recovered, or in a forked child, which must not use its parent's connection.
"""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from kernelwright.archive import _recover, _schema
from kernelwright.archive._faults import is_busy, is_damage, sentence
from kernelwright.errors import ArchiveError, ArchiveFull, ArchiveTooNew, CacheUnusable

log = logging.getLogger("kernelwright.archive")
T = TypeVar("T")
Identity = tuple[int, int]


class _Replaced(Exception):
    """The file under our path is no longer the one that is open."""


class Database:
    """The file at ``path``, opened on demand. Safe to share between threads."""

    def __init__(self, path: Path, wait: float = 60.0) -> None:
        self.path = path
        self.notices: list[str] = []
        self._wait = wait
        self._mutex = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._identity: Identity | None = None
        self._pid = os.getpid()

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` on one consistent state."""
        return self._run(work, "BEGIN")

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` as one transaction: when this returns, what it wrote survives a kill."""
        return self._run(work, "BEGIN IMMEDIATE")

    def vacuum(self) -> None:
        """Give the space of deleted rows back to the file system, unless somebody is using the file."""
        with self._mutex:
            try:
                connection = self._open()
                connection.execute("VACUUM")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # until then the file keeps its old size
            except sqlite3.Error as fault:
                if not is_busy(fault):
                    raise sentence(fault, self.path) from fault

    def size(self) -> int:
        """Bytes on disk, those not yet moved out of the write-ahead log included."""
        paths = (self.path, Path(f"{self.path}-wal"))
        return sum(path.stat().st_size for path in paths if path.exists())

    def close(self) -> None:
        with self._mutex:
            if self._connection is not None and self._pid == os.getpid():
                self._connection.close()
            self._connection = None

    def discard(self) -> None:
        """Close for good."""
        self.close()

    def _run(self, work: Callable[[sqlite3.Connection], T], begin: str) -> T:
        with self._mutex:
            deadline = time.monotonic() + self._wait
            pause, recovered = 0.005, False
            while True:
                seen = _identity(self.path)
                try:
                    return self._attempt(work, begin)
                except _Replaced:
                    self.close()
                except sqlite3.Error as fault:
                    if is_busy(fault) and time.monotonic() < deadline:
                        time.sleep(pause)
                        pause = min(2 * pause, 0.2)
                    elif is_damage(fault) and not recovered:
                        recovered = True
                        self._recover(self._identity or seen, fault)
                    else:
                        raise sentence(fault, self.path) from fault

    def _attempt(self, work: Callable[[sqlite3.Connection], T], begin: str) -> T:
        connection = self._open()
        connection.execute(begin)
        try:
            # Asked inside the transaction: another process may have recovered the file, or a person removed it.
            if _identity(self.path) != self._identity:
                raise _Replaced
            result = work(connection)
            connection.execute("COMMIT")
            return result
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _open(self) -> sqlite3.Connection:
        if self._pid != os.getpid():
            self._inherited = self._connection  # kept so that it is not closed: its locks are the parent's
            self._connection, self._pid = None, os.getpid()
        if self._connection is None:
            self._identity = None
            connection = _connect(self.path, self._wait)
            try:
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
            self._connection, self._identity = connection, _identity(self.path)
        return self._connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        version = _schema.version_of(connection)
        if _schema.is_foreign(connection):
            raise ArchiveError(f"The file {self.path} is another program's database, not a kernelwright archive.")
        if version > len(_schema.MIGRATIONS):
            raise ArchiveTooNew(
                f"The archive {self.path} was written by a newer kernelwright (schema {version}, this one knows "
                f"{len(_schema.MIGRATIONS)}): upgrade kernelwright or set KERNELWRIGHT_HOME to another folder."
            )
        connection.execute("PRAGMA journal_mode = WAL")  # readers and a writer at once; where unsupported, as before
        connection.execute("PRAGMA synchronous = FULL")  # a commit survives power loss too
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("BEGIN IMMEDIATE")  # a read-only file must be found now, not at the first record
        connection.execute("ROLLBACK")
        _schema.migrate(connection)

    def _recover(self, seen: Identity | None, fault: sqlite3.Error) -> None:
        self.close()
        if not _recover.looks_like_archive(self.path):
            raise ArchiveError(f"The file {self.path} is not a kernelwright archive ({fault}).") from fault
        try:
            notice = _recover.recover(self.path, lambda: _identity(self.path) == seen)
        except OSError as error:
            raise CacheUnusable(f"The archive {self.path} is damaged and cannot be set aside ({error}).") from error
        if notice:
            self.notices.append(notice)
            log.warning(notice)


class TemporaryDatabase(Database):
    """A copy of an archive that cannot be written, in a temporary folder: serves what is there, forgets what is new."""

    def __init__(self, original: Path) -> None:
        try:
            self._folder = Path(tempfile.mkdtemp(prefix="kernelwright-archive-"))
        except OSError as error:
            raise CacheUnusable(
                f"Neither {original.parent} nor a temporary folder can be written ({error})."
            ) from error
        super().__init__(self._folder / "archive.sqlite")
        for suffix in ("", "-wal"):
            try:
                shutil.copyfile(f"{original}{suffix}", f"{self.path}{suffix}")
            except OSError:
                Path(f"{self.path}{suffix}").unlink(missing_ok=True)  # absent or unreadable: start empty

    def discard(self) -> None:
        super().discard()
        shutil.rmtree(self._folder, ignore_errors=True)


def open_database(path: Path, fallback: bool) -> Database:
    """Open the archive at ``path``; where its folder cannot be written, a temporary copy of it if ``fallback``."""
    database = Database(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        database.read(lambda connection: None)
        return database
    except (OSError, CacheUnusable, ArchiveFull) as fault:
        database.close()
        if not fallback:
            raise CacheUnusable(f"The archive {path} cannot be written: make its folder writable ({fault}).") from fault
        temporary = TemporaryDatabase(path)
        notice = (
            f"The archive {path} cannot be written, so new results are kept for this run only: "
            "make its folder writable or set KERNELWRIGHT_HOME to another folder."
        )
        temporary.notices.append(notice)
        log.warning(notice)
        return temporary


def _connect(path: Path, wait: float) -> sqlite3.Connection:
    # isolation_level=None: transactions are begun and ended by us, not guessed by the module.
    connection = sqlite3.connect(path, timeout=wait, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    return connection


def _identity(path: Path) -> Identity | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
