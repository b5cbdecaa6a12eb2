"""A damaged archive is set aside and read row by row; what is whole moves into a new file, what is not stays behind.

The damaged file is replaced only when the new one is complete, so a kill in the middle leaves things as they were.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from filelock import FileLock

from kernelwright.archive import _schema

_SMALLEST_ROW = 64  # bytes: every row holds a sha256 in hex, which bounds the rowids a file can hold
_GIVE_UP = 50_000  # unreadable rows in a sequence: more than one damaged interior page can hide


def checksum(text: str, other: str | bytes) -> str:
    """sha256 over the two parts of a row that must not change unnoticed."""
    tail = other if isinstance(other, bytes) else other.encode("utf-8", "replace")
    return hashlib.sha256(text.encode("utf-8", "replace") + b"\0" + tail).hexdigest()


def looks_like_archive(path: Path) -> bool:
    """Whether a file that SQLite cannot read was once an archive: never set aside what a user named by mistake."""
    with path.open("rb") as file:
        magic = file.read(16)
    return path.suffix in {".sqlite", ".sqlite3", ".db"} or magic == b"SQLite format 3\0"


def recover(path: Path, still_damaged: Callable[[], bool]) -> str:
    """Replace the damaged file at ``path`` by a new one with every row that can be read; return what to tell the user.

    Returns "" when ``still_damaged`` says, under the lock, that another process has done it already.
    """
    with FileLock(f"{path}.recovery", timeout=300):
        if not still_damaged():
            return ""
        aside = _free_name(path)
        for suffix in ("", "-wal"):
            if Path(f"{path}{suffix}").exists():
                shutil.copyfile(f"{path}{suffix}", f"{aside}{suffix}")
        fresh = Path(f"{path}.fresh")
        fresh.unlink(missing_ok=True)
        kept, lost = _rebuild(aside, fresh)
        for suffix in ("-wal", "-shm"):  # they belong to the old file and would be replayed into the new one
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        os.replace(fresh, path)
    return (
        f"The archive {path} was damaged: {kept} of its records were recovered into a new one, "
        f"{lost or 'none'} of those found had to be dropped, and the damaged file is kept as {aside.name}."
    )


def _free_name(path: Path) -> Path:
    stamp = datetime.now().strftime("%Y-%m-%d")
    names = (f"{path.stem}.corrupt-{stamp}{tail}{path.suffix}" for tail in ["", *(f"-{n}" for n in range(2, 10_000))])
    return next(path.with_name(name) for name in names if not path.with_name(name).exists())


def _rebuild(aside: Path, fresh: Path) -> tuple[int, int]:
    with tempfile.TemporaryDirectory(dir=fresh.parent, prefix=".recovery-") as folder:
        scratch = Path(folder) / "scratch.sqlite"  # reading replays the WAL, and the evidence must stay as it is
        for suffix in ("", "-wal"):
            if Path(f"{aside}{suffix}").exists():
                shutil.copyfile(f"{aside}{suffix}", f"{scratch}{suffix}")
        target = sqlite3.connect(fresh, isolation_level=None)
        source = _open_damaged(scratch, Path(folder))
        try:
            version = _version(source)
            _schema.migrate(target, _schema.MIGRATIONS[:version])
            found = _copy(source, target, scratch.stat().st_size) if source else 0
            _drop_broken(target)
            _schema.migrate(target)
            kept = sum(target.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in _schema.TABLES)
            return kept, found - kept
        finally:
            target.close()
            if source:
                source.close()


def _open_damaged(scratch: Path, folder: Path) -> sqlite3.Connection | None:
    source = _reader(scratch)
    if _readable(source):
        return source
    source.close()
    _splice_first_page(scratch, folder)
    source = _reader(scratch)
    if _readable(source):
        return source
    source.close()
    return None


def _reader(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")  # checksums tell what was damaged
    return connection


def _readable(connection: sqlite3.Connection) -> bool:
    try:
        names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    except sqlite3.Error:
        return False
    return "tasks" in names


def _splice_first_page(scratch: Path, folder: Path) -> None:
    """Give a file whose header or schema is lost the first page of an empty archive: the roots lie where ours do."""
    template = folder / "template.sqlite"
    empty = sqlite3.connect(template, isolation_level=None)
    _schema.migrate(empty)
    size = int(empty.execute("PRAGMA page_size").fetchone()[0])
    empty.close()
    page = bytearray(template.read_bytes()[:size])
    pages = scratch.stat().st_size // size
    page[28:32] = pages.to_bytes(4, "big")
    if pages:
        with scratch.open("r+b") as file:
            file.write(page)


def _version(source: sqlite3.Connection | None) -> int:
    newest = len(_schema.MIGRATIONS)
    if source is None:
        return newest
    return min(max(_schema.version_of(source), 1), newest)


def _copy(source: sqlite3.Connection, target: sqlite3.Connection, size: int) -> int:
    found = 0
    target.execute("BEGIN")
    for table in _schema.TABLES:
        columns = _columns(target, table)
        if not columns:  # of a later version than the file
            continue
        insert = f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        for row in _rows(source, table, columns, size):
            target.execute(insert, row)
            found += 1
    target.execute("COMMIT")
    return found


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]


def _rows(source: sqlite3.Connection, table: str, columns: list[str], size: int) -> Iterator[tuple[object, ...]]:
    """Every readable row, by halving each range of rowids that meets a damaged page."""
    query = f"SELECT {', '.join(columns)} FROM {table} NOT INDEXED WHERE rowid BETWEEN ? AND ?"
    ranges = [(1, _last_rowid(source, table, size))]
    failures = 0
    while ranges and failures < _GIVE_UP:
        low, high = ranges.pop()
        try:
            rows = source.execute(query, (low, high)).fetchall()
        except sqlite3.Error:
            if low < high:
                middle = (low + high) // 2
                ranges += [(middle + 1, high), (low, middle)]
            else:
                failures += 1
            continue
        if rows:
            failures = 0
            yield from rows


def _last_rowid(source: sqlite3.Connection, table: str, size: int) -> int:
    try:
        return int(source.execute(f"SELECT coalesce(max(rowid), 0) FROM {table} NOT INDEXED").fetchone()[0])
    except sqlite3.Error:
        return size // _SMALLEST_ROW


def _parses(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _drop_broken(target: sqlite3.Connection) -> None:
    """Remove rows whose text was damaged, then whatever refers to a row that is not there."""
    target.create_function("whole", 3, lambda text, other, known: checksum(text, other or "") == known)
    target.create_function("parses", 1, _parses)  # not json_valid: an error bound may be Infinity
    target.execute("BEGIN")
    target.execute("DELETE FROM candidates WHERE NOT whole(source, plan, checksum)")
    target.execute("DELETE FROM tasks WHERE NOT whole(content, payload, checksum)")
    for table, column in (
        ("proposals", "notes"),
        ("verdicts", "content"),
        ("measurements", "content"),
        ("searches", "content"),
    ):
        if column in _columns(target, table):
            target.execute(f"DELETE FROM {table} WHERE NOT parses({column})")
    while orphans := target.execute("PRAGMA foreign_key_check").fetchall():
        for table in ("proposals", "verdicts", "measurements", "winners", "searches"):
            gone = [(rowid,) for name, rowid, *_ in orphans if name == table]
            target.executemany(f"DELETE FROM {table} WHERE rowid = ?", gone)
    target.execute("COMMIT")
